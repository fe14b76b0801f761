package sqldb_test

import (
	"errors"
	"testing"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// An item that is sent back for its certificate takes nothing from others of its batch: not the record that
// it withdraws, nor its idempotency key.
func TestRefusedSignerTakesNothing(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		rec := s.Receive(t, 1)[0]
		former, keyed := s.Revocation(t, rec, "a mistake"), s.Items(t, 2)
		former.Entry.Certificate = sm.Sum([]byte("one that has ended"))
		keyed[0].Entry.Certificate = former.Entry.Certificate
		keyed[0].Idempotency, keyed[1].Idempotency = "key", "key"
		out, err := s.DB.Log.Receive(t.Context(), []*intake.Item{former, s.Revocation(t, rec, "a mistake"), keyed[0],
			keyed[1]})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []error{notary.ErrCertificateEnded, nil, notary.ErrCertificateEnded, nil} {
			if !errors.Is(out[i].Err, want) || out[i].Replay {
				t.Errorf("item %d: %+v, want %v", i, out[i], want)
			}
		}
	})
}
