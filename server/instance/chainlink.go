package instance

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/chain"
	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// Files of the keys of an embedded chain that is to come; a move puts them into their places.
var nextChainKeys = []struct{ next, place string }{
	{"chain-cosign-next.key", fileCosignKey},
	{"chain-consensus-next.key", fileConsensusKey},
	{"chain-node-next.key", fileNodeKey},
}

// LinkRequest says where the log is to go.
type LinkRequest struct {
	// Genesis is epoch 0 of a network; nil founds a chain of one validator in this instance.
	Genesis   *anchorproof.Epoch
	ChainID   string // of the chain to be founded
	Validator string // this server's name in it
	// Lost says that the present chain cannot be asked any more: what the database has of it counts.
	Lost bool
}

// present is what is known of the chain that the log is to leave.
type present struct {
	head   checkpoint.Checkpoint
	epochs []anchorproof.SignedEpoch // since its epoch 0
}

// ChainLink makes the link by which the log leaves its present chain, signed by the log and, where
// the chain is embedded, by its validator. Members of a network sign it afterwards. It makes the keys
// of a chain to be founded, and nothing else; asked again it uses the same keys.
func (s *Stores) ChainLink(ctx context.Context, req LinkRequest, now time.Time) (l anchorproof.SignedLink, err error) {
	pass, err := s.Config.passphrase()
	if err != nil {
		return l, err
	}
	signer, _, err := s.logKeys(pass)
	if err != nil {
		return l, err
	}
	genesis, err := s.genesis()
	if err != nil {
		return l, err
	}
	at, err := s.presentChain(ctx, genesis, req.Lost)
	if err != nil {
		return l, err
	}
	to, err := s.nextChain(req, pass, &signer.Verifier)
	if err != nil {
		return l, err
	}
	l = anchorproof.SignedLink{Epochs: at.epochs, Link: anchorproof.Link{Origin: s.id.Origin,
		From: genesis.Chain, Genesis: genesis.Hash(),
		Epoch: uint64(len(at.epochs)), Size: at.head.Size, Root: at.head.Root, TimeMs: now.UnixMilli(), To: to}}
	if err := l.Check(); err != nil {
		return l, err
	}
	if l.Log, err = signer.Sign([]byte(l.Text())); err != nil {
		return l, err
	}
	if len(genesis.Validators) > 1 || s.Config.Chain == "nodes" {
		return l, nil
	}
	return s.cosignLink(l, genesis, pass)
}

// cosignLink signs for the embedded chain's one validator.
func (s *Stores) cosignLink(l anchorproof.SignedLink, genesis anchorproof.Epoch,
	pass keystore.Secret) (anchorproof.SignedLink, error) {
	key, err := keystore.Load(s.Config.keyPath(fileCosignKey), pass)
	if err != nil {
		return l, fmt.Errorf("the chain's validator must let the log go: its key: %w", err)
	}
	return l.SignAs(genesis, key)
}

// presentChain is where the log stands on the chain that it is to leave. The chain is asked: were it
// further than the database, the move would hide that the database went back.
func (s *Stores) presentChain(ctx context.Context, genesis anchorproof.Epoch, lost bool) (present, error) {
	known, err := s.anchoredOn(ctx, genesis)
	if err != nil || lost {
		return known, err
	}
	var at present
	if s.Config.Chain == "nodes" {
		at, err = s.networkHead(ctx, genesis)
	} else {
		var kept chain.Kept
		kept, err = chain.ReadHome(s.Config.path(folderChain), genesis, s.id.Origin)
		at = present{kept.Head, kept.Epochs}
	}
	if err != nil {
		return at, fmt.Errorf("what the chain has of the log: %w. If the chain cannot be asked any more for good, "+
			"say so with --lost: then the database's evidence counts", err)
	}
	if at.head.Size < known.head.Size {
		return at, fmt.Errorf("the database has evidence for size %d, the chain stands at %d: it is an older "+
			"copy. Restore the newest one; if that is lost, say so with --lost: then the database's evidence counts",
			known.head.Size, at.head.Size)
	}
	return at, s.holds(ctx, at.head)
}

// holds checks that the log grew out of a checkpoint that a chain holds.
func (s *Stores) holds(ctx context.Context, c checkpoint.Checkpoint) error {
	head, err := s.DB.Log.Head(ctx)
	if err != nil {
		return err
	}
	if c.Size > head.Size {
		return fmt.Errorf("%w: the chain has the log at size %d, the database at %d: the database is older; "+
			"restore the newest one", ErrForeign, c.Size, head.Size)
	}
	root := merkle.EmptyRoot()
	if c.Size > 0 {
		if root, err = merkle.Root(c.Size, s.Tiles.Nodes(ctx, head.Size)); err != nil {
			return fmt.Errorf("the log's root at size %d: %w", c.Size, err)
		}
	}
	if root != c.Root {
		return fmt.Errorf("%w: the chain has root %s for size %d, the database %s: two histories of the log; run "+
			"stele fsck", ErrForeign, c.Root, c.Size, root)
	}
	return nil
}

// anchoredOn is what the database's newest evidence of a chain says; size 0 where there is none.
func (s *Stores) anchoredOn(ctx context.Context, genesis anchorproof.Epoch) (present, error) {
	none := present{head: checkpoint.Checkpoint{Origin: s.id.Origin, Root: merkle.EmptyRoot()}}
	st, err := s.DB.Log.AnchorState(ctx, anchorproof.Kind)
	if err != nil || st.Anchored == 0 {
		return none, err
	}
	list, err := s.DB.Log.AnchorsFrom(ctx, int64(st.Anchored)-1, anchorsAtOnce)
	if err != nil {
		return none, fmt.Errorf("read anchors: %w", err)
	}
	for _, a := range list {
		if a.Target != anchorproof.Kind || a.Size != st.Anchored {
			continue
		}
		c, err := checkpoint.ParseUnsafe(a.Note)
		if err != nil {
			return none, err
		}
		if _, err := proof.VerifyAnchor(s.Trust, c, a.Evidence); err != nil {
			return none, fmt.Errorf("the newest evidence, for size %d, does not verify: %w", c.Size, err)
		}
		e, err := anchorproof.ParseEvidence(a.Evidence)
		if err != nil {
			return none, err
		}
		if e.Header.Chain != genesis.Chain {
			e.Epochs = nil // nothing is anchored on the present chain yet
		}
		return present{c, e.Epochs}, nil
	}
	return none, fmt.Errorf("the evidence for size %d is missing", st.Anchored)
}

// networkHead asks the nodes of the present chain.
func (s *Stores) networkHead(ctx context.Context, genesis anchorproof.Epoch) (at present, err error) {
	n, err := s.nodes(genesis, slog.New(slog.DiscardHandler))
	if err != nil {
		return at, err
	}
	if err := n.Check(ctx); err != nil {
		return at, err
	}
	at.head.Origin = s.id.Origin
	if at.head.Size, at.head.Root, err = n.Head(ctx, s.id.Origin); err != nil {
		return at, err
	}
	terms, err := n.Terms(ctx)
	for _, t := range terms {
		at.epochs = append(at.epochs, t.Signed)
	}
	return at, err
}

// nextChain is epoch 0 of the chain that the log goes to.
func (s *Stores) nextChain(req LinkRequest, pass keystore.Secret, log *signednote.Verifier) (anchorproof.Epoch, error) {
	if g := req.Genesis; g != nil {
		if _, pinned := s.Trust.Chain(g.Hash()); pinned {
			return *g, fmt.Errorf("the log is or was on the chain %s: a log does not come back to a chain", g.Chain)
		}
		if err := madeFor(*g, s.id.Origin, log.Key()); err != nil {
			return *g, err
		}
		return *g, s.unusedID(g.Chain)
	}
	if !anchorproof.ValidChainID(req.ChainID) || !signednote.ValidName(req.Validator) {
		return anchorproof.Epoch{}, errors.New("chain and validator names are printable ASCII without spaces and " +
			"plus signs")
	}
	if err := s.unusedID(req.ChainID); err != nil {
		return anchorproof.Epoch{}, err
	}
	cosign, consensus, err := s.makeNextKeys(pass)
	if err != nil {
		return anchorproof.Epoch{}, err
	}
	v := anchorproof.Validator{Name: req.Validator, Power: 1, Key: cosign.Public()}
	copy(v.ConsensusKey[:], consensus.Public().(ed25519.PublicKey))
	return anchorproof.Epoch{Chain: req.ChainID, Validators: []anchorproof.Validator{v},
		Notaries: []anchorproof.Notary{{Origin: s.id.Origin, Key: log.Key()}}}, nil
}

// unusedID refuses the name of a chain that the trust roots know.
func (s *Stores) unusedID(id string) error {
	if slices.ContainsFunc(s.Trust.Chains, func(c proof.TrustedChain) bool { return c.Genesis.Chain == id }) {
		return fmt.Errorf("a chain is called %s already: verifiers could not tell the two apart. Choose another "+
			"name", id)
	}
	return nil
}

// makeNextKeys makes the keys of a chain to be founded, or finds those that were made. A crash leaves
// some of them, which the next call completes.
func (s *Stores) makeNextKeys(pass keystore.Secret) (*sm.PrivateKey, ed25519.PrivateKey, error) {
	var consensus ed25519.PrivateKey
	cosign, err := keystore.Load(s.Config.keyPath(nextChainKeys[0].next), pass)
	if errors.Is(err, fs.ErrNotExist) {
		cosign, err = newKey(s.Config, nextChainKeys[0].next, pass)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the next chain's cosigning key: %w", err)
	}
	for i, k := range nextChainKeys[1:] {
		path := s.Config.keyPath(k.next)
		key, err := keystore.LoadEd25519(path, pass)
		if errors.Is(err, fs.ErrNotExist) {
			if _, key, err = ed25519.GenerateKey(rand.Reader); err == nil {
				err = keystore.CreateEd25519(path, key, pass)
			}
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		if i == 0 {
			consensus = key
		}
	}
	return cosign, consensus, nil
}
