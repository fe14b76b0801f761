package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"stele/notary"
	"stele/notary/class"
	"stele/notary/filing"
	"stele/notary/outage"
)

// Jobs are the bulk jobs of an instance. It is safe for concurrent use.
type Jobs struct {
	store   Store
	work    Work
	objects Objects
	o       Options
	wake    chan struct{} // capacity 1: a hint that there is work
	inHand  filing.InHand // jobs that this server is at
}

// Options are what [New] needs besides its stores.
type Options struct {
	Notary  Notary
	Records Records
	Classes *class.Book
	Scanner filing.Scanner // nil: nothing is looked at
	Tables  TableReader    // nil: tables are read in this process
	Leases  filing.Leases
	Holder  string // names this server among those that share the database
	Temp    string // folder for zips while they are unpacked; empty: the system's
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
func New(store Store, work Work, objects Objects, o Options) *Jobs {
	if o.Tables == nil {
		o.Tables = here{}
	}
	return &Jobs{store: store, work: work, objects: objects, o: o, wake: make(chan struct{}, 1)}
}

const (
	folder       = "bulk/"
	originSystem = filing.OriginSystem
)

// maxRemark bounds what somebody writes to the maker, in bytes.
const maxRemark = 1000

// Errors that people meet.
var (
	errSeen     = notary.Errorf(notary.CodeConflict, "Somebody has moved this job on since you opened it. Look at it again. Nothing was done.")
	errOwn      = notary.Errorf(notary.CodeForbidden, "Nobody approves what they have handed in themselves. Somebody else must look at it. Nothing was done.")
	errNotYours = notary.Errorf(notary.CodeForbidden, "Only the person who handed a table in moves it on. Nothing was done.")
	errNoJob    = notary.Errorf(notary.CodeNotFound, "There is no such job of this agency.")
	errState    = notary.Errorf(notary.CodeConflict, "The job is not in the state for this step. Nothing was done.")
)

func rowsDown(err error) error {
	return filing.RowsDown(err, errNoJob, "The jobs cannot be reached. Look what is there before you try again.")
}

func (j *Jobs) now() time.Time { return j.o.Now().UTC().Truncate(time.Microsecond) }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// Limits are those of the deployment.
func (j *Jobs) Limits() Limits { return j.o.Limits }

// openClass finds a class that takes new records, with its schema.
func (j *Jobs) openClass(ctx context.Context, agencyID, id string) (class.Class, *class.Schema, error) {
	c, err := j.o.Classes.Find(ctx, agencyID, id)
	if err == nil && c.Ended {
		err = notary.InvalidField("class", "The agency has ended this class: no new records. Nothing was done.")
	}
	if err != nil {
		return c, nil, err
	}
	s, err := class.ParseSchema(c.Schema)
	return c, s, err
}

// Add takes a table in. once names the form: repeated it is the same job. The error of a table
// that cannot be used has a field that begins with "table." and ends in a [Code].
func (j *Jobs) Add(ctx context.Context, agencyID string, maker filing.Person, classID, name string, table []byte, once string) (Job, error) {
	c, s, err := j.openClass(ctx, agencyID, classID)
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
	job := Job{ID: newID(), AgencyID: agencyID, State: Uploaded, Once: once, Class: c.ID, Name: shown(fileName(name)),
		Header: t.Header, Files: l.files, Notices: t.Notices, Maker: maker, CreatedAt: j.now()}
	job.ChangedAt = job.CreatedAt
	if l.files {
		job.State = Gathering
	}
	rows := make([]Row, len(t.Rows))
	for i, r := range t.Rows {
		rows[i] = Row{No: i + 1, Line: r.Line, Cells: r.Cells, State: Unread, Problems: r.Problems}
	}
	job, err = j.store.AddBulk(ctx, job, rows)
	j.Wake()
	return job, rowsDown(err)
}

// AddFiles takes the zip in that a job's table speaks of, once more where the first was not
// right: the job is checked anew.
func (j *Jobs) AddFiles(ctx context.Context, agencyID, id, makerID string, r io.Reader) (Job, error) {
	job, err := j.Find(ctx, agencyID, id)
	if err != nil {
		return job, err
	}
	may := func(job Job) error {
		switch {
		case job.Maker.ID != makerID:
			return errNotYours
		case !job.Files || job.State != Gathering && job.State != Checked:
			return errState
		}
		return nil
	}
	if err := may(job); err != nil {
		return job, err
	}
	key := folder + job.ID + "/" + newID() + ".zip"
	g := &guarded{r: r, w: io.Discard, most: j.o.Limits.Total}
	if _, err := j.objects.Create(ctx, key, g, -1); err != nil {
		switch {
		case g.over:
			return job, notary.InvalidField("zip", "A zip has at most %d bytes. Divide the table. Nothing was saved.", j.o.Limits.Total)
		case g.err != nil:
			return job, notary.Wrap(notary.CodeInvalid, g.err, "The zip did not arrive whole. Send it again.")
		}
		return job, filing.StoreDown(err)
	}
	seen := job.Version
	job, err = j.store.ChangeBulk(ctx, agencyID, id, func(job *Job) error {
		if err := may(*job); err != nil {
			return err
		}
		if job.Version != seen {
			return errSeen
		}
		j.move(job, Uploaded)
		job.Zip, job.Folder, job.Left, job.LeftOver, job.Trouble = key, "", nil, 0, Problem{}
		return nil
	})
	if err != nil {
		j.remove(ctx, key)
	}
	j.Wake()
	return job, rowsDown(err)
}

func (j *Jobs) move(job *Job, to State) {
	job.State, job.ChangedAt = to, j.now()
	job.Version++
}

// Find returns a job of an agency.
func (j *Jobs) Find(ctx context.Context, agencyID, id string) (Job, error) {
	job, err := j.store.FindBulk(ctx, agencyID, id)
	return job, rowsDown(err)
}

// List returns jobs, the newest first.
func (j *Jobs) List(ctx context.Context, q Query) ([]Job, error) {
	list, err := j.store.Bulks(ctx, q)
	return list, rowsDown(err)
}

// Rows returns rows of a job that was found.
func (j *Jobs) Rows(ctx context.Context, q RowQuery) ([]Row, error) {
	list, err := j.store.BulkRows(ctx, q)
	return list, rowsDown(err)
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
	body, _, err := j.objects.Open(ctx, documentKey(job.Folder, no), "")
	if errors.Is(err, notary.ErrObjectNotFound) {
		return nil, Row{}, errNoJob
	}
	if err != nil {
		return nil, Row{}, filing.StoreDown(err)
	}
	return body, rows[0], nil
}

// change lets the maker move a job on. seen is the version that they saw.
func (j *Jobs) change(ctx context.Context, agencyID, id, makerID string, seen int, from []State, alter func(*Job) error) (Job, error) {
	job, err := j.store.ChangeBulk(ctx, agencyID, id, func(job *Job) error {
		switch {
		case job.Maker.ID != makerID:
			return errNotYours
		case !slices.Contains(from, job.State):
			return errState
		case job.Version != seen:
			return errSeen
		}
		return alter(job)
	})
	j.Wake()
	return job, rowsDown(err)
}

// Start has the good rows of a checked job notarized, or handed to a second person where the
// class says so. partial agrees to leave the others out.
func (j *Jobs) Start(ctx context.Context, agencyID, id, makerID string, seen int, partial bool) (Job, error) {
	job, err := j.Find(ctx, agencyID, id)
	if err != nil {
		return job, err
	}
	c, _, err := j.openClass(ctx, agencyID, job.Class)
	if err != nil {
		return job, err
	}
	return j.change(ctx, agencyID, id, makerID, seen, []State{Checked}, func(job *Job) error {
		switch flawed := job.Count[Refused] > 0 || job.LeftOver > 0; {
		case job.Trouble.Code != "" || job.Count[Ready] == 0:
			return errState
		case flawed && !partial:
			return notary.InvalidField("partial", "There are rows with errors, or files that no row speaks of. Say that they are to be left out, or correct the table. Nothing was started.")
		default:
			job.Partial = flawed
		}
		job.Second = job.Second || c.Approval
		job.Remark, job.Checker = "", filing.Person{}
		if job.Second {
			j.move(job, Waiting)
		} else {
			j.move(job, Running)
		}
		return nil
	})
}

// Approve agrees to all rows of a job as the checker saw it. Nobody agrees to their own.
func (j *Jobs) Approve(ctx context.Context, agencyID, id string, checker filing.Person, seen int) (Job, error) {
	return j.decide(ctx, agencyID, id, checker, seen, Running, "")
}

// Return gives a job back to its maker with a remark.
func (j *Jobs) Return(ctx context.Context, agencyID, id string, checker filing.Person, seen int, remark string) (Job, error) {
	if strings.TrimSpace(remark) == "" || !notary.ValidLines(remark, maxRemark) {
		return Job{}, notary.InvalidField("remark",
			"Say what is to be changed, in at most %d bytes, with %s. Nothing was done.", maxRemark, notary.TextRule)
	}
	return j.decide(ctx, agencyID, id, checker, seen, Checked, remark)
}

func (j *Jobs) decide(ctx context.Context, agencyID, id string, checker filing.Person, seen int, to State, remark string) (Job, error) {
	job, err := j.store.ChangeBulk(ctx, agencyID, id, func(job *Job) error {
		switch {
		case job.State != Waiting:
			return errState
		case job.Maker.ID == checker.ID:
			return errOwn
		case job.Version != seen:
			return errSeen
		}
		job.Checker, job.Remark = checker, remark
		j.move(job, to)
		return nil
	})
	j.Wake()
	return job, rowsDown(err)
}

// Recall takes a job back that waits, before somebody has decided.
func (j *Jobs) Recall(ctx context.Context, agencyID, id, makerID string, seen int) (Job, error) {
	return j.change(ctx, agencyID, id, makerID, seen, []State{Waiting}, func(job *Job) error {
		j.move(job, Checked)
		return nil
	})
}

// Retry has the failed rows of a job tried again. What was approved stays approved; where the
// class has come to want a second person meanwhile, that person is asked first.
func (j *Jobs) Retry(ctx context.Context, agencyID, id, makerID string, seen int) (Job, error) {
	job, err := j.Find(ctx, agencyID, id)
	if err != nil {
		return job, err
	}
	c, _, err := j.openClass(ctx, agencyID, job.Class)
	if err != nil {
		return job, err
	}
	return j.change(ctx, agencyID, id, makerID, seen, []State{Done}, func(job *Job) error {
		switch {
		case job.Forgotten || job.Count[Failed] == 0:
			return errState
		case c.Approval && job.Checker.ID == "":
			return notary.Errorf(notary.CodeConflict, "The class wants a second person since then: hand the failed rows in as a table of their own. Nothing was done.")
		}
		j.move(job, Running)
		return nil
	})
}

// Drop gives a job up before it runs. Its files go.
func (j *Jobs) Drop(ctx context.Context, agencyID, id, makerID string, seen int) (Job, error) {
	job, err := j.change(ctx, agencyID, id, makerID, seen, []State{Gathering, Uploaded, Checked, Waiting}, func(job *Job) error {
		j.move(job, Dropped)
		job.Forgotten = true
		return nil
	})
	if err == nil {
		j.removeFiles(ctx, job)
	}
	return job, err
}

// remove takes an object away that no row names; what it does not get the sweep does.
func (j *Jobs) remove(ctx context.Context, key string) {
	if key == "" {
		return
	}
	if err := j.objects.Delete(ctx, key); err != nil && !errors.Is(err, notary.ErrObjectRetained) {
		j.o.Log.WarnContext(ctx, "a file of a bulk job stays until the sweep", "key", key, "error", err)
	}
}

// removeFiles takes away what lies below a job's name.
func (j *Jobs) removeFiles(ctx context.Context, job Job) {
	ctx = context.WithoutCancel(ctx)
	var keys []string
	if err := j.objects.List(ctx, folder+job.ID+"/", func(o notary.Object) error { keys = append(keys, o.Key); return nil }); err != nil {
		j.o.Log.WarnContext(ctx, "the files of a bulk job stay until the sweep", "job", job.ID, "error", err)
	}
	for _, key := range keys {
		j.remove(ctx, key)
	}
}
