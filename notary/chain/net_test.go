package chain

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
)

// testNet is a chain of several nodes in this process, over loopback.
type testNet struct {
	members []*testMember
	genesis anchorproof.Epoch
	nodes   []*Node
}

// newNet prepares nodes of which the first are validators; change may adapt each one.
func newNet(t testing.TB, nodes, validators int, change func(i int, c *Config), logs ...*testLog) *testNet {
	t.Helper()
	x := &testNet{}
	for i := range nodes {
		x.members = append(x.members, newTestMember(t, fmt.Sprintf("city-%d", i)))
	}
	x.genesis = testGenesis(t, x.members[:validators], logs...)
	for i, m := range x.members {
		c := m.config(x.genesis)
		c.ListenAddress = m.address
		c.TimeoutPropose, c.TimeoutCommit = 400*time.Millisecond, 10*time.Millisecond
		for j, p := range x.members {
			if j != i {
				c.Peers = append(c.Peers, PeerAddress(p.node.Public().(ed25519.PublicKey), p.address))
			}
		}
		if change != nil {
			change(i, &c)
		}
		fatalIfErr(t, Init(c))
		x.nodes = append(x.nodes, mustStart(t, c))
	}
	return x
}

func (x *testNet) ready(ctx context.Context, t testing.TB) {
	t.Helper()
	for _, n := range x.nodes {
		fatalIfErr(t, n.WaitReady(ctx))
	}
}

func TestFourValidatorsWithOneBrokenSigner(t *testing.T) {
	t.Parallel() // networks mostly wait for their connections
	for name, spoil := range map[string]func(*Config){
		"fails":     func(c *Config) { c.Cosign = func([]byte) ([]byte, error) { return nil, errors.New("away") } },
		"malformed": func(c *Config) { c.hooks.extension = func([]byte) []byte { return []byte("garbage") } },
		"wrong signatures": func(c *Config) {
			c.hooks.extension = func(ext []byte) []byte {
				items, _ := decodeExtension(ext)
				for i := range items {
					items[i].sig[len(items[i].sig)-1] ^= 1
				}
				return encodeExtension(items)
			}
		},
		"cosigns anything": func(c *Config) {
			sign := c.Cosign
			c.hooks.extension = func(ext []byte) []byte {
				items, _ := decodeExtension(ext)
				for i := range items {
					items[i].sig, _ = sign([]byte("stele/anchor/v1\nwhatever somebody asks for\n"))
				}
				return encodeExtension(append(items, extensionItem{index: 1 << 40, sig: []byte("x")}))
			}
		},
		"wrong time": func(c *Config) {
			c.hooks.extension = func(ext []byte) []byte {
				items, _ := decodeExtension(ext)
				for i := range items {
					items[i].timeMs -= 3600_000
				}
				return encodeExtension(items)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			l := newTestLog(t, "log.example/a")
			x := newNet(t, 4, 4, func(i int, c *Config) {
				if i == 3 {
					spoil(c)
				}
			}, l)
			x.ready(ctx, t)
			var last Submission
			for i := range 4 {
				last = l.next(t, 2)
				a := anchor(ctx, t, x.nodes[i], last)
				if a.Signed != 30 || a.Total != 40 || slices.Contains(a.Validators, "city-3") {
					t.Fatalf("%+v", a)
				}
			}
			var dropped uint64
			for _, n := range x.nodes {
				s, err := n.Status()
				fatalIfErr(t, err)
				dropped += s.Refused[RefusedCosignature]
			}
			t.Logf("%d wrong cosignatures were dropped", dropped)
			if bad := name == "wrong signatures" || name == "cosigns anything"; bad != (dropped > 0) {
				t.Errorf("%d wrong cosignatures were counted", dropped)
			}
			// All nodes hold the very same evidence.
			certified(ctx, t, x.nodes[0], last.Checkpoint)
			want, _, err := x.nodes[0].Evidence(l.origin, last.Checkpoint.Size)
			fatalIfErr(t, err)
			for _, n := range x.nodes[1:] {
				certified(ctx, t, n, last.Checkpoint)
				if got, _, err := n.Evidence(l.origin, last.Checkpoint.Size); err != nil || !bytes.Equal(got, want) {
					t.Fatal("nodes disagree", err)
				}
			}
		})
	}
}

// Two signers away of four: the chain goes on, certificates wait, and come when one is back.
func TestTwoOfFourSignersAway(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	var away atomic.Bool
	away.Store(true)
	l := newTestLog(t, "log.example/a")
	x := newNet(t, 4, 4, func(i int, c *Config) {
		c.PokeInterval = fastPoke
		sign := c.Cosign
		c.Cosign = func(m []byte) ([]byte, error) {
			if i >= 2 && away.Load() {
				return nil, errors.New("away")
			}
			return sign(m)
		}
	}, l)
	x.ready(ctx, t)
	var waiting []Submission
	for i := range 3 {
		s := l.next(t, 2)
		fatalIfErr(t, x.nodes[0].Submit(ctx, s))
		await(ctx, t, x.nodes[0], "header", func(s Status) bool { return s.Headers > uint64(i) })
		waiting = append(waiting, s)
	}
	if s, err := x.nodes[0].Status(); err != nil || s.Pending != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	away.Store(false)
	for _, s := range waiting {
		if a := certified(ctx, t, x.nodes[1], s.Checkpoint); a.Signed < 30 {
			t.Fatalf("%+v", a)
		}
	}
}

// Two different signed roots for one size, handed to two validators at the same moment.
func TestEquivocatingLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l := newTestLog(t, "log.example/a")
	x := newNet(t, 4, 4, nil, l)
	x.ready(ctx, t)
	anchor(ctx, t, x.nodes[0], l.next(t, 3))
	for _, n := range x.nodes {
		await(ctx, t, n, "first anchor", func(s Status) bool { return s.Headers == 1 && s.Pending == 0 })
	}
	a, b := l.fork(), l.fork()
	a.grow(1, "A")
	b.grow(1, "B")
	sa, sb := a.submission(t, 3), b.submission(t, 3)
	done := make(chan error, 2)
	go func() { done <- x.nodes[0].Submit(ctx, sa) }()
	go func() { done <- x.nodes[2].Submit(ctx, sb) }()
	for range 2 {
		if err := <-done; err != nil && !errors.Is(err, ErrFork) {
			t.Fatal(err)
		}
	}
	roots := map[merkle.Hash]bool{}
	for _, n := range x.nodes {
		raw, c, err := n.WaitEvidence(ctx, l.origin, 4)
		fatalIfErr(t, err)
		if _, err := anchorproof.Verify(x.genesis, c, raw); err != nil {
			t.Fatal(err)
		}
		roots[c.Root] = true
	}
	if len(roots) != 1 {
		t.Fatal("validators disagree")
	}
	loser := sa
	if roots[sa.Checkpoint.Root] {
		loser = sb
	}
	loser.Signature, _ = l.key.Sign([]byte(loser.Checkpoint.Text())) // other bytes: no mempool knows them
	mustRefuse(t, "the other root", x.nodes[1].Submit(ctx, loser), ErrFork)
}

// handOver makes the epoch after the newest one, signed by some members of that one and by
// all newcomers.
func (x *testNet) handOver(t testing.TB, n *Node, next []anchorproof.Validator, notaries []anchorproof.Notary,
	signers ...int) anchorproof.SignedEpoch {
	t.Helper()
	s, err := n.Status()
	fatalIfErr(t, err)
	current, err := n.Epoch(s.Epoch)
	fatalIfErr(t, err)
	e := anchorproof.SignedEpoch{Epoch: anchorproof.Epoch{Chain: current.Chain, Number: current.Number + 1,
		Previous: current.Hash(), Validators: next, Notaries: notaries}}
	text := []byte(e.Text())
	for _, i := range signers {
		sig, err := x.member(t, current.Validators[i].Name).key.Sign(text)
		fatalIfErr(t, err)
		e.Signatures = append(e.Signatures, anchorproof.Cosignature{Validator: i, Signature: sig})
	}
	for _, i := range current.Newcomers(e.Epoch) {
		m := x.member(t, next[i].Name)
		sig, err := m.key.Sign(text)
		fatalIfErr(t, err)
		e.Joins = append(e.Joins, anchorproof.Join{Validator: i, SM2: sig, Ed25519: ed25519.Sign(m.consensus, text)})
	}
	return e
}

func (x *testNet) member(t testing.TB, name string) *testMember {
	t.Helper()
	for _, m := range x.members {
		if m.name == name {
			return m
		}
	}
	t.Fatalf("no member %s", name)
	return nil
}

func TestHandOverFromOneToFourValidators(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l, late := newTestLog(t, "log.example/a"), newTestLog(t, "log.example/late")
	x := newNet(t, 4, 1, nil, l) // three of them follow the chain first
	first := x.nodes[0]
	old := anchor(ctx, t, first, l.next(t, 3))
	if old.Epoch != 0 || old.Total != 10 {
		t.Fatalf("%+v", old)
	}
	x.ready(ctx, t)
	var next []anchorproof.Validator
	for _, m := range x.members {
		next = append(next, m.validator(10))
	}
	good := x.handOver(t, first, next, x.genesis.Notaries, 0)
	x.refuseTampered(ctx, t, first, good)
	fatalIfErr(t, first.SubmitEpoch(ctx, good))
	for _, n := range x.nodes {
		await(ctx, t, n, "epoch 1 in office", func(s Status) bool { return s.Epoch == 1 && s.Validating })
	}
	var a anchorproof.Anchored
	for range 3 { // the block of the first one may still be the old members'
		a = anchor(ctx, t, first, l.next(t, 2))
	}
	if a.Epoch != 1 || a.Total != 40 || a.Signed < 30 {
		t.Fatalf("%+v", a)
	}
	// One leaves; a power changes; another log enters. Nobody has to prove a key again.
	next = slices.Clone(next[1:])
	next[0].Power = 12
	e2 := x.handOver(t, x.nodes[1], next, append(slices.Clone(x.genesis.Notaries), late.notary()), 0, 2, 3)
	if len(e2.Joins) != 0 {
		t.Fatal("joins without newcomers")
	}
	mustRefuse(t, "a log that enters later", x.nodes[1].Submit(ctx, late.next(t, 1)), ErrUnknownLog)
	fatalIfErr(t, x.nodes[1].SubmitEpoch(ctx, e2))
	for _, n := range x.nodes {
		await(ctx, t, n, "epoch 2", func(s Status) bool { return s.Epoch == 2 })
	}
	late.last, late.leaves = 0, nil
	for range 3 {
		a = anchor(ctx, t, x.nodes[1], late.next(t, 2))
	}
	if a.Epoch != 2 || a.Total != 32 || slices.Contains(a.Validators, "city-0") {
		t.Fatalf("%+v", a)
	}
	if s, err := first.Status(); err != nil || s.Validating {
		t.Errorf("%+v, %v", s, err)
	}
	certified(ctx, t, first, l.submissionAt(t, 3)) // old evidence stays what it was
	checkHistory(t, x.nodes[3])
}

// refuseTampered tries epochs that must not pass.
func (x *testNet) refuseTampered(ctx context.Context, t *testing.T, n *Node, good anchorproof.SignedEpoch) {
	t.Helper()
	for name, spoil := range map[string]func(e *anchorproof.SignedEpoch){
		"no signature":   func(e *anchorproof.SignedEpoch) { e.Signatures = nil },
		"no proof":       func(e *anchorproof.SignedEpoch) { e.Joins = e.Joins[:2] },
		"other previous": func(e *anchorproof.SignedEpoch) { e.Previous[0] ^= 1 },
		"number skipped": func(e *anchorproof.SignedEpoch) { e.Number++ },
		"power raised after signing": func(e *anchorproof.SignedEpoch) {
			e.Validators = slices.Clone(e.Validators)
			e.Validators[3].Power = 1000
		},
		"signed by a newcomer": func(e *anchorproof.SignedEpoch) {
			e.Signatures = []anchorproof.Cosignature{{Validator: 0, Signature: e.Joins[0].SM2}}
		},
		"other chain": func(e *anchorproof.SignedEpoch) { e.Chain = "egov-other" },
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			spoil(&e)
			mustRefuse(t, name, n.SubmitEpoch(ctx, e), ErrEpoch)
		})
	}
	if err := n.SubmitEpoch(ctx, anchorproof.SignedEpoch{}); !errors.Is(err, anchorproof.ErrFormat) {
		t.Error(err)
	}
}
