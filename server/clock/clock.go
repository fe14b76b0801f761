// Package clock compares this machine's clock with those of others, so that nothing is signed with
// a wrong time: a statement's time cannot be taken back, and a chain whose newest block is of a day
// to come takes no other until that day.
package clock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// ErrWrong means that this machine's clock is further from others than is borne.
var ErrWrong = errors.New("this machine's clock is wrong")

// Source is a clock that this machine does not set.
type Source struct {
	Name string // for people: "the database server"
	// Now asks what time it is there. The answer may be wrong by half a Step.
	Now  func(context.Context) (time.Time, error)
	Step time.Duration
}

// Times of measuring. A reading that agrees and is older than MaxAge says nothing any more; one that
// contradicts holds until its source answers again.
const (
	Interval   = time.Minute
	Impatience = 5 * time.Second // between measurements while the clock is wrong
	MaxAge     = time.Hour
	askTime    = 5 * time.Second
)

// Reading is how far this machine's clock was from another one.
type Reading struct {
	Source string
	Offset time.Duration // positive: this machine is ahead
	Error  time.Duration // the offset is known up to this
	At     time.Time     // by this machine's clock

	mono time.Duration // since the guard was made, by a clock that nobody sets
}

// Guard says whether this machine's clock may be signed with. It is safe for concurrent use.
type Guard struct {
	tolerance time.Duration
	now       func() time.Time
	mono      func() time.Duration
	log       *slog.Logger

	mu       sync.Mutex
	sources  []Source           // guarded by mu
	readings map[string]Reading // guarded by mu; of sources that have answered
	wrong    bool               // guarded by mu; as was said last
}

// New makes a guard of the clock that now reads. What is borne is beside what a reading may be wrong by.
func New(tolerance time.Duration, now func() time.Time, log *slog.Logger, sources ...Source) *Guard {
	start := time.Now()
	return &Guard{tolerance: tolerance, now: now, mono: func() time.Duration { return time.Since(start) }, log: log,
		sources: sources, readings: map[string]Reading{}}
}

// Add adds a source, which is asked from the next measurement on.
func (g *Guard) Add(s Source) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sources = append(g.sources, s)
}

// Measure asks all sources at once. One that does not answer keeps its last reading.
func (g *Guard) Measure(ctx context.Context) {
	g.mu.Lock()
	sources := g.sources
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range sources {
		wg.Go(func() { g.ask(ctx, s) })
	}
	wg.Wait()
	g.say(ctx)
}

func (g *Guard) ask(ctx context.Context, s Source) {
	before, mono := g.now(), g.mono()
	theirs, err := s.Now(ctx)
	took := g.mono() - mono
	if err != nil {
		g.log.DebugContext(ctx, "a clock cannot be asked", "source", s.Name, "error", err)
		return
	}
	at := before.Add(took / 2)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.readings[s.Name] = Reading{Source: s.Name, Offset: at.Round(0).Sub(theirs), Error: (took + s.Step) / 2, At: at,
		mono: mono + took/2}
}

// say logs when the clock has become wrong, and when it is right again.
func (g *Guard) say(ctx context.Context) {
	err := g.Check()
	g.mu.Lock()
	changed := g.wrong != (err != nil)
	g.wrong = err != nil
	g.mu.Unlock()
	switch {
	case changed && err != nil:
		g.log.ErrorContext(ctx, "nothing is signed until this machine's clock is set right", "error", err)
	case changed:
		g.log.InfoContext(ctx, "this machine's clock is right again", "readings", g.String())
	}
}

// Run measures at once and each minute until ctx ends, and every five seconds while a source contradicts.
func (g *Guard) Run(ctx context.Context) error {
	tick := time.NewTicker(Impatience)
	defer tick.Stop()
	for {
		g.Measure(ctx)
		for last := g.mono(); g.mono()-last < Interval; {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			if g.contradicted() {
				break
			}
		}
	}
}

// Readings are those that still count, as of now: that the clock was set meanwhile is in them.
func (g *Guard) Readings() []Reading {
	now, mono := g.now(), g.mono()
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Reading
	for _, s := range g.sources {
		r, ok := g.readings[s.Name]
		passed := mono - r.mono
		if !ok {
			continue
		}
		// What the wall clock has done beyond the time that has passed, somebody set.
		r.Offset += now.Round(0).Sub(r.At.Round(0)) - passed
		if passed > MaxAge && !g.off(r) {
			continue
		}
		out = append(out, r)
	}
	return out
}

// Check returns [ErrWrong], with what was found, when more sources contradict this machine's clock
// than agree with it. Without any source there is nothing to compare with, and no error. It asks
// nobody and takes no time: it is called before each signature.
func (g *Guard) Check() error {
	agree, against := g.votes()
	if len(against) <= agree {
		return nil
	}
	return fmt.Errorf("%w: it is %s; up to %v are borne. Set it, and see to it that it is kept (NTP)",
		ErrWrong, strings.Join(against, ", and "), g.tolerance)
}

// votes counts the sources that agree with this machine's clock, and says which do not.
func (g *Guard) votes() (agree int, against []string) {
	for _, r := range g.Readings() {
		if g.off(r) {
			against = append(against, r.String())
		} else {
			agree++
		}
	}
	return agree, against
}

func (g *Guard) off(r Reading) bool { return r.Offset.Abs()-r.Error > g.tolerance }

func (g *Guard) contradicted() bool {
	_, against := g.votes()
	return len(against) > 0
}

// Confirmed reports whether at least one source agrees and none contradicts.
func (g *Guard) Confirmed() bool {
	agree, against := g.votes()
	return agree > 0 && len(against) == 0
}

// String says how far the clock is from each source.
func (g *Guard) String() string {
	var parts []string
	for _, r := range g.Readings() {
		parts = append(parts, r.String())
	}
	if len(parts) == 0 {
		return "nothing to compare with"
	}
	return strings.Join(parts, ", ")
}

func (r Reading) String() string {
	side := "ahead of"
	if r.Offset < 0 {
		side = "behind"
	}
	if r.Offset.Abs() <= r.Error {
		return "as " + r.Source + " says"
	}
	return fmt.Sprintf("%v %s %s", r.Offset.Abs().Round(10*time.Millisecond), side, r.Source)
}
