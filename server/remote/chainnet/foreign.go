package chainnet

import (
	"context"
	"errors"
	"fmt"
)

// ErrOtherChain: every node that has answered is of another chain than the pinned one. Nothing can
// come of it; a person must correct the addresses, or move the log.
var ErrOtherChain = errors.New("the nodes are of another chain")

// Check asks the nodes which chain they are of. It returns [ErrOtherChain], or nil where a node is of
// the pinned one, and where none answers: they may be away.
//
// One node alone that names another chain is passed over as long as another node does not: else a
// single member could stop every server.
func (t *Target) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answers := ask(ctx, t.peers, func(ctx context.Context, p *peer) (Status, error) { return p.Status(ctx) })
	ours := false
	gather(ctx, answers, len(t.peers), func(a answer[Status]) (more bool) {
		if a.err == nil && t.belongs(a.peer, a.value) == nil {
			ours = true
		}
		return !ours
	})
	return t.foreign()
}

// belongs notes whether a node is of the pinned chain, by its own word.
func (t *Target) belongs(p *peer, s Status) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.other = nil
	if s.Chain != t.pinned.Chain || s.Genesis != "" && s.Genesis != t.pinned.Hash().String() {
		p.other = fmt.Errorf("%s is a node of chain %q with epoch 0 %s", p.address, s.Chain, s.Genesis)
		return p.other
	}
	p.ours = true
	return nil
}

// foreign is [ErrOtherChain] where nodes name another chain and none has ever named the pinned one.
func (t *Target) foreign() error {
	var other error
	for _, p := range t.peers {
		p.mu.Lock()
		if p.ours {
			p.mu.Unlock()
			return nil
		}
		if p.other != nil {
			other = p.other
		}
		p.mu.Unlock()
	}
	if other == nil {
		return nil
	}
	return fmt.Errorf("%w: %w; the pinned chain is %q with epoch 0 "+
		"%s", ErrOtherChain, other, t.pinned.Chain, t.pinned.Hash())
}
