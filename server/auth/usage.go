package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-chi/httprate"

	"stele/notary"
	"stele/notary/outage"
)

// UsageStore keeps what keys used. Methods are safe for concurrent use.
type UsageStore interface {
	// NoteKeys writes when keys, by id, were used last, and adds what accounts notarized on
	// a day; less than nothing, where records that were counted came to nothing. After an error the caller tries again
	// with the same numbers: an addition that took effect unseen is counted twice, which errs on the side of the limit.
	NoteKeys(ctx context.Context, used map[string]time.Time, day int64, records map[string]int64) error
	// KeyRecords is what an account notarized on a day, as far as it was noted.
	KeyRecords(ctx context.Context, account string, day int64) (uint64, error)
}

// Usage holds keys to their limits: requests a minute, records a day (UTC). Requests are
// counted by this process alone, records by all servers of a database together, each some
// seconds late, so that several servers may exceed a quota by what they take in that time. It
// is safe for concurrent use.
type Usage struct {
	store UsageStore
	rate  int // requests a minute of a key that has no limit of its own
	now   func() time.Time
	meter *httprate.RateLimiter
	notes *outage.Loop

	mu    sync.Mutex
	day   int64                // guarded by mu, as is what follows
	known map[string]uint64    // by account: noted by all servers when it was read last
	fresh map[string]int64     // by account: taken here and not noted yet
	asked map[string]bool      // accounts that are at work
	used  map[string]time.Time // by key
}

const (
	window     = time.Minute
	flushEvery = 3 * time.Second
)

// NewUsage returns a meter. A rate of 0 or less is none.
func NewUsage(store UsageStore, rate int, now func() time.Time, log *slog.Logger, outages *outage.Tracker) *Usage {
	u := &Usage{store: store, rate: rate, now: now, notes: outage.NewLoop(outages, log, outage.Database),
		known: map[string]uint64{}, fresh: map[string]int64{}, asked: map[string]bool{}, used: map[string]time.Time{}}
	u.meter = httprate.NewRateLimiter(1, window,
		httprate.WithResponseHeaders(httprate.ResponseHeaders{Limit: headerLimit, Remaining: headerRemaining}))
	return u
}

// Names of headers: those that clients know, and those of the draft that follows them
// (draft-ietf-httpapi-ratelimit-headers), which can name several limits.
const (
	headerLimit     = "RateLimit-Limit"
	headerRemaining = "RateLimit-Remaining"
	headerReset     = "RateLimit-Reset" // seconds
	headerPolicy    = "RateLimit-Policy"
	headerState     = "RateLimit"
)

// Admit counts a request of a key and says in the answer's headers what is left. The error
// is for the client.
func (u *Usage) Admit(w http.ResponseWriter, r *http.Request, k notary.APIKey) error {
	now := u.now()
	u.mu.Lock()
	u.used[k.ID] = now
	u.mu.Unlock()
	limit := k.Rate
	if limit <= 0 {
		limit = u.rate
	}
	h := w.Header()
	var limited bool
	if limit > 0 {
		limited = u.meter.OnLimit(w, r.WithContext(httprate.WithRequestLimit(r.Context(), limit)), k.Account)
		left, reset := h.Get(headerRemaining), strconv.Itoa(int(window.Seconds()))
		h.Set(headerReset, reset)
		h.Set(headerPolicy, fmt.Sprintf(`"requests";q=%d;w=%s`, limit, reset))
		h.Set(headerState, `"requests";r=`+left+`;t=`+reset)
	}
	if k.Quota > 0 {
		left, err := u.left(r.Context(), k)
		if err != nil {
			return err
		}
		join(h, headerPolicy, fmt.Sprintf(`"records";q=%d;w=86400`, k.Quota))
		join(h, headerState, fmt.Sprintf(`"records";r=%d;t=%d`, left, int(untilMidnight(now).Seconds())))
	}
	if limited {
		return notary.Errorf(notary.CodeRateLimited, "This key may make %d requests a minute. Nothing was saved.",
			limit).After(window)
	}
	return nil
}

func join(h http.Header, name, value string) {
	if old := h.Get(name); old != "" {
		value = old + ", " + value
	}
	h.Set(name, value)
}

const secondsPerDay = 24 * 60 * 60

func dayOf(t time.Time) int64 { return t.Unix() / secondsPerDay }

func untilMidnight(t time.Time) time.Duration {
	return time.Duration(secondsPerDay-t.Unix()%secondsPerDay) * time.Second
}

// left is how many records the day still has for a key's account.
func (u *Usage) left(ctx context.Context, k notary.APIKey) (uint64, error) {
	day := dayOf(u.now())
	u.mu.Lock()
	u.turn(day)
	u.asked[k.Account] = true
	_, ok := u.known[k.Account]
	spent := u.spent(k.Account)
	u.mu.Unlock()
	if !ok {
		stored, err := u.store.KeyRecords(ctx, k.Account, day)
		if err != nil {
			return 0, notary.Wrap(notary.CodeUnavailable, err,
				"The quota cannot be checked at the moment. Nothing was saved; try again.")
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if _, raced := u.known[k.Account]; !raced {
			u.known[k.Account] = stored
		}
		spent = u.spent(k.Account)
	}
	return k.Quota - min(k.Quota, spent), nil
}

// spent is what is known to be taken from a quota today. The caller holds mu.
func (u *Usage) spent(account string) uint64 {
	return uint64(max(0, int64(u.known[account])+u.fresh[account]))
}

// turn begins a new day: what was not noted of the last one limits nothing any more. The
// caller holds mu.
func (u *Usage) turn(day int64) {
	if u.day != day {
		u.day = day
		clear(u.known)
		clear(u.fresh)
	}
}

// Spend takes records from the day's quota before they are notarized; [Usage.GiveBack]
// returns those that were not. The error is for the client.
func (u *Usage) Spend(ctx context.Context, k notary.APIKey, n uint64) error {
	if k.Quota == 0 {
		return nil
	}
	if _, err := u.left(ctx, k); err != nil { // reads what is stored, where that was not done yet
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if spent := u.spent(k.Account); spent+n > k.Quota {
		return notary.Errorf(notary.CodeQuota,
			"This key may notarize %d records a day (UTC) and has %d left. Nothing was saved.", k.Quota,
			k.Quota-min(k.Quota, spent)).
			After(untilMidnight(u.now()))
	}
	u.fresh[k.Account] += int64(n)
	return nil
}

// GiveBack returns records to the quota that were not notarized.
func (u *Usage) GiveBack(k notary.APIKey, n uint64) {
	if k.Quota == 0 || n == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fresh[k.Account] -= int64(n)
}

// Run notes what keys used every few seconds until ctx ends, and once more then. A crash
// loses the last seconds: a quota is then a little larger, a time of last use a little older.
func (u *Usage) Run(ctx context.Context) error {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			u.Flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushEvery)
			defer cancel()
			u.Flush(last)
			return nil
		}
	}
}

// Flush notes what was used and reads what other servers noted.
func (u *Usage) Flush(ctx context.Context) {
	u.mu.Lock()
	day := dayOf(u.now())
	u.turn(day)
	used, fresh, asked := u.used, u.fresh, u.asked
	u.used, u.fresh, u.asked = map[string]time.Time{}, map[string]int64{}, map[string]bool{}
	u.add(fresh, 1)
	u.mu.Unlock()
	if len(used)+len(fresh) > 0 {
		if err := u.store.NoteKeys(ctx, used, day, fresh); err != nil {
			u.notes.Failed(ctx, slog.LevelWarn, "the use of API keys could not be noted, will try again", err)
			u.takeBack(used, fresh)
			return
		}
		u.notes.Worked(ctx, "noting the use of API keys")
	}
	for account := range asked {
		stored, err := u.store.KeyRecords(ctx, account, day)
		if err != nil {
			return // what is known is old, and good enough until the next time
		}
		u.mu.Lock()
		if u.day == day {
			u.known[account] = stored
		}
		u.mu.Unlock()
	}
}

// add moves what was taken to what is known. The caller holds mu.
func (u *Usage) add(fresh map[string]int64, sign int64) {
	for account, n := range fresh {
		u.known[account] = uint64(max(0, int64(u.known[account])+sign*n))
	}
}

func (u *Usage) takeBack(used map[string]time.Time, fresh map[string]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range used {
		if u.used[id].Before(at) {
			u.used[id] = at
		}
	}
	u.add(fresh, -1)
	for account, n := range fresh {
		u.fresh[account] += n
	}
}
