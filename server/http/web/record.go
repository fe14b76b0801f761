package web

import (
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"stele/notary"
	"stele/notary/issue/lookup"
	"stele/notary/proof"
	"stele/server/http/site"
	"stele/ui"
	"stele/ui/words"
)

// verdictValid is no verdict on a file, but what a certificate alone can have: it stands.
// It has its own icon, so that nobody takes the one for the other.
const verdictValid = "valid"

// recordPage is what a certificate's number opens: who registered what and when, and whether
// it stands. The code beside the number opens the attributes as well.
type recordPage struct {
	Number    string
	Code      string // the right one, or empty
	Found     bool   // there is such a record
	Anchored  bool   // and so there is a certificate of it
	Result    result
	CodeError string
	Waiting   notary.State // how far a record is for which something is still to come; else empty
}

// findRecord takes the number as people type it and leads to its page.
func (w *Web) findRecord(rw http.ResponseWriter, r *http.Request) {
	typed := r.URL.Query().Get("number")
	number := site.NormalizeNumber(typed)
	if !notary.ValidNumber(number) {
		w.show(rw, r, http.StatusUnprocessableEntity, "home", w.textsOf(r).Text("home.title"),
			homePage{Number: typed, BadNumber: true})
		return
	}
	http.Redirect(rw, r, "/r/"+url.PathEscape(number), http.StatusSeeOther)
}

func (w *Web) record(rw http.ResponseWriter, r *http.Request) {
	c := w.textsOf(r)
	number := site.NormalizeNumber(chi.URLParam(r, "number"))
	if !notary.ValidNumber(number) {
		w.fail(rw, r, notary.ErrNotFound)
		return
	}
	rw.Header().Set("X-Robots-Tag", "noindex") // records are for those who hold the certificate
	rec, err := w.Archive.Record(r.Context(), "", number)
	if notary.CodeOf(err) == notary.CodeNotFound {
		w.showRecord(rw, r, http.StatusNotFound, recordPage{Number: number, Result: noRecord(c, number)})
		return
	}
	page := recordPage{Number: number}
	var f finding
	if err != nil {
		f = w.Lookup.Outage(r.Context(), err)
	} else {
		page.Code, page.CodeError = w.openCode(c, rec, r.URL.Query().Get("code"), r.RemoteAddr)
		f = w.Lookup.Check(r.Context(), rec, nil, page.Code != "")
		page.Found, page.Anchored = true, f.Report.AnchoredAt != ""
		page.Waiting = waiting(f)
	}
	page.Result = w.recordWords(c, f, number)
	status := http.StatusOK
	if f.Cause == lookup.CauseService {
		rw.Header().Set("Retry-After", "5")
		status = http.StatusServiceUnavailable
	}
	w.showRecord(rw, r, status, page)
}

func (w *Web) showRecord(rw http.ResponseWriter, r *http.Request, status int, page recordPage) {
	w.show(rw, r, status, "record", w.textsOf(r).Text("record.title", "number", page.Number), page)
}

// waiting is what the record's own finding says it still waits for. It is not read from the
// log's progress, which may have moved since.
func waiting(f finding) notary.State {
	switch {
	case f.Cause == lookup.CauseNotReady:
		return notary.Received
	case f.Report.Verdict == proof.Pending:
		return notary.Logged
	}
	return ""
}

// openCode returns the code if it is the record's, and else what to say.
func (w *Web) openCode(c *ui.Catalogue, rec notary.Record, typed, client string) (code, complaint string) {
	if typed == "" {
		return "", ""
	}
	switch err := w.Codes.Check(rec, typed, client); notary.CodeOf(err) {
	case notary.CodeRateLimited:
		return "", c.Text("record.code_many")
	case notary.CodeInvalid:
		return "", c.Text("record.code_wrong")
	}
	return rec.Code, ""
}

// recordWords says of a certificate what words says of a file: its report compared none.
func (w *Web) recordWords(c *ui.Catalogue, f finding, number string) result {
	out := w.words(c, []finding{f})
	// the first one counts: without a bundle the report names none
	places := append([]string{"number", number}, words.PlacesOf(c, f.Report)...)
	r := f.Report
	switch {
	case f.Cause == lookup.CauseNotReady:
		out.Verdict, out.Label = string(proof.Pending), c.Text("verdict.pending.label")
		out.Sentence, out.Reasons, out.Next = c.Text("record.not_ready", places...), nil, c.Text("cause.not_ready.next")
	case r.Verdict == proof.Unverifiable && f.Why() == "no_document":
		out.Verdict, out.Label = verdictValid, c.Text("record.label")
		out.Sentence, out.Next = c.Text("record.valid"), ""
		out.Reasons = append([]string{c.Text("record.valid_reason", places...), c.Text("verdict.date", places...)},
			words.Stands(c, r, f.Stands)...)
	case r.Verdict == proof.Pending:
		out.Sentence, out.Reasons = c.Text("record.pending"), []string{c.Text("record.pending_reason", places...)}
	case r.Verdict == proof.Revoked:
		out.Sentence = c.Text("record.revoked")
	case r.Verdict == proof.Superseded:
		out.Sentence = c.Text("record.superseded")
	}
	out.Number = "" // it is this page
	return out
}

// numberWords says of a number alone what its page says.
func (w *Web) numberWords(c *ui.Catalogue, f finding, number string) result {
	if f.Report.Verdict == proof.NotFound {
		return noRecord(c, number)
	}
	return w.recordWords(c, f, number)
}

func noRecord(c *ui.Catalogue, number string) result {
	return result{Result: words.Result{Verdict: string(proof.NotFound), Label: c.Text("verdict.not_found.label"),
		Sentence: c.Text("record.not_found", "number", number),
		Reasons:  []string{c.Text("record.not_found_reason")}, Next: c.Text("record.not_found_next")}}
}
