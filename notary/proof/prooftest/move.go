package prooftest

import (
	"slices"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// NextChain founds the chain that a world's log is to move to, with validators of its own.
func (w *World) NextChain(id string, validators int) *Chain {
	var members []Member
	for i := range validators {
		members = append(members, NewMember(w.options.Seed+"/"+id, string(rune('a'+i))+"."+id, 10))
	}
	return NewChain(w.options.Seed, id, members, anchorproof.Notary{Origin: w.Origin(), Key: w.LogKey.Public()})
}

// Link is the link with which the log leaves the chain that it is on, as it is now; signed by the
// log and by signers of that chain's epoch, all members when none are named.
func (w *World) Link(to *Chain, signers ...int) anchorproof.SignedLink {
	return w.SignLink(anchorproof.Link{Origin: w.Origin(), From: w.Chain.Genesis.Chain, Genesis: w.Chain.Genesis.Hash(),
		Epoch: w.Chain.Current().Number, Size: uint64(len(w.leaves)), Root: merkle.ListRoot(w.leaves),
		TimeMs: w.Tick(1e9).UnixMilli(), To: to.Genesis}, signers...)
}

// SignLink signs a link that may say anything.
func (w *World) SignLink(l anchorproof.Link, signers ...int) anchorproof.SignedLink {
	return anchorproof.SignedLink{Link: l, Log: w.LogKey.Sign([]byte(l.Text())),
		Cosignatures: w.Chain.Cosign(l.Text(), signers...),
		Epochs:       slices.Clone(w.Chain.Epochs)}
}

// Move takes the log to another chain: evidence made from now on carries the link.
func (w *World) Move(to *Chain, l anchorproof.SignedLink) {
	w.links, w.Chain = append(w.links, l), to
}

// moves are the links as they stand in evidence for a checkpoint.
func (w *World) moves(c checkpoint.Checkpoint) (out []anchorproof.Moved) {
	for _, l := range w.links {
		m := anchorproof.Moved{SignedLink: l}
		if l.Size <= c.Size {
			var err error
			m.Path, err = merkle.ConsistencyProof(l.Size, c.Size, merkle.ListReader(w.leaves))
			must(err)
		}
		out = append(out, m)
	}
	return out
}
