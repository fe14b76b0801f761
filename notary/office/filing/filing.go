// Package filing is what lies on the desks of an agency before it is a record: a document that
// a clerk has handed in and describes, that waits for a second person where its class says so,
// and that is notarized when the last of them agrees.
//
// The states, and who moves a paper on:
//
//	draft ──submit──▶ waiting ──approve──▶ approved ──(the service)──▶ filed
//	  ▲                  │                    │
//	  └──── returned ◀───┴──── return ────────┘ what cannot be notarized comes back with the reason
//	draft, returned ──drop──▶ dropped
//
// A class without approval goes from draft to approved. The order of side effects:
//
//  1. file joined     an object that no row names; package staging sweeps it. It lies where the
//     original of the record will, and is not copied any more. A file that came in one is the upload's
//     until the next step
//  2. row written     the paper is on the desk, and the upload it came from has ended with it
//  3. approved        nobody can return or change it any more; [Desk.Run] notarizes it, again and
//     again until it is done, under an idempotency key that is the paper's own
//  4. record          exists; the paper does not know yet. Repeating finds the same record
//  5. filed           done; what the paper has beside the record's original is garbage: it is removed
//     here, or swept
package filing

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/review"
	"stele/notary/register/intake"
	"stele/notary/register/mediatype"
	"stele/notary/register/staging"
)

// State is how far a paper has come.
type State string

// The states.
const (
	Draft    State = "draft"    // the clerk is at it
	Waiting  State = "waiting"  // for a second person
	Returned State = "returned" // to the clerk, with a remark
	Approved State = "approved" // being notarized
	Filed    State = "filed"    // it is a record, or the withdrawal of one
	Dropped  State = "dropped"  // given up
)

// States are all of them.
var States = []State{Draft, Waiting, Returned, Approved, Filed, Dropped}

// Done reports whether nothing more will become of a paper.
func (s State) Done() bool { return s == Filed || s == Dropped }

// Kind is what a paper asks for.
type Kind string

// The kinds.
const (
	Issue      Kind = "issue"
	Withdrawal Kind = "withdrawal"
)

// File is a paper's file in the object store.
type File struct {
	Key  string
	SM3  sm.Digest
	Size int64 // bytes
}

// Paper is one document, or one withdrawal, on its way through the office.
type Paper struct {
	review.Case[State] // Once is "upload/" and the id of the upload, for instance
	Kind               Kind

	Title      string
	FileName   string
	MediaType  string
	Reference  string
	Fields     map[string]string // the class's own attributes
	Supersedes string            // number of the record that it replaces
	Record     string            // id of the record that it withdraws, or, once filed, that it became
	Reason     string            // of a withdrawal or replacement; it will be public

	File   File // as it was handed in
	Marked File // with its marks; zero where it is not stamped
	Marks  json.RawMessage
	Number string // reserved for the marks
	Code   string

	SubmittedAt time.Time
}

// Document is the file that is notarized.
func (p Paper) Document() File {
	if p.Marked.Key != "" {
		return p.Marked
	}
	return p.File
}

// Doubts are what the maker is asked before the paper is handed on, and whoever approves it is shown:
// the file is empty, is a program, or is of another kind than its name says.
func (p Paper) Doubts() []mediatype.Doubt {
	if p.Kind != Issue || p.State.Done() {
		return nil
	}
	return mediatype.Doubts(p.FileName, p.MediaType, p.File.Size)
}

// FieldSure is the field of the error of a paper that there are doubts about.
const FieldSure = "sure"

// Query selects papers of an agency, the newest first. Zero fields do not narrow.
type Query struct {
	AgencyID string
	States   []State
	MakerID  string
	Before   string // id: the cursor of the next page
	Limit    int
}

// Store keeps papers. Methods are safe for concurrent use, durable when they return, and do not
// retry. What is not there, or is another agency's, is [notary.ErrNotFound].
//
// AddPaper adds one and ends the upload it came from, if any, in one transaction; a paper that was
// made of the same thing is returned instead; an upload that has ended otherwise is
// notary.ErrNotFound. ChangePaper reads a paper, lets change alter it
// and writes it back, in one transaction; an error of change leaves it as it was. When it comes
// to wait for approval the agency's endpoints are told, in that transaction.
type Store interface {
	AddPaper(ctx context.Context, p Paper, upload string) (Paper, error)
	FindPaper(ctx context.Context, agencyID, id string) (Paper, error)
	ChangePaper(ctx context.Context, agencyID, id string, change func(*Paper) error) (Paper, error)
	Papers(ctx context.Context, q Query) ([]Paper, error)
	CountPapers(ctx context.Context, agencyID string) (map[State]int, error)

	// ApprovedPapers are those of all agencies, the oldest first: the work of the background.
	ApprovedPapers(ctx context.Context, limit int) ([]Paper, error)
}

// Objects keeps files. See the storage adapters.
type Objects interface {
	staging.Objects
	Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error)
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
}

// Notary makes records; see package intake.
type Notary interface {
	Reserve(ctx context.Context, agencyID string) (intake.Reserved, error)
	Take(ctx context.Context, d intake.Draft, s intake.Source, how intake.Signing) (intake.Taken, error)
	Revoke(ctx context.Context, ref intake.Ref, why intake.Reason, how intake.Signing) (intake.Taken, error)
}

// Marks is what a paper's marks are: which of the agency's seals, and a plan of package stamp.
type Marks struct {
	Seal string          `json:"seal,omitempty"`
	Plan json.RawMessage `json:"plan"`
}

// Marker puts marks on a document: seal and QR code, see package stamp. Mark returns the marked
// file, Preview one that shows how it will look and is good for nothing else. An error for the
// outside says what is wrong with the marks or the document.
type Marker interface {
	Mark(ctx context.Context, p Paper, marks json.RawMessage, document Source) ([]byte, error)
	Preview(ctx context.Context, p Paper, marks json.RawMessage, document Source) ([]byte, error)
}

// Source loads a document when its turn has come: see [Desk.Markable].
type Source = func(ctx context.Context) ([]byte, error)
