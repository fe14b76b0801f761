package web

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"

	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/server/http/site"
)

// retrySoon and retryOutage are what Retry-After says, in seconds, where a record will be
// anchored by itself and where a part of the service is out of reach.
const (
	retrySoon   = "2"
	retryOutage = "5"
)

// certificate hands the certificate to whoever has number and code. The bytes are those that
// the API gives to the agency.
func (w *Web) certificate(rw http.ResponseWriter, r *http.Request) {
	rec, bundle, ok := w.opened(rw, r, w.Archive.Bundle)
	if !ok {
		return
	}
	done, err := w.draw(r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	defer done()
	made, err := w.Issuer.Certificate(r.Context(), rec, bundle)
	if err != nil {
		w.failRecord(rw, r, rec.Number, err)
		return
	}
	sendFile(rw, "application/pdf", rec.Number+".pdf", made.Certificate)
}

// bundle hands the record's bundle, attributes opened, to whoever has number and code.
func (w *Web) bundle(rw http.ResponseWriter, r *http.Request) {
	if rec, bundle, ok := w.opened(rw, r, w.Archive.Current); ok {
		sendFile(rw, "application/json", certificate.AttachmentName(rec.Number), bundle)
	}
}

// opened finds the record of the address, checks the code and makes the record's bundle. Where it returns false it has
// answered. Whether there is a record is no secret, its page says so too: 404 without one,
// else 403 until the code is right. Those who guess codes are counted with all others.
func (w *Web) opened(rw http.ResponseWriter, r *http.Request,
	build func(context.Context, notary.Record, bool) ([]byte, error)) (rec notary.Record, bundle []byte, ok bool) {
	number := site.NormalizeNumber(chi.URLParam(r, "number"))
	rw.Header().Set("X-Robots-Tag", "noindex")
	if !notary.ValidNumber(number) {
		w.fail(rw, r, notary.ErrNotFound)
		return rec, nil, false
	}
	rec, err := w.Archive.Record(r.Context(), "", number)
	if notary.CodeOf(err) == notary.CodeNotFound {
		w.showRecord(rw, r, http.StatusNotFound, recordPage{Number: number, Result: noRecord(w.textsOf(r), number)})
		return rec, nil, false
	}
	if err == nil {
		err = w.checkCode(r, rec)
	}
	if err == nil {
		bundle, err = build(r.Context(), rec, true)
	}
	if err != nil {
		w.failRecord(rw, r, number, err)
	}
	return rec, bundle, err == nil
}

func (w *Web) checkCode(r *http.Request, rec notary.Record) error {
	code := r.URL.Query().Get("code")
	if code == "" {
		return errNoCode
	}
	switch err := w.Codes.Check(rec, code, r.RemoteAddr); notary.CodeOf(err) {
	case notary.CodeRateLimited:
		return errManyCodes
	case notary.CodeInvalid:
		return errWrongCode
	}
	return nil
}

// failRecord says why a download is not to be had; the page leads back to the record's.
func (w *Web) failRecord(rw http.ResponseWriter, r *http.Request, number string, err error) {
	switch notary.CodeOf(err) {
	case notary.CodeNotReady:
		rw.Header().Set("Retry-After", retrySoon)
		err = errNotAnchored
	case notary.CodeConflict: // see issue.Issuer: the agency's certificate expired before the anchor
		err = errNone
	case notary.CodeUnavailable:
		rw.Header().Set("Retry-After", retryOutage)
		w.Log.WarnContext(r.Context(), "a download is not possible", "error", err)
		err = errOutage
	}
	if errors.Is(err, errManyCodes) {
		rw.Header().Set("Retry-After", "3600") // codes are counted by the hour
	}
	w.failWith(rw, r, err, number)
}

// sendFile answers with a file to keep. Nothing on the way may keep it too: it was opened by
// a code, or says what somebody asked.
func sendFile(rw http.ResponseWriter, mediaType, name string, data []byte) {
	h := rw.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	h.Set("Cache-Control", "private, no-store")
	_, _ = rw.Write(data) // the person may have left; there is nobody else to tell
}
