package proof_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/prooftest"
)

func codesOf(r *proof.HistoryReport) (out []string) {
	for _, f := range r.Findings {
		out = append(out, f.Code)
	}
	return out
}

// wantHistory compares both ways round: which file comes first must not matter.
func wantHistory(t *testing.T, trust *proof.Trust, a, b *proof.Bundle, want proof.HistoryResult,
	codes ...string) *proof.HistoryReport {
	t.Helper()
	r := proof.CompareHistories(trust, a.Encode(), b.Encode())
	back := proof.CompareHistories(trust, b.Encode(), a.Encode())
	for _, r := range []*proof.HistoryReport{r, back} {
		if r.Result != want || !slices.Equal(codesOf(r), codes) {
			t.Errorf("%s %v, want %s %v: %s", r.Result, codesOf(r), want, codes, r.Summary)
		}
	}
	var again proof.HistoryReport
	err := json.Unmarshal(r.JSON(), &again)
	if err != nil || again.Format != proof.HistoryFormat || len(again.Bundles) != 2 {
		t.Errorf("%v %s", err, r.JSON())
	}
	return r
}

// growth is a log that was anchored at several sizes, with a bundle of the newest record of each.
type growth struct {
	*prooftest.World
	checkpoints []prooftest.Checkpoint
	evidence    []anchorproof.Evidence
	bundles     []*proof.Bundle
}

// grow makes a log that is anchored at each of the sizes; its newest record is that of the bundle.
func grow(w *prooftest.World, size uint64, sizes ...uint64) *growth {
	g := &growth{World: w}
	for _, n := range sizes {
		w.Fill(int(n - size - 1))
		r := w.Issue(fmt.Appendf(nil, "document %d", n))
		c := w.Checkpoint()
		e := w.AnchorEvidence(c)
		g.checkpoints, g.evidence = append(g.checkpoints, c), append(g.evidence, e)
		g.bundles = append(g.bundles, w.Bundle(r, c, prooftest.Encode(e)))
		size = n
	}
	return g
}

// with gives bundle i the consistency proof to checkpoint j; the log is as large as the larger.
func (g *growth) with(i, j int) *proof.Bundle {
	b := prooftest.Clone(g.bundles[i])
	older, newer := g.evidence[min(i, j)], g.evidence[max(i, j)]
	b.Consistency = &proof.Consistency{Checkpoint: g.checkpoints[j].Note,
		Anchors: []json.RawMessage{prooftest.Encode(g.evidence[j])},
		Headers: []proof.HeaderPath{{Chain: older.Header.Chain, Path: g.Chain.HistoryPath(older.Header, newer.Header)}}}
	return b
}

func TestOneHistory(t *testing.T) {
	for _, sizes := range [][2]uint64{{1, 2}, {2, 3}, {255, 256}, {255, 257}, {256, 257}, {256, 300}, {257, 300},
		{7, 300}} {
		g := grow(prooftest.New(prooftest.Options{Validators: 4}), 0, sizes[0], sizes[1])
		trust, a, b := g.Trust(), g.bundles[0], g.bundles[1]
		wantHistory(t, trust, a, a, proof.OneHistory, proof.FoundSame, proof.FoundBlocks)
		r := wantHistory(t, trust, a, b, proof.NotShown, proof.FoundNoPath, proof.FoundNoBlocks)
		if !strings.Contains(r.Summary, "/bundle?with="+r.Bundles[1].Number) {
			t.Error(r.Summary)
		}
		for _, ij := range [][2]int{{0, 1}, {1, 0}} {
			joined := g.with(ij[0], ij[1])
			joined.Consistency.Path = g.Consistency(sizes[0])
			wantHistory(t, trust, joined, g.bundles[ij[1]], proof.OneHistory, proof.FoundGrew, proof.FoundBlocks)
			joined.Consistency.Headers = nil
			wantHistory(t, trust, joined, g.bundles[ij[1]], proof.OneHistory, proof.FoundGrew, proof.FoundNoBlocks)
			if len(joined.Consistency.Path) > 0 {
				joined.Consistency.Path[0][0] ^= 1
				wantHistory(t, trust, joined, g.bundles[ij[1]], proof.HistoryInvalid, proof.FoundBadBundle)
			}
		}
	}
}

// Both lead to one third checkpoint: a later one joins them, an earlier one does not.
func TestThirdCheckpoint(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	g := grow(w, 0, 3, 9)
	past := g.with(1, 0) // from 9 back to 3
	past.Consistency.Path = g.Consistency(3)
	g.Fill(1)
	more := grow(w, 10, 20)
	g.bundles, g.checkpoints = append(g.bundles, more.bundles...), append(g.checkpoints, more.checkpoints...)
	g.evidence = append(g.evidence, more.evidence...)
	later := make([]*proof.Bundle, 2)
	for i := range later {
		later[i] = g.with(i, 2)
		later[i].Consistency.Path = g.Consistency(g.checkpoints[i].Size)
	}
	wantHistory(t, w.Trust(), later[0], later[1], proof.OneHistory, proof.FoundGrew, proof.FoundBlocks)

	back := g.with(2, 0) // from 20 back to 3
	back.Consistency.Path = g.Consistency(3)
	wantHistory(t, w.Trust(), past, back, proof.NotShown, proof.FoundCommonPast, proof.FoundNoBlocks)
	wantHistory(t, w.Trust(), past, later[0], proof.OneHistory, proof.FoundGrew, proof.FoundBlocks)
}

// A log that shows two histories, with its own key: the worlds are the same but for what came in.
func TestFork(t *testing.T) {
	for _, size := range []uint64{2, 255, 256, 257} {
		one, two := prooftest.New(prooftest.Options{}), prooftest.New(prooftest.Options{})
		pending := func(w *prooftest.World, document string, after uint64) *proof.Bundle {
			w.Fill(int(size - 2))
			r := w.Issue([]byte("kept"))
			w.Issue([]byte(document))
			w.Fill(int(after - size))
			return w.Bundle(r, w.Checkpoint())
		}
		a, b := pending(one, "A", size), pending(two, "B", size)
		r := wantHistory(t, one.Trust(), a, b, proof.Contradiction, proof.FoundTwoRoots)
		if !strings.Contains(r.Summary, "two histories") ||
			!strings.Contains(r.Summary, "against whoever holds the log's key") {
			t.Error(r.Summary)
		}
		b.Signature[10] ^= 1 // what is spoilt besides does not hide it
		if r := proof.CompareHistories(one.Trust(), a.Encode(), b.Encode()); r.Result != proof.Contradiction {
			t.Error(r.Result, r.Summary)
		}
		b.Signature[10] ^= 1
		// A signature that is not the log's is no contradiction, whatever it is under.
		b.Log.Checkpoint = prooftest.SignNote(two.Checkpoint().Checkpoint, two.Origin(), prooftest.NewKey("stranger"))
		wantHistory(t, one.Trust(), a, b, proof.NotShown, proof.FoundUncheckedLog)
	}
}

// Sizes differ and there is no path: the two inclusion paths alone give the fork away.
func TestForkOfDifferentSizes(t *testing.T) {
	make2 := func() (one, two *prooftest.World) {
		one, two = prooftest.New(prooftest.Options{Entries: 5}), prooftest.New(prooftest.Options{Entries: 5})
		for range 5 {
			two.Number() // numbers are not what these differ in
		}
		return one, two
	}
	one, two := make2()
	a, b := one.Issue([]byte("A")), two.Issue([]byte("B")) // both at index 5
	two.Fill(300)
	wantHistory(t, one.Trust(), one.Bundle(a, one.Checkpoint()), two.Bundle(b, two.Checkpoint()), proof.Contradiction,
		proof.FoundTwoLeaves)

	one, two = make2()
	one.Issue([]byte("A")) // index 5
	two.Issue([]byte("B"))
	one.Fill(1)
	two.Fill(1)
	a = one.Issue([]byte("one")) // index 7
	two.Fill(300)
	one.Fill(1)
	b = two.Issue([]byte("two")) // index 307
	two.Fill(700)
	// The stretch 0 to 7 is complete in both and differs; a stands in it and b's path ends beside it.
	first := one.Bundle(a, one.Checkpoint())
	second := two.Bundle(b, two.Checkpoint())
	wantHistory(t, one.Trust(), first, second, proof.NotShown, proof.FoundNoPath, proof.FoundNotAnchored,
		proof.FoundNotAnchored)
	b = two.Issue([]byte("three"))
	one.Fill(2000)
	wantHistory(t, one.Trust(), one.Bundle(a, one.Checkpoint()), two.Bundle(b, two.Checkpoint()), proof.Contradiction,
		proof.FoundTwoSubtrees)
}

// An honest log never contradicts itself, whichever records are compared at whichever sizes.
func TestHonestLogs(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	var records []*prooftest.Record
	var checkpoints []prooftest.Checkpoint
	for i := range 18 {
		records = append(records, w.Issue(fmt.Appendf(nil, "%d", i)))
		if i > 14 {
			w.Fill(250)
		}
		checkpoints = append(checkpoints, w.Checkpoint())
	}
	var bundles []*proof.Bundle
	for i, r := range records {
		for _, c := range checkpoints[i:] {
			bundles = append(bundles, w.Bundle(r, c))
		}
	}
	for i, a := range bundles {
		for _, b := range bundles[i : i+min(len(bundles)-i, 12)] {
			r := proof.CompareHistories(w.Trust(), a.Encode(), b.Encode())
			if r.Result != proof.OneHistory && r.Result != proof.NotShown {
				t.Fatal(r.Result, r.Summary)
			}
		}
	}
}

func TestOneNumberTwice(t *testing.T) {
	w := prooftest.New(prooftest.Options{})
	s, fields := w.Draft([]byte("one"))
	a := w.Enter(s, fields)
	other, more := w.Draft([]byte("two"))
	other.Number = s.Number
	b := w.Enter(other, more)
	c := w.Checkpoint()
	anchor := w.Anchor(c)
	r := wantHistory(t, w.Trust(), w.Bundle(a, c, anchor), w.Bundle(b, c, anchor), proof.Contradiction,
		proof.FoundTwoStatements)
	if !strings.Contains(r.Summary, s.Number) {
		t.Error(r.Summary)
	}
	w.Fill(9)
	later := w.Checkpoint()
	wantHistory(t, w.Trust(), w.Bundle(a, c, anchor), w.Bundle(b, later), proof.Contradiction, proof.FoundTwoStatements)
	// The same record in two bundles, under two checkpoints, is one record.
	wantHistory(t, w.Trust(), w.Bundle(a, c, anchor), w.Bundle(a, later), proof.NotShown, proof.FoundNoPath,
		proof.FoundNotAnchored)
	// So is a record and what the bundle of its predecessor says of it.
	old := w.Issue([]byte("old"))
	by := w.Supersede(old, []byte("new"), "")
	c = w.Checkpoint()
	anchor = w.Anchor(c)
	replaced := w.Bundle(old, c, anchor)
	e := w.Evidence(by, c, anchor)
	replaced.Standing = &e
	wantHistory(t, w.Trust(), replaced, w.Bundle(by, c, anchor), proof.OneHistory, proof.FoundSame, proof.FoundBlocks)
}

// The chain contradicts itself: two headers of one index, or headers out of order.
func TestHeadersContradict(t *testing.T) {
	one, two := prooftest.New(prooftest.Options{Validators: 4}), prooftest.New(prooftest.Options{Validators: 4})
	r := one.Issue([]byte("A"))
	two.Issue([]byte("A"))
	c := one.Checkpoint()
	a := one.Bundle(r, c, one.Anchor(c))
	two.Tick(time.Minute)
	wantHistory(t, one.Trust(), a, two.Bundle(r, c, two.Anchor(c)), proof.Contradiction, proof.FoundTwoHeaders)

	two = prooftest.New(prooftest.Options{Validators: 4})
	two.Issue([]byte("A"))
	two.Chain.Header(two.Now)
	two.Tick(-time.Second)
	wantHistory(t, one.Trust(), a, two.Bundle(r, c, two.Anchor(c)), proof.Contradiction, proof.FoundHeaderOrder)
}

func TestHistoryOfWhatDoesNotHold(t *testing.T) {
	g := grow(prooftest.New(prooftest.Options{}), 0, 5, 9)
	other := grow(prooftest.New(prooftest.Options{Seed: "other"}), 0, 5)
	trust := g.Trust()
	for _, bad := range [][]byte{nil, []byte("{}"), other.Trust().Encode()} {
		r := proof.CompareHistories(trust, g.bundles[0].Encode(), bad)
		if r.Result != proof.HistoryInvalid || r.Bundles[1].Number != "" || r.Bundles[1].Log != nil {
			t.Errorf("%+v", r)
		}
	}
	b := prooftest.Clone(g.bundles[1])
	b.Log.Path[0][3] ^= 1
	wantHistory(t, trust, g.bundles[0], b, proof.HistoryInvalid, proof.FoundBadBundle)
	wantHistory(t, trust, g.bundles[0], other.bundles[0], proof.NotShown, proof.FoundUncheckedLog)
	wantHistory(t, nil, g.bundles[0], g.bundles[0], proof.NotShown, proof.FoundUncheckedLog, proof.FoundUncheckedLog)
	trust.Logs = append(trust.Logs, other.Trust().Logs...)
	wantHistory(t, trust, g.bundles[0], other.bundles[0], proof.NotShown, proof.FoundOtherLog)
}

// Nobody who lacks the keys makes a contradiction, or one history where there is none.
func TestDamageDecidesNothing(t *testing.T) {
	g := grow(prooftest.New(prooftest.Options{Seed: "damage"}), 0, 5, 9)
	joined := g.with(0, 1)
	joined.Consistency.Path = g.Consistency(5)
	two := prooftest.New(prooftest.Options{Seed: "damage"})
	two.Issue([]byte("another"))
	apart := two.Bundle(two.Issue([]byte("document 5")), two.Checkpoint())
	for _, c := range []struct {
		whole, other *proof.Bundle
		never        proof.HistoryResult
	}{{joined, g.bundles[1], proof.Contradiction}, {apart, g.bundles[1], proof.OneHistory}} {
		whole, other := c.whole.Encode(), c.other.Encode()
		for at := 3; at < len(whole); at += 11 {
			bad := slices.Clone(whole)
			bad[at] ^= 1
			if r := proof.CompareHistories(g.Trust(), bad, other); r.Result == c.never {
				t.Fatalf("byte %d: %s %s", at, r.Result, r.Summary)
			}
		}
	}
}

// A status that is of another history than the bundle's own checkpoint contradicts it, though both hold.
func TestStatusOfAnotherHistory(t *testing.T) {
	w, fork := prooftest.New(prooftest.Options{}), prooftest.New(prooftest.Options{})
	w.Fill(4)
	r := w.Issue([]byte("a document"))
	fork.Issue([]byte("what the others are not shown"))
	fork.Fill(3)
	fork.EnterSigned(r) // at the same place
	c := w.Checkpoint()
	own := w.Bundle(r, c, w.Anchor(c))
	state := func(in *prooftest.World) *proof.Bundle {
		said := in.EnterStatus()
		under := in.Checkpoint()
		b := prooftest.Clone(own)
		b.Status = in.StatusProof(said, r, under, in.Anchor(under))
		return b
	}
	honest, forked := state(w), state(fork)
	wantHistory(t, w.Trust(), honest, honest, proof.OneHistory, proof.FoundSame, proof.FoundBlocks)
	found := proof.CompareHistories(w.Trust(), own.Encode(), forked.Encode())
	if found.Result != proof.Contradiction || found.Findings[0].Code != proof.FoundTwoSubtrees {
		t.Errorf("%s: %s", found.Result, found.Summary)
	}
	found = proof.CompareHistories(w.Trust(), honest.Encode(), forked.Encode())
	if found.Result != proof.Contradiction || found.Findings[0].Code != proof.FoundTwoRoots {
		t.Errorf("two statuses for one size: %s: %s", found.Result, found.Summary)
	}
}
