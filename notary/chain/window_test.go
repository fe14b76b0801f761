package chain

import (
	"context"
	"fmt"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
)

// A log changes its key while it is in use. These tests stand at the heights around the
// members' decision: whatever the chain takes there has evidence that carries the epoch which
// admits its key, so that a holder of the trust roots from before the change can check it.

// keyChange is a log, its records, and the trust roots from before any change of its key.
type keyChange struct {
	world   *prooftest.World
	trust   *proof.Trust
	last    uint64 // size of the newest checkpoint that the chain took
	changes int
}

func newKeyChange(genesis anchorproof.Epoch, w *prooftest.World) *keyChange {
	x := &keyChange{world: w, trust: w.Trust()}
	x.trust.Chains = []proof.TrustedChain{{Genesis: genesis}}
	return x
}

// pending is a record with the checkpoint that covers it, before the chain has that.
type pending struct {
	document   []byte
	record     *prooftest.Record
	checkpoint prooftest.Checkpoint
	submission Submission
}

// record notarizes a document under the log's present key, or another.
func (x *keyChange) record(key prooftest.Key) pending {
	w := x.world
	w.LogKey = key
	p := pending{document: fmt.Appendf(nil, "document %d", x.last)}
	p.record = w.Issue(p.document)
	p.checkpoint = w.Checkpoint()
	p.submission = Submission{Checkpoint: p.checkpoint.Checkpoint, OldSize: x.last, Proof: w.Consistency(x.last)}
	p.submission.Signature = key.Sign([]byte(p.checkpoint.Text()))
	return p
}

// next is the epoch that admits a fresh key, signed by the only member.
func (x *keyChange) next(
	t testing.TB, current anchorproof.Epoch, member *testMember,
) (anchorproof.SignedEpoch, prooftest.Key) {
	t.Helper()
	x.changes++
	key := prooftest.NewKey(fmt.Sprintf("window/log/%d", x.changes))
	e := anchorproof.SignedEpoch{Epoch: current}
	e.Number, e.Previous = current.Number+1, current.Hash()
	e.Notaries = []anchorproof.Notary{{Origin: x.world.Origin(), Key: key.Public()}}
	sig, err := member.key.Sign([]byte(e.Text()))
	fatalIfErr(t, err)
	e.Signatures = []anchorproof.Cosignature{{Validator: 0, Signature: sig}}
	return e, key
}

// genuine demands that the record's bundle verifies for a holder of the earliest trust roots.
func (x *keyChange) genuine(t testing.TB, what string, p pending, evidence []byte) {
	t.Helper()
	b := x.world.Bundle(p.record, p.checkpoint, evidence)
	d := sm.Sum(p.document)
	if r := proof.Verify(x.trust, &d, b.Encode()); r.Verdict != proof.Genuine {
		t.Errorf("%s: %s: %s", what, r.Verdict, r.Summary)
	}
}

// votingApp is the application of a lone validator between the engine's calls: extensions of
// its votes, certificates made of them, blocks.
type votingApp struct {
	*app
	t    testing.TB
	vote []byte // the extension of the vote on the newest block
}

// block executes and commits the next block and returns the outcome of each transaction.
func (v *votingApp) block(txs ...[]byte) []error {
	v.t.Helper()
	height, now := v.meta.height+1, time.UnixMilli(v.meta.timeMs+1000)
	v.clock = func() time.Time { return now }
	vote := abci.ExtendedVoteInfo{Validator: abci.Validator{Address: v.address}, VoteExtension: v.vote}
	certs, err := v.collect(height, []abci.ExtendedVoteInfo{vote})
	fatalIfErr(v.t, err)
	v.vote, err = v.extend(height, now)
	fatalIfErr(v.t, err)
	if certs == nil {
		return run(v.t, v.app, txs...)
	}
	out := run(v.t, v.app, append([][]byte{certs}, txs...)...)
	fatalIfErr(v.t, out[0])
	return out[1:]
}

// takes reports what the mempool says of a transaction now.
func (v *votingApp) takes(tx []byte) error {
	v.t.Helper()
	r, err := v.CheckTx(context.Background(), &abci.RequestCheckTx{Tx: tx})
	fatalIfErr(v.t, err)
	return codeErrors[r.Code]
}

// evidence is that of a checkpoint that has been committed.
func (v *votingApp) evidence(p pending) (raw []byte) {
	v.t.Helper()
	err := v.store.view(func(get getter) error {
		_, e, err := evidenceOf(get, p.checkpoint.Origin, p.checkpoint.Size)
		if err == nil {
			raw, err = e.Marshal()
		}
		return err
	})
	fatalIfErr(v.t, err)
	return raw
}

func newVotingApp(t testing.TB) (*votingApp, *keyChange, *testMember) {
	t.Helper()
	w, m := prooftest.New(prooftest.Options{Seed: "window"}), newTestMember(t, "city-0")
	a := newTestApp(t, []*testMember{m}, &testLog{origin: w.Origin(), key: w.LogKey.PrivateKey})
	a.meta.timeMs = w.Now.UnixMilli()
	genesis, err := a.epoch(0)
	fatalIfErr(t, err)
	return &votingApp{app: a, t: t}, newKeyChange(genesis, w), m
}

// At every height around the decision, the mempool takes what the block executes, and what is
// executed can be proven to those who pinned the former key.
func TestLogKeyAtEachHeightOfItsChange(t *testing.T) {
	for name, c := range map[string]struct {
		blocks    int // after the block that holds the decision; 0 is that block itself
		former    error
		fresh     error
		certified uint64 // epoch of the evidence
	}{
		"with the decision":        {0, nil, ErrUnknownLog, 0},
		"in the block after it":    {1, ErrUnknownLog, nil, 1},
		"in the block of the term": {2, ErrUnknownLog, nil, 1},
		"later":                    {3, ErrUnknownLog, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			v, x, m := newVotingApp(t)
			former := x.world.LogKey
			current, err := v.epoch(0)
			fatalIfErr(t, err)
			e, fresh := x.next(t, current, m)
			raw, err := e.Marshal()
			fatalIfErr(t, err)
			decision := append([]byte{txEpoch}, raw...)
			if c.blocks > 0 {
				fatalIfErr(t, v.block(decision)[0])
				for range c.blocks - 1 {
					v.block()
				}
			}
			for key, want := range map[prooftest.Key]error{former: c.former, fresh: c.fresh} {
				if p := x.record(key); v.takes(mustEncode(t, p.submission)) != want {
					t.Errorf("the mempool says %v, want %v", v.takes(mustEncode(t, p.submission)), want)
				}
			}
			refused, taken := x.record(fresh), x.record(former)
			if c.fresh == nil {
				refused, taken = x.record(former), x.record(fresh)
			}
			txs := [][]byte{mustEncode(t, refused.submission), mustEncode(t, taken.submission)}
			if c.blocks == 0 {
				txs = append([][]byte{decision}, txs...) // the decision first: it must not count yet
			}
			errs := v.block(txs...)
			errs = errs[len(errs)-2:]
			mustRefuse(t, "a key that is not admitted", errs[0], ErrUnknownLog)
			fatalIfErr(t, errs[1])
			v.block() // its votes carry the cosignatures
			v.block() // the certificate
			evidence := v.evidence(taken)
			if ev, err := anchorproof.ParseEvidence(evidence); err != nil || ev.Header.Epoch != c.certified {
				t.Errorf("certified by epoch %d, want %d: %v", ev.Header.Epoch, c.certified, err)
			}
			x.genuine(t, name, taken, evidence)
		})
	}
}

// A header that waits through a hand-over is certified by the later epoch: its evidence then
// carries more epochs than it needs, and holds.
func TestFormerKeyIsProvenByALaterEpoch(t *testing.T) {
	v, x, m := newVotingApp(t)
	current, err := v.epoch(0)
	fatalIfErr(t, err)
	e, _ := x.next(t, current, m)
	raw, err := e.Marshal()
	fatalIfErr(t, err)
	p := x.record(x.world.LogKey)
	sign := v.cosigner.sign
	v.cosigner.sign = func([]byte) ([]byte, error) { return nil, fmt.Errorf("the key device is away") }
	fatalIfErr(t, v.block(mustEncode(t, p.submission))[0])
	fatalIfErr(t, v.block(append([]byte{txEpoch}, raw...))[0])
	v.block()
	v.cosigner.sign = sign
	v.block()
	v.block()
	evidence := v.evidence(p)
	if ev, err := anchorproof.ParseEvidence(evidence); err != nil || ev.Header.Epoch != 1 {
		t.Fatalf("certified by epoch %d: %v", ev.Header.Epoch, err)
	}
	x.genuine(t, "the former key, certified later", p, evidence)
}

// Votes on the block that opens a header cannot cosign it: its time is not known yet. A
// certificate that claims otherwise would be of the epoch before the one that admits the key.
func TestCertificateComesFromVotesAfterTheHeader(t *testing.T) {
	v, x, m := newVotingApp(t)
	current, err := v.epoch(0)
	fatalIfErr(t, err)
	e, fresh := x.next(t, current, m)
	raw, err := e.Marshal()
	fatalIfErr(t, err)
	fatalIfErr(t, v.block(append([]byte{txEpoch}, raw...))[0])
	p := x.record(fresh)
	fatalIfErr(t, v.block(mustEncode(t, p.submission))[0])
	h := *v.meta.open // its time will be that of the block that run makes next
	h.TimeMs, h.Epoch = v.meta.timeMs+1000, 0
	sig, err := m.key.Sign([]byte(h.Text()))
	fatalIfErr(t, err)
	sigs := []anchorproof.Cosignature{{Validator: 0, Signature: sig}}
	early, err := encodeCertificates(0, []certificate{{h.Index, sigs}})
	fatalIfErr(t, err)
	mustRefuse(t, "a certificate before the votes on the block after", run(t, v.app, early)[0], errProposerOnly)
}

// The same with the engine: the checkpoint is handed in between the block of the decision and
// the next one, for which the engine waits a second. A machine that misses that decides again.
func TestLogKeyInTheBlockAfterTheDecision(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	w := prooftest.New(prooftest.Options{Seed: "window"})
	w.Now = time.Now().UTC().Truncate(time.Millisecond)
	m := newTestMember(t, "city-0")
	c := m.config(testGenesis(t, []*testMember{m}, &testLog{origin: w.Origin(), key: w.LogKey.PrivateKey}))
	c.TimeoutCommit = time.Second
	fatalIfErr(t, Init(c))
	n, x := mustStart(t, c), newKeyChange(c.Genesis, w)
	for {
		s, err := n.Status()
		fatalIfErr(t, err)
		current, err := n.Epoch(s.Epoch)
		fatalIfErr(t, err)
		e, key := x.next(t, current.Epoch, m)
		fatalIfErr(t, n.SubmitEpoch(ctx, e))
		s = await(ctx, t, n, "the decision", func(s Status) bool { return s.Epoch == e.Number })
		p := x.record(key)
		fatalIfErr(t, n.Submit(ctx, p.submission))
		raw, _, err := n.WaitEvidence(ctx, w.Origin(), p.checkpoint.Size)
		fatalIfErr(t, err)
		x.last = p.checkpoint.Size
		x.genuine(t, "a record after the decision", p, raw)
		ev, err := anchorproof.ParseEvidence(raw)
		fatalIfErr(t, err)
		if ev.Header.Height == s.EpochAt-1 {
			return
		}
		t.Logf("committed at %d, the term begins at %d: again", ev.Header.Height, s.EpochAt)
	}
}
