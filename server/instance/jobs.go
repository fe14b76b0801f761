package instance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"stele/notary/outage"
)

// stage says when a job ends as the server stops: a stage begins to end when all before it have.
type stage int

const (
	stageWatch    stage = iota // what looks at dependencies: what stops is not down
	stageTrail                 // what is left of the audit trail is sealed, by intake
	stageIntake                // answers what it has taken on
	stageLog                   // logs that, and anchors it
	stageChain                 // ends when nothing is anchored any more
	stageOffice                // people's jobs, and upkeep
	stageWebhooks              // deliveries under way are broken off: they come again
	stages
)

// job is what a capability does in the background.
type job struct {
	name string
	// run runs until its context ends; an error of it ends the instance. It may be nil.
	run func(context.Context) error
	// close frees what the capability holds, when run has ended or was never started. It may be nil.
	close func() error
	end   func() // ends run and waits for it; nil until it runs
}

// jobs are those of all capabilities, in the order in which they end. Each capability adds its own
// while it is opened; they start when all are open.
type jobs [stages][]job

func (j *jobs) add(s stage, name string, run func(context.Context) error) {
	j[s] = append(j[s], job{name: name, run: run})
}

// addCloser adds a job that holds something, which closing frees.
func (j *jobs) addCloser(s stage, name string, run func(context.Context) error, closing func() error) {
	j[s] = append(j[s], job{name: name, run: run, close: closing})
}

// start starts all; failed receives the error of one that cannot go on.
func (j *jobs) start(ctx context.Context, failed func(error)) {
	for s := range j {
		for i := range j[s] {
			job := &j[s][i]
			if job.run == nil {
				continue
			}
			ctx, cancel := context.WithCancel(ctx)
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := job.run(ctx); err != nil {
					failed(fmt.Errorf("%s: %w", job.name, err))
				}
			})
			job.end = func() { cancel(); wg.Wait() }
		}
	}
}

// stop ends all, one after another.
func (j *jobs) stop() error {
	var errs []error
	for _, stage := range j {
		for _, job := range stage {
			if job.end != nil {
				job.end()
			}
			if job.close != nil {
				errs = append(errs, job.close())
			}
		}
	}
	return errors.Join(errs...)
}

// sweep is what a capability tidies up; it returns how much that was.
type sweep struct {
	name string
	run  func(context.Context) (int, error)
}

const sweepEvery = time.Hour

// sweepLoop tidies up at the start and every hour. What fails holds back nothing else.
func (in *Instance) sweepLoop(ctx context.Context) error {
	sweeping := outage.NewLoop(in.outages, in.log, outage.Database, outage.Objects)
	for {
		var errs []error
		var counts []any
		total := 0
		for _, s := range in.sweeps {
			n, err := s.run(ctx)
			errs, counts, total = append(errs, err), append(counts, s.name, n), total+n
		}
		if err := errors.Join(errs...); err != nil {
			sweeping.Failed(ctx, slog.LevelWarn, "sweeping failed, will try again", err)
		} else if total > 0 {
			in.log.InfoContext(ctx, "swept", counts...)
		}
		select {
		case <-time.After(sweepEvery):
		case <-ctx.Done():
			return nil
		}
	}
}
