package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"stele/notary"
	"stele/notary/office/review"
	"stele/notary/outage"
	"stele/notary/register/class"
	"stele/notary/register/staging"
)

// Jobs are the bulk jobs of an instance. It is safe for concurrent use.
type Jobs struct {
	store   Store
	objects Objects
	o       Options
	review  review.Desk[Job, State]
	worker  *review.Worker[Job]
}

// Options are what [New] needs besides its stores.
type Options struct {
	Notary  Notary
	Records staging.Records
	Classes *class.Book
	Scanner review.Scanner // nil: nothing is looked at
	Tables  TableReader    // nil: tables are read in this process
	Leases  review.Leases
	Holder  string // names this server among those that share the database
	Temp    string // folder for zips while they are unpacked; empty: the system's
	Place   staging.Place
	Limits  Limits
	Now     func() time.Time
	Log     *slog.Logger
	Outages *outage.Tracker // explains failures; nil: nothing does
}

// TableReader reads tables for an agency as [ReadTable] does. What that may cost is its affair: a service
// does it in another process. It is safe for concurrent use and ends when the context does.
type TableReader interface {
	ReadTable(ctx context.Context, agencyID string, data []byte, r Reading) (Table, error)
}

// here reads tables in this process.
type here struct{}

func (here) ReadTable(ctx context.Context, _ string, data []byte, r Reading) (Table, error) {
	return ReadTable(ctx, data, r)
}

// New returns the jobs over a store. [Jobs.Run] does the work in the background.
func New(store Store, objects Objects, o Options) *Jobs {
	if o.Tables == nil {
		o.Tables = here{}
	}
	j := &Jobs{store: store, objects: objects, o: o}
	j.review = review.Desk[Job, State]{Change: store.ChangeBulk, Waiting: Waiting, Words: words,
		State: func(State) error { return errState }, Case: func(job *Job) *review.Case[State] { return &job.Case },
		Now: j.now}
	j.worker = review.NewWorker(review.Work[Job]{Name: "bulk", What: "bulk jobs",
		Broke: "a bulk job broke off, will try again", Every: lookEvery, AtOnce: jobsAtOnce,
		ID: func(job Job) string { return job.ID }, Do: j.serve,
		Leases: o.Leases, Holder: o.Holder, Log: o.Log, Outages: o.Outages})
	return j
}

const (
	folder       = staging.FolderBulk // of zips
	originSystem = review.OriginSystem
)

// Errors that people meet.
var (
	errNoJob = notary.Errorf(notary.CodeNotFound, "There is no such job of this agency.")
	errState = notary.Errorf(notary.CodeConflict, "The job is not in the state for this step. Nothing was done.")
)

// CheckedAs says why the job may not become what its check made of it: somebody has changed it meanwhile. Stores
// ask it in the transaction that writes the check.
func (j Job) CheckedAs(checked Job) error {
	if j.State == Uploaded && j.Version == checked.Version-1 {
		return nil
	}
	return notary.Errorf(notary.CodeConflict, "Somebody has changed this job meanwhile. Nothing was saved.")
}

var words = review.Words{
	Seen: notary.Errorf(notary.CodeConflict,
		"Somebody has moved this job on since you opened it. Look at it again. Nothing was done."),
	NotYours: notary.Errorf(notary.CodeForbidden,
		"Only the person who handed a table in moves it on. Nothing was done."),
	Missing: errNoJob,
	Down:    "The jobs cannot be reached. Look what is there before you try again.",
}

func (j *Jobs) now() time.Time { return j.o.Now().UTC().Truncate(time.Microsecond) }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// Limits are those of the deployment.
func (j *Jobs) Limits() Limits { return j.o.Limits }

// Add takes a table in. once names the form: repeated it is the same job. The error of a table
// that cannot be used has a field that begins with "table." and ends in a [Code].
func (j *Jobs) Add(ctx context.Context, agencyID string, maker review.Person, classID, name string, table []byte,
	once string) (Job, error) {
	c, s, err := review.OpenClass(ctx, j.o.Classes, agencyID, classID)
	if err != nil {
		return Job{}, err
	}
	if int64(len(table)) > j.o.Limits.Table {
		return Job{}, badTable(CodeTooLarge, j.o.Limits.Table>>20, "A table has at most %d bytes.", j.o.Limits.Table)
	}
	schema := c.Schema
	if len(schema) == 0 {
		schema = json.RawMessage("null") // a class of any attributes
	}
	r := Reading{Rows: j.o.Limits.Rows, Bytes: min(j.o.Limits.Table, MaxText), Schema: schema}
	t, err := j.o.Tables.ReadTable(ctx, agencyID, table, r)
	if ctx.Err() != nil {
		return Job{}, notary.Wrap(notary.CodeTimeout, ctx.Err(),
			"The table was not read to its end. Nothing was saved.")
	}
	if err != nil {
		return Job{}, err
	}
	l, err := arrange(t.Header, s)
	if err != nil {
		return Job{}, err
	}
	at := j.now()
	job := Job{Name: shown(fileName(name)), Header: t.Header, Files: l.files, Notices: t.Notices,
		Case: review.Case[State]{ID: newID(), AgencyID: agencyID, State: Uploaded, Once: once, Class: c.ID,
			Maker:     maker,
			CreatedAt: at, ChangedAt: at}}
	if l.files {
		job.State = Gathering
	}
	rows := make([]Row, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = Row{No: i + 1, Line: r.Line, Cells: r.Cells, State: Unread, Problems: r.Problems}
	}
	job, err = j.store.AddBulk(ctx, job, rows)
	j.Wake()
	return job, words.Outside(err)
}

// AddFiles takes the zip in that a job's table speaks of, once more where the first was not
// right: the job is checked anew. What the maker has seen of the job does not matter.
func (j *Jobs) AddFiles(ctx context.Context, s review.Step, r io.Reader) (Job, error) {
	job, err := j.Find(ctx, s.AgencyID, s.ID)
	if err != nil {
		return job, err
	}
	s.Seen = job.Version
	if err := j.review.May(&job, s, Gathering, Checked); err != nil {
		return job, err
	}
	if !job.Files {
		return job, errState
	}
	key := folder + job.ID + "/" + newID() + ".zip"
	m := staging.NewCounter(ctx, r, j.o.Limits.Total)
	if _, err := j.objects.Create(ctx, key, m, -1); err != nil {
		switch {
		case errors.Is(m.Err, staging.ErrTooLarge):
			return job, notary.InvalidField("zip", "A zip has at most %d bytes. Divide the table. Nothing was saved.",
				j.o.Limits.Total)
		case m.Failed():
			return job, notary.Wrap(notary.CodeInvalid, m.Err, "The zip did not arrive whole. Send it again.")
		}
		return job, review.StoreDown(err)
	}
	before := job.Folder
	job, err = j.change(ctx, s, []State{Gathering, Checked}, func(job *Job) error {
		job.State = Uploaded
		job.Zip, job.Folder, job.Left, job.LeftOver, job.Trouble = key, "", nil, 0, Problem{}
		return nil
	})
	if err != nil {
		j.remove(ctx, s.AgencyID, key)
		return job, err
	}
	j.removeBelow(ctx, job, before) // what the check before had unpacked
	return job, nil
}

// Find returns a job of an agency.
func (j *Jobs) Find(ctx context.Context, agencyID, id string) (Job, error) {
	job, err := j.store.FindBulk(ctx, agencyID, id)
	return job, words.Outside(err)
}

// List returns jobs, the newest first.
func (j *Jobs) List(ctx context.Context, q Query) ([]Job, error) {
	list, err := j.store.Bulks(ctx, q)
	return list, words.Outside(err)
}

// Rows returns rows of a job that was found.
func (j *Jobs) Rows(ctx context.Context, q RowQuery) ([]Row, error) {
	list, err := j.store.BulkRows(ctx, q)
	return list, words.Outside(err)
}

// Open opens the document of a row, while the job is under way.
func (j *Jobs) Open(ctx context.Context, job Job, no int) (io.ReadCloser, Row, error) {
	rows, err := j.Rows(ctx, RowQuery{JobID: job.ID, After: no - 1, Limit: 1})
	if err != nil {
		return nil, Row{}, err
	}
	if job.Folder == "" || len(rows) == 0 || rows[0].No != no || rows[0].Item == nil || rows[0].Item.SM3 == "" {
		return nil, Row{}, errNoJob
	}
	body, _, err := j.objects.Open(ctx, staging.RowKey(job.Folder, no), "")
	if errors.Is(err, notary.ErrObjectNotFound) {
		return nil, Row{}, errNoJob
	}
	if err != nil {
		return nil, Row{}, review.StoreDown(err)
	}
	return body, rows[0], nil
}

// change lets the maker move a job on.
func (j *Jobs) change(ctx context.Context, s review.Step, from []State, alter func(*Job) error) (Job, error) {
	defer j.Wake()
	return j.review.Make(ctx, s, from, alter)
}

// Start has the good rows of a checked job notarized, or handed to a second person where the
// class says so. partial agrees to leave the others out.
func (j *Jobs) Start(ctx context.Context, s review.Step, partial bool) (Job, error) {
	job, err := j.Find(ctx, s.AgencyID, s.ID)
	if err != nil {
		return job, err
	}
	c, _, err := review.OpenClass(ctx, j.o.Classes, s.AgencyID, job.Class)
	if err != nil {
		return job, err
	}
	return j.change(ctx, s, []State{Checked}, func(job *Job) error {
		switch flawed := job.Count[Refused] > 0 || job.LeftOver > 0; {
		case job.Trouble.Code != "" || job.Count[Ready] == 0:
			return errState
		case flawed && !partial:
			return notary.InvalidField("partial", "There are rows with errors, or files that no row speaks of. Say "+
				"that they are to be left out, or correct the table. Nothing was started.")
		default:
			job.Partial = flawed
		}
		job.Second = job.Second || c.Approval
		job.Remark, job.Checker = "", review.Person{}
		if job.State = Running; job.Second {
			job.State = Waiting
		}
		return nil
	})
}

// Approve agrees to all rows of a job as the checker saw it. Nobody agrees to their own.
func (j *Jobs) Approve(ctx context.Context, s review.Step) (Job, error) {
	defer j.Wake()
	return j.review.Decide(ctx, s, Running, "")
}

// Return gives a job back to its maker with a remark.
func (j *Jobs) Return(ctx context.Context, s review.Step, remark string) (Job, error) {
	return j.review.Return(ctx, s, Checked, remark)
}

// Recall takes a job back that waits, before somebody has decided.
func (j *Jobs) Recall(ctx context.Context, s review.Step) (Job, error) {
	return j.review.Recall(ctx, s, Checked)
}

// Retry has the failed rows of a job tried again. What was approved stays approved; where the
// class has come to want a second person meanwhile, that person is asked first.
func (j *Jobs) Retry(ctx context.Context, s review.Step) (Job, error) {
	job, err := j.Find(ctx, s.AgencyID, s.ID)
	if err != nil {
		return job, err
	}
	c, _, err := review.OpenClass(ctx, j.o.Classes, s.AgencyID, job.Class)
	if err != nil {
		return job, err
	}
	return j.change(ctx, s, []State{Done}, func(job *Job) error {
		switch {
		case job.Forgotten || job.Count[Failed] == 0:
			return errState
		case c.Approval && job.Checker.ID == "":
			return notary.Errorf(notary.CodeConflict, "The class wants a second person since then: hand the failed "+
				"rows in as a table of their own. Nothing was done.")
		}
		job.State = Running
		return nil
	})
}

// Drop gives a job up before it runs. Its files go.
func (j *Jobs) Drop(ctx context.Context, s review.Step) (Job, error) {
	job, err := j.change(ctx, s, []State{Gathering, Uploaded, Checked, Waiting},
		func(job *Job) error {
			job.State = Dropped
			job.Forgotten = true
			return nil
		})
	if err == nil {
		j.removeFiles(ctx, job)
	}
	return job, err
}

func (j *Jobs) remove(ctx context.Context, agencyID string, keys ...string) {
	staging.Remove(ctx, j.objects, j.o.Records, j.o.Log, agencyID, keys...)
}

// removeFiles takes away what a job that is over had stored, but for the originals of records.
func (j *Jobs) removeFiles(ctx context.Context, job Job) {
	rows, err := j.store.BulkRows(ctx, RowQuery{JobID: job.ID, Limit: j.o.Limits.Rows})
	if err != nil {
		j.o.Log.WarnContext(ctx, "the files of a bulk job stay until the sweep", "job", job.ID, "error", err)
		return
	}
	var records []string // that need not be asked for one by one
	for _, r := range rows {
		records = append(records, notary.DocumentKey(r.Record))
	}
	j.removeBelow(ctx, job, folder+job.ID+"/")
	j.removeBelow(ctx, job, job.Folder, records...)
}

// removeBelow takes away what begins with a prefix, but for some.
func (j *Jobs) removeBelow(ctx context.Context, job Job, prefix string, but ...string) {
	if prefix == "" {
		return
	}
	ctx = context.WithoutCancel(ctx)
	var keys []string
	err := j.objects.List(ctx, prefix, func(o notary.Object) error { keys = append(keys, o.Key); return nil })
	if err != nil {
		j.o.Log.WarnContext(ctx, "files of a bulk job stay until the sweep", "job", job.ID, "error", err)
	}
	slices.Sort(but)
	j.remove(ctx, job.AgencyID, slices.DeleteFunc(keys, func(k string) bool {
		_, found := slices.BinarySearch(but, k)
		return found
	})...)
}
