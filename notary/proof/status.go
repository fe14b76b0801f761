package proof

import (
	"encoding/json"
	"fmt"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/crypto/vmap"
	"stele/notary/proof/canonical"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// StatusProof shows what the log says of a record and of its signer's certificate: a status statement, its
// place in the log, and the map's two proofs. So a bundle can show that a record had not ended as of the time
// that the anchors give.
//
// The statement's entry must be the last one under its checkpoint. What came after it the map does not cover:
// with a later checkpoint an old statement could be shown as of today.
type StatusProof struct {
	Statement   []byte   // see [status.Statement]
	Signature   []byte   // DER, over the statement
	Key         string   // text of the log's key that signed, see [signednote.FormatKey]
	Log         LogProof // of the statement's entry
	Anchors     []json.RawMessage
	RecordPath  []merkle.Hash    // inclusion of the record's own entry under Log.Checkpoint
	Record      MapProof         // of [status.RecordKey]
	Certificate CertificateProof // for the record's first certificate
}

// MapProof shows a key's value in the map of a status statement, or that the key is absent.
type MapProof struct {
	Proof vmap.Proof
	Value string // the text that the map holds the SM3 of; empty where the key is absent
}

// CertificateProof is that of [status.CertificateKey], with the revocation itself where the key is present: the log
// says that there is one, and only the root can make it.
type CertificateProof struct {
	MapProof
	Statement []byte // see [status.CertificateRevocation]
	Signature []byte // DER, by the root of the certificate's chain
}

type wireStatus struct {
	Statement   []byte            `json:"statement"`
	Signature   []byte            `json:"signature"`
	Key         string            `json:"key"`
	Log         wireLog           `json:"log"`
	Anchors     []json.RawMessage `json:"anchors"`
	RecordPath  [][]byte          `json:"recordPath"`
	Record      wireMapProof      `json:"record"`
	Certificate wireCertificate   `json:"certificate"`
}

type wireCertificate struct {
	wireMapProof
	Statement []byte `json:"statement"`
	Signature []byte `json:"signature"`
}

type wireMapProof struct {
	Proof []byte `json:"proof"`
	Value string `json:"value"`
}

// append writes the object that stands under the bundle's key "status".
func (p *StatusProof) append(out []byte) []byte {
	out = append(out, `{"statement":`...)
	out = canonical.AppendBytes(out, p.Statement)
	out = append(out, `,"signature":`...)
	out = canonical.AppendBytes(out, p.Signature)
	out = append(out, `,"key":`...)
	out = canonical.AppendString(out, p.Key)
	out = append(out, ',')
	out = appendPlace(out, p.Log, p.Anchors)
	out = append(out, `,"recordPath":`...)
	out = appendPath(out, p.RecordPath)
	out = append(out, `,"record":`...)
	out = append(p.Record.append(out), '}')
	out = append(out, `,"certificate":`...)
	out = p.Certificate.append(out)
	if p.Certificate.Value != "" {
		out = append(out, `,"statement":`...)
		out = canonical.AppendBytes(out, p.Certificate.Statement)
		out = append(out, `,"signature":`...)
		out = canonical.AppendBytes(out, p.Certificate.Signature)
	}
	return append(out, "}}"...)
}

// append writes the object without its end.
func (m MapProof) append(out []byte) []byte {
	out = append(out, `{"proof":`...)
	out = canonical.AppendBytes(out, m.Proof.Encode())
	if m.Value != "" {
		out = append(out, `,"value":`...)
		out = canonical.AppendString(out, m.Value)
	}
	return out
}

func (w *wireStatus) status() (*StatusProof, error) {
	p := &StatusProof{Statement: w.Statement, Signature: w.Signature, Key: w.Key, Anchors: w.Anchors}
	switch {
	case len(p.Statement) == 0 || len(p.Statement) > status.MaxSize:
		return nil, fmt.Errorf("%w: statement must have 1 to %d bytes", ErrBundle, status.MaxSize)
	case len(p.Signature) == 0 || len(p.Signature) > sm.MaxSignatureSize:
		return nil, fmt.Errorf("%w: signature must have 1 to %d bytes", ErrBundle, sm.MaxSignatureSize)
	}
	err := checkAnchors(p.Anchors)
	if err != nil {
		return nil, err
	}
	if p.Log, err = w.Log.place(); err != nil {
		return nil, err
	}
	if p.RecordPath, err = readPath(w.RecordPath); err != nil {
		return nil, err
	}
	p.Record, err = w.Record.proof(func(value string) error {
		_, err := status.ParseEnded(value)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	if p.Certificate, err = w.Certificate.certificate(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return p, nil
}

// certificate reads the proof about the certificate. The revocation stands beside it exactly where the value does.
func (w wireCertificate) certificate() (c CertificateProof, err error) {
	c.Statement, c.Signature = w.Statement, w.Signature
	c.MapProof, err = w.proof(func(value string) error {
		_, err := status.ParseRevocation(value)
		return err
	})
	revoked := c.Value != ""
	switch {
	case err != nil:
		return c, err
	case (len(c.Statement) > 0) != revoked || len(c.Statement) > status.MaxRevocation:
		return c, fmt.Errorf("%w: beside a value, and nowhere else, a statement of 1 to %d bytes is expected",
			ErrBundle,
			status.MaxRevocation)
	case (len(c.Signature) > 0) != revoked || len(c.Signature) > sm.MaxSignatureSize:
		return c, fmt.Errorf("%w: beside a value, and nowhere else, a signature of 1 to %d bytes is expected",
			ErrBundle,
			sm.MaxSignatureSize)
	}
	return c, nil
}

// proof reads a proof. A value stands beside it exactly where it is one of a present key.
func (w wireMapProof) proof(check func(value string) error) (MapProof, error) {
	p, err := vmap.ParseProof(w.Proof)
	if err != nil {
		return MapProof{}, fmt.Errorf("%w: %v", ErrBundle, err)
	}
	if p.Present() != (w.Value != "") {
		return MapProof{}, fmt.Errorf("%w: a value is expected where the key is present, and nowhere else", ErrBundle)
	}
	if w.Value != "" {
		if err := check(w.Value); err != nil {
			return MapProof{}, fmt.Errorf("%w: %v", ErrBundle, err)
		}
	}
	return MapProof{Proof: p, Value: w.Value}, nil
}

// LeafHash is the log leaf of the statement's entry.
func (p *StatusProof) LeafHash() merkle.Hash {
	return status.Entry(p.Statement, p.Signature, p.Key).LeafHash()
}

// told is what a status that passed tells of the record.
type told struct {
	by      *anchored     // vouches for its time; nil where no status passed
	entries uint64        // that it covers
	ended   *status.Ended // the record, or nil
}

// status checks what the log says of the record's standing, in a bundle that shows it.
func (v *verifier) status(b *Bundle, s statement.Statement, first entry) told {
	if b.Status == nil {
		return told{}
	}
	if first.origin == "" {
		v.report.skip(StepStatus, "no_checkpoint", "There is no checkpoint of the record to compare with.")
		return told{}
	}
	q, bad := readStatus(b.Status)
	if bad == nil {
		bad = q.place(&b.Evidence, first.origin)
	}
	var held []anchored
	if bad == nil {
		held, bad = v.vouched(q)
	}
	if bad == nil {
		bad = q.look(s.Number, s.Agency.Code, b.Certificates[0])
	}
	if bad == nil {
		bad = b.Status.Certificate.revokedByRoot(b.Certificates)
	}
	if bad == nil {
		bad = v.certificateStands(b.Status.Certificate.MapProof, first)
	}
	if bad != nil {
		v.report.add(Step{Name: StepStatus, Status: bad.status, Reason: bad.reason, Detail: bad.detail})
		return told{}
	}
	t := told{by: headlineOf(held), entries: q.statement.Size}
	if value := b.Status.Record.Value; value != "" {
		ended, _ := status.ParseEnded(value) // its form was checked with the bundle's
		t.ended = &ended
	}
	v.report.add(q.step(t))
	return t
}

// saidStatus is a status that could be read.
type saidStatus struct {
	*StatusProof
	statement  status.Statement
	key        *signednote.Verifier
	checkpoint checkpoint.Checkpoint
}

func readStatus(p *StatusProof) (q saidStatus, bad *ending) {
	q.StatusProof = p
	var err error
	if q.statement, err = status.Parse(p.Statement); err != nil {
		return q, failed("malformed", err.Error())
	}
	if q.key, err = signednote.ParseKey(p.Key); err != nil {
		return q, failed("malformed", err.Error())
	}
	if q.checkpoint, err = checkpoint.ParseUnsafe(p.Log.Checkpoint); err != nil { // the signature is checked later
		return q, failed("malformed", err.Error())
	}
	return q, nil
}

// place checks that the statement is one of the log, that it covers the record's entry where there is one, and
// that both are in the log, the statement as its last entry.
func (q saidStatus) place(record *Evidence, origin string) *ending {
	size := q.statement.Size
	switch {
	case q.statement.Log != origin || q.key.Name() != origin || q.checkpoint.Origin != origin:
		return failed("other_log", "The status is one of another log.")
	case size != q.Log.Index:
		return failed("other_place", fmt.Sprintf("The status covers %d entries and stands at index %d: it must follow "+
			"what it covers.", size, q.Log.Index))
	case record != nil && record.Log.Index >= size:
		return failed("not_covered", fmt.Sprintf("The status covers the entries before index %d, and not the "+
			"record's, at %d.", size, record.Log.Index))
	case q.checkpoint.Size != size+1:
		return failed("not_last", fmt.Sprintf("The status stands at index %d and is not the last of the %d entries "+
			"under its checkpoint: what came after it, it does not cover.", size, q.checkpoint.Size))
	case !q.key.Verify(q.Statement, q.Signature):
		return failed("bad_signature", "The signature over the status does not verify under the log's key beside it.")
	}
	err := merkle.VerifyInclusion(size, q.checkpoint.Size, q.LeafHash(), q.Log.Path, q.checkpoint.Root)
	if err != nil {
		return failed("not_included", "The status is not shown to be in the log: "+err.Error())
	}
	if record == nil {
		return nil
	}
	err = merkle.VerifyInclusion(record.Log.Index, q.checkpoint.Size, record.LeafHash(), q.RecordPath,
		q.checkpoint.Root)
	if err != nil {
		return failed("not_included", "The record is not shown to be in the log that the status is of: "+err.Error())
	}
	return nil
}

// vouched checks who vouches for the status: its checkpoint's anchors, and that its key is the log's.
// Evidence of a gateway about a later checkpoint does not say when the status was the last entry.
func (v *verifier) vouched(q saidStatus) ([]anchored, *ending) {
	held, bad := v.beside("The status", q.Log.Checkpoint, q.checkpoint, q.Anchors,
		func(a anchored) bool { return !a.later })
	switch {
	case bad != nil:
		return nil, bad
	case len(held) == 0:
		return nil, &ending{NotChecked, "not_anchored", "No chain vouches for the status: of when it is nobody knows."}
	}
	var proven []*signednote.Verifier
	for _, a := range held {
		proven = append(proven, a.notaries...)
	}
	at := headlineOf(held).at
	switch {
	case contains(v.trust.LogKeys(q.checkpoint.Origin), q.key):
		if !v.trust.logKeyValid(q.key, at, at) {
			return nil, failed(keyNotValid,
				"The log's key that signed the status was not valid when it was anchored.")
		}
	case !contains(proven, q.key):
		return nil, &ending{NotChecked, "unknown_log_key",
			"The status is signed with a key of the log that is not among your trust roots."}
	}
	return held, nil
}

// look checks what is shown of the map.
func (q saidStatus) look(number, code string, certificate []byte) *ending {
	record, about := status.RecordKey(number, code), status.CertificateKey(sm.Sum(certificate))
	ended, _ := status.ParseEnded(q.Record.Value) // forms were checked with the bundle's
	revoked, _ := status.ParseRevocation(q.Certificate.Value)
	for _, one := range []struct {
		what  string
		key   sm.Digest
		index uint64
		MapProof
	}{{"record", record, ended.Index, q.Record},
		{"signer's certificate", about, revoked.Index, q.Certificate.MapProof}} {
		err := one.Proof.VerifyAbsent(q.statement.Map, one.key)
		if one.Value != "" {
			err = one.Proof.Verify(q.statement.Map, one.key, sm.Sum([]byte(one.Value)))
			if one.index >= q.statement.Size {
				err = fmt.Errorf("it names entry %d, which the status does not cover", one.index)
			}
		}
		if err != nil {
			return failed("map_differs", fmt.Sprintf("What is shown of the %s is not what the map has: %v", one.what,
				err))
		}
	}
	return nil
}

// revokedByRoot checks that a revocation is one that the root of the record's own chain has signed: the log cannot
// revoke a certificate by itself.
func (c CertificateProof) revokedByRoot(chain [][]byte) *ending {
	if c.Value == "" {
		return nil
	}
	value, _ := status.ParseRevocation(c.Value) // its form was checked with the bundle's
	said, err := status.ParseCertificateRevocation(c.Statement)
	if err == nil {
		err = said.SignedBy(c.Statement, c.Signature, chain)
	}
	if err == nil && (said.Reason != value.Reason || !said.Since.Equal(value.Since)) {
		err = fmt.Errorf("it says %s since %s, and the map has %s", said.Reason, said.Since.Format(reportTime), c.Value)
	}
	if err != nil {
		return failed("bad_revocation", "By the status the signer's certificate is revoked; the revocation beside it "+
			"does "+
			"not hold: "+err.Error())
	}
	return nil
}

// certificateStands checks that the record was anchored before the time since which its signer's certificate
// is revoked, if it is: after that anybody who found the key could have signed.
func (v *verifier) certificateStands(m MapProof, first entry) *ending {
	if m.Value == "" {
		return nil
	}
	r, _ := status.ParseRevocation(m.Value) // its form was checked with the bundle's
	what := fmt.Sprintf("The signer's certificate is revoked since %s (%s, entry %d of the log)",
		r.Since.Format(reportTime), r.Reason, r.Index)
	switch h := headlineOf(first.anchors); {
	case h == nil:
		return failed("certificate_revoked", what+", and nobody vouches that the record is older.")
	case !h.at.Before(r.Since):
		return failed("certificate_revoked", fmt.Sprintf("%s; the record was not anchored before, but on %s.", what,
			h.report.Time))
	default:
		v.report.warn(WarnCertificate, fmt.Sprintf("%s. The record was anchored before, on %s.", what, h.report.Time))
	}
	return nil
}

// step says what a status that passed shows.
func (q saidStatus) step(t told) Step {
	step := Step{Name: StepStatus, Status: Passed, Strength: t.by.report.Strength,
		Compared: []Comparison{{"time", t.by.report.Time}, {"entries that the status covers", fmt.Sprint(t.entries)},
			{"root of the status map", q.statement.Map.String()}}}
	by := []Comparison{{"chain", t.by.report.Chain}}
	if step.Strength == Attested {
		by = []Comparison{{"gateway", t.by.report.Gateway}, {"application", t.by.report.Chain}}
	}
	step.Compared = append(by, step.Compared...)
	for _, one := range []struct{ what, value string }{{"the status map on the record", q.Record.Value},
		{"the status map on the certificate", q.Certificate.Value}} {
		if one.value != "" {
			step.Compared = append(step.Compared, Comparison{one.what, one.value})
		}
	}
	what := "was neither revoked nor replaced."
	if t.ended != nil {
		what = fmt.Sprintf("has ended: %s.", q.Record.Value)
	}
	step.Detail = fmt.Sprintf("As of %s, %s, the log's status of its first %d entries was its last entry. By it the "+
		"record %s", t.by.report.Time, t.by.report.vouch(), t.entries, what)
	return step
}

// put writes down as of when the standing is.
func (t told) put(s *StandingReport) {
	s.status = t
	if t.by != nil {
		s.AsOf, s.VouchedBy, s.Entries = t.by.report.Time, t.by.report.Chain, t.entries
	}
}

// differs says how a later statement at an index contradicts the status; it is nil where it does not. The
// statement may have come after the status.
func (t told) differs(superseded bool, index uint64) *ending {
	switch {
	case t.by == nil, t.ended == nil && index >= t.entries:
		return nil
	case t.ended == nil:
		return failed("status_differs", fmt.Sprintf("The later statement stands at index %d of the log, and the "+
			"status, which covers that, does not have it.", index))
	case t.ended.Superseded != superseded || t.ended.Index != index:
		return failed("status_differs", fmt.Sprintf("The later statement stands at index %d of the log; by the status "+
			"the record ended otherwise: %s.", index, t.ended.Text()))
	}
	return nil
}
