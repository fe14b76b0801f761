package merkle

import (
	"fmt"
	"slices"

	"github.com/transparency-dev/merkle/compact"
)

// Frontier is the right edge of a tree: the hashes of its full subtrees, O(log n) of
// them. The zero value is the empty tree. It is not safe for concurrent use.
type Frontier struct {
	size   uint64
	hashes []Hash // one per set bit of size, largest subtree first
}

// NewFrontier rebuilds a frontier from [Frontier.Size] and [Frontier.Hashes].
func NewFrontier(size uint64, hashes []Hash) (*Frontier, error) {
	if want := compact.RangeSize(0, size); len(hashes) != want {
		return nil, fmt.Errorf("a frontier of size %d has %d hashes, got %d", size, want, len(hashes))
	}
	return &Frontier{size: size, hashes: slices.Clone(hashes)}, nil
}

// LoadFrontier reads the frontier of a stored tree.
func LoadFrontier(size uint64, read NodeReader) (*Frontier, error) {
	ids := nodeIDs(compact.RangeNodes(0, size, nil))
	hashes, err := read(ids)
	if err != nil {
		return nil, err
	}
	return NewFrontier(size, hashes)
}

// Size is the number of leaves.
func (f *Frontier) Size() uint64 { return f.size }

// Hashes returns a copy of the full subtrees' hashes, largest first.
func (f *Frontier) Hashes() []Hash { return slices.Clone(f.hashes) }

// Clone returns an independent copy.
func (f *Frontier) Clone() *Frontier {
	return &Frontier{size: f.size, hashes: slices.Clone(f.hashes)}
}

// Append adds a leaf hash.
func (f *Frontier) Append(leaf Hash) { f.AppendVisit(leaf, func(NodeID, Hash) {}) }

// AppendVisit is [Frontier.Append] and calls visit for every full subtree of two leaves and more
// that the leaf completes, smallest first. Who keeps them can read the tree's nodes later; there
// are fewer of them than leaves.
func (f *Frontier) AppendVisit(leaf Hash, visit func(NodeID, Hash)) {
	h, level := leaf, uint(0)
	for n := f.size; n&1 == 1; n >>= 1 {
		last := len(f.hashes) - 1
		h = NodeHash(f.hashes[last], h)
		f.hashes = f.hashes[:last]
		level++
		visit(NodeID{Level: level, Index: f.size >> level}, h)
	}
	f.hashes = append(f.hashes, h)
	f.size++
}

// Root returns the root of the tree.
func (f *Frontier) Root() Hash {
	if f.size == 0 {
		return EmptyRoot()
	}
	r := f.hashes[len(f.hashes)-1]
	for i := len(f.hashes) - 2; i >= 0; i-- {
		r = NodeHash(f.hashes[i], r)
	}
	return r
}

// ListRoot is the root over a short list that is at hand as a whole.
func ListRoot(leaves []Hash) Hash {
	var f Frontier
	for _, l := range leaves {
		f.Append(l)
	}
	return f.Root()
}

// ListInclusion is the path of leaves[index] in the tree over a short list.
func ListInclusion(leaves []Hash, index uint64) ([]Hash, error) {
	return InclusionProof(index, uint64(len(leaves)), ListReader(leaves))
}

// ListReader reads nodes of the tree over a short list by computing them. It serves
// lists of a block's checkpoints and tests; a log reads its tiles.
func ListReader(leaves []Hash) NodeReader {
	return func(ids []NodeID) ([]Hash, error) {
		out := make([]Hash, len(ids))
		for i, id := range ids {
			lo, hi := id.Index<<id.Level, (id.Index+1)<<id.Level
			if hi > uint64(len(leaves)) {
				return nil, fmt.Errorf("node %d/%d lies outside a list of %d", id.Level, id.Index, len(leaves))
			}
			out[i] = ListRoot(leaves[lo:hi])
		}
		return out, nil
	}
}
