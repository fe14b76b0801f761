package filing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/class"
	"stele/notary/filing"
	"stele/notary/intake"
	"stele/notary/mediatype"
	"stele/notary/upload"
	"stele/storage/storagetest"
)

// office is a desk on real stores that can be made to fail.
type office struct {
	*storagetest.Site
	desk    *filing.Desk
	in      *intake.Intake
	db      *storagetest.FaultyDB
	objects *storagetest.Faulty
	uploads *upload.Uploads
	classes *class.Book
	finding string // of the scanner
}

var (
	clerk    = filing.Person{ID: "1", Login: "clerk", Name: "王经办"}
	approver = filing.Person{ID: "2", Login: "approver", Name: "李审批"}
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
func (o *office) Mark(ctx context.Context, p filing.Paper, marks json.RawMessage, document filing.Source) ([]byte, error) {
	if p.Number == "" {
		return nil, errors.New("no number")
	}
	data, err := document(ctx)
	return append(bytes.Clone(data), marks...), err
}

func (o *office) Preview(ctx context.Context, p filing.Paper, marks json.RawMessage, document filing.Source) ([]byte, error) {
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
	o.uploads = upload.New(o.DB, o.DB, o.objects, upload.Options{Limits: upload.DefaultLimits(), Now: o.Now, Log: storagetest.Discard})
	o.classes = class.NewBook(o.DB, o.Now)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	o.in = intake.New(ctx, o.db, o.objects, intake.Options{Signers: func(string) (*intake.Signer, error) { return o.Signer, nil }, Prepared: o.db, Uploads: o.uploads, Classes: o.classes,
		Limits: intake.DefaultLimits(), Now: o.Now, Log: storagetest.Discard})
	t.Cleanup(func() { o.db.Heal(); o.objects.Heal(); cancel(); o.in.Wait() })
	o.desk = o.server(o.DB, o.db, "server", o.in)
	for _, c := range class.Ready() {
		c.AgencyID = o.Agency.ID
		fatalIfErr(t, o.classes.Put(ctx, c))
	}
	return o
}

// server is a desk as another server of the instance has it.
func (o *office) server(store filing.Store, leases filing.Leases, holder string, in filing.Notary) *filing.Desk {
	return filing.New(store, o.objects, filing.Options{Notary: in, Records: records{o.DB}, Classes: o.classes, Uploads: o.uploads, Scanner: o, Marker: o, Leases: leases, Holder: holder,
		Now: o.Now, Log: storagetest.Discard})
}

func (o *office) upload(t *testing.T, text string) string {
	t.Helper()
	u, err := o.uploads.Create(t.Context(), o.Agency.ID, int64(len(text)), map[string]string{"filename": "a.pdf"})
	fatalIfErr(t, err)
	_, err = o.uploads.Append(t.Context(), o.Agency.ID, u.ID, 0, strings.NewReader(text))
	fatalIfErr(t, err)
	return u.ID
}

func (o *office) take(t *testing.T, text string) filing.Paper {
	t.Helper()
	p, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: o.upload(t, text), Class: class.General})
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
	p, err := o.desk.Describe(t.Context(), o.Agency.ID, p.ID, clerk.ID, p.Version, about)
	fatalIfErr(t, err)
	p, err = o.desk.Submit(t.Context(), o.Agency.ID, p.ID, clerk.ID, p.Version, true) // the files here are texts that are called PDFs
	fatalIfErr(t, err)
	return p
}

// A file that is empty, a program, or not what its name says is not handed on before its maker has
// said that it is the one that is meant; what was written about it stays.
func TestDoubts(t *testing.T) {
	o := newOffice(t)
	for text, want := range map[string]mediatype.Doubt{"%PDF-1.7\n": "", "": mediatype.Empty, "MZ\x90\x00\x03": mediatype.Program, "a note": mediatype.Name} {
		p := o.take(t, text)
		if got := p.Doubts(); want == "" && len(got) > 0 || want != "" && !slices.Equal(got, []mediatype.Doubt{want}) {
			t.Errorf("%q: %v, want %q", text, got, want)
		}
		p, err := o.desk.Describe(t.Context(), o.Agency.ID, p.ID, clerk.ID, p.Version, filing.Description{Class: class.General, Title: "标题"})
		fatalIfErr(t, err)
		_, err = o.desk.Submit(t.Context(), o.Agency.ID, p.ID, clerk.ID, p.Version, false)
		var asked *notary.Error
		if errors.As(err, &asked); want == "" && err != nil || want != "" && (asked == nil || asked.Field != filing.FieldSure) {
			t.Errorf("%q: %v", text, err)
		}
		if want == "" {
			continue
		}
		again, err := o.desk.Find(t.Context(), o.Agency.ID, p.ID)
		if err != nil || again.State != filing.Draft || again.Title != "标题" {
			t.Errorf("%q: %s, %v", text, again.State, err)
		}
		if p, err = o.desk.Submit(t.Context(), o.Agency.ID, p.ID, clerk.ID, p.Version, true); err != nil || p.State != filing.Approved || p.Doubts() == nil {
			t.Errorf("%q, said to be meant: %s, %v", text, p.State, err)
		}
	}
}

func (o *office) objectsLeft(t *testing.T) (keys []string) {
	t.Helper()
	fatalIfErr(t, o.Objects.List(t.Context(), "filing/", func(ob notary.Object) error { keys = append(keys, ob.Key); return nil }))
	return keys
}

func (o *office) wantRecords(t *testing.T, n uint64) {
	t.Helper()
	if p, err := o.DB.Progress(t.Context()); err != nil || p.Received != n {
		t.Errorf("%d entries in the log, want %d (%v)", p.Received, n, err)
	}
}

// Wherever storing or noting breaks off, a repeat finds the same paper and the same record, and
// what lies about is swept.
func TestBreaksOff(t *testing.T) {
	for name, fault := range map[string]storagetest.Fault{
		"file not stored": {Op: storagetest.OpCreate, Prefix: "filing/", Call: 1, Mode: storagetest.Fail}, "file stored, answer lost": {Op: storagetest.OpCreate, Prefix: "filing/", Call: 1, Mode: storagetest.FailPersisted},
	} {
		o := newOffice(t)
		id := o.upload(t, "%PDF-1.7 text")
		o.objects.Inject(fault)
		if _, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: id, Class: class.General}); notary.CodeOf(err) != notary.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		p, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: id, Class: class.General})
		fatalIfErr(t, err)
		if p.MediaType != "application/pdf" || p.FileName != "a.pdf" || p.File.SM3 != sm.Sum([]byte("%PDF-1.7 text")) {
			t.Errorf("%s: %+v", name, p)
		}
		if _, err := o.desk.Sweep(t.Context(), o.DB, -1000*time.Hour); err != nil {
			t.Error(err)
		}
		if left := o.objectsLeft(t); len(left) != 1 || left[0] != p.File.Key {
			t.Errorf("%s: %v are left", name, left)
		}
	}
}

// An approved paper is notarized once, whatever fails on the way: the record's document, its
// transaction, its answer, the paper's row. Nobody can change it in between.
func TestApprovedIsNotarizedOnce(t *testing.T) {
	for name, inject := range map[string]func(o *office){
		"document not stored": func(o *office) {
			o.objects.Inject(storagetest.Fault{Op: storagetest.OpCreate, Prefix: "doc/", Call: 1, Mode: storagetest.Fail})
		},
		"transaction fails": func(o *office) {
			o.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 1, Mode: storagetest.Fail})
		},
		"transaction's answer is lost": func(o *office) {
			o.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 1, Mode: storagetest.FailPersisted})
		},
		"file cannot be read": func(o *office) {
			o.objects.Inject(storagetest.Fault{Op: storagetest.OpOpen, Prefix: "filing/", Call: 1, Mode: storagetest.Fail})
		},
	} {
		o := newOffice(t)
		ctx := t.Context()
		p := o.submit(t, o.take(t, "one"), "public-welfare")
		inject(o)
		p, err := o.desk.Approve(ctx, o.Agency.ID, p.ID, approver, p.Version)
		if err != nil || p.State != filing.Approved {
			t.Fatalf("%s: %s, %v", name, p.State, err)
		}
		if _, err := o.desk.Return(ctx, o.Agency.ID, p.ID, approver, p.Version, "no"); notary.CodeOf(err) != notary.CodeConflict {
			t.Errorf("%s: returned after it was approved: %v", name, err)
		}
		if _, err := o.desk.Drop(ctx, o.Agency.ID, p.ID, clerk.ID, p.Version); notary.CodeOf(err) != notary.CodeConflict {
			t.Errorf("%s: dropped after it was approved: %v", name, err)
		}
		o.db.Heal()
		o.objects.Heal()
		o.Pass(time.Minute)
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- o.desk.Run(running, o.DB) }()
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
		rec, err := o.DB.FindRecord(ctx, o.Agency.ID, p.Record)
		if err != nil || rec.SM3 != p.File.SM3 || rec.Number != p.Number || len(o.objectsLeft(t)) != 0 {
			t.Errorf("%s: %+v, %v; %v are left", name, rec, err, o.objectsLeft(t))
		}
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
		*p, err = o.desk.Describe(ctx, o.Agency.ID, p.ID, clerk.ID, p.Version, filing.Description{Class: class.General, Title: "新", Supersedes: first.Number})
		fatalIfErr(t, err)
		if _, err := o.desk.Submit(ctx, o.Agency.ID, p.ID, clerk.ID, p.Version, true); notary.CodeOf(err) != notary.CodeInvalid {
			t.Error("replaced without a reason:", err)
		}
		*p, err = o.desk.Describe(ctx, o.Agency.ID, p.ID, clerk.ID, p.Version, filing.Description{Class: class.General, Title: "新", Supersedes: first.Number, Reason: "面积有误"})
		fatalIfErr(t, err)
		*p, err = o.desk.Submit(ctx, o.Agency.ID, p.ID, clerk.ID, p.Version, true)
		fatalIfErr(t, err)
	}
	if a, err = o.desk.Finish(ctx, a); err != nil || a.State != filing.Filed {
		t.Fatal(a.State, err)
	}
	if old, err := o.DB.FindRecord(ctx, o.Agency.ID, first.Record); err != nil || old.Standing != notary.Superseded || old.Reason != "面积有误" {
		t.Errorf("%+v, %v", old, err)
	}
	if b, err = o.desk.Finish(ctx, b); notary.CodeOf(err) != notary.CodeConflict || b.State != filing.Returned || b.Remark == "" {
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
	p, err := o.desk.Mark(ctx, o.Agency.ID, p.ID, clerk.ID, p.Version, json.RawMessage(`{"a":1}`))
	fatalIfErr(t, err)
	number := p.Number
	if _, err := o.desk.Mark(ctx, o.Agency.ID, p.ID, approver.ID, p.Version, nil); notary.CodeOf(err) != notary.CodeForbidden {
		t.Error("somebody else stamps it:", err)
	}
	p, err = o.desk.Mark(ctx, o.Agency.ID, p.ID, clerk.ID, p.Version, json.RawMessage(`{"b":2}`))
	fatalIfErr(t, err)
	if p.Number != number || p.Document().SM3 != sm.Sum([]byte(`%PDF-1.7 x{"b":2}`)) || len(o.objectsLeft(t)) != 2 {
		t.Errorf("%+v %v", p, o.objectsLeft(t))
	}
	p = o.submit(t, p, class.General)
	p, err = o.desk.Finish(ctx, p)
	fatalIfErr(t, err)
	rec, err := o.DB.FindRecord(ctx, o.Agency.ID, p.Record)
	fatalIfErr(t, err)
	fields := map[string]string{}
	for _, f := range rec.Fields {
		fields[f.Name] = f.Value
	}
	if rec.Number != number || rec.SM3 != sm.Sum([]byte(`%PDF-1.7 x{"b":2}`)) || fields["originUnmarked"] != p.File.SM3.String() || fields["originMethod"] != "stamp" {
		t.Errorf("%+v %v", rec, fields)
	}
}

// What the scanner finds is not taken, and the upload stays.
func TestScanner(t *testing.T) {
	o := newOffice(t)
	o.finding = "Eicar-Test"
	id := o.upload(t, "virus")
	if _, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: id, Class: class.General}); notary.CodeOf(err) != notary.CodeInvalid || !strings.Contains(err.Error(), "Eicar-Test") {
		t.Error(err)
	}
	if left := o.objectsLeft(t); len(left) != 0 {
		t.Error(left)
	}
	o.finding = ""
	if _, err := o.desk.Take(t.Context(), o.Agency.ID, clerk, filing.Taking{Upload: id, Class: class.General}); err != nil {
		t.Error(err)
	}
}
