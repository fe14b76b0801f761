package stamp

import (
	"context"
	"errors"
)

// Reader does the work on the bytes of documents. What it may cost is its affair: a service does
// it in another process. Both methods are safe for concurrent use, keep nothing, and end when the
// context does. Their errors are those of this package, or of the service itself.
type Reader interface {
	Look(ctx context.Context, agencyID string, document Source, g Glance) (View, error)
	Stamp(ctx context.Context, agencyID string, document Source, plan Plan, c Content) ([]byte, []Placed, error)
}

// Source loads a document. A [Reader] calls it once, and only when it is about to read: many may
// wait for their turn. Its error comes back as it is.
type Source = func(ctx context.Context) ([]byte, error)

// Glance is what is to be seen of a document before it is stamped.
type Glance struct {
	Plan Plan   `json:"plan"`
	URL  string `json:"url"`  // that the QR code will hold, or one of its length
	Page int    `json:"page"` // from 1; out of range it is the first
}

// View is a document with what a plan would put on it.
type View struct {
	Info    Info     `json:"info"`
	Page    int      `json:"page"`
	Placed  []Placed `json:"placed"`  // also where there is a problem with a place
	Outline []byte   `json:"outline"` // of the page, see [Document.Outline]
	Problem error    `json:"-"`       // why the plan cannot be carried out; nil: it can
}

// Look opens a document and places a plan on it.
func Look(document []byte, g Glance) (View, error) {
	d, err := Open(document)
	if err != nil {
		return View{}, err
	}
	v := View{Info: d.Info(), Page: 1}
	if g.Page >= 1 && g.Page <= len(d.pages) {
		v.Page = g.Page
	}
	// Marks that cannot stay where they are, are shown there: so they can be moved.
	if v.Placed, err = d.Place(g.Plan, g.URL); err != nil {
		v.Problem = err
	} else if v.Info.Signed {
		v.Problem = ErrSigned
	}
	d.shadeMarks(v.Placed)
	if v.Outline, err = d.Outline(v.Page, v.Placed); err != nil && v.Problem == nil {
		v.Problem = err
	}
	return v, nil
}

// Stamp opens a document and carries out a plan, see [Document.Apply].
func Stamp(document []byte, plan Plan, c Content) ([]byte, []Placed, error) {
	d, err := Open(document)
	if err != nil {
		return nil, nil, err
	}
	return d.Apply(plan, c)
}

// Here is a [Reader] that works in this process and for as long as it takes.
type Here struct{}

// Look implements [Reader].
func (Here) Look(ctx context.Context, _ string, document Source, g Glance) (View, error) {
	data, err := document(ctx)
	if err != nil {
		return View{}, err
	}
	return Look(data, g)
}

// Stamp implements [Reader].
func (Here) Stamp(ctx context.Context, _ string, document Source, plan Plan, c Content) ([]byte, []Placed, error) {
	data, err := document(ctx)
	if err != nil {
		return nil, nil, err
	}
	return Stamp(data, plan, c)
}

// refusals are the errors of documents and contents, by names that are stable: pages have texts of
// these names. Of several that an error wraps, the first counts.
var refusals = []struct {
	name string
	err  error
}{
	{"file_too_large", ErrTooLarge}, {"not_pdf", ErrNotPDF}, {"encrypted", ErrEncrypted}, {"signed", ErrSigned},
	{"dynamic_form", ErrDynamicForm}, {"damaged", ErrDamaged}, {"no_qr", ErrNoQR}, {"no_seal", ErrNoSeal},
}

// Refusal is an error of this package in a form that can leave the process.
type Refusal struct {
	Name   string     `json:"name,omitempty"` // of an error of this package; empty: none
	Plan   *PlanError `json:"plan,omitempty"`
	Detail string     `json:"detail"`
}

// RefusalOf returns what an error says; nil where there is none.
func RefusalOf(err error) *Refusal {
	if err == nil {
		return nil
	}
	r := &Refusal{Detail: err.Error()}
	errors.As(err, &r.Plan)
	for _, known := range refusals {
		if errors.Is(err, known.err) {
			r.Name = known.name
			break
		}
	}
	return r
}

// Err is the error that it was made of, as far as this package knows it.
func (r *Refusal) Err() error {
	switch {
	case r == nil:
		return nil
	case r.Plan != nil:
		return r.Plan
	}
	for _, known := range refusals {
		if r.Name == known.name {
			return &said{r.Detail, known.err}
		}
	}
	return errors.New(r.Detail)
}

// said is an error of this package with the words that were said of it elsewhere.
type said struct {
	detail string
	err    error
}

func (e *said) Error() string { return e.detail }
func (e *said) Unwrap() error { return e.err }
