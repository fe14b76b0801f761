package chainnet

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
)

// View is what the explorer shows, from the first node that answers with what verifies. The
// nodes that are furthest are asked first.
func (t *Target) View(ctx context.Context) (chainview.View, error) {
	peers := slices.SortedStableFunc(slices.Values(t.askable()), func(a, b *peer) int {
		return int(min(b.seen().Height, 1<<31)) - int(min(a.seen().Height, 1<<31))
	})
	var errs []error
	for _, p := range peers {
		src, err := p.snapshot(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.address, err))
			continue
		}
		src.At, src.Nodes = t.now(), t.Nodes()
		v, err := chainview.Build(t.pinned, src)
		if err == nil {
			return v, nil
		}
		t.accuse(ctx, p, err)
	}
	return chainview.View{Nodes: t.Nodes()}, fmt.Errorf("%w: %v", chainview.ErrUnavailable, errors.Join(errs...))
}

// Epoch is the newest epoch that a node shows and that follows from the pinned one.
func (t *Target) Epoch(ctx context.Context) (anchorproof.Epoch, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := t.askable()
	newest, came := t.pinned, false
	var errs []error
	gather(ctx, ask(ctx, peers, func(ctx context.Context, p *peer) ([]anchorproof.SignedEpoch, error) {
		return p.Epochs(ctx, 1)
	}), len(peers), func(a answer[[]anchorproof.SignedEpoch]) (more bool) {
		last, err := t.pinned, a.err
		for i := 0; err == nil && i < len(a.value); i++ {
			if err = last.CheckNext(a.value[i]); err == nil {
				last = a.value[i].Epoch
			} else {
				t.accuse(ctx, a.peer, err)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.peer.address, err))
			return true
		}
		if came = true; last.Number > newest.Number {
			newest = last
		}
		return true
	})
	if !came {
		return newest, fmt.Errorf("%w: no node answers: %v", anchor.ErrUnavailable, errors.Join(errs...))
	}
	return newest, nil
}

// snapshot asks one node for everything that a view needs.
func (p *peer) snapshot(ctx context.Context) (src chainview.Source, err error) {
	s, err := p.Status(ctx)
	if err != nil {
		return src, err
	}
	src.Height, src.Headers, src.Pending = s.Height, s.Headers, s.Pending
	if src.Epochs, err = p.Epochs(ctx, 1); err != nil {
		return src, err
	}
	src.Entries, err = p.Entries(ctx, max(s.Headers, chainview.MaxAnchors)-chainview.MaxAnchors)
	return src, err
}

// seen is what the explorer says of a node.
func (p *peer) seen() chainview.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return chainview.Node{Address: p.address, Name: p.status.Name, Reachable: p.up, Since: p.since,
		Height: p.status.Height, Behind: p.status.Behind, Lied: p.lied}
}

// Members are the validators of the newest epoch that a node told of.
func (t *Target) Members() (out []chainview.Validator) {
	var newest Status
	for _, p := range t.peers {
		if s := p.last(); s.Epoch >= newest.Epoch && len(s.Members) > 0 {
			newest = s
		}
	}
	for _, m := range newest.Members {
		out = append(out, chainview.Validator{Name: m.Name, Power: m.Power})
	}
	return out
}

// Nodes are the nodes as they were seen last, in the order of the configuration.
func (t *Target) Nodes() []chainview.Node {
	out := make([]chainview.Node, len(t.peers))
	heights := make([]uint64, len(t.peers))
	for i, p := range t.peers {
		out[i] = p.seen()
		heights[i] = out[i].Height
	}
	slices.Sort(heights)
	most := heights[max(len(heights)-t.minAgreeing(), 0)] // that many say they are so far: one alone may boast
	for i := range out {
		out[i].Behind = max(out[i].Behind, max(most, out[i].Height)-out[i].Height)
	}
	return out
}
