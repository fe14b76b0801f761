package proof

import (
	"encoding/json"
	"slices"
)

// ReportFormat is the value of a report's first key.
const ReportFormat = "stele/report/v1"

// Verdict is one of a small set of stable codes, the same in API, command lines, page and report.
type Verdict string

// The verdicts, with what each says about a file.
const (
	Genuine      Verdict = "genuine"      // this file is exactly the one notarized
	Pending      Verdict = "pending"      // notarized and signed, not anchored yet
	Altered      Verdict = "altered"      // a certificate exists, and this is not its file
	Revoked      Verdict = "revoked"      // it was genuine; the agency revoked it
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

// Statuses are all of them.
func Statuses() []Status { return []Status{Passed, Failed, Skipped, NotChecked} }

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
	StepConsistency StepName = "consistency" // another checkpoint of the same history; of bundles that carry one
	StepStatus      StepName = "status"      // what the log says of the record's standing; of bundles that carry it
	StepStanding    StepName = "standing"    // revoked or replaced
)

// Strength of an anchor's evidence.
const (
	SelfProving = "self-proving" // check the signatures of the validators
	Attested    = "attested"     // believe the gateway
)

// Strengths are both of them.
func Strengths() []string { return []string{SelfProving, Attested} }

// StepNames are all steps, in the order in which they are reported.
func StepNames() []StepName { return slices.Clone(stepOrder) }

// Step is one line of a report.
type Step struct {
	Name     StepName     `json:"step"`
	Status   Status       `json:"status"`
	Reason   string       `json:"reason,omitempty"`   // stable code of why it did not pass
	Detail   string       `json:"detail"`             // one English sentence
	Strength string       `json:"strength,omitempty"` // anchors and a status: self-proving or attested
	Compared []Comparison `json:"compared,omitempty"`
}

// Comparison is a value that a step looked at.
type Comparison struct {
	What  string `json:"what"`
	Value string `json:"value"`
}

// Codes of warnings: what is true of evidence that holds and a reader should know. Codes are
// stable. A warning does not change the verdict.
const (
	WarnLateAnchor      = "late_anchor"           // dated long before anybody else vouched for it
	WarnOneOrganization = "one_organization"      // one organization alone has the votes that vouch for the time
	WarnResaved         = "resaved"               // the file was saved anew; its bytes were restored
	WarnCertificate     = "certificate_revoked"   // the signer's, since a time after the record was anchored
	WarnStandingAlone   = "standing_not_anchored" // no chain vouches for the revocation
	WarnStandingLate    = "standing_late_anchor"  // a revocation dated long before its anchor
)

// Warnings are the codes of all warnings.
func Warnings() []string {
	return []string{WarnLateAnchor, WarnOneOrganization, WarnResaved, WarnCertificate, WarnStandingAlone,
		WarnStandingLate}
}

// Warning is something about evidence that holds.
type Warning struct {
	Code   string `json:"code"`
	Detail string `json:"detail"` // one English sentence
}

// AnchorReport is an anchor that holds. What a gateway's mac does not bind, such as the number of
// a block, is not in it.
type AnchorReport struct {
	Kind          string   `json:"kind"`
	Strength      string   `json:"strength"`
	Gateway       string   `json:"gateway,omitempty"` // attested: who says so
	Chain         string   `json:"chain"`             // chain id, or the application behind the gateway
	Height        uint64   `json:"height,omitempty"`  // self-proving: of the block
	Time          string   `json:"time"`
	Epoch         uint64   `json:"epoch"`
	TermEnded     string   `json:"termEnded,omitempty"` // of the cosigners, where the trust roots pin a later epoch
	Cosigners     []string `json:"cosigners"`
	Organizations []string `json:"organizations,omitempty"` // that the trust roots name for the cosigners, each once
	Power         uint64   `json:"power"`
	TotalPower    uint64   `json:"totalPower"`
	// Moved are the moves that brought the log to this chain and that could be checked, oldest first.
	Moved []MovedReport `json:"moved,omitempty"`
}

// MovedReport is a move of the log from one chain to another, signed by the members of the former.
type MovedReport struct {
	From string `json:"from"` // chain ids
	To   string `json:"to"`
	At   string `json:"at"`   // as the log's operator dated it
	Size uint64 `json:"size"` // of the log on the former chain
}

// The states of a [StandingReport] are [Revoked], [Superseded], and these two.
const (
	StandingUnknown = "unknown" // the bundle shows no end, and cannot show that there is none
	StandingValid   = "valid"   // by the log's status the record had not ended as of a time
)

// StandingStates are all states of a [StandingReport].
func StandingStates() []string {
	return []string{StandingUnknown, StandingValid, string(Revoked), string(Superseded)}
}

// StandingReport says what became of a record later. Of a record whose end the log's status alone
// shows there is neither the agency's date nor a reason.
type StandingReport struct {
	State      string `json:"state"`                // unknown, valid, revoked or superseded
	At         string `json:"at,omitempty"`         // the agency's own date
	AnchoredAt string `json:"anchoredAt,omitempty"` // others vouch for it since; absent where nobody does
	Reason     string `json:"reason,omitempty"`
	By         string `json:"by,omitempty"`        // number of the record that replaces it
	AsOf       string `json:"asOf,omitempty"`      // the log's status is of then; absent where none was shown
	VouchedBy  string `json:"vouchedBy,omitempty"` // chain, or application, that says so
	Entries    uint64 `json:"entries,omitempty"`   // that the status covers: the first ones of the log

	status told
}

// DocumentReport is what the statement says of the document. Its media type is the agency's word,
// and its size as well unless it was compared.
type DocumentReport struct {
	SM3          string `json:"sm3"`
	Size         uint64 `json:"size"`
	MediaType    string `json:"mediaType"`
	SizeCompared bool   `json:"sizeCompared,omitempty"` // with the file
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
	AnchoredAt string            `json:"anchoredAt,omitempty"` // not later than then it was in the log
	AnchoredBy string            `json:"anchoredBy,omitempty"` // chain, or application, of the anchor that says so
	Log        *LogReport        `json:"log,omitempty"`
	Anchors    []AnchorReport    `json:"anchors,omitempty"`
	Standing   *StandingReport   `json:"standing,omitempty"`
	Warnings   []Warning         `json:"warnings,omitempty"`
	Steps      []Step            `json:"steps"`
}

// Headline is the anchor whose time the report leads with, nil where there is none.
func (r *Report) Headline() *AnchorReport {
	for i, a := range r.Anchors {
		if a.Chain == r.AnchoredBy && a.Time == r.AnchoredAt {
			return &r.Anchors[i]
		}
	}
	return nil
}

// JSON returns the report's bytes.
func (r *Report) JSON() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings, integers and maps of strings always marshal
	}
	return b
}

// Passed reports whether a step of this name passed; of anchors one is enough.
func (r *Report) Passed(name StepName) bool {
	return slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Name == name && s.Status == Passed })
}

// FailedStep returns the step that decided: for an invalid bundle the first that speaks against
// the evidence; else the first that failed.
func (r *Report) FailedStep() (Step, bool) {
	for _, s := range r.Steps {
		if s.Status == Failed && (r.Verdict != Invalid || s.AgainstEvidence()) {
			return s, true
		}
	}
	return Step{}, false
}

// AgainstEvidence reports whether a failed step says that the evidence does not hold. That the
// file is another one does not; that the statement gives its file another size than it has does.
func (s Step) AgainstEvidence() bool {
	return s.Status == Failed && (s.Name != StepDocument || s.Reason == "size_differs")
}

// Unchecked returns a report that says that nothing could be checked, and why. It is for
// callers that lack the means before Verify can run.
func Unchecked(why string) *Report {
	return &Report{Format: ReportFormat, Verdict: Unverifiable, Summary: "This could not be checked now: " + why +
		". It says nothing about the file.", Steps: []Step{}}
}

// Missing returns the report for a digest that no record here has.
func Missing() *Report {
	return &Report{Format: ReportFormat, Verdict: NotFound, Summary: "There is no record of this file here.",
		Steps: []Step{}}
}
