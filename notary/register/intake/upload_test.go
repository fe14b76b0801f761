package intake_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/register/class"
	"stele/notary/register/intake"
	"stele/notary/register/staging"
	"stele/notary/register/upload"
	"stele/storage/storagetest"
)

// upload brings a document piece by piece, or in one.
func (f *fixture) upload(t *testing.T, document string) string {
	t.Helper()
	u, err := f.uploads.Create(t.Context(), f.Agency.ID, int64(len(document)), map[string]string{"filename": "上传.pdf"})
	fatalIfErr(t, err)
	piece := 1
	if f.whole {
		piece = len(document)
	}
	for at := 0; at < len(document); at += piece {
		_, err := f.uploads.Append(t.Context(), f.Agency.ID, u.ID, int64(at),
			strings.NewReader(document[at:at+piece]))
		fatalIfErr(t, err)
	}
	return u.ID
}

func (f *fixture) gone(t *testing.T, id string) bool {
	t.Helper()
	_, err := f.DB.Log.FindUpload(t.Context(), f.Agency.ID, id)
	if !errors.Is(err, notary.ErrNotFound) {
		fatalIfErr(t, err)
	}
	return err != nil
}

// unnamed is a draft without a file name.
func (f *fixture) unnamed(key string) intake.Draft {
	d := f.draft(key)
	d.FileName = ""
	return d
}

func fileName(r notary.Record) string {
	for _, field := range r.Fields {
		if field.Name == intake.FieldFileName {
			return field.Value
		}
	}
	return ""
}

// eachUpload runs a test with uploads that come in pieces, and with those that come in one.
func eachUpload(t *testing.T, test func(t *testing.T, f *fixture)) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprint("whole ", whole), func(t *testing.T) {
				f := newFixture(t, b)
				f.whole = whole
				test(t, f)
			})
		}
	})
}

// The bytes of an upload are written once if they come in one, be it straight into the bucket, and else once
// more: where originals are locked they lie elsewhere before.
func TestWrites(t *testing.T) {
	for _, c := range []struct {
		locked, whole, direct bool
		want                  int
	}{{want: 2}, {whole: true, want: 1}, {direct: true, want: 1}, {locked: true, want: 2},
		{locked: true, whole: true, want: 2}, {locked: true, direct: true, want: 2}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			f := newFixture(t, storagetest.Embedded)
			f.whole = c.whole
			f.placeUploads(staging.Place{Locked: c.locked})
			const document = "document of 23 bytes..."
			var id string
			before := f.objects.Calls(storagetest.OpCreate)
			if c.direct {
				u, signed, err := f.uploads.CreateDirect(t.Context(), f.Agency.ID, int64(len(document)), nil)
				fatalIfErr(t, err)
				_, err = f.objects.Create(t.Context(), signed.URL, strings.NewReader(document), -1) // as a client does
				fatalIfErr(t, err)
				id = u.ID
			} else {
				id = f.upload(t, document)
			}
			parts, err := f.DB.Log.UploadParts(t.Context(), id)
			fatalIfErr(t, err)
			rec, _, err := f.in.Upload(t.Context(), f.draft(""), id, -1)
			fatalIfErr(t, err)
			writes := f.objects.Calls(storagetest.OpCreate) - before
			if len(parts) > 1 {
				writes -= len(parts) - 1 // together they are the bytes once
			}
			if own := parts[0].Key == notary.DocumentKey(rec.ID); writes != c.want || own != (c.want == 1) {
				t.Errorf("the bytes were written %d times, want %d; %+v", writes, c.want, rec)
			}
			f.want(t, 1, 1)
			await(t, func() bool { return f.left(t, parts) == c.want%2 }) // of the parts, the original at most
			got, err := f.Objects.Get(t.Context(), notary.DocumentKey(rec.ID), 100)
			if err != nil || string(got) != document {
				t.Errorf("the original is %q, %v", got, err)
			}
		})
	}
}

// left is how many parts of an upload are there.
func (f *fixture) left(t *testing.T, parts []upload.Part) (n int) {
	t.Helper()
	for _, p := range parts {
		if _, err := f.Objects.Get(t.Context(), p.Key, 100); err == nil {
			n++
		}
	}
	return n
}

// A class whose originals stay elsewhere keeps nothing of an upload, in whatever way it came.
func TestUploadNotKept(t *testing.T) {
	eachUpload(t, func(t *testing.T, f *fixture) {
		schema, err := class.ParseSchema(nil)
		fatalIfErr(t, err)
		f.rules = map[string]*class.Rule{intake.DefaultClass: {Schema: schema}}
		rec, _, err := f.in.Upload(t.Context(), f.draft(""), f.upload(t, "document"), -1)
		if fatalIfErr(t, err); rec.Stored || rec.SM3 != sm.Sum([]byte("document")) {
			t.Errorf("%+v", rec)
		}
		f.want(t, 0, 1)
	})
}

// A database that was restored may know an upload whose record came back by itself: there is no second one,
// and what the upload had is the record's.
func TestUploadOfBefore(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.whole = true
	id := f.upload(t, "document")
	parts, err := f.DB.Log.UploadParts(t.Context(), id)
	fatalIfErr(t, err)
	rec, _, err := f.in.Upload(t.Context(), f.draft("once"), id, -1)
	fatalIfErr(t, err)
	u := upload.Upload{ID: id, AgencyID: f.Agency.ID, Size: 8, Direct: true, ExpiresAt: f.Now().Add(time.Hour)}
	fatalIfErr(t, f.DB.Log.AddUpload(t.Context(), u, &parts[0], 10))
	_, _, err = f.in.Upload(t.Context(), f.draft("again"), id, -1)
	wantCode(t, err, notary.CodeConflict)
	fatalIfErr(t, f.uploads.Drop(t.Context(), f.Agency.ID, id))
	f.Pass(48 * time.Hour)
	_, err = f.uploads.Sweep(t.Context())
	fatalIfErr(t, err)
	if f.left(t, parts) != 1 || parts[0].Key != notary.DocumentKey(rec.ID) {
		t.Errorf("the original of %+v is gone", rec)
	}
}

func TestUpload(t *testing.T) {
	eachUpload(t, func(t *testing.T, f *fixture) {
		id := f.upload(t, "document")
		wrong := sm.Sum([]byte("another"))
		refused := f.draft("")
		refused.Expected = &wrong
		_, _, err := f.in.Upload(t.Context(), refused, id, -1)
		wantCode(t, err, notary.CodeDigestMismatch)
		_, _, err = f.in.Upload(t.Context(), f.draft(""), id, 9)
		wantCode(t, err, notary.CodeInvalid)
		theirs := f.draft("")
		theirs.AgencyID = "other"
		_, _, err = f.in.Upload(t.Context(), theirs, id, -1)
		wantCode(t, err, notary.CodeUnavailable) // no such signer here
		f.want(t, 0, 0)

		left, leave := context.WithCancel(t.Context())
		leave() // a caller that is gone does not stop it
		rec, replay, err := f.in.Upload(left, f.unnamed("once"), id, 8)
		if fatalIfErr(t, err); replay || rec.SM3 != sm.Sum([]byte("document")) || rec.Size != 8 ||
			fileName(rec) != "上传.pdf" || !f.gone(t, id) {
			t.Errorf("%+v, replayed %t, gone %t", rec, replay, f.gone(t, id))
		}
		f.want(t, 1, 1)
		again, replay, err := f.in.Upload(t.Context(), f.unnamed("once"), id, 8)
		if fatalIfErr(t, err); !replay || again.ID != rec.ID {
			t.Errorf("%+v, replayed %t", again, replay)
		}
		for _, d := range []intake.Draft{f.draft("once"),
			func() intake.Draft { d := f.unnamed("once"); d.Expected = &wrong; return d }()} {
			_, _, err = f.in.Upload(t.Context(), d, id, -1)
			wantCode(t, err, notary.CodeIdempotency)
		}
		_, _, err = f.in.Upload(t.Context(), f.unnamed("once"), "another", -1)
		wantCode(t, err, notary.CodeIdempotency)
		_, _, err = f.in.Upload(t.Context(), f.unnamed("new"), id, -1)
		wantCode(t, err, notary.CodeNotFound)
		f.want(t, 1, 1)

		id = f.upload(t, "second") // without a key, the upload is one
		first, _, err := f.in.Upload(t.Context(), f.draft(""), id, -1)
		fatalIfErr(t, err)
		again, replay, err = f.in.Upload(t.Context(), f.draft(""), id, -1)
		if fatalIfErr(t, err); !replay || again.ID != first.ID {
			t.Errorf("%+v, replayed %t", again, replay)
		}
		_, _, err = f.in.Upload(t.Context(), f.unnamed(""), id, -1)
		wantCode(t, err, notary.CodeConflict)
		f.want(t, 2, 2)
	})
}

// A commit whose outcome is not known, or that failed, loses neither upload nor record:
// the same request again gives the one record there is.
func TestUploadFaults(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		for _, mode := range []storagetest.Mode{storagetest.Fail, storagetest.FailPersisted} {
			for i, key := range []string{"", "key", "", "key"} {
				t.Run(fmt.Sprintf("%s, key %q, whole %t", mode, key, i > 1), func(t *testing.T) {
					f := newFixture(t, b)
					f.whole = i > 1
					id := f.upload(t, "document")
					f.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 1, Mode: mode,
						Err: notary.ErrUnknownOutcome})
					_, _, err := f.in.Upload(t.Context(), f.draft(key), id, -1)
					wantCode(t, err, notary.CodeUnavailable)
					rec, replay, err := f.in.Upload(t.Context(), f.draft(key), id, -1)
					if fatalIfErr(t, err); replay != (mode == storagetest.FailPersisted) ||
						rec.SM3 != sm.Sum([]byte("document")) || f.received(t) != 1 || !f.gone(t, id) {
						t.Errorf("%s, key %q: %+v, replayed %t", mode, key, rec, replay)
					}
				})
			}
		}
		f := newFixture(t, b)
		id := f.upload(t, "document")
		f.objects.Inject(storagetest.Fault{Op: storagetest.OpCreate, Prefix: "doc/", Call: 1, Mode: storagetest.Fail})
		_, _, err := f.in.Upload(t.Context(), f.draft(""), id, -1)
		wantCode(t, err, notary.CodeUnavailable)
		f.objects.Inject(storagetest.Fault{Op: storagetest.OpOpen, Prefix: "doc/", Call: 5, Mode: storagetest.Fail})
		_, _, err = f.in.Upload(t.Context(), f.draft(""), id, -1)
		wantCode(t, err, notary.CodeUnavailable)
		f.want(t, 0, 0)
		_, _, err = f.in.Upload(t.Context(), f.draft(""), id, -1)
		fatalIfErr(t, err)
		f.want(t, 1, 1)
	})
}

// An agency that keeps its key prepares an upload; it ends when the signature is there.
func TestPrepareUpload(t *testing.T) {
	eachUpload(t, func(t *testing.T, f *fixture) {
		sign := f.atHome()
		id := f.upload(t, "document")
		parts, err := f.DB.Log.UploadParts(t.Context(), id)
		fatalIfErr(t, err)
		_, _, err = f.in.Upload(t.Context(), f.draft(""), id, -1)
		wantCode(t, err, notary.CodeConflict)
		first, _, err := f.in.Prepare(t.Context(), f.draft(""), intake.Upload(id, -1))
		fatalIfErr(t, err)
		f.Pass(time.Minute)
		second, _, err := f.in.Prepare(t.Context(), f.draft("key"), intake.Upload(id, -1))
		if fatalIfErr(t, err); f.gone(t, id) {
			t.Error("nothing is notarized, and the upload is gone")
		}
		s, err := statement.Parse(first.Item.Entry.Statement)
		if fatalIfErr(t, err); s.Document.SM3 != sm.Sum([]byte("document")) {
			t.Errorf("%+v", s)
		}
		rec, _, err := f.in.Complete(t.Context(), f.Agency.ID, first.ID, sign(first.Item.Entry.Statement), false)
		if fatalIfErr(t, err); !f.gone(t, id) {
			t.Error("the upload is still there")
		}
		again, replay, err := f.in.Complete(t.Context(), f.Agency.ID, first.ID, sign(first.Item.Entry.Statement), false)
		if fatalIfErr(t, err); !replay || again.ID != rec.ID {
			t.Errorf("%+v, replayed %t", again, replay)
		}
		await(t, func() bool { return f.left(t, parts) == map[bool]int{true: 1}[f.whole] })
		_, _, err = f.in.Complete(t.Context(), f.Agency.ID, second.ID, sign(second.Item.Entry.Statement), false)
		wantCode(t, err, notary.CodeConflict) // one upload, one record
		_, known, err := f.in.Prepare(t.Context(), f.draft(""), intake.Upload(id, -1))
		if fatalIfErr(t, err); known.ID != rec.ID {
			t.Errorf("%+v", known)
		}
	})
}
