// Package tus speaks the protocol for resumable uploads, tus 1.0.0 (https://tus.io/protocols/resumable-upload),
// with the extensions creation, creation-with-upload, termination and expiration: tusd reads
// the requests, package upload keeps what comes. There is no concatenation, for parts sent
// side by side gain nothing here, and no checksum, for the protocol knows none that would
// count: the digest that does is taken when the upload is notarized.
package tus

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"stele/notary"
	"stele/notary/register/upload"
)

// Config is what a [Handler] needs.
type Config struct {
	Uploads     *upload.Uploads
	MaxSize     int64                            // bytes of an upload
	Path        string                           // where it is mounted, without a slash at the end
	ReadTimeout time.Duration                    // a body that is silent for this long is given up
	Stopping    <-chan struct{}                  // closed when requests under way must end; nil: never
	Agency      func(ctx context.Context) string // whose request it is; who mounts the handler has found that out
	// Problem answers with an error; status 0 is what is usual for it.
	Problem func(w http.ResponseWriter, r *http.Request, status int, err error)
}

// Handler serves tus. It is safe for concurrent use.
type Handler struct {
	Config
	tus http.Handler
}

// New returns a handler for Path and what is below it. It trusts Agency, and that the router
// lets through only the methods that the protocol has.
func New(c Config) (*Handler, error) {
	h := &Handler{Config: c}
	composer := handler.NewStoreComposer()
	composer.UseCore(store{h})
	composer.UseTerminater(store{h})
	inner, err := handler.NewHandler(handler.Config{StoreComposer: composer, MaxSize: c.MaxSize, BasePath: c.Path + "/",
		DisableDownload: true, DisableConcatenation: true,
		Cors: &handler.CorsConfig{Disable: true}, NetworkTimeout: c.ReadTimeout,
		GracefulRequestCompletionTimeout: grace, Logger: quiet})
	if err != nil {
		return nil, err
	}
	h.tus = http.StripPrefix(c.Path, inner)
	return h, nil
}

// grace is how long the rest of a broken request may take to be stored.
const grace = 30 * time.Second

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{agency: h.Agency(r.Context())}
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), visitKey{}, v))
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	if h.Stopping != nil {
		go func() {
			select {
			case <-h.Stopping:
				cancel(handler.ErrServerShutdown) // what has come is stored, then the client is told to come again
			case <-done:
			}
		}()
	}
	a := &answer{ResponseWriter: w, h: h, r: r, visit: v}
	if _, err := ParseMetadata(r.Header.Get("Upload-Metadata")); err != nil && r.Method == http.MethodPost {
		w.Header().Set("Tus-Resumable", version)
		h.Problem(w, r, 0, err)
		return
	}
	h.tus.ServeHTTP(a, r.WithContext(ctx))
	a.end()
}

const version = "1.0.0"

type visitKey struct{}

// visit is what a request learns on its way through tusd.
type visit struct {
	agency string
	upload *upload.Upload
	err    error // ours; tusd gets a word for it
}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// answer turns what tusd answers into the form that the rest of the interface has.
type answer struct {
	http.ResponseWriter
	h      *Handler
	r      *http.Request
	visit  *visit
	status int
	text   strings.Builder // of an error: "CODE: message"
}

// Unwrap lets tusd set deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if status >= 400 {
		return // see end
	}
	header := a.Header()
	if up := a.visit.upload; up != nil {
		header.Set("Upload-Expires", up.ExpiresAt.UTC().Format(http.TimeFormat))
		if header.Get("Location") != "" {
			header.Set("Location", a.h.Path+"/"+up.ID) // tusd's names a scheme, which behind a proxy is another
		}
	}
	if ext := header.Get("Tus-Extension"); ext != "" {
		header.Set("Tus-Extension", ext+",expiration")
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.status >= 400 {
		return a.text.Write(b)
	}
	return a.ResponseWriter.Write(b)
}

// end sends an error.
func (a *answer) end() {
	if a.status < 400 {
		return
	}
	header := a.Header()
	for _, name := range []string{"Content-Length", "Content-Type", "Location"} {
		header.Del(name)
	}
	if up := a.visit.upload; up != nil && a.r.Method == http.MethodPost && a.r.URL.Path == a.h.Path {
		header.Set("Location", a.h.Path+"/"+up.ID) // of an upload that began with this request: what came of it is kept
	}
	if a.visit.err != nil {
		status := 0
		if errors.Is(a.visit.err, upload.ErrBusy) {
			status = http.StatusLocked
			a.visit.err = notary.Errorf(notary.CodeConflict,
				"Another request sends to this upload. Ask how far it is, and send the rest.").After(time.Second)
		}
		a.h.Problem(a.ResponseWriter, a.r, status, a.visit.err)
		return
	}
	code, _, _ := strings.Cut(a.text.String(), ":")
	p, ok := problems[code]
	if !ok {
		p = byStatus(a.status)
	}
	if p.status == http.StatusPreconditionFailed {
		header.Set("Tus-Version", version)
	}
	a.h.Problem(a.ResponseWriter, a.r, p.status, p.err)
}

// problem is an error of tusd in our words; status 0 is what is usual for the code.
type problem struct {
	status int
	err    *notary.Error
}

// problems are those by tusd's codes.
var problems = map[string]problem{
	"ERR_UNSUPPORTED_VERSION": {http.StatusPreconditionFailed,
		notary.Errorf(notary.CodeMalformed, "Send the header Tus-Resumable: 1.0.0. Nothing was saved.")},
	"ERR_MAX_SIZE_EXCEEDED": {
		0, notary.Errorf(notary.CodeTooLarge,
			"The upload is larger than a document may be here, see Tus-Max-Size. Nothing was saved.")},
	"ERR_INVALID_CONTENT_TYPE": {
		0, notary.Errorf(notary.CodeUnsupported,
			"Send the content type application/offset+octet-stream. Nothing was saved.")},
	"ERR_INVALID_UPLOAD_LENGTH": {
		0, notary.Errorf(notary.CodeMalformed,
			"The header Upload-Length must say how many bytes the file has. Nothing was saved.")},
	"ERR_AMBIGUOUS_UPLOAD_LENGTH":     {0, errDeferred},
	"ERR_INVALID_UPLOAD_LENGTH_DEFER": {0, errDeferred},
	"ERR_NOT_IMPLEMENTED":             {0, errDeferred},
	"ERR_INVALID_OFFSET": {
		0, notary.Errorf(notary.CodeMalformed,
			"The header Upload-Offset must say where the bytes begin. Nothing was saved.")},
	"ERR_MISMATCHED_OFFSET": {0, upload.ErrOffset},
	"ERR_UPLOAD_SIZE_EXCEEDED": {
		0, notary.Errorf(notary.CodeTooLarge,
			"There is more than was announced in Upload-Length. Ask how far the upload is.")},
	"ERR_UNEXPECTED_EOF":   {0, errBroken},
	"ERR_CONNECTION_RESET": {0, errBroken},
	"ERR_READ_TIMEOUT": {
		0, notary.Errorf(notary.CodeTimeout,
			"Nothing came for too long. What had come is kept: ask how far the upload is, and send the rest.")},
	"ERR_SERVER_SHUTDOWN": {
		0, notary.Errorf(notary.CodeBusy,
			"The service is stopping. What had come is kept: ask how far the upload is, and send the rest.")},
}

var (
	errDeferred = notary.Errorf(notary.CodeMalformed,
		"An upload begins with the header Upload-Length; its length cannot be said later. Nothing was saved.")
	errBroken = notary.Errorf(notary.CodeMalformed,
		"The request ended too soon. What had come is kept: ask how far the upload is, and send the rest.")
)

// byStatus is for answers whose text does not say what is wrong: those to HEAD have none.
func byStatus(status int) problem {
	switch status {
	case http.StatusMethodNotAllowed:
		return problem{status,
			notary.Errorf(notary.CodeMalformed, "This address does not accept that method; see /openapi.json.")}
	case http.StatusPreconditionFailed:
		return problems["ERR_UNSUPPORTED_VERSION"]
	}
	return problem{
		0, notary.Errorf(notary.CodeInternal, "Something went wrong on our side. It has been logged; try again later.")}
}
