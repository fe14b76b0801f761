package intake_test

import (
	"context"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/notary/register/staging"
	"stele/notary/register/upload"
	"stele/storage/storagetest"
)

// fixture is an intake on real stores that can be made to fail.
type fixture struct {
	*storagetest.Site
	in      door
	db      *storagetest.FaultyDB
	objects *storagetest.Faulty
	uploads *upload.Uploads
	whole   bool // uploads come in one
	t       testing.TB
	raw     *sqlx.DB
	stop    context.CancelFunc
	news    atomic.Int64 // calls of OnNew

	sign atomic.Pointer[func(message []byte) ([]byte, error)] // instead of the agency's key
	home atomic.Bool                                          // the agency keeps its key

	rules map[string]*class.Rule // of the agency's classes
}

// Rule implements intake.Classes.
func (f *fixture) Rule(_ context.Context, _, id string) (*class.Rule, error) { return f.rules[id], nil }

func newFixture(t *testing.T, b storagetest.Backend, change ...func(*intake.Limits)) *fixture {
	t.Helper()
	f := &fixture{Site: storagetest.NewSite(t, b), t: t}
	f.db, f.objects, f.raw = storagetest.NewFaultyDB(f.DB), storagetest.NewFaulty(f.Objects), storagetest.Raw(t, f.URL)
	limits := intake.DefaultLimits()
	for _, c := range change {
		c(&limits)
	}
	signer := *f.Signer
	key := signer.Sign
	signer.Sign = func(message []byte) ([]byte, error) {
		if s := f.sign.Load(); s != nil {
			return (*s)(message)
		}
		return key(message)
	}
	signers := func(id string) (*intake.Signer, error) {
		if id != f.Agency.ID {
			return nil, notary.ErrNotFound
		}
		if f.home.Load() {
			home := signer
			home.Sign = nil
			return &home, nil
		}
		return &signer, nil
	}
	f.placeUploads(staging.Place{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	f.stop = cancel
	f.in = door{intake.New(ctx, f.db, f.objects, intake.Options{Signers: signers, Uploads: uploads{f},
		Classes: f, Limits: limits, Now: f.Now, Log: storagetest.Discard, OnNew: func() { f.news.Add(1) }})}
	t.Cleanup(func() {
		f.db.Heal()
		f.objects.Heal()
		cancel()
		f.in.Wait()
	})
	return f
}

// placeUploads has uploads go to a place from now on.
func (f *fixture) placeUploads(place staging.Place) {
	u := upload.New(f.DB.Log, f.objects, upload.Options{Records: archive.New(f.DB.Log, nil, nil), Place: place,
		Signer: addresses{}, Limits: upload.DefaultLimits(), Now: f.Now, Log: storagetest.Discard})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- u.Run(ctx) }()
	f.t.Cleanup(func() { cancel(); <-done })
	f.uploads = u
}

// uploads are those that a fixture has now.
type uploads struct{ f *fixture }

func (u uploads) Open(ctx context.Context, agencyID, id string) (io.ReadCloser, notary.Uploaded, error) {
	return u.f.uploads.Open(ctx, agencyID, id)
}

func (u uploads) Remove(agencyID string, keys ...string) { u.f.uploads.Remove(agencyID, keys...) }

// addresses are the keys that are to be written.
type addresses struct{}

func (addresses) SignPut(_ context.Context, key string, _ int64, _ time.Duration) (upload.Signed, error) {
	return upload.Signed{URL: key}, nil
}

// door asks an intake as the tests do: with a function for each kind of source.
type door struct{ *intake.Intake }

func issued(out intake.Taken, err error) (notary.Record, bool, error) {
	return out.Record, out.Replay, err
}

func (d door) File(ctx context.Context, draft intake.Draft, r io.Reader, size int64) (notary.Record, bool, error) {
	return issued(d.Take(ctx, draft, intake.File(r, size), intake.Here))
}

func (d door) Upload(ctx context.Context, draft intake.Draft, id string, size int64) (notary.Record, bool, error) {
	return issued(d.Take(ctx, draft, intake.Upload(id, size), intake.Here))
}

func (d door) Digest(ctx context.Context, draft intake.Draft, digest sm.Digest, size uint64) (notary.Record, bool,
	error) {
	return issued(d.Take(ctx, draft, intake.Digest(digest, size), intake.Here))
}

func (d door) Prepare(ctx context.Context, draft intake.Draft, s intake.Source) (*intake.Prepared, notary.Record,
	error) {
	out, err := d.Take(ctx, draft, s, intake.Outside)
	return out.Prepared, out.Record, err
}

func (d door) Complete(ctx context.Context, agencyID, id string, signature []byte, revoke bool) (notary.Record, bool,
	error) {
	return issued(d.Intake.Complete(ctx, agencyID, id, signature, revoke))
}

func (f *fixture) revoke(ctx context.Context, record string, why intake.Reason) (notary.Record, bool, error) {
	return issued(f.in.Revoke(ctx, intake.Ref{AgencyID: f.Agency.ID, Record: record}, why, intake.Here))
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want notary.Code) {
	t.Helper()
	if err == nil || notary.CodeOf(err) != want {
		t.Errorf("got %v, want an error with the code %s", err, want)
	}
}

func (f *fixture) draft(key string) intake.Draft {
	return intake.Draft{AgencyID: f.Agency.ID, Title: "不动产登记证明", FileName: "a.pdf",
		Fields: map[string]string{"owner": "甲"}, Idempotency: key,
		Origin: intake.Origin{System: "tests", Method: "upload"}}
}

// file notarizes a document.
func (f *fixture) file(t *testing.T, d intake.Draft, document string) (notary.Record, bool, error) {
	return f.in.File(t.Context(), d, strings.NewReader(document), -1)
}

// digest notarizes a digest.
func (f *fixture) digest(t *testing.T, d intake.Draft, document string) (notary.Record, bool, error) {
	return f.in.Digest(t.Context(), d, sm.Sum([]byte(document)), uint64(len(document)))
}

// documents lists what lies in the object store and is no upload's.
func (f *fixture) documents(t *testing.T) []string {
	t.Helper()
	var keys []string
	fatalIfErr(t,
		f.Objects.List(t.Context(), "doc/", func(o notary.Object) error { keys = append(keys, o.Key); return nil }))
	var parts []string
	fatalIfErr(t, f.raw.SelectContext(t.Context(), &parts, `SELECT key FROM upload_parts`))
	return slices.DeleteFunc(keys, func(k string) bool { return slices.Contains(parts, k) })
}

func (f *fixture) received(t *testing.T) uint64 {
	t.Helper()
	p, err := f.DB.Log.Progress(t.Context())
	fatalIfErr(t, err)
	return p.Received
}

// want checks how many documents and records there are, and that they are in order.
func (f *fixture) want(t *testing.T, documents, records int) {
	t.Helper()
	await(t, func() bool { return len(f.documents(t)) <= documents }) // what uploads leave goes by and by
	if docs := f.documents(t); len(docs) != documents {
		t.Errorf("documents %q, want %d", docs, documents)
	}
	if n := f.received(t); n != uint64(records) {
		t.Errorf("%d records, want %d", n, records)
	}
	f.WantClean(t)
}

// await spins until a fact holds.
func await(t *testing.T, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !fact(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be")
		}
	}
}

// hold stops the writer before it notes the use of a key.
func (f *fixture) hold() *storagetest.Injected {
	return f.db.Inject(storagetest.Fault{Op: storagetest.OpNoteKeyUse, Mode: storagetest.Hold, Call: 1})
}

// run notarizes a batch and collects the results, which come in order.
func (f *fixture) run(ctx context.Context, items []intake.BatchItem) []intake.BatchResult {
	out := make([]intake.BatchResult, 0, len(items))
	results, err := f.in.Batch(ctx, items)
	if err != nil {
		return []intake.BatchResult{{Err: err}}
	}
	for i, r := range results {
		if i != len(out) {
			panic("results out of order")
		}
		out = append(out, r)
	}
	return out
}
