package filing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"time"

	"github.com/google/uuid"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/class"
	"stele/notary/intake"
	"stele/notary/mediatype"
	"stele/notary/outage"
)

// Desk is where the papers of an instance are worked on. It is safe for concurrent use.
type Desk struct {
	store   Store
	objects Objects
	o       Options
	inHand  InHand // papers that this server is notarizing
	looking *outage.Loop
}

// Options are what [New] needs besides its stores.
type Options struct {
	Notary  Notary
	Records Records
	Classes *class.Book
	Uploads intake.Uploads
	Scanner Scanner // nil: nothing is looked at
	Marker  Marker  // nil: nothing can be stamped
	Leases  Leases
	Holder  string // names this server among those that share the database
	Now     func() time.Time
	Log     *slog.Logger
	Outages *outage.Tracker // explains failures; nil: nothing does
}

// New returns the desk over a store. [Desk.Run] does the work in the background.
func New(store Store, objects Objects, o Options) *Desk {
	return &Desk{store: store, objects: objects, o: o,
		looking: outage.NewLoop(o.Outages, o.Log, outage.Database, outage.Objects, outage.Scanner)}
}

const folder = "filing/"

// MaxMarked is how many bytes a PDF has at most that is stamped.
const MaxMarked = 64 << 20

// Malware is behind the error about a file in which the scanner found something, whose field
// is FieldMalware.
type Malware struct{ Finding string }

// FieldMalware see [Malware].
const FieldMalware = "malware"

// Error implements error.
func (m Malware) Error() string { return "malware: " + m.Finding }

// Errors that people meet.
var (
	errSeen     = notary.Errorf(notary.CodeConflict, "Somebody has changed this paper since you opened it. Look at it again. Nothing was done.")
	errOwn      = notary.Errorf(notary.CodeForbidden, "Nobody approves what they have handed in themselves. Somebody else must look at it. Nothing was done.")
	errNotYours = notary.Errorf(notary.CodeForbidden, "Only the person who handed a paper in changes it. Nothing was done.")
	errNoPaper  = notary.Errorf(notary.CodeNotFound, "There is no such paper of this agency.")
)

func wrongState(s State) error {
	return notary.Errorf(notary.CodeConflict, "A paper that is %s does not take this step. Nothing was done.", s)
}

func rowsDown(err error) error {
	return RowsDown(err, errNoPaper, "The papers cannot be reached. Look what is there before you try again.")
}

// RowsDown turns an error of a store of rows into one for the outside: missing for what is not
// there, and what down says for everything that is not for the outside already.
func RowsDown(err error, missing *notary.Error, down string) error {
	var known *notary.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, notary.ErrNotFound):
		return missing
	}
	return notary.Wrap(notary.CodeUnavailable, err, "%s", down)
}

// StoreDown turns an error of the object store into one for the outside.
func StoreDown(err error) error {
	return notary.Wrap(notary.CodeUnavailable, err, "The document store cannot be reached or is full. Try again.")
}

// Taking is an upload that is to become a paper, the class of it, and the number of the record
// that the clerk has in mind to replace, or none. Everything but the upload can be changed later.
type Taking struct{ Upload, Class, Supersedes string }

// Take makes a paper of an upload that has arrived: the file is copied, looked at, and the
// upload ends. Repeated it returns the same paper.
func (d *Desk) Take(ctx context.Context, agencyID string, maker Person, t Taking) (Paper, error) {
	ctx = context.WithoutCancel(ctx) // a large file takes longer than a browser may wait
	c, err := d.openClass(ctx, agencyID, t.Class)
	if err != nil {
		return Paper{}, err
	}
	p := Paper{ID: newID(), AgencyID: agencyID, Kind: Issue, State: Draft, Once: "upload/" + t.Upload, Class: c.ID, Supersedes: t.Supersedes, Maker: maker, CreatedAt: d.now()}
	p.ChangedAt = p.CreatedAt
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
	p.File.Key = folder + p.ID + ".document"
	head := &headReader{r: body}
	if err := d.copy(ctx, head, known.Size, &p.File); err != nil {
		return Paper{}, err
	}
	p.MediaType = mediatype.Find(head.head)
	if known.Expected != nil && *known.Expected != p.File.SM3 {
		d.remove(ctx, p.File.Key)
		return Paper{}, &notary.Error{Code: notary.CodeDigestMismatch, Field: "sm3", Message: "The file that arrived is not the one that was announced. Send it again."}
	}
	if err := d.scan(ctx, p.File.Key); err != nil {
		d.remove(ctx, p.File.Key)
		return Paper{}, err
	}
	got, err := d.store.AddPaper(ctx, p, t.Upload)
	if err != nil {
		return Paper{}, rowsDown(err)
	}
	if got.ID != p.ID {
		d.remove(ctx, p.File.Key)
	}
	d.o.Uploads.Remove(t.Upload)
	return got, nil
}

// openClass finds a class that takes new records.
func (d *Desk) openClass(ctx context.Context, agencyID, id string) (class.Class, error) {
	c, err := d.o.Classes.Find(ctx, agencyID, id)
	if err == nil && c.Ended {
		err = notary.InvalidField("class", "The agency has ended this class: no new records. Nothing was done.")
	}
	return c, err
}

func (d *Desk) now() time.Time { return d.o.Now().UTC().Truncate(time.Microsecond) }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// headReader keeps the first bytes, which say what kind of file it is.
type headReader struct {
	r    io.Reader
	head []byte
}

func (h *headReader) Read(b []byte) (int, error) {
	n, err := h.r.Read(b)
	if room := mediatype.HeadSize - len(h.head); room > 0 {
		h.head = append(h.head, b[:min(n, room)]...)
	}
	return n, err
}

// copy stores a file and takes its digest on the way. A crash leaves an object without a row.
func (d *Desk) copy(ctx context.Context, r io.Reader, size int64, f *File) error {
	h := sm.NewHash()
	n := &counter{}
	if _, err := d.objects.Create(ctx, f.Key, io.TeeReader(r, io.MultiWriter(h, n)), size); err != nil {
		var known *notary.Error
		if errors.As(err, &known) {
			return known
		}
		return StoreDown(err)
	}
	f.SM3, f.Size = sm.Digest(h.Sum(nil)), n.n
	return nil
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

func (d *Desk) scan(ctx context.Context, key string) error {
	if d.o.Scanner == nil {
		return nil
	}
	body, _, err := d.objects.Open(ctx, key, "")
	if err != nil {
		return StoreDown(err)
	}
	defer body.Close()
	finding, err := d.o.Scanner.Scan(ctx, body)
	switch {
	case notary.CodeOf(err) == notary.CodeTooLarge:
		return err
	case err != nil:
		return notary.Wrap(notary.CodeUnavailable, err, "The file could not be checked for malware. It stays where it is; try again.")
	case finding != "":
		e := notary.Wrap(notary.CodeInvalid, Malware{finding}, "The scanner found malware in this file (%s). It was not taken.", finding)
		e.Field = FieldMalware
		return e
	}
	return nil
}

// remove takes an object away that no row names; what it does not get the sweep does.
func (d *Desk) remove(ctx context.Context, keys ...string) {
	for _, key := range keys {
		if key == "" {
			continue
		}
		if err := d.objects.Delete(ctx, key); err != nil && !errors.Is(err, notary.ErrObjectRetained) {
			d.o.Log.WarnContext(ctx, "a file of the desk stays until the sweep", "key", key, "error", err)
		}
	}
}

// Find returns a paper of an agency.
func (d *Desk) Find(ctx context.Context, agencyID, id string) (Paper, error) {
	p, err := d.store.FindPaper(ctx, agencyID, id)
	return p, rowsDown(err)
}

// List returns papers, the newest first.
func (d *Desk) List(ctx context.Context, q Query) ([]Paper, error) {
	list, err := d.store.Papers(ctx, q)
	return list, rowsDown(err)
}

// Count returns how many papers of an agency are in each state that is not done.
func (d *Desk) Count(ctx context.Context, agencyID string) (map[State]int, error) {
	n, err := d.store.CountPapers(ctx, agencyID)
	return n, rowsDown(err)
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
		return nil, f, StoreDown(err)
	}
	return body, f, nil
}

// change lets the maker alter a paper that is with them. seen is the version that they saw.
func (d *Desk) change(ctx context.Context, agencyID, id, makerID string, seen int, alter func(*Paper) error) (Paper, error) {
	p, err := d.store.ChangePaper(ctx, agencyID, id, func(p *Paper) error {
		switch {
		case p.Maker.ID != makerID:
			return errNotYours
		case p.State != Draft && p.State != Returned:
			return wrongState(p.State)
		case p.Version != seen:
			return errSeen
		}
		p.Version++
		p.ChangedAt = d.now()
		return alter(p)
	})
	return p, rowsDown(err)
}

// Description is what a clerk says about a document.
type Description struct {
	Class, Title, Reference string
	Supersedes              string // number of the record that it replaces
	Reason                  string // why it does
	Fields                  map[string]string
}

// Describe notes what the maker says. What is there may be incomplete until it is submitted,
// but the class must be one that takes new records. A change of class takes the marks away.
func (d *Desk) Describe(ctx context.Context, agencyID, id, makerID string, seen int, about Description) (Paper, error) {
	if _, err := d.openClass(ctx, agencyID, about.Class); err != nil {
		return Paper{}, err
	}
	return d.change(ctx, agencyID, id, makerID, seen, func(p *Paper) error {
		if p.Kind != Issue {
			return wrongState(p.State)
		}
		p.Class, p.Title, p.Reference, p.Supersedes, p.Reason, p.Fields = about.Class, about.Title, about.Reference, about.Supersedes, about.Reason, maps.Clone(about.Fields)
		return nil
	})
}

// Mark stamps a paper's PDF as marks say, under a number that is reserved for it: the stamped
// file is what will be notarized. Empty marks take them off. The maker looks at the result
// before anybody else does.
func (d *Desk) Mark(ctx context.Context, agencyID, id, makerID string, seen int, marks json.RawMessage) (Paper, error) {
	p, err := d.Find(ctx, agencyID, id)
	if err != nil {
		return Paper{}, err
	}
	if p.Maker.ID != makerID {
		return Paper{}, errNotYours
	}
	if p.Version != seen {
		return Paper{}, errSeen
	}
	old := p.Marked.Key
	var marked File
	if len(marks) > 0 {
		if marked, err = d.mark(ctx, &p, marks); err != nil {
			return Paper{}, err
		}
	}
	out, err := d.change(ctx, agencyID, id, makerID, seen, func(now *Paper) error {
		now.Marked, now.Marks, now.Number, now.Code = marked, marks, p.Number, p.Code
		return nil
	})
	if err != nil {
		d.remove(ctx, marked.Key)
		return Paper{}, err
	}
	d.remove(ctx, old)
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
	f := File{Key: folder + p.ID + ".marked-" + newID()}
	return f, d.copy(ctx, bytes.NewReader(out), int64(len(out)), &f)
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
		return nil, notary.InvalidField("marks", "A PDF that is stamped has at most %d bytes. Nothing was done.", MaxMarked)
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
		return nil, StoreDown(err)
	}
	if sm.Sum(document) != p.File.SM3 {
		return nil, notary.Errorf(notary.CodeConflict, "The file that is kept here is not the one that was handed in. Hand it in again.")
	}
	return document, nil
}
