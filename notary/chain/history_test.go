package chain

import (
	"errors"
	"strings"
	"testing"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
)

// certifyAll lets the chain run until every header has its certificate.
func (v *votingApp) certifyAll() {
	v.t.Helper()
	for v.meta.open != nil || v.meta.pending > 0 {
		v.block()
	}
}

// historyBetween is what the chain says about two headers.
func historyBetween(t testing.TB, a *app, older, newer uint64) (h History, err error) {
	t.Helper()
	err = a.store.view(func(get getter) (err error) { h, err = historyOf(get, older, newer); return err })
	return h, err
}

// derived are the keys that follow from others, with their values.
func derived(t testing.TB, s *store) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, prefix := range []string{"n", "f/"} {
		keys, err := s.keys(prefix, 0, 1<<20)
		fatalIfErr(t, err)
		for _, k := range keys {
			v, err := s.get(string(k))
			fatalIfErr(t, err)
			out[string(k)] = string(v)
		}
	}
	return out
}

// Between any two headers there is a path, whatever hand-overs lie between them, and a home of
// before the paths gets them at its next start, also when that was cut short.
func TestHistoryPaths(t *testing.T) {
	v, x, m := newVotingApp(t)
	const headers = 70
	key := x.world.LogKey
	for i := range headers {
		p := x.record(key)
		fatalIfErr(t, v.block(mustEncode(t, p.submission))[0])
		x.last = p.checkpoint.Size
		if i == 20 || i == 50 {
			v.certifyAll()
			current, err := v.epoch(v.meta.epoch)
			fatalIfErr(t, err)
			e, next := x.next(t, current, m)
			raw, err := e.Marshal()
			fatalIfErr(t, err)
			fatalIfErr(t, v.block(append([]byte{txEpoch}, raw...))[0])
			key = next
		}
	}
	if _, err := historyBetween(t, v.app, 0, headers); !errors.Is(err, ErrPending) {
		t.Errorf("a header to come: %v", err)
	}
	v.certifyAll()
	all := func() {
		t.Helper()
		for newer := range uint64(headers) {
			for older := range newer + 1 {
				h, err := historyBetween(t, v.app, older, newer)
				fatalIfErr(t, err)
				if h.Older.Index != older || h.Newer.Index != newer {
					t.Fatalf("headers %d and %d", h.Older.Index, h.Newer.Index)
				}
				fatalIfErr(t, anchorproof.CheckHistory(h.Older, h.Newer, h.Path))
				epoch, err := v.epoch(h.Newer.Epoch)
				fatalIfErr(t, err)
				if _, err := epoch.CheckQuorum(h.Newer.Text(), h.Cosignatures); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	all()
	kept := derived(t, v.store)
	for _, left := range []uint64{0, 1, 37, 64} { // as if the first fillings were the last ones
		changes := map[string][]byte{filledKey: encodeMs(int64(left))}
		for k := range kept {
			if strings.HasPrefix(k, "f/") || len(k) > 1 && (keyNumber([]byte(k))+1)<<k[2] > left {
				changes[k] = nil
			}
		}
		if left > 0 { // the epoch's first headers were filled in with them
			delete(changes, "f/"+strings.Repeat("\x00", 8))
		}
		fatalIfErr(t, v.store.apply(changes))
		fatalIfErr(t, v.store.fillHistory(v.meta.history))
		again := derived(t, v.store)
		for k, want := range kept {
			if again[k] != want && !(strings.HasPrefix(k, "f/") && left > 21) {
				t.Errorf("after %d headers, %q is %x, want %x", left, k, again[k], want)
			}
		}
		all()
		var restore = map[string][]byte{}
		for k, want := range kept {
			restore[k] = []byte(want)
		}
		fatalIfErr(t, v.store.apply(restore))
	}
}

// A home whose headers are not those that the chain agreed on does not start.
func TestHistoryOfDamagedHeaders(t *testing.T) {
	v, x, _ := newVotingApp(t)
	for range 3 {
		p := x.record(x.world.LogKey)
		fatalIfErr(t, v.block(mustEncode(t, p.submission))[0])
		x.last = p.checkpoint.Size
	}
	v.certifyAll()
	var h anchorproof.Header
	fatalIfErr(t, v.store.view(func(get getter) (err error) { h, err = headerAt(get, 1); return err }))
	h.Anchors[3] ^= 1
	fatalIfErr(t, v.store.apply(map[string][]byte{key("h/", 1): []byte(h.Text()), filledKey: encodeMs(0)}))
	if err := v.store.fillHistory(v.meta.history); err == nil {
		t.Error("another header was filled in")
	}
}

// The same by a running node, which also says when each epoch's term began.
func TestHistoryOfANode(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	n, _ := solo(t, nil, l)
	for range 5 {
		anchor(ctx, t, n, l.next(t, 1))
	}
	h, err := n.History(1, 4)
	fatalIfErr(t, err)
	if h.Older.Index != 1 || h.Newer.Index != 4 || len(h.Cosignatures) != 1 {
		t.Errorf("%+v", h)
	}
	if h, err := n.History(2, 2); err != nil || len(h.Path) != 0 {
		t.Errorf("a header to itself: %+v, %v", h, err)
	}
	if _, err := n.History(4, 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("in the wrong order: %v", err)
	}
	if _, err := n.History(1, 5); !errors.Is(err, ErrPending) {
		t.Errorf("a header to come: %v", err)
	}
	first, sigs, err := n.First(0)
	if err != nil || first.Index != 0 || len(sigs) != 1 {
		t.Errorf("%+v %v", first, err)
	}
	if _, _, err := n.First(1); !errors.Is(err, ErrPending) {
		t.Error(err)
	}
}

// However long the history is, a path takes few reads.
func TestHistoryIsCheap(t *testing.T) {
	const size = 1 << 40
	reads := 0
	_, err := merkle.InclusionProof(size/3, size-1, func(ids []merkle.NodeID) ([]merkle.Hash, error) {
		reads += len(ids)
		return make([]merkle.Hash, len(ids)), nil
	})
	if err != nil || reads > 100 {
		t.Errorf("%d reads, %v", reads, err)
	}
}
