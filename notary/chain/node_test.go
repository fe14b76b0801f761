package chain

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

func TestSoloAnchorsAndFallsSilent(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	n, _ := solo(t, nil, l)
	var last anchorproof.Anchored
	for i := range 5 {
		before := time.Now()
		a := anchor(ctx, t, n, l.next(t, 3))
		if a.Index != uint64(i) || a.Epoch != 0 || a.Signed != 10 || a.Total != 10 || a.Validators[0] != "city-0" {
			t.Fatalf("%+v", a)
		}
		// The time is that of the block after, so it is fresh although the chain was silent.
		if a.Time.Before(before.Add(-time.Second)) || a.Time.After(time.Now().Add(time.Second)) ||
			a.Time.Before(last.Time) {
			t.Errorf("header time %v, submitted at %v", a.Time, before)
		}
		last = a
	}
	s := await(ctx, t, n, "nothing pending", func(s Status) bool { return s.Pending == 0 })
	if s.Headers != 5 || s.Chain != "egov-test" || !s.Validating || s.CatchingUp || s.Failed {
		t.Fatalf("%+v", s)
	}
	silent(t, n)
	head, err := n.Head(l.origin)
	if err != nil || head.Size != 15 || head.Root != l.root(15) {
		t.Fatal(head, err)
	}
	if head, err = n.Head("log.example/none"); err != nil || head.Size != 0 || head.Root != merkle.EmptyRoot() {
		t.Fatal(head, err)
	}
	checkHistory(t, n)
}

// checkHistory recomputes every header's roots from what the node shows.
func checkHistory(t testing.TB, n *Node) {
	t.Helper()
	s, err := n.Status()
	fatalIfErr(t, err)
	var history merkle.Frontier
	for i := range s.Headers {
		e, err := n.Entry(i)
		fatalIfErr(t, err)
		if e.Header.Index != i || e.Header.History != history.Root() ||
			e.Header.Anchors != merkle.ListRoot(leavesOf(e.Checkpoints)) ||
			e.Header.Count != uint64(len(e.Checkpoints)) {
			t.Fatalf("header %d does not hold: %+v", i, e)
		}
		history.Append(e.Header.Leaf())
	}
	if _, err := n.Entry(s.Headers); !errors.Is(err, ErrPending) {
		t.Error(err)
	}
}

func TestSeveralLogsInOneBlock(t *testing.T) {
	ctx := testContext(t)
	var logs []*testLog
	for _, o := range []string{"log.example/a", "log.example/b", "log.example/c", "log.example/d", "log.example/e"} {
		logs = append(logs, newTestLog(t, o))
	}
	n, _ := solo(t, nil, logs...)
	var cs []checkpoint.Checkpoint
	for range 4 {
		done := make(chan error, len(logs))
		for _, l := range logs {
			s := l.next(t, 2)
			cs = append(cs, s.Checkpoint)
			go func() { done <- n.Submit(ctx, s) }()
		}
		for range logs {
			fatalIfErr(t, <-done)
		}
		for _, c := range cs[len(cs)-len(logs):] {
			certified(ctx, t, n, c)
		}
	}
	shared := false
	for _, c := range cs {
		raw, _, err := n.Evidence(c.Origin, c.Size)
		fatalIfErr(t, err)
		e, err := anchorproof.ParseEvidence(raw)
		fatalIfErr(t, err)
		shared = shared || e.Header.Count > 1
	}
	if !shared {
		t.Error("no block held two checkpoints")
	}
	checkHistory(t, n)
}

func TestRefusals(t *testing.T) {
	ctx := testContext(t)
	l, other := newTestLog(t, "log.example/a"), newTestLog(t, "log.example/b")
	n, _ := solo(t, nil, l, other)
	l.grow(3, "leaf")
	first := l.submission(t, 0)
	anchor(ctx, t, n, first)
	l.grow(2, "leaf")
	second := l.submission(t, 3)
	anchor(ctx, t, n, second)
	before, err := n.Status()
	fatalIfErr(t, err)

	submit := func(l *testLog, from uint64) error { return n.Submit(ctx, l.submission(t, from)) }
	f := l.fork()
	f.leaves = f.leaves[:4]
	f.grow(1, "forged")
	mustRefuse(t, "same size, other root", submit(f, 3), ErrFork)
	f.grow(4, "forged")
	mustRefuse(t, "larger tree that does not contain the head", submit(f, 5), ErrFork)
	f = l.fork()
	f.leaves = f.leaves[:4]
	mustRefuse(t, "rollback", submit(f, 3), ErrStale)
	f.leaves = f.leaves[:2]
	f.grow(1, "forged")
	mustRefuse(t, "other root for an earlier anchored size", submit(f, 0), ErrFork)

	f = l.fork()
	f.grow(2, "leaf")
	f.key = mustKey(t)
	mustRefuse(t, "wrong key", submit(f, 5), ErrUnknownLog)
	f.key = other.key
	mustRefuse(t, "another log's key", submit(f, 5), ErrUnknownLog)
	f.origin = "log.example/unknown"
	mustRefuse(t, "unknown log", submit(f, 5), ErrUnknownLog)
	f = l.fork()
	f.grow(2, "leaf")
	mustRefuse(t, "from an older head", submit(f, 3), ErrStale)
	mustRefuse(t, "from a later head", submit(f, 6), ErrStale)
	s := f.submission(t, 5)
	s.Proof = nil
	mustRefuse(t, "no consistency proof", n.Submit(ctx, s), ErrFork)
	s = f.submission(t, 5)
	s.Proof = append(s.Proof, merkle.Hash{})
	mustRefuse(t, "proof too long", n.Submit(ctx, s), ErrFork)
	s.Proof = make([]merkle.Hash, merkle.MaxPath+1)
	mustRefuse(t, "proof beyond the limit", n.Submit(ctx, s), ErrMalformed)
	s = f.submission(t, 5)
	s.Checkpoint.Origin = "log.example/a\n7"
	mustRefuse(t, "name with a line feed", n.Submit(ctx, s), ErrMalformed)
	s.Checkpoint.Origin = strings.Repeat("a", 300)
	mustRefuse(t, "name too long for its prefix", n.Submit(ctx, s), ErrMalformed)

	for name, tx := range map[string][]byte{"empty": {}, "unknown type": {9}, "cut checkpoint": {txCheckpoint, 3, 'a'},
		"poke without nonce": {txPoke}, "epoch": append([]byte{txEpoch}, "{}"...),
		"too large": make([]byte, maxTxBytes+1)} {
		t.Run(name, func(t *testing.T) {
			mustRefuse(t, name, n.broadcast(ctx, tx), ErrMalformed)
		})
	}
	mustRefuse(t, "poke with nothing pending", n.broadcast(ctx, encodePoke(1)), ErrNothingPending)
	mustRefuse(t, "certificate by the mempool", n.broadcast(ctx, mustCertificate(t, n)), errProposerOnly)

	silent(t, n)
	after, err := n.Status()
	if err != nil || after.Height != before.Height || after.Headers != 2 {
		t.Fatalf("refusals changed the chain: %+v, then %+v, %v", before, after, err)
	}
	// A repetition is told apart, so that submitters can be idempotent.
	l2 := l.fork()
	l2.key = l.key
	s = l2.submission(t, 3)
	mustRefuse(t, "the head again, signed anew", n.Submit(ctx, s), ErrKnown)
	l2.leaves = l2.leaves[:3]
	mustRefuse(t, "an earlier anchor again", n.Submit(ctx, l2.submission(t, 0)), ErrKnown)
	fatalIfErr(t, n.Submit(ctx, second)) // the very same bytes
	anchor(ctx, t, n, l.next(t, 1))
}

// mustCertificate makes a certificate transaction that was in no block yet: those the
// mempool knows and passes over.
func mustCertificate(t testing.TB, n *Node) []byte {
	t.Helper()
	e, err := n.Entry(0)
	fatalIfErr(t, err)
	tx, err := encodeCertificates(e.Header.Epoch, []certificate{{0, e.Cosignatures}, {1, e.Cosignatures}})
	fatalIfErr(t, err)
	return tx
}

// fastPoke lets tests wait less for a signer's return.
const fastPoke = 20 * time.Millisecond

// A signer that is away costs certificates, never the chain; it gets them when it is back.
func TestPendingHeadersAreCertifiedLater(t *testing.T) {
	ctx := testContext(t)
	for name, spoil := range map[string]func([]byte) ([]byte, error){
		"fails":      func([]byte) ([]byte, error) { return nil, errors.New("key device is away") },
		"wrong key":  mustKey(t).Sign,
		"rubbish":    func([]byte) ([]byte, error) { return []byte("rubbish"), nil },
		"no context": func(m []byte) ([]byte, error) { return nil, context.DeadlineExceeded },
	} {
		t.Run(name, func(t *testing.T) {
			var away atomic.Bool
			away.Store(true)
			l := newTestLog(t, "log.example/a")
			n, c := solo(t, func(c *Config) {
				c.PokeInterval = fastPoke
				sign := c.Cosign
				c.Cosign = func(m []byte) ([]byte, error) {
					if away.Load() {
						return spoil(m)
					}
					return sign(m)
				}
			}, l)
			const many = maxExtensionItems + 5 // more than one vote carries
			var cs []checkpoint.Checkpoint
			for i := range many {
				s := l.next(t, 1)
				fatalIfErr(t, n.Submit(ctx, s))
				await(ctx, t, n, "header", func(s Status) bool { return s.Headers > uint64(i) })
				cs = append(cs, s.Checkpoint)
			}
			if _, _, err := n.Evidence(l.origin, 1); !errors.Is(err, ErrPending) {
				t.Fatal(err)
			}
			silentSoon(ctx, t, n)
			if name == "fails" { // what is pending outlives a restart
				closeNode(t, n)
				n = mustStart(t, c)
			}
			if s, err := n.Status(); err != nil || s.Pending != many {
				t.Fatalf("%+v, %v", s, err)
			}
			away.Store(false)
			for _, c := range cs {
				certified(ctx, t, n, c)
			}
			silentSoon(ctx, t, n)
			checkHistory(t, n)
		})
	}
}

// silentSoon waits for the end of the bounded retries: 300 ms without a block.
func silentSoon(ctx context.Context, t testing.TB, n *Node) {
	t.Helper()
	for range 100 {
		select {
		case <-n.Changed():
		case <-time.After(300 * time.Millisecond):
			return
		case <-ctx.Done():
			t.Fatal("the chain never falls silent")
		}
	}
	t.Fatal("the chain makes blocks without end")
}

// A key device that hangs must not hold up the chain.
func TestHangingSigner(t *testing.T) {
	ctx := testContext(t)
	release := make(chan struct{})
	l := newTestLog(t, "log.example/a")
	n, _ := solo(t, func(c *Config) {
		c.PokeInterval = fastPoke
		sign := c.Cosign
		c.Cosign = func(m []byte) ([]byte, error) { <-release; return sign(m) }
	}, l)
	s := l.next(t, 1)
	fatalIfErr(t, n.Submit(ctx, s))
	await(ctx, t, n, "a header while the signer hangs", func(s Status) bool {
		return s.Headers == 1 && s.Pending == 1 && s.Height > 3
	})
	close(release)
	certified(ctx, t, n, s.Checkpoint)
}

// A validator does not vouch for a time that its own clock contradicts.
func TestClockMustVouchForTime(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"own clock behind": -time.Hour,
		"own clock a little behind": -3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			var offset atomic.Int64
			l := newTestLog(t, "log.example/a")
			n, _ := solo(t, func(c *Config) {
				c.PokeInterval = fastPoke
				c.Clock = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
			}, l)
			offset.Store(int64(wrong))
			s := l.next(t, 1)
			fatalIfErr(t, n.Submit(ctx, s))
			await(ctx, t, n, "a header that waits", func(s Status) bool {
				return s.Headers == 1 && s.Pending == 1 && s.Height > 3
			})
			offset.Store(0)
			certified(ctx, t, n, s.Checkpoint)
		})
	}
}

func TestStartRefuses(t *testing.T) {
	ctx := testContext(t)
	m, stranger := newTestMember(t, "city-0"), newTestMember(t, "city-1")
	l := newTestLog(t, "log.example/a")
	good := m.config(testGenesis(t, []*testMember{m}, l))
	refused := func(name string, c Config, want string) {
		t.Helper()
		n, err := Start(ctx, c)
		if err == nil {
			closeNode(t, n)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	refused("no folder", good, "initialise it first")
	fatalIfErr(t, os.MkdirAll(good.Home, 0o700))
	refused("empty folder", good, "initialise it first")
	if entries, err := os.ReadDir(good.Home); err != nil || len(entries) != 0 {
		t.Fatal("a refused start left something behind", entries, err)
	}
	fatalIfErr(t, Init(good))
	if err := Init(good); !errors.Is(err, ErrHome) {
		t.Error("second Init:", err)
	}
	n := mustStart(t, good)
	refused("in use", good, "in use by another process")
	anchor(ctx, t, n, l.next(t, 2))
	s, err := n.Status()
	fatalIfErr(t, err)
	closeNode(t, n)

	c := good
	c.Genesis.Chain = "egov-other"
	refused("other chain", c, `it has "chain egov-test", the configuration says "chain egov-other"`)
	c = good
	c.Genesis.Notaries = nil
	refused("other genesis", c, "genesis")
	c = good
	c.ConsensusKey = stranger.consensus
	refused("other consensus key", c, "consensus")
	c = good
	c.CosignKey = stranger.key.Public()
	refused("other SM2 key", c, "another SM2 key for city-0")
	c = good
	c.Clock = func() time.Time { return time.Now().Add(-time.Minute) }
	refused("last block in the future", c, "Set the clock")
	c = good
	c.Genesis.Number = 1
	refused("not an epoch 0", c, "must be epoch 0")
	c = good
	c.NodeKey = nil
	refused("no node key", c, "node key")

	// Parts of a home that are not of one time.
	replaced := func(file string, f func()) {
		t.Helper()
		path := filepath.Join(good.Home, file)
		fatalIfErr(t, os.Rename(path, path+".away"))
		f()
		fatalIfErr(t, os.RemoveAll(path))
		fatalIfErr(t, os.Rename(path+".away", path))
	}
	replaced(signFile, func() { refused("no sign state", good, "has no sign.db") })
	replaced(dataDir, func() { refused("no blocks", good, "has no data") })
	replaced(dataDir, func() {
		fatalIfErr(t, os.Mkdir(filepath.Join(good.Home, dataDir), 0o700))
		refused("empty blocks", good, "no blocks in data")
	})
	replaced(appFile, func() {
		fatalIfErr(t, os.WriteFile(filepath.Join(good.Home, appFile), nil, 0o600))
		refused("half-made", good, "half made")
	})
	older := good
	older.Home = filepath.Join(t.TempDir(), "chain")
	fatalIfErr(t, Init(older))
	replaced(appFile, func() {
		b, err := os.ReadFile(filepath.Join(older.Home, appFile))
		fatalIfErr(t, err)
		fatalIfErr(t, os.WriteFile(filepath.Join(good.Home, appFile), b, 0o600))
		refused("state from a backup", good, "restored from a backup")
	})

	n = mustStart(t, good)
	if again, err := n.Status(); err != nil || again.Height < s.Height || again.Headers != 1 {
		t.Fatal(again, err)
	}
}

func TestReadsAfterClose(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	n, _ := solo(t, nil, l)
	anchor(ctx, t, n, l.next(t, 2))
	waiting := make(chan error, 1)
	go func() {
		_, _, err := n.WaitEvidence(ctx, l.origin, 99)
		waiting <- err
	}()
	closeNode(t, n)
	if err := <-waiting; !errors.Is(err, ErrStopped) {
		t.Error("waiter:", err)
	}
	if _, err := n.Head(l.origin); !errors.Is(err, ErrStopped) {
		t.Error("head:", err)
	}
	if _, _, err := n.Evidence(l.origin, 2); !errors.Is(err, ErrStopped) {
		t.Error("evidence:", err)
	}
	if _, err := n.Status(); !errors.Is(err, ErrStopped) {
		t.Error("status:", err)
	}
	if err := n.Submit(ctx, l.next(t, 1)); !errors.Is(err, ErrStopped) {
		t.Error("submit:", err)
	}
	select {
	case <-n.Failed():
		t.Error("a closed node has not failed")
	default:
	}
}

// BenchmarkAnchorSolo is submit to evidence on a lone validator; it reports percentiles.
func BenchmarkAnchorSolo(b *testing.B) {
	l := newTestLog(b, "log.example/a")
	n, _ := solo(b, nil, l)
	benchmarkAnchor(b, n, l)
}

// BenchmarkAnchorFour is the same with four validators in this process.
func BenchmarkAnchorFour(b *testing.B) {
	l := newTestLog(b, "log.example/a")
	x := newNet(b, 4, 4, nil, l)
	x.ready(context.Background(), b)
	benchmarkAnchor(b, x.nodes[0], l)
}

func benchmarkAnchor(b *testing.B, n *Node, l *testLog) {
	ctx := context.Background()
	var took []time.Duration
	for b.Loop() {
		s := l.next(b, 1)
		start := time.Now()
		fatalIfErr(b, n.Submit(ctx, s))
		_, _, err := n.WaitEvidence(ctx, l.origin, s.Checkpoint.Size)
		fatalIfErr(b, err)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
}
