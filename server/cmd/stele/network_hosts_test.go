package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/anchor"
	"stele/notary/anchorproof"
	"stele/notary/chainview"
	"stele/notary/checkpoint"
	"stele/server/chainnet"
	"stele/server/node"
)

// plainLog is a log of one kind of leaf, so that a test has thousands of checkpoints at no cost.
type plainLog struct {
	origin string
	key    *sm.PrivateKey
	leaves []merkle.Hash
	last   uint64 // size of the newest checkpoint that was made
}

func newPlainLog(t testing.TB, origin string) *plainLog {
	t.Helper()
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	return &plainLog{origin: origin, key: key}
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
	program string
}

func newHosts(t *testing.T, addresses map[string]string, logs ...*plainLog) *hosts {
	t.Helper()
	h := &hosts{t: t, dir: t.TempDir(), program: must(binary())}
	h.pass = filepath.Join(h.dir, "passphrase")
	pass, err := keystore.CreatePassphrase(h.pass)
	fatalIfErr(t, err)
	var keys []string
	for _, l := range logs {
		keys = append(keys, signednote.FormatKey(l.origin, l.key.Public()))
	}
	h.genesis, err = trialNetwork(h.dir, "egov-hosts", addresses, keys, pass)
	fatalIfErr(t, err)
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

// run starts the node of a home, under a command if there is one; it is killed with the test.
func (h *hosts) run(name string, under ...string) {
	h.t.Helper()
	args := append(slices.Clone(under), h.program, "node", "run", "--home", filepath.Join(h.dir, name), "--passphrase-file", h.pass, "--log-level", "warn")
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = childEnvironment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	fatalIfErr(h.t, cmd.Start())
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if h.t.Failed() {
			h.t.Logf("%s:\n%s", name, log.String())
		}
	})
}

func (h *hosts) status(name string) (chainnet.Status, error) {
	n, err := chainnet.NewNode("unix:"+node.Home(filepath.Join(h.dir, name)).Socket(), "")
	fatalIfErr(h.t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.Status(ctx)
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
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
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
		all = append(all, newPlainLog(t, fmt.Sprintf("log.example/province-%d", i)))
	}
	h := newHosts(t, map[string]string{"city": "127.0.0.1:" + freePort(t)}, all...)
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
	_, err = late.Init("late", 1, "127.0.0.1:"+freePort(t), pass)
	fatalIfErr(t, err)
	peers, err := node.ReadPeers(filepath.Join(h.dir, "peers.txt"))
	fatalIfErr(t, err)
	fatalIfErr(t, late.Join(h.genesis, peers, pass))
	begin = time.Now()
	h.run("late")
	s := h.await("late", "all anchors", func(s chainnet.Status) bool { return s.Headers == want.Headers && s.Pending == 0 })
	caught := time.Since(begin)
	if !slices.Equal(s.Heads, want.Heads) {
		t.Error("the heads differ")
	}
	per := folderSize(t, filepath.Join(h.dir, "late")) / (logs * rounds)
	t.Logf("%d anchors in %d headers and %d blocks: made in %v, caught up in %v (start included), %d bytes an anchor on disk",
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

// lan is four hosts of their own on two switches, in network namespaces: a host that is moved
// to the other switch is cut off from those that are not.
type lan struct {
	t      *testing.T
	prefix string
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	l := &lan{t, fmt.Sprintf("stele%d", os.Getpid())}
	t.Cleanup(func() {
		for _, n := range append([]string{"hub"}, "1", "2", "3", "4") {
			_ = exec.Command("ip", "netns", "del", l.name(n)).Run() // with all that is in it
		}
	})
	// Some containers give root no namespaces; whatever else is missing fails.
	if out, err := exec.Command("ip", "netns", "add", l.name("hub")).CombinedOutput(); err != nil {
		t.Skipf("NOT RUN: this machine gives no network namespaces: %v %s", err, bytes.TrimSpace(out))
	}
	for _, b := range []string{"left", "right"} {
		l.ip("-n", l.name("hub"), "link", "add", b, "type", "bridge")
		l.ip("-n", l.name("hub"), "link", "set", b, "up")
	}
	for i := 1; i <= 4; i++ {
		n := l.name(fmt.Sprint(i))
		l.ip("netns", "add", n)
		l.ip("-n", n, "link", "set", "lo", "up")
		l.ip("-n", n, "link", "add", "eth0", "type", "veth", "peer", "name", port(i), "netns", l.name("hub"))
		l.ip("-n", n, "addr", "add", fmt.Sprintf("10.77.0.%d/24", i), "dev", "eth0")
		l.ip("-n", n, "link", "set", "eth0", "up")
		l.ip("-n", l.name("hub"), "link", "set", port(i), "master", "left", "up")
	}
	return l
}

func port(i int) string { return fmt.Sprintf("port%d", i) }

func (l *lan) name(n string) string { return l.prefix + "-" + n }

func (l *lan) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v %s: this test needs iproute2 and a kernel with network namespaces, veth and bridges", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
}

// split moves hosts to the other switch; all others stand on the first.
func (l *lan) split(away ...int) {
	l.t.Helper()
	for i := 1; i <= 4; i++ {
		to := "left"
		if slices.Contains(away, i) {
			to = "right"
		}
		l.ip("-n", l.name("hub"), "link", "set", port(i), "master", to)
	}
}

// Four hosts of their own. Cut off 3|1, the three go on and the one catches up when it is back.
// Cut off 2|2, nothing is anchored until they meet again; then everything is, on one history,
// with a time after they met.
func TestPartitions(t *testing.T) {
	t.Parallel()
	net := newLAN(t)
	l := newPlainLog(t, "log.example/a")
	addresses := map[string]string{}
	for i := 1; i <= 4; i++ {
		addresses[fmt.Sprintf("city-%d", i)] = fmt.Sprintf("10.77.0.%d:26656", i)
	}
	h := newHosts(t, addresses, l)
	for i, name := range h.names {
		h.run(name, "ip", "netns", "exec", net.name(fmt.Sprint(i+1)))
	}
	if a := h.anchored(l.next(t)); a.Signed < 3 {
		t.Fatalf("%+v", a)
	}
	net.split(4)
	alone := h.await("city-4", "its own height", func(chainnet.Status) bool { return true }).Height
	for range 2 {
		if a := h.anchored(l.next(t)); slices.Contains(a.Validators, "city-4") {
			t.Errorf("%+v", a)
		}
	}
	if s := h.await("city-4", "its own height", func(chainnet.Status) bool { return true }); s.Height > alone+2 {
		t.Errorf("the host that was cut off went on from %d to %d", alone, s.Height)
	}
	net.split()
	h.await("city-4", "it to catch up", func(s chainnet.Status) bool { return s.Headers == 3 && s.Pending == 0 })

	net.split(3, 4)
	s := l.next(t)
	cut := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if a, err := h.submit(ctx, s); err == nil {
		t.Fatalf("two of four anchored: %+v", a)
	}
	met := time.Now()
	net.split()
	a := h.anchored(s)
	if a.Time.Before(met.Add(-2 * time.Second)) {
		t.Errorf("the evidence says %v; the hosts met again at %v", a.Time, met)
	}
	t.Logf("2|2: handed in %v before the hosts met, anchored %v after; the evidence's time is %v after they met", met.Sub(cut).Round(time.Millisecond), time.Since(met).Round(time.Millisecond), a.Time.Sub(met).Round(time.Millisecond))
	var entries [][]chainview.Entry
	for _, name := range h.names {
		h.await(name, "all headers", func(s chainnet.Status) bool { return s.Headers == 4 && s.Pending == 0 })
		n, err := chainnet.NewNode("unix:"+node.Home(filepath.Join(h.dir, name)).Socket(), "")
		fatalIfErr(t, err)
		entries = append(entries, must(n.Entries(t.Context(), 0)))
	}
	for i := range entries {
		for j := range entries[i] {
			if entries[i][j].Header != entries[0][j].Header {
				t.Errorf("%s has another header %d", h.names[i], j)
			}
		}
	}
}
