package anchorproof

import (
	"errors"
	"fmt"

	"stele/crypto/merkle"
)

// ErrHistory: two headers are not of one history, or the path does not show it.
var ErrHistory = errors.New("headers are not of one history")

// CheckOrder reports whether two headers of one chain can be of one history: a block has one
// header, but for the epoch that certified it, and index, height and time go the same way. It
// needs no path and proves no more.
func CheckOrder(a, b Header) error {
	for _, h := range []Header{a, b} {
		if err := h.check(); err != nil {
			return err
		}
	}
	if a.Index > b.Index {
		a, b = b, a
	}
	switch {
	case a.Chain != b.Chain:
		return fmt.Errorf("%w: headers of chains %s and %s", ErrChain, a.Chain, b.Chain)
	case a.Index == b.Index && a.Leaf() != b.Leaf():
		return fmt.Errorf("%w: there are two headers %d", ErrHistory, a.Index)
	case a.Index == b.Index:
		return nil
	case a.Height >= b.Height:
		return fmt.Errorf("%w: header %d is of block %d, header %d of block %d",
			ErrHistory, a.Index, a.Height, b.Index, b.Height)
	case a.TimeMs > b.TimeMs:
		return fmt.Errorf("%w: header %d has a later time than header %d", ErrHistory, a.Index, b.Index)
	}
	return nil
}

// CheckHistory reports whether the newer header's history holds the older header: whoever cosigned
// the newer one vouched for the older one at its place, with all that it anchors. path is the
// inclusion path of the older header's leaf in the tree over the headers before the newer one
// (RFC 6962 with SM3). Two headers of one index must be the same and need no path.
//
// It checks neither header's cosignatures: see [Epoch.CheckQuorum]. The epochs may be in either
// order, since a header whose cosigners were away is certified by a later epoch.
func CheckHistory(older, newer Header, path []merkle.Hash) error {
	if err := CheckOrder(older, newer); err != nil {
		return err
	}
	switch {
	case older.Index > newer.Index:
		return fmt.Errorf("%w: header %d is not before header %d", ErrHistory, older.Index, newer.Index)
	case older.Index == newer.Index && len(path) > 0:
		return fmt.Errorf("%w: a header needs no path to itself", ErrHistory)
	case older.Index == newer.Index:
		return nil
	}
	if err := merkle.VerifyInclusion(older.Index, newer.Index, older.Leaf(), path, newer.History); err != nil {
		return fmt.Errorf("%w: header %d is not in the history of header %d: %v",
			ErrHistory, older.Index, newer.Index, err)
	}
	return nil
}
