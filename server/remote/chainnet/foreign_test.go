package chainnet_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"stele/server/remote/chainnet"
)

// Nodes of another chain, by name or by epoch 0 alone, are no way to this one; whoever is away is no
// reason, and one that names another chain beside others that do not is passed over.
func TestNodesOfAnotherChain(t *testing.T) {
	other := strings.Repeat("0", 64)
	foreign := map[string]func(f *fakeNode){
		"another name":    func(f *fakeNode) { f.status.Chain = "egov-other" },
		"another epoch 0": func(f *fakeNode) { f.status.Genesis = other },
	}
	for name, change := range foreign {
		w := newWorld(t)
		for _, f := range w.nodes[1:] {
			f.CloseClientConnections()
			f.Listener.Close() // away
		}
		w.nodes[0].set(change)
		if err := w.target.Check(t.Context()); !errors.Is(err, chainnet.ErrOtherChain) ||
			!strings.Contains(err.Error(), w.Chain.Genesis.Hash().String()) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.target.Run(t.Context()); !errors.Is(err, chainnet.ErrOtherChain) {
			t.Errorf("%s, while it runs: %v", name, err)
		}
	}
	w := newWorld(t)
	for _, f := range w.nodes[:3] {
		f.set(foreign["another epoch 0"])
	}
	w.nodes[3].set(func(f *fakeNode) { f.status.Genesis = w.Chain.Genesis.Hash().String() })
	if err := w.target.Check(t.Context()); err != nil {
		t.Errorf("one node is right: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.target.Run(ctx); err != nil {
		t.Errorf("asked to stop: %v", err)
	}
	w = newWorld(t)
	for _, f := range w.nodes {
		f.Close()
	}
	if err := w.target.Check(t.Context()); err != nil {
		t.Errorf("nobody answers: %v", err)
	}
}
