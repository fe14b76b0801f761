// Package vmap is a verifiable map from 256-bit keys to 256-bit values: a Merkle Patricia tree (a binary
// prefix tree without nodes that have one child) with SM3. It proves that a key has a value, and that a
// key is absent. With SHA-256 in place of SM3 its roots are those of filippo.io/torchwood/mpt v0.10.0.
//
// A node is a leaf, with a key and its value, or has two children: it stands at the first bit at which
// two keys below it differ, keys with 0 there are on its left, with 1 on its right. Bit 0 is the most
// significant bit of a key's first byte. The tree is the same however its keys came in. With ‖ for
// concatenation and bit as an unsigned LEB128 number (one byte below 128, else two):
//
//	empty map = SM3 of nothing
//	leaf      = SM3(0x00 ‖ 0x20 ‖ key ‖ 0x20 ‖ value)
//	node      = SM3(0x01 ‖ bit ‖ left ‖ right)
//
// Keys must be digests, or spread as digests are: keys that share long beginnings make long proofs. A
// key that was put stays; there is no removal.
package vmap

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"

	"stele/crypto/sm"
)

// KeyBits is the length of a key.
const KeyBits = 8 * sm.DigestSize

// Entry is a key with its value.
type Entry struct{ Key, Value sm.Digest }

// Map is a state of the map. The zero value is the empty map. A Map never changes: [Map.Put] returns
// another one that shares what is equal, so any number of goroutines may use it. An entry takes about
// 200 bytes of memory.
type Map struct {
	root *node // nil for none
	size int
}

// node is a leaf, or has two children.
type node struct {
	hash     sm.Digest
	leaf     *Entry // the entry; of a node with children any one below it
	children *[2]*node
	bit      int // at which the children differ; KeyBits for a leaf
}

// Size is the number of keys.
func (m Map) Size() int { return m.size }

// Root is the root hash, which commits to all entries.
func (m Map) Root() sm.Digest {
	if m.root == nil {
		return emptyRoot()
	}
	return m.root.hash
}

// Get returns the value of a key.
func (m Map) Get(key sm.Digest) (value sm.Digest, ok bool) {
	if m.root == nil {
		return value, false
	}
	if e := m.root.nearest(key); e.Key == key {
		return e.Value, true
	}
	return value, false
}

// nearest is the leaf at which the way of a key ends.
func (n *node) nearest(key sm.Digest) *Entry {
	for n.children != nil {
		n = n.children[bitOf(key, n.bit)]
	}
	return n.leaf
}

// All yields the entries in the order of their keys.
func (m Map) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) { m.root.all(yield) }
}

func (n *node) all(yield func(Entry) bool) bool {
	switch {
	case n == nil:
		return true
	case n.children == nil:
		return yield(*n.leaf)
	}
	return n.children[0].all(yield) && n.children[1].all(yield)
}

// Put returns the map with these entries; they replace values that their keys have. Of entries with
// the same key the last one counts. Many entries at once cost less than one after another.
func (m Map) Put(entries ...Entry) Map {
	sorted := slices.Clone(entries)
	slices.Reverse(sorted) // of equal keys the first is kept below
	slices.SortStableFunc(sorted, func(a, b Entry) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	sorted = slices.CompactFunc(sorted, func(a, b Entry) bool { return a.Key == b.Key })
	for _, e := range sorted {
		if _, ok := m.Get(e.Key); !ok {
			m.size++
		}
	}
	m.root = merge(m.root, sorted)
	return m
}

// merge returns a subtree with entries, which are sorted by distinct keys.
func merge(n *node, sorted []Entry) *node {
	switch {
	case len(sorted) == 0:
		return n
	case n == nil && len(sorted) == 1:
		return leafOf(sorted[0])
	}
	at := common(sorted[0].Key, sorted[len(sorted)-1].Key)
	if n != nil {
		// Which bits the subtree's keys share, and so where its node stands, does not change below n.bit.
		at = min(n.bit, common(n.leaf.Key, sorted[0].Key), common(n.leaf.Key, sorted[len(sorted)-1].Key))
	}
	if at == KeyBits { // n is a leaf and gets another value
		return leafOf(sorted[0])
	}
	cut, _ := slices.BinarySearchFunc(sorted, 1, func(e Entry, want int) int { return bitOf(e.Key, at) - want })
	var old [2]*node
	switch {
	case n == nil:
	case n.bit == at:
		old = *n.children
	default: // all of n is on one side of the new node
		old[bitOf(n.leaf.Key, at)] = n
	}
	children := [2]*node{merge(old[0], sorted[:cut]), merge(old[1], sorted[cut:])}
	return &node{hash: nodeHash(sm.Sum, at, children[0].hash, children[1].hash), leaf: children[0].leaf,
		children: &children, bit: at}
}

func leafOf(e Entry) *node { return &node{hash: leafHash(sm.Sum, e), leaf: &e, bit: KeyBits} }

// bitOf is the bit of a key at an index.
func bitOf(key sm.Digest, at int) int { return int(key[at/8]>>(7-at%8)) & 1 }

// common is how many first bits two keys share.
func common(a, b sm.Digest) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return KeyBits
}

// hashFunc hashes the concatenation of its arguments: SM3, and in a test SHA-256.
type hashFunc func(parts ...[]byte) sm.Digest

func emptyRoot() sm.Digest { return sm.Sum(nil) }

func leafHash(h hashFunc, e Entry) sm.Digest {
	b := make([]byte, 0, 3+2*sm.DigestSize)
	b = append(append(b, 0, sm.DigestSize), e.Key[:]...)
	return h(append(append(b, sm.DigestSize), e.Value[:]...))
}

func nodeHash(h hashFunc, bit int, left, right sm.Digest) sm.Digest {
	b := make([]byte, 0, 3+2*sm.DigestSize)
	b = binary.AppendUvarint(append(b, 1), uint64(bit))
	return h(append(append(b, left[:]...), right[:]...))
}
