// Package merkle is the RFC 6962 Merkle tree with SM3 in place of SHA-256: hashes,
// proofs, an append-only frontier and the tile layout of C2SP tlog-tiles.
//
// Proof arithmetic is transparency-dev/merkle with our hasher. The package holds no
// state and does no I/O: whoever needs stored nodes passes a [NodeReader].
package merkle

import (
	"errors"
	"fmt"

	tmerkle "github.com/transparency-dev/merkle"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"

	"stele/crypto/sm"
)

// HashSize is the length of a node in bytes.
const HashSize = sm.DigestSize

// Hash is a node of the tree.
type Hash = sm.Digest

// MaxPath is the longest inclusion or consistency path that any tree of at most
// 2^63 leaves can need. Parsers refuse longer ones before they look at them.
const MaxPath = 64

// LeafHash is SM3(0x00 ‖ data), RFC 6962 section 2.1.
func LeafHash(data []byte) Hash { return sm.Sum([]byte{0}, data) }

// NodeHash is SM3(0x01 ‖ left ‖ right), RFC 6962 section 2.1.
func NodeHash(left, right Hash) Hash {
	var b [1 + 2*HashSize]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+HashSize:], right[:])
	return sm.Sum(b[:])
}

// EmptyRoot is the root of the tree without leaves: SM3 of nothing.
func EmptyRoot() Hash { return sm.Sum(nil) }

type hasher struct{}

var _ tmerkle.LogHasher = hasher{}

func (hasher) EmptyRoot() []byte { h := EmptyRoot(); return h[:] }

func (hasher) HashLeaf(leaf []byte) []byte { h := LeafHash(leaf); return h[:] }

func (hasher) HashChildren(l, r []byte) []byte {
	h := NodeHash(Hash(l), Hash(r))
	return h[:]
}

func (hasher) Size() int { return HashSize }

// ErrProof is wrapped by every error of a proof that does not hold.
var ErrProof = errors.New("merkle proof does not hold")

// VerifyInclusion checks that leaf is the index-th leaf of the tree with this size and root.
func VerifyInclusion(index, size uint64, leaf Hash, path []Hash, root Hash) error {
	if err := proof.VerifyInclusion(hasher{}, index, size, leaf[:], slices2(path), root[:]); err != nil {
		return fmt.Errorf("%w: inclusion of leaf %d in size %d: %v", ErrProof, index, size, err)
	}
	return nil
}

// VerifyConsistency checks that the tree (oldSize, oldRoot) is a prefix of (newSize, newRoot).
// From the empty tree and between equal trees the path must be empty.
func VerifyConsistency(oldSize, newSize uint64, oldRoot, newRoot Hash, path []Hash) error {
	switch {
	case oldSize > newSize:
		return fmt.Errorf("%w: size %d is smaller than %d", ErrProof, newSize, oldSize)
	case oldSize == 0:
		if len(path) != 0 || oldRoot != EmptyRoot() {
			return fmt.Errorf("%w: from the empty tree the path is empty", ErrProof)
		}
		return nil
	}
	if err := proof.VerifyConsistency(hasher{}, oldSize, newSize, slices2(path), oldRoot[:], newRoot[:]); err != nil {
		return fmt.Errorf("%w: from size %d to %d: %v", ErrProof, oldSize, newSize, err)
	}
	return nil
}

func slices2(path []Hash) [][]byte {
	out := make([][]byte, len(path))
	for i := range path {
		out[i] = path[i][:]
	}
	return out
}

// NodeID names a full subtree: Level 0 are leaves, Index counts from the left.
type NodeID struct {
	Level uint
	Index uint64
}

// NodeReader returns the hashes of full subtrees, in the order asked for.
type NodeReader func(ids []NodeID) ([]Hash, error)

// InclusionProof builds the path of leaf index in the tree of this size.
func InclusionProof(index, size uint64, read NodeReader) ([]Hash, error) {
	n, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("inclusion of leaf %d in size %d: %w", index, size, err)
	}
	return assemble(n, read)
}

// ConsistencyProof builds the path from the tree of oldSize to that of newSize.
func ConsistencyProof(oldSize, newSize uint64, read NodeReader) ([]Hash, error) {
	if oldSize == 0 || oldSize == newSize {
		return nil, nil
	}
	n, err := proof.Consistency(oldSize, newSize)
	if err != nil {
		return nil, fmt.Errorf("consistency from size %d to %d: %w", oldSize, newSize, err)
	}
	return assemble(n, read)
}

// Root computes the root of the tree of this size from its full subtrees.
func Root(size uint64, read NodeReader) (Hash, error) {
	f, err := LoadFrontier(size, read)
	if err != nil {
		return Hash{}, err
	}
	return f.Root(), nil
}

func assemble(n proof.Nodes, read NodeReader) ([]Hash, error) {
	hashes, err := read(nodeIDs(n.IDs))
	if err != nil {
		return nil, err
	}
	if len(hashes) != len(n.IDs) {
		return nil, fmt.Errorf("node reader returned %d hashes, want %d", len(hashes), len(n.IDs))
	}
	out, err := n.Rehash(slices2(hashes), hasher{}.HashChildren)
	if err != nil {
		return nil, err
	}
	path := make([]Hash, len(out))
	for i := range out {
		path[i] = Hash(out[i])
	}
	return path, nil
}

func nodeIDs(ids []compact.NodeID) []NodeID {
	out := make([]NodeID, len(ids))
	for i, id := range ids {
		out[i] = NodeID{Level: id.Level, Index: id.Index}
	}
	return out
}
