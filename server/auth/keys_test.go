package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stele/notary"
)

// memory is a store for these tests alone; the databases have their own.
type memory struct {
	keys  map[string]notary.APIKey
	finds int
	down  bool
}

func (m *memory) AddKey(_ context.Context, k notary.APIKey) error { m.keys[k.ID] = k; return nil }

func (m *memory) FindKey(_ context.Context, id string) (notary.APIKey, error) {
	m.finds++
	if m.down {
		return notary.APIKey{}, errors.New("secret detail")
	}
	k, ok := m.keys[id]
	if !ok {
		return k, notary.ErrNotFound
	}
	return k, nil
}

func TestAuthenticate(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	store := &memory{keys: map[string]notary.APIKey{}}
	keys := NewKeys(store, func() time.Time { return now })
	text, k := NewKey(notary.APIKey{AgencyID: "agency", Name: "test", CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
	other, _ := NewKey(notary.APIKey{AgencyID: "agency", Name: "never stored", CreatedAt: now, ExpiresAt: time.Time{}})
	if err := store.AddKey(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, k.Digest.String()) || len(text) < 50 {
		t.Errorf("key %q", text)
	}
	for header, ok := range map[string]bool{
		"Bearer " + text: true, "bearer " + text: true,
		"": false, "Bearer ": false, "Bearer": false, text: false, "Basic " + text: false, "Bearer " + other: false,
		"Bearer " + text + "x":         false,
		"Bearer " + text[:len(text)-1]: false, "Bearer stele__": false, "Bearer stele_" + k.ID + "_": false,
		"Bearer " + strings.Repeat("a", 10_000): false,
	} {
		t.Run(header, func(t *testing.T) {
			got, err := keys.Authenticate(t.Context(), header, "192.0.2.1:9")
			if ok != (err == nil) || ok && got.AgencyID != "agency" {
				t.Errorf("%.80q: %+v %v", header, got, err)
			}
			if !ok && notary.CodeOf(err) != notary.CodeUnauthorized {
				t.Errorf("%.80q: %v", header, err)
			}
		})
	}
}

// A key that was revoked, or has expired, works for no longer than the cache remembers.
func TestRevocationAndExpiry(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	store := &memory{keys: map[string]notary.APIKey{}}
	keys := NewKeys(store, func() time.Time { return now })
	revoked, r := NewKey(notary.APIKey{AgencyID: "a", Name: "r", CreatedAt: now, ExpiresAt: time.Time{}})
	expiring, e := NewKey(notary.APIKey{AgencyID: "a", Name: "e", CreatedAt: now, ExpiresAt: now.Add(time.Second)})
	for _, k := range []notary.APIKey{r, e} {
		if err := store.AddKey(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	in := func(text string) bool {
		_, err := keys.Authenticate(t.Context(), "Bearer "+text, "192.0.2.1:9")
		return err == nil
	}
	if first, again := in(revoked), in(revoked); !first || !again || !in(expiring) || store.finds != 2 {
		t.Fatalf("fresh keys, %d look-ups", store.finds)
	}
	r.RevokedAt = now
	store.keys[r.ID] = r
	now = now.Add(time.Second + time.Millisecond)
	if in(expiring) {
		t.Error("an expired key works from the cache")
	}
	now = now.Add(cacheFor)
	if in(revoked) {
		t.Error("a revoked key works after the cache's time")
	}
}

func TestStoreDown(t *testing.T) {
	store := &memory{keys: map[string]notary.APIKey{}, down: true}
	text, _ := NewKey(notary.APIKey{AgencyID: "a", Name: "x", CreatedAt: time.Now(), ExpiresAt: time.Time{}})
	_, err := NewKeys(store, time.Now).Authenticate(t.Context(), "Bearer "+text, "192.0.2.1:9")
	if notary.CodeOf(err) != notary.CodeUnavailable {
		t.Errorf("%v", err)
	}
}
