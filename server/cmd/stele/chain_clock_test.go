package main

import (
	"context"
	"net/http"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"stele/notary/proof"
	"stele/server/cmd/internal/command"
	"stele/storage/storagetest/freeport"
)

// A clock was an hour ahead at one start, and the chain took that time. With the right clock again the
// start is refused, says until when, and what else can be done: the log moves to another chain.
func TestMoveFromLockedChain(t *testing.T) {
	needsShift(t)
	t.Parallel()
	s := site{data: folder(t)}
	m := newMoving(t)
	srv := s.start(t)
	m.notarize(srv, "the first chain")
	srv.stop()
	ahead := srv.shifted(t, 3600)
	rec := ahead.notarize(digestRequest(newDigest(), "", "anchored"))
	ahead.stop()

	s.fails(t, "the last block is of", "serve", "--listen", "127.0.0.1:0")
	s.fails(t, "stele chain move", "serve", "--listen", "127.0.0.1:0")
	// A link made while the clock is still wrong would make all evidence of the new chain worthless.
	early := filepath.Join(t.TempDir(), "early.json")
	cmd := s.command(t, "chain", "link", "--to-embedded", "ahead-"+command.Unique(), "-o", early)
	fatalIfErr(t, shifted(3600)(cmd))
	fatalIfErr(t, cmd.Wait())
	s.fails(t, "make the link anew", "chain", "move", early)
	file := filepath.Join(t.TempDir(), "link.json")
	s.succeeds(t, "chain", "link", "--to-embedded", "right-"+command.Unique(), "-o", file) // the folder can be read
	link := readLink(t, file)
	if link.Size != rec.Index+1 {
		t.Errorf("the link is of size %d, the chain holds %d", link.Size, rec.Index+1)
	}
	s.succeeds(t, "chain", "move", file)
	srv = s.start(t)
	m.notarize(srv, "the second chain")
	m.hold(srv, link.From, link.To.Chain)
	srv.demand(rec, proof.Genuine)
	srv.stop()
	s.fsck(t)
}

// shifted starts a server on the same site with a clock that is wrong by so many seconds.
func (s *server) shifted(t *testing.T, seconds int32) *server {
	t.Helper()
	addr := freeport.Address(t)
	b := &server{site: s.site, t: t, info: s.info, trust: s.trust, log: &lockedBuffer{}, done: make(chan struct{})}
	b.info.URL = "http://" + addr
	b.cmd = s.command(t, "serve", "--listen", addr, "--lookups-per-minute", "1000000")
	b.cmd.Stderr, b.cmd.SysProcAttr = b.log, &syscall.SysProcAttr{}
	started := make(chan error, 1)
	go func() { // a process is traced by the thread that started it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- startShifted(b.cmd, seconds)
	}()
	fatalIfErr(t, <-started)
	go func() { _ = b.cmd.Wait(); close(b.done) }()
	t.Cleanup(b.kill)
	eventually(t, "the server answers", func() bool {
		res, err := b.try(context.Background(), request{method: "GET", path: "/healthz"})
		return err == nil && res.status == http.StatusOK
	})
	return b
}
