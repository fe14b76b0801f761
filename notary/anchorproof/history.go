package anchorproof

import (
	"errors"
	"fmt"

	"stele/crypto/merkle"
)

// ErrHistory: two headers are not of one history, or the path does not show it.
var ErrHistory = errors.New("headers are not of one history")

// CheckHistory reports whether the newer header's history holds the older header: whoever cosigned
// the newer one vouched for the older one at its place, with all that it anchors. path is the
// inclusion path of the older header's leaf in the tree over the headers before the newer one
// (RFC 6962 with SM3). Two headers of one index must be the same, but for the epoch that
// certified them, and need no path.
//
// It checks neither header's cosignatures: see [Epoch.CheckQuorum]. The epochs may be in either
// order, since a header whose cosigners were away is certified by a later epoch.
func CheckHistory(older, newer Header, path []merkle.Hash) error {
	for _, h := range []Header{older, newer} {
		if err := h.check(); err != nil {
			return err
		}
	}
	switch {
	case older.Chain != newer.Chain:
		return fmt.Errorf("%w: headers of chains %s and %s", ErrChain, older.Chain, newer.Chain)
	case older.Index > newer.Index:
		return fmt.Errorf("%w: header %d is not before header %d", ErrHistory, older.Index, newer.Index)
	case older.Index == newer.Index && older.Leaf() != newer.Leaf():
		return fmt.Errorf("%w: there are two headers %d", ErrHistory, older.Index)
	case older.Index == newer.Index && len(path) > 0:
		return fmt.Errorf("%w: a header needs no path to itself", ErrHistory)
	case older.Index == newer.Index:
		return nil
	case older.Height >= newer.Height:
		return fmt.Errorf("%w: header %d is of block %d, header %d of block %d",
			ErrHistory, older.Index, older.Height, newer.Index, newer.Height)
	case older.TimeMs > newer.TimeMs:
		return fmt.Errorf("%w: header %d has a later time than header %d", ErrHistory, older.Index, newer.Index)
	}
	if err := merkle.VerifyInclusion(older.Index, newer.Index, older.Leaf(), path, newer.History); err != nil {
		return fmt.Errorf("%w: header %d is not in the history of header %d: %v",
			ErrHistory, older.Index, newer.Index, err)
	}
	return nil
}
