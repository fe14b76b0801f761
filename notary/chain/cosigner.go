package chain

import (
	"log/slog"
	"sync"
	"time"

	"stele/crypto/sm"
)

const (
	// signBudget bounds how long a vote waits for cosignatures. The vote is given under the
	// engine's locks; a key device that hangs must not take the chain along.
	signBudget = 200 * time.Millisecond
	// signCache bounds how many signatures are kept for the next vote.
	signCache = 4 * maxExtensionItems
)

// cosigner asks the caller's signing function for SM2 signatures, in the background and
// one at a time. What comes too late for one vote is there for the next. It is safe for
// concurrent use.
type cosigner struct {
	sign   func([]byte) ([]byte, error)
	public *sm.PublicKey
	budget time.Duration
	log    *slog.Logger

	mu    sync.Mutex
	under chan struct{}     // closed when the signing under way ends, nil when there is none; guarded by mu
	done  map[string][]byte // text to verified signature; guarded by mu
}

func newCosigner(sign func([]byte) ([]byte, error), public *sm.PublicKey, log *slog.Logger) *cosigner {
	return &cosigner{sign: sign, public: public, budget: signBudget, log: log, done: map[string][]byte{}}
}

// cosign returns signatures in the order of texts, nil for each that could not be had
// within the budget.
func (c *cosigner) cosign(texts []string) [][]byte {
	t := time.NewTimer(c.budget)
	defer t.Stop()
	for tried := false; !tried; {
		var finished <-chan struct{}
		finished, tried = c.start(texts)
		select {
		case <-finished:
			continue
		case <-t.C:
			c.log.Warn("cosigning takes too long, abstaining for now", "budget", c.budget)
		}
		break
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([][]byte, len(texts))
	for i, t := range texts {
		out[i] = c.done[t]
	}
	return out
}

// start signs what is not signed yet and returns a channel that is closed when it is done.
// While an earlier call is under way it starts nothing and returns that call's channel: no
// second request goes to a key device that may be stuck.
func (c *cosigner) start(texts []string) (finished <-chan struct{}, started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for _, t := range texts {
		if c.done[t] == nil {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 && c.under != nil {
		return c.under, false
	}
	ch := make(chan struct{})
	if len(missing) == 0 {
		close(ch)
		return ch, true
	}
	c.under = ch
	go func() {
		for _, t := range missing {
			if !c.signOne(t) {
				break // a device that fails once is not asked 15 times more
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.under = nil
		close(ch)
	}()
	return ch, true
}

// signOne signs a text and verifies the signature before anyone may use it.
func (c *cosigner) signOne(text string) bool {
	sig, err := c.sign([]byte(text))
	if err != nil {
		c.log.Warn("cosigning failed, abstaining", "error", err)
		return false
	}
	if !c.public.Verify([]byte(text), sig) {
		c.log.Error("own cosignature does not verify, abstaining: wrong key or broken key device")
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.done) >= signCache {
		clear(c.done) // signing again is cheap
	}
	c.done[text] = sig
	return true
}
