package chainview

import (
	"errors"
	"fmt"
	"time"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
)

// ErrPending means that there is no such header yet, or none with a quorum.
var ErrPending = errors.New("the chain has no such header with a quorum yet")

// Term is an epoch with the lowest header that it certified, if it has certified any.
type Term struct {
	Signed anchorproof.SignedEpoch
	First  *Certified
}

// Certified is a header with its certificate.
type Certified struct {
	Header       anchorproof.Header
	Cosignatures []anchorproof.Cosignature
}

// Since is the time of that header; zero when there is none. It is certified that the epoch was in
// office then; that it certified nothing before is what the node says.
func (t Term) Since() time.Time {
	if t.First == nil {
		return time.Time{}
	}
	return t.First.Header.Time()
}

// CheckTerms checks that the terms lead on from the pinned epoch, one after the other, and that
// each certified its first header.
func CheckTerms(pinned anchorproof.Epoch, terms []Term) error {
	last := pinned
	for _, t := range terms {
		if err := last.CheckNext(t.Signed); err != nil {
			return err
		}
		last = t.Signed.Epoch
		if t.First == nil {
			continue
		}
		if err := t.First.check(last); err != nil {
			return fmt.Errorf("first header of epoch %d: %w", last.Number, err)
		}
	}
	return nil
}

func (c Certified) check(epoch anchorproof.Epoch) error {
	if c.Header.Chain != epoch.Chain || c.Header.Epoch != epoch.Number {
		return fmt.Errorf("header %d is of epoch %d of chain %s", c.Header.Index, c.Header.Epoch, c.Header.Chain)
	}
	_, err := epoch.CheckQuorum(c.Header.Text(), c.Cosignatures)
	return err
}

// History is two headers of one history: the newer one with its certificate, and the path from the
// older one to it. The certificate of the newer one vouches for both.
type History struct {
	Older, Newer anchorproof.Header
	Cosignatures []anchorproof.Cosignature // of the newer one
	Path         []merkle.Hash             // see anchorproof.CheckHistory
}

// Check checks the path, and the newer header's certificate by the epoch that it names.
func (h History) Check(epoch anchorproof.Epoch) error {
	if err := (Certified{h.Newer, h.Cosignatures}).check(epoch); err != nil {
		return err
	}
	return anchorproof.CheckHistory(h.Older, h.Newer, h.Path)
}
