package stamp

import (
	"time"

	"stele/notary"
)

// Usable is why no document may be stamped with a seal at a time, nor a certificate begin to show it; nil where
// that may be. Stores ask it in the transaction that says so.
func Usable(s notary.Seal, at time.Time) error {
	if s.ValidAt(at) {
		return nil
	}
	return notary.Errorf(notary.CodeConflict,
		"This seal is not valid now: it was ended, its validity is over, or it has not begun.")
}

// End gives a seal up at a time; from then on no certificate begins to show it. One that was given up before
// is refused.
func End(s *notary.Seal, at time.Time) error {
	if !s.Ended.IsZero() {
		return notary.Errorf(notary.CodeConflict, "This seal was ended before.")
	}
	s.Ended, s.Certificates = at, time.Time{}
	return nil
}
