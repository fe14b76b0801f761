package storagetest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/webhook"
	"stele/notary/proof/prooftest"
	"stele/notary/register/upload"
	"stele/storage/sqldb"
)

// forLong is a time in which no upload of these tests expires.
const forLong = 24 * time.Hour

func (s *Site) addUpload(t *testing.T, id string, size int64) upload.Upload {
	t.Helper()
	u := upload.Upload{ID: id, AgencyID: s.Agency.ID, Size: size, Metadata: map[string]string{"filename": "文书.pdf"},
		ExpiresAt: s.Now().Add(forLong)}
	fatalIfErr(t, s.DB.Log.AddUpload(t.Context(), u, nil, 100))
	return u
}

// testUploads: an upload is its agency's, for its time.
func testUploads(t *testing.T, s *Site) {
	ctx := t.Context()
	u := s.addUpload(t, "u", 10)
	got, err := s.DB.Log.FindUpload(ctx, s.Agency.ID, "u")
	if fatalIfErr(t, err); !reflect.DeepEqual(got, u) {
		t.Errorf("got %+v, want %+v", got, u)
	}
	for _, id := range []string{"nobody", "u\x00", "\xff"} {
		_, err = s.DB.Log.FindUpload(ctx, s.Agency.ID, id)
		wantErr(t, err, notary.ErrNotFound)
		wantErr(t, s.DB.Log.DropUpload(ctx, s.Agency.ID, id), notary.ErrNotFound)
	}
	_, err = s.DB.Log.FindUpload(ctx, "other", "u")
	wantErr(t, err, notary.ErrNotFound)
	_, err = s.DB.Log.LeaseUpload(ctx, "other", "u", "a", s.Now().Add(time.Minute), s.Now())
	wantErr(t, err, notary.ErrNotFound)
	wantErr(t, s.DB.Log.DropUpload(ctx, "other", "u"), notary.ErrNotFound)
	s.addUpload(t, "v", 10)
	fatalIfErr(t, s.DB.Log.DropUpload(ctx, s.Agency.ID, "v"))
	for id, want := range map[string]error{"u": nil, "v": notary.ErrNotFound, "w": notary.ErrNotFound} {
		if _, err := s.another(t).Log.FindUpload(ctx, s.Agency.ID, id); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	whole := upload.Part{Size: 10, Key: "doc/direct"}
	fatalIfErr(t, s.DB.Log.AddUpload(ctx, upload.Upload{ID: "direct", AgencyID: s.Agency.ID, Size: 10, Direct: true,
		ExpiresAt: s.Now().Add(forLong + time.Second)}, &whole, 100))
	if parts, err := s.DB.Log.UploadParts(ctx, "direct"); err != nil ||
		!reflect.DeepEqual(parts, []upload.Part{whole}) {
		t.Errorf("of a direct upload: %v %v", parts, err)
	}
	_, err = s.DB.Log.LeaseUpload(ctx, s.Agency.ID, "u", "a", s.Now().Add(time.Minute), s.Now())
	fatalIfErr(t, err)
	for i, key := range []string{"doc/a", "upload/u.of-before"} {
		p := upload.Part{Offset: int64(i), Size: 1, Key: key}
		fatalIfErr(t, s.DB.Log.AddPart(ctx, "u", "a", p, s.Now(), s.Now()))
	}
	wantKept(t, s, map[string]bool{"doc/a": true, "upload/u.of-before": true, "doc/direct": true, "doc/b": false})
	if ended, err := s.DB.Log.DropExpired(ctx); err != nil || len(ended) != 0 {
		t.Errorf("%v expired early: %v", ended, err)
	}
	s.Pass(forLong)
	_, err = s.DB.Log.FindUpload(ctx, s.Agency.ID, "u")
	wantErr(t, err, notary.ErrNotFound)
	_, err = s.DB.Log.LeaseUpload(ctx, s.Agency.ID, "u", "a", s.Now().Add(time.Minute), s.Now().Add(forLong))
	wantErr(t, err, notary.ErrNotFound)
	ended, err := s.DB.Log.DropExpired(ctx)
	if want := []upload.Ended{{AgencyID: s.Agency.ID, Keys: []string{"doc/a", "upload/u.of-before"}}}; err != nil ||
		!reflect.DeepEqual(ended, want) {
		t.Errorf("expired are %v, want %v: %v", ended, want, err)
	}
	wantKept(t, s, map[string]bool{"doc/a": false, "upload/u.of-before": false, "doc/direct": true})
	for _, wants := range [][]webhook.Kind{nil, {webhook.UploadFailed}} { // the agency is told, once
		events, _, err := s.DB.Webhooks.Events(ctx, webhook.Query{AgencyID: s.Agency.ID, Kinds: wants, Limit: 10})
		if err != nil || len(events) != 1 || events[0].Kind != webhook.UploadFailed ||
			events[0].Notice.Subject != "u" || events[0].Notice.Reason != webhook.ReasonExpired {
			t.Errorf("events %+v, %v", events, err)
		}
	}
	if events, _, err := s.DB.Webhooks.Events(ctx,
		webhook.Query{AgencyID: s.Agency.ID, Kinds: []webhook.Kind{webhook.EndpointDisabled}, Limit: 10}); err != nil ||
		len(events) != 0 {
		t.Errorf("events of another kind: %+v, %v", events, err)
	}
}

// testUploadLease: one holder at a time, and whoever is too late writes nothing.
func testUploadLease(t *testing.T, s *Site) {
	ctx, other := t.Context(), s.another(t)
	s.addUpload(t, "u", 10)
	lease := func(db *sqldb.DB, holder string) (upload.Upload, error) {
		return db.Log.LeaseUpload(ctx, s.Agency.ID, "u", holder, s.Now().Add(time.Minute), s.Now())
	}
	add := func(db *sqldb.DB, holder string, at, size int64) error {
		return db.Log.AddPart(ctx, "u", holder, upload.Part{Offset: at, Size: size, Key: fmt.Sprint(holder, at)},
			s.Now().Add(time.Minute), s.Now().Add(2*forLong))
	}
	_, err := lease(s.DB, "a")
	fatalIfErr(t, err)
	_, err = lease(other, "b")
	wantErr(t, err, upload.ErrBusy)
	fatalIfErr(t, add(s.DB, "a", 0, 4))
	wantErr(t, add(other, "b", 4, 1), upload.ErrLost)
	wantErr(t, add(s.DB, "a", 3, 1), upload.ErrLost) // not where the upload is
	wantErr(t, add(s.DB, "a", 4, 7), upload.ErrLost) // more than was announced
	s.Pass(2 * time.Minute)
	fatalIfErr(t, add(s.DB, "a", 4, 1)) // late, but nobody else came
	s.Pass(2 * time.Minute)
	got, err := lease(other, "b")
	if fatalIfErr(t, err); got.Offset != 5 {
		t.Errorf("at %d", got.Offset)
	}
	wantErr(t, add(s.DB, "a", 5, 1), upload.ErrLost)
	wantErr(t, s.DB.Log.RenewUpload(ctx, "u", "a", s.Now().Add(time.Hour), s.Now()), upload.ErrLost)
	fatalIfErr(t, s.DB.Log.ReleaseUpload(ctx, "u", "a")) // of somebody else: nothing
	_, err = lease(s.DB, "a")
	wantErr(t, err, upload.ErrBusy)
	fatalIfErr(t, add(other, "b", 5, 5))
	fatalIfErr(t, other.Log.RenewUpload(ctx, "u", "b", s.Now().Add(time.Hour), s.Now()))
	s.Pass(2 * time.Minute)
	_, err = lease(s.DB, "a")
	wantErr(t, err, upload.ErrBusy)
	fatalIfErr(t, other.Log.ReleaseUpload(ctx, "u", "b"))
	got, err = lease(s.DB, "a")
	if fatalIfErr(t, err); got.Offset != 10 || got.ExpiresAt.Before(s.Now().Add(forLong)) {
		t.Errorf("%+v", got) // parts keep an upload from expiring
	}
	parts, err := s.DB.Log.UploadParts(ctx, "u")
	if want := []upload.Part{{Size: 4, Key: "a0"}, {Offset: 4, Size: 1, Key: "a4"},
		{Offset: 5, Size: 5, Key: "b5"}}; err != nil || !reflect.DeepEqual(parts, want) {
		t.Errorf("%v %v, want %v", parts, err, want)
	}
	fatalIfErr(t, s.DB.Log.DropUpload(ctx, s.Agency.ID, "u"))
	wantErr(t, add(s.DB, "a", 10, 0), upload.ErrLost)
	if parts, err := s.DB.Log.UploadParts(ctx, "u"); err != nil || len(parts) != 0 {
		t.Errorf("%v %v", parts, err)
	}
}

// testUploadRecord: an upload becomes one record, whoever asks for how many.
func testUploadRecord(t *testing.T, s *Site) {
	s.addUpload(t, "u", 10)
	items := s.Items(t, 5)
	items[0].Upload, items[2].Upload = "u", "u"
	for _, it := range []int{2, 3} {
		items[it].Idempotency, items[it].RequestHash = "key", sm.Sum([]byte("request"))
	}
	out := mustReceive(t, s.DB, items[:4]...)
	if freshIndex(t, out[0]) != 0 || freshIndex(t, out[1]) != 1 {
		t.Errorf("%+v", out)
	}
	wantCode(t, out[2].Err, notary.CodeConflict)
	wantCode(t, out[3].Err, notary.CodeConflict) // the same request
	wantReceived(t, s.DB, 2)
	_, err := s.DB.Log.FindUpload(t.Context(), s.Agency.ID, "u")
	wantErr(t, err, notary.ErrNotFound)
	s.AddAgency(t, "other", s.World.NewAgency(prooftest.USCC("12420100MB1234567"), "甲局"))
	fatalIfErr(t,
		s.DB.Log.AddUpload(t.Context(), upload.Upload{ID: "theirs", AgencyID: "other", ExpiresAt: s.Now().Add(forLong)},
			nil, 1))
	items[4].Upload = "theirs"
	wantCode(t, mustReceive(t, s.DB, items[4])[0].Err, notary.CodeConflict)
	wantReceived(t, s.DB, 2)
}

// testUploadLimit: of callers on two handles, as many get an upload as there is room for.
func testUploadLimit(t *testing.T, s *Site) {
	const most, callers = 5, 12
	dbs := []*sqldb.DB{s.DB, s.another(t)}
	added := 0
	for _, err := range together(callers, func(n int) error {
		return dbs[n%2].Log.AddUpload(t.Context(), upload.Upload{ID: fmt.Sprint("u", n), AgencyID: s.Agency.ID, Size: 1,
			ExpiresAt: s.Now().Add(forLong)}, nil, most)
	}) {
		if err == nil {
			added++
		} else {
			wantErr(t, err, upload.ErrTooMany)
		}
	}
	if added != most {
		t.Errorf("%d uploads, at most %d", added, most)
	}
	s.Pass(2 * forLong)
	// those that expired do not count
	fatalIfErr(t,
		s.DB.Log.AddUpload(t.Context(), upload.Upload{ID: "new", AgencyID: s.Agency.ID,
			ExpiresAt: s.Now().Add(forLong)},
			nil, 1))
}
