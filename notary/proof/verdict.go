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
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// standing checks the entry that revoked or replaced the record, by the same steps as the
// record's own, and reports them as one. first is the record's own entry as it was checked, and
// says is what the log's status tells.
func (v *verifier) standing(b *Bundle, s statement.Statement, first entry, says told) {
	r := v.report
	r.Standing = &StandingReport{State: StandingUnknown}
	says.put(r.Standing)
	if b.Standing == nil {
		r.add(says.standing(r.Standing))
		return
	}
	later, err := statement.Parse(b.Standing.Statement)
	if err != nil {
		r.fail(StepStanding, "malformed", err.Error())
		return
	}
	st := &StandingReport{At: later.IssuedAt.Format(reportTime)}
	says.put(st)
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
	second := sv.evidence(b.Standing, later, b.UserID)
	st.AnchoredAt = scratch.AnchoredAt
	r.Standing = st
	differs := says.differs(st.State == string(Superseded), b.Standing.Log.Index)
	switch {
	case !v.sameVoice(first, second, s.Agency.Code):
		r.fail(StepStanding, "other_root", "The later statement is certified by another root than the record, which "+
			"does not speak for this agency.")
	case second.origin != first.origin && second.origin != "" && first.origin != "":
		r.fail(StepStanding, "other_log", "The later statement is in another log than the record.")
	case differs != nil:
		r.fail(StepStanding, differs.reason, differs.detail)
	default:
		r.add(standingStep(st, scratch.Steps))
		v.warnStanding(scratch, later)
	}
}

// standing is the step of a bundle without a later statement: the log's status says what became of the
// record, or nothing does.
func (t told) standing(st *StandingReport) Step {
	switch {
	case t.by == nil:
		return Step{Name: StepStanding, Status: NotChecked, Reason: noStatusProof,
			Detail: "Whether the record was revoked or replaced, at any time, this bundle cannot show."}
	case t.ended == nil:
		st.State = StandingValid
		return Step{Name: StepStanding, Status: Passed, Compared: []Comparison{{"state", st.State}},
			Detail: fmt.Sprintf("As of %s, by the log's status, the record was neither revoked nor replaced.",
				st.AsOf)}
	case t.ended.Superseded:
		st.State = string(Superseded)
	default:
		st.State = string(Revoked)
	}
	return Step{Name: StepStanding, Status: Passed,
		Detail: fmt.Sprintf("The log says that the record has ended, by its entry %d. The agency's reason and date "+
			"are not in this bundle.", t.ended.Index),
		Compared: []Comparison{{"state", st.State}, {"entry that says so", fmt.Sprint(t.ended.Index)}}}
}

// sameVoice reports whether a later statement may be certified as it is: by the record's own root,
// or, after a renewal, by another one if the trust roots say that both speak for the agency in its
// log. Of a root that is not pinned the certificate's step says so.
func (v *verifier) sameVoice(first, second entry, code string) bool {
	before, known := v.trust.root(first.root)
	after, pinned := v.trust.root(second.root)
	return bytes.Equal(first.root, second.root) || !pinned ||
		known && before.SpeaksFor(code, first.origin) && after.SpeaksFor(code, second.origin)
}

// standingStep sums up the steps of a later statement.
func standingStep(st *StandingReport, steps []Step) Step {
	step := Step{Name: StepStanding, Status: Passed,
		Detail:   "The agency's later statement about this record is signed, logged and holds.",
		Compared: []Comparison{{"state", st.State}, {"the agency's date", st.At}}}
	if st.AnchoredAt != "" {
		step.Compared = append(step.Compared, Comparison{"vouched for, not later than", st.AnchoredAt})
	}
	for _, sub := range steps {
		if sub.Status == Failed {
			step.Status, step.Reason = Failed, "bad_evidence"
			step.Detail = fmt.Sprintf("The later statement does not hold: %s: %s", sub.Name, sub.Detail)
			break
		}
		if sub.Status == NotChecked && step.Status == Passed && sub.Name != StepAnchor {
			step.Status, step.Reason = NotChecked, sub.Reason
			step.Detail = fmt.Sprintf("The later statement could not be checked: %s: %s", sub.Name, sub.Detail)
		}
	}
	return step
}

// warnStanding says what nobody but agency and log vouch for.
func (v *verifier) warnStanding(scratch *Report, later statement.Statement) {
	if scratch.AnchoredAt == "" {
		v.report.warn(WarnStandingAlone,
			"No chain vouches for the agency's later statement: it is signed and in the log, and that is all.")
	}
	for _, w := range scratch.Warnings {
		if w.Code == WarnLateAnchor {
			v.report.warn(WarnStandingLate,
				fmt.Sprintf("The later statement is dated %s, and nobody but the agency vouches for a time before %s.",
					later.IssuedAt.Format(reportTime), scratch.AnchoredAt))
		}
	}
}

// tally is what the steps say together.
type tally struct {
	failed, unknown   *Step // the first of each that decides
	document          Status
	anchors, anchored int
}

func (r *Report) tally() tally {
	t := tally{document: Passed}
	for i := range r.Steps {
		s := &r.Steps[i]
		if s.Name == StepDocument {
			t.document = s.Status
		}
		switch {
		case s.AgainstEvidence() && t.failed == nil:
			t.failed = s
		case s.Name == StepAnchor:
			if s.Status != Skipped {
				t.anchors++
			}
			if s.Status == Passed {
				t.anchored++
			}
		case s.LeavesOpen() && t.unknown == nil:
			t.unknown = s
		}
	}
	return t
}

// LeavesOpen reports whether a step leaves the evidence open: it was not checked, and more than a
// file or a status proof is missing. A second checkpoint or a status that could not be checked does not.
func (s Step) LeavesOpen() bool {
	return s.Status == NotChecked && s.Name != StepDocument && s.Name != StepConsistency && s.Name != StepStatus &&
		s.Reason != noStatusProof
}

// decide sets verdict and summary from the steps. The order matters: evidence that does not
// hold says nothing about a file, and a file that is not the record's is not the record's
// whatever became of the record.
func (r *Report) decide(f *File) *Report {
	r.sortSteps()
	t := r.tally()
	switch {
	case t.failed != nil:
		r.Warnings = nil
		r.set(Invalid,
			fmt.Sprintf("The evidence does not hold, so nothing can be said about the file. The step that failed "+
				"is %q: %s", t.failed.Name, t.failed.Detail))
	case t.unknown != nil:
		r.Warnings = nil
		r.set(Unverifiable,
			fmt.Sprintf("This could not be checked with your trust roots, which says nothing about the file: %s",
				t.unknown.Detail))
	case t.document == Failed:
		r.set(Altered,
			fmt.Sprintf("This file is not the one that certificate %s was issued for: it was altered, or it is "+
				"another file.", r.Number))
	case r.Standing.endedByLog():
		r.set(Verdict(r.Standing.State), r.endedText())
	case r.Standing.State == string(Revoked):
		r.set(Revoked, fmt.Sprintf("%s revoked certificate %s, %s. Its reason: %s", r.Agency.Name, r.Number,
			r.Standing.when(), r.Standing.Reason))
	case r.Standing.State == string(Superseded):
		r.set(Superseded, fmt.Sprintf("%s replaced certificate %s by %s, %s%s", r.Agency.Name, r.Number, r.Standing.By,
			r.Standing.when(), because(r.Standing.Reason)))
	case t.anchors == 0:
		r.set(Pending, fmt.Sprintf("%s signed this record and it is in the log. The bundle shows no anchor: no chain "+
			"vouches for it in there. Anchoring usually takes a few seconds. The agency's own date is %s.",
			r.Agency.Name, r.IssuedAt))
	case t.anchored == 0:
		r.set(Unverifiable, "The record's anchors are on chains that are not among your trust roots. It says nothing "+
			"about the file.")
	case f == nil:
		r.set(Unverifiable, fmt.Sprintf("The evidence of certificate %s holds, but no file was compared with it.",
			r.Number))
	default:
		r.set(Genuine,
			fmt.Sprintf("This file is exactly the one that %s registered. %s The agency's own date is %s.%s",
				r.Agency.Name, r.anchoredText(), r.IssuedAt, r.Standing.validText()))
		r.Proves = provesText + provesNoStanding
		if r.Standing.State == StandingValid {
			r.Proves = provesText + fmt.Sprintf(provesAsOf, r.Standing.AsOf)
		}
	}
	return r
}

// endedByLog reports whether the log's status alone shows that the record ended.
func (s *StandingReport) endedByLog() bool { return s.status.ended != nil && s.At == "" }

// endedText says what the log's status shows of a record that ended.
func (r *Report) endedText() string {
	what := "revoked"
	if r.Standing.State == string(Superseded) {
		what = "replaced"
	}
	return fmt.Sprintf("Certificate %s of %s was %s: entry %d of the log says so, by the log's status as of %s, %s. "+
		"The reason and the agency's date are not in this bundle.", r.Number, r.Agency.Name, what,
		r.Standing.status.ended.Index, r.Standing.AsOf, r.Standing.status.by.report.vouch())
}

// validText says as of when a record had not ended, and on whose word; nothing where that is not known.
func (s *StandingReport) validText() string {
	if s.State != StandingValid {
		return ""
	}
	return fmt.Sprintf(" As of %s, by the log's status, %s, it was neither revoked nor replaced.", s.AsOf,
		s.status.by.report.vouch())
}

// when says since when a record is revoked or replaced, and on whose word.
func (s *StandingReport) when() string {
	if s.AnchoredAt == "" {
		return fmt.Sprintf("by its own date on %s; no chain vouches for that yet", s.At)
	}
	return fmt.Sprintf("in the log not later than %s; its own date is %s", s.AnchoredAt, s.At)
}

// anchoredText says not later than when the record was in the log, and on whose word.
func (r *Report) anchoredText() string {
	return fmt.Sprintf("It was in the log not later than %s, %s.", r.AnchoredAt, r.Headline().vouch())
}

// vouch says on whose word the anchor's time is.
func (a *AnchorReport) vouch() string {
	if a.Strength == Attested {
		return fmt.Sprintf("which the gateway %q alone attests", a.Gateway)
	}
	return "vouched for by " + a.Vouchers()
}

// Vouchers counts those that cosigned a self-proving anchor: organizations where the trust roots
// name them, else members of the chain.
func (a *AnchorReport) Vouchers() string {
	of := fmt.Sprintf("of the chain %s (%d of %d votes)", a.Chain, a.Power, a.TotalPower)
	members := fmt.Sprintf("%d members %s", len(a.Cosigners), of)
	if len(a.Cosigners) == 1 {
		members = "1 member " + of
	}
	switch len(a.Organizations) {
	case 0:
		return members
	case 1:
		return fmt.Sprintf("%s, all of one organization, %s", members, a.Organizations[0])
	}
	return fmt.Sprintf("%d organizations, %s", len(a.Organizations), members)
}

// OnWordOf is the gateway that alone says when the record was anchored. It is empty where an
// anchor proves itself, and where there is none.
func (r *Report) OnWordOf() string {
	if a := r.Headline(); a != nil && a.Strength == Attested {
		return a.Gateway
	}
	return ""
}

func (r *Report) set(v Verdict, summary string) { r.Verdict, r.Summary = v, summary }

var stepOrder = []StepName{StepBundle, StepDocument, StepFields, StepStatement, StepCertificate, StepInclusion,
	StepCheckpoint, StepAnchor, StepConsistency, StepStatus, StepStanding}

func (r *Report) sortSteps() {
	slices.SortStableFunc(r.Steps,
		func(a, b Step) int { return slices.Index(stepOrder, a.Name) - slices.Index(stepOrder, b.Name) })
}

func (r *Report) add(s Step) { r.Steps = append(r.Steps, s) }

func (r *Report) warn(code, detail string) {
	r.Warnings = append(r.Warnings, Warning{Code: code, Detail: detail})
}

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
		known := slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Name == n })
		if n != StepConsistency && n != StepStatus && !known {
			r.skip(n, "unreadable", fmt.Sprintf("Nothing to check: the %s cannot be read.", failed))
		}
	}
}

// anchorKind reads the kind of an anchor, which is its first key, or returns "" for none
// that version 1 knows. The literal comparison leaves no second spelling.
func anchorKind(raw []byte) string {
	for _, kind := range []string{KindEgov, KindBSNFabric, KindBSNFISCO} {
		if rest, ok := bytes.CutPrefix(raw, []byte(`{"kind":"`+kind+`"`)); ok && len(rest) > 0 &&
			(rest[0] == ',' || rest[0] == '}') {
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
	if !ok || !end || err != nil || base64.StdEncoding.EncodeToString(raw) != enc || len(raw) < 4 ||
		!sm.CanonicalSignature(raw[4:]) {
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
	return ". Its reason: " + reason
}
