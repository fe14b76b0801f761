package chainnet_test

import (
	"errors"
	"testing"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
	"stele/server/remote/chainnet"
)

// history is the headers of a chain with one hand-over in its middle, each certified by all.
type history struct {
	*world
	headers []anchorproof.Header
	sigs    [][]anchorproof.Cosignature
	epochs  []anchorproof.SignedEpoch
}

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{world: newWorld(t)}
	e, err := anchorproof.ParseEvidence(h.good.Evidence) // header 0
	fatalIfErr(t, err)
	h.headers, h.sigs = append(h.headers, e.Header), append(h.sigs, e.Cosignatures)
	for i := range 8 {
		if i == 4 {
			h.epochs = append(h.epochs, h.Chain.HandOver(h.Chain.Members, h.Chain.Genesis.Notaries))
		}
		next := h.Chain.Header(h.Tick(1e9), checkpoint.Checkpoint{Origin: h.Origin(), Size: uint64(20 + i)})
		h.headers, h.sigs = append(h.headers, next), append(h.sigs, h.Chain.Cosign(next.Text()))
	}
	for _, f := range h.nodes {
		f.set(func(f *fakeNode) { f.epochs, f.history = h.epochs, h.answer(t, 1, 7) })
	}
	return h
}

func (h *history) answer(t *testing.T, older, newer int) chainnet.History {
	t.Helper()
	var leaves []merkle.Hash
	for _, x := range h.headers[:newer] {
		leaves = append(leaves, x.Leaf())
	}
	path, err := merkle.ListInclusion(leaves, uint64(older))
	fatalIfErr(t, err)
	return chainnet.NewHistory(chainview.History{Older: h.headers[older], Newer: h.headers[newer],
		Cosignatures: h.sigs[newer], Path: path})
}

// A path is believed when the newer header is certified by an epoch that the pinned one leads to;
// a node that gives another one is named, and the others' answers count.
func TestHistory(t *testing.T) {
	for name, spoil := range map[string]func(h *history, f *fakeNode){
		"another path":   func(_ *history, f *fakeNode) { f.history.Path[1] = make([]byte, 32) },
		"a shorter path": func(_ *history, f *fakeNode) { f.history.Path = f.history.Path[1:] },
		"other headers":  func(h *history, f *fakeNode) { f.history = h.answer(t, 2, 7) },
		"too few signed": func(_ *history, f *fakeNode) { f.history.Cosignatures = f.history.Cosignatures[:2] },
		"nobody signed":  func(_ *history, f *fakeNode) { f.history.Cosignatures = nil },
		"a forged epoch": func(h *history, f *fakeNode) {
			f.epochs = []anchorproof.SignedEpoch{{Epoch: h.epochs[0].Epoch}}
		},
		"no epoch at all": func(_ *history, f *fakeNode) { f.epochs = nil },
		"a changed header": func(h *history, f *fakeNode) {
			older := h.headers[1]
			older.TimeMs--
			f.history.Older = older.Text()
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			for _, f := range h.nodes[1:] {
				f.set(func(f *fakeNode) { f.pending = true })
			}
			h.nodes[0].set(func(f *fakeNode) { spoil(h, f) })
			if _, err := h.target.History(t.Context(), 1, 7); !errors.Is(err, chainview.ErrPending) || h.lies() != 1 {
				t.Errorf("%v, %d lies", err, h.lies())
			}
			for _, f := range h.nodes[1:] {
				f.set(func(f *fakeNode) { f.pending = false })
			}
			got, err := h.target.History(t.Context(), 1, 7)
			if err != nil || got.Older != h.headers[1] || got.Newer != h.headers[7] {
				t.Fatalf("%+v, %v", got, err)
			}
			fatalIfErr(t, anchorproof.CheckHistory(got.Older, got.Newer, got.Path))
		})
	}
	h := newHistory(t)
	for _, f := range h.nodes {
		f.CloseClientConnections()
		f.Listener.Close()
	}
	if _, err := h.target.History(t.Context(), 1, 7); !errors.Is(err, chainview.ErrUnavailable) {
		t.Error(err)
	}
}

// The list of epochs is the longest that verifies; a node that hides when a term began, or makes
// it up, changes nothing.
func TestTerms(t *testing.T) {
	h := newHistory(t)
	entry := func(i int, sigs []anchorproof.Cosignature) *chainnet.Entry {
		e := chainnet.NewEntry(chainview.Entry{Header: h.headers[i], Cosignatures: sigs})
		return &e
	}
	first := map[int]*chainnet.Entry{ // of epoch 1
		0: entry(7, h.sigs[7]),                                    // not the first
		1: entry(5, h.sigs[5][:2]),                                // nobody's
		2: entry(4, h.sigs[4]),                                    // epoch 0's
		3: {Header: h.headers[5].Text(), Checkpoints: []string{}}, // without signatures
	}
	for i, f := range h.nodes {
		f.set(func(f *fakeNode) { f.first = []*chainnet.Entry{first[i]} })
	}
	terms, err := h.target.Terms(t.Context())
	if err != nil || len(terms) != 1 || h.lies() != 3 || terms[0].First.Header.Index != 7 {
		t.Fatalf("%+v, %v, %d lies", terms, err, h.lies())
	}
	h = newHistory(t)
	for i, f := range h.nodes {
		f.set(func(f *fakeNode) {
			switch i {
			case 0:
				f.first = []*chainnet.Entry{entry(7, h.sigs[7])}
			case 1:
				f.first = []*chainnet.Entry{entry(5, h.sigs[5])}
			case 2: // a node of before
			case 3:
				f.epochs = nil // one that lags
			}
		})
	}
	terms, err = h.target.Terms(t.Context())
	if err != nil || len(terms) != 1 || h.lies() != 0 || !terms[0].Since().Equal(h.headers[5].Time()) {
		t.Errorf("%+v, %v, %d lies", terms, err, h.lies())
	}
}
