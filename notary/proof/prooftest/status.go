package prooftest

import (
	"encoding/json"
	"maps"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/crypto/vmap"
	"stele/notary/proof"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// append is where every entry comes into the log.
func (w *World) append(text []byte, leaf merkle.Hash) {
	if s, err := statement.Parse(text); err == nil {
		end := status.Ended{Superseded: s.Action == statement.Issue, Index: uint64(len(w.leaves))}
		number := s.Number
		if end.Superseded {
			number = s.Supersedes
		}
		if number != "" {
			w.says(status.RecordKey(number, s.Agency.Code), end.Text())
		}
	}
	if r, err := status.ParseCertificateRevocation(text); err == nil {
		w.says(status.CertificateKey(r.Certificate),
			status.Revocation{Reason: r.Reason, Since: r.Since, Index: uint64(len(w.leaves))}.Text())
	}
	w.state.Add(text, leaf)
	w.leaves = append(w.leaves, leaf)
}

// says keeps the text behind a value of the map; the first counts.
func (w *World) says(key sm.Digest, text string) {
	if w.ends == nil {
		w.ends = map[sm.Digest]string{}
	}
	if w.ends[key] == "" {
		w.ends[key] = text
	}
}

// RevokeCertificate has the root revoke the agency's certificate, as the log's next entry; or another key in its
// name.
func (w *World) RevokeCertificate(reason string, since time.Time, by ...Key) statement.Entry {
	since = since.UTC().Truncate(time.Second)
	text, err := status.CertificateRevocation{Certificate: sm.Sum(w.Agency.Certificates[0]), Agency: w.Agency.Code,
		Reason: reason, Since: since, IssuedAt: since}.Encode()
	must(err)
	w.revocation = status.RevocationEntry(text, append(by, w.Root.Key)[0].Sign(text), w.Root.DER)
	w.append(text, w.revocation.LeafHash())
	return w.revocation
}

// Status is a status statement of the log with all that is known about it.
type Status struct {
	status.Statement
	Made   vmap.Map
	Values map[sm.Digest]string // the texts behind the map's values
	Signer Key
	Name   string // of the log's key
	Index  uint64

	Text, Signature []byte
}

// Put changes the map, for entries that the world does not make and for maps that do not follow from it.
func (s *Status) Put(key sm.Digest, text string) {
	s.Made = s.Made.Put(vmap.Entry{Key: key, Value: sm.Sum([]byte(text))})
	s.Map, s.Values[key] = s.Made.Root(), text
}

// Key is the text of the log's key that signed.
func (s *Status) Key() string { return signednote.FormatKey(s.Name, s.Signer.Public()) }

// EnterStatus has the log say the standing of everything in it, as its next entry. Whatever edits change
// is signed as it then is.
func (w *World) EnterStatus(edit ...func(*Status)) *Status {
	snapshot := w.state.Snapshot()
	s := &Status{Statement: snapshot.Statement(w.Origin()), Made: snapshot.Map, Values: maps.Clone(w.ends),
		Signer: w.LogKey, Name: w.Origin(), Index: uint64(len(w.leaves))}
	if s.Values == nil {
		s.Values = map[sm.Digest]string{}
	}
	for _, f := range edit {
		f(s)
	}
	var err error
	s.Text, err = s.Encode()
	must(err)
	s.Signature = s.Signer.Sign(s.Text)
	w.append(s.Text, status.Entry(s.Text, s.Signature, s.Key()).LeafHash())
	return s
}

// StatusProof shows what a status says of a record, under a checkpoint.
func (w *World) StatusProof(s *Status, r *Record, c Checkpoint, anchors ...json.RawMessage) *proof.StatusProof {
	return &proof.StatusProof{Statement: s.Text, Signature: s.Signature, Key: s.Key(),
		Log:     proof.LogProof{Index: s.Index, Path: w.Path(s.Index, c.Size), Checkpoint: c.Note},
		Anchors: anchors, RecordPath: w.Path(r.Index, c.Size),
		Record:      s.Prove(status.RecordKey(r.Statement.Number, r.Statement.Agency.Code)),
		Certificate: w.proveCertificate(s, r.Certificates[0])}
}

func (w *World) proveCertificate(s *Status, der []byte) proof.CertificateProof {
	p := proof.CertificateProof{MapProof: s.Prove(status.CertificateKey(sm.Sum(der)))}
	if p.Value != "" {
		p.Statement, p.Signature = w.revocation.Statement, w.revocation.Signature
	}
	return p
}

// Prove shows what the map has under a key.
func (s *Status) Prove(key sm.Digest) proof.MapProof {
	p := proof.MapProof{Proof: s.Made.Prove(key)}
	if p.Proof.Present() {
		p.Value = s.Values[key]
	}
	return p
}
