package web

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/notary/proof"
	"stele/ui"
)

// The types below are a report in words, as the template shows it. static/js/words.js makes
// the same in the browser; a test compares the two for every verdict.

type result struct {
	Verdict   string // also names the icon
	Label     string
	Sentence  string
	Reasons   []string
	Warnings  []string // what is true of evidence that holds, and should be known
	Next      string
	Facts     []fact
	Shown     []fact // attributes
	Yours     []fact
	Steps     []step
	StepsLead string
	Others    []other
	CheckedBy string // who checked, and when
	Number    string // of a certificate that can be looked at
	Newer     string // of the one that replaces it
	Exhibit   *exhibitView
}

type fact struct {
	Label string
	Value string
	Kind  string // text, hex, base64, time, number, block
	Raw   string // of a time: RFC 3339
}

type step struct {
	Status     string
	StatusText string
	Title      string
	Text       string
	Strength   string
	Technical  string
	Values     []fact
}

type other struct {
	Verdict string
	Label   string
	Text    string
	Number  string
}

// words puts findings about one file into words, the best one first and the others below.
func (w *Web) words(c *ui.Catalogue, found []finding) result {
	f := found[0]
	r := f.Report
	out := result{Verdict: string(r.Verdict), Label: c.Text("verdict." + string(r.Verdict) + ".label"), Number: r.Number,
		CheckedBy: c.Text("result.checked_server", "time", c.Time(w.Now().UTC().Format(time.RFC3339)))}
	out.Sentence, out.Reasons, out.Next = say(c, f)
	out.Warnings = warnings(c, r)
	if f.Report.Shows() {
		out.Facts = facts(c, r)
		out.Shown = attributes(c, r)
		out.Exhibit = w.exhibit(c, f)
	} else {
		out.Number = ""
	}
	if r.Standing != nil && r.Verdict == proof.Superseded {
		out.Newer = r.Standing.By
	}
	passed := 0
	for _, s := range r.Steps {
		if s.Status == proof.Passed {
			passed++
		}
		out.Steps = append(out.Steps, stepWords(c, r, s))
	}
	out.StepsLead = c.Text("steps.lead", "passed", strconv.Itoa(passed), "total", strconv.Itoa(len(r.Steps)))
	for _, o := range found[1:] {
		_, reasons, _ := say(c, o)
		line := other{Verdict: string(o.Report.Verdict), Label: c.Text("verdict." + string(o.Report.Verdict) + ".label"), Text: reasons[0]}
		if o.Report.Shows() {
			line.Number = o.Report.Number
		}
		out.Others = append(out.Others, line)
	}
	return out
}

func say(c *ui.Catalogue, f finding) (sentence string, reasons []string, next string) {
	r := f.Report
	v := "verdict." + string(r.Verdict)
	places := placesOf(c, r)
	switch r.Verdict {
	case proof.Unverifiable:
		cause := f.Why()
		if !c.Has("cause." + cause + ".reason") {
			cause = "other"
		}
		return c.Text(c.First("cause."+cause+".sentence", v+".sentence"), places...),
			[]string{c.Text("cause."+cause+".reason", places...)}, c.Text("cause."+cause+".next", places...)
	case proof.Invalid:
		failed := firstFailed(r)
		places = append(places, "step", stepTitle(c, failed), "why", reasonText(c, failed))
	}
	reasons = []string{c.Text(reasonKey(r), places...)}
	if r.Verdict == proof.Superseded && r.Standing.Reason != "" {
		reasons = append(reasons, c.Text(v+".why", places...))
	}
	if by := r.OnWordOf(); by != "" && r.Verdict == proof.Genuine {
		reasons = append(reasons, c.Text("verdict.genuine.attested", "gateway", by))
	}
	if r.Verdict == proof.Genuine || r.Verdict == proof.Pending {
		reasons = append(reasons, c.Text("verdict.date", places...), c.Text(standsKey(f)))
	}
	return c.Text(v+".sentence", places...), reasons, c.Text(v+".next", places...)
}

// standsKey says on whose word a record stands: that of the service, where it was asked.
func standsKey(f finding) string {
	if f.Stands {
		return "stands.asked"
	}
	return "stands.unasked"
}

// reasonKey is the key of the first reason. A withdrawal that no chain vouches for has its own.
func reasonKey(r *proof.Report) string {
	key := "verdict." + string(r.Verdict) + ".reason"
	if (r.Verdict == proof.Revoked || r.Verdict == proof.Superseded) && r.Standing.AnchoredAt == "" {
		key += "_alone"
	}
	return key
}

// firstFailed is the step that makes evidence invalid.
func firstFailed(r *proof.Report) proof.Step {
	if s, failed := r.FailedStep(); failed {
		return s
	}
	return proof.Step{Name: proof.StepBundle, Status: proof.Failed, Reason: "other"}
}

func warnings(c *ui.Catalogue, r *proof.Report) []string {
	var out []string
	for _, w := range r.Warnings {
		if a := r.Headline(); w.Code != proof.WarnOneOrganization || len(a.Organizations) != 1 { // else who vouches is said so
			out = append(out, c.Text("warning."+w.Code, placesOf(c, r)...))
		}
	}
	return out
}

func placesOf(c *ui.Catalogue, r *proof.Report) []string {
	places := []string{"number", r.Number, "issued", c.Time(r.IssuedAt), "anchored", c.Time(r.AnchoredAt), "vouchers", vouchers(c, r), "names", names(c, r)}
	if r.Agency != nil {
		places = append(places, "agency", r.Agency.Name)
	}
	if r.Standing != nil {
		places = append(places, "at", c.Time(r.Standing.At), "reason", r.Standing.Reason, "by", r.Standing.By, "later", c.Time(r.Standing.AnchoredAt))
	}
	return places
}

// vouchers says who vouches for the time that a report leads with, where somebody does.
func vouchers(c *ui.Catalogue, r *proof.Report) string {
	a := r.Headline()
	switch {
	case a == nil:
		return ""
	case a.Strength == proof.Attested:
		return c.Text("vouchers.gateway", "gateway", a.Gateway)
	case len(a.Organizations) == 1:
		return c.Text("vouchers.organization", "names", a.Organizations[0])
	case len(a.Organizations) > 1:
		return c.Text("vouchers.organizations", "n", strconv.Itoa(len(a.Organizations)), "names", names(c, r))
	case len(a.Cosigners) == 1:
		return c.Text("vouchers.member")
	}
	return c.Text("vouchers.members", "n", strconv.Itoa(len(a.Cosigners)))
}

// names are the organizations that vouch for the time, as far as the trust roots name them.
func names(c *ui.Catalogue, r *proof.Report) string {
	out := ""
	if a := r.Headline(); a != nil {
		for _, name := range a.Organizations {
			if out != "" {
				name = c.Text("vouchers.list", "a", out, "b", name)
			}
			out = name
		}
	}
	return out
}

func facts(c *ui.Catalogue, r *proof.Report) []fact {
	var out []fact
	add := func(key, value, kind string) {
		if value == "" {
			return
		}
		f := fact{Label: c.Text("facts." + key), Value: value, Kind: kind}
		if kind == "time" {
			f.Value, f.Raw = c.Text("time.beijing", "time", c.Time(value)), value
		}
		out = append(out, f)
	}
	add("number", r.Number, "number")
	add("agency", r.Agency.Name, "text")
	add("code", r.Agency.Code, "text")
	anchored := "anchored"
	if r.OnWordOf() != "" {
		anchored = "anchored_attested"
	}
	add(anchored, r.AnchoredAt, "time")
	add("vouched", vouchers(c, r), "text")
	add("issued", r.IssuedAt, "time")
	if r.Standing != nil {
		add("standing", c.Text("standing."+r.Standing.State), "text")
		add("withdrawn", r.Standing.AnchoredAt, "time")
	}
	add("class", known(c, "class."+r.Class, r.Class), "text")
	size := "size_stated"
	if r.Document.SizeCompared {
		size = "size"
	}
	add(size, c.Size(r.Document.Size), "text")
	add("media", r.Document.MediaType, "text")
	add("supersedes", r.Supersedes, "number")
	add("sm3", r.Document.SM3, "hex")
	return out
}

func attributes(c *ui.Catalogue, r *proof.Report) []fact {
	var names []string
	for name := range r.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []fact
	for _, name := range names {
		value := r.Fields[name]
		if name == "originMethod" {
			value = known(c, "method."+value, value)
		}
		out = append(out, fact{Label: known(c, "field."+name, name), Value: value, Kind: "text"})
	}
	return out
}

// known is the text of a key, or the word itself where an agency has its own.
func known(c *ui.Catalogue, key, word string) string {
	if c.Has(key) {
		return c.Text(key)
	}
	return word
}

func stepWords(c *ui.Catalogue, r *proof.Report, s proof.Step) step {
	out := step{Status: string(s.Status), StatusText: c.Text("status." + string(s.Status)), Title: stepTitle(c, s), Text: reasonText(c, s), Technical: s.Detail}
	if s.Status == proof.Passed {
		key := "step." + string(s.Name) + ".passed"
		if s.Name == proof.StepStanding && r.Standing != nil && r.Standing.State != proof.StandingUnknown {
			key = "step.standing.passed_later"
		}
		if s.Strength == proof.Attested {
			key += "_attested"
		}
		out.Text = c.Text(key)
		if s.Strength != "" {
			out.Strength = c.Text("strength."+s.Strength, "gateway", compared(s, "gateway"))
		}
	}
	for _, v := range s.Compared {
		key := "compared." + slug(v.What)
		out.Values = append(out.Values, fact{Label: known(c, key, v.What), Value: v.Value, Kind: kindOf(v.Value)})
	}
	return out
}

// stepTitle tells an anchor that a gateway vouches for from one of the e-government chain.
func stepTitle(c *ui.Catalogue, s proof.Step) string {
	if s.Strength == proof.Attested {
		return c.Text("step.anchor.title_attested")
	}
	return c.Text("step." + string(s.Name) + ".title")
}

func compared(s proof.Step, what string) string {
	i := slices.IndexFunc(s.Compared, func(v proof.Comparison) bool { return v.What == what })
	if i < 0 {
		return ""
	}
	return s.Compared[i].Value
}

// reasonText names the file at fault, where a package is.
func reasonText(c *ui.Catalogue, s proof.Step) string {
	key, entry := "reason."+string(s.Name)+"."+s.Reason, compared(s, "entry")
	own := key
	switch {
	case s.Strength == proof.Attested:
		own += "_attested"
	case entry != "":
		own += "_entry"
	}
	return c.Text(c.First(own, key, "reason."+s.Reason, "reason.other"), "entry", entry)
}

// slug turns a report's English label into the end of a key.
func slug(s string) string {
	parts := strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	return strings.Join(parts, "_")
}

func kindOf(value string) string {
	switch {
	case strings.Contains(value, "\n"):
		return "block"
	case len(value) == 64 && strings.Trim(value, "0123456789abcdef") == "":
		return "hex"
	}
	return "text"
}
