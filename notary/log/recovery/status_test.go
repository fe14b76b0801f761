package recovery_test

import (
	"testing"

	"stele/storage/storagetest"
)

// Status statements come back, out of the tail and out of entry bundles, and what the database keeps of the
// map follows.
func TestStatusStatements(t *testing.T) {
	for name, withTail := range map[string]bool{"from the tail": true, "from entry bundles": false} {
		t.Run(name, func(t *testing.T) {
			l := lose(t, func(s *storagetest.Site) { s.Receive(t, 5); s.Status(t); s.Sequence(t) },
				func(s *storagetest.Site) {
					recs := s.Receive(t, 100)
					s.Status(t)
					s.ReceiveItems(t, s.Revocation(t, recs[0], "a mistake"))
					s.Receive(t, 145)
					s.Status(t)
					s.Receive(t, 1)
					s.Status(t) // the last of the first 256 entries
					s.Sequence(t)
				})
			if !withTail {
				l.dropTail(t, 1000)
			}
			res, err := l.recover(t)
			if err != nil || res.To != 256 || (res.FromTail > 0) != withTail {
				t.Fatalf("%+v, %v", res, err)
			}
			l.Site.DB = l.older
			l.Receive(t, 1)
			l.Status(t)
			l.Sequence(t)
			l.WantClean(t)
			if res := l.Fsck(t); res.Statuses != 5 {
				t.Errorf("%d status statements", res.Statuses)
			}
		})
	}
}
