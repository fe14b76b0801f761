package people

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"stele/notary"
)

// Guard slows down whoever guesses passwords and codes. It counts failures per account and
// network, so that a stranger who fails does not lock the owner out, and per account from all
// networks, far higher, where the networks that the account has signed in from before are not
// held up by the failures of others. A delay grows and ends; nothing is ever locked for good.
//
// It counts in this process alone: of several servers each allows as much. When there are too
// many counts, those that were asked for longest ago go first. It is safe for concurrent use.
type Guard struct {
	now func() time.Time

	mu     sync.Mutex
	failed *simplelru.LRU[string, failures] // guarded by mu
}

type failures struct {
	n     int
	last  time.Time
	until time.Time // nothing is tried before
}

const (
	freeTries        = 5   // from one network, before the first delay
	freeTriesAllOver = 100 // from all networks that the account is not known at
	firstDelay       = 2 * time.Second
	longestDelay     = 15 * time.Minute
	forgetAfter      = time.Hour // without a failure
	maxGuarded       = 100_000   // accounts and networks; about 25 MB
)

// NewGuard returns a guard that has seen nothing.
func NewGuard(now func() time.Time) *Guard {
	failed, err := simplelru.NewLRU[string, failures](maxGuarded, nil)
	if err != nil {
		panic(err) // the size is not positive: a mistake in this file
	}
	return &Guard{now: now, failed: failed}
}

// Try begins an attempt, which counts as failed until [Guard.Passed] takes that back: many at
// once would otherwise all begin before the first has failed. The error, rate_limited, is for
// the person and says how long to wait. known says that the account has signed in from the
// network before.
func (g *Guard) Try(account, network string, known bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	keys := map[string]int{here(account, network): freeTries}
	if !known {
		keys[account] = freeTriesAllOver
	}
	for key := range keys {
		if f, _ := g.failed.Get(key); now.Before(f.until) {
			wait := f.until.Sub(now)
			return notary.Errorf(notary.CodeRateLimited,
				"There were too many failed attempts. Wait %d seconds and try again.", int(wait.Seconds())+1).After(
				wait)
		}
	}
	for key, free := range keys {
		f, _ := g.failed.Get(key)
		if now.Sub(f.last) > forgetAfter {
			f = failures{}
		}
		f.n, f.last = f.n+1, now
		f.until = now.Add(delay(f.n - free))
		g.failed.Add(key, f)
	}
	return nil
}

// delay doubles with each failure beyond those that are free.
func delay(beyond int) time.Duration {
	if beyond < 0 {
		return 0
	}
	return min(firstDelay<<min(beyond, 16), longestDelay)
}

// Passed takes the failures back that an account has had from a network.
func (g *Guard) Passed(account, network string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed.Remove(here(account, network))
	if f, ok := g.failed.Peek(account); ok {
		f.n, f.until = max(0, f.n-1), time.Time{}
		g.failed.Add(account, f)
	}
}

func here(account, network string) string { return account + "\x00" + network }
