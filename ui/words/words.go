// Package words puts reports into words, in whatever language the catalogue has: on the server for its
// pages, and in the browser's verifier for the page that checks there. It is pure.
package words

import (
	"slices"
	"strconv"
	"strings"

	"stele/notary/proof"
)

// Finding is one answer to the question what a file is.
type Finding struct {
	Report *proof.Report `json:"report"`
	Why    string        `json:"why"`    // it is unverifiable
	Stands bool          `json:"stands"` // the service was asked, and knows of no revocation and no replacement
}

// About is what is known besides, where the page itself checked.
type About struct {
	File  *File  `json:"file"`  // absent where a proof was checked alone
	At    string `json:"at"`    // RFC 3339
	Trust *Trust `json:"trust"` // absent where none was needed
	Hint  string `json:"hint"`  // what the file looks like
	Alone bool   `json:"alone"` // the page has no service: there are no records to open
}

// File is what was handed in.
type File struct {
	Name   string `json:"name"`
	Size   uint64 `json:"size"`
	Digest string `json:"digest"` // empty where it could not be read
}

// Trust says whose trust roots were used.
type Trust struct {
	SM3 string `json:"sm3"`
	Own bool   `json:"own"` // the person brought them
}

// Result is a report in words, as the template (part_result.html) and the page's script (view.js) show it.
type Result struct {
	Verdict   string     `json:"verdict"` // also names the icon
	Label     string     `json:"label"`
	Sentence  string     `json:"sentence"`
	Reasons   []string   `json:"reasons"`
	Warnings  []string   `json:"warnings"` // what is true of evidence that holds, and should be known
	Next      string     `json:"next"`
	Facts     []Fact     `json:"facts"`
	Shown     []Fact     `json:"shown"` // attributes
	Yours     []Fact     `json:"yours"`
	Steps     []Step     `json:"steps"`
	StepsLead string     `json:"stepsLead"`
	Others    []Other    `json:"others"`
	CheckedBy string     `json:"checkedBy"` // who checked, and when
	Trust     *TrustWord `json:"trust,omitempty"`
	Number    string     `json:"number"` // of a certificate that can be looked at
	Newer     string     `json:"newer"`  // of the one that replaces it
}

// Fact is a line of a table.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
	Kind  string `json:"kind"`          // text, hex, base64, time, number, block
	Raw   string `json:"raw,omitempty"` // of a time: RFC 3339
}

// Step is a step of the verification.
type Step struct {
	Status     string `json:"status"`
	StatusText string `json:"statusText"`
	Title      string `json:"title"`
	Text       string `json:"text"`
	Strength   string `json:"strength"`
	Technical  string `json:"technical"`
	Values     []Fact `json:"values"`
}

// Other is a further record of the same file.
type Other struct {
	Verdict string `json:"verdict"`
	Label   string `json:"label"`
	Text    string `json:"text"`
	Number  string `json:"number"`
}

// TrustWord says which trust roots were used.
type TrustWord struct {
	Text string `json:"text"`
	SM3  string `json:"sm3"`
}

// Put puts findings about one file into words, the best one first and the others below. Who checked is
// left open.
func Put(c *Catalogue, found []Finding) Result {
	f := found[0]
	r := f.Report
	out := Result{Verdict: string(r.Verdict), Label: c.Text("verdict." + string(r.Verdict) + ".label"),
		Warnings: warnings(c, r), Facts: []Fact{}, Shown: []Fact{}, Yours: []Fact{}, Steps: []Step{}, Others: []Other{}}
	out.Sentence, out.Reasons, out.Next = say(c, f)
	if shows(r) {
		out.Facts, out.Shown, out.Number = facts(c, r), Attributes(c, r), r.Number
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
		line := Other{Verdict: string(o.Report.Verdict),
			Label: c.Text("verdict." + string(o.Report.Verdict) + ".label"), Text: reasons[0]}
		if shows(o.Report) {
			line.Number = o.Report.Number
		}
		out.Others = append(out.Others, line)
	}
	return out
}

// PutHere is [Put] for a page that checked by itself.
func PutHere(c *Catalogue, found []Finding, about About) Result {
	out := Put(c, found)
	out.CheckedBy = c.Text("result.checked_here", "time", c.Time(about.At))
	if about.File != nil {
		out.Yours = Yours(c, *about.File)
	}
	if t := about.Trust; t != nil {
		out.Trust = &TrustWord{c.Text("result.trust_served"), t.SM3}
		if t.Own {
			out.Trust.Text = c.Text("result.trust_own")
		}
	}
	switch found[0].Report.Verdict {
	case proof.NotFound, proof.Altered, proof.Unverifiable:
		if about.Hint == "resaved" { // what the file looks like, where it turned out not to be the document
			out.Reasons = append(out.Reasons, c.Text("hint.resaved"))
		}
	}
	if about.Alone {
		out.Newer = ""
		for i := range out.Facts {
			if out.Facts[i].Kind == "number" {
				out.Facts[i].Kind = "text"
			}
		}
		for i := range out.Others {
			out.Others[i].Number = ""
		}
	}
	return out
}

// Yours are the facts of what was handed in.
func Yours(c *Catalogue, f File) []Fact {
	out := []Fact{{Label: c.Text("facts.name"), Value: f.Name, Kind: "text"},
		{Label: c.Text("facts.size"), Value: c.Size(f.Size), Kind: "text"}}
	if f.Digest != "" {
		out = append(out, Fact{Label: c.Text("facts.sm3"), Value: f.Digest, Kind: "hex"})
	}
	return out
}

// shows reports whether what the statement says may be shown, and is there.
func shows(r *proof.Report) bool { return r.Shows() && r.Agency != nil && r.Document != nil }

func say(c *Catalogue, f Finding) (sentence string, reasons []string, next string) {
	r := f.Report
	v := "verdict." + string(r.Verdict)
	places := PlacesOf(c, r)
	switch r.Verdict {
	case proof.Unverifiable:
		cause := f.Why
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
		reasons = append(reasons, c.Text("verdict.date", places...))
		reasons = append(reasons, Stands(c, r, f.Stands)...)
	}
	return c.Text(v+".sentence", places...), reasons, c.Text(v+".next", places...)
}

// Stands says that a record has not ended, as far as that is known, and on whose word: that of the log's
// status, where the proof shows it, and that of the service, where it was asked.
func Stands(c *Catalogue, r *proof.Report, asked bool) []string {
	var out []string
	shown := r.Standing != nil && r.Standing.State == proof.StandingValid
	if shown {
		out = append(out, c.Text("stands.status", PlacesOf(c, r)...))
	}
	switch {
	case shown && asked:
		out = append(out, c.Text("stands.status_asked"))
	case asked:
		out = append(out, c.Text("stands.asked"))
	case !shown:
		out = append(out, c.Text("stands.unasked"))
	}
	return out
}

// reasonKey is the key of the first reason. A revocation that no chain vouches for has its own, and so has
// one that the log's status alone shows.
func reasonKey(r *proof.Report) string {
	key := "verdict." + string(r.Verdict) + ".reason"
	if (r.Verdict == proof.Revoked || r.Verdict == proof.Superseded) && r.Standing.AnchoredAt == "" {
		if r.Standing.At == "" {
			return key + "_status"
		}
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

func warnings(c *Catalogue, r *proof.Report) []string {
	out := []string{}
	for _, w := range r.Warnings {
		// else who vouches is said so
		if a := r.Headline(); w.Code != proof.WarnOneOrganization || len(a.Organizations) != 1 {
			out = append(out, c.Text("warning."+w.Code, PlacesOf(c, r)...))
		}
	}
	return out
}

// PlacesOf are the places that texts about a report have.
func PlacesOf(c *Catalogue, r *proof.Report) []string {
	places := []string{"number", r.Number, "issued", c.Time(r.IssuedAt), "anchored", c.Time(r.AnchoredAt), "vouchers",
		vouchers(c, r), "names", names(c, r)}
	if r.Agency != nil {
		places = append(places, "agency", r.Agency.Name)
	}
	if r.Standing != nil {
		places = append(places, "at", c.Time(r.Standing.At), "reason", r.Standing.Reason, "by", r.Standing.By, "later",
			c.Time(r.Standing.AnchoredAt), "asof", c.Time(r.Standing.AsOf), "asofby", statusBy(c, r),
			"entry", comparedIn(r, proof.StepStanding, "entry that says so"),
			"since", c.Time(since(comparedIn(r, proof.StepStatus, "the status map on the certificate"))))
	}
	return places
}

// statusBy says who vouches for the time of the log's status.
func statusBy(c *Catalogue, r *proof.Report) string {
	if gateway := comparedIn(r, proof.StepStatus, "gateway"); gateway != "" {
		return c.Text("vouchers.gateway", "gateway", gateway)
	}
	return c.Text("vouchers.chain", "chain", r.Standing.VouchedBy)
}

// since is the time in what the status map has on a revoked certificate: "<reason> <since> <index>".
func since(value string) string {
	_, rest, _ := strings.Cut(value, " ")
	at, _, _ := strings.Cut(rest, " ")
	return at
}

// comparedIn is a value that a step of the report looked at.
func comparedIn(r *proof.Report, name proof.StepName, what string) string {
	i := slices.IndexFunc(r.Steps, func(s proof.Step) bool { return s.Name == name })
	if i < 0 {
		return ""
	}
	return compared(r.Steps[i], what)
}

// vouchers says who vouches for the time that a report leads with, where somebody does.
func vouchers(c *Catalogue, r *proof.Report) string {
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
func names(c *Catalogue, r *proof.Report) string {
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

func facts(c *Catalogue, r *proof.Report) []Fact {
	out := []Fact{}
	add := func(key, value, kind string) {
		if value == "" {
			return
		}
		f := Fact{Label: c.Text("facts." + key), Value: value, Kind: kind}
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
		add("as_of", r.Standing.AsOf, "time")
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

// Attributes are those that a bundle shows.
func Attributes(c *Catalogue, r *proof.Report) []Fact {
	var names []string
	for name := range r.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	out := []Fact{}
	for _, name := range names {
		value := r.Fields[name]
		if name == "originMethod" {
			value = known(c, "method."+value, value)
		}
		out = append(out, Fact{Label: known(c, "field."+name, name), Value: value, Kind: "text"})
	}
	return out
}

// known is the text of a key, or the word itself where an agency has its own.
func known(c *Catalogue, key, word string) string {
	if c.Has(key) {
		return c.Text(key)
	}
	return word
}

func stepWords(c *Catalogue, r *proof.Report, s proof.Step) Step {
	out := Step{Status: string(s.Status), StatusText: c.Text("status." + string(s.Status)), Title: stepTitle(c, s),
		Text: reasonText(c, s), Technical: s.Detail, Values: []Fact{}}
	if s.Status == proof.Passed {
		key := "step." + string(s.Name) + ".passed"
		if s.Name == proof.StepStanding && r.Standing != nil {
			key = standingKey(r.Standing)
		}
		if s.Name == proof.StepAnchor && s.Strength == proof.Attested {
			key += "_attested"
		}
		out.Text = c.Text(key)
		if s.Strength != "" {
			out.Strength = c.Text("strength."+s.Strength, "gateway", compared(s, "gateway"))
		}
	}
	for _, v := range s.Compared {
		key := ComparedKey(v.What)
		out.Values = append(out.Values, Fact{Label: known(c, key, v.What), Value: v.Value, Kind: kindOf(v.Value)})
	}
	return out
}

// standingKey is the key of what the step of the standing shows, where it passed.
func standingKey(s *proof.StandingReport) string {
	switch {
	case s.State == proof.StandingValid:
		return "step.standing.passed_valid"
	case s.At == "": // the log's status alone shows it
		return "step.standing.passed_status"
	}
	return "step.standing.passed_later"
}

// stepTitle tells an anchor that a gateway vouches for from one of the e-government chain.
func stepTitle(c *Catalogue, s proof.Step) string {
	if s.Name == proof.StepAnchor && s.Strength == proof.Attested {
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
func reasonText(c *Catalogue, s proof.Step) string {
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

// ComparedKey is the key of what a step compared.
func ComparedKey(what string) string { return "compared." + slug(what) }

// slug turns a report's English label into the end of a key.
func slug(s string) string {
	parts := strings.FieldsFunc(strings.ToLower(s), func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
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
