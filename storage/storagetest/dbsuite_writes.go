package storagetest

import (
	"reflect"
	"sync"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/intake"
)

// testClaims: an idempotency key stands for what came first, also when two come at once.
func testClaims(t *testing.T, s *Site) {
	claim := func(agency, key, request, id string) (string, sm.Digest) {
		t.Helper()
		made, first, err := s.another(t).Log.ClaimKey(t.Context(), agency, key, sm.Sum([]byte(request)), id)
		fatalIfErr(t, err)
		return made, first
	}
	if made, first := claim("a", "k", "one", "1"); made != "1" || first != sm.Sum([]byte("one")) {
		t.Errorf("the first: %s %s", made, first)
	}
	if made, first := claim("a", "k", "two", "2"); made != "1" || first != sm.Sum([]byte("one")) {
		t.Errorf("the second: %s %s", made, first)
	}
	if made, _ := claim("b", "k", "two", "2"); made != "2" {
		t.Errorf("another agency's: %s", made)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := map[string]bool{}
	for _, id := range []string{"x", "y", "z"} {
		wg.Go(func() {
			made, _, err := s.DB.Log.ClaimKey(t.Context(), "a", "race", sm.Sum(nil), id)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			all[made] = true
		})
	}
	if wg.Wait(); len(all) != 1 {
		t.Errorf("one key stands for %v", all)
	}
}

// testPrepared: what waits for a signature comes back as it was, to its agency alone, and goes.
func testPrepared(t *testing.T, s *Site) {
	item := *s.Items(t, 1)[0]
	item.Entry.Signature, item.KeyUse, item.Idempotency, item.RequestHash = nil, "", "\x01key",
		sm.Sum([]byte("request"))
	p := intake.Prepared{ID: "p", Item: item, ExpiresAt: s.Now().Add(time.Minute)}
	fatalIfErr(t, s.DB.Log.AddPrepared(t.Context(), p))
	got, err := s.another(t).Log.FindPrepared(t.Context(), s.Agency.ID, "p")
	if fatalIfErr(t, err); !reflect.DeepEqual(got, p) {
		t.Errorf("got %+v, want %+v", got, p)
	}
	for agency, id := range map[string]string{"another": "p", s.Agency.ID: "q", "": ""} {
		_, err := s.DB.Log.FindPrepared(t.Context(), agency, id)
		wantErr(t, err, notary.ErrNotFound)
	}
	if n, err := s.DB.Log.DropPrepared(t.Context(), p.ExpiresAt); err != nil || n != 0 {
		t.Errorf("dropped %d before its time, %v", n, err)
	}
	if n, err := s.DB.Log.DropPrepared(t.Context(), p.ExpiresAt.Add(time.Millisecond)); err != nil || n != 1 {
		t.Errorf("dropped %d, %v", n, err)
	}
	_, err = s.DB.Log.FindPrepared(t.Context(), s.Agency.ID, "p")
	wantErr(t, err, notary.ErrNotFound)
}
