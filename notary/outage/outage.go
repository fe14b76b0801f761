// Package outage knows which of a server's dependencies is down, since when and why. Many loops need
// the same database: that it is gone is one line of the log and not one for each of their rounds, and
// one line says when it is back and how long it was away.
package outage

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"
)

// Names of what every server depends on.
const (
	Database = "database"
	Objects  = "objects"
	Chain    = "chain"
	Scanner  = "scanner"
)

const (
	probeEvery = 2 * time.Second
	downEvery  = 500 * time.Millisecond // while something is down: its return is not to be missed
	probeTime  = 3 * time.Second        // no answer within this is none
	freshFor   = 500 * time.Millisecond // an answer is worth this long
	// settleTime is how long after its return a dependency explains a failure: loops pause for up to
	// 10 s, and connections from before the outage break only when they are used.
	settleTime = 15 * time.Second
)

// State is what is known of a dependency.
type State struct {
	Name  string
	Up    bool
	Since time.Time // when it went up or down; at first, when this server began to look
	Seen  time.Time // when it answered last
	Cause string    // in words, without addresses or secrets; empty while it is up

	returned bool // it is up and was down before
}

// Tracker watches dependencies. It is safe for concurrent use; a nil one watches nothing.
type Tracker struct {
	log   *slog.Logger
	now   func() time.Time
	base  context.Context // of probes
	end   context.CancelFunc
	mu    sync.Mutex
	parts []*part // guarded by mu; in the order of [Tracker.Watch]
}

type part struct {
	probe func(context.Context) error // nil: others tell, see [Tracker.Report]

	mu     sync.Mutex
	state  State         // guarded by mu
	asked  time.Time     // guarded by mu; end of the last probe
	flight chan struct{} // guarded by mu; closed when the probe that is under way ends, nil while none is
}

// New returns a tracker that watches nothing yet. Its probes outlive ctx and end with [Tracker.Run].
func New(ctx context.Context, log *slog.Logger, now func() time.Time) *Tracker {
	base, end := context.WithCancel(context.WithoutCancel(ctx))
	return &Tracker{log: log, now: now, base: base, end: end}
}

// time is the tracker's; a nil one has none, and every duration is 0.
func (t *Tracker) time() time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.now()
}

// Watch adds a dependency that is up now. probe asks it for something cheap and ends with its
// context; nil means that those who talk to it report.
func (t *Tracker) Watch(name string, probe func(context.Context) error) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parts = append(t.parts, &part{probe: probe, state: State{Name: name, Up: true, Since: now, Seen: now}})
}

// Run asks all dependencies again and again until ctx ends.
func (t *Tracker) Run(ctx context.Context) error {
	defer t.end()
	for {
		pause := probeEvery
		for _, p := range t.all() {
			t.ask(p, freshFor)
			if !p.copy().Up {
				pause = downEvery
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *Tracker) all() []*part {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.parts[:len(t.parts):len(t.parts)]
}

func (p *part) copy() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

var answered = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// ask begins a probe, unless one is under way or has ended in the time of fresh, and returns what its end
// closes. A probe that does not end with its time is still the only one: a file system that hangs must
// not collect goroutines.
func (t *Tracker) ask(p *part, fresh time.Duration) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.flight != nil:
		return p.flight
	case p.probe == nil, t.base.Err() != nil, t.now().Sub(p.asked) < fresh && !p.asked.IsZero():
		return answered
	}
	done := make(chan struct{})
	p.flight = done
	go func() {
		ctx, cancel := context.WithTimeout(t.base, probeTime)
		defer cancel()
		late := context.AfterFunc(ctx, func() { t.settle(p, ctx.Err()) })
		err := p.probe(ctx)
		if late() {
			t.settle(p, err)
		}
		p.mu.Lock()
		p.flight, p.asked = nil, t.now()
		p.mu.Unlock()
		close(done)
	}()
	return done
}

// settle notes an answer. Changes are logged in their order.
func (t *Tracker) settle(p *part, err error) {
	if t.base.Err() != nil {
		return // the server stops: it is not the dependency that ended the probe
	}
	now := t.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.state
	was, since := s.Up, s.Since
	if s.Up, s.Cause = err == nil, Cause(err); s.Up {
		s.Seen = now
	}
	if s.Up == was {
		return
	}
	s.Since = now
	if s.returned = s.Up; s.Up {
		t.log.Info("a dependency is up again", "dependency", s.Name, "down_for", now.Sub(since).Round(time.Millisecond))
	} else {
		t.log.Warn("a dependency is down", "dependency", s.Name, "cause", s.Cause, "error", err)
	}
}

// Report says how a call of a dependency ended, nil for well. Whoever calls one that has no probe
// tells; of a dependency with a probe only failures that are certainly its own are told.
func (t *Tracker) Report(name string, err error) {
	for _, p := range t.all() {
		if p.copy().Name == name && !errors.Is(err, context.Canceled) {
			t.settle(p, err)
		}
	}
}

// Check asks all dependencies at once, waits for their answers for a while and returns what is known
// then. What does not answer in that time stands as before, until its own time is over.
func (t *Tracker) Check(ctx context.Context, patience time.Duration) []State {
	all := t.all()
	flights := make([]<-chan struct{}, len(all))
	for i, p := range all {
		flights[i] = t.ask(p, freshFor)
	}
	await(ctx, flights, time.After(patience))
	return t.States()
}

// askAnew asks dependencies for the cause of a failure, and waits for a while. A probe that is under way
// may have been answered before the failure: its end is waited for, and another begins.
func (t *Tracker) askAnew(ctx context.Context, needs []string, patience time.Duration) {
	over := time.After(patience)
	for _, fresh := range []time.Duration{math.MaxInt64, 0} {
		var flights []<-chan struct{}
		for _, p := range t.all() {
			if slices.Contains(needs, p.copy().Name) {
				flights = append(flights, t.ask(p, fresh))
			}
		}
		if !await(ctx, flights, over) || t.explains(needs) {
			return
		}
	}
}

// await waits for all flights, until over or the end of ctx.
func await(ctx context.Context, flights []<-chan struct{}, over <-chan time.Time) bool {
	for _, f := range flights {
		select {
		case <-f:
		case <-over:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// States are what is known now, in the order of [Tracker.Watch].
func (t *Tracker) States() []State {
	all := t.all()
	out := make([]State, len(all))
	for i, p := range all {
		out[i] = p.copy()
	}
	return out
}

// explains reports whether one of the dependencies named is down, or came back just now.
func (t *Tracker) explains(needs []string) bool {
	for _, s := range t.States() {
		for _, name := range needs {
			if s.Name == name && (!s.Up || s.returned && t.now().Sub(s.Since) < settleTime) {
				return true
			}
		}
	}
	return false
}
