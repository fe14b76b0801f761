package vmap

import (
	"errors"
	"fmt"

	"stele/crypto/sm"
)

// Proof shows under a root that a key has a value, or that it has none. It holds the way of the key from
// the root and, where the key is absent, the leaf at which that way ends: a present key would be there.
type Proof struct {
	steps []step // from the root down
	end   end
	other Entry // where the way ends, if at another key's leaf
}

// step is a node on the way.
type step struct {
	bit     byte      // of the key, which says where the way goes on
	sibling sm.Digest // the child to which it does not go
}

// end is what is at the end of a way; the values are those of the encoding.
type end byte

const (
	endKey   end = 0 // the leaf of the key
	endOther end = 1 // the leaf of another key
	endEmpty end = 2 // nothing: the map is empty
)

// Errors of proofs.
var (
	// ErrProof means that a proof does not show what was asked.
	ErrProof = errors.New("the map's proof does not hold")
	// ErrFormat means that bytes are no proof.
	ErrFormat = errors.New("no proof of a verifiable map")
)

const stepSize = 1 + sm.DigestSize

// MaxProofSize is the size in bytes of the longest encoding of a proof. One of a map of a million digests
// has some 20 to 30 steps of 33 bytes.
const MaxProofSize = 2 + KeyBits*stepSize + 1 + 2*sm.DigestSize

// Prove returns the proof of a key's value, or of its absence.
func (m Map) Prove(key sm.Digest) (p Proof) {
	if m.root == nil {
		p.end = endEmpty
		return p
	}
	n := m.root
	for n.children != nil {
		side := bitOf(key, n.bit)
		p.steps = append(p.steps, step{byte(n.bit), n.children[1-side].hash})
		n = n.children[side]
	}
	if n.leaf.Key != key {
		p.end, p.other = endOther, *n.leaf
	}
	return p
}

// Present reports what the proof is about: a key's value, or its absence.
func (p Proof) Present() bool { return p.end == endKey }

// Verify checks that the key has the value under the root. Its error wraps [ErrProof].
//
// Unless SM3 is broken, no root, whoever made it, has proofs of two values of one key, or of a value and
// of the key's absence: from one root the ways of one key go through the same nodes to one leaf.
func (p Proof) Verify(root, key, value sm.Digest) error {
	if !p.Present() {
		return fmt.Errorf("%w: it is of an absent key", ErrProof)
	}
	return p.check(root, key, Entry{key, value})
}

// VerifyAbsent checks that the key has no value under the root. Its error wraps [ErrProof].
func (p Proof) VerifyAbsent(root, key sm.Digest) error {
	switch {
	case p.Present() || p.end == endOther && p.other.Key == key:
		return fmt.Errorf("%w: it is of a key that is present", ErrProof)
	case p.end == endEmpty && root != emptyRoot():
		return fmt.Errorf("%w: the map is not empty", ErrProof)
	case p.end == endEmpty:
		return nil
	}
	for _, s := range p.steps {
		if bitOf(key, int(s.bit)) != bitOf(p.other.Key, int(s.bit)) {
			return fmt.Errorf("%w: the way of the key parts from this one at bit %d", ErrProof, s.bit)
		}
	}
	return p.check(root, key, p.other)
}

// check follows the way from its leaf up to the root.
func (p Proof) check(root, key sm.Digest, leaf Entry) error {
	h := leafHash(sm.Sum, leaf)
	for i := len(p.steps) - 1; i >= 0; i-- {
		s := p.steps[i]
		if bitOf(key, int(s.bit)) == 0 {
			h = nodeHash(sm.Sum, int(s.bit), h, s.sibling)
		} else {
			h = nodeHash(sm.Sum, int(s.bit), s.sibling, h)
		}
	}
	if h != root {
		return fmt.Errorf("%w: it leads to another root", ErrProof)
	}
	return nil
}

// Encode returns the proof's one encoding: the number of steps as 2 bytes, big endian; for each step,
// from the root down, its bit as 1 byte and the sibling; then 1 byte for the end (0 the key, 1 another
// key, 2 an empty map) and, for another key, that key and its value.
func (p Proof) Encode() []byte {
	b := make([]byte, 0, 2+len(p.steps)*stepSize+1+2*sm.DigestSize)
	b = append(b, byte(len(p.steps)>>8), byte(len(p.steps)))
	for _, s := range p.steps {
		b = append(append(b, s.bit), s.sibling[:]...)
	}
	if b = append(b, byte(p.end)); p.end == endOther {
		b = append(append(b, p.other.Key[:]...), p.other.Value[:]...)
	}
	return b
}

// ParseProof reads an encoding, and takes nothing that [Proof.Encode] does not give. Its error wraps
// [ErrFormat].
func ParseProof(b []byte) (p Proof, err error) {
	if len(b) < 3 || len(b) > MaxProofSize {
		return p, fmt.Errorf("%w: %d bytes", ErrFormat, len(b))
	}
	n := int(b[0])<<8 | int(b[1])
	steps, last := b[2:], len(b)-2-n*stepSize
	if last != 1 && last != 1+2*sm.DigestSize {
		return p, fmt.Errorf("%w: %d steps in %d bytes", ErrFormat, n, len(b))
	}
	for i := range n {
		s := step{steps[0], sm.Digest(steps[1:stepSize])}
		if i > 0 && s.bit <= p.steps[i-1].bit {
			return Proof{}, fmt.Errorf("%w: bit %d after bit %d", ErrFormat, s.bit, p.steps[i-1].bit)
		}
		p.steps, steps = append(p.steps, s), steps[stepSize:]
	}
	p.end = end(steps[0])
	if p.end > endEmpty || p.end == endEmpty && n > 0 || (p.end == endOther) != (last > 1) {
		return Proof{}, fmt.Errorf("%w: end %d after %d steps, %d bytes", ErrFormat, p.end, n, last)
	}
	if p.end == endOther {
		p.other = Entry{sm.Digest(steps[1 : 1+sm.DigestSize]), sm.Digest(steps[1+sm.DigestSize:])}
	}
	return p, nil
}
