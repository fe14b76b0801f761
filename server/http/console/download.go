package console

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"

	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/issue/evidence"
)

// attach says that what follows is a file. Whatever it is, a browser must not show it.
func (v *visit) attach(mediaType, name string) {
	h := v.rw.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
}

func (v *visit) bundle() error {
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	return v.sendBundle(rec)
}

func (v *visit) sendBundle(rec notary.Record) error {
	b, err := v.Archive.Current(v.r.Context(), rec, true)
	if err != nil {
		return err
	}
	v.attach("application/json", certificate.AttachmentName(rec.Number))
	_, _ = v.rw.Write(b) // the person may have left
	return nil
}

func (v *visit) certificate() error {
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	b, err := v.Archive.Bundle(v.r.Context(), rec, true)
	if err != nil {
		return err
	}
	made, err := v.Issuer.Certificate(v.r.Context(), rec, b)
	if err != nil {
		return err
	}
	v.attach("application/pdf", rec.Number+".pdf")
	if v.r.URL.Query().Get("print") == "yes" { // our own file, in a window of its own: the browser shows and prints it
		v.rw.Header().Set("Content-Disposition",
			mime.FormatMediaType("inline", map[string]string{"filename": rec.Number + ".pdf"}))
	}
	_, _ = v.rw.Write(made.Certificate) // the person may have left
	return nil
}

func (v *visit) open(rec notary.Record) (io.ReadCloser, notary.Object, error) {
	body, obj, err := notary.OpenDocument(v.r.Context(), v.Documents, rec)
	if err != nil {
		if errors.Is(err, notary.ErrObjectNotFound) {
			v.Log.ErrorContext(v.r.Context(), "the original of a record is missing", "record", rec.ID)
		}
		return nil, obj, notary.Wrap(notary.CodeUnavailable, err,
			"The original cannot be read at the moment; try again.")
	}
	return body, obj, nil
}

func (v *visit) document() error {
	rec, err := v.findRecord()
	if err == nil && !rec.Stored {
		err = v.Eraser.NoOriginal(v.r.Context(), rec)
	}
	if err != nil {
		return err
	}
	name := fieldOf(rec, "fileName")
	if name == "" {
		name = rec.Number
	}
	return v.sendDocument(rec, name)
}

func (v *visit) sendDocument(rec notary.Record, name string) error {
	body, obj, err := v.open(rec)
	if err != nil {
		return err
	}
	defer body.Close()
	v.attach(rec.MediaType, name)
	v.rw.Header().Set("Content-Length", strconv.FormatInt(obj.Size, 10))
	if _, err := io.Copy(v.rw, body); err != nil {
		v.Log.WarnContext(v.r.Context(), "sending a document broke off", "record", rec.ID, "error", err)
	}
	return nil
}

// evidence sends the package for a court, see the call of the same name in the API.
func (v *visit) evidence() error {
	ctx := v.r.Context()
	rec, err := v.findRecord()
	if err != nil {
		return err
	}
	b, err := v.Archive.Bundle(ctx, rec, true)
	if err != nil {
		return err
	}
	made, err := v.Issuer.Certificate(ctx, rec, b)
	if err != nil {
		return err
	}
	input := evidence.Input{Bundle: b, Report: made.Report, Certificate: made.Certificate, Trust: v.TrustJSON,
		VerifyPage: v.VerifyPage}
	if rec.Stored {
		body, _, err := v.open(rec)
		if err != nil {
			return err
		}
		defer body.Close()
		input.Original = body
	}
	p, err := evidence.Prepare(input)
	if err != nil {
		return err
	}
	v.attach("application/zip", evidence.FileName(rec.Number))
	if err := p.Write(v.rw); err != nil {
		level := slog.LevelWarn // the person left, or the store broke
		if errors.Is(err, evidence.ErrOriginal) {
			level = slog.LevelError
		}
		v.breakOff(level, "sending an evidence package broke off", err, "record", rec.ID)
	}
	return nil
}

const brokeOff = "an export broke off"

// breakOff ends an answer that has begun and cannot be finished. Ending it in order would make
// what is there look whole. It does not return.
func (v *visit) breakOff(level slog.Level, what string, err error, attrs ...any) {
	v.Log.Log(v.r.Context(), level, what, append(attrs, "error", err)...)
	panic(http.ErrAbortHandler)
}
