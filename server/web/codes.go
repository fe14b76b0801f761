package web

import (
	"sync"
	"time"
)

const (
	maxWrongCodes = 10
	wrongPeriod   = time.Hour
	maxCounted    = 100_000
)

// wrongCodes counts wrong codes per certificate number, so that a code cannot be guessed
// from many addresses. Memory is bounded: a full table is forgotten as a whole.
type wrongCodes struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time      // guarded by mu
	count map[string]int // guarded by mu
}

func newWrongCodes(now func() time.Time) *wrongCodes {
	return &wrongCodes{now: now, count: map[string]int{}}
}

func (c *wrongCodes) allowed(number string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.since) > wrongPeriod || len(c.count) > maxCounted {
		c.since = now
		clear(c.count)
	}
	return c.count[number] < maxWrongCodes
}

func (c *wrongCodes) failed(number string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[number]++
}
