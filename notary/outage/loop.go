package outage

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// explainTime is how long a failure waits for the dependencies' word on it.
const explainTime = time.Second

// Loop is work that is tried again until it succeeds. Its failures are lines of the log where nothing
// else explains them: the first one, and the end. It is safe for concurrent use.
type Loop struct {
	t     *Tracker
	log   *slog.Logger
	needs []string

	mu       sync.Mutex
	failures int        // guarded by mu; since it worked
	since    time.Time  // guarded by mu; of the first of them
	told     slog.Level // guarded by mu; the highest level at which one was logged
}

// untold is below every level.
const untold = slog.LevelDebug - 1

// NewLoop returns a loop that cannot work without the dependencies named; those that are not watched
// explain nothing. t may be nil.
func NewLoop(t *Tracker, log *slog.Logger, needs ...string) *Loop {
	return &Loop{t: t, log: log, needs: needs, told: untold}
}

// Level is the level for a failure that would be one of this level by itself: while a dependency is
// down, which has a line of its own, it is debug.
func (l *Loop) Level(ctx context.Context, level slog.Level) slog.Level {
	if l.t == nil {
		return level
	}
	if l.t.explains(l.needs) {
		return slog.LevelDebug
	}
	if l.t.askAnew(ctx, l.needs, explainTime); l.t.explains(l.needs) {
		return slog.LevelDebug
	}
	return level
}

// Failed says that a round failed and will be tried again. Repetitions are debug. After the end of ctx
// a failure is no news.
func (l *Loop) Failed(ctx context.Context, level slog.Level, what string, err error, attrs ...slog.Attr) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	repeated := level <= l.told
	l.mu.Unlock()
	if !repeated { // else it is debug below, whatever the dependencies say: they are not asked each time
		level = l.Level(ctx, level)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures++; l.failures == 1 {
		l.since = l.t.time()
	}
	if level <= l.told {
		level = slog.LevelDebug
	}
	l.told = max(l.told, level)
	l.log.LogAttrs(ctx, level, what, append(attrs, slog.Any("error", err), slog.Int("failures", l.failures))...)
}

// Worked says that a round succeeded: after failures that were logged, that is a line too.
func (l *Loop) Worked(ctx context.Context, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures == 0 {
		return
	}
	level := slog.LevelInfo
	if l.told <= slog.LevelDebug {
		level = slog.LevelDebug
	}
	l.log.LogAttrs(ctx, level, what+" works again", slog.Int("failures", l.failures),
		slog.Duration("down_for", l.t.time().Sub(l.since).Round(time.Millisecond)))
	l.failures, l.told = 0, untold
}
