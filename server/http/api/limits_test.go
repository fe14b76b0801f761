package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/humatest"

	"stele/notary"
)

// A key gets by rotation no key that may do more than itself or has other limits, and ends none
// that may do more.
func TestMayRotate(t *testing.T) {
	soon, later := time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	office := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	own := notary.APIKey{ID: "own", Account: "own", Scopes: []notary.Scope{notary.ScopeRead, notary.ScopeKeys},
		Networks: office, ExpiresAt: soon, Quota: 3}
	for what, c := range map[string]struct {
		change      func(*notary.APIKey)
		rotate, end bool
	}{
		"like it": {func(*notary.APIKey) {}, true, true},
		"itself":  {func(k *notary.APIKey) { *k = own }, true, true},
		"less":    {func(k *notary.APIKey) { k.Scopes = k.Scopes[:1] }, true, true},
		"part of a network": {
			func(k *notary.APIKey) { k.Networks = []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24")} }, true, true},
		"another scope": {func(k *notary.APIKey) { k.Scopes = []notary.Scope{notary.ScopeWrite} }, false, false},
		"everywhere":    {func(k *notary.APIKey) { k.Networks = nil }, false, false},
		"elsewhere": {
			func(k *notary.APIKey) { k.Networks = []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")} }, false, false},
		"for ever":             {func(k *notary.APIKey) { k.ExpiresAt = time.Time{} }, false, false},
		"for longer":           {func(k *notary.APIKey) { k.ExpiresAt = later }, false, false},
		"a quota of its own":   {func(k *notary.APIKey) { k.Account = "other" }, false, true},
		"no quota":             {func(k *notary.APIKey) { k.Account, k.Quota = "other", 0 }, false, true},
		"made by the same one": {func(k *notary.APIKey) { k.ExpiresAt = time.Now() }, true, true},
	} {
		t.Run(what, func(t *testing.T) {
			other := own
			other.ID = "other"
			c.change(&other)
			for may, err := range map[*bool]error{&c.rotate: mayRotate(own, other), &c.end: mayEnd(own, other)} {
				if (err == nil) != *may || err != nil && notary.CodeOf(err) != notary.CodeForbidden {
					t.Errorf("%s: rotate %v, end %v: %v", what, may == &c.rotate, may == &c.end, err)
				}
			}
		})
	}
	free := notary.APIKey{ID: "free", Account: "free", Scopes: notary.Scopes}
	if err := mayEnd(free, own); err != nil {
		t.Error("a key without limits:", err)
	}
	if err := mayRotate(free, own); err == nil {
		t.Error("a key without limits gets another one's limits besides")
	}
}

// What a call does not have is refused, and so is an idempotency key that is there and empty.
func TestUnknownParts(t *testing.T) {
	op := &huma.Operation{Parameters: []*huma.Param{{Name: "limit", In: "query"}, {Name: "id", In: "path"}}}
	for query, fine := range map[string]bool{"": true, "limit=1": true, "limit=1&limt=2": false, "id=x": false} {
		t.Run(query, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/?"+query, nil)
			if err := unknownParts(humatest.NewContext(op, r, httptest.NewRecorder()), r); (err == nil) != fine {
				t.Errorf("%q: %v", query, err)
			}
		})
	}
	for key, fine := range map[string]bool{"": false, "a": true} {
		t.Run(key, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Idempotency-Key", key)
			if err := unknownParts(humatest.NewContext(op, r, httptest.NewRecorder()), r); (err == nil) != fine {
				t.Errorf("the key %q: %v", key, err)
			}
		})
	}
}

// What may have been written counts towards the quota.
func TestUnspent(t *testing.T) {
	unknown := notary.Wrap(notary.CodeUnavailable, errors.Join(notary.ErrUnknownOutcome, errors.New("the client left")),
		"It is not known whether the record was saved.")
	for name, c := range map[string]struct {
		err      error
		replayed bool
		want     bool
	}{
		"written":         {nil, false, false},
		"written before":  {nil, true, true},
		"refused":         {errors.New("refused"), false, true},
		"unknown outcome": {unknown, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := unspent(c.err, c.replayed); got != c.want {
				t.Errorf("%v, repeated %t: given back %t", c.err, c.replayed, got)
			}
		})
	}
}
