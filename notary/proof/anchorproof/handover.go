package anchorproof

import (
	"crypto/ed25519"
	"fmt"
	"slices"
)

// Cosignature is one validator's SM2 signature over a header's or an epoch's text.
type Cosignature struct {
	Validator int    // index into the epoch's validators
	Signature []byte // minimal DER, at most sm.MaxSignatureSize bytes
}

// Join is a new member's proof that it holds both of its keys: signatures over the text of
// the epoch that it enters with. Without it a mistyped key would be a dead validator, and
// one member could enter under another's key.
type Join struct {
	Validator int    // index into the new epoch's validators
	SM2       []byte // by its SM2 key, minimal DER
	Ed25519   []byte // by its consensus key, 64 bytes (RFC 8032)
}

// SignedEpoch is an epoch with what makes it follow from the epoch before.
type SignedEpoch struct {
	Epoch
	Signatures []Cosignature // by validators of the epoch before, in their order there
	Joins      []Join        // one for each of [Epoch.Newcomers], in their order
}

// IsQuorum reports whether power is strictly more than two thirds of the total.
func (e Epoch) IsQuorum(power uint64) bool { return Quorum(power, e.Total()) }

// Quorum reports whether power is strictly more than two thirds of a total.
func Quorum(power, total uint64) bool { return 3*power > 2*total }

// CheckQuorum checks signatures of e's validators over a text: each valid, by distinct
// validators in ascending order, of together more than two thirds of the power. It returns
// that power. One bad signature spoils the list: whoever collects signatures drops bad
// ones before, see [Epoch.CheckCosignature].
func (e Epoch) CheckQuorum(text string, sigs []Cosignature) (power uint64, err error) {
	last := -1
	for _, s := range sigs {
		if s.Validator <= last {
			return 0, fmt.Errorf("%w: validator %d is out of order", ErrQuorum, s.Validator)
		}
		last = s.Validator
		if err := e.CheckCosignature(text, s); err != nil {
			return 0, err
		}
		power += e.Validators[s.Validator].Power
	}
	if !e.IsQuorum(power) {
		return 0, fmt.Errorf("%w: power %d of %d, more than two thirds are needed", ErrQuorum, power, e.Total())
	}
	return power, nil
}

// CheckCosignature checks one signature of one of e's validators over a text.
func (e Epoch) CheckCosignature(text string, s Cosignature) error {
	if s.Validator < 0 || s.Validator >= len(e.Validators) {
		return fmt.Errorf("%w: epoch %d has no validator %d", ErrQuorum, e.Number, s.Validator)
	}
	v := e.Validators[s.Validator]
	if !v.Key.Verify([]byte(text), s.Signature) {
		return fmt.Errorf("%w: signature of %s does not verify", ErrQuorum, v.Name)
	}
	return nil
}

// Newcomers returns the indexes of next's validators that were not in e under the same
// name with the same two keys. A change of power alone needs no new proof of possession.
func (e Epoch) Newcomers(next Epoch) []int {
	var out []int
	for i, n := range next.Validators {
		if !slices.ContainsFunc(e.Validators, func(v Validator) bool {
			return v.Name == n.Name && v.ConsensusKey == n.ConsensusKey && v.Key.Equal(n.Key)
		}) {
			out = append(out, i)
		}
	}
	return out
}

// CheckNext reports whether next follows from e: same chain, next number, hash of e, a
// quorum of e's power, and exactly the proofs of possession that its newcomers owe.
func (e Epoch) CheckNext(next SignedEpoch) error {
	if err := next.Check(); err != nil {
		return err
	}
	if next.Chain != e.Chain {
		return fmt.Errorf("%w: epoch %d is of chain %s, not of %s", ErrChain, next.Number, next.Chain, e.Chain)
	}
	if next.Number != e.Number+1 {
		return fmt.Errorf("%w: epoch %d cannot follow epoch %d", ErrHandOver, next.Number, e.Number)
	}
	if next.Previous != e.Hash() {
		return fmt.Errorf("%w: epoch %d names another epoch as previous", ErrHandOver, next.Number)
	}
	text := next.Text()
	if _, err := e.CheckQuorum(text, next.Signatures); err != nil {
		return fmt.Errorf("%w: epoch %d: %w", ErrHandOver, next.Number, err)
	}
	owed := e.Newcomers(next.Epoch)
	if len(owed) != len(next.Joins) {
		return fmt.Errorf("%w: epoch %d has %d newcomers and %d proofs of possession", ErrHandOver, next.Number,
			len(owed), len(next.Joins))
	}
	for i, j := range next.Joins {
		if j.Validator != owed[i] {
			return fmt.Errorf("%w: epoch %d: proof of possession %d must be of validator %d", ErrHandOver, next.Number,
				i, owed[i])
		}
		v := next.Validators[j.Validator]
		if !v.Key.Verify([]byte(text), j.SM2) {
			return fmt.Errorf("%w: epoch %d: %s does not prove its SM2 key", ErrHandOver, next.Number, v.Name)
		}
		if len(j.Ed25519) != ed25519.SignatureSize || !ed25519.Verify(v.ConsensusKey[:], []byte(text), j.Ed25519) {
			return fmt.Errorf("%w: epoch %d: %s does not prove its consensus key", ErrHandOver, next.Number, v.Name)
		}
	}
	return nil
}

// Follow walks from e over the epochs after it and returns the last one.
func (e Epoch) Follow(next []SignedEpoch) (Epoch, error) {
	for _, n := range next {
		if err := e.CheckNext(n); err != nil {
			return Epoch{}, err
		}
		e = n.Epoch
	}
	return e, nil
}
