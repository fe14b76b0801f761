package review

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"stele/notary/outage"
)

// Work is what a [Worker] does.
type Work[T any] struct {
	Name   string // of one piece, before its id in the names of leases
	What   string // in the log: what is looked for
	Broke  string // in the log: a piece could not be done
	Every  time.Duration
	AtOnce int // pieces that a server is at, with those that people wait for
	ID     func(T) string
	Do     func(ctx context.Context, t T) error

	Leases  Leases
	Holder  string // names this server among those that share the database
	Log     *slog.Logger
	Outages *outage.Tracker // explains failures; nil: nothing does
}

// Worker does what was decided. Several servers may run one: a lease keeps them out of each other's
// way, and without it they would do the work twice, with the same results. What a crash leaves, or an
// outage, is still waiting and is done at the next look. It is safe for concurrent use.
type Worker[T any] struct {
	w       Work[T]
	wake    chan struct{} // capacity 1: a hint that there is work
	looking *outage.Loop
	inHand  inHand
}

// NewWorker returns a worker that does nothing until it is asked, or until it runs.
func NewWorker[T any](w Work[T]) *Worker[T] {
	return &Worker[T]{w: w, wake: make(chan struct{}, 1),
		looking: outage.NewLoop(w.Outages, w.Log, outage.Database, outage.Objects, outage.Scanner)}
}

// Wake has the work looked for now.
func (w *Worker[T]) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Now does a piece of work in a way of the caller's, unless somebody is at it already, here or on
// another server.
func (w *Worker[T]) Now(ctx context.Context, t T, do func(ctx context.Context) error) error {
	id := w.w.ID(t)
	if !w.inHand.begin(id, 0) {
		return nil
	}
	defer w.inHand.end(id)
	return w.alone(ctx, id, do)
}

func (w *Worker[T]) alone(ctx context.Context, id string, do func(ctx context.Context) error) error {
	return alone(ctx, w.w.Leases, w.w.Name+"/"+id, w.w.Holder, do)
}

// Run does what list finds until ctx ends.
func (w *Worker[T]) Run(ctx context.Context, list func(ctx context.Context) ([]T, error)) error {
	var at sync.WaitGroup
	defer at.Wait()
	for {
		found, err := list(ctx)
		if err != nil {
			w.looking.Failed(ctx, slog.LevelWarn, w.w.What+" cannot be read, will try again", err)
		} else {
			w.looking.Worked(ctx, "reading "+w.w.What)
		}
		for _, t := range found {
			id := w.w.ID(t)
			if !w.inHand.begin(id, w.w.AtOnce) {
				continue
			}
			at.Go(func() {
				defer w.inHand.end(id)
				if err := w.alone(ctx, id, func(ctx context.Context) error { return w.w.Do(ctx, t) }); err != nil &&
					ctx.Err() == nil {
					w.Failed(ctx, id, err)
				}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		case <-time.After(w.w.Every):
		}
	}
}

// Failed logs that a piece of work will be tried again.
func (w *Worker[T]) Failed(ctx context.Context, id string, err error) {
	w.w.Log.Log(ctx, w.looking.Level(ctx, slog.LevelWarn), w.w.Broke, w.w.Name, id, "error", err)
}
