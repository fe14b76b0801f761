package chain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/cometbft/cometbft/consensus"
	"github.com/cometbft/cometbft/types"
	bolterrors "go.etcd.io/bbolt/errors"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// Reads go to the store, beside consensus and never through it: they answer while the chain
// stands still, until the node is closed ([ErrStopped]).

func (n *Node) view(f func(get getter) error) error {
	err := n.home.app.store.view(f)
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrStopped
	}
	return err
}

// Genesis is epoch 0.
func (n *Node) Genesis() anchorproof.Epoch { return n.config.Genesis }

// Head is the newest checkpoint of a log that the chain has committed; size 0 and the root
// of the empty tree when there is none.
func (n *Node) Head(origin string) (c checkpoint.Checkpoint, err error) {
	err = n.view(func(get getter) (err error) { c, err = headOf(get, origin); return err })
	return c, err
}

// Evidence returns the finished evidence of the checkpoint of a log at a size, as canonical
// JSON, and that checkpoint. [ErrPending] means that the chain has not committed one of this
// size, or that its certificate is not there yet. It is verified before it leaves.
func (n *Node) Evidence(origin string, size uint64) (json.RawMessage, checkpoint.Checkpoint, error) {
	var c checkpoint.Checkpoint
	var e anchorproof.Evidence
	err := n.view(func(get getter) (err error) {
		c, e, err = evidenceOf(get, origin, size)
		return err
	})
	if err != nil {
		return nil, c, err
	}
	raw, err := e.Marshal()
	if err != nil {
		return nil, c, err
	}
	if _, err := anchorproof.Verify(n.config.Genesis, c, raw); err != nil {
		return nil, c, fmt.Errorf("own evidence of %s at size %d does not verify: %w", origin, size, err)
	}
	return raw, c, nil
}

func evidenceOf(get getter, origin string, size uint64) (c checkpoint.Checkpoint, e anchorproof.Evidence, err error) {
	place := get(placeKey(origin, size))
	if place == nil {
		return c, e, fmt.Errorf("%w: the chain has no checkpoint of %s at size %d", ErrPending, origin, size)
	}
	l, err := decodeLocated(place)
	if err != nil {
		return c, e, err
	}
	anchors, err := anchorsAt(get, l.index)
	if err != nil {
		return c, e, err
	}
	if l.position >= uint64(len(anchors)) {
		return c, e, fmt.Errorf("chain state: header %d has no checkpoint %d", l.index, l.position)
	}
	c = anchors[l.position]
	cert := get(key("c/", l.index))
	if cert == nil {
		return c, e, fmt.Errorf("%w: header %d has no certificate yet", ErrPending, l.index)
	}
	if e.Header, err = headerAt(get, l.index); err != nil {
		return c, e, err
	}
	if e.Header.Epoch, e.Cosignatures, err = decodeStoredCertificate(cert); err != nil {
		return c, e, err
	}
	e.Position = l.position
	if e.Path, err = merkle.ListInclusion(leavesOf(anchors), l.position); err != nil {
		return c, e, err
	}
	for number := uint64(1); number <= e.Header.Epoch; number++ {
		s, err := loadEpoch(get, number)
		if err != nil {
			return c, e, err
		}
		e.Epochs = append(e.Epochs, s)
	}
	return c, e, nil
}

// Entry is one header with what belongs to it.
type Entry struct {
	Header       anchorproof.Header // Epoch is that of the certificate, 0 while pending
	Checkpoints  []checkpoint.Checkpoint
	Cosignatures []anchorproof.Cosignature // none while pending
}

// Entry returns the header with an index, as soon as its time is known. Indexes run from 0
// to Status.Headers-1; beyond, the error is [ErrPending].
func (n *Node) Entry(index uint64) (e Entry, err error) {
	err = n.view(func(get getter) (err error) {
		if get(key("h/", index)) == nil {
			return fmt.Errorf("%w: there is no header %d", ErrPending, index)
		}
		if e.Header, e.Cosignatures, err = certifiedAt(get, index); err != nil {
			return err
		}
		e.Checkpoints, err = anchorsAt(get, index)
		return err
	})
	return e, err
}

// Epoch returns an accepted epoch; [ErrPending] when there is none of this number.
func (n *Node) Epoch(number uint64) (s anchorproof.SignedEpoch, err error) {
	err = n.view(func(get getter) (err error) {
		if get(key("e/", number)) == nil {
			return fmt.Errorf("%w: there is no epoch %d", ErrPending, number)
		}
		s, err = loadEpoch(get, number)
		return err
	})
	return s, err
}

// Status is what a monitoring page shows.
type Status struct {
	Chain      string
	Height     uint64
	Base       uint64 // oldest block that is kept
	Headers    uint64 // closed ones, see [Node.Entry]
	Pending    uint64 // of them without certificate
	Epoch      uint64 // newest accepted
	EpochAt    uint64 // height from which its validators vote
	Validators []anchorproof.Validator
	Notaries   []anchorproof.Notary
	Validating bool // this node's keys are among the validators
	CatchingUp bool // the node fetches blocks from peers and takes no transactions
	Peers      []Peer
	Failed     bool              // consensus has ended by itself
	Refused    map[string]uint64 // since the start, by reason: RefusedMalformed and so on
}

// Peer is another node that this one is connected with.
type Peer struct {
	ID     string // see [NodeID]
	Height uint64 // of the block that it has decided last; 0 as long as it has not said
}

// Status returns a snapshot.
func (n *Node) Status() (Status, error) {
	var m *meta
	var e anchorproof.SignedEpoch
	err := n.view(func(get getter) (err error) {
		if m, err = decodeMeta(get(metaKey)); err != nil {
			return err
		}
		e, err = loadEpoch(get, m.epoch)
		return err
	})
	if err != nil {
		return Status{}, err
	}
	s := Status{Chain: e.Chain, Height: m.height, Base: uint64(n.engine.BlockStore().Base()), Headers: m.history.Size(),
		Pending: m.pending, Epoch: m.epoch, EpochAt: m.epochAt,
		Validators: e.Validators, Notaries: e.Notaries, CatchingUp: n.engine.ConsensusReactor().WaitSync(),
		Peers: n.peers(), Refused: n.home.app.refused.counts()}
	if me := validatorIndex(e.Epoch, n.config.address()); me >= 0 {
		s.Validating = e.Validators[me].Key.Equal(n.config.CosignKey)
	}
	select {
	case <-n.failed:
		s.Failed = true
	default:
	}
	return s, nil
}

func (n *Node) peers() []Peer {
	var out []Peer
	for _, p := range n.engine.Switch().Peers().List() {
		peer := Peer{ID: string(p.ID())}
		if s, ok := p.Get(types.PeerStateKey).(*consensus.PeerState); ok && s.GetHeight() > 0 {
			peer.Height = uint64(s.GetHeight() - 1) // it says which height it works on
		}
		out = append(out, peer)
	}
	slices.SortFunc(out, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Behind is how many blocks this node lacks of what its peers have. A node that only has
// peers without old blocks stays behind although it does not call itself catching up.
func (s Status) Behind() uint64 {
	var most uint64
	for _, p := range s.Peers {
		most = max(most, p.Height)
	}
	return max(most, s.Height) - s.Height
}

// Heads are the newest committed checkpoints of all logs, ordered by origin.
func (n *Node) Heads() (out []checkpoint.Checkpoint, err error) {
	keys, err := n.home.app.store.keys("l/", 0, math.MaxInt)
	if err != nil {
		return nil, err
	}
	err = n.view(func(get getter) error {
		for _, k := range keys {
			c, err := headOf(get, strings.TrimPrefix(string(k), "l/"))
			if err != nil {
				return err
			}
			out = append(out, c)
		}
		return nil
	})
	return out, err
}

// WaitEvidence waits for evidence; a convenience over Changed and Evidence.
func (n *Node) WaitEvidence(ctx context.Context, origin string, size uint64) (json.RawMessage, checkpoint.Checkpoint,
	error) {
	for {
		changed := n.Changed()
		raw, c, err := n.Evidence(origin, size)
		if !errors.Is(err, ErrPending) {
			return raw, c, err
		}
		select {
		case <-n.stopped:
			return nil, c, ErrStopped
		case <-n.quit:
			return nil, c, ErrStopped
		case <-ctx.Done():
			return nil, c, ctx.Err()
		case <-changed:
		}
	}
}
