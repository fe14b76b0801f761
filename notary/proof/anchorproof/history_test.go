package anchorproof

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"stele/crypto/merkle"
	"stele/crypto/sm"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// headersOf makes the headers of one history; what changes each before it enters the history.
func headersOf(n int, change func(h *Header)) []Header {
	var history merkle.Frontier
	out := make([]Header, n)
	for i := range out {
		h := Header{Chain: "egov-test", Index: uint64(i), Height: uint64(3*i + 1), TimeMs: int64(1000 * i), Count: 1,
			Anchors: sm.Sum(fmt.Append(nil, i)), History: history.Root()}
		if change != nil {
			change(&h)
		}
		history.Append(h.Leaf())
		out[i] = h
	}
	return out
}

func pathBetween(t testing.TB, headers []Header, older, newer int) []merkle.Hash {
	t.Helper()
	var leaves []merkle.Hash
	for _, h := range headers[:newer] {
		leaves = append(leaves, h.Leaf())
	}
	path, err := merkle.ListInclusion(leaves, uint64(older))
	fatalIfErr(t, err)
	return path
}

// Any two headers of one history show it, and the epochs that certified them do not matter. What
// is changed in one of them, in the path or in the order does not pass.
func TestHistory(t *testing.T) {
	headers := headersOf(300, nil)
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.IntRange(0, len(headers)-2).Draw(rt, "older")
		j := rapid.IntRange(i+1, len(headers)-1).Draw(rt, "newer")
		older, newer := headers[i], headers[j]
		path := pathBetween(t, headers, i, j)
		older.Epoch, newer.Epoch = rapid.Uint64Range(0, 3).Draw(rt, "e1"), rapid.Uint64Range(0, 3).Draw(rt, "e2")
		if err := CheckHistory(older, newer, path); err != nil {
			rt.Fatal(err)
		}
		bad := func(what string, older, newer Header, path []merkle.Hash) {
			if err := CheckHistory(older, newer, path); !errors.Is(err, ErrHistory) {
				rt.Fatalf("%s, %d to %d: %v", what, i, j, err)
			}
		}
		bad("order", newer, older, path)
		bad("longer path", older, newer, append(slices.Clone(path), merkle.Hash{}))
		if k := len(path) - 1; k >= 0 {
			bad("shorter path", older, newer, path[:k])
			other := slices.Clone(path)
			other[rapid.IntRange(0, k).Draw(rt, "step")][0] ^= 1
			bad("another path", older, newer, other)
		}
		for what, change := range map[string]func(h *Header){
			"anchors": func(h *Header) { h.Anchors[5] ^= 1 }, "count": func(h *Header) { h.Count++ },
			"history": func(h *Header) { h.History[5] ^= 1 }, "index": func(h *Header) { h.Index++ },
			"time": func(h *Header) { h.TimeMs-- }, "height": func(h *Header) { h.Height++ },
		} {
			if what == "time" && older.TimeMs == 0 {
				continue
			}
			o := older
			change(&o)
			bad("older header's "+what, o, newer, path)
		}
		n := newer
		n.History[5] ^= 1
		bad("newer header's history", older, n, path)
	})
}

// A quorum that signs one history may still put nonsense into its headers: order and time are
// looked at as well, though the path holds.
func TestHistoryGoesForward(t *testing.T) {
	for what, change := range map[string]func(h *Header){
		"the same height":      func(h *Header) { h.Height = 5 },
		"heights that go back": func(h *Header) { h.Height = 100 - h.Index },
		"times that go back":   func(h *Header) { h.TimeMs = 9000 - int64(h.Index) },
	} {
		t.Run(what, func(t *testing.T) {
			headers := headersOf(9, change)
			if err := CheckHistory(headers[2], headers[7], pathBetween(t, headers, 2, 7)); !errors.Is(err, ErrHistory) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	same := headersOf(9, func(h *Header) { h.TimeMs = 7 })
	fatalIfErr(t, CheckHistory(same[2], same[7], pathBetween(t, same, 2, 7)))
}

func TestHistoryOfOneIndex(t *testing.T) {
	headers := headersOf(5, nil)
	h, again := headers[3], headers[3]
	again.Epoch = 2
	fatalIfErr(t, CheckHistory(h, again, nil))
	if err := CheckHistory(h, again, []merkle.Hash{{}}); !errors.Is(err, ErrHistory) {
		t.Error(err)
	}
	again.Anchors[0] ^= 1
	if err := CheckHistory(h, again, nil); !errors.Is(err, ErrHistory) {
		t.Error("two headers of one index:", err)
	}
	other := headers[4]
	other.Chain = "egov-other"
	if err := CheckHistory(h, other, nil); !errors.Is(err, ErrChain) {
		t.Error(err)
	}
	if err := CheckHistory(Header{}, h, nil); !errors.Is(err, ErrFormat) {
		t.Error(err)
	}
}
