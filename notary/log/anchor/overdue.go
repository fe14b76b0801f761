package anchor

import (
	"context"
	"log/slog"
	"time"
)

const (
	defaultOverdue = 30 * time.Second
	maxOverdue     = time.Hour
)

// overdue is what a [Loop] knows of a checkpoint that the chain has taken in and gives no
// evidence for. That happens where too few members vouch for the time of the chain's block,
// because a clock was wrong; such a checkpoint stays without evidence for ever, and only a
// larger one covers its records. Nobody should have to wait for the next document for that, so
// the loop asks for an entry of its own making. While the fault lasts it does so less and less
// often: an entry stays in the log for ever.
//
// The times of time.Now are compared by their monotonic readings, which matters: clocks that
// are set are the reason for this. A crash forgets all of it, and the new process waits from
// the beginning.
type overdue struct {
	size  uint64
	since time.Time
	asked int // in a row, without evidence between them
}

// settled is called when there is evidence.
func (o *overdue) settled() { *o = overdue{} }

// waits is called when the chain has a checkpoint of this size and no evidence for it. It
// reports whether that has been so for too long.
func (o *overdue) waits(size uint64, first time.Duration, now time.Time) bool {
	if o.size != size {
		o.size, o.since = size, now
	}
	if now.Sub(o.since) < min(first<<min(o.asked, 20), maxOverdue) {
		return false
	}
	o.since = now
	o.asked++
	return true
}

// late asks for a new entry when evidence for this size is overdue. Where that fails, it is
// asked for again later, as where it does not help.
func (l *Loop) late(ctx context.Context, size uint64) {
	if l.opt.Overdue == nil || !l.overdue.waits(size, l.opt.OverdueAfter, l.opt.Now()) {
		return
	}
	attrs := []slog.Attr{slog.String("chain", l.opt.Name), slog.Uint64("size", size),
		slog.Int("times", l.overdue.asked)}
	if err := l.opt.Overdue(ctx, size); err != nil {
		l.opt.Log.LogAttrs(ctx, slog.LevelError,
			"an anchor is overdue, and no entry could be made to cover it; will try again",
			append(attrs, slog.Any("error", err))...)
		return
	}
	l.opt.Log.LogAttrs(ctx, slog.LevelWarn, "an anchor is overdue: the chain has the checkpoint, and too few of its "+
		"members vouch for the time; a new entry covers its records", attrs...)
}
