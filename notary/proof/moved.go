package proof

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// What keeps evidence from being checked, although it need not be wrong.
var (
	errUnknownChain = errors.New("the chain is not among the trust roots")
	errOtherChain   = errors.New("by the trust roots, the chain does not anchor the log")
)

// proved is evidence that holds.
type proved struct {
	chain  TrustedChain // the header's
	proven anchorproof.Anchored
	ended  time.Time // the cosigners' term, where it did
	moved  []MovedReport
	alone  *TrustedMember // an organization that could move the log alone, or nil
}

// prove checks the evidence of an e-government anchor. Where the header's chain is not pinned, links
// must lead to it from one that is and that may anchor the log: the members of the former chain say
// which chain comes next, as they say by a hand-over which members come next. Links that can be
// checked must hold in any case.
func (t *Trust) prove(ev anchorproof.Evidence, c checkpoint.Checkpoint) (p proved, err error) {
	start := slices.IndexFunc(ev.Links, func(l anchorproof.Moved) bool {
		_, pinned := t.chain(l.From)
		return pinned && t.mayAnchor(c.Origin, l.From)
	})
	chain, pinned := t.chain(ev.Header.Chain)
	if !pinned && start < 0 {
		return p, fmt.Errorf("%w: %s", errUnknownChain, ev.Header.Chain)
	}
	if err := ev.CheckLinks(c); err != nil {
		return p, err
	}
	if start >= 0 {
		if err := t.follow(&p, ev.Links[start:]); err != nil {
			return p, err
		}
	}
	p.chain = chain
	if !pinned {
		p.chain = TrustedChain{Genesis: ev.Links[len(ev.Links)-1].To}
	} else {
		p.alone = nil // the trust roots themselves name the members that come after
	}
	if p.proven, err = ev.Verify(p.chain.Genesis, c); err != nil {
		return p, err
	}
	if p.ended, err = p.chain.checkPins(ev.Epochs, ev.Header.Epoch, ev.Header.Time()); err != nil {
		return p, fmt.Errorf("the evidence does not keep to your trust roots: %w", err)
	}
	if start < 0 && !t.mayAnchor(c.Origin, ev.Header.Chain) {
		return p, fmt.Errorf("%w: %s, %s", errOtherChain, ev.Header.Chain, c.Origin)
	}
	return p, nil
}

// follow checks links of which the first leads from a pinned chain. Their order and what they say of
// the checkpoint is checked already.
func (t *Trust) follow(p *proved, links []anchorproof.Moved) error {
	former, _ := t.chain(links[0].From)
	for _, l := range links {
		signers, err := l.Verify(former.Genesis)
		if err != nil {
			return err
		}
		if err := l.CheckLog(t.logKeysAt(l.SignedLink, former.Genesis)); err != nil {
			return err
		}
		if _, err := former.checkPins(l.Epochs, l.Epoch, l.Time()); err != nil {
			return fmt.Errorf("the link does not keep to your trust roots: %w", err)
		}
		p.moved = append(p.moved, MovedReport{From: l.From, To: l.To.Chain, At: l.Time().Format(reportTime),
			Size: l.Size})
		if p.alone == nil {
			p.alone = former.aloneIn(signers, l.Cosignatures, l.Epochs)
		}
		next, pinned := t.chain(l.To.Chain)
		switch {
		case !pinned:
			next = TrustedChain{Genesis: l.To}
		case next.Genesis.Hash() != l.To.Hash():
			return fmt.Errorf("the link leads to another chain %s than the one that your trust roots pin", l.To.Chain)
		}
		former = next
	}
	return nil
}

// CheckLink checks that a log may leave a pinned chain by a link: its members' quorum and the log's
// signature, as evidence that carries the link will be checked.
func CheckLink(t *Trust, l anchorproof.SignedLink) error {
	if _, pinned := t.chain(l.From); !pinned {
		return fmt.Errorf("%w: %s", errUnknownChain, l.From)
	}
	if !t.mayAnchor(l.Origin, l.From) {
		return fmt.Errorf("%w: %s, %s", errOtherChain, l.From, l.Origin)
	}
	return t.follow(&proved{}, []anchorproof.Moved{{SignedLink: l}})
}

// PinChain pins a chain that is to anchor a log beside those that do, and reports whether that is
// new. It is for whoever makes trust roots: a trust that others use must not be changed.
func (t *Trust) PinChain(origin string, c TrustedChain) (bool, error) {
	have, pinned := t.chain(c.Genesis.Chain)
	if pinned && have.Genesis.Hash() != c.Genesis.Hash() {
		return false, fmt.Errorf("%w: another chain %s is pinned", ErrTrust, c.Genesis.Chain)
	}
	if !pinned {
		t.Chains = append(t.Chains, c)
	}
	return t.LetAnchor(origin, c.Genesis.Chain) || !pinned, nil
}

// Chain returns what is pinned of the chain with this epoch 0.
func (t *Trust) Chain(genesis merkle.Hash) (TrustedChain, bool) {
	i := slices.IndexFunc(t.Chains, func(c TrustedChain) bool { return c.Genesis.Hash() == genesis })
	if i < 0 {
		return TrustedChain{}, false
	}
	return t.Chains[i], true
}

// logKeysAt are the keys that the log may have signed a link with: the pinned ones that were valid
// when it was made, and those that only the former chain's epochs name.
func (t *Trust) logKeysAt(l anchorproof.SignedLink, former anchorproof.Epoch) (out []*sm.PublicKey) {
	var known []*sm.PublicKey
	for _, k := range t.Logs {
		if k.Key.Name() != l.Origin {
			continue
		}
		known = append(known, k.Key.Key())
		if !l.Time().Before(k.NotBefore) && (k.NotAfter.IsZero() || !l.Time().After(k.NotAfter)) {
			out = append(out, k.Key.Key())
		}
	}
	for _, k := range l.LogKeys(former) {
		if !slices.ContainsFunc(known, k.Equal) {
			out = append(out, k)
		}
	}
	return out
}

// aloneIn is an organization that could have signed alone, here or in a hand-over that led here.
func (c TrustedChain) aloneIn(e anchorproof.Epoch, signed []anchorproof.Cosignature,
	led []anchorproof.SignedEpoch) *TrustedMember {
	m, before := c.alone(e, signed), c.Genesis
	for _, next := range led {
		if m == nil { // who could hand over alone could make the next members up
			m = c.alone(before, next.Signatures)
		}
		before = next.Epoch
	}
	return m
}

// renamed reports whether evidence of a chain that is not pinned contradicts itself, or is
// that of a pinned chain under another name. It tells edited evidence from a foreign one.
func (v *verifier) renamed(ev anchorproof.Evidence, c checkpoint.Checkpoint) bool {
	if ev.CheckLinks(c) != nil {
		return true
	}
	for _, e := range ev.Epochs {
		if e.Chain != ev.Header.Chain {
			return true
		}
	}
	for _, pinned := range v.trust.Chains {
		for _, l := range ev.Links {
			if l.From == pinned.Genesis.Chain {
				continue // as it was signed: that chain does not anchor this log
			}
			l.From, l.Genesis = pinned.Genesis.Chain, pinned.Genesis.Hash()
			if _, err := l.Verify(pinned.Genesis); err == nil {
				return true
			}
		}
		ev.Header.Chain = pinned.Genesis.Chain
		if _, err := ev.Verify(pinned.Genesis, c); err == nil {
			return true
		}
	}
	return false
}
