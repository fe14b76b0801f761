package worker

import (
	"context"
	"slices"
	"sync"
)

// gate lets so many in at a time, and of each tenant fewer than of all. Those that wait come in
// order, but for tenants that have their share already.
type gate struct {
	slots, tenant, most int

	mu      sync.Mutex
	inside  int
	by      map[string]int // inside, by tenant
	waiting []*waiter
}

type waiter struct {
	tenant string
	turn   chan struct{} // closed when it may go in
}

func newGate(slots, tenant, waiting int) *gate {
	return &gate{slots: slots, tenant: tenant, most: waiting, by: map[string]int{}}
}

// enter waits for a slot. The returned function gives it back and is called once.
func (g *gate) enter(ctx context.Context, tenant string) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	leave = func() { g.leave(tenant) }
	g.mu.Lock()
	if g.inside < g.slots && g.by[tenant] < g.tenant { // nobody who waits could go in instead
		g.let(tenant)
		g.mu.Unlock()
		return leave, nil
	}
	n := 0
	for _, w := range g.waiting {
		if w.tenant == tenant {
			n++
		}
	}
	if n >= g.most {
		g.mu.Unlock()
		return nil, ErrBusy
	}
	w := &waiter{tenant: tenant, turn: make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.turn:
		return leave, nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	i := slices.Index(g.waiting, w)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 { // its turn came in the same moment
		leave()
	}
	return nil, ctx.Err()
}

// let counts one in; g.mu is held.
func (g *gate) let(tenant string) {
	g.inside++
	g.by[tenant]++
}

func (g *gate) leave(tenant string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.by[tenant]--; g.by[tenant] == 0 {
		delete(g.by, tenant)
	}
	for i := 0; i < len(g.waiting) && g.inside < g.slots; {
		w := g.waiting[i]
		if g.by[w.tenant] >= g.tenant {
			i++
			continue
		}
		g.let(w.tenant)
		g.waiting = slices.Delete(g.waiting, i, i+1)
		close(w.turn)
	}
}
