package stamp

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"stele/crypto/sm"
	"stele/notary"
)

// Seals keeps the seals of agencies and the record of their use.
//
// Seal returns a seal of an agency, or [notary.ErrNotFound]; another agency's is not found
// either. UseSeal writes a use down, durably, before it returns; it refuses with a conflict
// a seal that is not valid at the time of the use, and it alone decides that: one that is
// ended meanwhile is seen. Both are safe for concurrent use. Nothing is retried: whoever gets
// another error does not hand out what was stamped.
type Seals interface {
	Seal(ctx context.Context, agencyID, id string) (notary.Seal, error)
	UseSeal(ctx context.Context, u notary.SealUse) error
}

// Book is how an agency's seals are kept. All of it is durable when it returns, and safe for
// concurrent use; times come from the store's clock where none is given.
//
// Seals returns those in use first, each group newest first. AddSeal adds one (with an id of
// [NewSealID]); one of the same name that is in use ends when this one begins. onCertificates
// makes certificates show it, which is also so when they showed the one that it replaces.
// ShowSeal makes certificates show a seal, or none where the id is empty. EndSeal gives one
// up for ever. What certificates show changes for records that come after the returned time
// only, see [notary.Seal]. SealUses returns uses of a seal, or of all where sealID is empty,
// newest first, at most limit, and only those before the one with the id before, if given.
// What is not there gives [notary.ErrNotFound]; what may not be, an error with a code.
type Book interface {
	Seals(ctx context.Context, agencyID string) ([]notary.Seal, error)
	AddSeal(ctx context.Context, s notary.Seal, onCertificates bool) (notary.Seal, error)
	ShowSeal(ctx context.Context, agencyID, id string) (from time.Time, err error)
	EndSeal(ctx context.Context, agencyID, id string) (notary.Seal, error)
	SealUses(ctx context.Context, agencyID, sealID, before string, limit int) ([]notary.SealUse, error)
}

// NewSealID returns an id that no seal has.
func NewSealID() string { return uuid.Must(uuid.NewV7()).String() }

// Stamper stamps documents with agencies' seals. It is safe for concurrent use.
type Stamper struct {
	seals  Seals
	reader Reader
	now    func() time.Time
}

// NewDesk returns a desk.
func NewStamper(seals Seals, reader Reader, now func() time.Time) *Stamper {
	return &Stamper{seals: seals, reader: reader, now: now}
}

// Look shows a document of an agency with what a plan would put on it. Nothing is recorded. The
// error of a document that cannot be stamped is one of this package; the view has it for a plan.
func (d *Stamper) Look(ctx context.Context, agencyID string, document Source, g Glance) (View, error) {
	return d.reader.Look(ctx, agencyID, document, g)
}

// Order is what is to be stamped, how, and by whom.
type Order struct {
	AgencyID string
	SealID   string // not needed by a plan without a seal
	Login    string // who stamps
	Filing   string // what the caller calls the document, for the record of use
	Number   string // of the certificate that the document will have
	URL      string // behind the QR code
	Plan     Plan
	Document Source
}

// Stamped is a stamped document.
type Stamped struct {
	PDF      []byte
	SM3      sm.Digest // of it
	Original sm.Digest // of the document before
	Placed   []Placed
	UseID    string // of the record of use; empty: no seal was used
}

// Use stamps a document. The record of the seal's use is durable before the stamped file is
// returned, and holds its digest. A crash in between leaves a record of a file that nobody
// has; no file with a seal is without one. A refusal is a [notary.Error]: invalid_request for
// the document or the plan (with a [*PlanError] or an error of this package inside), conflict
// for a seal that is not valid.
func (d *Stamper) Use(ctx context.Context, o Order) (Stamped, error) {
	out, seals, err := d.stamp(ctx, o, false)
	if err != nil || seals == 0 {
		return out, err
	}
	use := notary.SealUse{ID: uuid.Must(uuid.NewV7()).String(), At: d.now().UTC(), SealID: o.SealID,
		AgencyID: o.AgencyID, Login: o.Login, Filing: o.Filing, Number: o.Number,
		Original: out.Original, Stamped: out.SM3, Marks: seals}
	if err := d.seals.UseSeal(ctx, use); err != nil {
		return Stamped{}, err
	}
	out.UseID = use.ID
	return out, nil
}

// Preview stamps a document with a pale seal that says that it is none. Nothing is recorded.
func (d *Stamper) Preview(ctx context.Context, o Order) (Stamped, error) {
	out, _, err := d.stamp(ctx, o, true)
	return out, err
}

// stamp returns with how many places bear the seal.
func (d *Stamper) stamp(ctx context.Context, o Order, preview bool) (Stamped, int, error) {
	content := Content{URL: o.URL, Number: o.Number, Preview: preview}
	if o.Plan.bearsSeal() {
		s, err := d.seals.Seal(ctx, o.AgencyID, o.SealID)
		if errors.Is(err, notary.ErrNotFound) {
			return Stamped{}, 0, notary.InvalidField("seal", "The agency has no such seal.")
		}
		if err != nil {
			return Stamped{}, 0, notary.Wrap(notary.CodeUnavailable, err,
				"The seal cannot be read at the moment; try again.")
		}
		if !s.ValidAt(d.now()) {
			return Stamped{}, 0,
				notary.Errorf(notary.CodeConflict,
					"The seal %s is not valid now: it was ended, its validity is over, or it has not begun.", s.Name)
		}
		content.Seal, content.Demonstration = s.PNG, s.Demonstration
	}
	var out Stamped
	load := func(ctx context.Context) ([]byte, error) {
		document, err := o.Document(ctx)
		out.Original = sm.Sum(document)
		return document, err
	}
	var err error
	if out.PDF, out.Placed, err = d.reader.Stamp(ctx, o.AgencyID, load, o.Plan, content); err != nil {
		return Stamped{}, 0, refusal(err)
	}
	out.SM3 = sm.Sum(out.PDF)
	seals := 0
	for _, p := range out.Placed {
		if p.Kind != QR {
			seals++
		}
	}
	return out, seals, nil
}

func (p Plan) bearsSeal() bool {
	for _, m := range p.Marks {
		if m.Kind != QR {
			return true
		}
	}
	return false
}

// refusal says of a document or a plan what is wrong with it, for the outside.
func refusal(err error) error {
	var plan *PlanError
	if errors.As(err, &plan) {
		return refused("plan", plan, err)
	}
	for _, known := range refusals {
		if !errors.Is(err, known.err) {
			continue
		}
		if known.err == ErrNoQR || known.err == ErrNoSeal {
			return refused("plan", known.err, err)
		}
		return refused("file", known.err, err)
	}
	return err
}

func refused(field string, reason, err error) error {
	out := notary.Wrap(notary.CodeInvalid, err, "The document cannot be stamped so: %s.", reason)
	out.Field = field
	return out
}
