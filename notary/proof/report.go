package proof

import "encoding/json"

// ReportFormat is the value of a report's first key.
const ReportFormat = "stele/report/v1"

// Verdict is one of a small set of stable codes, the same in API, command lines, page and report.
type Verdict string

// The verdicts, with what each says about a file.
const (
	Genuine      Verdict = "genuine"      // this file is exactly the one notarized
	Pending      Verdict = "pending"      // notarized and signed, not anchored yet
	Altered      Verdict = "altered"      // a certificate exists, and this is not its file
	Revoked      Verdict = "revoked"      // it was genuine; the agency withdrew it
	Superseded   Verdict = "superseded"   // it was genuine; the agency replaced it
	NotFound     Verdict = "not_found"    // no record of this file here (never decided from a bundle)
	Invalid      Verdict = "invalid"      // the evidence itself does not hold
	Unverifiable Verdict = "unverifiable" // could not be checked; says nothing about the file
)

// Status is how a step ended.
type Status string

// Skipped steps had nothing to work on because an earlier one failed, or nothing to check;
// steps not checked lacked something that was not in the bundle: a file, a trust root.
const (
	Passed     Status = "passed"
	Failed     Status = "failed"
	Skipped    Status = "skipped"
	NotChecked Status = "not_checked"
)

// StepName names a step of the verification, in the order in which they are reported.
type StepName string

// The steps.
const (
	StepBundle      StepName = "bundle"      // the bundle is well-formed
	StepDocument    StepName = "document"    // the file's digest is the statement's
	StepFields      StepName = "fields"      // attributes shown are those committed to
	StepStatement   StepName = "statement"   // the signature over the statement
	StepCertificate StepName = "certificate" // the signer's certificate, at the time of signing
	StepInclusion   StepName = "inclusion"   // the entry is in the log at this size
	StepCheckpoint  StepName = "checkpoint"  // the log signed that size and root
	StepAnchor      StepName = "anchor"      // a chain committed that checkpoint; one step each
	StepStanding    StepName = "standing"    // withdrawn or replaced
)

// Strength of an anchor's evidence.
const (
	SelfProving = "self-proving" // check the signatures of the validators
	Attested    = "attested"     // believe the gateway
)

// Step is one line of a report.
type Step struct {
	Name     StepName     `json:"step"`
	Status   Status       `json:"status"`
	Reason   string       `json:"reason,omitempty"`   // stable code of why it did not pass
	Detail   string       `json:"detail"`             // one English sentence
	Strength string       `json:"strength,omitempty"` // anchors: self-proving or attested
	Compared []Comparison `json:"compared,omitempty"`
}

// Comparison is a value that a step looked at.
type Comparison struct {
	What  string `json:"what"`
	Value string `json:"value"`
}

// AnchorReport is an anchor that holds.
type AnchorReport struct {
	Kind       string   `json:"kind"`
	Strength   string   `json:"strength"`
	Gateway    string   `json:"gateway,omitempty"` // attested: who says so
	Chain      string   `json:"chain"`             // chain id, or the application behind the gateway
	Height     uint64   `json:"height"`
	Time       string   `json:"time"`
	Epoch      uint64   `json:"epoch"`
	Cosigners  []string `json:"cosigners"`
	Power      uint64   `json:"power"`
	TotalPower uint64   `json:"totalPower"`
}

// StandingReport says what became of a record later.
type StandingReport struct {
	State  string `json:"state"` // valid, revoked or superseded
	At     string `json:"at,omitempty"`
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"` // number of the record that replaces it
}

// DocumentReport is what the statement says of the document.
type DocumentReport struct {
	SM3       string `json:"sm3"`
	Size      uint64 `json:"size"`
	MediaType string `json:"mediaType"`
}

// AgencyReport is who signed.
type AgencyReport struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

// LogReport is where the entry stands.
type LogReport struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
	Size   uint64 `json:"size"`
}

// Report is what [Verify] found. Its JSON is the same, byte for byte, wherever it is made.
// What a bundle claims (agency, document, class…) is filled in once it could be parsed; it
// is worth nothing when the verdict is invalid or unverifiable.
type Report struct {
	Format     string            `json:"format"`
	Verdict    Verdict           `json:"verdict"`
	Summary    string            `json:"summary"`
	Proves     string            `json:"proves,omitempty"`
	Number     string            `json:"number,omitempty"`
	Agency     *AgencyReport     `json:"agency,omitempty"`
	Document   *DocumentReport   `json:"document,omitempty"`
	Class      string            `json:"class,omitempty"`
	Supersedes string            `json:"supersedes,omitempty"`
	Fields     map[string]string `json:"fields,omitempty"`
	IssuedAt   string            `json:"issuedAt,omitempty"`
	AnchoredAt string            `json:"anchoredAt,omitempty"`
	Log        *LogReport        `json:"log,omitempty"`
	Anchors    []AnchorReport    `json:"anchors,omitempty"`
	Standing   *StandingReport   `json:"standing,omitempty"`
	Steps      []Step            `json:"steps"`
}

// JSON returns the report's bytes.
func (r *Report) JSON() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, integers and maps of strings always marshal
	}
	return b
}

// FailedStep returns the step that decided: for an invalid bundle the first that failed
// other than the document's, which says nothing then; else the first that failed.
func (r *Report) FailedStep() (Step, bool) {
	for _, s := range r.Steps {
		if s.Status == Failed && (s.Name != StepDocument || r.Verdict != Invalid) {
			return s, true
		}
	}
	return Step{}, false
}

// Unchecked returns a report that says that nothing could be checked, and why. It is for
// callers that lack the means before Verify can run.
func Unchecked(why string) *Report {
	return &Report{Format: ReportFormat, Verdict: Unverifiable, Summary: "This could not be checked now: " + why + ". It says nothing about the file.", Steps: []Step{}}
}

// Missing returns the report for a digest that no record here has.
func Missing() *Report {
	return &Report{Format: ReportFormat, Verdict: NotFound, Summary: "There is no record of this file here.", Steps: []Step{}}
}
