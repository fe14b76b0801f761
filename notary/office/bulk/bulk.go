// Package bulk notarizes a whole table of documents at once: a clerk hands in a spreadsheet
// with a row for each document, and either the documents' digests in it or the documents in a
// zip. Every row is looked at before anything happens; then one person starts all of them, or a
// second one agrees where the class says so; each row ends with a number or with what was wrong.
//
// The states of a job, and who moves it on:
//
//	gathering ──files──▶ uploaded ──(service)──▶ checked ──start──▶ waiting ──approve──▶ running ──(service)──▶ done
//	    ▲                                         │  ▲                 │                   ▲                    │
//	    └────────────────── files ────────────────┘  └──── return ─────┘                   └────── retry ───────┘
//
// Any but running and done can be dropped. A class without approval goes from checked to running.
// The order of side effects:
//
//  1. zip stored        an object that no row names; package staging sweeps it
//  2. job written       with its rows as they stand in the table
//  3. files unpacked    objects under names of this check's own, which no row names yet: they lie
//     where the originals of the records will, and are not copied any more
//  4. check written     what is wrong with each row, and which folder counts; the zip is garbage
//  5. records           exist; their rows do not know yet. Repeating finds the same records: the
//     idempotency key of a row is its job's and its own
//  6. rows settled      with their records; what they said is forgotten, those of their files are
//     garbage that are no record's original
//  7. done
package bulk

import (
	"context"
	"io"
	"iter"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/review"
	"stele/notary/register/intake"
	"stele/notary/register/staging"
)

// State is how far a job has come.
type State string

// The states.
const (
	Gathering State = "gathering" // its table names files that are not here yet
	Uploaded  State = "uploaded"  // everything is here and is being checked
	Checked   State = "checked"   // the clerk looks at what the check found
	Waiting   State = "waiting"   // for a second person
	Running   State = "running"   // its rows are being notarized
	Done      State = "done"      // each row has its result
	Dropped   State = "dropped"   // given up
)

// States are all of them.
var States = []State{Gathering, Uploaded, Checked, Waiting, Running, Done, Dropped}

// RowState is how far one row has come.
type RowState string

// The states of a row.
const (
	Unread  RowState = "unread"  // not looked at yet
	Refused RowState = "refused" // by the check: it will not be notarized
	Ready   RowState = "ready"   // to be notarized
	Settled RowState = "settled" // it is a record
	Failed  RowState = "failed"  // it could not be notarized; it can be tried again
)

// RowStates are all of them.
var RowStates = []RowState{Unread, Refused, Ready, Settled, Failed}

// Job is one table on its way.
type Job struct {
	review.Case[State] // Once names the form that it came by

	Name     string   // file name of the table
	Header   []string // of the table, as it was
	Files    bool     // the documents come in a zip; otherwise their digests stand in the table
	Zip      string   // key of the zip in the object store, empty when it is not there
	Folder   string   // prefix of the unpacked documents' keys, empty when there are none
	Second   bool     // somebody else must agree
	Left     []string // names of files in the zip that no row speaks of; at most [MaxLeft]
	LeftOver int      // how many those are
	Trouble  Problem  // why the zip as a whole cannot be used; zero: it can
	Notices  []Notice // of how the table was read; nil when there are none
	Partial  bool     // started although rows were refused or files left over

	Forgotten bool // what its rows said is gone, and so are its files
	DoneAt    time.Time

	Count map[RowState]int // of its rows; stores fill it in
}

// Rows is how many rows a job has.
func (j Job) Rows() (n int) {
	for _, k := range j.Count {
		n += k
	}
	return n
}

// Problem is something wrong with a row, or with a zip. Column is the name of the column, empty
// where it is about the whole row. Detail is what was found or wanted, where that helps.
type Problem struct {
	Column string `json:"column,omitempty"`
	Code   Code   `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// Item is what a row says, once it was read.
type Item struct {
	Title      string            `json:"title"`
	File       string            `json:"file,omitempty"` // as the table names it
	SM3        string            `json:"sm3,omitempty"`  // hex; of a file: as it was unpacked
	Size       int64             `json:"size"`           // bytes
	MediaType  string            `json:"mediaType,omitempty"`
	Reference  string            `json:"reference,omitempty"`
	Supersedes string            `json:"supersedes,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Fields     map[string]string `json:"fields,omitempty"`
}

// Row is one row of a job's table.
type Row struct {
	No       int      // 1 is the first below the header
	Line     int      // in the table, as a spreadsheet counts it
	Cells    []string // as they were, in the order of the job's header; nil when forgotten
	Item     *Item    // nil until the check, and when forgotten
	State    RowState
	Problems []Problem
	Record   string // id of the record that it became
	Number   string // and its number
}

// Query selects jobs of an agency, the newest first. Zero fields do not narrow.
type Query struct {
	AgencyID string
	States   []State
	Before   string // id: the cursor of the next page
	Limit    int
}

// RowQuery selects rows of a job, in their order.
type RowQuery struct {
	JobID  string
	States []RowState // empty: all
	After  int        // No: only rows behind it
	Limit  int
}

// Store keeps jobs. Methods are safe for concurrent use, durable when they return, and do not
// retry. What is not there, or is another agency's, is [notary.ErrNotFound].
//
// AddBulk adds a job with its rows in one transaction; a job that came by the same form is
// returned instead. ChangeBulk reads a job, lets change alter it and writes it back, in one
// transaction; an error of change leaves it as it was. With the job, in that transaction: when it
// goes from done to running its failed rows become ready; when it becomes forgotten its rows lose
// cells and items; when it comes to wait for approval the agency's endpoints are told.
//
// The background has methods of its own. CheckedBulk writes what a check found, rows and job, in one transaction, if
// the job is still at the version that the check began with; otherwise it is [notary.CodeConflict] and nothing is
// written. SettleBulk writes the results of rows that are still ready and leaves the others; rows that are settled lose
// cells and item. OpenBulks returns the jobs of all agencies in some states that are not forgotten and changed last
// before a time, the oldest first; with a zero time, whenever they changed. Registered returns, of digests, those that
// a valid record of the agency has, with its number.
type Store interface {
	AddBulk(ctx context.Context, j Job, rows []Row) (Job, error)
	FindBulk(ctx context.Context, agencyID, id string) (Job, error)
	ChangeBulk(ctx context.Context, agencyID, id string, change func(*Job) error) (Job, error)
	Bulks(ctx context.Context, q Query) ([]Job, error)
	BulkRows(ctx context.Context, q RowQuery) ([]Row, error)

	CheckedBulk(ctx context.Context, j Job, rows []Row) error
	SettleBulk(ctx context.Context, jobID string, rows []Row) error
	OpenBulks(ctx context.Context, states []State, before time.Time, limit int) ([]Job, error)
	Registered(ctx context.Context, agencyID string, digests []sm.Digest) (map[sm.Digest]string, error)
}

// Objects keeps files. See the storage adapters.
type Objects interface {
	staging.Objects
	Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error)
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
}

// Notary makes records; see package intake.
type Notary interface {
	CheckForm(d intake.Draft) error
	Take(ctx context.Context, d intake.Draft, s intake.Source, how intake.Signing) (intake.Taken, error)
	Batch(ctx context.Context, items []intake.BatchItem) (iter.Seq2[int, intake.BatchResult], error)
}

// Limits that a deployment sets.
type Limits struct {
	Rows  int   // of a table
	Table int64 // bytes of a table
	File  int64 // bytes of one document
	Total int64 // bytes of a zip, and of all that it holds
	Keep  time.Duration
}

// DefaultLimits are the limits of a deployment that sets none. A job that nobody has moved for
// Keep is given up, and one that is done forgets what rows that did not become records said.
func DefaultLimits() Limits {
	return Limits{Rows: 10_000, Table: 16 << 20, File: 16 << 30, Total: 16 << 30, Keep: 30 * 24 * time.Hour}
}

// MaxLeft is how many names of left-over files a job keeps.
const MaxLeft = 20
