package prooftest

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// Member is a validator with its private keys.
type Member struct {
	anchorproof.Validator
	Key       Key
	Consensus ed25519.PrivateKey
}

// NewMember derives a validator's keys from seed and name.
func NewMember(seed, name string, power uint64) Member {
	m := Member{Key: NewKey(seed + "/validator/" + name), Consensus: newConsensusKey(seed + "/" + name)}
	m.Validator = anchorproof.Validator{Name: name, Power: power, Key: m.Key.Public(),
		ConsensusKey: [32]byte(m.Consensus.Public().(ed25519.PublicKey))}
	return m
}

// Chain makes the evidence that a chain of validators would make, without any engine.
type Chain struct {
	Genesis anchorproof.Epoch
	Epochs  []anchorproof.SignedEpoch // since the genesis
	Members []Member                  // of the current epoch, in its order

	seed    string
	headers []merkle.Hash // leaves of all headers
	height  uint64
}

// NewChain founds a chain.
func NewChain(seed, id string, members []Member, notaries ...anchorproof.Notary) *Chain {
	c := &Chain{seed: seed, Members: members, height: 1}
	c.Genesis = anchorproof.Epoch{Chain: id, Validators: validators(members), Notaries: notaries}
	must(c.Genesis.Check())
	return c
}

func validators(members []Member) []anchorproof.Validator {
	out := make([]anchorproof.Validator, len(members))
	for i, m := range members {
		out[i] = m.Validator
	}
	return out
}

// Current is the epoch whose validators cosign now.
func (c *Chain) Current() anchorproof.Epoch {
	if n := len(c.Epochs); n > 0 {
		return c.Epochs[n-1].Epoch
	}
	return c.Genesis
}

// Header commits checkpoints in a block of their own: the next header of the chain.
func (c *Chain) Header(at time.Time, committed ...checkpoint.Checkpoint) anchorproof.Header {
	h := anchorproof.Header{Chain: c.Genesis.Chain, Epoch: c.Current().Number, Index: uint64(len(c.headers)),
		Height: c.height, TimeMs: at.UnixMilli(),
		Count: uint64(len(committed)), Anchors: merkle.ListRoot(leaves(committed)), History: merkle.ListRoot(c.headers)}
	c.headers = append(c.headers, h.Leaf())
	c.height += 3 // the block, the one whose votes carry the cosignatures, the one with the certificate
	return h
}

func leaves(committed []checkpoint.Checkpoint) []merkle.Hash {
	out := make([]merkle.Hash, len(committed))
	for i, cp := range committed {
		out[i] = merkle.LeafHash([]byte(cp.Text()))
	}
	return out
}

// HistoryPath shows that a newer header vouches for an older one.
func (c *Chain) HistoryPath(older, newer anchorproof.Header) []merkle.Hash {
	path, err := merkle.ListInclusion(c.headers[:newer.Index], older.Index)
	must(err)
	return path
}

// Cosign signs a text as the given members of the current epoch do, or as all of them.
func (c *Chain) Cosign(text string, signers ...int) []anchorproof.Cosignature {
	if len(signers) == 0 {
		for i := range c.Members {
			signers = append(signers, i)
		}
	}
	var out []anchorproof.Cosignature
	for _, i := range signers {
		out = append(out, anchorproof.Cosignature{Validator: i, Signature: c.Members[i].Key.Sign([]byte(text))})
	}
	return out
}

// Evidence commits checkpoints and proves the one at position, cosigned by signers (all
// members when none are named).
func (c *Chain) Evidence(at time.Time, committed []checkpoint.Checkpoint, position int,
	signers ...int) anchorproof.Evidence {
	h := c.Header(at, committed...)
	path, err := merkle.ListInclusion(leaves(committed), uint64(position))
	must(err)
	return anchorproof.Evidence{Header: h, Position: uint64(position), Path: path,
		Cosignatures: c.Cosign(h.Text(), signers...), Epochs: slices.Clone(c.Epochs)}
}

// HandOver begins the next epoch with these members and notaries. signers are indexes into
// the members before (all of them when none are named); newcomers prove their keys.
func (c *Chain) HandOver(next []Member, notaries []anchorproof.Notary, signers ...int) anchorproof.SignedEpoch {
	before := c.Current()
	s := anchorproof.SignedEpoch{Epoch: anchorproof.Epoch{Chain: before.Chain, Number: before.Number + 1,
		Previous:   before.Hash(),
		Validators: validators(next), Notaries: notaries}}
	text := s.Text()
	s.Signatures = c.Cosign(text, signers...)
	for _, i := range before.Newcomers(s.Epoch) {
		s.Joins = append(s.Joins, anchorproof.Join{Validator: i, SM2: next[i].Key.Sign([]byte(text)),
			Ed25519: ed25519.Sign(next[i].Consensus, []byte(text))})
	}
	c.Epochs = append(c.Epochs, s)
	c.Members = slices.Clone(next)
	return s
}

// Neighbours are checkpoints of n other logs that share a block with ours.
func (c *Chain) Neighbours(n int) []checkpoint.Checkpoint {
	var out []checkpoint.Checkpoint
	for i := range n {
		origin := fmt.Sprintf("neighbour-%d.%s.example", i, c.seed)
		out = append(out, checkpoint.Checkpoint{Origin: origin, Size: uint64(1000 + i), Root: sm.Sum([]byte(origin))})
	}
	return out
}

// Encode is an evidence's JSON as it stands in a bundle.
func Encode(e anchorproof.Evidence) json.RawMessage {
	b, err := e.Marshal()
	must(err)
	return b
}
