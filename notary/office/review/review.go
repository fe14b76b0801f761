// Package review is what the work of two people has in common, be it on one document or on a whole
// table: the maker works on a case and hands it on, a checker agrees to it or gives it back, and
// whoever decides says which version they have seen. What is agreed to a [Worker] does.
package review

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/register/class"
)

// Person is somebody of the agency.
type Person struct {
	ID    string `json:"id"`
	Login string `json:"login"`
	Name  string `json:"name"`
}

// Case is what papers and bulk jobs have in common, with states of their own.
type Case[S ~string] struct {
	ID        string
	AgencyID  string
	State     S
	Version   int    // counts the changes: who agrees says what they have seen
	Once      string // what it was made of: one case each
	Class     string
	Maker     Person
	Checker   Person // who approved or returned it
	Remark    string // why it came back
	CreatedAt time.Time
	ChangedAt time.Time
}

// Touch counts a change.
func (c *Case[S]) Touch(at time.Time) {
	c.Version++
	c.ChangedAt = at
}

// Move is a change that brings the case into another state.
func (c *Case[S]) Move(to S, at time.Time) {
	c.State = to
	c.Touch(at)
}

// Step is what somebody does to a case, of which they have seen a version.
type Step struct {
	AgencyID string
	ID       string
	By       Person
	Seen     int
}

// Desk decides on cases of one kind.
type Desk[T any, S ~string] struct {
	// Change reads a case, lets change alter it and writes it back, in one transaction; an error of
	// change leaves it as it was. What is not there is [notary.ErrNotFound].
	Change  func(ctx context.Context, agencyID, id string, change func(*T) error) (T, error)
	Case    func(*T) *Case[S]
	Waiting S // the state in which somebody else decides
	Words   Words
	State   func(S) error // the answer where the state is not one for the step
	Now     func() time.Time
}

// Words are a desk's answers.
type Words struct {
	Seen     *notary.Error // somebody has changed the case meanwhile
	NotYours *notary.Error
	Missing  *notary.Error
	Down     string // the store cannot be reached
}

var errOwn = notary.Errorf(notary.CodeForbidden,
	"Nobody approves what they have handed in themselves. Somebody else must look at it. Nothing was done.")

// May says why the maker may not take a step: only they do, in some states, and only with the version
// that they have seen.
func (d *Desk[T, S]) May(t *T, s Step, from ...S) error {
	switch c := d.Case(t); {
	case c.Maker.ID != s.By.ID:
		return d.Words.NotYours
	case !slices.Contains(from, c.State):
		return d.State(c.State)
	case c.Version != s.Seen:
		return d.Words.Seen
	}
	return nil
}

// Make lets the maker alter a case in some states.
func (d *Desk[T, S]) Make(ctx context.Context, s Step, from []S, alter func(*T) error) (T, error) {
	t, err := d.Change(ctx, s.AgencyID, s.ID, func(t *T) error {
		if err := d.May(t, s, from...); err != nil {
			return err
		}
		d.Case(t).Touch(d.Now())
		return alter(t)
	})
	return t, d.Words.Outside(err)
}

// Recall takes a case back that waits, before somebody has decided.
func (d *Desk[T, S]) Recall(ctx context.Context, s Step, to S) (T, error) {
	return d.Make(ctx, s, []S{d.Waiting}, func(t *T) error {
		d.Case(t).State = to
		return nil
	})
}

// Decide is the decision of somebody else on a case that waits. Nobody decides on their own.
func (d *Desk[T, S]) Decide(ctx context.Context, s Step, to S, remark string) (T, error) {
	t, err := d.Change(ctx, s.AgencyID, s.ID, func(t *T) error {
		c := d.Case(t)
		switch {
		case c.State != d.Waiting:
			return d.State(c.State)
		case c.Maker.ID == s.By.ID:
			return errOwn
		case c.Version != s.Seen:
			return d.Words.Seen
		}
		c.Checker, c.Remark = s.By, remark
		c.Move(to, d.Now())
		return nil
	})
	return t, d.Words.Outside(err)
}

// Return gives a case back to its maker with a remark.
func (d *Desk[T, S]) Return(ctx context.Context, s Step, to S, remark string) (t T, err error) {
	if strings.TrimSpace(remark) == "" || !notary.ValidLines(remark, MaxRemark) {
		return t, notary.InvalidField("remark",
			"Say what is to be changed, in at most %d bytes, with %s. Nothing was done.", MaxRemark, notary.TextRule)
	}
	return d.Decide(ctx, s, to, remark)
}

// MaxRemark bounds what somebody writes to the maker, in bytes.
const MaxRemark = 1000

// Outside turns an error of a store of rows into one for the outside.
func (w Words) Outside(err error) error {
	var known *notary.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, notary.ErrNotFound):
		return w.Missing
	}
	return notary.Wrap(notary.CodeUnavailable, err, "%s", w.Down)
}

// StoreDown turns an error of the object store into one for the outside.
func StoreDown(err error) error {
	return notary.Wrap(notary.CodeUnavailable, err, "The document store cannot be reached or is full. Try again.")
}

// Transient reports whether trying again may help.
func Transient(err error) bool {
	if err == nil {
		return false
	}
	switch notary.CodeOf(err) {
	case notary.CodeInvalid, notary.CodeConflict, notary.CodeNotFound, notary.CodeDigestMismatch, notary.CodeForbidden,
		notary.CodeTooLarge, notary.CodeIdempotency, notary.CodeUnsupported, notary.CodeAgencyClosed:
		return false
	}
	return true
}

// OpenClass finds a class that takes new records, with its schema.
func OpenClass(ctx context.Context, book *class.Book, agencyID, id string) (class.Class, *class.Schema, error) {
	c, err := book.Find(ctx, agencyID, id)
	if err == nil && c.Ended {
		err = notary.InvalidField("class", "The agency has ended this class: no new records. Nothing was done.")
	}
	if err != nil {
		return c, nil, err
	}
	s, err := class.ParseSchema(c.Schema)
	return c, s, err
}

// OriginSystem is what records of the console say they came through.
const OriginSystem = "console"

// Scanner looks for malware. It returns what it has found, or nothing; an error is that it could
// not look, [notary.CodeTooLarge] that it does not look at so much. It does not retry, and is safe
// for concurrent use.
type Scanner interface {
	Scan(ctx context.Context, r io.Reader) (finding string, err error)
}

// Look has a scanner look at an object; none finds nothing. Its error is [notary.CodeTooLarge] where the
// scanner does not look at so much, and else says to try again.
func Look(ctx context.Context, s Scanner, objects notary.Opener, key string) (finding string, err error) {
	if s == nil {
		return "", nil
	}
	body, _, err := objects.Open(ctx, key, "")
	if err != nil {
		return "", StoreDown(err)
	}
	defer body.Close()
	if finding, err = s.Scan(ctx, body); err != nil && notary.CodeOf(err) != notary.CodeTooLarge {
		err = notary.Wrap(notary.CodeUnavailable, err,
			"The file could not be checked for malware. It stays where it is; try again.")
	}
	return finding, err
}
