package chain

import (
	"errors"
	"fmt"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
)

// The history tree's nodes are kept as they come to be, so that the path from any header to any
// later one takes as many reads as the tree has levels, twice at most. They are derived from
// headers and in no hash: a node that was started by an earlier program fills them in once.

// filledKey counts the headers whose nodes are kept.
const filledKey = "n"

// fillChunk is how many headers are filled in per transaction.
const fillChunk = 4096

func nodeKey(id merkle.NodeID) string { return key("n/"+string([]byte{byte(id.Level)}), id.Index) }

// addLeaf appends a closed header to the history and keeps the nodes that it completes.
func addLeaf(history *merkle.Frontier, h anchorproof.Header, put func(key string, v []byte)) {
	history.AppendVisit(h.Leaf(), func(id merkle.NodeID, node merkle.Hash) { put(nodeKey(id), node[:]) })
	put(filledKey, encodeMs(int64(history.Size())))
}

// noteFirst keeps the lowest header that an epoch certified.
func noteFirst(get getter, put func(key string, v []byte), epoch, index uint64) {
	if first, ok := decodeMs(get(key("f/", epoch))); !ok || index < uint64(first) {
		put(key("f/", epoch), encodeMs(int64(index)))
	}
}

// historyReader reads the tree over the leaves of headers.
func historyReader(get getter) merkle.NodeReader {
	return func(ids []merkle.NodeID) ([]merkle.Hash, error) {
		out := make([]merkle.Hash, len(ids))
		for i, id := range ids {
			if id.Level == 0 {
				h, err := headerAt(get, id.Index)
				if err != nil {
					return nil, err
				}
				out[i] = h.Leaf()
				continue
			}
			raw := get(nodeKey(id))
			if len(raw) != merkle.HashSize {
				return nil, fmt.Errorf("chain state: node %d/%d of the history is missing", id.Level, id.Index)
			}
			out[i] = merkle.Hash(raw)
		}
		return out, nil
	}
}

// fillHistory makes up for nodes that an earlier program did not keep. It runs at every start and
// has nothing to do at most. A crash leaves the headers before the last chunk filled in; the next
// start goes on. The whole must give the root that the chain has agreed on.
func (s *store) fillHistory(history *merkle.Frontier) error {
	var f *merkle.Frontier
	for {
		changes := map[string][]byte{}
		err := s.view(func(get getter) (err error) {
			if f == nil {
				filled, _ := decodeMs(get(filledKey))
				if f, err = merkle.LoadFrontier(uint64(filled), historyReader(get)); err != nil {
					return err
				}
			}
			put := func(k string, v []byte) { changes[k] = v }
			own := func(k string) []byte {
				if v, ok := changes[k]; ok {
					return v
				}
				return get(k)
			}
			for end := min(f.Size()+fillChunk, history.Size()); f.Size() < end; {
				index := f.Size()
				h, err := headerAt(get, index)
				if err != nil {
					return err
				}
				addLeaf(f, h, put)
				if cert := get(key("c/", index)); cert != nil {
					epoch, _, err := decodeStoredCertificate(cert)
					if err != nil {
						return err
					}
					noteFirst(own, put, epoch, index)
				}
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case f.Size() > history.Size() || f.Size() == history.Size() && f.Root() != history.Root():
			return errors.New("chain state: the headers do not give the history that the chain has agreed on")
		case len(changes) == 0:
			return nil
		}
		if err := s.apply(changes); err != nil {
			return err
		}
	}
}

// History is two headers of one history: the newer one with its certificate, and the path that
// leads from the older one to it.
type History struct {
	Older, Newer anchorproof.Header
	Cosignatures []anchorproof.Cosignature // of the newer one
	Path         []merkle.Hash             // see [anchorproof.CheckHistory]
}

// History returns the headers with two indexes and the path between them. [ErrPending] means that
// one of them is not there yet, or that the newer one has no certificate; [ErrMalformed] that they
// are in the wrong order. It takes a hundred reads at most, and is verified before it leaves.
func (n *Node) History(older, newer uint64) (h History, err error) {
	if older > newer {
		return h, fmt.Errorf("%w: header %d does not come before header %d", ErrMalformed, older, newer)
	}
	err = n.view(func(get getter) (err error) {
		h, err = historyOf(get, older, newer)
		return err
	})
	if err != nil {
		return History{}, err
	}
	if err := anchorproof.CheckHistory(h.Older, h.Newer, h.Path); err != nil {
		return History{}, fmt.Errorf("own history from header %d to %d does not verify: %w", older, newer, err)
	}
	return h, nil
}

func historyOf(get getter, older, newer uint64) (h History, err error) {
	if get(key("h/", newer)) == nil {
		return h, fmt.Errorf("%w: there is no header %d", ErrPending, newer)
	}
	if h.Newer, h.Cosignatures, err = certifiedAt(get, newer); err != nil {
		return h, err
	}
	if len(h.Cosignatures) == 0 {
		return h, fmt.Errorf("%w: header %d has no certificate yet", ErrPending, newer)
	}
	if h.Older, _, err = certifiedAt(get, older); err != nil || older == newer {
		return h, err
	}
	h.Path, err = merkle.InclusionProof(older, newer, historyReader(get))
	return h, err
}

// certifiedAt is a header with its certificate; without one while it is pending.
func certifiedAt(get getter, index uint64) (h anchorproof.Header, sigs []anchorproof.Cosignature, err error) {
	if h, err = headerAt(get, index); err != nil {
		return h, nil, err
	}
	if cert := get(key("c/", index)); cert != nil {
		h.Epoch, sigs, err = decodeStoredCertificate(cert)
	}
	return h, sigs, err
}

// First returns the lowest header that an epoch certified, with its cosignatures: when its term
// began at the latest. [ErrPending] means that there is none yet.
func (n *Node) First(epoch uint64) (h anchorproof.Header, sigs []anchorproof.Cosignature, err error) {
	err = n.view(func(get getter) (err error) {
		index, ok := decodeMs(get(key("f/", epoch)))
		if !ok {
			return fmt.Errorf("%w: epoch %d has certified nothing", ErrPending, epoch)
		}
		h, sigs, err = certifiedAt(get, uint64(index))
		return err
	})
	return h, sigs, err
}
