package exhibit

import (
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// maxEpochs bounds how many hand-overs of a chain are taken apart; a chain has a few in its
// life. All of them are in the bundle, and stele-verify checks them all.
const maxEpochs = 8

// File is a part that OpenSSL can work on, under the name that commands use for it.
type File struct {
	Name string // slash-separated, of our own making: nothing that a bundle says is in it
	Data []byte
}

// Section is an entry of the log taken apart: the record's own, or the one that revoked or
// replaced it.
type Section struct {
	Folder string // of its files, with a slash, or empty
	Files  []File // names are below Folder

	Evidence  *proof.Evidence
	Statement statement.Statement

	At                     int64 // Unix time of the statement, at which the certificate must be valid
	AtText                 string
	Vouched                int64 // Unix time not later than which others vouch for the entry, or 0
	VouchedText            string
	StatementLen, SigStart int // places in entry.bin, the first byte being number 1
	SigLen                 int
	Links                  []Link
	last                   []int64 // Unix time of the last second of each certificate

	Leaf        merkle.Hash
	Path        []Sibling
	Index, Size uint64
	Checkpoint  checkpoint.Checkpoint
	LogKey      *signednote.Verifier
	LogPinned   bool // the log's key is among the trust roots, not one that the chain vouches for

	Anchors  []Anchor
	Attested []Attested
	Linked   []string // chains that are not pinned themselves and that a link leads to
}

// Link is a certificate and the one that it is issued under, as files.
type Link struct{ Subject, Issuer string }

// Sibling is a node beside the way from a leaf to the root.
type Sibling struct {
	Left bool // it stands left of the node that the way leads through
	Hash merkle.Hash
	Node merkle.Hash // the two together: where the way leads next
}

// Side is the word for where the sibling stands, in file names and commands.
func (s Sibling) Side() string {
	if s.Left {
		return "left"
	}
	return "right"
}

// Anchor is the evidence of one chain that is pinned.
type Anchor struct {
	Name     string // of its folder, without the section's
	Evidence anchorproof.Evidence
	Path     []Sibling
	Epochs   []Epoch // from the pinned one to the one whose validators cosigned
	Last     uint64  // number of the latter
}

// Attested is the evidence of a gateway that is pinned.
type Attested struct {
	Name    string // of its folder, without the section's
	Gateway string
	Key     []byte // PEM
	SM2     bool   // what its macs are; else ECDSA
	Same    bool   // the answers are about this very checkpoint, not a later one
	Answers []bsnproof.Answer
}

// Epoch is a term of the chain with what made it follow from the one before.
type Epoch struct {
	anchorproof.Epoch
	Before     uint64 // number of the one before
	First      bool   // the pinned one
	Signatures []anchorproof.Cosignature
}

// Up leads from the section's folder to the one that it is in.
func (s *Section) Up() string {
	if s.Folder == "" {
		return ""
	}
	return "../"
}

func (s *Section) add(name string, data []byte) {
	s.Files = append(s.Files, File{Name: name, Data: data})
}

// take takes one entry apart. It follows proof.Verify, which has passed on the bundle, and
// fails where a part does not lead to the next: what it would show then misleads.
func take(trust *proof.Trust, folder string, e *proof.Evidence) (*Section, error) {
	s, err := statement.Parse(e.Statement)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.ParseUnsafe(e.Log.Checkpoint)
	if err != nil {
		return nil, err
	}
	sec := &Section{Folder: folder, Evidence: e, Statement: s, At: s.IssuedAt.Unix(),
		AtText:       s.IssuedAt.UTC().Format(time.RFC3339),
		StatementLen: len(e.Statement), SigStart: 2 + len(e.Statement) + 2 + 1, SigLen: len(e.Signature),
		Leaf: e.LeafHash(), Index: e.Log.Index, Size: c.Size, Checkpoint: c}
	sec.add("statement.json", e.Statement)
	sec.add("signature.der", e.Signature)
	if err := sec.certificates(e.Certificates); err != nil {
		return nil, err
	}
	sec.add("entry.bin", entryBytes(e))
	if sec.Path, err = sec.path("inclusion/", sec.Leaf, e.Log.Index, c.Size, e.Log.Path, c.Root); err != nil {
		return nil, err
	}
	if err := sec.anchors(trust); err != nil {
		return nil, err
	}
	sec.times()
	return sec, sec.checkpoint(trust)
}

// times fits the two times to OpenSSL, which counts the last second of a certificate as too late.
// An anchor that a clock dates before the statement says nothing that the statement does not.
func (s *Section) times() {
	if s.Vouched < s.At {
		s.Vouched, s.VouchedText = 0, ""
	}
	for _, at := range []*int64{&s.At, &s.Vouched} {
		if slices.Contains(s.last, *at) {
			*at--
		}
	}
}

// certificates makes each one a file. OpenSSL uses the user id for the first certificate of
// a chain only, so commands check link by link.
func (s *Section) certificates(ders [][]byte) error {
	name := "signer.pem"
	for i, der := range ders {
		s.add(name, pki.EncodePEM(der))
		c, err := pki.Parse(der)
		if err != nil {
			return err
		}
		s.last = append(s.last, c.NotAfter().Unix())
		next := fmt.Sprintf("issuer-%d.pem", i+1)
		if i >= len(ders)-2 {
			next = "root.pem"
		}
		if i < len(ders)-1 {
			s.Links = append(s.Links, Link{name, next})
		}
		name = next
	}
	return nil
}

func entryBytes(e *proof.Evidence) []byte {
	return statement.Entry{Statement: e.Statement, Signature: e.Signature,
		Certificate: sm.Sum(e.Certificates[0])}.Encode()
}

// path makes files of the hashes on the way from a leaf to a root, each with the side on
// which it stands (RFC 9162 section 2.1.3.2): then climbing is putting one after the other.
func (s *Section) path(folder string, leaf merkle.Hash, index, size uint64, path []merkle.Hash, root merkle.Hash) (
	[]Sibling, error) {
	var out []Sibling
	node, at, last := leaf, index, size-1
	for i, h := range path {
		next := Sibling{Hash: h}
		if at&1 == 1 || at == last {
			next.Left, node = true, merkle.NodeHash(h, node)
			for at&1 == 0 && at != 0 {
				at, last = at>>1, last>>1
			}
		} else {
			node = merkle.NodeHash(node, h)
		}
		next.Node = node
		out = append(out, next)
		s.add(fmt.Sprintf("%s%02d.%s", folder, i+1, next.Side()), h[:])
		at, last = at>>1, last>>1
	}
	if node != root {
		return nil, errors.New("the path does not lead to the root")
	}
	return out, nil
}

// checkpoint finds the key that signed the checkpoint: a pinned one, or after a change of
// keys the one that an anchor's epochs name.
func (s *Section) checkpoint(trust *proof.Trust) error {
	note := s.Evidence.Log.Checkpoint
	var keys []*signednote.Verifier
	for _, l := range trust.Logs {
		keys = append(keys, l.Key)
	}
	_, key, err := checkpoint.Open(note, keys...)
	s.LogPinned = err == nil
	for _, a := range s.Anchors {
		for i := 0; err != nil && i < len(a.Epochs); i++ {
			if k := a.Epochs[i].Notary(s.Checkpoint.Origin); k != nil {
				if v, verr := signednote.NewVerifier(s.Checkpoint.Origin, k); verr == nil {
					_, key, err = checkpoint.Open(note, v)
				}
			}
		}
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	sig, err := signednote.SignatureOf(note, key)
	if err != nil {
		return err
	}
	s.LogKey = key
	s.add("checkpoint.txt", []byte(s.Checkpoint.Text()))
	s.add("checkpoint.der", sig)
	s.add("log.pem", publicPEM(key.Key()))
	return nil
}

// anchors takes the evidence of each chain that is pinned apart. What else there may be
// stays in the bundle.
func (s *Section) anchors(trust *proof.Trust) (err error) {
	for _, raw := range s.Evidence.Anchors {
		ev, err := anchorproof.ParseEvidence(raw)
		if err != nil { // of another kind
			s.attested(trust, raw)
			continue
		}
		epochs := epochsOf(trust, ev)
		if len(epochs) == 0 && len(ev.Links) > 0 {
			s.Linked = append(s.Linked, ev.Header.Chain)
		}
		if len(epochs) == 0 || len(epochs) > maxEpochs {
			continue
		}
		a := Anchor{Name: fmt.Sprintf("anchor-%d/", len(s.Anchors)+1), Evidence: ev, Epochs: epochs,
			Last: epochs[len(epochs)-1].Number}
		s.add(a.Name+"header.txt", []byte(ev.Header.Text()))
		leaf := merkle.LeafHash([]byte(s.Checkpoint.Text()))
		if a.Path, err = s.path(a.Name+"path/", leaf, ev.Position, ev.Header.Count, ev.Path,
			ev.Header.Anchors); err != nil {
			return fmt.Errorf("anchor: %w", err)
		}
		if !within(ev.Cosignatures, epochs[len(epochs)-1]) {
			return errors.New("anchor: a cosignature of nobody")
		}
		s.signatures(a.Name+"cosignature-", ev.Cosignatures)
		for i, epoch := range epochs {
			if i > 0 && (epoch.Number != epochs[i-1].Number+1 || !within(epoch.Signatures, epochs[i-1])) {
				return errors.New("anchor: epochs do not follow one another")
			}
			folder := fmt.Sprintf("%sepoch-%d/", a.Name, epoch.Number)
			s.add(folder+"epoch.txt", []byte(epoch.Text()))
			for i, v := range epoch.Validators {
				s.add(fmt.Sprintf("%svalidator-%d.pem", folder, i), publicPEM(v.Key))
			}
			s.signatures(folder+"signature-", epoch.Signatures)
		}
		s.Anchors = append(s.Anchors, a)
		s.vouch(ev.Header.Time(), len(s.Anchors) == 1)
	}
	return nil
}

// vouch keeps the earliest time of the anchors that prove themselves, as a report leads with it; the
// first of them takes the place of what gateways attested.
func (s *Section) vouch(at time.Time, anew bool) {
	if unix := at.Unix(); anew || s.Vouched == 0 || unix < s.Vouched {
		s.Vouched, s.VouchedText = unix, at.UTC().Format(time.RFC3339)
	}
}

// attested takes the evidence of a gateway apart: each string under a mac with the mac, and the
// pinned key that they verify under.
func (s *Section) attested(trust *proof.Trust, raw []byte) {
	for _, g := range trust.Gateways {
		e, err := bsnproof.Parse(g.Kind, raw)
		if err != nil || g.App != e.Application() {
			continue
		}
		found, err := e.Verify(g.Key, s.Checkpoint)
		if err != nil {
			continue
		}
		a := Attested{Name: fmt.Sprintf("gateway-%d/", len(s.Attested)+1), Gateway: g.Name, Key: g.Key.PEM(),
			SM2: g.Key.Algorithm() == gateway.SM2, Same: found.Checkpoint == s.Checkpoint, Answers: e.SignedAnswers()}
		s.add(a.Name+"key.pem", a.Key)
		for _, answer := range a.Answers {
			s.add(a.Name+answer.Name+".txt", []byte(answer.Text))
			s.add(a.Name+answer.Name+".der", answer.Mac)
		}
		s.Attested = append(s.Attested, a)
		if len(s.Anchors) == 0 {
			s.vouch(found.Time, false)
		}
		return
	}
}

// epochsOf are those from the pinned one to the one that cosigned; none when the chain is
// not pinned.
func epochsOf(trust *proof.Trust, ev anchorproof.Evidence) []Epoch {
	for _, chain := range trust.Chains {
		if chain.Genesis.Chain != ev.Header.Chain {
			continue
		}
		out := []Epoch{{Epoch: chain.Genesis, Before: chain.Genesis.Number - 1, First: true}}
		for _, next := range ev.Epochs {
			out = append(out, Epoch{Epoch: next.Epoch, Before: next.Number - 1, Signatures: next.Signatures})
		}
		return out
	}
	return nil
}

// within reports whether all signatures are by validators of an epoch, one by each.
func within(signatures []anchorproof.Cosignature, e Epoch) bool {
	last := -1
	for _, c := range signatures {
		if c.Validator <= last || c.Validator >= len(e.Validators) {
			return false
		}
		last = c.Validator
	}
	return true
}

// signatures are named by the validator's place in its epoch, counted from 0.
func (s *Section) signatures(prefix string, all []anchorproof.Cosignature) {
	for _, c := range all {
		s.add(fmt.Sprintf("%s%d.der", prefix, c.Validator), c.Signature)
	}
}

// spki is the beginning of every SM2 public key in DER, before the point's 65 bytes.
var spki = []byte(
	"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d\x03\x42\x00")

func publicPEM(k *sm.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: append(spki[:len(spki):len(spki)], k.Bytes()...)})
}
