package proof

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/signednote"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// anchored is an anchor that holds, with the keys that the chain's epochs admit for the log.
type anchored struct {
	report   AnchorReport
	at       time.Time
	header   anchorproof.Header // of a self-proving one
	named    bool               // the trust roots name the organization of each cosigner
	alone    *TrustedMember     // an organization whose signatures alone were enough, or nil
	notaries []*signednote.Verifier
	later    bool // attested: it is about a later checkpoint, which grew out of the one asked about
}

// anchors checks each anchor of a checkpoint, reports it, and returns those that hold.
func (v *verifier) anchors(raw []json.RawMessage, c checkpoint.Checkpoint, s statement.Statement) []anchored {
	if len(raw) == 0 {
		v.report.skip(StepAnchor, "not_anchored", "The log has not been anchored at this size yet.")
		return nil
	}
	var hold []anchored
	for _, one := range raw {
		step, a := v.anchor(one, c)
		if step.Status == Passed {
			v.inOrder(&step, a, s, hold)
		}
		v.report.add(step)
		if step.Status == Passed {
			hold = append(hold, a)
			v.report.Anchors = append(v.report.Anchors, a.report)
		}
	}
	if h := headlineOf(hold); h != nil {
		v.report.AnchoredAt, v.report.AnchoredBy = h.report.Time, h.report.Chain
		v.warnAnchor(h, s)
	}
	return hold
}

// inOrder refuses an anchor of a time before the statement's, of a chain that another anchor is
// of, or of a chain that may not anchor this log.
func (v *verifier) inOrder(step *Step, a anchored, s statement.Statement, hold []anchored) {
	same := func(b anchored) bool { return b.report.Kind == a.report.Kind && b.report.Chain == a.report.Chain }
	early := a.at.Before(s.IssuedAt.Add(-clockTolerance))
	switch {
	case early && step.Strength == Attested:
		// The clock is the gateway's own, and nobody else vouched for it: an anchor that does
		// not count must not spoil those that do.
		step.Status, step.Reason = NotChecked, "time_order"
		step.Detail = "The gateway's time lies before the time at which the statement says it was issued; this " +
			"anchor does not count."
	case early:
		step.Status, step.Reason = Failed, "time_order"
		step.Detail = "The chain's time lies before the time at which the statement says it was issued."
	case slices.ContainsFunc(hold, same):
		step.Status, step.Reason, step.Detail = Failed, "duplicate", "The bundle already holds an anchor of this chain."
	}
}

// headlineOf is the anchor that the report leads with: of those that prove themselves, or of the
// attested ones where there are no others, the one with the earliest time, of equal ones the first.
// Whoever holds a bundle can leave anchors out, so that each pinned chain is believed alone anyway;
// and an anchor that was added must not make a record's evidence worse.
func headlineOf(hold []anchored) *anchored {
	var best *anchored
	for i := range hold {
		a := &hold[i]
		better := best == nil || a.report.Strength == SelfProving && best.report.Strength == Attested
		if better || a.report.Strength == best.report.Strength && a.at.Before(best.at) {
			best = a
		}
	}
	return best
}

// warnAnchor says how much less than it seems the anchor that the report leads with proves.
func (v *verifier) warnAnchor(h *anchored, s statement.Statement) {
	if h.at.Sub(s.IssuedAt) > v.trust.late() {
		v.report.warn(WarnLateAnchor,
			fmt.Sprintf("The agency dated the record %s. Nobody else vouches for a time before %s.",
				s.IssuedAt.Format(reportTime), h.report.Time))
	}
	if h.alone != nil {
		v.report.warn(WarnOneOrganization,
			fmt.Sprintf("One organization alone has the votes that vouch for the time: %s (%s).",
				h.alone.Organization, h.alone.Code))
	}
}

func (v *verifier) anchor(raw []byte, c checkpoint.Checkpoint) (Step, anchored) {
	step := Step{Name: StepAnchor, Strength: SelfProving}
	end := func(s Status, reason, detail string) (Step, anchored) {
		step.Status, step.Reason, step.Detail = s, reason, detail
		return step, anchored{}
	}
	switch kind := anchorKind(raw); kind {
	case KindEgov:
	case KindBSNFabric, KindBSNFISCO:
		return v.attested(raw, c)
	default:
		return end(Failed, "malformed", fmt.Sprintf("%q is no kind of anchor.", kind))
	}
	ev, err := anchorproof.ParseEvidence(raw)
	if err != nil {
		return end(Failed, "malformed", err.Error())
	}
	p, err := v.trust.prove(ev, c)
	switch {
	case errors.Is(err, errUnknownChain) && v.renamed(ev, c):
		return end(Failed, "bad_evidence", "The evidence names another chain than the one whose validators signed it.")
	case errors.Is(err, errUnknownChain):
		return end(NotChecked, "unknown_chain", fmt.Sprintf("The chain %q is not among your trust roots.",
			ev.Header.Chain))
	case errors.Is(err, errOtherChain):
		return end(NotChecked, "other_chain",
			fmt.Sprintf("By your trust roots, the chain %q does not anchor the log %q.", ev.Header.Chain, c.Origin))
	case err != nil:
		return end(Failed, "bad_evidence", err.Error())
	}
	chain, proven := p.chain, p.proven
	a := chain.anchored(ev, proven, p.ended, c.Origin)
	a.report.Moved = p.moved
	if a.alone == nil {
		a.alone = p.alone
	}
	step.Status, step.Detail = Passed, chain.detail(a)
	step.Compared = []Comparison{{"chain", proven.Chain}, {"block", fmt.Sprint(proven.Height)}, {"time", a.report.Time},
		{"header", ev.Header.Text()}}
	return step, a
}

// anchored puts together what evidence that holds says.
func (c TrustedChain) anchored(ev anchorproof.Evidence, proven anchorproof.Anchored, ended time.Time,
	origin string) anchored {
	a := anchored{at: proven.Time, header: ev.Header, report: AnchorReport{Kind: KindEgov, Strength: SelfProving,
		Chain: proven.Chain, Height: proven.Height,
		Time: proven.Time.Format(reportTime), Epoch: proven.Epoch, Cosigners: proven.Validators, Power: proven.Signed,
		TotalPower: proven.Total}}
	if !ended.IsZero() {
		a.report.TermEnded = ended.Format(reportTime)
	}
	epochs := []anchorproof.Epoch{c.Genesis}
	for _, next := range ev.Epochs {
		epochs = append(epochs, next.Epoch)
	}
	for _, epoch := range epochs {
		if key := epoch.Notary(origin); key != nil {
			if k, err := signednote.NewVerifier(origin, key); err == nil {
				a.notaries = append(a.notaries, k)
			}
		}
	}
	a.report.Organizations, a.named = c.organizations(epochs[len(epochs)-1], ev.Cosignatures)
	a.alone = c.aloneIn(epochs[len(epochs)-1], ev.Cosignatures, ev.Epochs)
	return a
}

// organizations are those of the signers, each once, if the trust roots name them all.
func (c TrustedChain) organizations(e anchorproof.Epoch, signed []anchorproof.Cosignature) (names []string, all bool) {
	var codes []string
	for _, s := range signed {
		m, named := c.Organization(e.Validators[s.Validator].Key)
		if !named {
			return nil, false
		}
		if !slices.Contains(codes, m.Code) {
			codes, names = append(codes, m.Code), append(names, m.Organization)
		}
	}
	return names, true
}

// alone is an organization whose signatures are a quorum without the others', or nil.
func (c TrustedChain) alone(e anchorproof.Epoch, signed []anchorproof.Cosignature) *TrustedMember {
	power := map[string]uint64{} // by credit code
	for _, s := range signed {
		v := e.Validators[s.Validator]
		if m, named := c.Organization(v.Key); named {
			if power[m.Code] += v.Power; e.IsQuorum(power[m.Code]) {
				return &m
			}
		}
	}
	return nil
}

// detail is the sentence about an anchor that holds.
func (c TrustedChain) detail(a anchored) string {
	r := a.report
	text := fmt.Sprintf("Validators with %d of %d votes of the chain signed the block that holds this checkpoint",
		r.Power, r.TotalPower)
	switch {
	case len(c.Members) == 0:
		text += "; your trust roots do not say which organizations they are."
	case !a.named:
		text += "; your trust roots do not name all of them."
	case len(r.Organizations) == 1:
		text += ": one organization."
	default:
		text += fmt.Sprintf(": %d organizations.", len(r.Organizations))
	}
	for _, m := range r.Moved {
		text += fmt.Sprintf(" The log moved from the chain %s to %s at size %d, by its operator's date on %s: more "+
			"than two thirds of the former chain's votes signed that.",
			m.From, m.To, m.Size, m.At)
	}
	if r.TermEnded != "" {
		text += fmt.Sprintf(" Their term ended on %s: it holds as far as their former keys are out of use.",
			r.TermEnded)
	}
	return text
}
