package anchor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/log/anchor"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
	"stele/storage/storagetest"
)

// double is a chain in memory that keeps the contract of anchor.Target, checks what it is
// given as the chain does, and makes real evidence. The chain itself has tests of its own;
// this one can be told to misbehave.
type double struct {
	site    *storagetest.Site
	changed notary.Signal

	mu       sync.Mutex
	head     checkpoint.Checkpoint
	evidence map[checkpoint.Checkpoint]json.RawMessage
	calls    map[string]int
	fail     map[string]error // of every call of a method
	lose     int              // so many submissions are accepted and forgotten
	pending  bool             // nothing that is submitted is finished
	never    uint64           // checkpoints up to this size are never finished
	bad      bool             // evidence is another chain's
	hook     func(method string)
}

func newDouble(s *storagetest.Site) *double {
	return &double{site: s, evidence: map[checkpoint.Checkpoint]json.RawMessage{}, calls: map[string]int{},
		fail: map[string]error{}}
}

// call books a call; hook runs before the chain is locked.
func (d *double) call(method string) error {
	d.mu.Lock()
	d.calls[method]++
	hook, err := d.hook, d.fail[method]
	d.mu.Unlock()
	if hook != nil {
		hook(method)
	}
	return err
}

func (d *double) set(f func()) {
	d.mu.Lock()
	f()
	d.mu.Unlock()
	d.changed.Notify()
}

func (d *double) count(method string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[method]
}

func (d *double) Kind() string { return anchorproof.Kind }

func (d *double) Changed() <-chan struct{} { return d.changed.Changed() }

func (d *double) Head(_ context.Context, origin string) (uint64, merkle.Hash, error) {
	if err := d.call("Head"); err != nil {
		return 0, merkle.Hash{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if origin != d.site.World.Origin() {
		return 0, merkle.Hash{}, nil
	}
	return d.head.Size, d.head.Root, nil
}

func (d *double) Submit(_ context.Context, s anchor.Submission) error {
	if err := d.call("Submit"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := s.Checkpoint
	switch {
	case !d.site.LogKey.Verify([]byte(c.Text()), s.Signature):
		return anchor.ErrRefused
	case c == d.head:
		return nil
	case s.OldSize != d.head.Size:
		return anchor.ErrStale
	case d.head.Size > 0 && merkle.VerifyConsistency(d.head.Size, c.Size, d.head.Root, c.Root, s.Proof) != nil:
		return anchor.ErrFork
	case d.lose > 0:
		d.lose--
		return nil
	}
	d.commit(c)
	return nil
}

// commit is under the lock.
func (d *double) commit(c checkpoint.Checkpoint) {
	d.head = c
	d.evidence[c] = prooftest.Encode(d.site.World.Chain.Evidence(d.site.Now(), []checkpoint.Checkpoint{c}, 0))
	d.changed.Notify()
}

func (d *double) Evidence(_ context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	if err := d.call("Evidence"); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.evidence[c]
	switch {
	case !ok || d.pending || c.Size <= d.never:
		return nil, anchor.ErrPending
	case d.bad:
		return json.RawMessage(strings.Replace(string(e), `"position":0`, `"position":1`, 1)), nil
	}
	return e, nil
}

// fixture is a site with a loop that feeds the double.
type fixture struct {
	*storagetest.Site
	db       *storagetest.FaultyDB
	chain    *double
	loop     *anchor.Loop
	anchored notary.Signal
	told     []uint64 // under chain.mu
	overdue  func(size uint64) error
	logged   *levels
}

func newFixture(t *testing.T, b storagetest.Backend) *fixture {
	t.Helper()
	f := &fixture{Site: storagetest.NewSite(t, b), logged: &levels{}}
	f.db, f.chain = storagetest.NewFaultyDB(f.DB), newDouble(f.Site)
	f.overdue = func(uint64) error { return nil }
	f.loop = f.newLoop(f.chain)
	return f
}

func (f *fixture) newLoop(target anchor.Target) *anchor.Loop { return f.newMovedLoop(target, 0) }

// newMovedLoop is newLoop where the log moved to the chain at a size.
func (f *fixture) newMovedLoop(target anchor.Target, from uint64) *anchor.Loop {
	trust := f.World.Trust()
	tiles := batchlog.NewTiles(f.Objects, 0)
	return anchor.NewLoop(f.db, target, anchor.Options{From: from, Required: []string{"stele/egov/v1"},
		Nodes: tiles.Nodes, Log: slog.New(f.logged), Now: time.Now,
		Signature: func(note []byte) ([]byte, error) { return signednote.SignatureOf(note, &f.LogKey.Verifier) },
		Verify: func(c checkpoint.Checkpoint, evidence []byte) error {
			_, err := proof.VerifyAnchor(trust, c, evidence)
			return err
		},
		OnAnchored: func() {
			p, err := f.DB.Log.Progress(context.Background())
			if err != nil {
				panic(err)
			}
			f.chain.mu.Lock()
			f.told = append(f.told, p.Anchored)
			f.chain.mu.Unlock()
			f.anchored.Notify()
		},
		Overdue: func(_ context.Context, size uint64) error { return f.overdue(size) }})
}

// grow logs n more records and returns the checkpoint.
func (f *fixture) grow(t *testing.T, n int) checkpoint.Checkpoint {
	t.Helper()
	f.Receive(t, n)
	c, err := checkpoint.ParseUnsafe(f.Sequence(t).Note)
	fatalIfErr(t, err)
	return c
}

// run starts the loop; stop ends it and returns what it returned.
func (f *fixture) run(t *testing.T) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.loop.Run(ctx) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// wait waits until the database says that size entries are anchored.
func (f *fixture) wait(t *testing.T, size uint64) {
	t.Helper()
	for {
		changed := f.anchored.Changed()
		p, err := f.DB.Log.Progress(t.Context())
		fatalIfErr(t, err)
		if p.Anchored >= size {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

func (f *fixture) wantTold(t *testing.T, want ...uint64) {
	t.Helper()
	f.chain.mu.Lock()
	defer f.chain.mu.Unlock()
	if fmt.Sprint(f.told) != fmt.Sprint(want) {
		t.Errorf("told of %d, want %d", f.told, want)
	}
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// levels is a log handler that counts.
type levels struct {
	mu sync.Mutex
	n  map[slog.Level]int
}

func (l *levels) Enabled(context.Context, slog.Level) bool { return true }
func (l *levels) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *levels) WithGroup(string) slog.Handler            { return l }

func (l *levels) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n == nil {
		l.n = map[slog.Level]int{}
	}
	l.n[r.Level]++
	return nil
}

func (l *levels) count(level slog.Level) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[level]
}
