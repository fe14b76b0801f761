package web

import (
	"cmp"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/issue/lookup"
	"stele/notary/proof"
	"stele/server/http/site"
	"stele/server/http/slowread"
	"stele/ui"
	"stele/ui/words"
)

// maxReportForm is the largest form in bytes that a report is made of: a bundle of the
// largest size as forms encode it, which is mostly text that stays as it is.
const maxReportForm = 3 << 19

// saveForm is what the form behind the button "save a report" sends back. What the page found
// is not among it: the report is made of a verification of its own.
type saveForm struct{ SM3, Number, Code, Bundle, Lang string }

// report verifies once more and answers with a dated report. Every verdict has one, also that
// nothing could be checked: somebody asked at this time, and that was the answer. So the
// status is 200 then too; a browser would keep nothing of a 503.
func (w *Web) report(rw http.ResponseWriter, r *http.Request) {
	up, texts, err := w.readReport(rw, r)
	if err != nil {
		rw.Header().Set("Connection", "close") // what is left of the body is not read
		w.fail(rw, r, err)
		return
	}
	done, err := w.draw(r)
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	defer done()
	found, complaint := w.judge(r, up)
	res := w.words(texts, found)
	if up.digest == nil && up.bundle == nil {
		res = w.numberWords(texts, found[0], up.number)
	}
	at := w.Now()
	pdf, err := certificate.RenderReport(w.reportWords(texts, up, found[0], res, complaint, at))
	if err != nil {
		w.fail(rw, r, err)
		return
	}
	sendFile(rw, "application/pdf", reportName(up, found[0], at), pdf)
}

// readReport reads the form. Its answers are in the language that it names.
func (w *Web) readReport(rw http.ResponseWriter, r *http.Request) (*upload, *ui.Catalogue, error) {
	release, err := w.takeUpload(r)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, nil, errUnsupported
	}
	body := slowread.New(rw, r.Body, slowread.Limits{Silence: w.Limits.ReadTimeout, Whole: w.Limits.UploadTimeout},
		w.Now)
	text, err := io.ReadAll(io.LimitReader(body, maxReportForm+1))
	switch {
	case slowread.IsTimeout(err):
		return nil, nil, errTimeout
	case err != nil:
		return nil, nil, errors.Join(errBroken, err)
	case len(text) > maxReportForm:
		return nil, nil, errLargeForm
	}
	up, lang, err := parseReport(string(text))
	if err != nil {
		return nil, nil, err
	}
	texts, ok := w.texts.ByTag(lang)
	if !ok {
		texts = w.textsOf(r)
	}
	return up, texts, nil
}

// parseReport reads the fields sm3, number, code, bundle and lang, each once at most. One of
// the first two or a bundle is needed.
func parseReport(form string) (*upload, string, error) {
	fields, err := url.ParseQuery(form)
	if err != nil {
		return nil, "", errUnsupported
	}
	for name, values := range fields {
		if len(values) != 1 || !strings.Contains(" sm3 number code bundle lang ", " "+name+" ") {
			return nil, "", errUnsupported
		}
	}
	up := &upload{number: fields.Get("number"), code: fields.Get("code")}
	if b := fields.Get("bundle"); b != "" {
		up.bundle = []byte(b)
	}
	if up.number != "" {
		if up.number = site.NormalizeNumber(up.number); !notary.ValidNumber(up.number) {
			return nil, "", errNoQuestion
		}
	}
	if s := fields.Get("sm3"); s != "" {
		d, err := sm.ParseDigest(s)
		if err != nil {
			return nil, "", errNoQuestion
		}
		up.digest = &d
	}
	if up.digest == nil && up.number == "" && up.bundle == nil {
		return nil, "", errNoQuestion
	}
	return up, fields.Get("lang"), nil
}

// reportName is what the file is called: after the certificate, else after the digest.
func reportName(up *upload, f finding, at time.Time) string {
	about := up.number
	if f.Report.Shows() {
		about = f.Report.Number
	}
	if about == "" && up.digest != nil {
		about = up.digest.String()[:8]
	}
	return cmp.Or(about, sm.Sum(up.bundle).String()[:8]) + "-report-" + at.In(ui.Beijing).Format(time.DateOnly) + ".pdf"
}

// reportWords is a report ready to be drawn.
func (w *Web) reportWords(c *ui.Catalogue, up *upload, f finding, res result, complaint string,
	at time.Time) certificate.Report {
	when := c.Text("time.beijing", "time", c.Time(at.UTC().Format(time.RFC3339)))
	out := certificate.Report{Language: c.Tag, At: at, Author: cmp.Or(w.Operator, c.Text("site.name")),
		Title: c.Text("report.title"), Subtitle: when,
		Notice: c.Text("report.notice"), Running: c.Text("report.title") + "  " + when, Foot: c.Text("report.foot"),
		Verdict: res.Verdict, Alarm: f.Report.Verdict.Row().Alarm,
		Label: res.Label, Sentence: res.Sentence,
		Page: func(page, pages int) string {
			return c.Text("report.page", "page", strconv.Itoa(page), "pages", strconv.Itoa(pages))
		},
		Lacking: func(characters string) string { return c.Text("report.lacking", "characters", characters) },
		Cut:     c.Text("report.cut")}
	for _, p := range append(slices.Concat(res.Reasons, res.Warnings), res.Next, complaint) {
		if p != "" {
			out.Paragraphs = append(out.Paragraphs, p)
		}
	}
	out.Sections = append(out.Sections, certificate.Section{Heading: c.Text("report.asked"), Facts: asked(c, up)})
	if len(res.Facts) > 0 {
		out.Sections = append(out.Sections, certificate.Section{Heading: c.Text("facts.heading"),
			Facts: printed(c, res.Facts)})
	}
	if len(res.Shown) > 0 {
		out.Sections = append(out.Sections, certificate.Section{Heading: c.Text("attributes.heading"),
			Facts: printed(c, res.Shown)})
	}
	if len(res.Others) > 0 {
		others := certificate.Section{Heading: c.Text("others.heading"), Lead: c.Text("others.lead")}
		for _, o := range res.Others {
			others.Facts = append(others.Facts, certificate.ReportFact{Label: o.Label, Value: o.Text, Note: o.Number})
		}
		out.Sections = append(out.Sections, others)
	}
	if len(res.Steps) > 0 {
		out.Sections = append(out.Sections, certificate.Section{Heading: c.Text("steps.heading"), Lead: res.StepsLead,
			Steps: printedSteps(c, res.Steps)})
	}
	out.Sections = append(out.Sections,
		certificate.Section{Heading: c.Text("report.meaning"), Columns: []certificate.Column{
			{Heading: c.Text("report.shows"), Text: shows(c, f)},
			{Heading: c.Text("report.shows_not"), Text: c.Text("report.shows_not_text")}}},
		w.checker(c, when, at), w.repeat(c, up, f))
	return out
}

// asked is what was handed in.
func asked(c *ui.Catalogue, up *upload) []certificate.ReportFact {
	var out []certificate.ReportFact
	if up.digest != nil {
		out = append(out, certificate.ReportFact{Label: c.Text("facts.sm3"), Value: up.digest.String(),
			Note: c.Text("report.digest_only")})
	}
	if up.number != "" {
		out = append(out, certificate.ReportFact{Label: c.Text("facts.number"), Value: up.number})
	}
	if up.bundle != nil {
		out = append(out, certificate.ReportFact{Label: c.Text("report.bundle"), Value: sm.Sum(up.bundle).String()})
	}
	return out
}

// maxPrinted bounds the lines of one table: a stranger's bundle may name thousands.
const maxPrinted = 60

func printed(c *ui.Catalogue, facts []words.Fact) []certificate.ReportFact {
	var out []certificate.ReportFact
	for _, f := range facts[:min(len(facts), maxPrinted)] {
		line := certificate.ReportFact{Label: f.Label, Value: f.Value}
		if f.Kind == "time" {
			line.Note = utc(f.Raw)
		}
		out = append(out, line)
	}
	if more := len(facts) - maxPrinted; more > 0 {
		out = append(out, certificate.ReportFact{Label: "…", Value: c.Text("report.more", "n", strconv.Itoa(more))})
	}
	return out
}

func printedSteps(c *ui.Catalogue, steps []words.Step) []certificate.ReportStep {
	var out []certificate.ReportStep
	for _, s := range steps[:min(len(steps), maxPrinted)] {
		out = append(out, certificate.ReportStep{Status: s.Status, StatusText: s.StatusText, Title: s.Title,
			Text: s.Text, Note: s.Strength, Values: printed(c, s.Values)})
	}
	return out
}

// utc writes a time of a report (RFC 3339) for the expert's eye.
func utc(rfc3339 string) string {
	t, err := time.Parse(time.RFC3339, rfc3339)
	if err != nil {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05.000") + " UTC"
}

// shows is what a verdict proves, and no more.
func shows(c *ui.Catalogue, f finding) string {
	if f.Cause == lookup.CauseNotReady {
		return c.Text("cause.not_ready.shows")
	}
	verdict := string(f.Report.Verdict)
	if f.Report.Verdict == proof.Unverifiable && f.Report.Shows() {
		verdict = verdictValid // the proof holds; no file was compared
	}
	return c.Text("verdict."+verdict+".shows", words.PlacesOf(c, f.Report)...)
}

// checker says who verified, when, and on what trust.
func (w *Web) checker(c *ui.Catalogue, when string, at time.Time) certificate.Section {
	s := certificate.Section{Heading: c.Text("report.who")}
	add := func(label, value, note string) {
		if value != "" {
			s.Facts = append(s.Facts, certificate.ReportFact{Label: c.Text(label), Value: value, Note: note})
		}
	}
	add("report.service", w.PublicURL, "")
	add("report.operator", w.Operator, "")
	add("report.time", when, utc(at.UTC().Format(time.RFC3339Nano)))
	add("report.trust", sm.Sum(w.TrustJSON).String(), c.Text("report.trust_note"))
	return s
}

// repeat tells how anybody does the same without this service.
func (w *Web) repeat(c *ui.Catalogue, up *upload, f finding) certificate.Section {
	s := certificate.Section{Heading: c.Text("report.repeat"),
		Notes: []string{c.Text("report.repeat_page", "url", w.PublicURL)}}
	file := c.Text("report.file")
	if f.Bundle == nil {
		s.Commands = []string{"openssl dgst -sm3 " + file}
		return s
	}
	bundle := c.Text("report.bundle_file")
	if f.Report.Shows() {
		bundle = certificate.AttachmentName(f.Report.Number)
	}
	s.Notes = append(s.Notes, c.Text("report.repeat_offline", "sm3", sm.Sum(f.Bundle).String()))
	s.Commands = []string{"stele-verify --trust trust.json " + bundle + " " + file}
	if up.digest != nil {
		s.Commands = append(s.Commands, "stele-verify --trust trust.json --sm3 "+up.digest.String()+" "+bundle)
	}
	s.Commands = append(s.Commands, "openssl dgst -sm3 "+file)
	return s
}
