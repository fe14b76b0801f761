// Package prooftest makes small complete worlds for tests: a root and an agency with their
// certificates, a log, a chain of validators with epochs, records, revocations and
// replacements, and from them trust roots, bundles and the documents.
//
// Everything follows from a seed: the same calls on the same seed give the same bytes, keys
// and signatures included. That makes test vectors reproducible, and makes the keys worth
// nothing anywhere else. Nothing here returns errors; what cannot be done panics.
//
// It knows no engine, no database and no network: chain evidence is put together from
// package anchorproof.
package prooftest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// Options describe a world. The zero value is the smallest one.
type Options struct {
	Seed       string // default "stele"
	Validators int    // default 1
	Entries    int    // entries of other records that are in the log already
	Neighbours int    // checkpoints of other logs in each block beside ours
	Origin     string // the log's name, default log.<seed>.example
	Chain      string // the chain's id, default egov-<seed>
	// Intermediates is how many levels of authorities the root allows below itself. Roots
	// that differ in it are different roots.
	Intermediates int
}

// World is one instance of the service, with all its private keys.
type World struct {
	Root   Authority
	Agency Agency
	LogKey Key // of the checkpoints
	Chain  *Chain
	Now    time.Time // its clock: every step moves it on, whole milliseconds

	options Options
	leaves  []merkle.Hash
	serial  uint64
	links   []anchorproof.SignedLink // by which the log came to its chain
	state   status.State             // what the log's status statements follow from
	ends    map[sm.Digest]string     // the texts behind the map's values
	// revocation is that of the agency's certificate, where the root has made one.
	revocation statement.Entry
}

// Agency is a tenant with its key and certificate chain.
type Agency struct {
	statement.Agency
	Key          Key
	Certificates [][]byte // signer first, root last
}

// New makes a world.
func New(o Options) *World {
	if o.Seed == "" {
		o.Seed = "stele"
	}
	if o.Validators == 0 {
		o.Validators = 1
	}
	if o.Origin == "" {
		o.Origin = "log." + o.Seed + ".example"
	}
	if o.Chain == "" {
		o.Chain = "egov-" + o.Seed
	}
	w := &World{options: o, Now: time.Date(2026, 11, 22, 6, 28, 41, 123e6, time.UTC), serial: 17}
	w.Root = newRoot(fmt.Sprintf("%s/root/%d", o.Seed, o.Intermediates), "江城市数据局", o.Intermediates)
	w.Agency = w.NewAgency("91350100M000100Y43", "江城市政务服务局") // the code is GB 32100's example
	w.LogKey = NewKey(o.Seed + "/log")
	var members []Member
	for i := range o.Validators {
		members = append(members, NewMember(o.Seed, fmt.Sprintf("city-%d", i), 10))
	}
	w.Chain = NewChain(o.Seed, o.Chain, members, anchorproof.Notary{Origin: o.Origin, Key: w.LogKey.Public()})
	w.Fill(o.Entries)
	return w
}

// NewAgency makes a key and a certificate under the world's root.
func (w *World) NewAgency(code, name string) Agency {
	a := Agency{Agency: statement.Agency{Code: code, Name: name}, Key: NewKey(w.options.Seed + "/agency/" + code)}
	a.Certificates = [][]byte{Certify(AgencyTemplate(code, name), a.Key, &w.Root), w.Root.DER}
	return a
}

// Origin is the log's name.
func (w *World) Origin() string { return w.options.Origin }

// ScopedTrust is [World.Trust] in version 2: the log is anchored on the world's chain, and its
// members are the organizations named.
func (w *World) ScopedTrust(members ...string) *proof.Trust {
	t := w.Trust()
	t.Format, t.Logs[0].Chains = proof.TrustV2, []string{w.Chain.Genesis.Chain}
	for i, name := range members {
		must(t.Chains[0].AddMember(proof.TrustedMember{Key: w.Chain.Members[i].Validator.Key, Organization: name,
			Code: USCC(fmt.Sprintf("11420100MB%07d", slices.Index(members, name)))}))
	}
	return t
}

// Trust is what a verifier of this world pins.
func (w *World) Trust() *proof.Trust {
	key, err := signednote.NewVerifier(w.Origin(), w.LogKey.Public())
	must(err)
	return &proof.Trust{Roots: []proof.TrustedRoot{{DER: w.Root.DER}},
		Logs:   []proof.TrustedLog{{Key: key, NotBefore: AgencyNotBefore}},
		Chains: []proof.TrustedChain{{Genesis: w.Chain.Genesis}}}
}

// Tick moves the clock.
func (w *World) Tick(d time.Duration) time.Time {
	w.Now = w.Now.Add(d)
	return w.Now
}

// Fill appends entries of other records to the log.
func (w *World) Fill(n int) {
	for range n {
		text := fmt.Appendf(nil, "entry %d of %s", len(w.leaves), w.options.Seed)
		w.append(text, merkle.LeafHash(text))
	}
}

// Record is an entry with everything that is known about it.
type Record struct {
	statement.Statement
	Bytes        []byte // the statement as it was signed
	Signature    []byte
	Certificates [][]byte
	Fields       []proof.Disclosed // the openings of all its attributes
	Index        uint64
}

// LeafHash is the record's leaf.
func (r *Record) LeafHash() merkle.Hash {
	return statement.Entry{Statement: r.Bytes, Signature: r.Signature,
		Certificate: sm.Sum(r.Certificates[0])}.LeafHash()
}

// Number returns a fresh certificate number.
func (w *World) Number() string {
	w.serial++
	n, err := notary.FormatNumber("420100", 2026, w.serial)
	must(err)
	return n
}

// Draft is a statement about a document with three attributes, and their openings. Nothing
// is signed or logged.
func (w *World) Draft(document []byte) (statement.Statement, []proof.Disclosed) {
	s := statement.Statement{Action: statement.Issue, Number: w.Number(), Agency: w.Agency.Agency, Class: "general",
		Document: statement.Document{SM3: sm.Sum(document), Size: uint64(len(document)), MediaType: "application/pdf"},
		IssuedAt: w.Tick(time.Second)}
	var shown []proof.Disclosed
	for _, f := range [][2]string{{"fileName", "不动产登记证明.pdf"}, {"handedInBy", "经办人 0017"},
		{"title", "不动产登记证明 \"A\\1\""}} {
		salt := sm.Sum([]byte(w.options.Seed), []byte(s.Number), []byte(f[0]))
		d := proof.Disclosed{Name: f[0], Salt: salt[:statement.SaltSize], Value: f[1]}
		shown = append(shown, d)
		s.Fields = append(s.Fields, statement.Field{Name: d.Name, Commitment: statement.Commitment(d.Salt, d.Name,
			d.Value)})
	}
	return s, shown
}

// Enter signs a statement with the agency's key and appends its entry to the log.
func (w *World) Enter(s statement.Statement, fields []proof.Disclosed) *Record {
	b, err := s.Encode()
	must(err)
	return w.EnterSigned(&Record{Statement: s, Bytes: b, Signature: w.Agency.Key.Sign(b),
		Certificates: w.Agency.Certificates, Fields: fields})
}

// EnterSigned appends an entry as it is, for tests that sign wrongly.
func (w *World) EnterSigned(r *Record) *Record {
	r.Index = uint64(len(w.leaves))
	w.append(r.Bytes, r.LeafHash())
	return r
}

// Issue notarizes a document.
func (w *World) Issue(document []byte) *Record {
	s, fields := w.Draft(document)
	return w.Enter(s, fields)
}

// Revoke withdraws a record.
func (w *World) Revoke(r *Record, reason string) *Record {
	return w.Enter(statement.Statement{Action: statement.Revoke, Number: r.Statement.Number, Agency: w.Agency.Agency,
		Reason: reason, IssuedAt: w.Tick(time.Hour)}, nil)
}

// Supersede replaces a record by one about another document, with a reason or without.
func (w *World) Supersede(r *Record, document []byte, reason string) *Record {
	w.Tick(time.Hour)
	s, fields := w.Draft(document)
	s.Supersedes, s.Reason = r.Statement.Number, reason
	return w.Enter(s, fields)
}

// Checkpoint is a signed checkpoint.
type Checkpoint struct {
	checkpoint.Checkpoint
	Note []byte
}

// Checkpoint signs the log as it is now.
func (w *World) Checkpoint() Checkpoint {
	w.Tick(200 * time.Millisecond)
	c := checkpoint.Checkpoint{Origin: w.Origin(), Size: uint64(len(w.leaves)), Root: merkle.ListRoot(w.leaves)}
	return Checkpoint{Checkpoint: c, Note: SignNote(c, c.Origin, w.LogKey)}
}

// SignNote signs a checkpoint in any name and with any key.
func SignNote(c checkpoint.Checkpoint, name string, key Key) []byte {
	sig := binary.BigEndian.AppendUint32(nil, signednote.KeyID(name, key.Public()))
	sig = append(sig, key.Sign([]byte(c.Text()))...)
	return []byte(c.Text() + "\n— " + name + " " + base64.StdEncoding.EncodeToString(sig) + "\n")
}

// AnchorEvidence commits a checkpoint on the chain, between those of the neighbours.
func (w *World) AnchorEvidence(c Checkpoint, signers ...int) anchorproof.Evidence {
	position := w.options.Neighbours / 2
	committed := slices.Insert(w.Chain.Neighbours(w.options.Neighbours), position, c.Checkpoint)
	e := w.Chain.Evidence(w.Tick(300*time.Millisecond), committed, position, signers...)
	e.Links = w.moves(c.Checkpoint)
	return e
}

// Anchor is [World.AnchorEvidence] as it stands in a bundle.
func (w *World) Anchor(c Checkpoint, signers ...int) json.RawMessage {
	return Encode(w.AnchorEvidence(c, signers...))
}

// Path is the inclusion path of a leaf in the log at a size.
func (w *World) Path(index, size uint64) []merkle.Hash {
	path, err := merkle.ListInclusion(w.leaves[:size], index)
	must(err)
	return path
}

// Consistency is the proof from the log at a size to the log as it is now.
func (w *World) Consistency(size uint64) []merkle.Hash {
	path, err := merkle.ConsistencyProof(size, uint64(len(w.leaves)), merkle.ListReader(w.leaves))
	must(err)
	return path
}

// Evidence puts together what proves a record.
func (w *World) Evidence(r *Record, c Checkpoint, anchors ...json.RawMessage) proof.Evidence {
	return proof.Evidence{Statement: r.Bytes, Signature: r.Signature, Certificates: r.Certificates,
		Log: proof.LogProof{Index: r.Index, Path: w.Path(r.Index, c.Size), Checkpoint: c.Note}, Anchors: anchors}
}

// Bundle puts together a record's bundle with all its attributes shown.
func (w *World) Bundle(r *Record, c Checkpoint, anchors ...json.RawMessage) *proof.Bundle {
	return &proof.Bundle{Evidence: w.Evidence(r, c, anchors...), UserID: sm.UserID, Fields: r.Fields}
}

// Notarize issues, logs and anchors a document and returns its bundle.
func (w *World) Notarize(document []byte) *proof.Bundle {
	r := w.Issue(document)
	c := w.Checkpoint()
	return w.Bundle(r, c, w.Anchor(c))
}

// AddStanding adds a later entry about the record to its bundle, logged and anchored.
func (w *World) AddStanding(b *proof.Bundle, later *Record) {
	c := w.Checkpoint()
	e := w.Evidence(later, c, w.Anchor(c))
	b.Standing = &e
}

// Clone is a deep copy, for damage.
func Clone(b *proof.Bundle) *proof.Bundle {
	c, err := proof.ParseBundle(b.Encode())
	must(err)
	return c
}
