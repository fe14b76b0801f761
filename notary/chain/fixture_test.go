package chain

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
	"stele/storage/storagetest/freeport"
)

// TestMain runs the helper process of the kill tests when asked to.
func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper()
		return
	}
	os.Exit(m.Run())
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustKey(t testing.TB) *sm.PrivateKey {
	t.Helper()
	k, err := sm.GenerateKey()
	fatalIfErr(t, err)
	return k
}

// testLog is a log that lives in memory.
type testLog struct {
	origin string
	key    *sm.PrivateKey
	leaves []merkle.Hash
	last   uint64 // size of the newest checkpoint that was made
}

func newTestLog(t testing.TB, origin string) *testLog {
	t.Helper()
	return &testLog{origin: origin, key: mustKey(t)}
}

func (l *testLog) notary() anchorproof.Notary {
	return anchorproof.Notary{Origin: l.origin, Key: l.key.Public()}
}

// fork returns a log with the same name and key whose contents may go another way.
func (l *testLog) fork() *testLog {
	f := *l
	f.leaves = append([]merkle.Hash(nil), l.leaves...)
	return &f
}

func (l *testLog) grow(n int, what string) {
	for range n {
		l.leaves = append(l.leaves, merkle.LeafHash(fmt.Appendf(nil, "%s/%s/%d", l.origin, what, len(l.leaves))))
	}
}

func (l *testLog) root(size uint64) merkle.Hash { return merkle.ListRoot(l.leaves[:size]) }

// sign makes the checkpoint of a size, from a head of another.
func (l *testLog) sign(from, size uint64) (Submission, error) {
	c := checkpoint.Checkpoint{Origin: l.origin, Size: size, Root: l.root(size)}
	sig, err := l.key.Sign([]byte(c.Text()))
	if err != nil {
		return Submission{}, err
	}
	s := Submission{Checkpoint: c, Signature: sig, OldSize: from}
	if from <= size { // a rollback has no proof
		s.Proof, err = merkle.ConsistencyProof(from, size, merkle.ListReader(l.leaves))
	}
	return s, err
}

// submission makes the checkpoint of all leaves, from a head of the given size.
func (l *testLog) submission(t testing.TB, from uint64) Submission {
	t.Helper()
	l.last = uint64(len(l.leaves))
	s, err := l.sign(from, l.last)
	fatalIfErr(t, err)
	return s
}

// next grows the log and makes the checkpoint that follows its last one.
func (l *testLog) next(t testing.TB, n int) Submission {
	t.Helper()
	l.grow(n, "leaf")
	return l.submission(t, l.last)
}

// testMember is a validator with its keys and folder.
type testMember struct {
	name      string
	home      string
	consensus ed25519.PrivateKey
	node      ed25519.PrivateKey
	key       *sm.PrivateKey
	address   string // host:port for peers
}

func newTestMember(t testing.TB, name string) *testMember {
	t.Helper()
	m := &testMember{name: name, home: filepath.Join(t.TempDir(), "chain"), key: mustKey(t)}
	var err error
	_, m.consensus, err = ed25519.GenerateKey(nil)
	fatalIfErr(t, err)
	_, m.node, err = ed25519.GenerateKey(nil)
	fatalIfErr(t, err)
	m.address = freeport.Address(t)
	return m
}

func (m *testMember) validator(power uint64) anchorproof.Validator {
	return anchorproof.Validator{Name: m.name, Power: power, Key: m.key.Public(),
		ConsensusKey: [32]byte(m.consensus.Public().(ed25519.PublicKey))}
}

func (m *testMember) config(g anchorproof.Epoch) Config {
	return Config{Home: m.home, Genesis: g, ConsensusKey: m.consensus, NodeKey: m.node, Cosign: m.key.Sign,
		CosignKey: m.key.Public(),
		Log:       testLogger()}
}

// testLogger shows warnings of the node under STELE_CHAIN_LOG=warn (or debug), else nothing.
func testLogger() *slog.Logger {
	var level slog.Level
	if s := os.Getenv("STELE_CHAIN_LOG"); s == "" || level.UnmarshalText([]byte(s)) != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func testGenesis(t testing.TB, members []*testMember, logs ...*testLog) anchorproof.Epoch {
	t.Helper()
	e := anchorproof.Epoch{Chain: "egov-test"}
	for _, m := range members {
		e.Validators = append(e.Validators, m.validator(10))
	}
	for _, l := range logs {
		e.Notaries = append(e.Notaries, l.notary())
	}
	fatalIfErr(t, e.Check())
	return e
}

// solo starts a chain of one validator; change may adapt its configuration.
func solo(t testing.TB, change func(*Config), logs ...*testLog) (*Node, Config) {
	t.Helper()
	m := newTestMember(t, "city-0")
	c := m.config(testGenesis(t, []*testMember{m}, logs...))
	if change != nil {
		change(&c)
	}
	fatalIfErr(t, Init(c))
	return mustStart(t, c), c
}

// mustStart starts a node and closes it with the test, unless the test has done so.
func mustStart(t testing.TB, c Config) *Node {
	t.Helper()
	n, err := Start(testContext(t), c)
	fatalIfErr(t, err)
	t.Cleanup(func() { closeNode(t, n) })
	return n
}

func closeNode(t testing.TB, n *Node) {
	t.Helper()
	select {
	case <-n.quit: // closed already
	default:
		fatalIfErr(t, n.Close())
	}
}

// anchor submits a checkpoint, waits for its evidence and verifies it.
func anchor(ctx context.Context, t testing.TB, n *Node, s Submission) anchorproof.Anchored {
	t.Helper()
	fatalIfErr(t, n.Submit(ctx, s))
	return certified(ctx, t, n, s.Checkpoint)
}

// certified waits for the evidence of a checkpoint and verifies it.
func certified(ctx context.Context, t testing.TB, n *Node, c checkpoint.Checkpoint) anchorproof.Anchored {
	t.Helper()
	raw, got, err := n.WaitEvidence(ctx, c.Origin, c.Size)
	fatalIfErr(t, err)
	if got != c {
		t.Fatalf("evidence is of %+v, want %+v", got, c)
	}
	a, err := anchorproof.Verify(n.Genesis(), c, raw)
	fatalIfErr(t, err)
	return a
}

// await waits until the node's status is as wanted, looking again at each change.
func await(ctx context.Context, t testing.TB, n *Node, what string, ok func(Status) bool) Status {
	t.Helper()
	for {
		changed := n.Changed()
		s, err := n.Status()
		fatalIfErr(t, err)
		if ok(s) {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %+v", what, s)
		}
	}
}

// silent reports an error when the chain makes a block within a second.
func silent(t testing.TB, n *Node) {
	t.Helper()
	select {
	case <-n.Changed():
		s, err := n.Status()
		t.Fatalf("the chain does something although there is nothing to do: %+v, %v", s, err)
	case <-time.After(time.Second):
	}
}

func mustRefuse(t testing.TB, name string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", name, err, want)
	}
	if err != nil && strings.Count(err.Error(), want.Error()) != 1 {
		t.Errorf("%s: clumsy message %q", name, err)
	}
}

// submissionAt is the checkpoint of an earlier size.
func (l *testLog) submissionAt(t testing.TB, size uint64) checkpoint.Checkpoint {
	t.Helper()
	return checkpoint.Checkpoint{Origin: l.origin, Size: size, Root: l.root(size)}
}
