package chainnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
)

// Terms are the epochs after the pinned one, from the first node that gives what verifies and is
// not behind another that answers.
func (t *Target) Terms(ctx context.Context) ([]chainview.Term, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := t.askable()
	answers := ask(ctx, peers, func(ctx context.Context, p *peer) ([]chainview.Term, error) { return p.Terms(ctx, 1) })
	var best []chainview.Term
	var errs []error
	came := false
	gather(ctx, answers, len(peers), func(a answer[[]chainview.Term]) (more bool) {
		if a.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.peer.address, a.err))
			return true
		}
		if err := chainview.CheckTerms(t.pinned, a.value); err != nil {
			t.accuse(ctx, a.peer, err)
			return true
		}
		if came = true; len(a.value) >= len(best) {
			best = earlier(best, a.value)
		}
		return true
	})
	if !came {
		return nil, fmt.Errorf("%w: %w", chainview.ErrUnavailable, errors.Join(errs...))
	}
	return best, nil
}

// earlier is the longer list b, with the first headers of a where those are earlier: a node that
// keeps quiet about a header cannot make a term begin later.
func earlier(a, b []chainview.Term) []chainview.Term {
	for i := range a {
		if f := a[i].First; f != nil && (b[i].First == nil || f.Header.Index < b[i].First.Header.Index) {
			b[i].First = f
		}
	}
	return b
}

// errUnproven is wrapped by what a node said and did not prove.
var errUnproven = errors.New("it does not verify")

// History is the path from one header to a later one: the first that verifies, with the newer
// header's certificate, by an epoch that the pinned one leads to.
func (t *Target) History(ctx context.Context, from, to uint64) (chainview.History, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := t.askable()
	answers := ask(ctx, peers, func(ctx context.Context, p *peer) (chainview.History, error) {
		return t.provenHistory(ctx, p, from, to)
	})
	var found chainview.History
	var errs []error
	ok := false
	gather(ctx, answers, len(peers), func(a answer[chainview.History]) (more bool) {
		if a.err == nil {
			found, ok = a.value, true
			return false
		}
		if errors.Is(a.err, errUnproven) {
			t.accuse(ctx, a.peer, a.err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", a.peer.address, a.err))
		return true
	})
	all := errors.Join(errs...)
	switch {
	case ok:
		return found, nil
	case ctx.Err() != nil:
		return found, ctx.Err()
	case errors.Is(all, anchor.ErrPending):
		return found, fmt.Errorf("%w: %v", chainview.ErrPending, all)
	}
	return found, fmt.Errorf("%w: %v", chainview.ErrUnavailable, all)
}

// provenHistory asks one node and believes nothing but what verifies.
func (t *Target) provenHistory(ctx context.Context, p *peer, from, to uint64) (h chainview.History, err error) {
	if h, err = p.History(ctx, from, to); err != nil {
		return h, err
	}
	if h.Older.Index != from || h.Newer.Index != to {
		return h, fmt.Errorf("%w: headers %d and %d for %d and %d", errUnproven, h.Older.Index, h.Newer.Index, from, to)
	}
	epoch, err := t.epoch(ctx, p, h.Newer.Epoch)
	if err != nil {
		return h, err
	}
	if err := h.Check(epoch); err != nil {
		return h, fmt.Errorf("%w: %w", errUnproven, err)
	}
	return h, nil
}

// followed are the epochs that the pinned one is known to lead to, beginning with it. Whichever
// node showed them, they follow: they are not asked for again.
type followed struct {
	mu     sync.Mutex
	epochs []anchorproof.Epoch // guarded by mu
}

// epoch is the epoch with a number; what is not known yet is asked of the node.
func (t *Target) epoch(ctx context.Context, p *peer, number uint64) (anchorproof.Epoch, error) {
	known := t.followed.known(t.pinned)
	if number >= uint64(len(known)) {
		more, err := p.Epochs(ctx, uint64(len(known)))
		if err != nil {
			return anchorproof.Epoch{}, err
		}
		for _, next := range more {
			last := known[len(known)-1]
			if err := last.CheckNext(next); err != nil {
				return anchorproof.Epoch{}, fmt.Errorf("%w: %w", errUnproven, err)
			}
			known = append(known, next.Epoch)
		}
		t.followed.learn(known)
	}
	if number >= uint64(len(known)) {
		return anchorproof.Epoch{}, fmt.Errorf("%w: a header of epoch %d, which it does not show", errUnproven, number)
	}
	return known[number], nil
}

func (f *followed) known(pinned anchorproof.Epoch) []anchorproof.Epoch {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epochs == nil {
		f.epochs = []anchorproof.Epoch{pinned}
	}
	return slices.Clone(f.epochs)
}

func (f *followed) learn(epochs []anchorproof.Epoch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(epochs) > len(f.epochs) {
		f.epochs = epochs
	}
}
