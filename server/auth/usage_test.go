package auth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"stele/notary"
)

// ledger is a usage store for these tests alone; the databases have their own.
type ledger struct {
	mu      sync.Mutex
	used    map[string]time.Time
	records map[string]uint64
	down    bool
}

func newLedger() *ledger {
	return &ledger{used: map[string]time.Time{}, records: map[string]uint64{}}
}

func (l *ledger) NoteKeys(_ context.Context, used map[string]time.Time, _ int64, records map[string]int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errors.New("down")
	}
	for id, at := range used {
		l.used[id] = at
	}
	for account, n := range records {
		l.records[account] += uint64(n) // less than nothing too
	}
	return nil
}

func (l *ledger) KeyRecords(_ context.Context, account string, _ int64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return 0, errors.New("down")
	}
	return l.records[account], nil
}

func newUsage(l *ledger, rate int, at *time.Time) *Usage {
	return NewUsage(l, rate, func() time.Time { return *at }, slog.New(slog.DiscardHandler), nil)
}

var someDay = time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)

func TestRate(t *testing.T) {
	at := someDay
	u := newUsage(newLedger(), 3, &at)
	own, rotated, free := notary.APIKey{ID: "1", Account: "1", Rate: 2}, notary.APIKey{ID: "2", Account: "1", Rate: 2},
		notary.APIKey{ID: "3", Account: "3"}
	admit := func(k notary.APIKey) (http.Header, error) {
		w := httptest.NewRecorder()
		err := u.Admit(w, httptest.NewRequest(http.MethodGet, "/", nil), k)
		return w.Header(), err
	}
	h, err := admit(own)
	if err != nil || h.Get("RateLimit-Limit") != "2" || h.Get("RateLimit-Remaining") != "1" ||
		h.Get("RateLimit-Reset") != "60" || h.Get("RateLimit-Policy") != `"requests";q=2;w=60` ||
		h.Get("RateLimit") != `"requests";r=1;t=60` {
		t.Errorf("first: %v %v", h, err)
	}
	if _, err := admit(rotated); err != nil {
		t.Error(err)
	}
	for _, k := range []notary.APIKey{own, rotated} { // they count together
		if h, err := admit(k); notary.CodeOf(err) != notary.CodeRateLimited || h.Get("RateLimit-Remaining") != "0" {
			t.Errorf("third: %v %v", h, err)
		}
	}
	if h, err := admit(free); err != nil || h.Get("RateLimit-Limit") != "3" { // what the instance allows
		t.Errorf("another key: %v %v", h, err)
	}
}

func TestQuota(t *testing.T) {
	at, l := someDay, newLedger()
	u, other := newUsage(l, 0, &at), newUsage(l, 0, &at)
	k := notary.APIKey{ID: "k", Account: "a", Quota: 10}
	spend := func(u *Usage, n uint64) bool {
		err := u.Spend(t.Context(), k, n)
		if err != nil && notary.CodeOf(err) != notary.CodeQuota {
			t.Error(err)
		}
		return err == nil
	}
	if !spend(u, 6) || spend(u, 5) || !spend(u, 4) || spend(u, 1) {
		t.Error("ten records a day")
	}
	u.GiveBack(k, 3)
	if !spend(u, 1) || spend(u, 3) {
		t.Error("what was not notarized comes back")
	}
	u.Flush(t.Context())
	if l.records["a"] != 8 || spend(other, 3) || !spend(other, 1) { // the other server reads what was noted
		t.Errorf("noted %d", l.records["a"])
	}
	other.Flush(t.Context())
	if spend(u, 3) { // does not know of the other's yet, and has no room all the same
		t.Error("over the quota")
	}
	u.Flush(t.Context())
	u.GiveBack(k, 2) // of what was noted already
	if !spend(u, 2) {
		t.Error("records that were noted come back too")
	}
	w := httptest.NewRecorder()
	if err := u.Admit(w, httptest.NewRequest(http.MethodGet, "/", nil), k); err != nil ||
		w.Header().Get("RateLimit-Policy") != `"records";q=10;w=86400` ||
		w.Header().Get("RateLimit") != `"records";r=1;t=3600` {
		t.Errorf("%v %v", w.Header(), err)
	}
	var e *notary.Error
	if err := u.Spend(t.Context(), k, 5); !errors.As(err, &e) || e.Wait != time.Hour {
		t.Errorf("until midnight: %+v", e)
	}
	l.records = map[string]uint64{}
	if at = at.Add(time.Hour); !spend(u, 10) || spend(u, 1) {
		t.Error("the next day")
	}
}

func TestUsageStoreDown(t *testing.T) {
	at, l := someDay, newLedger()
	u := newUsage(l, 0, &at)
	k := notary.APIKey{ID: "k", Account: "a", Quota: 10}
	l.down = true
	if err := u.Spend(t.Context(), k, 1); notary.CodeOf(err) != notary.CodeUnavailable {
		t.Errorf("a quota that cannot be read: %v", err)
	}
	l.down = false
	if err := errors.Join(u.Spend(t.Context(), k, 4),
		u.Admit(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), k)); err != nil {
		t.Fatal(err)
	}
	l.down = true
	u.Flush(t.Context())
	l.down = false
	ctx, stop := context.WithCancel(t.Context())
	stop()
	// it notes what is left when it ends
	if err := u.Run(ctx); err != nil || l.records["a"] != 4 || !l.used["k"].Equal(at) {
		t.Errorf("%v %+v", err, l)
	}
}

func TestNetworks(t *testing.T) {
	store := &memory{keys: map[string]notary.APIKey{}}
	keys := NewKeys(store, time.Now)
	text, k := NewKey(notary.APIKey{AgencyID: "a", Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"),
		netip.MustParsePrefix("2001:db8::/32")}})
	if err := store.AddKey(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	for addr, ok := range map[string]bool{"10.1.2.3:5": true, "[::ffff:10.1.2.3]:5": true, "[2001:db8::1]:5": true,
		"10.2.0.1:5": false, "[2001:db9::1]:5": false, "": false, "x": false} {
		t.Run(addr, func(t *testing.T) {
			if _, err := keys.Authenticate(t.Context(), "Bearer "+text, addr); ok != (err == nil) || !ok &&
				notary.CodeOf(err) != notary.CodeForbidden {
				t.Errorf("%q: %v", addr, err)
			}
		})
	}
	if _, err := keys.Authenticate(t.Context(), "Bearer "+text[:len(text)-1], "10.1.2.3:5"); notary.CodeOf(
		err) != notary.CodeUnauthorized {
		t.Errorf("a wrong key: %v", err)
	}
}
