package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/server/cmd/internal/command"
	"stele/server/node"
	"stele/server/remote/chainnet"
	"stele/storage/storagetest/freeport"
)

// plainLog is a log of one kind of leaf, so that a test has thousands of checkpoints at no cost.
type plainLog struct {
	origin string
	key    *sm.PrivateKey
	leaves []merkle.Hash
	last   uint64 // size of the newest checkpoint that was made
}

func newPlainLog(origin string) *plainLog {
	return &plainLog{origin: origin, key: must(sm.GenerateKey())}
}

// next grows the log by one leaf and makes the checkpoint that follows the last one.
func (l *plainLog) next(t testing.TB) anchor.Submission {
	t.Helper()
	l.leaves = append(l.leaves, merkle.LeafHash(fmt.Append(nil, len(l.leaves))))
	size := uint64(len(l.leaves))
	c := checkpoint.Checkpoint{Origin: l.origin, Size: size, Root: merkle.ListRoot(l.leaves)}
	sig, err := l.key.Sign([]byte(c.Text()))
	fatalIfErr(t, err)
	proof, err := merkle.ConsistencyProof(l.last, size, merkle.ListReader(l.leaves))
	fatalIfErr(t, err)
	s := anchor.Submission{Checkpoint: c, Signature: sig, OldSize: l.last, Proof: proof}
	l.last = size
	return s
}

// hosts is a network without a server: the test submits checkpoints of its own logs.
type hosts struct {
	t       *testing.T
	dir     string
	names   []string
	genesis anchorproof.Epoch
	target  *chainnet.Target
	pass    string
	start   func(name string, cmd *exec.Cmd) error // in another network, or with another clock
	nodes   map[string]func()                      // kill what runs
}

// found does the ceremony in a folder.
func found(dir string, addresses map[string]string, logs ...*plainLog) error {
	pass := filepath.Join(dir, "passphrase")
	if _, err := keystore.CreatePassphrase(pass); err != nil {
		return err
	}
	program, err := lab()
	if err != nil {
		return err
	}
	args := []string{"trial", "--dir", dir, "--chain-id", "egov-hosts", "--passphrase-file", pass}
	for name, address := range addresses {
		args = append(args, "--member", name+"="+address)
	}
	for _, l := range logs {
		args = append(args, "--notary", signednote.FormatKey(l.origin, l.key.Public()))
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// newHosts is the network of a folder; none of its nodes runs yet.
func newHosts(t *testing.T, dir string) *hosts {
	t.Helper()
	genesis, err := node.ReadGenesis(filepath.Join(dir, "genesis.txt"))
	fatalIfErr(t, err)
	h := &hosts{t: t, dir: dir, genesis: genesis, pass: filepath.Join(dir, "passphrase"), nodes: map[string]func(){}}
	h.start = func(_ string, cmd *exec.Cmd) error { return cmd.Start() }
	var sockets []string
	for _, v := range h.genesis.Validators {
		h.names = append(h.names, v.Name)
		sockets = append(sockets, "unix:"+node.Home(filepath.Join(h.dir, v.Name)).Socket())
	}
	h.target, err = chainnet.New(h.genesis, sockets, "", time.Now, slog.New(slog.DiscardHandler))
	fatalIfErr(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.target.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

// run starts the node of a home; it is killed with the test.
func (h *hosts) run(name string) {
	h.t.Helper()
	cmd := exec.Command(must(binary()), "node", "run", "--home", filepath.Join(h.dir, name), "--passphrase-file",
		h.pass, "--log-level", "warn")
	cmd.Env = command.ChildEnvironment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	fatalIfErr(h.t, h.start(name, cmd))
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	h.nodes[name] = kill
	h.t.Cleanup(func() {
		kill()
		if h.t.Failed() {
			h.t.Logf("%s:\n%s", name, log.String())
		}
	})
}

// client reaches a node by the socket in its home.
func (h *hosts) client(name string) *chainnet.Node {
	h.t.Helper()
	n, err := chainnet.NewNode("unix:"+node.Home(filepath.Join(h.dir, name)).Socket(), "")
	fatalIfErr(h.t, err)
	return n
}

func (h *hosts) status(name string) (chainnet.Status, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return h.client(name).Status(ctx)
}

func (h *hosts) await(name, what string, ok func(chainnet.Status) bool) chainnet.Status {
	h.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) { // between two questions
		s, err := h.status(name)
		if err == nil && ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: waiting for %s: %+v, %v", name, what, s, err)
		}
	}
}

// submit hands in a checkpoint, again as long as nobody takes it or it is lost.
func (h *hosts) submit(ctx context.Context, s anchor.Submission) (anchorproof.Anchored, error) {
	for {
		changed := h.target.Changed()
		if err := h.target.Submit(ctx, s); errors.Is(err, anchor.ErrFork) {
			return anchorproof.Anchored{}, err
		}
		raw, err := h.target.Evidence(ctx, s.Checkpoint)
		if err == nil {
			return anchorproof.Verify(h.genesis, s.Checkpoint, raw)
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		case <-ctx.Done():
			return anchorproof.Anchored{}, ctx.Err()
		}
	}
}

func (h *hosts) anchored(s anchor.Submission) anchorproof.Anchored {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	a, err := h.submit(ctx, s)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// Many logs on one chain; a node that comes later catches up with 10,000 anchors from nothing,
// and what they take on disk is bounded.
func TestJoinAfterTenThousandAnchors(t *testing.T) {
	t.Parallel()
	const logs, rounds = 250, 40
	var all []*plainLog
	for i := range logs {
		all = append(all, newPlainLog(fmt.Sprintf("log.example/province-%d", i)))
	}
	dir := t.TempDir()
	fatalIfErr(t, found(dir, map[string]string{"city": freeport.Address(t)}, all...))
	h := newHosts(t, dir)
	h.run("city")
	h.await("city", "its start", func(chainnet.Status) bool { return true })
	begin := time.Now()
	for range rounds {
		var last anchor.Submission
		for _, l := range all {
			last = l.next(t)
			fatalIfErr(t, h.target.Submit(t.Context(), last))
		}
		h.anchored(last)
	}
	made := time.Since(begin)
	want := h.await("city", "all certificates", func(s chainnet.Status) bool {
		return s.Pending == 0 && len(s.Heads) == logs && s.Heads[0].Size == rounds
	})

	late := node.Home(filepath.Join(h.dir, "late"))
	pass, err := keystore.Passphrase(h.pass, "")
	fatalIfErr(t, err)
	_, err = late.Init("late", 1, freeport.Address(t), pass)
	fatalIfErr(t, err)
	peers, err := node.ReadPeers(filepath.Join(h.dir, "peers.txt"))
	fatalIfErr(t, err)
	fatalIfErr(t, late.Join(h.genesis, peers, pass))
	begin = time.Now()
	h.run("late")
	s := h.await("late", "all anchors", func(s chainnet.Status) bool {
		return s.Headers == want.Headers && s.Pending == 0
	})
	caught := time.Since(begin)
	if !slices.Equal(s.Heads, want.Heads) {
		t.Error("the heads differ")
	}
	per := folderSize(t, filepath.Join(h.dir, "late")) / (logs * rounds)
	t.Logf("%d anchors in %d headers and %d blocks: made in %v, caught up in %v (start included), %d bytes an anchor "+
		"on disk",
		logs*rounds, s.Headers, s.Height, made.Round(time.Millisecond), caught.Round(time.Millisecond), per)
	if per > 4096 {
		t.Errorf("%d bytes an anchor", per)
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
