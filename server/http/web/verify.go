package web

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/lookup"
	"stele/notary/proof"
	"stele/server/auth"
	"stele/server/http/slowread"
	"stele/ui"
	"stele/ui/words"
)

// upload is what the form of the page brings. The file itself is hashed while it arrives
// and never kept.
type upload struct {
	digest *sm.Digest
	name   string
	size   uint64
	hashed bool // the digest and the size are of a file that was uploaded
	bundle []byte
	number string // of the certificate that the file is to be compared with, or empty
	code   string
	packed *unpacked // the file, where it is an evidence package
}

// file is what was uploaded, nil where there was none. A report is asked for by digest alone.
func (up *upload) file() *proof.File {
	if up.digest == nil {
		return nil
	}
	f := &proof.File{SM3: *up.digest, Size: -1}
	if up.hashed {
		f.Size = int64(up.size)
	}
	return f
}

// resultPage is the answer to an upload.
type resultPage struct {
	Result result
	Save   *saveForm // nil where there is nothing to make a report of
}

func (up *upload) sm3() string {
	if up.digest == nil {
		return ""
	}
	return up.digest.String()
}

// verify answers the form for browsers that cannot check by themselves.
func (w *Web) verify(rw http.ResponseWriter, r *http.Request) {
	release, err := w.takeUpload(r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	defer release()
	body := slowread.New(rw, r.Body, slowread.Limits{Silence: w.Limits.ReadTimeout, Whole: w.Limits.UploadTimeout},
		w.Now)
	up, err := w.readUpload(rw, r, body)
	if err != nil {
		w.Log.DebugContext(r.Context(), "upload refused", "error", err)
		if errors.Is(err, errTooLarge) {
			// A browser shows our answer only when it could send everything; a file that
			// is not too large by far is worth that.
			_, _ = io.CopyN(io.Discard, body, w.Limits.MaxUpload)
		}
		rw.Header().Set("Connection", "close") // what is left of the body is not read
		w.fail(rw, r, err)
		return
	}
	c := w.textsOf(r)
	found, _ := w.judge(r, up)
	res := w.words(c, found)
	res.Yours = yours(c, up)
	status := http.StatusOK
	if found[0].Cause == lookup.CauseService {
		rw.Header().Set("Retry-After", "5")
		status = http.StatusServiceUnavailable
	}
	page := resultPage{Result: res}
	if up.badPackage() == nil {
		page.Save = &saveForm{SM3: up.sm3(), Number: up.number, Code: up.code, Bundle: string(up.bundle), Lang: c.Tag}
	}
	w.show(rw, r, status, "result", res.Label, page)
}

// takeUpload lets as many bodies be read at a time as the limits say. A slow body takes long, so
// one address does not get all places.
func (w *Web) takeUpload(r *http.Request) (release func(), err error) {
	client, err := auth.ClientKey(r)
	if err != nil || !w.uploads.Enter(client, w.Limits.Uploads, w.Limits.UploadsPerClient) {
		return nil, errFull
	}
	return func() { w.uploads.Leave(client) }, nil
}

// finding is one answer to the question what a file is.
type finding = lookup.Finding

// judge finds the bundle, if it was not handed in, and has it verified. complaint is what is
// to be said of the code, if anything.
func (w *Web) judge(r *http.Request, up *upload) (found []finding, complaint string) {
	if bad := up.badPackage(); bad != nil {
		return []finding{{Report: bad}}, ""
	}
	if up.bundle != nil {
		return []finding{w.Lookup.Given(r.Context(), up.bundle, up.file())}, ""
	}
	if up.number == "" {
		return w.Lookup.File(r.Context(), up.file()), ""
	}
	rec, err := w.Lookup.Record(r.Context(), up.number)
	if notary.CodeOf(err) == notary.CodeNotFound {
		return []finding{{Report: proof.Missing()}}, ""
	}
	if err != nil {
		return []finding{w.Lookup.Outage(r.Context(), err)}, ""
	}
	code, complaint := w.openCode(w.textsOf(r), rec, up.code, r.RemoteAddr)
	return []finding{w.Lookup.Check(r.Context(), rec, up.file(), code != "")}, complaint
}

func yours(c *ui.Catalogue, up *upload) []words.Fact {
	if up.digest == nil {
		return nil
	}
	file := words.File{Name: up.name, Size: up.size}
	if up.badPackage() == nil { // its digest would be compared with nothing
		file.Digest = up.digest.String()
	}
	return words.Yours(c, file)
}

// maxFormOverhead is what a form may have beside its files: boundaries, names, short fields.
const maxFormOverhead = 64 << 10

func (w *Web) readUpload(rw http.ResponseWriter, r *http.Request, body io.Reader) (*upload, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil, errUnsupported
	}
	whole := http.MaxBytesReader(rw, io.NopCloser(body), w.Limits.MaxUpload+proof.MaxBundleSize+maxFormOverhead)
	mr := multipart.NewReader(whole, params["boundary"])
	up := &upload{}
	for {
		part, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = w.readPart(up, part)
		}
		if err != nil {
			return nil, uploadError(err)
		}
	}
	up.unpack()
	if up.digest == nil && up.bundle == nil {
		return nil, errNoFile
	}
	return up, nil
}

func (w *Web) readPart(up *upload, part *multipart.Part) (err error) {
	switch name := part.FormName(); {
	case name == "file" && up.digest == nil:
		return w.take(up, part)
	case name == "bundle" && up.bundle == nil:
		b, err := io.ReadAll(io.LimitReader(part, proof.MaxBundleSize+1))
		if part.FileName() != "" || len(b) > 0 { // else the field was left empty
			up.bundle = b
		}
		return err
	case name == "number" && up.number == "":
		up.number, err = shortField(part)
		if err == nil && up.number != "" && !notary.ValidNumber(up.number) {
			return errUnsupported
		}
		return err
	case name == "code" && up.code == "":
		up.code, err = shortField(part)
		return err
	}
	return errUnsupported
}

// take reads a file. A field that was left empty comes as a file without name.
func (w *Web) take(up *upload, part *multipart.Part) error {
	n, err := up.read(io.LimitReader(part, w.Limits.MaxUpload+1), part.FileName())
	switch {
	case err != nil:
		return err
	case n > w.Limits.MaxUpload:
		return errTooLarge
	case n == 0 && part.FileName() == "":
		up.digest = nil
	}
	return nil
}

func shortField(r io.Reader) (string, error) {
	const most = 64
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if len(b) > most {
		return "", errUnsupported
	}
	return string(b), err
}

func uploadError(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errTooLarge) || errors.Is(err, errUnsupported):
		return err
	case errors.As(err, &tooLarge):
		return errTooLarge
	case slowread.IsTimeout(err):
		return errTimeout
	}
	return errors.Join(errBroken, err)
}
