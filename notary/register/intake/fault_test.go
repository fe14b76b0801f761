package intake_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"stele/notary"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

func readerOf(s string) io.Reader { return strings.NewReader(s) }

// Each thing that can fail on the way of a document: the answer says whether anything was
// saved, and it was just so; a repetition with the same key then gives the one record.
func TestFailures(t *testing.T) {
	type fault = storagetest.Fault
	const fail, persisted = storagetest.Fail, storagetest.FailPersisted
	for name, c := range map[string]struct {
		database, object *fault
		sign             func([]byte) ([]byte, error)
		unknown          bool // the outcome is answered as unknown
		documents        int  // left after the failure
		records          int
	}{
		"looking up the key fails": {database: &fault{Op: storagetest.OpFindIdempotent, Mode: fail}},
		"document not stored":      {object: &fault{Op: storagetest.OpCreate, Mode: fail}},
		// swept
		"document stored, answer lost":   {object: &fault{Op: storagetest.OpCreate, Mode: persisted}, documents: 1},
		"no numbers":                     {database: &fault{Op: storagetest.OpReserveNumbers, Mode: fail}},
		"no numbers, answer lost":        {database: &fault{Op: storagetest.OpReserveNumbers, Mode: persisted}},
		"audit row fails":                {database: &fault{Op: storagetest.OpNoteKeyUse, Mode: fail}},
		"audit row written, answer lost": {database: &fault{Op: storagetest.OpNoteKeyUse, Mode: persisted}},
		"the key does not sign": {sign: func([]byte) ([]byte, error) {
			return nil, errors.New("device is gone")
		}},
		"the key signs nothing":  {sign: func([]byte) ([]byte, error) { return nil, nil }},
		"the key signs too much": {sign: func([]byte) ([]byte, error) { return make([]byte, 100), nil }},
		"transaction refused":    {database: &fault{Op: storagetest.OpReceive, Mode: fail}},
		"transaction lost": {database: &fault{Op: storagetest.OpReceive, Mode: fail,
			Err: notary.ErrUnknownOutcome}, unknown: true, documents: 1},
		"transaction written, answer lost": {database: &fault{Op: storagetest.OpReceive, Mode: persisted},
			unknown: true, documents: 1, records: 1},
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
				f := newFixture(t, b)
				if c.database != nil {
					f.db.Inject(*c.database)
				}
				if c.object != nil {
					f.objects.Inject(*c.object)
				}
				if c.sign != nil {
					f.sign.Store(&c.sign)
				}
				_, _, err := f.file(t, f.draft("k"), "document")
				wantCode(t, err, notary.CodeUnavailable)
				var own *notary.Error
				if errors.As(err, &own); errors.Is(err, notary.ErrUnknownOutcome) != c.unknown ||
					strings.Contains(own.Message, "Nothing was saved") == c.unknown {
					t.Errorf("the answer is %v, unknown: %t", err, errors.Is(err, notary.ErrUnknownOutcome))
				}
				f.want(t, c.documents, c.records)
				f.db.Heal()
				f.objects.Heal()
				f.sign.Store(nil)
				rec, replay, err := f.file(t, f.draft("k"), "document")
				fatalIfErr(t, err)
				if replay != (c.records == 1) || rec.Index != 0 {
					t.Errorf("the repetition gave %+v, replay %t", rec, replay)
				}
				again, replay, err := f.file(t, f.draft("k"), "document")
				fatalIfErr(t, err)
				if !replay || again.ID != rec.ID {
					t.Errorf("the second repetition gave %+v, replay %t", again, replay)
				}
				f.want(t, max(1, c.documents+1-c.records), 1)
			})
		})
	}
}

// One agency's failing key is no other record's failure.
func TestOneSignatureFails(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	key := f.Signer.Sign
	sign := func(message []byte) ([]byte, error) {
		if strings.Contains(string(message), `"class":"bad"`) {
			return nil, errors.New("refused")
		}
		return key(message)
	}
	f.sign.Store(&sign)
	items := f.batch(9, -1)
	items[4].Draft.Class = "bad"
	for i, r := range f.run(t.Context(), items) {
		if i == 4 {
			wantCode(t, r.Err, notary.CodeUnavailable)
		} else if r.Err != nil {
			t.Errorf("item %d: %v", i, r.Err)
		}
	}
	f.want(t, 0, 8)
}

// A signature that does not verify must not pass unnoticed: it is found by the check of the
// whole. The key types of this program verify their own before they hand it out.
func TestSignerOfNobody(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	d := f.draft("")
	d.AgencyID = "nobody"
	_, _, err := f.file(t, d, "x")
	wantCode(t, err, notary.CodeUnavailable)
	_, _, err = f.digest(t, d, "x")
	wantCode(t, err, notary.CodeUnavailable)
	_, err = f.in.Revoke(t.Context(), intake.Ref{AgencyID: "nobody", Record: "x"}, intake.Reason{Text: "reason"},
		intake.Here)
	wantCode(t, err, notary.CodeUnavailable)
	f.want(t, 0, 0)
}

// A key stands for one request, whichever way it comes in.
func TestIdempotency(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		rec, _, err := f.file(t, f.draft("k"), "document")
		fatalIfErr(t, err)
		same := func(got notary.Record, replay bool, err error) {
			t.Helper()
			fatalIfErr(t, err)
			if !replay || got.ID != rec.ID || got.Index != rec.Index || got.Number != rec.Number || got.SM3 != rec.SM3 {
				t.Errorf("got %+v, replay %t", got, replay)
			}
		}
		conflict := func(_ notary.Record, _ bool, err error) {
			t.Helper()
			wantCode(t, err, notary.CodeIdempotency)
		}
		same(f.file(t, f.draft("k"), "document"))
		same(f.digest(t, f.draft("k"), "document")) // the same document, named by its digest
		named := f.draft("k")
		named.Class = intake.DefaultClass // what is left out is what would be put in
		same(f.file(t, named, "document"))
		conflict(f.file(t, f.draft("k"), "another"))
		conflict(f.digest(t, f.draft("k"), "another"))
		for name, change := range map[string]func(d *intake.Draft){
			"title":       func(d *intake.Draft) { d.Title = "another" },
			"file name":   func(d *intake.Draft) { d.FileName = "" },
			"class":       func(d *intake.Draft) { d.Class = "deed" },
			"no fields":   func(d *intake.Draft) { d.Fields = nil },
			"field":       func(d *intake.Draft) { d.Fields = map[string]string{"owner": "乙"} },
			"field moved": func(d *intake.Draft) { d.Fields = map[string]string{"owne": "r甲"} },
			"media type":  func(d *intake.Draft) { d.MediaType = "text/plain" },
			"supersedes":  func(d *intake.Draft) { d.Supersedes = rec.Number },
		} {
			t.Run(name, func(t *testing.T) {
				d := f.draft("k")
				change(&d)
				_, _, err := f.file(t, d, "document")
				wantCode(t, err, notary.CodeIdempotency)
				_, _, err = f.digest(t, d, "document")
				wantCode(t, err, notary.CodeIdempotency)
			})
		}
		items := f.batch(5, -1)
		for i := range items {
			items[i].Draft.Idempotency = "b"
			items[i].Digest = items[0].Digest
		}
		items[3].Size = 2 // another request
		items[4].Draft = f.draft("k")
		res := f.run(t.Context(), items)
		if res[0].Err != nil || res[0].Replay || !res[1].Replay || !res[2].Replay ||
			res[2].Record.Index != res[0].Record.Index || res[2].Record.ID != res[0].Record.ID ||
			res[0].Record.Index != 1 {
			t.Errorf("batch: %+v", res[:3])
		}
		wantCode(t, res[3].Err, notary.CodeIdempotency)
		wantCode(t, res[4].Err, notary.CodeIdempotency)
		again := f.run(t.Context(), items[:1])
		if again[0].Err != nil || !again[0].Replay || again[0].Record.ID != res[0].Record.ID {
			t.Errorf("the batch again: %+v", again)
		}
		f.want(t, 1, 2)
	})
}

// Of one request sent twice at once there is one record and one document.
func TestDoubleClick(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	held := f.objects.Inject(storagetest.Fault{Op: storagetest.OpCreate, Mode: storagetest.Hold})
	type result struct {
		rec    notary.Record
		replay bool
		err    error
	}
	done := make(chan result, 4)
	for range cap(done) {
		go func() {
			rec, replay, err := f.file(t, f.draft("k"), "document")
			done <- result{rec, replay, err}
		}()
	}
	await(t, func() bool { return f.objects.Calls(storagetest.OpCreate) == cap(done) }) // all are past the look-up
	held.Release()
	first, fresh := "", 0
	for range cap(done) {
		r := <-done
		fatalIfErr(t, r.err)
		if first == "" {
			first = r.rec.ID
		}
		if r.rec.ID != first {
			t.Errorf("records %s and %s", first, r.rec.ID)
		}
		if !r.replay {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("%d were told that the record is new", fresh)
	}
	f.want(t, 1, 1)
}

// Withdrawing and replacing: once, by the owner, and with a key as often as one likes.
func TestRevokeAndSupersede(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		a, _, err := f.file(t, f.draft(""), "a")
		fatalIfErr(t, err)
		d := f.draft("")
		d.Reason = "area corrected"
		_, _, err = f.file(t, d, "b")
		wantCode(t, err, notary.CodeInvalid) // for what?
		d.Supersedes = a.Number
		by, _, err := f.file(t, d, "b")
		fatalIfErr(t, err)
		if old, err := f.DB.Log.FindRecord(t.Context(), "", a.ID); err != nil || old.Standing != notary.Superseded ||
			old.Reason != "area corrected" || by.Reason != "" {
			t.Errorf("%+v, %v", old, err)
		}
		_, _, err = f.file(t, d, "c")
		wantCode(t, err, notary.CodeConflict)
		_, _, err = f.revoke(t.Context(), a.ID, intake.Reason{Text: "reason"})
		wantCode(t, err, notary.CodeConflict)
		d.Supersedes, err = notary.FormatNumber("110000", 2020, 7)
		fatalIfErr(t, err)
		_, _, err = f.file(t, d, "d")
		wantCode(t, err, notary.CodeInvalid)

		got, replay, err := f.revoke(t.Context(), by.Number, intake.Reason{Text: "issued in error", Idempotency: "r"})
		fatalIfErr(t, err)
		stored, err := f.DB.Log.FindRecord(t.Context(), "", by.ID)
		fatalIfErr(t, err)
		if replay || got.StandingIndex != 2 || got.Standing != notary.Revoked || stored.StandingIndex != 2 ||
			!stored.StandingAt.Equal(got.StandingAt) || stored.Reason != "issued in error" {
			t.Errorf("answered %+v, stored %+v, replay %t", got, stored, replay)
		}
		again, replay, err := f.revoke(t.Context(), by.ID, intake.Reason{Text: "issued in error", Idempotency: "r"})
		fatalIfErr(t, err)
		if !replay || again.ID != by.ID || again.Standing != notary.Revoked || again.StandingIndex != 2 {
			t.Errorf("repeated: %+v, replay %t", again, replay)
		}
		for name, c := range map[string]struct {
			id, reason, key string
			want            notary.Code
		}{
			"another reason":    {by.ID, "another reason", "r", notary.CodeIdempotency},
			"another record":    {a.ID, "issued in error", "r", notary.CodeIdempotency},
			"revoked already":   {by.ID, "issued in error", "", notary.CodeConflict},
			"no such record":    {"none", "x", "", notary.CodeNotFound},
			"zero byte":         {"\x00", "x", "", notary.CodeNotFound},
			"no reason":         {by.ID, "", "", notary.CodeInvalid},
			"space before it":   {by.ID, " x", "", notary.CodeInvalid},
			"reason of 2 lines": {by.ID, "line\nfeed", "", notary.CodeInvalid},
			"key not in ASCII":  {by.ID, "x", "碑", notary.CodeInvalid},
		} {
			t.Run(name, func(t *testing.T) {
				_, _, err := f.revoke(t.Context(), c.id, intake.Reason{Text: c.reason, Idempotency: c.key})
				wantCode(t, err, c.want)
			})
		}
		f.want(t, 2, 3)
	})
}
