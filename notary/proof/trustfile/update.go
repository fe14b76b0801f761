package trustfile

import (
	"fmt"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
)

// Pinned is an epoch that [Update] has pinned.
type Pinned struct {
	Number uint64
	proof.PinnedEpoch
	// Proven tells that From is the time of a header which the epoch certified. Otherwise it is the
	// time of the update, or that of a later epoch's header: until then the members before are believed.
	Proven bool
	// Unnamed are validators whose organizations the trust roots do not name.
	Unnamed []string
}

// Newest follows hand-overs from the pinned epoch 0 of a chain and returns the last epoch. Each must
// follow from the one before and be the pinned one, where its number is pinned: whoever gave the
// list need not be believed.
func Newest(t *proof.Trust, chain string, terms []chainview.Term) (anchorproof.Epoch, error) {
	i := chainIndex(t, chain)
	if i < 0 {
		return anchorproof.Epoch{}, errNoChain(t, chain)
	}
	c := t.Chains[i]
	if err := chainview.CheckTerms(c.Genesis, terms); err != nil {
		return anchorproof.Epoch{}, fmt.Errorf("the hand-overs do not lead on from the pinned epoch 0: %w", err)
	}
	newest := c.Genesis
	for n, term := range terms {
		if hash := term.Signed.Hash(); n < len(c.Epochs) && hash != c.Epochs[n].Hash {
			return anchorproof.Epoch{}, fmt.Errorf("epoch %d is %s there, and %s in the trust roots: "+
				"two histories of the chain, or keys of former members misused", n+1, hash, c.Epochs[n].Hash)
		}
		newest = term.Signed.Epoch
	}
	return newest, nil
}

// Update pins the epochs to which a chain has handed over, terms being all of them, from epoch 1
// on. The result is in version 2. What is pinned stays as it is, and nothing is removed.
//
// An epoch is in office since the first header that it certified. Where it certified none, that is
// now: no later than that was it decided, and headers of the members before cannot come after.
func Update(t *proof.Trust, chain string, terms []chainview.Term, now time.Time) (*proof.Trust, []Pinned, error) {
	if _, err := Newest(t, chain, terms); err != nil {
		return nil, nil, err
	}
	up := Upgrade(t)
	c := &up.Chains[chainIndex(up, chain)]
	known := len(c.Epochs)
	if len(terms) < known {
		return nil, nil, fmt.Errorf("the list ends with epoch %d, and the trust roots pin epoch %d already: "+
			"it is older than they are", len(terms), known)
	}
	pinned := make([]Pinned, len(terms)-known)
	next := now
	for i := len(terms) - 1; i >= known; i-- { // backwards: an epoch began before the one after it
		p := &pinned[i-known]
		p.Number, p.Hash = uint64(i+1), terms[i].Signed.Hash()
		if since := terms[i].Since(); !since.IsZero() {
			next, p.Proven = since, true
		}
		p.From = next.UTC().Truncate(time.Second)
		for _, v := range terms[i].Signed.Validators {
			if _, named := c.Organization(v.Key); !named {
				p.Unnamed = append(p.Unnamed, v.Name)
			}
		}
	}
	for i := range pinned {
		p := &pinned[i]
		if n := len(c.Epochs); n > 0 && p.From.Before(c.Epochs[n-1].From) {
			if p.Proven {
				return nil, nil, fmt.Errorf("epoch %d would have been in office since %s, before epoch %d (%s)",
					p.Number, stamp(p.From), p.Number-1, stamp(c.Epochs[n-1].From))
			}
			p.From = c.Epochs[n-1].From // the clock of whoever updates is slow
		}
		c.Epochs = append(c.Epochs, p.PinnedEpoch)
	}
	up, err := checked(up)
	return up, pinned, err
}
