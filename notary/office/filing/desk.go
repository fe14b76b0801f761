package filing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math"
	"time"

	"github.com/google/uuid"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/review"
	"stele/notary/outage"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/notary/register/mediatype"
	"stele/notary/register/staging"
)

// Desk is where the papers of an instance are worked on. It is safe for concurrent use.
type Desk struct {
	store   Store
	objects Objects
	o       Options
	review  review.Desk[Paper, State]
	worker  *review.Worker[Paper]
}

// Options are what [New] needs besides its stores.
type Options struct {
	Notary  Notary
	Records staging.Records
	Classes *class.Book
	Uploads intake.Uploads
	Place   staging.Place
	Scanner review.Scanner // nil: nothing is looked at
	Marker  Marker         // nil: nothing can be stamped
	Leases  review.Leases
	Holder  string // names this server among those that share the database
	Now     func() time.Time
	Log     *slog.Logger
	Outages *outage.Tracker // explains failures; nil: nothing does
}

// New returns the desk over a store. [Desk.Run] does the work in the background.
func New(store Store, objects Objects, o Options) *Desk {
	d := &Desk{store: store, objects: objects, o: o}
	d.review = review.Desk[Paper, State]{Change: store.ChangePaper, Waiting: Waiting, Words: words, State: wrongState,
		Case: func(p *Paper) *review.Case[State] { return &p.Case }, Now: d.now}
	d.worker = review.NewWorker(review.Work[Paper]{Name: "paper", What: "approved papers",
		Broke: "an approved paper could not be notarized, will try again", Every: lookEvery, AtOnce: papersAtOnce,
		ID: func(p Paper) string { return p.ID }, Do: d.found,
		Leases: o.Leases, Holder: o.Holder, Log: o.Log, Outages: o.Outages})
	return d
}

// MaxMarked is how many bytes a PDF has at most that is stamped.
const MaxMarked = 64 << 20

// Malware is behind the error about a file in which the scanner found something, whose field
// is FieldMalware.
type Malware struct{ Finding string }

// FieldMalware see [Malware].
const FieldMalware = "malware"

// Error implements error.
func (m Malware) Error() string { return "malware: " + m.Finding }

var errNoPaper = notary.Errorf(notary.CodeNotFound, "There is no such paper of this agency.")

var words = review.Words{
	Seen: notary.Errorf(notary.CodeConflict,
		"Somebody has changed this paper since you opened it. Look at it again. Nothing was done."),
	NotYours: notary.Errorf(notary.CodeForbidden,
		"Only the person who handed a paper in changes it. Nothing was done."),
	Missing: errNoPaper,
	Down:    "The papers cannot be reached. Look what is there before you try again.",
}

func wrongState(s State) error {
	return notary.Errorf(notary.CodeConflict, "A paper that is %s does not take this step. Nothing was done.", s)
}

// Taking is an upload that is to become a paper, the class of it, and the number of the record
// that the clerk has in mind to replace, or none. Everything but the upload can be changed later.
type Taking struct{ Upload, Class, Supersedes string }

// Take makes a paper of an upload that has arrived: the file, which is the upload's only part where it
// lies, or is joined, is looked at, and the upload ends. Repeated it returns the same paper.
func (d *Desk) Take(ctx context.Context, agencyID string, maker review.Person, t Taking) (Paper, error) {
	ctx = context.WithoutCancel(ctx) // a large file takes longer than a browser may wait
	c, _, err := review.OpenClass(ctx, d.o.Classes, agencyID, t.Class)
	if err != nil {
		return Paper{}, err
	}
	p := d.newPaper(agencyID, Issue, c.ID, maker, "upload/"+t.Upload)
	p.Supersedes = t.Supersedes
	body, known, err := d.o.Uploads.Open(ctx, agencyID, t.Upload)
	if notary.CodeOf(err) == notary.CodeNotFound {
		// It may have ended with the paper that an earlier try made.
		if got, err := d.store.AddPaper(ctx, p, t.Upload); err == nil {
			return got, nil
		}
	}
	if err != nil {
		return Paper{}, err
	}
	defer body.Close()
	p.FileName = fileNameOf(known.FileName)
	p.Title = titleOf(p.FileName)
	whole, ok := known.Whole()
	copied := ""
	if p.File.Key = whole.Key; !ok {
		copied = d.o.Place.Key()
		p.File.Key = copied
	}
	if p.MediaType, err = d.read(ctx, body, &p.File, copied != ""); err != nil {
		return Paper{}, err
	}
	if known.Expected != nil && *known.Expected != p.File.SM3 {
		d.remove(ctx, agencyID, copied)
		return Paper{}, &notary.Error{Code: notary.CodeDigestMismatch, Field: "sm3",
			Message: "The file that arrived is not the one that was announced. Send it again."}
	}
	if err := d.scan(ctx, p.File.Key); err != nil {
		d.remove(ctx, agencyID, copied)
		return Paper{}, err
	}
	got, err := d.store.AddPaper(ctx, p, t.Upload)
	if err != nil {
		return Paper{}, words.Outside(err)
	}
	if got.ID != p.ID {
		d.remove(ctx, agencyID, copied)
	}
	d.o.Uploads.Remove(agencyID, known.Keys(got.File.Key)...)
	return got, nil
}

func (d *Desk) newPaper(agencyID string, k Kind, class string, maker review.Person, once string) Paper {
	at := d.now()
	return Paper{Kind: k, Case: review.Case[State]{ID: newID(), AgencyID: agencyID, State: Draft, Once: once,
		Class: class,
		Maker: maker, CreatedAt: at, ChangedAt: at}}
}

func (d *Desk) now() time.Time { return d.o.Now().UTC().Truncate(time.Microsecond) }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// read takes a file's measure and its media type, and stores it under its key on the way, unless that is
// where it comes from. A crash leaves an object without a row.
func (d *Desk) read(ctx context.Context, r io.Reader, f *File, store bool) (mediaType string, err error) {
	m := staging.NewMeter(ctx, r, -1, math.MaxInt64)
	defer m.Stop()
	if store {
		_, err = d.objects.Create(ctx, f.Key, m, -1)
	} else {
		_, err = io.Copy(io.Discard, m)
	}
	if known := new(notary.Error); errors.As(err, &known) {
		return "", known
	} else if err != nil {
		return "", review.StoreDown(err)
	}
	f.SM3, f.Size = m.Digest(), m.Size
	return mediatype.Find(m.Head), nil
}

func (d *Desk) scan(ctx context.Context, key string) error {
	finding, err := review.Look(ctx, d.o.Scanner, d.objects, key)
	if err != nil || finding == "" {
		return err
	}
	e := notary.Wrap(notary.CodeInvalid, Malware{finding},
		"The scanner found malware in this file (%s). It was not taken.", finding)
	e.Field = FieldMalware
	return e
}

func (d *Desk) remove(ctx context.Context, agencyID string, keys ...string) {
	staging.Remove(ctx, d.objects, d.o.Records, d.o.Log, agencyID, keys...)
}

// Find returns a paper of an agency.
func (d *Desk) Find(ctx context.Context, agencyID, id string) (Paper, error) {
	p, err := d.store.FindPaper(ctx, agencyID, id)
	return p, words.Outside(err)
}

// List returns papers, the newest first.
func (d *Desk) List(ctx context.Context, q Query) ([]Paper, error) {
	list, err := d.store.Papers(ctx, q)
	return list, words.Outside(err)
}

// Count returns how many papers of an agency are in each state that is not done.
func (d *Desk) Count(ctx context.Context, agencyID string) (map[State]int, error) {
	n, err := d.store.CountPapers(ctx, agencyID)
	return n, words.Outside(err)
}

// Open opens the file that is, or will be, notarized; or the one that was handed in.
func (d *Desk) Open(ctx context.Context, p Paper, original bool) (io.ReadCloser, File, error) {
	f := p.Document()
	if original {
		f = p.File
	}
	if f.Key == "" || p.State.Done() {
		return nil, f, errNoPaper
	}
	body, _, err := d.objects.Open(ctx, f.Key, "")
	if err != nil {
		return nil, f, review.StoreDown(err)
	}
	return body, f, nil
}

// withMaker are the states in which the maker works on a paper.
var withMaker = []State{Draft, Returned}

// Description is what a clerk says about a document.
type Description struct {
	Class, Title, Reference string
	Supersedes              string // number of the record that it replaces
	Reason                  string // why it does
	Fields                  map[string]string
}

// Describe notes what the maker says. What is there may be incomplete until it is submitted,
// but the class must be one that takes new records. A change of class takes the marks away.
func (d *Desk) Describe(ctx context.Context, s review.Step, about Description) (Paper, error) {
	if _, _, err := review.OpenClass(ctx, d.o.Classes, s.AgencyID, about.Class); err != nil {
		return Paper{}, err
	}
	return d.review.Make(ctx, s, withMaker, func(p *Paper) error {
		if p.Kind != Issue {
			return wrongState(p.State)
		}
		p.Class, p.Title, p.Reference, p.Supersedes, p.Reason, p.Fields = about.Class, about.Title, about.Reference,
			about.Supersedes, about.Reason, maps.Clone(about.Fields)
		return nil
	})
}

// Mark stamps a paper's PDF as marks say, under a number that is reserved for it: the stamped
// file is what will be notarized. Empty marks take them off. The maker looks at the result
// before anybody else does.
func (d *Desk) Mark(ctx context.Context, s review.Step, marks json.RawMessage) (Paper, error) {
	p, err := d.Find(ctx, s.AgencyID, s.ID)
	if err != nil {
		return Paper{}, err
	}
	if err := d.review.May(&p, s, p.State); err != nil {
		return Paper{}, err
	}
	old := p.Marked.Key
	var marked File
	if len(marks) > 0 {
		if marked, err = d.mark(ctx, &p, marks); err != nil {
			return Paper{}, err
		}
	}
	out, err := d.review.Make(ctx, s, withMaker, func(now *Paper) error {
		now.Marked, now.Marks, now.Number, now.Code = marked, marks, p.Number, p.Code
		return nil
	})
	if err != nil {
		d.remove(ctx, s.AgencyID, marked.Key)
		return Paper{}, err
	}
	d.remove(ctx, s.AgencyID, old)
	return out, nil
}

func (d *Desk) mark(ctx context.Context, p *Paper, marks json.RawMessage) (File, error) {
	document, err := d.Markable(*p)
	if err != nil {
		return File{}, err
	}
	if p.Number == "" {
		given, err := d.o.Notary.Reserve(ctx, p.AgencyID)
		if err != nil {
			return File{}, err
		}
		p.Number, p.Code = given.Number, given.Code
	}
	out, err := d.o.Marker.Mark(ctx, *p, marks, document)
	if err != nil {
		return File{}, err
	}
	f := File{Key: d.o.Place.Key()}
	_, err = d.read(ctx, bytes.NewReader(out), &f, true)
	return f, err
}

// Preview shows how a paper would look with marks. Nothing is kept.
func (d *Desk) Preview(ctx context.Context, p Paper, marks json.RawMessage) ([]byte, error) {
	document, err := d.Markable(p)
	if err != nil {
		return nil, err
	}
	return d.o.Marker.Preview(ctx, p, marks, document)
}

// Markable returns what loads a paper's file as it was handed in, where it is one that can be stamped.
func (d *Desk) Markable(p Paper) (Source, error) {
	switch {
	case d.o.Marker == nil:
		return nil, notary.Errorf(notary.CodeConflict, "Nothing can be stamped on this service. Nothing was done.")
	case p.Kind != Issue || p.MediaType != "application/pdf":
		return nil, notary.InvalidField("marks", "Only a PDF can be stamped. Nothing was done.")
	case p.File.Size > MaxMarked:
		return nil, notary.InvalidField("marks", "A PDF that is stamped has at most %d bytes. Nothing was done.",
			MaxMarked)
	}
	return func(ctx context.Context) ([]byte, error) { return d.load(ctx, p) }, nil
}

func (d *Desk) load(ctx context.Context, p Paper) ([]byte, error) {
	body, _, err := d.Open(ctx, p, true)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	document := make([]byte, p.File.Size)
	_, err = io.ReadFull(body, document)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) { // a short one is no better
		return nil, review.StoreDown(err)
	}
	if sm.Sum(document) != p.File.SM3 {
		return nil, notary.Errorf(notary.CodeConflict,
			"The file that is kept here is not the one that was handed in. Hand it in again.")
	}
	return document, nil
}
