package people

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary"
)

// A stranger who guesses is slowed down, and the owner at another place is not.
func TestGuard(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	g := NewGuard(func() time.Time { return now })
	held := func(account, network string, known bool) bool {
		return notary.CodeOf(g.Try(account, network, known)) == notary.CodeRateLimited
	}
	for i := range freeTries {
		if g.Try("zhang", "192.0.2.1", false) != nil {
			t.Fatalf("attempt %d is held up", i)
		}
	}
	if !held("zhang", "192.0.2.1", false) {
		t.Error("guessing goes on")
	}
	if held("zhang", "192.0.2.2", true) || held("li", "192.0.2.1", false) {
		t.Error("the owner elsewhere, or somebody else here, is held up")
	}
	for delays, last := 0, time.Duration(0); delays < 12; delays++ {
		wait := time.Duration(0)
		for held("zhang", "192.0.2.1", false) {
			now, wait = now.Add(time.Second), wait+time.Second
		}
		if wait < last || wait > longestDelay+time.Second {
			t.Fatalf("delay %d is %v after %v", delays, wait, last)
		}
		last = wait
	}
	now = now.Add(longestDelay)
	if err := g.Try("zhang", "192.0.2.1", false); err != nil {
		t.Error("locked out for good:", err)
	}
	g.Passed("zhang", "192.0.2.1")
	if held("zhang", "192.0.2.1", true) {
		t.Error("held up after a success")
	}
}

// Many strangers slow each other down, and not who is known.
func TestGuardFromManyNetworks(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	g := NewGuard(func() time.Time { return now })
	tried := 0
	for i := range 10 * freeTriesAllOver {
		if g.Try("zhang", fmt.Sprint("192.0.2.", i), false) == nil {
			tried++
		}
	}
	if tried > freeTriesAllOver {
		t.Errorf("%d attempts from everywhere", tried)
	}
	if err := g.Try("zhang", "198.51.100.1", true); err != nil {
		t.Error("the owner is locked out:", err)
	}
	// Many others do not make it forget who is being guessed at.
	for i := range 2 * maxGuarded {
		_ = g.Try(fmt.Sprint(i), "192.0.2.1", true)
		if i%1000 == 0 && g.Try("zhang", "203.0.113.1", false) == nil {
			t.Fatalf("forgotten after %d others", i)
		}
	}
	if g.failed.Len() > maxGuarded {
		t.Errorf("%d are remembered", g.failed.Len())
	}
}

// Attempts count when they begin: many at once get no further than as many in a row.
func TestGuardAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	g := NewGuard(func() time.Time { return now })
	var begun atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 1000 {
		wg.Go(func() {
			<-start
			if g.Try("zhang", "192.0.2.1", false) == nil {
				begun.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if n := begun.Load(); n != freeTries {
		t.Errorf("%d attempts at once, %d are free", n, freeTries)
	}
}
