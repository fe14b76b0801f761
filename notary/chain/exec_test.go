package chain

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// newTestApp opens the application of a fresh home without an engine.
func newTestApp(t testing.TB, members []*testMember, logs ...*testLog) *app {
	t.Helper()
	c := members[0].config(testGenesis(t, members, logs...))
	c.Home = filepath.Join(t.TempDir(), "chain")
	fatalIfErr(t, Init(c))
	c, err := c.withDefaults()
	fatalIfErr(t, err)
	h, err := openHome(c)
	fatalIfErr(t, err)
	t.Cleanup(func() { _ = h.close() })
	h.app.clock, h.app.log, h.app.address, h.app.votedAt, h.app.onCommit = time.Now, slog.New(slog.DiscardHandler),
		c.address(), h.validator.votedAt, func() {}
	h.app.cosigner = newCosigner(c.Cosign, c.CosignKey, h.app.log)
	return h.app
}

// run executes and commits one block and returns the outcome of each transaction.
func run(t testing.TB, a *app, txs ...[]byte) []error {
	t.Helper()
	b := a.newBlock(int64(a.meta.height)+1, time.UnixMilli(a.meta.timeMs+1000))
	var out []error
	for i, tx := range txs {
		out = append(out, b.exec(tx, i))
	}
	fatalIfErr(t, b.end())
	if b.meta.open != nil {
		b.put(key("s/", b.meta.open.Index), encodeMs(b.meta.timeMs))
	}
	fatalIfErr(t, a.store.apply(b.changes))
	a.meta = b.meta
	return out
}

func mustEncode(t testing.TB, s Submission) []byte {
	t.Helper()
	tx, err := s.encode()
	fatalIfErr(t, err)
	return tx
}

func TestSeveralCheckpointsOfOneLogInOneBlock(t *testing.T) {
	l := newTestLog(t, "log.example/a")
	a := newTestApp(t, []*testMember{newTestMember(t, "city-0")}, l)
	s1, s2 := l.next(t, 2), l.next(t, 3)
	fork := l.fork()
	fork.leaves = nil
	fork.grow(2, "forged")
	errs := run(t, a, mustEncode(t, s1), mustEncode(t, s2), mustEncode(t, fork.submission(t, 0)), mustEncode(t, s2))
	if errs[0] != nil || errs[1] != nil || !errors.Is(errs[2], ErrFork) || !errors.Is(errs[3], ErrKnown) {
		t.Fatal(errs)
	}
	if h := a.meta.open; h == nil || h.Count != 2 ||
		h.Anchors != merkle.ListRoot(leavesOf([]checkpoint.Checkpoint{s1.Checkpoint, s2.Checkpoint})) {
		t.Fatalf("%+v", a.meta.open)
	}
	run(t, a)
	if a.meta.open != nil || a.meta.pending != 1 || a.meta.history.Size() != 1 {
		t.Fatalf("%+v", a.meta)
	}
}

func TestFullBlock(t *testing.T) {
	l := newTestLog(t, "log.example/a")
	a := newTestApp(t, []*testMember{newTestMember(t, "city-0")}, l)
	b := a.newBlock(1, time.UnixMilli(1000))
	for range anchorproof.MaxAnchors {
		fatalIfErr(t, b.exec(mustEncode(t, l.next(t, 1)), 1))
	}
	tx := mustEncode(t, l.next(t, 1))
	if err := b.exec(tx, 1); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	fatalIfErr(t, b.end())
	if _, err := anchorproof.ParseHeader(b.meta.open.Text()); err != nil {
		t.Fatal(err)
	}
	fatalIfErr(t, a.store.apply(b.changes))
	a.meta = b.meta
	if errs := run(t, a, tx); errs[0] != nil { // the next block has room
		t.Fatal(errs)
	}
}

// The same transactions give every validator the same application hash.
func TestExecutionIsDeterministic(t *testing.T) {
	members := []*testMember{newTestMember(t, "city-0"), newTestMember(t, "city-1")}
	l, k := newTestLog(t, "log.example/a"), newTestLog(t, "log.example/b")
	a, b := newTestApp(t, members, l, k), newTestApp(t, members, l, k)
	rapid.Check(t, func(t *rapid.T) {
		var txs [][]byte
		for range rapid.IntRange(0, 3).Draw(t, "txs") {
			log := rapid.SampledFrom([]*testLog{l, k}).Draw(t, "log")
			log.grow(1, "leaf")
			s, err := log.sign(log.last, uint64(len(log.leaves)))
			if err != nil {
				t.Fatal(err)
			}
			log.last = s.Checkpoint.Size
			tx, err := s.encode()
			if err != nil {
				t.Fatal(err)
			}
			txs = append(txs, tx)
		}
		for _, x := range []*app{a, b} {
			blk := x.newBlock(int64(x.meta.height)+1, time.UnixMilli(x.meta.timeMs+7))
			for i, tx := range txs {
				if err := blk.exec(tx, i); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(blk.end(), x.store.apply(blk.changes)); err != nil {
				t.Fatal(err)
			}
			x.meta = blk.meta
		}
		if a.meta.appHash != b.meta.appHash || string(a.meta.encode()) != string(b.meta.encode()) {
			t.Fatal("two validators disagree")
		}
	})
}

// Without progress the application hash moves maxRetries times, then stays: silence.
func TestRetriesAreBounded(t *testing.T) {
	l := newTestLog(t, "log.example/a")
	a := newTestApp(t, []*testMember{newTestMember(t, "city-0")}, l)
	run(t, a, mustEncode(t, l.next(t, 1)))
	moved := func() (n int) {
		for {
			before := a.meta.appHash
			run(t, a)
			if a.meta.appHash == before {
				return n
			}
			n++
		}
	}
	if n := moved(); n != maxRetries {
		t.Errorf("%d blocks, want %d", n, maxRetries)
	}
	if errs := run(t, a, encodePoke(1)); errs[0] != nil {
		t.Fatal(errs)
	}
	if n := moved(); n != maxRetries-1 {
		t.Errorf("%d blocks after a poke, want %d", n, maxRetries-1)
	}
}

// However many headers wait, each comes up within a few beats.
func TestWindowReachesAllPending(t *testing.T) {
	l := newTestLog(t, "log.example/a")
	a := newTestApp(t, []*testMember{newTestMember(t, "city-0")}, l)
	const many = 100
	for range many {
		run(t, a, mustEncode(t, l.next(t, 1)))
	}
	run(t, a)
	seen := map[uint64]bool{}
	for beat := range uint64(3 * many) {
		m := a.meta.clone()
		m.beat = beat
		hs, err := a.window(m)
		fatalIfErr(t, err)
		if len(hs) == 0 || len(hs) >= maxExtensionItems {
			t.Fatal(len(hs))
		}
		for _, h := range hs {
			seen[h.Index] = true
		}
	}
	if len(seen) != many {
		t.Errorf("%d of %d headers came up", len(seen), many)
	}
}

// A block that is played back after a crash was first seen when this node voted for it, not
// when it came up again: else nobody would vouch for its header ever after.
func TestFirstSightSurvivesReplay(t *testing.T) {
	a := newTestApp(t, []*testMember{newTestMember(t, "city-0")})
	early, late := testTime, testTime.Add(time.Hour)
	vote := func(at time.Time, ok bool) { a.votedAt = func(uint64) (time.Time, bool) { return at, ok } }
	a.clock = func() time.Time { return late.Add(time.Hour) }
	for name, c := range map[string]struct{ seen, voted, want time.Time }{
		"proposed, then voted": {early, late, early},
		"proposal played back": {late, early, early},
		"block played back":    {time.Time{}, early, early},
		"proposed, no vote":    {late, time.Time{}, late},
		"fetched from a peer":  {time.Time{}, time.Time{}, a.clock()},
	} {
		t.Run(name, func(t *testing.T) {
			clear(a.seen)
			if !c.seen.IsZero() {
				a.seen["hash"] = c.seen
			}
			vote(c.voted, !c.voted.IsZero())
			if got := a.firstSight([]byte("hash"), 5); !got.Equal(c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		})
	}
}

func TestVouches(t *testing.T) {
	a := newTestApp(t, []*testMember{newTestMember(t, "city-0")})
	const index = 3
	h := anchorproof.Header{Index: index, TimeMs: testTime.UnixMilli()}
	if a.vouches(h) {
		t.Error("a header that this node knows nothing about")
	}
	for name, c := range map[string]struct {
		seen, now time.Duration // relative to the header's time
		want      bool
	}{
		"as it should be":                       {-time.Second, time.Second, true},
		"median a little ahead":                 {-time.Second, -maxAhead, true},
		"header from the future":                {-time.Second, -maxAhead - time.Millisecond, false},
		"median a little behind":                {maxBehind, maxBehind, true},
		"backdated":                             {maxBehind + time.Millisecond, time.Minute, false},
		"signed long after":                     {time.Second, 48 * time.Hour, true},
		"backdated, signed long after":          {time.Hour, 48 * time.Hour, false},
		"first sight by a clock that was ahead": {time.Hour, time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			fatalIfErr(t,
				a.store.apply(map[string][]byte{key("s/", index): encodeMs(testTime.Add(c.seen).UnixMilli())}))
			a.clock = func() time.Time { return testTime.Add(c.now) }
			if got := a.vouches(h); got != c.want {
				t.Errorf("%s: %v", name, got)
			}
		})
	}
}

// A signer that hangs is asked once; what it signs at last serves the next vote.
func TestCosignerBudget(t *testing.T) {
	k := mustKey(t)
	release := make(chan struct{})
	var asked atomic.Int32
	c := newCosigner(func(m []byte) ([]byte, error) { asked.Add(1); <-release; return k.Sign(m) }, k.Public(),
		slog.New(slog.DiscardHandler))
	c.budget = time.Millisecond
	for range 3 {
		if got := c.cosign([]string{"a"}); got[0] != nil {
			t.Fatal("a signature out of nothing")
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("a stuck device was asked %d times", n)
	}
	c.budget = 10 * time.Second
	close(release)
	got := c.cosign([]string{"a", "b"})
	if !k.Public().Verify([]byte("a"), got[0]) || !k.Public().Verify([]byte("b"), got[1]) || asked.Load() != 2 {
		t.Errorf("%x, asked %d times", got, asked.Load())
	}
	for i := range 3 * signCache {
		c.cosign([]string{fmt.Sprint(i)})
	}
	if len(c.done) > signCache {
		t.Error("the cache grows without bound")
	}
}

func TestEpochOf(t *testing.T) {
	m := &meta{epoch: 3, epochAt: 10}
	for height, want := range map[uint64]uint64{8: 2, 9: 2, 10: 3, 11: 3} {
		if got := m.epochOf(height); got != want {
			t.Errorf("height %d: epoch %d, want %d", height, got, want)
		}
	}
	if (&meta{}).epochOf(0) != 0 {
		t.Error("epoch 0")
	}
}

func TestValidatorUpdates(t *testing.T) {
	k := func(b byte) [32]byte { return [32]byte{b} }
	old := anchorproof.Epoch{Validators: []anchorproof.Validator{{ConsensusKey: k(1), Power: 10},
		{ConsensusKey: k(2), Power: 10}, {ConsensusKey: k(3), Power: 10}}}
	next := anchorproof.Epoch{Validators: []anchorproof.Validator{{ConsensusKey: k(4), Power: 5},
		{ConsensusKey: k(2), Power: 11}, {ConsensusKey: k(3), Power: 10}}}
	var got []string
	for _, u := range validatorUpdates(old, next) {
		got = append(got, fmt.Sprint(u.PubKey.GetEd25519()[0], ":", u.Power))
	}
	if want := []string{"4:5", "2:11", "1:0"}; !slices.Equal(got, want) {
		t.Fatal(got, want)
	}
}

func TestMetaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(0, anchorproof.MaxNumber)
		m := &meta{height: n.Draw(t, "height"), timeMs: rapid.Int64Range(0, 1<<40).Draw(t, "time"),
			history: &merkle.Frontier{}, pending: n.Draw(t, "pending"),
			retries: n.Draw(t, "retries"), beat: n.Draw(t, "beat"), epoch: n.Draw(t, "epoch"), epochAt: n.Draw(t, "at"),
			appHash: sm.Sum([]byte("x"))}
		for i := range rapid.IntRange(0, 20).Draw(t, "headers") {
			m.history.Append(sm.Sum([]byte{byte(i)}))
		}
		if rapid.Bool().Draw(t, "open") {
			m.open = &anchorproof.Header{Chain: "c", Index: 1, Height: 2, Count: 1}
		}
		raw := m.encode()
		got, err := decodeMeta(raw)
		if err != nil || string(got.encode()) != string(raw) {
			t.Fatal(err)
		}
		if _, err := decodeMeta(raw[:len(raw)-1]); err == nil {
			t.Fatal("cut meta accepted")
		}
	})
}

func FuzzDecodeSubmission(f *testing.F) {
	l := newTestLog(f, "log.example/a")
	l.grow(3, "leaf")
	l.submission(f, 0)
	l.grow(4, "leaf")
	f.Add(mustEncode(f, l.submission(f, 3))[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSubmission(b)
		if err != nil {
			return
		}
		if again, err := s.encode(); err != nil || string(again[1:]) != string(b) {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

func FuzzDecodeCertificates(f *testing.F) {
	sig := make([]byte, 70)
	raw, err := encodeCertificates(3,
		[]certificate{{1, []anchorproof.Cosignature{{Validator: 0, Signature: sig}, {Validator: 2, Signature: sig}}},
			{5, nil}})
	fatalIfErr(f, err)
	f.Add(raw[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		epoch, certs, err := decodeCertificates(b)
		if err != nil {
			return
		}
		if again, err := encodeCertificates(epoch, certs); err != nil || string(again[1:]) != string(b) {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

func FuzzDecodeExtension(f *testing.F) {
	f.Add(encodeExtension([]extensionItem{{1, 2, make([]byte, 70)}, {3, 4, nil}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if items, ok := decodeExtension(b); ok && string(encodeExtension(items)) != string(b) {
			t.Fatalf("%x", b)
		}
	})
}
