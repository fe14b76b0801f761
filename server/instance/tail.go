package instance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stele/crypto/keystore"
	"stele/notary/log/batchlog"
	"stele/notary/log/tail"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
	"stele/server/http/api"
)

// openTail compares the tail in the object store with the database, and makes what writes it. It is
// sealed under keys that are derived from the one of webhooks, as second factors are: every server of
// the instance has it, and it stays the same.
func (in *Instance) openTail(ctx context.Context, _ keystore.Secret) error {
	p, err := in.DB.Log.Progress(ctx)
	if err != nil {
		return fmt.Errorf("read the log's progress: %w", err)
	}
	newest, err := tail.Newest(ctx, in.Objects, p.Received)
	if err != nil {
		return err
	}
	// Another server may be at work: an entry's tail is written after its row.
	if p, err = in.DB.Log.Progress(ctx); err != nil {
		return fmt.Errorf("read the log's progress: %w", err)
	}
	if newest > p.Received {
		return fmt.Errorf("%w: the object store's tail has %d entries, the database %d: the database is older, "+
			"perhaps restored from a backup; "+
			"restore the newest one, or, with all servers stopped, complete it with 'stele recover-tail'",
			batchlog.ErrMismatch, newest, p.Received)
	}
	if in.Config.TailKeep == 0 {
		return nil
	}
	in.tail = tail.New(in.DB.Log, in.Objects, tail.Options{Sealer: tail.NewSealer(in.webhooks.private, in.id.ID),
		Keep: in.Config.TailKeep,
		Now:  time.Now, Log: in.log,
		From: p.Received})
	in.jobs.add(stageLog, "tail", in.tail.Run)
	in.sweeps = append(in.sweeps, sweep{"tail", in.tail.Sweep})
	// A database that went back and was written to since has as many entries as the tail, and others.
	if err := in.tail.CompareNewest(ctx, p.Received); errors.Is(err, tail.ErrContradiction) {
		return fmt.Errorf("%w: %w: find out which database was answered from, restore that one, and, with all "+
			"servers stopped, "+
			"complete it with 'stele recover-tail'", batchlog.ErrMismatch, err)
	} else if err != nil {
		return fmt.Errorf("compare the object store's tail with the database: %w", err)
	}
	return nil
}

// keep has the tail hold what a checkpoint is to cover. The log is opened before the tail.
func (in *Instance) keep(ctx context.Context, from, end uint64) error {
	if in.tail == nil {
		return nil
	}
	return in.tail.Keep(ctx, from, end)
}

// intakeTail is the tail, or no interface at all.
func (in *Instance) intakeTail() intake.Tail {
	if in.tail == nil {
		return nil
	}
	return in.tail
}

func (in *Instance) erasureTail() erasure.Tail {
	if in.tail == nil {
		return nil
	}
	return in.tail
}

// tailHealth says that a loss of the database would lose records now.
func (in *Instance) tailHealth() (api.Check, bool) {
	if in.tail == nil || !in.tail.Behind() {
		return api.Check{}, false
	}
	return api.Check{Name: "tail", Detail: "the object store lacks received records: the database alone has them"}, true
}
