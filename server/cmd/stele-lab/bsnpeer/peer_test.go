package bsnpeer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/log/anchor"
	"stele/notary/log/anchor/bsn"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
	"stele/server/cmd/stele-lab/bsnpeer"
	"stele/server/remote/bsnhttp"
)

const (
	origin = "log.example/2026"
	app    = "app0001202611220000000000001"
	user   = "USER0001202611220000000000001"

	contract = "0x866aefc204b8f8fdc3e45b908fd43d76667d7f76"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB, algorithm gateway.Algorithm) *gateway.PrivateKey {
	t.Helper()
	k, err := gateway.GenerateKey(algorithm)
	fatalIfErr(t, err)
	return k
}

// network is a peer on a real socket with what a client needs to reach it.
type network struct {
	peer   *bsnpeer.Peer
	server *httptest.Server
	conf   bsnpeer.Config
	key    *gateway.PrivateKey // the application's
}

func start(t testing.TB, algorithm gateway.Algorithm, change ...func(*bsnpeer.Config)) *network {
	t.Helper()
	n := &network{key: newKey(t, algorithm)}
	n.conf = bsnpeer.Config{Key: newKey(t, algorithm), BlockTime: 5 * time.Millisecond, Latency: 20 * time.Millisecond,
		Now: time.Now,
		Apps: []bsnpeer.App{{Name: "省主干网", UserCode: user, AppCode: app, ChainCode: "cc_" + app + "_00",
			Key: n.key.Public()}}}
	for _, f := range change {
		f(&n.conf)
	}
	var err error
	n.peer, err = bsnpeer.New(n.conf)
	fatalIfErr(t, err)
	n.server = httptest.NewServer(n.peer)
	t.Cleanup(n.server.Close)
	return n
}

// startFISCO is a network whose application runs on FISCO BCOS.
func startFISCO(t testing.TB, algorithm gateway.Algorithm, change ...func(*bsnpeer.Config)) *network {
	t.Helper()
	return start(t, algorithm,
		append(change, func(c *bsnpeer.Config) {
			c.Apps[0].Contract, c.Apps[0].ChainCode = contract, "BsnBaseGlobalContract"
		})...)
}

// frameworks start a network each.
var frameworks = map[bsn.Framework]func(testing.TB, gateway.Algorithm, ...func(*bsnpeer.Config)) *network{
	bsn.Fabric: start, bsn.FISCO: startFISCO}

func (n *network) client(t testing.TB, gateways ...string) *bsn.Target {
	return n.impatient(t, 5*time.Second, gateways...)
}

// impatient is a client that gives up a call after a while.
func (n *network) impatient(t testing.TB, timeout time.Duration, gateways ...string) *bsn.Target {
	t.Helper()
	post, err := bsnhttp.New(bsnhttp.Options{})
	fatalIfErr(t, err)
	if len(gateways) == 0 {
		gateways = []string{n.server.URL}
	}
	framework := bsn.Fabric
	if n.conf.Apps[0].Contract != "" {
		framework = bsn.FISCO
	}
	target, err := bsn.New(bsn.Config{Framework: framework, Gateways: gateways, UserCode: user, App: app,
		ChainCode: n.conf.Apps[0].ChainCode, Contract: n.conf.Apps[0].Contract, Key: n.key,
		GatewayKey: n.conf.Key.Public(), Post: post,
		Now: time.Now, Timeout: timeout, Poll: 2 * time.Millisecond, Patience: 150 * time.Millisecond})
	fatalIfErr(t, err)
	return target
}

// mark is the log's checkpoint of a size.
func mark(size uint64) checkpoint.Checkpoint {
	return checkpoint.Checkpoint{Origin: origin, Size: size, Root: sm.Sum(fmt.Appendf(nil, "root %d", size))}
}

// round does what the anchoring loop does once: submit unless it is there, ask for evidence.
func round(ctx context.Context, target anchor.Target, c checkpoint.Checkpoint) (json.RawMessage, error) {
	size, root, err := target.Head(ctx, c.Origin)
	if err != nil {
		return nil, err
	}
	if size != c.Size || root != c.Root {
		if err := target.Submit(ctx, anchor.Submission{Checkpoint: c, Signature: []byte("signature"),
			OldSize: size}); err != nil {
			return nil, err
		}
	}
	return target.Evidence(ctx, c)
}

// anchored goes on until there is evidence, and demands that it holds.
func (n *network) anchored(t testing.TB, target anchor.Target, c checkpoint.Checkpoint) json.RawMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		evidence, err := round(ctx, target, c)
		if err == nil {
			n.holds(t, evidence, c)
			return evidence
		}
		if errors.Is(err, anchor.ErrFork) || ctx.Err() != nil {
			t.Fatalf("size %d: %v", c.Size, err)
		}
		<-target.Changed()
	}
}

func (n *network) holds(t testing.TB, evidence json.RawMessage, c checkpoint.Checkpoint) bsnproof.Attested {
	t.Helper()
	kind, name := bsnproof.KindFabric, app
	if n.conf.Apps[0].Contract != "" {
		kind, name = bsnproof.KindFISCO, contract
	}
	e, err := bsnproof.Parse(kind, evidence)
	fatalIfErr(t, err)
	a, err := e.Verify(n.conf.Key.Public(), c)
	if err != nil || a.App != name || a.Checkpoint != c {
		t.Fatalf("evidence for size %d does not hold: %+v, %v", c.Size, a, err)
	}
	return a
}

// wantEntries demands that the chain holds these checkpoints, each once and in this order.
func (n *network) wantEntries(t testing.TB, sizes ...uint64) {
	t.Helper()
	got := n.peer.Entries(app)
	for i, size := range sizes {
		data, err := json.Marshal(gateway.StoredData{BaseKey: bsnproof.Key(origin, uint64(i+1)),
			BaseInfo: bsnproof.Value(mark(size), []byte("signature"))})
		fatalIfErr(t, err)
		if got[string(data)] != 1 {
			t.Errorf("size %d is on the chain %d times as entry %d", size, got[string(data)], i+1)
		}
	}
	if len(got) != len(sizes) {
		t.Errorf("%d entries, want %d", len(got), len(sizes))
	}
}

// Checkpoints are anchored under each algorithm (secp256k1 on FISCO BCOS in TestOtherCalls); a client that knows
// nothing finds the newest.
func TestAnchoring(t *testing.T) {
	for _, c := range []struct {
		framework bsn.Framework
		algorithm gateway.Algorithm
	}{{bsn.Fabric, gateway.SM2}, {bsn.Fabric, gateway.Secp256r1}, {bsn.Fabric, gateway.Secp256k1},
		{bsn.FISCO, gateway.SM2}} {
		t.Run(fmt.Sprint(c.framework, " ", c.algorithm), func(t *testing.T) {
			n := frameworks[c.framework](t, c.algorithm)
			target := n.client(t)
			var sizes []uint64
			for size := uint64(1); size <= 11; size++ {
				a := n.holds(t, n.anchored(t, target, mark(size)), mark(size))
				if a.Entry != size || a.Height == 0 || time.Since(a.Time) > time.Minute {
					t.Errorf("%+v", a)
				}
				sizes = append(sizes, size)
				again := n.client(t)
				if got, root, err := again.Head(t.Context(), origin); err != nil || got != size ||
					root != mark(size).Root {
					t.Fatalf("head %d, want %d: %v", got, size, err)
				}
				if _, err := again.Evidence(t.Context(), mark(size+1)); !errors.Is(err, anchor.ErrPending) {
					t.Errorf("evidence of what is not there: %v", err)
				}
			}
			n.wantEntries(t, sizes...)
			other := mark(11)
			other.Root = sm.Sum([]byte("another history"))
			if _, err := target.Evidence(t.Context(), other); !errors.Is(err, anchor.ErrFork) {
				t.Errorf("another root for the same size: %v", err)
			}
		})
	}
}

// Each fault, at every request and at every second and third: never evidence that does not
// hold, never an entry twice, and once the gateway works again, everything is anchored.
func TestFaults(t *testing.T) {
	for _, fault := range bsnpeer.Faults {
		t.Run(string(fault), func(t *testing.T) { t.Parallel(); meet(t, start(t, gateway.SM2), fault, 3) })
		t.Run("fisco "+string(fault),
			func(t *testing.T) { t.Parallel(); meet(t, startFISCO(t, gateway.SM2), fault, 2) })
	}
}

func meet(t *testing.T, n *network, fault bsnpeer.Fault, rounds int) {
	t.Helper()
	// there a transaction that the gateway gave up waiting for is in a block all the same
	fisco := n.conf.Apps[0].Contract != ""
	target := n.client(t)
	if fault == bsnpeer.Hang {
		target = n.impatient(t, 200*time.Millisecond)
	}
	n.anchored(t, target, mark(1))
	n.anchored(t, target, mark(2))
	sizes := []uint64{1, 2}
	for every := 1; every <= rounds; every++ {
		size := uint64(10 * every)
		sizes = append(sizes, size)
		n.peer.Inject(fault, every)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		for try := 0; try < 8; try++ {
			evidence, err := round(ctx, target, mark(size))
			if err == nil {
				n.holds(t, evidence, mark(size))
			}
			if errors.Is(err, anchor.ErrFork) {
				t.Errorf("taken for a fork: %v", err)
			}
			if err == nil && every == 1 && fault != bsnpeer.Slow && fault != bsnpeer.Conflict &&
				fault != bsnpeer.Dropped && !(fisco && fault == bsnpeer.Timeout) {
				t.Errorf("anchored although each request fails")
			}
		}
		cancel()
		n.peer.Inject("", 1)
		n.anchored(t, target, mark(size))
	}
	n.wantEntries(t, sizes...)
}

// Two servers with one log: entries stay gapless, ascending and single.
func TestTwoServers(t *testing.T) {
	n := start(t, gateway.SM2)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range 2 {
		target := n.client(t)
		wg.Go(func() {
			for size := uint64(1); size <= 6 && ctx.Err() == nil; {
				_, err := round(ctx, target, mark(size))
				head, _, herr := target.Head(ctx, origin)
				if err == nil || herr == nil && head >= size {
					size = max(size, head) + 1
				}
			}
		})
	}
	wg.Wait()
	for data, count := range n.peer.Entries(app) {
		if count != 1 {
			t.Errorf("%d times on the chain: %s", count, data)
		}
	}
	target := n.client(t)
	if head, _, err := target.Head(t.Context(), origin); err != nil || head != 6 {
		t.Errorf("head %d, %v", head, err)
	}
	// A server that is behind must not write: an entry that is smaller than the one before would be a fork for ever.
	if err := target.Submit(t.Context(), anchor.Submission{Checkpoint: mark(2), Signature: []byte("signature"),
		OldSize: 6}); !errors.Is(err, anchor.ErrStale) {
		t.Errorf("a checkpoint that is smaller than the newest entry's: %v", err)
	}
}

// A gateway that is away is passed over; one that is no gateway of ours too.
func TestFailover(t *testing.T) {
	n := start(t, gateway.SM2)
	stranger := start(t, gateway.SM2, func(c *bsnpeer.Config) { c.Apps[0].Key = n.key.Public() })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	target := n.client(t, gone.URL, stranger.server.URL, n.server.URL)
	n.anchored(t, target, mark(3))
	n.anchored(t, target, mark(4))
	n.wantEntries(t, 3, 4)
}

// A peer that was stopped goes on where it was; what a client was told before is still so.
func TestRestart(t *testing.T) {
	for framework, start := range frameworks {
		t.Run(string(framework), func(t *testing.T) {
			dir := t.TempDir()
			n := start(t, gateway.SM2, func(c *bsnpeer.Config) { c.Dir = dir })
			first := n.anchored(t, n.client(t), mark(1))
			n.server.Close()
			peer, err := bsnpeer.New(n.conf)
			fatalIfErr(t, err)
			n.peer, n.server = peer, httptest.NewServer(peer)
			defer n.server.Close()
			target := n.client(t)
			n.anchored(t, target, mark(1))
			n.anchored(t, target, mark(5))
			n.holds(t, first, mark(1))
			n.wantEntries(t, 1, 5)
		})
	}
}

// Who calls with another key, or repeats a nonce, gets nothing.
func TestPeerRefuses(t *testing.T) {
	n := start(t, gateway.SM2)
	n.key = newKey(t, gateway.SM2)
	if _, _, err := n.client(t).Head(t.Context(), origin); !errors.Is(err, anchor.ErrRefused) ||
		!strings.Contains(err.Error(), gateway.MsgBadMac) {
		t.Errorf("another key: %v", err)
	}
	n = start(t, gateway.SM2)
	post, err := bsnhttp.New(bsnhttp.Options{})
	fatalIfErr(t, err)
	q := gateway.ChainCodeRequest{Nonce: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", ChainCode: "cc_" + app + "_00",
		FuncName: gateway.FuncSet, Args: []string{`{"baseKey":"k","baseValue":"v"}`}}
	h := gateway.RequestHeader{UserCode: user, AppCode: app}
	mac, err := n.key.Sign(gateway.RequestText(h, q))
	fatalIfErr(t, err)
	body, err := json.Marshal(q)
	fatalIfErr(t, err)
	raw, err := json.Marshal(gateway.Request{Header: h, Mac: mac, Body: body})
	fatalIfErr(t, err)
	for i, want := range []string{gateway.CCSuccess, "used before"} {
		out, err := post.Post(t.Context(), n.server.URL+gateway.PathChainCode, raw, 1<<16)
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("request %d: %s, %v", i, out, err)
		}
	}
}

// Evidence about a later checkpoint vouches for an earlier one with a consistency proof.
func TestLaterCheckpoint(t *testing.T) {
	n := start(t, gateway.Secp256k1)
	var leaves []merkle.Hash
	for i := range 9 {
		leaves = append(leaves, merkle.LeafHash([]byte{byte(i)}))
	}
	at := func(size int) checkpoint.Checkpoint {
		return checkpoint.Checkpoint{Origin: origin, Size: uint64(size), Root: merkle.ListRoot(leaves[:size])}
	}
	evidence := n.anchored(t, n.client(t), at(9))
	e, err := bsnproof.Parse(bsnproof.KindFabric, evidence)
	fatalIfErr(t, err)
	if _, err := e.Verify(n.conf.Key.Public(), at(5)); !errors.Is(err, bsnproof.ErrContent) {
		t.Errorf("without a path: %v", err)
	}
	path, err := merkle.ConsistencyProof(5, 9, merkle.ListReader(leaves))
	fatalIfErr(t, err)
	later, err := bsnproof.WithPath(bsnproof.KindFabric, evidence, path)
	fatalIfErr(t, err)
	e, err = bsnproof.Parse(bsnproof.KindFabric, later)
	fatalIfErr(t, err)
	if a, err := e.Verify(n.conf.Key.Public(), at(5)); err != nil || a.Checkpoint.Size != 9 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := e.Verify(n.conf.Key.Public(), at(6)); !errors.Is(err, bsnproof.ErrContent) {
		t.Errorf("for another size: %v", err)
	}
}
