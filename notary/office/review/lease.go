package review

import (
	"context"
	"sync"
	"time"
)

// leaseFor is how long a server has a piece of work to itself without saying that it is still there.
const leaseFor = 6 * time.Second

// Leases keep two servers from doing the same work. They save work and guard nothing: what two
// servers do all the same has one result, by its idempotency key. Lease takes or renews the named
// lease for ttl and reports whether this holder has it; ReleaseLease gives it up. They do not retry
// and are safe for concurrent use.
type Leases interface {
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	ReleaseLease(ctx context.Context, name, holder string) error
}

// alone does work while this server has a lease, which it renews meanwhile and gives up
// afterwards; what a server leaves that ends without doing so can be taken up 6 s later. The
// context of work ends when another server has the lease. Without the lease nothing is done; an
// error is one of the store of leases, or what work returned.
func alone(ctx context.Context, leases Leases, name, holder string, work func(ctx context.Context) error) error {
	ours, err := leases.Lease(ctx, name, holder, leaseFor)
	if err != nil || !ours {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var beat sync.WaitGroup
	beat.Go(func() { keepLease(ctx, stop, leases, name, holder) })
	defer func() {
		stop()
		beat.Wait()
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = leases.ReleaseLease(over, name, holder) // it runs out by itself
	}()
	return work(ctx)
}

// keepLease renews a lease and stops the work when another server has it.
func keepLease(ctx context.Context, stop func(), leases Leases, name, holder string) {
	t := time.NewTicker(leaseFor / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if ours, err := leases.Lease(ctx, name, holder, leaseFor); err == nil && !ours {
			stop()
			return
		}
	}
}

// inHand are the pieces of work that this process is at, by their ids: two goroutines do not do the
// same. The zero value is ready; it is safe for concurrent use.
type inHand struct {
	mu  sync.Mutex
	ids map[string]bool // guarded by mu
}

// begin takes a piece of work in hand, unless somebody is at it or at so many others; most is 0 where
// there is no limit.
func (h *inHand) begin(id string, most int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ids[id] || most > 0 && len(h.ids) >= most {
		return false
	}
	if h.ids == nil {
		h.ids = map[string]bool{}
	}
	h.ids[id] = true
	return true
}

// end lets go of it.
func (h *inHand) end(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ids, id)
}
