package anchorproof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof/checkpoint"
)

// Evidence is what proves offline that a checkpoint was anchored. The checkpoint itself is
// no part of it: it stands beside it in a bundle.
//
// It is canonical JSON, keys in this order, no white space, no HTML escaping, at most
// [MaxEvidenceSize] bytes; empty lists are [], never null:
//
//	{"kind":"stele/egov/v1",
//	 "header":"<header text>",
//	 "position":0,
//	 "path":["<base64 of 32 bytes>",…],
//	 "cosignatures":[{"validator":0,"signature":"<base64 DER>"},…],
//	 "epochs":[{"text":"<epoch text>",
//	            "signatures":[{"validator":0,"signature":"<base64 DER>"},…],
//	            "joins":[{"validator":0,"sm2":"<base64 DER>","ed25519":"<base64>"},…]},…]
//	 [,"links":[{"text":"<link text>","log":"<base64 DER>","cosignatures":[…],"epochs":[…],
//	             "path":["<base64 of 32 bytes>",…]},…]]}
//
// position and path place the checkpoint's text under the header's anchors root.
// cosignatures are of validators of the header's epoch, ascending. epochs are all those
// after the pinned epoch up to the header's; none when the header is of the pinned one.
// links say how the log came to the header's chain from others, the oldest move first; the
// key is absent where there are none.
type Evidence struct {
	Header       Header
	Position     uint64
	Path         []merkle.Hash
	Cosignatures []Cosignature
	Epochs       []SignedEpoch
	Links        []Moved
}

// The wire structs fix the order of keys.
type (
	wireEvidence struct {
		Kind         string            `json:"kind"`
		Header       string            `json:"header"`
		Position     uint64            `json:"position"`
		Path         [][]byte          `json:"path"`
		Cosignatures []wireCosignature `json:"cosignatures"`
		Epochs       []wireEpoch       `json:"epochs"`
		Links        []wireMoved       `json:"links,omitempty"`
	}
	wireCosignature struct {
		Validator int    `json:"validator"`
		Signature []byte `json:"signature"`
	}
	wireJoin struct {
		Validator int    `json:"validator"`
		SM2       []byte `json:"sm2"`
		Ed25519   []byte `json:"ed25519"`
	}
	wireEpoch struct {
		Text       string            `json:"text"`
		Signatures []wireCosignature `json:"signatures"`
		Joins      []wireJoin        `json:"joins"`
	}
)

// Marshal returns the canonical JSON. It fails when the evidence exceeds a limit, which
// [ParseEvidence] would refuse; it does not verify.
func (e Evidence) Marshal() ([]byte, error) {
	if err := e.Header.check(); err != nil {
		return nil, err
	}
	if len(e.Links) > MaxLinks {
		return nil, fmt.Errorf("%w evidence: more than %d links", ErrFormat, MaxLinks)
	}
	w := wireEvidence{Kind: Kind, Header: e.Header.Text(), Position: e.Position,
		Path: wirePath(e.Path), Cosignatures: wireCosignatures(e.Cosignatures),
		Epochs: make([]wireEpoch, len(e.Epochs)), Links: wireLinks(e.Links)}
	for i, s := range e.Epochs {
		w.Epochs[i] = s.wire()
	}
	b, err := encode(w)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxEvidenceSize {
		return nil, fmt.Errorf("%w evidence: longer than %d bytes", ErrFormat, MaxEvidenceSize)
	}
	return b, nil
}

// ParseEvidence is the inverse of [Evidence.Marshal] and accepts no other spelling. It
// verifies nothing: see [Verify].
func ParseEvidence(b []byte) (Evidence, error) {
	var w wireEvidence
	if err := decode(b, &w, "evidence", MaxEvidenceSize); err != nil {
		return Evidence{}, err
	}
	e, err := w.evidence()
	if err != nil {
		return Evidence{}, err
	}
	if err := sameAgain(b, e.Marshal, "evidence"); err != nil {
		return Evidence{}, err
	}
	return e, nil
}

func (w wireEvidence) evidence() (Evidence, error) {
	if w.Kind != Kind {
		return Evidence{}, fmt.Errorf("%w evidence: kind must be %q", ErrFormat, Kind)
	}
	h, err := ParseHeader(w.Header)
	if err != nil {
		return Evidence{}, err
	}
	if w.Position > MaxNumber {
		return Evidence{}, fmt.Errorf("%w evidence: position", ErrFormat)
	}
	e := Evidence{Header: h, Position: w.Position}
	if e.Path, err = readPath(w.Path); err != nil {
		return Evidence{}, err
	}
	if e.Cosignatures, err = cosignatures(w.Cosignatures); err != nil {
		return Evidence{}, err
	}
	for _, we := range w.Epochs {
		s, err := we.signedEpoch()
		if err != nil {
			return Evidence{}, err
		}
		e.Epochs = append(e.Epochs, s)
	}
	e.Links, err = readLinks(w.Links)
	return e, err
}

func wirePath(path []merkle.Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}

func readPath(in [][]byte) ([]merkle.Hash, error) {
	if len(in) > merkle.MaxPath {
		return nil, fmt.Errorf("%w evidence: a path has at most %d hashes", ErrFormat, merkle.MaxPath)
	}
	out := make([]merkle.Hash, len(in))
	for i, p := range in {
		if len(p) != merkle.HashSize {
			return nil, fmt.Errorf("%w evidence: a path holds hashes of %d bytes", ErrFormat, merkle.HashSize)
		}
		out[i] = merkle.Hash(p)
	}
	return out, nil
}

// Marshal returns the canonical JSON of a signed epoch, as it stands in evidence.
func (s SignedEpoch) Marshal() ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	b, err := encode(s.wire())
	if err != nil {
		return nil, err
	}
	if len(b) > MaxSignedEpochSize {
		return nil, fmt.Errorf("%w epoch: longer than %d bytes", ErrFormat, MaxSignedEpochSize)
	}
	return b, nil
}

// ParseSignedEpoch is the inverse of [SignedEpoch.Marshal] and accepts no other spelling.
// It verifies nothing: see [Epoch.CheckNext].
func ParseSignedEpoch(b []byte) (SignedEpoch, error) {
	var w wireEpoch
	if err := decode(b, &w, "epoch", MaxSignedEpochSize); err != nil {
		return SignedEpoch{}, err
	}
	s, err := w.signedEpoch()
	if err != nil {
		return SignedEpoch{}, err
	}
	if err := sameAgain(b, s.Marshal, "epoch"); err != nil {
		return SignedEpoch{}, err
	}
	return s, nil
}

func (s SignedEpoch) wire() wireEpoch {
	w := wireEpoch{Text: s.Text(), Signatures: wireCosignatures(s.Signatures), Joins: make([]wireJoin, len(s.Joins))}
	for i, j := range s.Joins {
		w.Joins[i] = wireJoin{Validator: j.Validator, SM2: notNil(j.SM2), Ed25519: notNil(j.Ed25519)}
	}
	return w
}

func (w wireEpoch) signedEpoch() (SignedEpoch, error) {
	e, err := ParseEpoch(w.Text)
	if err != nil {
		return SignedEpoch{}, err
	}
	if len(w.Joins) > MaxValidators {
		return SignedEpoch{}, fmt.Errorf("%w epoch: more than %d joins", ErrFormat, MaxValidators)
	}
	s := SignedEpoch{Epoch: e}
	for _, j := range w.Joins {
		if err := checkIndex(j.Validator); err != nil {
			return SignedEpoch{}, err
		}
		s.Joins = append(s.Joins, Join(j))
	}
	s.Signatures, err = cosignatures(w.Signatures)
	return s, err
}

func wireCosignatures(in []Cosignature) []wireCosignature {
	out := make([]wireCosignature, len(in))
	for i, s := range in {
		out[i] = wireCosignature{Validator: s.Validator, Signature: notNil(s.Signature)}
	}
	return out
}

func cosignatures(in []wireCosignature) ([]Cosignature, error) {
	if len(in) > MaxValidators {
		return nil, fmt.Errorf("%w: more than %d signatures", ErrFormat, MaxValidators)
	}
	var out []Cosignature
	for _, s := range in {
		if err := checkIndex(s.Validator); err != nil {
			return nil, err
		}
		out = append(out, Cosignature(s))
	}
	return out, nil
}

// checkIndex refuses what is no integer of canonical JSON. An index that the epoch does not have
// is well-formed and proves nothing, which is another finding: see [Epoch.CheckQuorum].
func checkIndex(validator int) error {
	if validator < 0 || uint64(validator) > MaxNumber {
		return fmt.Errorf("%w: the number of a validator must be 0 to 2^53-1", ErrFormat)
	}
	return nil
}

// encode writes canonical JSON: struct order, no white space, no HTML escaping.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// notNil keeps an absent byte string from becoming null, a second spelling of "".
func notNil(b []byte) []byte { return append([]byte{}, b...) }

// decode reads JSON leniently; [sameAgain] makes it strict.
func decode[T any](b []byte, v *T, what string, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("%w %s: longer than %d bytes", ErrFormat, what, limit)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w %s: %v", ErrFormat, what, err)
	}
	return nil
}

// sameAgain refuses input that formatting the parsed value does not give back: unknown,
// repeated or reordered keys, null, white space, other escapes, loose base64 and trailing
// bytes are all ruled out by one comparison.
func sameAgain(b []byte, marshal func() ([]byte, error), what string) error {
	again, err := marshal()
	if err != nil {
		return err
	}
	if !bytes.Equal(again, b) {
		return fmt.Errorf("%w %s: not in canonical form", ErrFormat, what)
	}
	return nil
}

// Anchored is what verified evidence says.
type Anchored struct {
	Chain      string
	Index      uint64    // of the header
	Height     uint64    // of the block that committed the checkpoint
	Time       time.Time // of the header, UTC, milliseconds
	Epoch      uint64    // whose validators cosigned
	Validators []string  // names of those that cosigned, in the epoch's order
	Signed     uint64    // their power
	Total      uint64    // power of the whole epoch
}

// Verify checks that a checkpoint was anchored on the chain whose epoch is pinned (epoch 0
// as a rule). It reads the evidence strictly, follows the epochs from the pinned one,
// checks the quorum over the header and the checkpoint's place under it. It uses SM2, SM3
// and, for proofs of possession, Ed25519; no clock, no network.
//
// It does not check the log's own signature on the checkpoint. Links do not matter to it: the
// pinned epoch is one of the header's chain. See [SignedLink.Verify] and [Evidence.CheckLinks].
func Verify(pinned Epoch, c checkpoint.Checkpoint, evidence []byte) (Anchored, error) {
	e, err := ParseEvidence(evidence)
	if err != nil {
		return Anchored{}, err
	}
	return e.Verify(pinned, c)
}

// Verify is [Verify] for evidence that has been read.
func (e Evidence) Verify(pinned Epoch, c checkpoint.Checkpoint) (Anchored, error) {
	h := e.Header
	if err := h.check(); err != nil {
		return Anchored{}, err
	}
	// A checkpoint put together by hand could hold a name that makes its text another's.
	if again, err := checkpoint.Parse(c.Text()); err != nil || again != c {
		return Anchored{}, fmt.Errorf("%w checkpoint: %v", ErrFormat, err)
	}
	if err := pinned.Check(); err != nil {
		return Anchored{}, fmt.Errorf("pinned epoch: %w", err)
	}
	if h.Chain != pinned.Chain {
		return Anchored{}, fmt.Errorf("%w: evidence is of chain %s, the pinned epoch of %s", ErrChain, h.Chain,
			pinned.Chain)
	}
	epoch, err := pinned.Follow(e.Epochs)
	if err != nil {
		return Anchored{}, err
	}
	if epoch.Number != h.Epoch {
		return Anchored{}, fmt.Errorf("%w: epochs lead to %d, the header is of epoch %d", ErrHandOver, epoch.Number,
			h.Epoch)
	}
	power, err := epoch.CheckQuorum(h.Text(), e.Cosignatures)
	if err != nil {
		return Anchored{}, fmt.Errorf("header %d: %w", h.Index, err)
	}
	if err := merkle.VerifyInclusion(e.Position, h.Count, merkle.LeafHash([]byte(c.Text())), e.Path,
		h.Anchors); err != nil {
		return Anchored{}, fmt.Errorf("%w: %v", ErrInclusion, err)
	}
	a := Anchored{Chain: h.Chain, Index: h.Index, Height: h.Height, Time: h.Time(), Epoch: epoch.Number, Signed: power,
		Total: epoch.Total()}
	for _, s := range e.Cosignatures {
		a.Validators = append(a.Validators, epoch.Validators[s.Validator].Name)
	}
	return a, nil
}
