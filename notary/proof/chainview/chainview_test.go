package chainview

import "testing"

func TestQuorumLost(t *testing.T) {
	four := []Validator{{Name: "a", Power: 1}, {Name: "b", Power: 1}, {Name: "c", Power: 1}, {Name: "d", Power: 1}}
	node := func(name string, reachable bool) Node { return Node{Name: name, Reachable: reachable} }
	for what, c := range map[string]struct {
		members []Validator
		nodes   []Node
		want    bool
	}{
		"all there": {four, []Node{node("a", true), node("b", true), node("c", true), node("d", true)},
			false},
		"one away": {four, []Node{node("a", false), node("b", true), node("c", true), node("d", true)},
			false},
		"two away": {four, []Node{node("a", false), node("b", false), node("c", true), node("d", true)},
			true},
		"two that are not asked": {four, []Node{node("a", true), node("b", false)}, false},
		"by one of two nodes":    {four, []Node{node("a", false), node("a", true), node("b", false)}, false},
		"a heavy one away": {[]Validator{{Name: "a", Power: 5}, {Name: "b", Power: 5}, {Name: "c", Power: 5}},
			[]Node{node("c", false)}, true},
		"alone":            {four[:1], []Node{node("a", true)}, false},
		"no members known": {nil, nil, false},
	} {
		t.Run(what, func(t *testing.T) {
			if got := QuorumLost(c.members, c.nodes); got != c.want {
				t.Errorf("%s: %t", what, got)
			}
		})
	}
}
