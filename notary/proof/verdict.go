package proof

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/checkpoint"
	"stele/notary/statement"
)

// standing checks the entry that withdrew or replaced the record, by the same steps as the
// record's own, and reports them as one.
func (v *verifier) standing(b *Bundle, s statement.Statement) {
	r := v.report
	if b.Standing == nil {
		r.Standing = &StandingReport{State: "valid"}
		r.pass(StepStanding, "The bundle holds no withdrawal and no replacement. One made after it was written cannot be in it.")
		return
	}
	later, err := statement.Parse(b.Standing.Statement)
	if err != nil {
		r.fail(StepStanding, "malformed", err.Error())
		return
	}
	st := &StandingReport{At: later.IssuedAt.Format(reportTime)}
	switch {
	case later.Agency.Code != s.Agency.Code:
		r.fail(StepStanding, "other_agency", "The later statement is of another agency.")
		return
	case later.IssuedAt.Before(s.IssuedAt.Add(-clockTolerance)):
		r.fail(StepStanding, "time_order", "The later statement says that it was made before the record was issued.")
		return
	case later.Action == statement.Revoke && later.Number == s.Number:
		st.State, st.Reason = string(Revoked), later.Reason
	case later.Action == statement.Issue && later.Supersedes == s.Number:
		st.State, st.By, st.Reason = string(Superseded), later.Number, later.Reason
	default:
		r.fail(StepStanding, "other_record", "The later statement speaks of another record.")
		return
	}
	scratch := &Report{}
	sv := verifier{trust: v.trust, report: scratch}
	sv.evidence(b.Standing, later, b.UserID)
	step := Step{Name: StepStanding, Status: Passed, Detail: "The agency's later statement about this record is signed, logged and holds.",
		Compared: []Comparison{{"state", st.State}, {"since", st.At}}}
	for _, sub := range scratch.Steps {
		if sub.Status == Failed {
			step.Status, step.Reason, step.Detail = Failed, "bad_evidence", fmt.Sprintf("The later statement does not hold: %s: %s", sub.Name, sub.Detail)
			break
		}
		if sub.Status == NotChecked && step.Status == Passed && sub.Name != StepAnchor {
			step.Status, step.Reason, step.Detail = NotChecked, sub.Reason, fmt.Sprintf("The later statement could not be checked: %s: %s", sub.Name, sub.Detail)
		}
	}
	r.Standing = st
	r.add(step)
}

// decide sets verdict and summary from the steps. The order matters: evidence that does not
// hold says nothing about a file, and a file that is not the record's is not the record's
// whatever became of the record.
func (r *Report) decide(digest *sm.Digest) *Report {
	r.sortSteps()
	var failed, unknown *Step
	document, anchors, anchored := Passed, 0, 0
	for i := range r.Steps {
		s := &r.Steps[i]
		switch {
		case s.Name == StepDocument:
			document = s.Status
		case s.Status == Failed && failed == nil:
			failed = s
		case s.Name == StepAnchor:
			if s.Status != Skipped {
				anchors++
			}
			if s.Status == Passed {
				anchored++
			}
		case s.Status == NotChecked && unknown == nil:
			unknown = s
		}
	}
	switch {
	case failed != nil:
		r.set(Invalid, fmt.Sprintf("The evidence does not hold, so nothing can be said about the file. The step that failed is %q: %s", failed.Name, failed.Detail))
	case unknown != nil:
		r.set(Unverifiable, fmt.Sprintf("This could not be checked with your trust roots, which says nothing about the file: %s", unknown.Detail))
	case document == Failed:
		r.set(Altered, fmt.Sprintf("This file is not the one that certificate %s was issued for: it was altered, or it is another file.", r.Number))
	case r.Standing.State == string(Revoked):
		r.set(Revoked, fmt.Sprintf("%s withdrew certificate %s on %s: %s", r.Agency.Name, r.Number, r.Standing.At, r.Standing.Reason))
	case r.Standing.State == string(Superseded):
		r.set(Superseded, fmt.Sprintf("%s replaced certificate %s on %s by %s%s", r.Agency.Name, r.Number, r.Standing.At, r.Standing.By, because(r.Standing.Reason)))
	case anchors == 0:
		r.set(Pending, fmt.Sprintf("%s signed this record on %s and it is in the log; it is not anchored yet, which usually takes a few seconds.", r.Agency.Name, r.IssuedAt))
	case anchored == 0:
		r.set(Unverifiable, "The record's anchors are on chains that are not among your trust roots. It says nothing about the file.")
	case digest == nil:
		r.set(Unverifiable, fmt.Sprintf("The evidence of certificate %s holds, but no file was compared with it.", r.Number))
	default:
		r.set(Genuine, fmt.Sprintf("This file is exactly the one that %s registered on %s; %s.", r.Agency.Name, r.IssuedAt, r.anchoredText()))
		r.Proves = provesText
	}
	return r
}

// anchoredText says when, and on whose word where no anchor proves itself.
func (r *Report) anchoredText() string {
	if by := r.OnWordOf(); by != "" {
		return fmt.Sprintf("the gateway %q attests that it was anchored at %s", by, r.AnchoredAt)
	}
	return "it was anchored at " + r.AnchoredAt
}

// OnWordOf is the gateway that alone says when the record was anchored: the one whose anchor is
// the earliest. It is empty where an anchor proves itself, and where there is none.
func (r *Report) OnWordOf() string {
	by := ""
	for _, a := range r.Anchors {
		if a.Strength == SelfProving {
			return ""
		}
		if by == "" || a.Time == r.AnchoredAt {
			by = a.Gateway
		}
	}
	return by
}

func (r *Report) set(v Verdict, summary string) { r.Verdict, r.Summary = v, summary }

var stepOrder = []StepName{StepBundle, StepDocument, StepFields, StepStatement, StepCertificate, StepInclusion, StepCheckpoint, StepAnchor, StepStanding}

func (r *Report) sortSteps() {
	slices.SortStableFunc(r.Steps, func(a, b Step) int { return slices.Index(stepOrder, a.Name) - slices.Index(stepOrder, b.Name) })
}

func (r *Report) add(s Step) { r.Steps = append(r.Steps, s) }

func (r *Report) pass(n StepName, detail string) {
	r.add(Step{Name: n, Status: Passed, Detail: detail})
}

func (r *Report) fail(n StepName, reason, detail string) {
	r.add(Step{Name: n, Status: Failed, Reason: reason, Detail: detail})
}

func (r *Report) skip(n StepName, reason, detail string) {
	r.add(Step{Name: n, Status: Skipped, Reason: reason, Detail: detail})
}

// skipAfter marks every other step as skipped: nothing could be read.
func (r *Report) skipAfter(failed StepName) {
	for _, n := range stepOrder {
		if !slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Name == n }) {
			r.skip(n, "unreadable", fmt.Sprintf("Nothing to check: the %s cannot be read.", failed))
		}
	}
}

// anchorKind reads the kind of an anchor, which is its first key, or returns "" for none
// that version 1 knows. The literal comparison leaves no second spelling.
func anchorKind(raw []byte) string {
	for _, kind := range []string{KindEgov, KindBSNFabric, KindBSNFISCO} {
		if rest, ok := bytes.CutPrefix(raw, []byte(`{"kind":"`+kind+`"`)); ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == '}') {
			return kind
		}
	}
	return ""
}

// signedByStranger reports whether a checkpoint bears one well-formed signature in the
// log's own name by a key that is none of those known. Without the key no more can be
// said: it may be a log or a key that is not pinned here. It is no stranger's when the
// name or the key id was edited: then the signature still is that of a known key.
func signedByStranger(note []byte, c checkpoint.Checkpoint, known []*signednote.Verifier) bool {
	enc, ok := strings.CutPrefix(string(note), c.Text()+"\n— "+c.Origin+" ")
	enc, end := strings.CutSuffix(enc, "\n")
	raw, err := base64.StdEncoding.Strict().DecodeString(enc)
	if !ok || !end || err != nil || base64.StdEncoding.EncodeToString(raw) != enc || len(raw) < 4 || !sm.CanonicalSignature(raw[4:]) {
		return false
	}
	id := binary.BigEndian.Uint32(raw)
	return !slices.ContainsFunc(known, func(k *signednote.Verifier) bool {
		return k.KeyHash() == id || k.Verify([]byte(c.Text()), raw[4:])
	})
}

// because ends a sentence with a reason, where there is one.
func because(reason string) string {
	if reason == "" {
		return "."
	}
	return ": " + reason
}
