package bulk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/review"
	"stele/notary/register/intake"
	"stele/notary/register/staging"
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
func (j *Jobs) Wake() { j.worker.Wake() }

// Run checks and notarizes until ctx ends.
func (j *Jobs) Run(ctx context.Context) error {
	return j.worker.Run(ctx, func(ctx context.Context) ([]Job, error) {
		return j.store.OpenBulks(ctx, []State{Uploaded, Running}, time.Time{}, lookAt)
	})
}

// serve does what a job waits for, while this server has its lease.
func (j *Jobs) serve(ctx context.Context, job Job) error {
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
}

// check looks at every row and writes what it found.
func (j *Jobs) check(ctx context.Context, job Job) error {
	zip := job.Zip
	rows, err := j.store.BulkRows(ctx, RowQuery{JobID: job.ID, Limit: j.o.Limits.Rows})
	if err != nil {
		return err
	}
	found, err := j.look(ctx, job, rows)
	if review.Transient(err) {
		return err
	}
	if err != nil {
		found.Trouble, rows = Problem{Code: CodeClass}, nil
	}
	found.Move(Checked, j.now())
	found.Zip = ""
	if err := j.store.CheckedBulk(ctx, found, rows); err != nil {
		// Whatever has changed the job is not undone; a crash before this leaves the files to the sweep.
		if notary.CodeOf(err) == notary.CodeConflict {
			j.removeBelow(ctx, job, found.Folder)
		}
		return err
	}
	j.o.Log.InfoContext(ctx, "bulk job checked", "job", job.ID, "rows", len(rows), "elapsed",
		j.now().Sub(job.ChangedAt))
	j.remove(ctx, job.AgencyID, zip)
	return nil
}

func (j *Jobs) look(ctx context.Context, job Job, rows []Row) (_ Job, err error) {
	c, schema, err := review.OpenClass(ctx, j.o.Classes, job.AgencyID, job.Class)
	if err != nil {
		return job, err
	}
	k, err := j.checkRows(ctx, job, schema, rows)
	if err != nil {
		return job, err
	}
	if job.Files {
		unpacked := j.o.Place.Bulk(job.ID, newID())
		defer func() {
			if err != nil { // a crash before this leaves the files to the sweep
				j.removeBelow(ctx, job, unpacked)
			}
		}()
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
		if err := j.store.SettleBulk(ctx, job.ID, rows); err != nil {
			return err
		}
		for _, r := range rows {
			if key := staging.RowKey(job.Folder, r.No); r.State == Settled && job.Files &&
				key != notary.DocumentKey(r.Record) {
				j.remove(ctx, job.AgencyID, key) // it was copied, or its class keeps originals elsewhere
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
		case review.Transient(err):
			again = err
		default:
			errors.As(err, &known)
			column := strings.TrimPrefix(known.Field, "fields.")
			rows[i].State, rows[i].Problems = Failed,
				[]Problem{{Column: column, Code: CodeNotary, Detail: known.Message}}
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
	d.Owner, d.Idempotency = intake.Office, fmt.Sprintf("bulk-%s-%d", job.ID, r.No)
	return d
}

func (j *Jobs) file(ctx context.Context, job Job, r Row) (notary.Record, error) {
	d := j.rowDraft(job, r)
	digest, err := sm.ParseDigest(r.Item.SM3)
	if err != nil {
		return notary.Record{}, notary.Wrap(notary.CodeInternal, err, "The row of a bulk job is damaged.")
	}
	d.Expected = &digest
	out, err := j.o.Notary.Take(ctx, d, intake.Kept(staging.RowKey(job.Folder, r.No), r.Item.Size), intake.Here)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return j.fileAgain(ctx, job, r, err)
	}
	return out.Record, err
}

// fileAgain looks whether another server has settled a row meanwhile, and so removed its file.
func (j *Jobs) fileAgain(ctx context.Context, job Job, r Row, cause error) (notary.Record, error) {
	rows, err := j.store.BulkRows(ctx, RowQuery{JobID: job.ID, After: r.No - 1, Limit: 1})
	if err == nil && len(rows) == 1 && rows[0].State == Settled {
		return notary.Record{ID: rows[0].Record, Number: rows[0].Number}, nil
	}
	return notary.Record{}, notary.Wrap(notary.CodeNotFound, errors.Join(cause, err),
		"The document is not kept any more. Hand the row in again.")
}

// finish ends a job. What is not needed any more goes: with rows that are not records, their
// cells stay for a while, for people to correct and to try again.
func (j *Jobs) finish(ctx context.Context, job Job) error {
	job, err := j.store.ChangeBulk(ctx, job.AgencyID, job.ID, func(job *Job) error {
		if job.State != Running || job.Count[Ready] > 0 {
			return errState // another server was here, or somebody tries rows again
		}
		job.Move(Done, j.now())
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

// Sweep gives up jobs that nobody has moved for the time of the limits, and forgets what rows of
// those done said; it returns how many. Their files belong to nobody then, and package staging sweeps them.
func (j *Jobs) Sweep(ctx context.Context) (n int, err error) {
	old := j.now().Add(-j.o.Limits.Keep)
	list, err := j.store.OpenBulks(ctx, []State{Gathering, Uploaded, Checked, Waiting, Done}, old, lookAt)
	for _, job := range list {
		_, cerr := j.store.ChangeBulk(ctx, job.AgencyID, job.ID, func(job *Job) error {
			if job.ChangedAt.After(old) || job.State == Running {
				return errState
			}
			if job.Forgotten = true; job.State != Done {
				job.Move(Dropped, j.now())
			}
			return nil
		})
		switch {
		case cerr == nil:
			n++
		case !errors.Is(cerr, errState):
			err = errors.Join(err, cerr)
		}
	}
	return n, err
}
