package bulk

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/filing"
	"stele/notary/intake"
	"stele/notary/outage"
)

// How often work is looked for, and how many jobs a server is at.
const (
	lookEvery  = 2 * time.Second
	lookAt     = 20
	jobsAtOnce = 2
)

// rowsAtOnce is how many rows are notarized before their results are written: large groups make
// large transactions, small ones more of them.
const rowsAtOnce = 500

// filesAtOnce are streamed side by side: each waits for a transaction that others share.
const filesAtOnce = 4

// Wake has the work looked for now.
func (j *Jobs) Wake() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Run checks and notarizes until ctx ends. Several servers may run: a lease keeps them out of
// each other's way, and without it they would do the work twice, with the same results.
func (j *Jobs) Run(ctx context.Context) error {
	var at sync.WaitGroup
	defer at.Wait()
	looking := outage.NewLoop(j.o.Outages, j.o.Log, outage.Database, outage.Objects, outage.Scanner)
	for {
		list, err := j.work.OpenBulks(ctx, []State{Uploaded, Running}, time.Time{}, lookAt)
		if err != nil {
			looking.Failed(ctx, slog.LevelWarn, "bulk jobs cannot be read, will try again", err)
		} else {
			looking.Worked(ctx, "reading bulk jobs")
		}
		for _, job := range list {
			if j.inHand.Begin(job.ID, jobsAtOnce) {
				at.Go(func() {
					defer j.inHand.End(job.ID)
					if err := j.serve(ctx, job); err != nil && ctx.Err() == nil {
						j.o.Log.Log(ctx, looking.Level(ctx, slog.LevelWarn), "a bulk job broke off, will try again",
							"job", job.ID, "error", err)
					}
				})
			}
		}
		t := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-j.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// serve does what a job waits for, while this server has its lease.
func (j *Jobs) serve(ctx context.Context, job Job) error {
	_, err := filing.Alone(ctx, j.o.Leases, "bulk/"+job.ID, j.o.Holder, func(ctx context.Context) error {
		// Looked at again: another server may have done it before the lease was ours.
		job, err := j.Find(ctx, job.AgencyID, job.ID)
		if err != nil {
			return err
		}
		switch job.State {
		case Uploaded:
			return j.check(ctx, job)
		case Running:
			return j.run(ctx, job)
		}
		return nil
	})
	return err
}

// check looks at every row and writes what it found.
func (j *Jobs) check(ctx context.Context, job Job) error {
	zip := job.Zip
	rows, err := j.store.BulkRows(ctx, RowQuery{JobID: job.ID, Limit: j.o.Limits.Rows})
	if err != nil {
		return err
	}
	found, err := j.look(ctx, job, rows)
	if filing.Transient(err) {
		return err
	}
	if err != nil {
		found.Trouble, rows = Problem{Code: CodeClass}, nil
	}
	j.move(&found, Checked)
	found.Zip = ""
	if err := j.work.CheckedBulk(ctx, found, rows); err != nil {
		// Whatever has changed the job is not undone; the files of this check are swept.
		return err
	}
	j.o.Log.InfoContext(ctx, "bulk job checked", "job", job.ID, "rows", len(rows), "elapsed", j.now().Sub(job.ChangedAt))
	j.remove(ctx, zip)
	return nil
}

func (j *Jobs) look(ctx context.Context, job Job, rows []Row) (Job, error) {
	c, schema, err := j.openClass(ctx, job.AgencyID, job.Class)
	if err != nil {
		return job, err
	}
	k, err := j.checkRows(ctx, job, schema, rows)
	if err != nil {
		return job, err
	}
	if job.Files {
		unpacked := folder + job.ID + "/" + newID() + "/"
		trouble, err := k.unpack(ctx, unpacked)
		if err != nil {
			return job, err
		}
		if k.job.Folder = unpacked; trouble != nil {
			k.job.Trouble = *trouble
		}
	}
	if err := k.registered(ctx); err != nil {
		return job, err
	}
	k.job.Second = c.Approval || k.replace
	return k.job, nil
}

// run notarizes the rows of a job that are ready, and ends it when there are none left.
func (j *Jobs) run(ctx context.Context, job Job) error {
	for {
		rows, err := j.store.BulkRows(ctx, RowQuery{JobID: job.ID, States: []RowState{Ready}, Limit: rowsAtOnce})
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return j.finish(ctx, job)
		}
		again := j.notarize(ctx, job, rows)
		// A crash before this leaves records whose rows are still ready: notarizing those again
		// finds the records.
		if err := j.work.SettleBulk(ctx, job.ID, rows); err != nil {
			return err
		}
		for _, r := range rows {
			if r.State == Settled && job.Files {
				j.remove(ctx, documentKey(job.Folder, r.No))
			}
		}
		if again != nil {
			return again
		}
	}
}

// notarize makes the records of rows, and notes in each what came of it. Rows that are worth
// another try stay ready; the error is the last reason.
func (j *Jobs) notarize(ctx context.Context, job Job, rows []Row) (again error) {
	var mu sync.Mutex
	note := func(i int, rec notary.Record, err error) {
		mu.Lock()
		defer mu.Unlock()
		var known *notary.Error
		switch {
		case err == nil:
			rows[i].State, rows[i].Record, rows[i].Number = Settled, rec.ID, rec.Number
		case filing.Transient(err):
			again = err
		default:
			errors.As(err, &known)
			column := strings.TrimPrefix(known.Field, "fields.")
			rows[i].State, rows[i].Problems = Failed, []Problem{{Column: column, Code: CodeNotary, Detail: known.Message}}
		}
	}
	if job.Files {
		var g sync.WaitGroup
		for k := range filesAtOnce {
			g.Go(func() {
				for i := k; i < len(rows); i += filesAtOnce {
					rec, err := j.file(ctx, job, rows[i])
					note(i, rec, err)
				}
			})
		}
		g.Wait()
		return again
	}
	items := make([]intake.BatchItem, len(rows))
	for i, r := range rows {
		digest, err := sm.ParseDigest(r.Item.SM3)
		if err != nil {
			return notary.Wrap(notary.CodeInternal, err, "The row of a bulk job is damaged.")
		}
		items[i] = intake.BatchItem{Draft: j.rowDraft(job, r), Digest: digest, Size: uint64(r.Item.Size)}
	}
	results, err := j.o.Notary.Batch(ctx, items)
	if err != nil {
		return err
	}
	for i, r := range results {
		note(i, r.Record, r.Err)
	}
	return again
}

// rowDraft is the draft of a row with the key under which it becomes a record: one, whatever
// breaks off and however many servers try.
func (j *Jobs) rowDraft(job Job, r Row) intake.Draft {
	d := j.draftOf(job, *r.Item)
	d.Own, d.Idempotency = true, documentKey("bulk-"+job.ID+"-", r.No)
	return d
}

func (j *Jobs) file(ctx context.Context, job Job, r Row) (notary.Record, error) {
	body, _, err := j.objects.Open(ctx, documentKey(job.Folder, r.No), "")
	if errors.Is(err, notary.ErrObjectNotFound) {
		return j.fileAgain(ctx, job, r, err)
	}
	if err != nil {
		return notary.Record{}, filing.StoreDown(err)
	}
	defer body.Close()
	d := j.rowDraft(job, r)
	digest, err := sm.ParseDigest(r.Item.SM3)
	if err != nil {
		return notary.Record{}, notary.Wrap(notary.CodeInternal, err, "The row of a bulk job is damaged.")
	}
	d.Expected = &digest
	rec, _, err := j.o.Notary.File(ctx, d, body, r.Item.Size)
	return rec, err
}

// fileAgain looks whether another server has settled a row meanwhile, and so removed its file.
func (j *Jobs) fileAgain(ctx context.Context, job Job, r Row, cause error) (notary.Record, error) {
	rows, err := j.store.BulkRows(ctx, RowQuery{JobID: job.ID, After: r.No - 1, Limit: 1})
	if err == nil && len(rows) == 1 && rows[0].State == Settled {
		return notary.Record{ID: rows[0].Record, Number: rows[0].Number}, nil
	}
	return notary.Record{}, notary.Wrap(notary.CodeNotFound, errors.Join(cause, err), "The document is not kept any more. Hand the row in again.")
}

// finish ends a job. What is not needed any more goes: with rows that are not records, their
// cells stay for a while, for people to correct and to try again.
func (j *Jobs) finish(ctx context.Context, job Job) error {
	job, err := j.store.ChangeBulk(ctx, job.AgencyID, job.ID, func(job *Job) error {
		if job.State != Running || job.Count[Ready] > 0 {
			return errState // another server was here, or somebody tries rows again
		}
		j.move(job, Done)
		job.DoneAt = job.ChangedAt
		job.Forgotten = job.Count[Failed]+job.Count[Refused] == 0
		return nil
	})
	if errors.Is(err, errState) {
		return nil
	}
	if err == nil && job.Count[Failed] == 0 {
		j.removeFiles(ctx, job)
	}
	return err
}

// Sweep gives up jobs that nobody has moved for the time of the limits, forgets what rows of
// those done said, and removes objects that no job needs and that are older than a time. It
// returns how many objects it removed.
func (j *Jobs) Sweep(ctx context.Context, olderThan time.Duration) (int, error) {
	return j.sweepObjects(ctx, olderThan, j.forget(ctx))
}

func (j *Jobs) forget(ctx context.Context) error {
	old := j.now().Add(-j.o.Limits.Keep)
	list, err := j.work.OpenBulks(ctx, []State{Gathering, Uploaded, Checked, Waiting, Done}, old, lookAt)
	for _, job := range list {
		_, cerr := j.store.ChangeBulk(ctx, job.AgencyID, job.ID, func(job *Job) error {
			if job.ChangedAt.After(old) || job.State == Running {
				return errState
			}
			if job.Forgotten = true; job.State != Done {
				j.move(job, Dropped)
			}
			return nil
		})
		if !errors.Is(cerr, errState) {
			err = errors.Join(err, cerr)
		}
	}
	return err
}

func (j *Jobs) sweepObjects(ctx context.Context, olderThan time.Duration, errs error) (int, error) {
	removed, before := 0, j.o.Now().Add(-olderThan)
	var keys []string
	flush := func() error {
		ids := make([]string, len(keys))
		for i, k := range keys {
			ids[i] = jobOf(k)
		}
		kept, err := j.work.KeptBulks(ctx, ids)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if job, ok := kept[jobOf(k)]; ok && job.needs(k) {
				continue
			}
			j.remove(ctx, k)
			removed++
		}
		keys = keys[:0]
		return nil
	}
	err := j.objects.List(ctx, folder, func(o notary.Object) error {
		if !o.ModTime.Before(before) {
			return nil
		}
		if keys = append(keys, o.Key); len(keys) < rowsAtOnce {
			return nil
		}
		return flush()
	})
	return removed, errors.Join(errs, err, flush())
}

// needs reports whether a job that is not forgotten may still read an object.
func (j Job) needs(key string) bool {
	if j.State == Done && j.Count[Failed] == 0 {
		return false
	}
	return key == j.Zip || j.Folder != "" && strings.HasPrefix(key, j.Folder)
}

func jobOf(key string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(key, folder), "/")
	return id
}
