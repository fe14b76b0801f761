package chainnet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
	"stele/server/remote/chainnet"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fakeNode answers like a node, with real evidence, as honestly as a test tells it to.
type fakeNode struct {
	*httptest.Server
	mu       sync.Mutex
	status   chainnet.Status
	head     chainnet.Anchored // what it gives as head and as evidence
	entries  []chainnet.Entry
	epochs   []anchorproof.SignedEpoch // after the pinned one
	first    []*chainnet.Entry         // headers that they certified first
	history  chainnet.History
	pending  bool   // it has no such header
	refuse   string // code for submissions, "" takes them
	hang     bool   // answers nothing
	got      int    // submissions
	stopping chan struct{}
}

func (f *fakeNode) set(change func(f *fakeNode)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	hang, head, status, refuse := f.hang, f.head, f.status, f.refuse
	if r.Method == http.MethodPost && !hang {
		f.got++
	}
	entries := chainnet.Entries{Entries: f.entries}
	epochs, history, pending := chainnet.Epochs{}, f.history, f.pending
	if from, err := strconv.Atoi(r.URL.Query().Get("from")); err == nil {
		for i := from - 1; i >= 0 && i < len(f.epochs); i++ {
			text, _ := f.epochs[i].Marshal()
			epochs.Epochs = append(epochs.Epochs, text)
			if f.first != nil {
				epochs.First = append(epochs.First, f.first[i])
			}
		}
	}
	f.mu.Unlock()
	if hang {
		select {
		case <-r.Context().Done():
		case <-f.stopping:
		}
		return
	}
	write := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch {
	case r.Header.Get("Authorization") != "Bearer token":
		w.WriteHeader(http.StatusUnauthorized)
		write(chainnet.Failure{Code: chainnet.CodeUnauthorized})
	case r.URL.Path == "/v1/checkpoints" && refuse != "":
		w.WriteHeader(http.StatusConflict)
		write(&chainnet.Failure{Code: refuse, Detail: "refused"})
	case r.URL.Path == "/v1/checkpoints":
		w.WriteHeader(http.StatusAccepted)
	case r.URL.Path == "/v1/head", r.URL.Path == "/v1/evidence":
		write(head)
	case r.URL.Path == "/v1/entries":
		write(entries)
	case r.URL.Path == "/v1/epochs":
		write(epochs)
	case r.URL.Path == "/v1/history" && pending:
		w.WriteHeader(http.StatusNotFound)
		write(&chainnet.Failure{Code: chainnet.CodePending})
	case r.URL.Path == "/v1/history":
		write(history)
	default:
		write(status)
	}
}

// world is four nodes of a chain that has anchored one checkpoint.
type world struct {
	*prooftest.World
	nodes  []*fakeNode
	target *chainnet.Target
	c      checkpoint.Checkpoint
	good   chainnet.Anchored
	log    *lockedLog
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: prooftest.New(prooftest.Options{Validators: 4}), log: &lockedLog{}}
	w.c, w.good = w.anchored(t, 10, 1)
	var addresses []string
	for range 4 {
		f := &fakeNode{head: w.good, status: chainnet.Status{Name: "node", Chain: w.Chain.Genesis.Chain, Height: 3,
			Headers: 1}, stopping: make(chan struct{})}
		f.Server = httptest.NewServer(f)
		t.Cleanup(func() { close(f.stopping); f.Server.CloseClientConnections(); f.Close() })
		w.nodes, addresses = append(w.nodes, f), append(addresses, f.URL)
	}
	var err error
	w.target, err = chainnet.New(w.Chain.Genesis, addresses, "token", time.Now,
		slog.New(slog.NewTextHandler(io.MultiWriter(w.log, io.Discard), nil)))
	fatalIfErr(t, err)
	return w
}

// anchored is a checkpoint of a size with a root of the test's choice, and its evidence.
func (w *world) anchored(t *testing.T, size uint64, root byte, signers ...int) (checkpoint.Checkpoint,
	chainnet.Anchored) {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: w.Origin(), Size: size, Root: merkle.Hash{root}}
	e, err := w.Chain.Evidence(time.Now(), []checkpoint.Checkpoint{c}, 0, signers...).Marshal()
	fatalIfErr(t, err)
	return c, chainnet.Anchored{Checkpoint: c.Text(), Evidence: e}
}

func (w *world) lies() (n uint64) {
	for _, s := range w.target.Nodes() {
		n += s.Lied
	}
	return n
}

// Any one node may be away, hang, or lie: the others' evidence counts, and the liar is named.
func TestOneNodeIsNotTrusted(t *testing.T) {
	w := newWorld(t)
	_, tooFew := w.anchored(t, 10, 9, 0, 1)
	for name, spoil := range map[string]func(f *fakeNode){
		"answers nonsense":           func(f *fakeNode) { f.head = chainnet.Anchored{Evidence: json.RawMessage(`{`)} },
		"hangs":                      func(f *fakeNode) { f.hang = true },
		"says that nothing is there": func(f *fakeNode) { f.head = chainnet.Anchored{} },
		"a larger head, unproven": func(f *fakeNode) {
			f.head = chainnet.Anchored{Checkpoint: checkpoint.Checkpoint{Origin: w.Origin(), Size: 99,
				Root: merkle.Hash{7}}.Text()}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.nodes[0].set(spoil)
			defer w.nodes[0].set(func(f *fakeNode) { f.head, f.hang = w.good, false })
			if size, root, err := w.target.Head(t.Context(), w.Origin()); err != nil || size != 10 || root != w.c.Root {
				t.Errorf("head %d, %v", size, err)
			}
			if e, err := w.target.Evidence(t.Context(), w.c); err != nil || string(e) != string(w.good.Evidence) {
				t.Error(err)
			}
			fatalIfErr(t, w.target.Submit(t.Context(), anchor.Submission{Checkpoint: w.c}))
		})
	}
	for name, lie := range map[string]chainnet.Anchored{"too few cosignatures": tooFew,
		"evidence of another checkpoint": {Checkpoint: w.c.Text(), Evidence: tooFew.Evidence}} {
		t.Run(name, func(t *testing.T) {
			w = newWorld(t)
			for _, f := range w.nodes[1:] {
				f.set(func(f *fakeNode) { f.head = chainnet.Anchored{} })
			}
			w.nodes[0].set(func(f *fakeNode) { f.head = lie })
			if _, err := w.target.Evidence(t.Context(), w.c); !errors.Is(err, anchor.ErrPending) || w.lies() != 1 ||
				!strings.Contains(w.log.String(), w.nodes[0].URL) {
				t.Errorf("%v, %d lies, log %s", err, w.lies(), w.log)
			}
			before := w.lies() // it is passed over from now on
			if _, err := w.target.Evidence(t.Context(), w.c); !errors.Is(err, anchor.ErrPending) || w.lies() != before {
				t.Error(err)
			}
		})
	}
}

// A fork is what evidence proves, or what more nodes say than may lie.
func TestForks(t *testing.T) {
	w := newWorld(t)
	_, other := w.anchored(t, 10, 2)
	for _, f := range w.nodes {
		f.set(func(f *fakeNode) { f.head = other })
	}
	if _, err := w.target.Evidence(t.Context(), w.c); !errors.Is(err, anchor.ErrFork) {
		t.Errorf("evidence of another root: %v", err)
	}
	for liars, want := range []error{nil, nil, nil, nil, anchor.ErrFork} {
		for i, f := range w.nodes {
			f.set(func(f *fakeNode) {
				f.refuse = ""
				if i < liars {
					f.refuse = chainnet.CodeFork
				}
			})
		}
		if err := w.target.Submit(t.Context(), anchor.Submission{Checkpoint: w.c}); !errors.Is(err, want) {
			t.Errorf("%d nodes see a fork: %v", liars, err)
		}
	}
	for i, f := range w.nodes { // one says fork, nobody else answers
		f.set(func(f *fakeNode) { f.refuse = []string{chainnet.CodeFork, chainnet.CodeBusy}[min(i, 1)] })
	}
	if err := w.target.Submit(t.Context(), anchor.Submission{Checkpoint: w.c}); !errors.Is(err,
		anchor.ErrUnavailable) || errors.Is(err, anchor.ErrFork) {
		t.Errorf("one node alone: %v", err)
	}
}

// A head without its quorum yet is believed when more nodes name it than may lie.
func TestHeadWithoutQuorum(t *testing.T) {
	w := newWorld(t)
	next := checkpoint.Checkpoint{Origin: w.Origin(), Size: 12, Root: merkle.Hash{3}}
	for n, want := range []uint64{10, 10, 12, 12, 12} {
		for i, f := range w.nodes {
			f.set(func(f *fakeNode) {
				f.head = w.good
				if i < n {
					f.head = chainnet.Anchored{Checkpoint: next.Text()}
				}
			})
		}
		if size, _, err := w.target.Head(t.Context(), w.Origin()); err != nil || size != want {
			t.Errorf("%d nodes: head %d, %v", n, size, err)
		}
	}
}

// The nodes are watched: a change at any of them is told, and so is one that goes away.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	changed := w.target.Changed()
	go func() { done <- w.target.Run(ctx) }()
	reachable := func(want int) {
		t.Helper()
		for {
			n := 0
			for _, s := range w.target.Nodes() {
				if s.Reachable {
					n++
				}
			}
			if n == want {
				return
			}
			select {
			case <-changed:
				changed = w.target.Changed()
			case <-time.After(2 * time.Minute):
				t.Fatalf("%d nodes are reachable, want %d", n, want)
			}
		}
	}
	reachable(4)
	w.nodes[2].set(func(f *fakeNode) { f.status.Chain = "another" })
	reachable(3)
	w.nodes[2].set(func(f *fakeNode) { f.status.Chain, f.status.Height = w.Chain.Genesis.Chain, 9 })
	reachable(4)
	cancel()
	fatalIfErr(t, <-done)
}

// The explorer shows what verifies: a node that makes up entries is passed over.
func TestView(t *testing.T) {
	w := newWorld(t)
	e, err := anchorproof.ParseEvidence(w.good.Evidence)
	fatalIfErr(t, err)
	good := chainnet.NewEntry(chainview.Entry{Header: e.Header, Checkpoints: []checkpoint.Checkpoint{w.c},
		Cosignatures: e.Cosignatures})
	forged := good
	forged.Cosignatures = good.Cosignatures[:2]
	for i, f := range w.nodes {
		f.set(func(f *fakeNode) {
			f.entries = []chainnet.Entry{good}
			if i == 0 {
				f.entries = []chainnet.Entry{forged}
			}
		})
	}
	v, err := w.target.View(t.Context())
	if err != nil || len(v.Anchors) != 1 || len(v.Anchors[0].Cosigned) != 4 || w.lies() != 1 {
		t.Errorf("%+v, %v, %d lies", v, err, w.lies())
	}
	for _, f := range w.nodes {
		f.CloseClientConnections()
		f.Listener.Close()
	}
	if _, err := w.target.View(t.Context()); !errors.Is(err, chainview.ErrUnavailable) {
		t.Error(err)
	}
}

// The newest epoch is the one that follows from the pinned one, whoever lags or lies.
func TestEpoch(t *testing.T) {
	w := newWorld(t)
	key := prooftest.NewKey("next log key").Public()
	real := w.Chain.HandOver(w.Chain.Members, []anchorproof.Notary{{Origin: w.Origin(), Key: key}})
	forged := real
	forged.Signatures = real.Signatures[:2]
	all := [][]anchorproof.SignedEpoch{{forged}, nil, {real}, nil}
	for i, f := range w.nodes {
		f.set(func(f *fakeNode) { f.epochs = all[i] })
	}
	if e, err := w.target.Epoch(t.Context()); err != nil || e.Number != 1 || !e.Notary(w.Origin()).Equal(key) ||
		w.lies() != 1 {
		t.Errorf("%+v, %v, %d lies", e, err, w.lies())
	}
	for i, f := range w.nodes {
		f.set(func(f *fakeNode) { f.epochs, f.hang = nil, i < 3 })
	}
	if e, err := w.target.Epoch(t.Context()); err != nil || e.Number != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	for _, f := range w.nodes {
		f.CloseClientConnections()
		f.Listener.Close()
	}
	if _, err := w.target.Epoch(t.Context()); !errors.Is(err, anchor.ErrUnavailable) {
		t.Error(err)
	}
}

// Whatever a node answers, nothing breaks and nothing unverified is believed.
func FuzzAnswer(f *testing.F) {
	w := prooftest.New(prooftest.Options{Validators: 1})
	c := checkpoint.Checkpoint{Origin: w.Origin(), Size: 10, Root: merkle.Hash{1}}
	f.Add([]byte(`{"checkpoint":"x","evidence":{}}`), uint16(200))
	f.Add([]byte(`{"error":"fork","detail":"d"}`), uint16(409))
	f.Add(fmt.Appendf(nil, `{"entries":[{"header":"","checkpoints":[%q],"cosignatures":[]}],"epochs":[{}]}`, c.Text()),
		uint16(200))
	f.Add([]byte(`{"older":"x","newer":"x","cosignatures":[],"path":["AA=="],"epochs":[],"first":[null]}`), uint16(200))
	var mu sync.Mutex
	var answer []byte
	var status int
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		rw.WriteHeader(status)
		_, _ = rw.Write(answer)
	}))
	f.Cleanup(server.Close)
	target, err := chainnet.New(w.Chain.Genesis, []string{server.URL}, "token", time.Now, slog.New(slog.DiscardHandler))
	fatalIfErr(f, err)
	f.Fuzz(func(t *testing.T, data []byte, code uint16) {
		mu.Lock()
		answer, status = data, 200+int(code)%400
		mu.Unlock()
		if e, err := target.Evidence(t.Context(), c); err == nil {
			t.Errorf("believed %s", e)
		}
		_, _, _ = target.Head(t.Context(), w.Origin())
		_, _ = target.View(t.Context())
		if e, _ := target.Epoch(t.Context()); e.Number != 0 {
			t.Errorf("believed epoch %d", e.Number)
		}
		if h, err := target.History(t.Context(), 0, 1); err == nil {
			t.Errorf("believed %+v", h)
		}
		if terms, err := target.Terms(t.Context()); err == nil && len(terms) > 0 {
			t.Errorf("believed %+v", terms)
		}
	})
}
