package instance

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"stele/crypto/keystore"
	"stele/server/clock"
	"stele/server/http/api"
	"stele/storage/blob/s3"
	"stele/storage/sqldb"
)

const defaultTolerance = 30 * time.Second

// clocks are those that this machine can be compared with: SQLite and a folder have none.
func (c Config) clocks() (out []clock.Source, err error) {
	if c.postgres() {
		password, err := secretFile(c.DatabasePasswordFile)
		if err != nil {
			return nil, err
		}
		out = append(out, clock.Source{Name: "the database server", Now: func(ctx context.Context) (time.Time, error) {
			return sqldb.Now(ctx, c.Database, password)
		}})
	}
	if c.Objects == "s3" {
		bucket, err := c.s3()
		if err != nil {
			return nil, err
		}
		out = append(out, clock.Source{Name: "the object store", Step: time.Second,
			Now: func(ctx context.Context) (time.Time, error) { return s3.Now(ctx, bucket) }})
	}
	return out, nil
}

// guardClock compares this machine's clock with those of the stores, and refuses to go on where it
// is wrong: what a root certificate or the first block of a start says of the time cannot be taken back.
func (c Config) guardClock(ctx context.Context, log *slog.Logger) (*clock.Guard, error) {
	sources, err := c.clocks()
	if err != nil {
		return nil, err
	}
	g := clock.New(c.ClockTolerance, time.Now, log, sources...)
	g.Measure(ctx)
	if err := g.Check(); err != nil {
		return nil, fmt.Errorf("%w. Nothing was done", err)
	}
	return g, nil
}

func (in *Instance) openClock(ctx context.Context, _ keystore.Secret) (err error) {
	if in.clock, err = in.Config.guardClock(ctx, in.log); err != nil {
		return err
	}
	in.jobs.add(stageWatch, "clock", in.clock.Run)
	return nil
}

// clockHealth says how far the clock is from others. A server that signs nothing takes no requests.
func (in *Instance) clockHealth() (api.Check, bool) {
	if len(in.clock.Readings()) == 0 {
		return api.Check{}, false
	}
	return api.Check{Name: "clock", Required: true, OK: in.clock.Check() == nil, Detail: in.clock.String()}, true
}
