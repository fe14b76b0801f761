package tus

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"

	"stele/notary"
	"stele/notary/register/upload"
)

// store is package upload as tusd sees it. tusd's own locks are not used: the lease in the
// database holds for all servers, and asking how far an upload is needs none.
type store struct{ h *Handler }

var (
	_ handler.DataStore           = store{}
	_ handler.TerminaterDataStore = store{}
)

// NewUpload implements [handler.DataStore].
func (s store) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	v := visitOf(ctx)
	u, err := s.h.Uploads.Create(ctx, v.agency, info.Size, info.MetaData)
	return s.file(v, u, err)
}

// GetUpload implements [handler.DataStore].
func (s store) GetUpload(ctx context.Context, id string) (handler.Upload, error) {
	v := visitOf(ctx)
	u, err := s.h.Uploads.Find(ctx, v.agency, id)
	return s.file(v, u, err)
}

func (s store) file(v *visit, u upload.Upload, err error) (handler.Upload, error) {
	if err != nil {
		return nil, v.fail(err)
	}
	v.upload = &u
	return &file{s.h, v}, nil
}

// AsTerminatableUpload implements [handler.TerminaterDataStore].
func (store) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload { return u.(*file) }

// errOurs stands in tusd for an error that the visit has.
var errOurs = handler.NewError("ERR_STELE", "", http.StatusInternalServerError)

// fail keeps an error for the answer.
func (v *visit) fail(err error) error {
	v.err = err
	return errOurs
}

// file is an upload as tusd sees it.
type file struct {
	h *Handler
	*visit
}

// GetInfo implements [handler.Upload].
func (f *file) GetInfo(context.Context) (handler.FileInfo, error) {
	return handler.FileInfo{ID: f.upload.ID, Size: f.upload.Size, Offset: f.upload.Offset, MetaData: f.upload.Metadata},
		nil
}

// WriteChunk implements [handler.Upload]. src ends also where the connection breaks; what
// came until then is kept.
func (f *file) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	n, err := f.h.Uploads.Append(ctx, f.agency, f.upload.ID, offset, src)
	if err != nil {
		return n, f.fail(err)
	}
	if u, err := f.h.Uploads.Find(ctx, f.agency, f.upload.ID); err == nil {
		f.upload = &u // it expires later now
	}
	return n, nil
}

// Terminate implements [handler.TerminatableUpload].
func (f *file) Terminate(ctx context.Context) error {
	if err := f.h.Uploads.Drop(ctx, f.agency, f.upload.ID); err != nil {
		return f.fail(err)
	}
	f.upload = nil
	return nil
}

// FinishUpload implements [handler.Upload]. An upload is complete when its last part is there.
func (*file) FinishUpload(context.Context) error { return nil }

// GetReader implements [handler.Upload]. Uploads are not served: their records are.
func (*file) GetReader(context.Context) (io.ReadCloser, error) { return nil, handler.ErrNotFound }

// ParseMetadata reads the header Upload-Metadata: pairs of a name and a value in base64 with
// commas between them; a value may be missing. What it accepts, tusd reads in the same way.
func ParseMetadata(header string) (map[string]string, error) {
	m := map[string]string{}
	if header == "" {
		return m, nil
	}
	for pair := range strings.SplitSeq(header, ",") {
		name, encoded, _ := strings.Cut(strings.Trim(pair, " "), " ")
		value, err := base64.StdEncoding.Strict().DecodeString(encoded)
		_, twice := m[name]
		if name == "" || twice || err != nil || !plain(name) || !utf8.Valid(value) ||
			strings.ContainsAny(encoded, "\r\n") {
			return nil, notary.Errorf(notary.CodeMalformed, "The header Upload-Metadata is a list of names, each "+
				"once, with a space and a value of UTF-8 in base64. Nothing was saved.")
		}
		m[name] = string(value)
	}
	return m, nil
}

// plain reports whether s consists of printable ASCII without spaces.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// quiet is the log of tusd, which would write several lines a request. What is our fault
// is logged where the answer is written.
var quiet = slog.New(silence{})

type silence struct{}

func (silence) Enabled(context.Context, slog.Level) bool  { return false }
func (silence) Handle(context.Context, slog.Record) error { return nil }
func (s silence) WithAttrs([]slog.Attr) slog.Handler      { return s }
func (s silence) WithGroup(string) slog.Handler           { return s }
