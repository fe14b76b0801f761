// Package erasure removes for ever what is personal about a record: the values of attributes
// with the salts that open them, and, where that is chosen, the original. What was signed and
// logged stays as it is, so every proof holds: a commitment without its salt says nothing
// about the value (statement v1, fields).
//
// The order of side effects, and what a crash after each leaves behind:
//
//  1. the caller's audit row   a row for an erasure that did not happen; it says "was about to"
//  2. transaction              attributes are gone; an original that is to go is no longer served
//  3. original deleted         intake's sweep deletes it within the hour, or when its retention ends
//  4. tail renewed             a sealed copy in the object store; the tail's sweep renews it within the hour
//  5. files scrubbed           bytes that only who reads the database's files can see; the next erasure scrubs too
package erasure

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"stele/notary"
)

// Erasure is one act.
type Erasure struct {
	ID       string
	Index    uint64 // of the record
	At       time.Time
	By       string   // login name of a person, or the name of an API key
	Names    []string // of the attributes
	Document bool     // the original too
	Reason   string
}

// Store is the database. Methods are safe for concurrent use and do not retry.
//
// FindRecord takes an id or a certificate number of an agency, see archive.Store. Erase removes,
// in one transaction, salts and values of the named attributes, and everything else in which
// they, or what could be guessed from, are kept: statements that were prepared, digests of
// requests under idempotency keys, answers of webhooks' receivers; where all of them are
// erased, the record's reference; where the original is to go, that there is one. It adds the
// erasure and returns the record as it is then. Erasures returns those of a record, the first
// first. Scrub makes sure that erased bytes, of which some are given, are not in the
// database's files either, as far as the database lets it.
type Store interface {
	FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error)
	Erase(ctx context.Context, e Erasure, all bool) (notary.Record, error)
	Erasures(ctx context.Context, index uint64) ([]Erasure, error)
	Scrub(ctx context.Context, needles [][]byte) error
}

// Objects deletes originals. What the store must keep stays, and the error is [notary.ErrObjectRetained].
type Objects interface {
	Delete(ctx context.Context, key string) error
}

// Tail is what the object store keeps of rows. Erased keeps the erasure there, so that a database that
// is restored from before it forgets again, and removes what was erased; repeated, it does what is
// left to do. all: the record's reference too.
type Tail interface {
	Erased(ctx context.Context, e Erasure, all bool) error
}

// Eraser erases. It is safe for concurrent use.
type Eraser struct {
	store   Store
	objects Objects
	tail    Tail
	now     func() time.Time
	log     *slog.Logger
}

// New returns an eraser. tail may be nil, where none is kept.
func New(store Store, objects Objects, tail Tail, now func() time.Time, log *slog.Logger) *Eraser {
	return &Eraser{store, objects, tail, now, log}
}

// Request is what somebody wants erased.
type Request struct {
	AgencyID string
	Record   string   // id or certificate number
	Names    []string // of attributes; none with All
	All      bool     // all attributes, and the reference
	Document bool
	Reason   string
	By       string
}

// Result is what became of it.
type Result struct {
	Record   notary.Record
	Retained bool // the object store keeps the original for its time; it is deleted then
}

// MaxReason is the longest reason in bytes.
const MaxReason = 300

// Check finds the record and the attributes that a request is about; what was erased before is
// not among them.
func (e *Eraser) Check(ctx context.Context, q Request) (notary.Record, []string, error) {
	if !notary.ValidLine(q.Reason, MaxReason) {
		return notary.Record{}, nil, notary.InvalidField("reason",
			"A reason of 1 to %d bytes is needed, with %s. Nothing was erased.", MaxReason, notary.TextRule)
	}
	rec, err := e.store.FindRecord(ctx, q.AgencyID, q.Record)
	if errors.Is(err, notary.ErrNotFound) {
		return rec, nil, notary.Errorf(notary.CodeNotFound, "There is no such record of this agency.")
	} else if err != nil {
		return rec, nil, down(err)
	}
	if !q.All && len(q.Names) == 0 && !q.Document {
		return rec, nil,
			notary.InvalidField("fields",
				"Say what is to be erased: all, the names of attributes, or the document. Nothing was erased.")
	}
	for _, name := range q.Names {
		if !slices.ContainsFunc(rec.Fields, func(f notary.Field) bool { return f.Name == name }) {
			return rec, nil, notary.InvalidField("fields", "The record has no attribute %q. Nothing was erased.", name)
		}
	}
	var names []string
	for _, f := range rec.Fields {
		if len(f.Salt) > 0 && (q.All || slices.Contains(q.Names, f.Name)) {
			names = append(names, f.Name)
		}
	}
	return rec, names, nil
}

// Erase does what a request asks for. Repeated, it changes nothing more, but tries again to
// delete an original that is still there. The work goes on when the caller leaves.
func (e *Eraser) Erase(ctx context.Context, q Request) (Result, error) {
	ctx = context.WithoutCancel(ctx)
	before, names, err := e.Check(ctx, q)
	if err != nil {
		return Result{}, err
	}
	out := Result{Record: before}
	document := q.Document && before.Stored
	if len(names) > 0 || document || q.All && before.Reference != "" {
		was := Erasure{ID: uuid.Must(uuid.NewV7()).String(), Index: before.Index, At: e.now().UTC(), By: q.By,
			Names:    names,
			Document: document, Reason: q.Reason}
		if out.Record, err = e.store.Erase(ctx, was, q.All); err != nil {
			return Result{}, down(err)
		}
		if e.tail != nil {
			if err := e.tail.Erased(ctx, was, q.All); err != nil {
				e.log.WarnContext(ctx, "erased attributes stay sealed in the bucket's tail until the sweep", "record",
					before.ID,
					"error", err)
			}
		}
	}
	if q.Document {
		switch err := e.objects.Delete(ctx, notary.DocumentKey(before.ID)); {
		case errors.Is(err, notary.ErrObjectRetained):
			out.Retained = true
		case err != nil:
			e.log.WarnContext(ctx, "an erased original stays until the sweep", "record", before.ID, "error", err)
		}
	}
	if err := e.store.Scrub(ctx, needles(before, names)); err != nil {
		e.log.WarnContext(ctx, "erased bytes may still be in the database's files", "record", before.ID, "error", err)
	}
	return out, nil
}

// NoOriginal is the error for who asks for the original of a record that has none here.
func (e *Eraser) NoOriginal(ctx context.Context, r notary.Record) error {
	list, err := e.Of(ctx, r)
	if err != nil {
		return err
	}
	for _, was := range list {
		if was.Document {
			return notary.Errorf(notary.CodeNotFound, "The original was erased on %s; its digest and proof stay.",
				was.At.UTC().Format(time.RFC3339))
		}
	}
	return notary.Errorf(notary.CodeNotFound,
		"Only the digest of this document was registered; the original is not kept here.")
}

// Of returns what was erased of a record.
func (e *Eraser) Of(ctx context.Context, r notary.Record) ([]Erasure, error) {
	l, err := e.store.Erasures(ctx, r.Index)
	if err != nil {
		return nil, down(err)
	}
	return l, nil
}

// Names are the erased attributes of a record, in their order.
func Names(r notary.Record) []string {
	var out []string
	for _, f := range r.Fields {
		if len(f.Salt) == 0 {
			out = append(out, f.Name)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// needles are salts that were erased: nothing else has the same bytes. The first, a middle and
// the last one find any whole copy of the attributes, and nearly any part of one.
func needles(r notary.Record, names []string) [][]byte {
	var salts [][]byte
	for _, f := range r.Fields {
		if slices.Contains(names, f.Name) {
			salts = append(salts, f.Salt)
		}
	}
	if len(salts) > 3 {
		salts = [][]byte{salts[0], salts[len(salts)/2], salts[len(salts)-1]}
	}
	return salts
}

func down(err error) error {
	var e *notary.Error
	if errors.As(err, &e) {
		return err
	}
	return notary.Wrap(notary.CodeUnavailable, err,
		"The records cannot be reached at the moment. Look whether the attributes are erased before you try again.")
}
