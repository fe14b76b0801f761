package anchorproof

import (
	"errors"
	"fmt"

	"stele/crypto/merkle"
)

// ErrHistory reports two headers that cannot be of one history.
var ErrHistory = errors.New("the headers are not of one history")

// CheckOrder reports whether two headers of one chain can be of one history: a block has one
// header, and index, height and time go the same way. It needs no path and proves no more.
func CheckOrder(a, b Header) error {
	if a.Index > b.Index {
		a, b = b, a
	}
	switch {
	case a.Chain != b.Chain:
		return fmt.Errorf("%w: they are of the chains %s and %s", ErrChain, a.Chain, b.Chain)
	case a.Index == b.Index && a.Leaf() != b.Leaf():
		return fmt.Errorf("%w: there are two of index %d", ErrHistory, a.Index)
	case a.Index == b.Index:
		return nil
	case a.Height >= b.Height || a.TimeMs > b.TimeMs:
		return fmt.Errorf("%w: header %d is not before header %d in height and time", ErrHistory, a.Index, b.Index)
	}
	return nil
}

// CheckHistory checks that a newer header vouches for an older one: path is the inclusion proof
// (RFC 6962 section 2.1.1) of the older one's leaf in the tree of the headers before the newer
// one, whose root is the newer one's history. For the same header the path is empty.
func CheckHistory(older, newer Header, path []merkle.Hash) error {
	if err := CheckOrder(older, newer); err != nil {
		return err
	}
	if older.Index == newer.Index {
		if len(path) > 0 {
			return fmt.Errorf("%w: a path between a header and itself", ErrHistory)
		}
		return nil
	}
	if err := merkle.VerifyInclusion(older.Index, newer.Index, older.Leaf(), path, newer.History); err != nil {
		return fmt.Errorf("%w: header %d does not lead to header %d: %v", ErrHistory, older.Index, newer.Index, err)
	}
	return nil
}
