package merkle

import (
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The slow reference tree: RFC 6962 section 2.1 as it is written there.
func refRoot(l []Hash) Hash {
	switch len(l) {
	case 0:
		return EmptyRoot()
	case 1:
		return l[0]
	}
	k := refSplit(len(l))
	return NodeHash(refRoot(l[:k]), refRoot(l[k:]))
}

func refSplit(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func refPath(l []Hash, i int) []Hash {
	if len(l) <= 1 {
		return nil
	}
	k := refSplit(len(l))
	if i < k {
		return append(refPath(l[:k], i), refRoot(l[k:]))
	}
	return append(refPath(l[k:], i-k), refRoot(l[:k]))
}

func refConsistency(l []Hash, m int, whole bool) []Hash {
	if m == len(l) {
		if whole {
			return nil
		}
		return []Hash{refRoot(l)}
	}
	k := refSplit(len(l))
	if m <= k {
		return append(refConsistency(l[:k], m, whole), refRoot(l[k:]))
	}
	return append(refConsistency(l[k:], m-k, false), refRoot(l[:k]))
}

func leaves(n int) []Hash {
	out := make([]Hash, n)
	for i := range out {
		out[i] = LeafHash([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	return out
}

// The eight well-known test leaves of Certificate Transparency, roots with SM3.
func TestKnownRoots(t *testing.T) {
	var f Frontier
	want := map[int]string{0: "1ab21d83", 1: "2daef60e", 2: "0b990fe0", 3: "209ec96a", 8: "bc48ba7a"}
	check := func(n int) {
		if w, ok := want[n]; ok && !strings.HasPrefix(f.Root().String(), w) {
			t.Errorf("root of %d leaves is %s, want %s…", n, f.Root(), w)
		}
	}
	check(0)
	for i, s := range []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
		"606162636465666768696a6b6c6d6e6f"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		f.Append(LeafHash(b))
		check(i + 1)
	}
}

func TestProofsAgainstReferenceTree(t *testing.T) {
	all := leaves(70)
	for n := 1; n <= len(all); n++ {
		l, root := all[:n], refRoot(all[:n])
		if ListRoot(l) != root {
			t.Fatal("frontier root differs at", n)
		}
		read := ListReader(l)
		for i := range n {
			p, err := InclusionProof(uint64(i), uint64(n), read)
			if err != nil {
				t.Fatal(err)
			}
			if !equal(p, refPath(l, i)) {
				t.Fatal("path differs", i, n)
			}
			if err := VerifyInclusion(uint64(i), uint64(n), l[i], p, root); err != nil {
				t.Fatal(err)
			}
		}
		for m := 0; m <= n; m++ {
			p, err := ConsistencyProof(uint64(m), uint64(n), read)
			if err != nil {
				t.Fatal(err)
			}
			if m > 0 && !equal(p, refConsistency(l, m, true)) {
				t.Fatal("consistency path differs", m, n)
			}
			if err := VerifyConsistency(uint64(m), uint64(n), refRoot(l[:m]), root, p); err != nil {
				t.Fatal(m, n, err)
			}
		}
	}
}

func equal(a, b []Hash) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestBadProofsAreRefused(t *testing.T) {
	all := leaves(300)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 300).Draw(t, "n")
		m := rapid.IntRange(1, n-1).Draw(t, "m")
		read := ListReader(all[:n])
		root, old := ListRoot(all[:n]), ListRoot(all[:m])
		incl, _ := InclusionProof(uint64(m), uint64(n), read)
		cons, _ := ConsistencyProof(uint64(m), uint64(n), read)
		flip := func(p []Hash) []Hash {
			q := append([]Hash(nil), p...)
			q[rapid.IntRange(0, len(q)-1).Draw(t, "i")][rapid.IntRange(0, 31).Draw(t, "j")] ^= 1
			return q
		}
		bad := map[string]error{
			"flipped inclusion": VerifyInclusion(uint64(m), uint64(n), all[m], flip(incl), root),
			"other leaf":        VerifyInclusion(uint64(m), uint64(n), all[m-1], incl, root),
			"long inclusion": VerifyInclusion(uint64(m), uint64(n), all[m],
				append(incl[:len(incl):len(incl)], root), root),
			"index past the end":  VerifyInclusion(uint64(n), uint64(n), all[m], incl, root),
			"flipped consistency": VerifyConsistency(uint64(m), uint64(n), old, root, flip(cons)),
			"other old root":      VerifyConsistency(uint64(m), uint64(n), all[0], NodeHash(root, root), cons),
			"shrinking":           VerifyConsistency(uint64(n), uint64(m), root, old, cons),
			"same size":           VerifyConsistency(uint64(n), uint64(n), root, old, nil),
			"from empty":          VerifyConsistency(0, uint64(n), old, root, nil),
		}
		for what, err := range bad {
			if err == nil {
				t.Fatalf("%s accepted", what)
			}
		}
	})
}

func TestTilePaths(t *testing.T) {
	for want, tile := range map[string]Tile{
		"tile/0/000":                     {0, 0, 256},
		"tile/1/999.p/1":                 {1, 999, 1},
		"tile/0/x001/067.p/12":           {0, 1067, 12},
		"tile/2/x001/x234/567.p/255":     {2, 1234567, 255},
		"tile/0/x123/x456/x789/x012/345": {0, 123456789012345, 256},
	} {
		t.Run(want, func(t *testing.T) {
			if got := tile.Path(); got != want {
				t.Errorf("path %s, want %s", got, want)
			}
			if got, err := ParseTilePath(want); err != nil || got != tile {
				t.Errorf("parse %s: %+v %v", want, got, err)
			}
		})
	}
	for _, bad := range []string{"", "tile/", "tile/0/0", "tile/00/000", "tile/0/000.p/256", "tile/0/000.p/0",
		"tile/0/x000/001",
		"tile/8/000", "tile/0/001/", "tile/0/../etc", "tile/0/000.p/01", "tile/0/x001", "tile/0/1000",
		"tile/0/001/002"} {
		if got, err := ParseTilePath(bad); err == nil {
			t.Errorf("%q accepted as %+v", bad, got)
		}
	}
}

func FuzzTilePath(f *testing.F) {
	f.Add("tile/0/x001/067.p/12")
	f.Add("tile/entries/x001/067.p/12")
	f.Fuzz(func(t *testing.T, s string) {
		if tile, err := ParseTilePath(s); err == nil && tile.Path() != s {
			t.Fatal(s)
		}
		if tile, err := ParseEntriesPath(s); err == nil && tile.EntriesPath() != s {
			t.Fatal(s)
		}
	})
}

// A tree kept only as tiles must answer every node that proofs ask for, at any earlier size.
func TestNodesFromTiles(t *testing.T) {
	all := leaves(70000)
	store := map[string][]byte{}
	levels := [][]Hash{all}
	for len(levels[len(levels)-1]) >= TileWidth {
		prev := levels[len(levels)-1]
		var up []Hash
		for i := 0; i+TileWidth <= len(prev); i += TileWidth {
			up = append(up, ListRoot(prev[i:i+TileWidth]))
		}
		levels = append(levels, up)
	}
	sizes := []uint64{0, 1, 255, 256, 257, 511, 512, 65535, 65536, 65537, 70000}
	for i := 1; i < len(sizes); i++ {
		for _, tile := range NewTiles(sizes[i-1], sizes[i]) {
			var b []byte
			for _, h := range levels[tile.Level][tile.Index*TileWidth:][:tile.Width] {
				b = append(b, h[:]...)
			}
			store[tile.Path()] = b
		}
		size := sizes[i]
		read := func(ids []NodeID) ([]Hash, error) {
			out := make([]Hash, len(ids))
			for i, id := range ids {
				tile := TileOf(id, size)
				b, ok := store[tile.Path()]
				if !ok {
					t.Fatalf("size %d: tile %s was never written", size, tile.Path())
				}
				h, err := NodeFromTile(id, tile, b)
				if err != nil {
					return nil, err
				}
				out[i] = h
			}
			return out, nil
		}
		root, err := Root(size, read)
		if err != nil || root != ListRoot(all[:size]) {
			t.Fatal(size, err)
		}
		for _, old := range sizes[1:i] {
			p, err := ConsistencyProof(old, size, read)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyConsistency(old, size, ListRoot(all[:old]), root, p); err != nil {
				t.Fatal(err)
			}
			at, err := InclusionProof(old-1, size, read)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyInclusion(old-1, size, all[old-1], at, root); err != nil {
				t.Fatal(err)
			}
		}
	}
}
