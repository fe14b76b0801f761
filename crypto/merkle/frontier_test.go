package merkle

import (
	"fmt"
	"testing"
)

// Every full subtree is visited once, when its last leaf comes, with the hash that it has.
func TestAppendVisit(t *testing.T) {
	var f Frontier
	var leaves []Hash
	seen := map[NodeID]bool{}
	for i := range 600 {
		leaf := LeafHash(fmt.Append(nil, i))
		leaves = append(leaves, leaf)
		f.AppendVisit(leaf, func(id NodeID, h Hash) {
			want, err := ListReader(leaves)([]NodeID{id})
			ends := (id.Index + 1) << id.Level
			if err != nil || want[0] != h || seen[id] || id.Level == 0 || ends != uint64(len(leaves)) {
				t.Fatalf("leaf %d: node %d/%d: %v", i, id.Level, id.Index, err)
			}
			seen[id] = true
		})
		want := 0
		for n := len(leaves) / 2; n > 0; n /= 2 {
			want += n
		}
		if len(seen) != want {
			t.Fatalf("%d nodes after %d leaves, want %d", len(seen), len(leaves), want)
		}
	}
	if f.Root() != ListRoot(leaves) {
		t.Error("root")
	}
}
