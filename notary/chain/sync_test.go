package chain

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"
)

// Many logs share blocks; a node that comes later catches up with all of them from nothing.
func TestJoinAfterTenThousandAnchors(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	const logs, rounds = 250, 40
	var all []*testLog
	for i := range logs {
		all = append(all, newTestLog(t, fmt.Sprintf("log.example/province-%d", i)))
	}
	first, late := newTestMember(t, "city-0"), newTestMember(t, "city-late")
	genesis := testGenesis(t, []*testMember{first}, all...)
	c := first.config(genesis)
	c.ListenAddress = first.address
	fatalIfErr(t, Init(c))
	n := mustStart(t, c)
	begin := time.Now()
	for range rounds {
		var last []Submission
		for _, l := range all {
			l.leaves = nil // a log of one leaf at each size is enough: what counts is the chain's work
			l.grow(int(l.last)+1, "leaf")
			s := l.submission(t, l.last)
			for errors.Is(n.Submit(ctx, s), ErrBusy) { // the mempool holds 1000
				certified(ctx, t, n, last[len(last)-1].Checkpoint)
			}
			last = append(last, s)
		}
		for _, s := range last {
			certified(ctx, t, n, s.Checkpoint)
		}
	}
	made := time.Since(begin)
	await(ctx, t, n, "certificates", func(s Status) bool { return s.Pending == 0 })
	want, err := n.Status()
	fatalIfErr(t, err)

	c = late.config(genesis)
	c.Peers = []string{PeerAddress(first.node.Public().(ed25519.PublicKey), first.address)}
	fatalIfErr(t, Init(c))
	begin = time.Now()
	follower := mustStart(t, c)
	s := await(ctx, t, follower, "all headers", func(s Status) bool { return s.Headers == want.Headers && s.Pending == 0 })
	caught := time.Since(begin)
	for _, l := range []*testLog{all[0], all[logs-1]} {
		certified(ctx, t, follower, l.submissionAt(t, 1))
		certified(ctx, t, follower, l.submissionAt(t, rounds))
	}
	bytes := folderSize(t, late.home)
	t.Logf("%d anchors in %d headers and %d blocks: made in %v, caught up in %v, %d bytes an anchor on disk", logs*rounds, s.Headers, s.Height, made.Round(time.Millisecond), caught.Round(time.Millisecond), bytes/(logs*rounds))
	if bytes > logs*rounds*4096 {
		t.Errorf("%d bytes an anchor", bytes/(logs*rounds))
	}
}

func folderSize(t testing.TB, dir string) (n int64) {
	t.Helper()
	fatalIfErr(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				n += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // the engine replaces files
			return nil
		}
		return err
	}))
	return n
}

// Old blocks may go; evidence stays what it was.
func TestEvidenceSurvivesPruning(t *testing.T) {
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	n, _ := solo(t, func(c *Config) { c.RetainBlocks = 10 }, l)
	first := l.next(t, 2)
	anchor(ctx, t, n, first)
	for range 10 {
		anchor(ctx, t, n, l.next(t, 2))
	}
	s := await(ctx, t, n, "blocks to go", func(s Status) bool { return s.Base > 1 })
	certified(ctx, t, n, first.Checkpoint)
	if s.Height-s.Base > 12 {
		t.Errorf("%d blocks are kept", s.Height-s.Base)
	}
	checkHistory(t, n)
}
