package egov

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

const origin = "log.example/a"

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustKey(t testing.TB) *sm.PrivateKey {
	t.Helper()
	k, err := sm.GenerateKey()
	fatalIfErr(t, err)
	return k
}

// fixture is a log and a chain of one validator that admits it.
type fixture struct {
	*Target
	node   *chain.Node
	log    *sm.PrivateKey
	leaves []merkle.Hash
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	_, consensus, err := ed25519.GenerateKey(nil)
	fatalIfErr(t, err)
	_, nodeKey, err := ed25519.GenerateKey(nil)
	fatalIfErr(t, err)
	cosigner, log := mustKey(t), mustKey(t)
	c := chain.Config{Home: filepath.Join(t.TempDir(), "chain"), ConsensusKey: consensus, NodeKey: nodeKey,
		Cosign: cosigner.Sign, CosignKey: cosigner.Public(),
		Genesis: anchorproof.Epoch{Chain: "egov-test",
			Validators: []anchorproof.Validator{{Name: "city-0", Power: 1, Key: cosigner.Public(),
				ConsensusKey: [32]byte(consensus.Public().(ed25519.PublicKey))}},
			Notaries: []anchorproof.Notary{{Origin: origin, Key: log.Public()}}}}
	fatalIfErr(t, chain.Init(c))
	n, err := chain.Start(context.Background(), c)
	fatalIfErr(t, err)
	return &fixture{Target: New(n), node: n, log: log}
}

// submission grows the log and makes a checkpoint signed by a key.
func (f *fixture) submission(t testing.TB, key *sm.PrivateKey, grow int, what string) anchor.Submission {
	t.Helper()
	old := uint64(len(f.leaves))
	for i := range grow {
		f.leaves = append(f.leaves, merkle.LeafHash(fmt.Appendf(nil, "%s %d", what, i)))
	}
	s := anchor.Submission{OldSize: old, Checkpoint: checkpoint.Checkpoint{Origin: origin, Size: uint64(len(f.leaves)),
		Root: merkle.ListRoot(f.leaves)}}
	var err error
	s.Proof, err = merkle.ConsistencyProof(old, s.Checkpoint.Size, merkle.ListReader(f.leaves))
	fatalIfErr(t, err)
	s.Signature, err = key.Sign([]byte(s.Checkpoint.Text()))
	fatalIfErr(t, err)
	return s
}

func (f *fixture) evidence(ctx context.Context, t testing.TB, c checkpoint.Checkpoint) []byte {
	t.Helper()
	for {
		changed := f.Changed()
		raw, err := f.Evidence(ctx, c)
		if !errors.Is(err, anchor.ErrPending) {
			fatalIfErr(t, err)
			return raw
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

func TestTarget(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	f := newFixture(t)
	if f.Kind() != "stele/egov/v1" {
		t.Error(f.Kind())
	}
	if size, root, err := f.Head(ctx, origin); err != nil || size != 0 || root != merkle.EmptyRoot() {
		t.Fatal(size, root, err)
	}
	s := f.submission(t, f.log, 3, "leaf")
	if _, err := f.Evidence(ctx, s.Checkpoint); !errors.Is(err, anchor.ErrPending) {
		t.Fatal(err)
	}
	fatalIfErr(t, f.Submit(ctx, s))
	fatalIfErr(t, f.Submit(ctx, s)) // while it is under way
	raw := f.evidence(ctx, t, s.Checkpoint)
	a, err := anchorproof.Verify(f.node.Genesis(), s.Checkpoint, raw)
	if err != nil || a.Chain != "egov-test" {
		t.Fatal(a, err)
	}
	if size, root, err := f.Head(ctx, origin); err != nil || size != 3 || root != s.Checkpoint.Root {
		t.Fatal(size, root, err)
	}
	// Submitting is idempotent, also with another signature over the same checkpoint.
	s.Signature, err = f.log.Sign([]byte(s.Checkpoint.Text()))
	fatalIfErr(t, err)
	fatalIfErr(t, f.Submit(ctx, s))
	if again := f.evidence(ctx, t, s.Checkpoint); string(again) != string(raw) {
		t.Error("evidence has changed")
	}

	other := s.Checkpoint
	other.Root[0] ^= 1
	if _, err := f.Evidence(ctx, other); !errors.Is(err, anchor.ErrFork) {
		t.Error("other root:", err)
	}
	saved := f.leaves
	for name, c := range map[string]struct {
		make func() anchor.Submission
		want error
	}{
		"stale": {func() anchor.Submission { s := f.submission(t, f.log, 2, "leaf"); s.OldSize--; return s },
			anchor.ErrStale},
		"unknown key": {func() anchor.Submission { return f.submission(t, mustKey(t), 2, "leaf") }, anchor.ErrRefused},
		"malformed": {func() anchor.Submission {
			s := f.submission(t, f.log, 2, "leaf")
			s.Checkpoint.Origin += "\n"
			return s
		}, anchor.ErrRefused},
		"fork": {func() anchor.Submission {
			f.leaves = []merkle.Hash{merkle.LeafHash([]byte("forged")), saved[1], saved[2]}
			return f.submission(t, f.log, 2, "leaf")
		}, anchor.ErrFork},
	} {
		t.Run(name, func(t *testing.T) {
			f.leaves = saved[:3:3]
			if err := f.Submit(ctx, c.make()); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		})
	}
	canceled, stop := context.WithCancel(ctx)
	stop()
	f.leaves = saved[:3:3]
	if err := f.Submit(canceled, f.submission(t, f.log, 1, "leaf")); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	fatalIfErr(t, f.node.Close())
	if err := f.Submit(ctx, s); !errors.Is(err, anchor.ErrUnavailable) {
		t.Error("submit:", err)
	}
	if _, err := f.Evidence(ctx, s.Checkpoint); !errors.Is(err, anchor.ErrUnavailable) {
		t.Error("evidence:", err)
	}
	if _, _, err := f.Head(ctx, origin); !errors.Is(err, anchor.ErrUnavailable) {
		t.Error("head:", err)
	}
}
