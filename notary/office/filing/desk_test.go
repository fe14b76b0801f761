package filing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/review"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/notary/register/mediatype"
	"stele/notary/register/staging"
	"stele/notary/register/upload"
	"stele/storage/storagetest"
)

// office is a desk on real stores that can be made to fail.
type office struct {
	*storagetest.Site
	desk    *filing.Desk
	in      *intake.Intake
	place   staging.Place
	db      *storagetest.FaultyDB
	objects *storagetest.Faulty
	uploads *upload.Uploads
	classes *class.Book
	finding string // of the scanner
	pieces  bool   // uploads come in two
}

var (
	clerk    = review.Person{ID: "1", Login: "clerk", Name: "王经办"}
	approver = review.Person{ID: "2", Login: "approver", Name: "李审批"}
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// records finds records as the archive does.
type records struct{ db intake.Store }

func (r records) Record(ctx context.Context, agencyID, id string) (notary.Record, error) {
	rec, err := r.db.FindRecord(ctx, agencyID, id)
	if errors.Is(err, notary.ErrNotFound) {
		err = notary.Errorf(notary.CodeNotFound, "none")
	}
	return rec, err
}

func (o *office) Scan(_ context.Context, r io.Reader) (string, error) {
	_, err := io.Copy(io.Discard, r)
	return o.finding, err
}

// Mark puts the marks behind the document.
func (o *office) Mark(ctx context.Context, p filing.Paper, marks json.RawMessage, document filing.Source) ([]byte,
	error) {
	if p.Number == "" {
		return nil, errors.New("no number")
	}
	data, err := document(ctx)
	return append(bytes.Clone(data), marks...), err
}

func (o *office) Preview(ctx context.Context, p filing.Paper, marks json.RawMessage, document filing.Source) ([]byte,
	error) {
	data, err := document(ctx)
	return append(bytes.Clone(data), "preview"...), err
}

func newOffice(t *testing.T) *office {
	t.Helper()
	return officeOn(t, storagetest.NewSiteOn(t, storagetest.SQLiteURL(t), storagetest.NewDir(t)))
}

func officeOn(t *testing.T, site *storagetest.Site) *office {
	t.Helper()
	o := &office{Site: site}
	o.db, o.objects = storagetest.NewFaultyDB(o.DB), storagetest.NewFaulty(o.Objects)
	o.uploads = o.uploadsAt(o.place)
	o.classes = class.NewBook(o.DB.Office, o.Now)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	o.in = intake.New(ctx, o.db, o.objects,
		intake.Options{Signers: func(string) (*intake.Signer, error) { return o.Signer, nil },
			Uploads: o.uploads, Classes: o.classes,
			Limits: intake.DefaultLimits(), Now: o.Now, Log: storagetest.Discard})
	t.Cleanup(func() { o.db.Heal(); o.objects.Heal(); cancel(); o.in.Wait() })
	o.desk = o.server(o.DB.Office, o.db, "server", o.in)
	for _, c := range class.Ready() {
		c.AgencyID = o.Agency.ID
		fatalIfErr(t, o.classes.Put(ctx, c))
	}
	return o
}

func (o *office) uploadsAt(place staging.Place) *upload.Uploads {
	return upload.New(o.DB.Log, o.objects, upload.Options{Records: records{o.DB.Log}, Place: place,
		Limits: upload.DefaultLimits(), Now: o.Now, Log: storagetest.Discard})
}

// server is a desk as another server of the instance has it.
func (o *office) server(store filing.Store, leases review.Leases, holder string, in filing.Notary) *filing.Desk {
	return filing.New(store, o.objects, filing.Options{Notary: in, Records: records{o.DB.Log}, Classes: o.classes,
		Uploads: o.uploads, Place: o.place, Scanner: o, Marker: o, Leases: leases, Holder: holder,
		Now: o.Now, Log: storagetest.Discard})
}

func (o *office) upload(t *testing.T, text string) string {
	t.Helper()
	u, err := o.uploads.Create(t.Context(), o.Agency.ID, int64(len(text)), map[string]string{"filename": "a.pdf"})
	fatalIfErr(t, err)
	for at := 0; at < len(text); {
		piece := text[at:]
		if o.pieces && at == 0 {
			piece = text[:1]
		}
		_, err = o.uploads.Append(t.Context(), o.Agency.ID, u.ID, int64(at), strings.NewReader(piece))
		fatalIfErr(t, err)
		at += len(piece)
	}
	return u.ID
}

func (o *office) take(t *testing.T, text string) filing.Paper {
	t.Helper()
	p, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: o.upload(t, text),
		Class: class.General})
	fatalIfErr(t, err)
	return p
}

// submit describes a paper of a class with approval, or without, and hands it on.
func (o *office) submit(t *testing.T, p filing.Paper, classID string) filing.Paper {
	t.Helper()
	about := filing.Description{Class: classID, Title: "标题"}
	if classID == "public-welfare" {
		about.Fields = map[string]string{"project": "a", "organization": "b", "kind": "捐赠收据"}
	}
	p, err := o.desk.Describe(t.Context(), review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version},
		about)
	fatalIfErr(t, err)
	// the files here are texts that are called PDFs
	p, err = o.desk.Submit(t.Context(), review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version}, true)
	fatalIfErr(t, err)
	return p
}

// A file that is empty, a program, or not what its name says is not handed on before its maker has
// said that it is the one that is meant; what was written about it stays.
func TestDoubts(t *testing.T) {
	o := newOffice(t)
	for text, want := range map[string]mediatype.Doubt{"%PDF-1.7\n": "", "": mediatype.Empty,
		"MZ\x90\x00\x03": mediatype.Program, "a note": mediatype.Name} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			p := o.take(t, text)
			step := func() review.Step {
				return review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version}
			}
			if got := p.Doubts(); want == "" && len(got) > 0 ||
				want != "" && !slices.Equal(got, []mediatype.Doubt{want}) {
				t.Errorf("%q: %v, want %q", text, got, want)
			}
			var err error
			p, err = o.desk.Describe(t.Context(), step(), filing.Description{Class: class.General, Title: "标题"})
			fatalIfErr(t, err)
			_, err = o.desk.Submit(t.Context(), step(), false)
			var asked *notary.Error
			if errors.As(err, &asked); want == "" && err != nil || want != "" &&
				(asked == nil || asked.Field != filing.FieldSure) {
				t.Errorf("%q: %v", text, err)
			}
			if want == "" {
				return
			}
			again, err := o.desk.Find(t.Context(), o.Agency.ID, p.ID)
			if err != nil || again.State != filing.Draft || again.Title != "标题" {
				t.Errorf("%q: %s, %v", text, again.State, err)
			}
			if p, err = o.desk.Submit(t.Context(), step(), true); err != nil ||
				p.State != filing.Approved || p.Doubts() == nil {
				t.Errorf("%q, said to be meant: %s, %v", text, p.State, err)
			}
		})
	}
}

// objectsLeft are the documents that are no record's.
func (o *office) objectsLeft(t *testing.T) (keys []string) {
	t.Helper()
	for _, folder := range []string{"doc/", "filing/"} {
		fatalIfErr(t, o.Objects.List(t.Context(), folder, func(ob notary.Object) error {
			id, _ := notary.DocumentID(ob.Key)
			if _, err := o.DB.Log.FindRecord(t.Context(), o.Agency.ID, id); err != nil {
				keys = append(keys, ob.Key)
			}
			return nil
		}))
	}
	return keys
}

// sweep removes what nobody owns, however young.
func (o *office) sweep(t *testing.T) {
	t.Helper()
	_, err := staging.Sweep(t.Context(), o.objects, o.DB.Log, time.Now().Add(1000*time.Hour), storagetest.Discard)
	fatalIfErr(t, err)
}

func (o *office) wantRecords(t *testing.T, n uint64) {
	t.Helper()
	if p, err := o.DB.Log.Progress(t.Context()); err != nil || p.Received != n {
		t.Errorf("%d entries in the log, want %d (%v)", p.Received, n, err)
	}
}

// Wherever storing or noting breaks off, a repeat finds the same paper and the same record, and
// what lies about is swept.
func TestBreaksOff(t *testing.T) {
	for name, fault := range map[string]storagetest.Fault{
		"whole file not read": {Op: storagetest.OpOpen, Prefix: "doc/", Call: 1, Mode: storagetest.Fail},
		"file not stored":     {Op: storagetest.OpCreate, Prefix: "doc/", Call: 1, Mode: storagetest.Fail},
		"file stored, answer lost": {Op: storagetest.OpCreate, Prefix: "doc/", Call: 1,
			Mode: storagetest.FailPersisted},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.pieces = fault.Op == storagetest.OpCreate
			id := o.upload(t, "%PDF-1.7 text")
			o.objects.Inject(fault)
			if _, err := o.desk.Take(t.Context(), o.Agency.ID, clerk,
				filing.Taking{Upload: id, Class: class.General}); notary.CodeOf(err) != notary.CodeUnavailable {
				t.Errorf("%s: %v", name, err)
			}
			p, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: id, Class: class.General})
			fatalIfErr(t, err)
			if p.MediaType != "application/pdf" || p.FileName != "a.pdf" ||
				p.File.SM3 != sm.Sum([]byte("%PDF-1.7 text")) {
				t.Errorf("%s: %+v", name, p)
			}
			o.sweep(t)
			if left := o.objectsLeft(t); len(left) != 1 || left[0] != p.File.Key {
				t.Errorf("%s: %v are left", name, left)
			}
		})
	}
}

// An approved paper is notarized once, whatever fails on the way: the record's document, its
// transaction, its answer, the paper's row. Nobody can change it in between.
func TestApprovedIsNotarizedOnce(t *testing.T) {
	for name, inject := range map[string]func(o *office){
		"transaction fails": func(o *office) {
			o.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 1, Mode: storagetest.Fail})
		},
		"transaction's answer is lost": func(o *office) {
			o.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 1, Mode: storagetest.FailPersisted})
		},
		"file cannot be read": func(o *office) {
			o.objects.Inject(storagetest.Fault{Op: storagetest.OpOpen, Prefix: "doc/", Call: 1,
				Mode: storagetest.Fail})
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			ctx := t.Context()
			p := o.submit(t, o.take(t, "one"), "public-welfare")
			inject(o)
			p, err := o.desk.Approve(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: approver, Seen: p.Version})
			if err != nil || p.State != filing.Approved {
				t.Fatalf("%s: %s, %v", name, p.State, err)
			}
			if _, err := o.desk.Return(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: approver, Seen: p.Version},
				"no"); notary.CodeOf(
				err) != notary.CodeConflict {
				t.Errorf("%s: returned after it was approved: %v", name, err)
			}
			if _, err := o.desk.Drop(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk,
				Seen: p.Version}); notary.CodeOf(
				err) != notary.CodeConflict {
				t.Errorf("%s: dropped after it was approved: %v", name, err)
			}
			o.db.Heal()
			o.objects.Heal()
			o.Pass(time.Minute)
			running, stop := context.WithCancel(ctx)
			done := make(chan error, 1)
			go func() { done <- o.desk.Run(running) }()
			for { // Run has looked once when it is done with what there is
				if p, err = o.desk.Find(ctx, o.Agency.ID, p.ID); err != nil || p.State == filing.Filed {
					break
				}
				if ctx.Err() != nil {
					t.Fatal(ctx.Err())
				}
			}
			stop()
			fatalIfErr(t, errors.Join(err, <-done))
			o.wantRecords(t, 1)
			rec, err := o.DB.Log.FindRecord(ctx, o.Agency.ID, p.Record)
			if err != nil || rec.SM3 != p.File.SM3 || rec.Number != p.Number || len(o.objectsLeft(t)) != 0 {
				t.Errorf("%s: %+v, %v; %v are left", name, rec, err, o.objectsLeft(t))
			}
		})
	}
}

// What the log refuses comes back with the reason; the file on the desk is not believed.
func TestComesBack(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	first := o.submit(t, o.take(t, "old"), class.General)
	first, err := o.desk.Finish(ctx, first)
	fatalIfErr(t, err)
	a, b := o.take(t, "new a"), o.take(t, "new b")
	for _, p := range []*filing.Paper{&a, &b} {
		*p, err = o.desk.Describe(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version},
			filing.Description{Class: class.General,
				Title: "新", Supersedes: first.Number})
		fatalIfErr(t, err)
		if _, err := o.desk.Submit(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version},
			true); notary.CodeOf(
			err) != notary.CodeInvalid {
			t.Error("replaced without a reason:", err)
		}
		*p, err = o.desk.Describe(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version},
			filing.Description{Class: class.General,
				Title: "新", Supersedes: first.Number, Reason: "面积有误"})
		fatalIfErr(t, err)
		*p, err = o.desk.Submit(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version}, true)
		fatalIfErr(t, err)
	}
	if a, err = o.desk.Finish(ctx, a); err != nil || a.State != filing.Filed {
		t.Fatal(a.State, err)
	}
	if old, err := o.DB.Log.FindRecord(ctx, o.Agency.ID, first.Record); err != nil ||
		old.Standing != notary.Superseded ||
		old.Reason != "面积有误" {
		t.Errorf("%+v, %v", old, err)
	}
	if b, err = o.desk.Finish(ctx, b); notary.CodeOf(err) != notary.CodeConflict || b.State != filing.Returned ||
		b.Remark == "" {
		t.Error("replaced twice:", b.State, b.Remark, err)
	}
	o.wantRecords(t, 2)

	p := o.take(t, "honest")
	fatalIfErr(t, o.Objects.Delete(ctx, p.File.Key))
	_, err = o.Objects.Create(ctx, p.File.Key, strings.NewReader("forged"), 6)
	fatalIfErr(t, err)
	p = o.submit(t, p, class.General)
	if p, err = o.desk.Finish(ctx, p); err == nil || p.State != filing.Returned {
		t.Error("a file that was changed on the desk was notarized:", p.State, err)
	}
	o.wantRecords(t, 2)
}

// A stamped paper: the number is reserved for it, stays its own however often it is stamped, and
// the record names the digest before the stamp.
func TestMarks(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	p := o.take(t, "%PDF-1.7 x")
	p, err := o.desk.Mark(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version},
		json.RawMessage(`{"a":1}`))
	fatalIfErr(t, err)
	number := p.Number
	if _, err := o.desk.Mark(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: approver, Seen: p.Version},
		nil); notary.CodeOf(
		err) != notary.CodeForbidden {
		t.Error("somebody else stamps it:", err)
	}
	p, err = o.desk.Mark(ctx, review.Step{AgencyID: o.Agency.ID, ID: p.ID, By: clerk, Seen: p.Version},
		json.RawMessage(`{"b":2}`))
	fatalIfErr(t, err)
	if p.Number != number || p.Document().SM3 != sm.Sum([]byte(`%PDF-1.7 x{"b":2}`)) || len(o.objectsLeft(t)) != 2 {
		t.Errorf("%+v %v", p, o.objectsLeft(t))
	}
	p = o.submit(t, p, class.General)
	p, err = o.desk.Finish(ctx, p)
	fatalIfErr(t, err)
	rec, err := o.DB.Log.FindRecord(ctx, o.Agency.ID, p.Record)
	fatalIfErr(t, err)
	fields := map[string]string{}
	for _, f := range rec.Fields {
		fields[f.Name] = f.Value
	}
	if rec.Number != number || rec.SM3 != sm.Sum([]byte(`%PDF-1.7 x{"b":2}`)) ||
		fields["originUnmarked"] != p.File.SM3.String() || fields["originMethod"] != "stamp" {
		t.Errorf("%+v %v", rec, fields)
	}
}

// What the scanner finds is not taken, and the upload stays: whole, or in its parts.
func TestScanner(t *testing.T) {
	for parts, pieces := range map[int]bool{1: false, 2: true} {
		testScanner(t, pieces, parts)
	}
}

func testScanner(t *testing.T, pieces bool, parts int) {
	o := newOffice(t)
	o.pieces, o.finding = pieces, "Eicar-Test"
	id := o.upload(t, "virus")
	if _, err := o.desk.Take(t.Context(), o.Agency.ID, clerk,
		filing.Taking{Upload: id, Class: class.General}); notary.CodeOf(err) != notary.CodeInvalid ||
		!strings.Contains(err.Error(), "Eicar-Test") {
		t.Error(err)
	}
	for range 2 {
		if left := o.objectsLeft(t); len(left) != parts {
			t.Errorf("of %d parts: %v", parts, left)
		}
		o.sweep(t)
	}
	o.finding = ""
	p, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: id, Class: class.General})
	fatalIfErr(t, err)
	o.sweep(t)
	if left := o.objectsLeft(t); len(left) != 1 || left[0] != p.File.Key {
		t.Errorf("of %d parts: %v", parts, left)
	}
}

// The bytes of a document are written once, as what will be the record's original, and once more where they
// come in parts. Where originals are locked they are copied once more, and drafts lie where they can be removed.
func TestWrites(t *testing.T) {
	for _, c := range []struct{ locked, pieces bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
		t.Run(fmt.Sprintf("locked %t, in pieces %t", c.locked, c.pieces), func(t *testing.T) {
			o, locked := newOffice(t), c.locked
			o.place.Locked, o.pieces = locked, c.pieces
			o.uploads = o.uploadsAt(o.place)
			o.desk = o.server(o.DB.Office, o.db, "server", o.in)
			ctx, want := t.Context(), 1
			p := o.submit(t, o.take(t, "%PDF-1.7 x"), class.General)
			p, err := o.desk.Finish(ctx, p)
			fatalIfErr(t, err)
			if locked {
				want++
			}
			if c.pieces {
				want += 2 // two parts, and the whole
			}
			if n := o.objects.Calls(storagetest.OpCreate); n != want {
				t.Errorf("locked %t: %d objects were written, want %d", locked, n, want)
			}
			rec, err := o.DB.Log.FindRecord(ctx, o.Agency.ID, p.Record)
			fatalIfErr(t, err)
			if own := p.File.Key == notary.DocumentKey(rec.ID); !rec.Stored || own == locked {
				t.Errorf("locked %t: %+v of %+v", locked, rec, p)
			}
			o.sweep(t)
			document, err := o.Objects.Get(ctx, notary.DocumentKey(rec.ID), 100)
			if err != nil || string(document) != "%PDF-1.7 x" || len(o.objectsLeft(t)) != 0 {
				t.Errorf("locked %t: the original is %q, %v; left are %v", locked, document, err, o.objectsLeft(t))
			}
		})
	}
}

// A paper that a server of before took in has its file in a folder of its own: it is copied, and goes.
func TestPaperOfBefore(t *testing.T) {
	o := newOffice(t)
	ctx := t.Context()
	p := o.submit(t, o.take(t, "one"), class.General)
	before := "filing/" + p.ID + ".document"
	_, err := o.Objects.Create(ctx, before, strings.NewReader("one"), 3)
	fatalIfErr(t, err)
	p, err = o.DB.Office.ChangePaper(ctx, o.Agency.ID, p.ID,
		func(p *filing.Paper) error { p.File.Key = before; return nil })
	fatalIfErr(t, err)
	o.sweep(t)
	if left := o.objectsLeft(t); len(left) != 1 || left[0] != before {
		t.Fatal("left are", left)
	}
	if p, err = o.desk.Finish(ctx, p); err != nil || p.State != filing.Filed || len(o.objectsLeft(t)) != 0 {
		t.Errorf("%s, %v; left are %v", p.State, err, o.objectsLeft(t))
	}
	o.wantRecords(t, 1)
}
