package proof

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

const (
	reportTime = "2006-01-02T15:04:05.000Z"

	// clockTolerance is how far the agency's clock may be ahead of the chain's: a statement
	// cannot have been anchored, revoked or replaced before it was issued.
	clockTolerance = anchorproof.ClockTolerance

	provesText = "This digest was registered by this agency and was in the log at that time. It does not prove that " +
		"what the document says is true, nor "
	provesNoStanding = "that it was not revoked."
	provesAsOf       = "what became of the record after %s."
)

// File is what is known of a document that is compared with a bundle.
type File struct {
	SM3  sm.Digest
	Size int64 // bytes; negative where only the digest is known
}

// Verify is [VerifyFile] for a document of which the digest alone is known, or none.
func Verify(trust *Trust, digest *sm.Digest, bundle []byte) *Report {
	if digest == nil {
		return VerifyFile(trust, nil, bundle)
	}
	return VerifyFile(trust, &File{SM3: *digest, Size: -1}, bundle)
}

// VerifyFile decides the verdict on a bundle and, where one is given, on the document. Nothing
// else is consulted: no network, no clock, no files.
//
// Without a document the verdict is at best unverifiable (or pending, revoked, superseded),
// because no file was compared; the steps still say that the evidence holds.
func VerifyFile(trust *Trust, f *File, bundle []byte) *Report {
	r := &Report{Format: ReportFormat, Steps: []Step{}}
	b, resaved, err := ReadBundle(bundle)
	if err != nil {
		r.fail(StepBundle, "malformed", err.Error())
		r.skipAfter(StepBundle)
		return r.decide(f)
	}
	r.pass(StepBundle, "The bundle is complete and well-formed.")
	s, err := statement.Parse(b.Statement)
	if err == nil && s.Action != statement.Issue {
		err = errors.New("a bundle must hold the statement that issued the record")
	}
	if err != nil {
		r.fail(StepStatement, "malformed", err.Error())
		r.skipAfter(StepStatement)
		return r.decide(f)
	}
	if resaved {
		r.warn(WarnResaved,
			"Another program saved the bundle anew; the bytes that were issued could be restored and were checked.")
	}
	r.describe(s)
	r.checkDocument(s, f)
	r.checkFields(s, b.Fields)
	if trust == nil {
		trust = &Trust{}
	}
	v := verifier{trust: trust, report: r}
	first := v.evidence(&b.Evidence, s, b.UserID)
	v.consistency(b, first)
	v.standing(b, s, first, v.status(b, s, first))
	return r.decide(f)
}

func (r *Report) describe(s statement.Statement) {
	r.Number, r.Class, r.Supersedes = s.Number, s.Class, s.Supersedes
	r.Agency = &AgencyReport{Code: s.Agency.Code, Name: s.Agency.Name}
	r.Document = &DocumentReport{SM3: s.Document.SM3.String(), Size: s.Document.Size, MediaType: s.Document.MediaType}
	r.IssuedAt = s.IssuedAt.Format(reportTime)
}

func (r *Report) checkDocument(s statement.Statement, f *File) {
	want := Comparison{"SM3 in the statement", s.Document.SM3.String()}
	step := Step{Name: StepDocument, Status: Passed, Detail: "The file's SM3 digest is the one in the statement."}
	if f == nil {
		step.Status, step.Reason, step.Detail = NotChecked, noDocument, "No file was given to compare."
		step.Compared = []Comparison{want}
		r.add(step)
		return
	}
	step.Compared = []Comparison{{"SM3 of the file", f.SM3.String()}, want}
	if f.SM3 != s.Document.SM3 {
		step.Status, step.Reason, step.Detail = Failed, "digest_differs",
			"The file is not the one that this record was issued for."
		r.add(step)
		return
	}
	if f.Size >= 0 {
		r.Document.SizeCompared = true
		step.Compared = append(step.Compared, Comparison{"size of the file", fmt.Sprint(f.Size)},
			Comparison{"size in the statement", fmt.Sprint(s.Document.Size)})
		if uint64(f.Size) != s.Document.Size {
			step.Status, step.Reason = Failed, "size_differs"
			step.Detail = fmt.Sprintf("The file with this digest has %d bytes; the agency's statement says %d.", f.Size,
				s.Document.Size)
		}
	}
	r.add(step)
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
			r.add(Step{Name: StepFields, Status: Failed, Reason: "commitment_differs",
				Detail: fmt.Sprintf("The attribute %q is not the one that was signed.", f.Name),
				Compared: []Comparison{{"commitment of what is shown", got.String()},
					{"commitment in the statement", want.String()}}})
			return
		}
		values[f.Name] = f.Value
	}
	if len(values) > 0 {
		r.Fields = values
	}
	r.pass(StepFields, fmt.Sprintf("%d of %d attributes are shown; each is the one that was signed.", len(shown),
		len(s.Fields)))
}

// verifier runs the steps that need trust roots. Its report is the record's own, or a
// scratch one for the entry behind a standing.
type verifier struct {
	trust  *Trust // not nil
	report *Report
}

// entry is what later steps need of an entry that was checked.
type entry struct {
	root       []byte // the last certificate, DER
	origin     string // of the log; empty where there is no checkpoint
	checkpoint checkpoint.Checkpoint
	anchors    []anchored // those that hold
}

// evidence checks an entry. The anchors come before the certificate, which must not have expired
// when others first vouched for the signature.
func (v *verifier) evidence(e *Evidence, s statement.Statement, userID string) entry {
	out := entry{root: e.Certificates[len(e.Certificates)-1]}
	signer, err := pki.Parse(e.Certificates[0])
	if err != nil {
		v.report.skip(StepStatement, "no_signer", "The signer's certificate cannot be read.")
		v.report.fail(StepCertificate, "malformed", err.Error())
	} else {
		v.signature(e, signer, userID)
	}
	c, ok := v.inclusion(e)
	if !ok {
		v.report.skip(StepCheckpoint, "no_checkpoint", "There is no checkpoint to check.")
		v.report.skip(StepAnchor, "no_checkpoint", "There is no checkpoint that could be anchored.")
	} else {
		out.origin, out.checkpoint = c.Origin, c
		out.anchors = v.anchors(e.Anchors, c, s)
		v.checkpoint(e.Log.Checkpoint, c, s, out.anchors)
	}
	if signer != nil {
		v.certificate(e, s, signer, out)
	}
	return out
}

func (v *verifier) signature(e *Evidence, signer *pki.Certificate, userID string) {
	switch {
	case userID != sm.UserID:
		v.report.fail(StepStatement, "user_id", fmt.Sprintf("The SM2 user id must be %s.", sm.UserID))
	case !signer.PublicKey().Verify(e.Statement, e.Signature):
		v.report.add(Step{Name: StepStatement, Status: Failed, Reason: "bad_signature",
			Detail:   "The signature over the statement does not verify under the signer's certificate.",
			Compared: []Comparison{{"signer's certificate (SM3)", sm.Sum(e.Certificates[0]).String()}}})
	default:
		v.report.add(Step{Name: StepStatement, Status: Passed,
			Detail: "The statement bears a valid SM2 signature of the signer.",
			Compared: []Comparison{{"SM3 of the statement", sm.Sum(e.Statement).String()},
				{"signature", b64(e.Signature)}, {"SM2 user id", userID}}})
	}
}

// certificate checks the signer's chain at the time that the statement gives, which is the
// agency's word, and that nothing in it had expired when others first vouched for the signature:
// after that anybody who found the key could have made it.
func (v *verifier) certificate(e *Evidence, s statement.Statement, signer *pki.Certificate, in entry) {
	step := Step{Name: StepCertificate, Status: Passed,
		Compared: []Comparison{{"certificate holder", signer.Subject().Organization},
			{"holder's credit code", signer.Code()}, {"SM3 of the certificate", sm.Sum(e.Certificates[0]).String()}}}
	end := func(status Status, reason, detail string) {
		step.Status, step.Reason, step.Detail = status, reason, detail
		v.report.add(step)
	}
	if signer.Code() != s.Agency.Code || signer.Subject().Organization != s.Agency.Name {
		end(Failed, "other_holder", "The certificate belongs to another agency than the statement names.")
		return
	}
	_, err := pki.VerifyChain(e.Certificates, v.trust.certificates(), s.IssuedAt, pki.Agency)
	if errors.Is(err, pki.ErrUnknownRoot) {
		// A root that is not pinned may be another service's, or ours with a byte changed. The
		// latter no longer bears its own signature, and is evidence that does not hold.
		if _, bad := pki.VerifyRoot(in.root); bad != nil {
			err = bad
		}
	}
	root, _ := v.trust.root(in.root)
	headline := headlineOf(in.anchors)
	switch {
	case errors.Is(err, pki.ErrUnknownRoot):
		end(NotChecked, "unknown_root", "The certificate was issued under a root that is not among your trust roots.")
	case err != nil:
		end(Failed, "bad_certificate", err.Error())
	case !root.SpeaksFor(s.Agency.Code, in.origin):
		end(NotChecked, "out_of_scope",
			"By your trust roots, the root of this certificate does not speak for this agency in this log.")
	case headline == nil:
		end(Passed, "", "The signer's certificate was valid at the time that the statement gives, for which the "+
			"agency alone vouches yet.")
	case expired(e.Certificates, headline.at):
		end(NotChecked, "expired_at_anchor", fmt.Sprintf("The signer's certificate had expired at %s, when the "+
			"record is first vouched for: whether it was valid when the statement was signed cannot be known.",
			headline.report.Time))
	default:
		end(Passed, "", "The signer's certificate was valid at the time that the statement gives, and still when the "+
			"record was anchored.")
	}
}

// expired reports whether any of the certificates had expired. At the beginning of their validity
// nothing needs to be looked at: the agency's own date lies in it, and an anchor that is earlier
// than that date by more than the clocks' tolerance fails.
func expired(chain [][]byte, at time.Time) bool {
	return slices.ContainsFunc(chain, func(der []byte) bool {
		c, err := pki.Parse(der)
		return err != nil || at.Truncate(time.Second).After(c.NotAfter())
	})
}

func (v *verifier) inclusion(e *Evidence) (checkpoint.Checkpoint, bool) {
	c, err := checkpoint.ParseUnsafe(e.Log.Checkpoint)
	if err != nil {
		v.report.fail(StepInclusion, "malformed", err.Error())
		return c, false
	}
	leaf := e.LeafHash()
	compared := []Comparison{{"leaf", leaf.String()}, {"index", fmt.Sprint(e.Log.Index)},
		{"size of the log", fmt.Sprint(c.Size)}, {"root", c.Root.String()}}
	if err := merkle.VerifyInclusion(e.Log.Index, c.Size, leaf, e.Log.Path, c.Root); err != nil {
		v.report.add(Step{Name: StepInclusion, Status: Failed, Reason: "not_included", Detail: err.Error(),
			Compared: compared})
	} else {
		v.report.add(Step{Name: StepInclusion, Status: Passed,
			Detail: "The entry is in the log, at this place, under this root.", Compared: compared})
	}
	v.report.Log = &LogReport{Origin: c.Origin, Index: e.Log.Index, Size: c.Size}
	return c, true
}

// checkpoint checks the log's signature on a note. anchors are those that hold for it: their
// chains say which keys are the log's.
func (v *verifier) checkpoint(note []byte, c checkpoint.Checkpoint, s statement.Statement, anchors []anchored) {
	pinned := v.trust.LogKeys(c.Origin)
	var proven []*signednote.Verifier
	for _, a := range anchors {
		proven = append(proven, a.notaries...)
	}
	var at time.Time // zero where nobody vouches for one
	if h := headlineOf(anchors); h != nil {
		at = h.at
	}
	step := Step{Name: StepCheckpoint, Compared: []Comparison{{"log", c.Origin}, {"size", fmt.Sprint(c.Size)},
		{"root", c.Root.String()}}}
	keys := append(slices.Clone(pinned), newKeys(pinned, proven)...)
	_, by, err := checkpoint.Open(note, keys...)
	switch {
	case err == nil && contains(pinned, by) && !v.trust.logKeyValid(by, s.IssuedAt, at):
		step.Status, step.Reason, step.Detail = Failed, keyNotValid,
			"The log's key was not valid between the time of the statement and that of the anchor."
	case err == nil:
		step.Status, step.Detail = Passed, "The log signed this size and root."
	case len(proven) > 0 || !signedByStranger(note, c, keys):
		step.Status, step.Reason, step.Detail = Failed, "bad_signature",
			"The checkpoint is not signed by a key of this log."
	case len(keys) == 0:
		step.Status, step.Reason = NotChecked, "unknown_log"
		step.Detail = fmt.Sprintf("The log %q is not among your trust roots.", c.Origin)
	default:
		step.Status, step.Reason = NotChecked, "unknown_log_key"
		step.Detail = fmt.Sprintf(
			"The checkpoint is signed with a key of the log %q that is not among your trust roots.", c.Origin)
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
