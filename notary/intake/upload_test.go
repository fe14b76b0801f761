package intake_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/intake"
	"stele/notary/statement"
	"stele/storage/storagetest"
)

// upload brings a document piece by piece.
func (f *fixture) upload(t *testing.T, document string) string {
	t.Helper()
	u, err := f.uploads.Create(t.Context(), f.Agency.ID, int64(len(document)), map[string]string{"filename": "上传.pdf"})
	fatalIfErr(t, err)
	for i, c := range []byte(document) {
		_, err := f.uploads.Append(t.Context(), f.Agency.ID, u.ID, int64(i), strings.NewReader(string(c)))
		fatalIfErr(t, err)
	}
	return u.ID
}

func (f *fixture) gone(t *testing.T, id string) bool {
	t.Helper()
	exist, err := f.DB.ExistingUploads(t.Context(), []string{id})
	fatalIfErr(t, err)
	return !exist[id]
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

func TestUpload(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
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
		if fatalIfErr(t, err); replay || rec.SM3 != sm.Sum([]byte("document")) || rec.Size != 8 || fileName(rec) != "上传.pdf" || !f.gone(t, id) {
			t.Errorf("%+v, replayed %t, gone %t", rec, replay, f.gone(t, id))
		}
		f.want(t, 1, 1)
		again, replay, err := f.in.Upload(t.Context(), f.unnamed("once"), id, 8)
		if fatalIfErr(t, err); !replay || again.ID != rec.ID {
			t.Errorf("%+v, replayed %t", again, replay)
		}
		for _, d := range []intake.Draft{f.draft("once"), func() intake.Draft { d := f.unnamed("once"); d.Expected = &wrong; return d }()} {
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
			for _, key := range []string{"", "key"} {
				f := newFixture(t, b)
				id := f.upload(t, "document")
				f.db.Inject(storagetest.Fault{Op: storagetest.OpReceive, Call: 1, Mode: mode, Err: notary.ErrUnknownOutcome})
				_, _, err := f.in.Upload(t.Context(), f.draft(key), id, -1)
				wantCode(t, err, notary.CodeUnavailable)
				rec, replay, err := f.in.Upload(t.Context(), f.draft(key), id, -1)
				if fatalIfErr(t, err); replay != (mode == storagetest.FailPersisted) || rec.SM3 != sm.Sum([]byte("document")) || f.received(t) != 1 || !f.gone(t, id) {
					t.Errorf("%s, key %q: %+v, replayed %t", mode, key, rec, replay)
				}
			}
		}
		f := newFixture(t, b)
		id := f.upload(t, "document")
		f.objects.Inject(storagetest.Fault{Op: storagetest.OpCreate, Prefix: "doc/", Call: 1, Mode: storagetest.Fail})
		_, _, err := f.in.Upload(t.Context(), f.draft(""), id, -1)
		wantCode(t, err, notary.CodeUnavailable)
		f.objects.Inject(storagetest.Fault{Op: storagetest.OpOpen, Prefix: "upload/", Call: 5, Mode: storagetest.Fail})
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
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		sign := f.atHome()
		id := f.upload(t, "document")
		_, _, err := f.in.Upload(t.Context(), f.draft(""), id, -1)
		wantCode(t, err, notary.CodeConflict)
		first, _, err := f.in.PrepareUpload(t.Context(), f.draft(""), id, -1)
		fatalIfErr(t, err)
		f.Pass(time.Minute)
		second, _, err := f.in.PrepareUpload(t.Context(), f.draft("key"), id, -1)
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
		_, _, err = f.in.Complete(t.Context(), f.Agency.ID, second.ID, sign(second.Item.Entry.Statement), false)
		wantCode(t, err, notary.CodeConflict) // one upload, one record
		_, known, err := f.in.PrepareUpload(t.Context(), f.draft(""), id, -1)
		if fatalIfErr(t, err); known == nil || known.ID != rec.ID {
			t.Errorf("%+v", known)
		}
	})
}
