package proof

import (
	"errors"
	"fmt"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/anchorproof"
	"stele/notary/checkpoint"
	"stele/notary/statement"
)

const (
	reportTime = "2006-01-02T15:04:05.000Z"

	// clockTolerance is how far the agency's clock may be ahead of the chain's: a statement
	// cannot have been anchored, withdrawn or replaced before it was issued.
	clockTolerance = 5 * time.Minute

	provesText = "This digest was registered by this agency at this time and has not been changed since. It does not prove that what the document says is true."
)

// Verify decides the verdict on a bundle and, where one is given, on the document with this
// SM3 digest. Nothing else is consulted: no network, no clock, no files.
//
// Without a digest the verdict is at best unverifiable (or pending, revoked, superseded),
// because no file was compared; the steps still say that the evidence holds.
func Verify(trust *Trust, digest *sm.Digest, bundle []byte) *Report {
	r := &Report{Format: ReportFormat, Steps: []Step{}}
	b, err := ParseBundle(bundle)
	if err != nil {
		r.fail(StepBundle, "malformed", err.Error())
		r.skipAfter(StepBundle)
		return r.decide(digest)
	}
	r.pass(StepBundle, "The bundle is complete and well-formed.")
	s, err := statement.Parse(b.Statement)
	if err == nil && s.Action != statement.Issue {
		err = errors.New("a bundle must hold the statement that issued the record")
	}
	if err != nil {
		r.fail(StepStatement, "malformed", err.Error())
		r.skipAfter(StepStatement)
		return r.decide(digest)
	}
	r.describe(s)
	r.checkDocument(s, digest)
	r.checkFields(s, b.Fields)
	v := verifier{trust: trust, report: r}
	v.evidence(&b.Evidence, s, b.UserID)
	v.standing(b, s)
	return r.decide(digest)
}

func (r *Report) describe(s statement.Statement) {
	r.Number, r.Class, r.Supersedes = s.Number, s.Class, s.Supersedes
	r.Agency = &AgencyReport{Code: s.Agency.Code, Name: s.Agency.Name}
	r.Document = &DocumentReport{SM3: s.Document.SM3.String(), Size: s.Document.Size, MediaType: s.Document.MediaType}
	r.IssuedAt = s.IssuedAt.Format(reportTime)
}

func (r *Report) checkDocument(s statement.Statement, digest *sm.Digest) {
	want := Comparison{"SM3 in the statement", s.Document.SM3.String()}
	switch {
	case digest == nil:
		r.add(Step{Name: StepDocument, Status: NotChecked, Reason: "no_document", Detail: "No file was given to compare.", Compared: []Comparison{want}})
	case *digest != s.Document.SM3:
		r.add(Step{Name: StepDocument, Status: Failed, Reason: "digest_differs", Detail: "The file is not the one that this record was issued for.",
			Compared: []Comparison{{"SM3 of the file", digest.String()}, want}})
	default:
		r.add(Step{Name: StepDocument, Status: Passed, Detail: "The file's SM3 digest is the one in the statement.",
			Compared: []Comparison{{"SM3 of the file", digest.String()}, want}})
	}
}

func (r *Report) checkFields(s statement.Statement, shown []Disclosed) {
	values := make(map[string]string, len(shown))
	for _, f := range shown {
		want, ok := s.Field(f.Name)
		if !ok {
			r.fail(StepFields, "unknown_field", fmt.Sprintf("The attribute %q is not in the statement.", f.Name))
			return
		}
		if got := statement.Commitment(f.Salt, f.Name, f.Value); got != want {
			r.add(Step{Name: StepFields, Status: Failed, Reason: "commitment_differs", Detail: fmt.Sprintf("The attribute %q is not the one that was signed.", f.Name),
				Compared: []Comparison{{"commitment of what is shown", got.String()}, {"commitment in the statement", want.String()}}})
			return
		}
		values[f.Name] = f.Value
	}
	if len(values) > 0 {
		r.Fields = values
	}
	r.pass(StepFields, fmt.Sprintf("%d of %d attributes are shown; each is the one that was signed.", len(shown), len(s.Fields)))
}

// verifier runs the steps that need trust roots. Its report is the record's own, or a
// scratch one for the entry behind a standing.
type verifier struct {
	trust  *Trust
	report *Report
}

func (v *verifier) evidence(e *Evidence, s statement.Statement, userID string) {
	signer, err := pki.Parse(e.Certificates[0])
	if err != nil {
		v.report.skip(StepStatement, "no_signer", "The signer's certificate cannot be read.")
		v.report.fail(StepCertificate, "malformed", err.Error())
	} else {
		v.signature(e, signer, userID)
		v.certificate(e, s, signer)
	}
	c, ok := v.inclusion(e)
	if !ok {
		v.report.skip(StepCheckpoint, "no_checkpoint", "There is no checkpoint to check.")
		v.report.skip(StepAnchor, "no_checkpoint", "There is no checkpoint that could be anchored.")
		return
	}
	proven, at := v.anchors(e, c, s)
	v.checkpoint(e, c, s, proven, at)
}

func (v *verifier) signature(e *Evidence, signer *pki.Certificate, userID string) {
	switch {
	case userID != sm.UserID:
		v.report.fail(StepStatement, "user_id", fmt.Sprintf("The SM2 user id must be %s.", sm.UserID))
	case !signer.PublicKey().Verify(e.Statement, e.Signature):
		v.report.add(Step{Name: StepStatement, Status: Failed, Reason: "bad_signature", Detail: "The signature over the statement does not verify under the signer's certificate.",
			Compared: []Comparison{{"signer's certificate (SM3)", sm.Sum(e.Certificates[0]).String()}}})
	default:
		v.report.add(Step{Name: StepStatement, Status: Passed, Detail: "The statement bears a valid SM2 signature of the signer.",
			Compared: []Comparison{{"SM3 of the statement", sm.Sum(e.Statement).String()}, {"signature", b64(e.Signature)}, {"SM2 user id", userID}}})
	}
}

func (v *verifier) certificate(e *Evidence, s statement.Statement, signer *pki.Certificate) {
	compared := []Comparison{{"certificate holder", signer.Subject().Organization}, {"holder's credit code", signer.Code()}, {"SM3 of the certificate", sm.Sum(e.Certificates[0]).String()}}
	if signer.Code() != s.Agency.Code || signer.Subject().Organization != s.Agency.Name {
		v.report.add(Step{Name: StepCertificate, Status: Failed, Reason: "other_holder", Detail: "The certificate belongs to another agency than the statement names.", Compared: compared})
		return
	}
	var roots [][]byte
	if v.trust != nil {
		roots = v.trust.Roots
	}
	_, err := pki.VerifyChain(e.Certificates, roots, s.IssuedAt, pki.Agency)
	if errors.Is(err, pki.ErrUnknownRoot) {
		// A root that is not pinned may be another service's, or ours with a byte changed. The
		// latter no longer bears its own signature, and is evidence that does not hold.
		if _, bad := pki.VerifyRoot(e.Certificates[len(e.Certificates)-1]); bad != nil {
			err = bad
		}
	}
	step := Step{Name: StepCertificate, Compared: compared}
	switch {
	case errors.Is(err, pki.ErrUnknownRoot):
		step.Status, step.Reason = NotChecked, "unknown_root"
		step.Detail = "The certificate was issued under a root that is not among your trust roots."
	case err != nil:
		step.Status, step.Reason, step.Detail = Failed, "bad_certificate", err.Error()
	default:
		step.Status, step.Detail = Passed, "The signer's certificate was valid when the statement was signed."
	}
	v.report.add(step)
}

func (v *verifier) inclusion(e *Evidence) (checkpoint.Checkpoint, bool) {
	c, err := checkpoint.ParseUnsafe(e.Log.Checkpoint)
	if err != nil {
		v.report.fail(StepInclusion, "malformed", err.Error())
		return c, false
	}
	leaf := e.LeafHash()
	compared := []Comparison{{"leaf", leaf.String()}, {"index", fmt.Sprint(e.Log.Index)}, {"size of the log", fmt.Sprint(c.Size)}, {"root", c.Root.String()}}
	if err := merkle.VerifyInclusion(e.Log.Index, c.Size, leaf, e.Log.Path, c.Root); err != nil {
		v.report.add(Step{Name: StepInclusion, Status: Failed, Reason: "not_included", Detail: err.Error(), Compared: compared})
	} else {
		v.report.add(Step{Name: StepInclusion, Status: Passed, Detail: "The entry is in the log, at this place, under this root.", Compared: compared})
	}
	v.report.Log = &LogReport{Origin: c.Origin, Index: e.Log.Index, Size: c.Size}
	return c, true
}

// anchors checks each anchor and returns the keys that the proven chains admit for the log
// (after the log's key was rotated, the epochs lead from the pinned set to the new key),
// and the earliest time, or zero: a proven one if there is any, else one that is attested.
func (v *verifier) anchors(e *Evidence, c checkpoint.Checkpoint, s statement.Statement) (keys []*signednote.Verifier, earliest time.Time) {
	if len(e.Anchors) == 0 {
		v.report.skip(StepAnchor, "not_anchored", "The log has not been anchored at this size yet.")
		return nil, time.Time{}
	}
	seen, proven := map[string]bool{}, false
	for _, raw := range e.Anchors {
		step, a := v.anchor(raw, c)
		chain := a.report.Kind + " " + a.report.Chain
		switch {
		case step.Status != Passed:
		case a.at.Before(s.IssuedAt.Add(-clockTolerance)) && step.Strength == Attested:
			// The clock is the gateway's own, and nobody else vouched for it: an anchor that does
			// not count must not spoil those that do.
			step.Status, step.Reason, step.Detail = NotChecked, "time_order", "The gateway's time lies before the time at which the statement says it was issued; this anchor does not count."
		case a.at.Before(s.IssuedAt.Add(-clockTolerance)):
			step.Status, step.Reason = Failed, "time_order"
			step.Detail = "The chain's time lies before the time at which the statement says it was issued."
		case seen[chain]:
			step.Status, step.Reason, step.Detail = Failed, "duplicate", "The bundle already holds an anchor of this chain."
		}
		v.report.add(step)
		if step.Status != Passed {
			continue
		}
		seen[chain] = true
		better := step.Strength == SelfProving && !proven
		if better || a.at.Before(earliest) && (step.Strength == SelfProving) == proven || earliest.IsZero() {
			earliest, proven = a.at, step.Strength == SelfProving
			v.report.AnchoredAt = a.at.Format(reportTime)
		}
		v.report.Anchors = append(v.report.Anchors, a.report)
		keys = append(keys, a.notaries...)
	}
	return keys, earliest
}

func (v *verifier) anchor(raw []byte, c checkpoint.Checkpoint) (Step, anchored) {
	step := Step{Name: StepAnchor, Strength: SelfProving}
	switch kind := anchorKind(raw); kind {
	case KindEgov:
	case KindBSNFabric, KindBSNFISCO:
		return v.attested(raw, c)
	default:
		step.Status, step.Reason, step.Detail = Failed, "malformed", fmt.Sprintf("%q is no kind of anchor.", kind)
		return step, anchored{}
	}
	ev, err := anchorproof.ParseEvidence(raw)
	if err != nil {
		step.Status, step.Reason, step.Detail = Failed, "malformed", err.Error()
		return step, anchored{}
	}
	var genesis anchorproof.Epoch
	known := false
	if v.trust != nil {
		genesis, known = v.trust.chain(ev.Header.Chain)
	}
	if !known && v.renamed(ev, c) {
		step.Status, step.Reason = Failed, "bad_evidence"
		step.Detail = "The evidence names another chain than the one whose validators signed it."
		return step, anchored{}
	}
	if !known {
		step.Status, step.Reason = NotChecked, "unknown_chain"
		step.Detail = fmt.Sprintf("The chain %q is not among your trust roots.", ev.Header.Chain)
		return step, anchored{}
	}
	proven, err := ev.Verify(genesis, c)
	if err != nil {
		step.Status, step.Reason, step.Detail = Failed, "bad_evidence", err.Error()
		return step, anchored{}
	}
	a := anchored{at: proven.Time, report: AnchorReport{Kind: KindEgov, Strength: SelfProving, Chain: proven.Chain, Height: proven.Height, Time: proven.Time.Format(reportTime),
		Epoch: proven.Epoch, Cosigners: proven.Validators, Power: proven.Signed, TotalPower: proven.Total}}
	epochs := []anchorproof.Epoch{genesis}
	for _, next := range ev.Epochs {
		epochs = append(epochs, next.Epoch)
	}
	for _, epoch := range epochs {
		if key := epoch.Notary(c.Origin); key != nil {
			if k, err := signednote.NewVerifier(c.Origin, key); err == nil {
				a.notaries = append(a.notaries, k)
			}
		}
	}
	step.Status = Passed
	step.Detail = fmt.Sprintf("Validators with %d of %d votes of the chain signed the block that holds this checkpoint.", proven.Signed, proven.Total)
	step.Compared = []Comparison{{"chain", proven.Chain}, {"block", fmt.Sprint(proven.Height)}, {"time", proven.Time.Format(reportTime)}, {"header", ev.Header.Text()}}
	return step, a
}

// renamed reports whether evidence of a chain that is not pinned contradicts itself, or is
// that of a pinned chain under another name. It tells edited evidence from a foreign one.
func (v *verifier) renamed(ev anchorproof.Evidence, c checkpoint.Checkpoint) bool {
	for _, e := range ev.Epochs {
		if e.Chain != ev.Header.Chain {
			return true
		}
	}
	if v.trust == nil {
		return false
	}
	for _, pinned := range v.trust.Chains {
		ev.Header.Chain = pinned.Genesis.Chain
		if _, err := ev.Verify(pinned.Genesis, c); err == nil {
			return true
		}
	}
	return false
}

// checkpoint checks the log's signature. proven are the keys that chains admit for the log;
// anchoredAt is when the checkpoint existed at the latest, or zero.
func (v *verifier) checkpoint(e *Evidence, c checkpoint.Checkpoint, s statement.Statement, proven []*signednote.Verifier, anchoredAt time.Time) {
	var pinned []*signednote.Verifier
	if v.trust != nil {
		pinned = v.trust.LogKeys(c.Origin)
	}
	step := Step{Name: StepCheckpoint, Compared: []Comparison{{"log", c.Origin}, {"size", fmt.Sprint(c.Size)}, {"root", c.Root.String()}}}
	keys := append(append([]*signednote.Verifier(nil), pinned...), newKeys(pinned, proven)...)
	_, by, err := checkpoint.Open(e.Log.Checkpoint, keys...)
	switch {
	case err == nil && contains(pinned, by) && !v.trust.logKeyValid(by, s.IssuedAt, anchoredAt):
		step.Status, step.Reason, step.Detail = Failed, "key_not_valid", "The log's key was not valid between the time of the statement and that of the anchor."
	case err == nil:
		step.Status, step.Detail = Passed, "The log signed this size and root."
	case len(proven) > 0 || !signedByStranger(e.Log.Checkpoint, c, keys): // a chain says which keys are the log's
		step.Status, step.Reason, step.Detail = Failed, "bad_signature", "The checkpoint is not signed by a key of this log."
	case len(keys) == 0:
		step.Status, step.Reason = NotChecked, "unknown_log"
		step.Detail = fmt.Sprintf("The log %q is not among your trust roots.", c.Origin)
	default:
		step.Status, step.Reason = NotChecked, "unknown_log_key"
		step.Detail = fmt.Sprintf("The checkpoint is signed with a key of the log %q that is not among your trust roots.", c.Origin)
	}
	v.report.add(step)
}

// newKeys drops the keys that are pinned already.
func newKeys(pinned, proven []*signednote.Verifier) []*signednote.Verifier {
	var out []*signednote.Verifier
	for _, k := range proven {
		if !contains(pinned, k) && !contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func contains(keys []*signednote.Verifier, k *signednote.Verifier) bool {
	for _, x := range keys {
		if x.Name() == k.Name() && x.Key().Equal(k.Key()) {
			return true
		}
	}
	return false
}
