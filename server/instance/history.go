package instance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"stele/crypto/merkle"
	"stele/notary/chain"
	"stele/notary/issue/archive"
	"stele/notary/proof/chainview"
	"stele/server/http/api"
)

// chainReader is where the epochs of this instance's chain and paths between its headers come
// from; nil where another server anchors.
func (in *Instance) chainReader() api.ChainReader {
	switch {
	case in.network != nil:
		return &sharedTerms{ChainReader: in.network, now: time.Now}
	case in.chain != nil:
		return &sharedTerms{ChainReader: embeddedChain{in}, now: time.Now}
	}
	return nil
}

// histories makes bundles that join two checkpoints, with paths between headers of this chain.
func (in *Instance) histories(reader api.ChainReader) *archive.Histories {
	if reader == nil {
		return archive.NewHistories(in.Archive, in.DB.Log, nil)
	}
	return archive.NewHistories(in.Archive, in.DB.Log, headerPaths{reader, in.id.Chain})
}

// headerPaths are the paths between headers of one chain.
type headerPaths struct {
	reader api.ChainReader
	chain  string
}

// HeaderPath implements [archive.HeaderPaths].
func (p headerPaths) HeaderPath(ctx context.Context, chain string, older, newer uint64) ([]merkle.Hash, error) {
	if chain != p.chain {
		return nil, fmt.Errorf("%w: this server talks with the chain %s alone", chainview.ErrUnavailable, p.chain)
	}
	h, err := p.reader.History(ctx, older, newer)
	return h.Path, err
}

// termsAge is how old the list of epochs may be: members change a few times a year.
const termsAge = 10 * time.Second

// sharedTerms shares a list of epochs for a moment, as chainViews does views: the list is checked
// as a whole each time. It is safe for concurrent use.
type sharedTerms struct {
	api.ChainReader
	now func() time.Time

	mu    sync.Mutex
	at    time.Time        // guarded by mu
	terms []chainview.Term // guarded by mu
}

// Terms implements [api.ChainReader]. What could not be had is asked for again at once.
func (s *sharedTerms) Terms(ctx context.Context) ([]chainview.Term, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); s.at.IsZero() || now.Sub(s.at) > termsAge || now.Before(s.at) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), viewTime)
		defer cancel()
		terms, err := s.ChainReader.Terms(ctx)
		if err != nil {
			return nil, err
		}
		s.terms, s.at = terms, s.now()
	}
	return s.terms, nil
}

// embeddedChain reads the chain in this process.
type embeddedChain struct{ in *Instance }

func (e embeddedChain) node() (*chain.Node, error) {
	n, err := e.in.chain.current()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", chainview.ErrUnavailable, err)
	}
	return n, nil
}

// Terms implements [api.ChainReader].
func (e embeddedChain) Terms(context.Context) (out []chainview.Term, err error) {
	n, err := e.node()
	if err != nil {
		return nil, err
	}
	for number := uint64(1); ; number++ {
		var t chainview.Term
		t.Signed, err = n.Epoch(number)
		if errors.Is(err, chain.ErrPending) {
			return out, chainview.CheckTerms(n.Genesis(), out)
		}
		if err != nil {
			return nil, unavailable(err)
		}
		h, sigs, err := n.First(number)
		switch {
		case err == nil:
			t.First = &chainview.Certified{Header: h, Cosignatures: sigs}
		case !errors.Is(err, chain.ErrPending):
			return nil, unavailable(err)
		}
		out = append(out, t)
	}
}

// History implements [api.ChainReader].
func (e embeddedChain) History(_ context.Context, from, to uint64) (chainview.History, error) {
	n, err := e.node()
	if err != nil {
		return chainview.History{}, err
	}
	h, err := n.History(from, to)
	switch {
	case errors.Is(err, chain.ErrPending):
		return chainview.History{}, fmt.Errorf("%w: %w", chainview.ErrPending, err)
	case err != nil:
		return chainview.History{}, unavailable(err)
	}
	epoch, err := n.Epoch(h.Newer.Epoch)
	if err != nil {
		return chainview.History{}, unavailable(err)
	}
	return chainview.History(h), chainview.History(h).Check(epoch.Epoch)
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", chainview.ErrUnavailable, err) }
