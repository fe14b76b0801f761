package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/office/people"
	"stele/notary/register/intake"
)

// trailSite is a site whose audit trail is sealed by intake itself, over stores that can fail.
type trailSite struct {
	*Site
	db      *FaultyDB
	objects *Faulty
	seals   *faultySeals
	intake  *intake.Intake
	events  int
}

// faultySeals fails one call of a kind: before it does anything, or after it has done it.
type faultySeals struct {
	people.SealStore
	fail  string // the method, empty for none
	after bool
}

func (f *faultySeals) fault(method string, after bool) error {
	if f.fail != method || f.after != after {
		return nil
	}
	f.fail = ""
	return ErrInjected
}

// BeginSeal implements people.SealStore.
func (f *faultySeals) BeginSeal(ctx context.Context, trail string, most int,
	make func(*people.TrailSeal, []people.AuditEvent) (people.TrailSeal, error)) (people.TrailSeal, error) {
	if err := f.fault("BeginSeal", false); err != nil {
		return people.TrailSeal{}, err
	}
	s, err := f.SealStore.BeginSeal(ctx, trail, most, make)
	return s, errors.Join(err, f.fault("BeginSeal", true))
}

// FinishSeal implements people.SealStore.
func (f *faultySeals) FinishSeal(ctx context.Context, s people.TrailSeal) error {
	if err := f.fault("FinishSeal", false); err != nil {
		return err
	}
	return errors.Join(f.SealStore.FinishSeal(ctx, s), f.fault("FinishSeal", true))
}

func newTrailSite(t *testing.T, s *Site) *trailSite {
	ts := &trailSite{Site: s, db: NewFaultyDB(s.DB), objects: NewFaulty(s.Objects),
		seals: &faultySeals{SealStore: s.DB.People}}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ts.intake = intake.New(ctx, ts.db, ts.objects, intake.Options{Signers: ts.signerOf,
		Limits: intake.DefaultLimits(), Now: s.Now, Log: Discard})
	t.Cleanup(func() { stop(); ts.intake.Wait() })
	return ts
}

func (ts *trailSite) signerOf(agencyID string) (*intake.Signer, error) {
	state, _, err := ts.DB.Log.SigningState(context.Background(), agencyID)
	if err == nil {
		err = state.Refusal()
	}
	return ts.signers[agencyID], err
}

// sealer is one as another server, or this one after a crash, has it.
func (ts *trailSite) sealer() *people.Sealer {
	return people.NewSealer(ts.seals,
		people.SealOptions{Every: time.Hour, Signer: func(context.Context, string) (string, error) {
			if _, err := ts.signerOf(ts.Agency.ID); err != nil {
				return "other", nil
			}
			return ts.Agency.ID, nil
		}, Agency: ts.DB.Log.Agency, Notary: ts.intake, Log: Discard})
}

// do adds n events to a trail.
func (ts *trailSite) do(t *testing.T, trail string, n int) {
	t.Helper()
	for range n {
		ts.events++
		fatalIfErr(t, ts.DB.People.Note(t.Context(), people.AuditEvent{ID: fmt.Sprintf("deed-%04d", ts.events),
			At:       ts.Now(),
			AgencyID: trail, UserID: "u", Login: "zhang", Role: people.Admin, Act: "key_create",
			About: "k", Detail: "name=窗口<1>", Network: "192.0.2.1", Form: fmt.Sprint("form ", ts.events)}))
	}
}

// findings is what a check of the trail finds, a line each.
func (ts *trailSite) findings(t *testing.T) []string {
	t.Helper()
	var out []string
	records := func(first uint64) iter.Seq2[notary.Record, error] {
		return func(yield func(notary.Record, error) bool) {
			all, err := ts.DB.People.TrailRecords(t.Context(), first, 100)
			fatalIfErr(t, err)
			for _, r := range all {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
	open := func(ctx context.Context, r notary.Record) ([]byte, error) {
		return ts.Objects.Get(ctx, notary.DocumentKey(r.ID), 1<<20)
	}
	fatalIfErr(t, people.CheckTrail(t.Context(), ts.DB.People, records, open,
		func(r notary.Record, format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }))
	return out
}

func (ts *trailSite) wantWhole(t *testing.T) {
	t.Helper()
	for _, f := range ts.findings(t) {
		t.Errorf("a trail that nobody touched: %s", f)
	}
}

// testTrailOfSuspended: a seal that was begun for an agency which may not sign any more is made in another's
// name, unless the record is there already: then it is that one.
func testTrailOfSuspended(t *testing.T, s *Site) {
	ts := newTrailSite(t, s)
	s.Foreign(t, s.Items(t, 1)[0]) // adds the other agency
	for mode, by := range map[Mode]string{Fail: "other", FailPersisted: "agency"} {
		ts.do(t, "agency", 3)
		ts.db.Inject(Fault{Op: OpReceive, Mode: mode, Call: 1})
		if err := ts.sealer().Seal(t.Context()); err == nil {
			t.Fatal("nothing broke off")
		}
		fatalIfErr(t, s.DB.Log.SetAgencyState(t.Context(), "agency", notary.AgencySuspended))
		fatalIfErr(t, ts.sealer().Seal(t.Context()))
		seals, err := s.DB.People.TrailSeals(t.Context(), "agency", 0, 1)
		fatalIfErr(t, err)
		rec, err := s.DB.Log.FindRecord(t.Context(), "", seals[0].Record)
		fatalIfErr(t, err)
		if seals[0].AgencyID != by || rec.AgencyID != by {
			t.Errorf("sealed by %s, the record is of %s, want %s", seals[0].AgencyID, rec.AgencyID, by)
		}
		fatalIfErr(t, s.DB.Log.SetAgencyState(t.Context(), "agency", notary.AgencyActive))
	}
	ts.wantWhole(t)
}

// testTrailSealed: wherever sealing breaks off, with or without effect, going on makes each
// seal one record: none is lost, doubled or skipped.
func testTrailSealed(t *testing.T, s *Site) {
	ts := newTrailSite(t, s)
	sealed := 0
	for _, c := range []struct {
		name   string
		inject func()
	}{
		{"none", func() {}},
		{"before the seal is begun", func() { ts.seals.fail, ts.seals.after = "BeginSeal", false }},
		{"after it was begun", func() { ts.seals.fail, ts.seals.after = "BeginSeal", true }},
		{"the document is not stored", func() { ts.objects.Inject(Fault{Op: OpCreate, Mode: Fail}) }},
		{"the document is stored, the answer is lost",
			func() { ts.objects.Inject(Fault{Op: OpCreate, Mode: FailPersisted}) }},
		{"no record", func() { ts.db.Inject(Fault{Op: OpReceive, Mode: Fail}) }},
		{"a record, the answer is lost", func() { ts.db.Inject(Fault{Op: OpReceive, Mode: FailPersisted}) }},
		{"before the seal is finished", func() { ts.seals.fail, ts.seals.after = "FinishSeal", false }},
		{"after it was finished", func() { ts.seals.fail, ts.seals.after = "FinishSeal", true }},
	} {
		ts.do(t, "agency", 3)
		ts.do(t, "", 1) // an operator's
		c.inject()
		err := ts.sealer().Seal(t.Context())
		if (err == nil) != (c.name == "none") {
			t.Errorf("%s: %v", c.name, err)
		}
		ts.wantWhole(t) // also while a seal is being made
		ts.db.Heal()
		ts.objects.Heal()
		ts.do(t, "agency", 1) // what comes meanwhile is the next seal's, or this one's where it was not begun
		fatalIfErr(t, ts.sealer().Seal(t.Context()))
		ts.wantWhole(t)
		seals, err := s.DB.People.TrailSeals(t.Context(), "agency", 0, 100)
		fatalIfErr(t, err)
		records, err := s.DB.People.TrailRecords(t.Context(), 0, 100)
		fatalIfErr(t, err)
		others, err := s.DB.People.TrailSeals(t.Context(), "", 0, 100)
		fatalIfErr(t, err)
		if len(records) != len(seals)+len(others) || len(seals) == 0 || seals[0].Number != int64(len(seals)) {
			t.Fatalf("%s: %d records of %d and %d seals, the last has number %d", c.name, len(records), len(seals),
				len(others), seals[0].Number)
		}
		n := 0
		for _, x := range append(seals, others...) {
			if n += x.Events; x.RecordID == "" || len(x.Document) > 0 {
				t.Errorf("%s: seal %d is not finished: %+v", c.name, x.Number, x)
			}
		}
		if sealed = n; n != ts.events {
			t.Errorf("%s: %d of %d events are sealed", c.name, n, ts.events)
		}
	}
	if trails, err := s.DB.People.OpenTrails(t.Context()); err != nil || len(trails) != 0 || sealed == 0 {
		t.Errorf("trails are open: %q, %v", trails, err)
	}
	// A server that stops seals what there is.
	ts.do(t, "agency", 1)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	fatalIfErr(t, ts.sealer().Run(ctx))
	if trails, err := s.DB.People.OpenTrails(t.Context()); err != nil || len(trails) != 0 {
		t.Errorf("after the end trails are open: %q, %v", trails, err)
	}
	// Two servers at once: one seal of each stretch, whoever makes it.
	ts.do(t, "agency", 5)
	errs := together(4, func(int) error { _ = ts.sealer().Seal(t.Context()); return nil })
	fatalIfErr(t, errors.Join(errs...))
	fatalIfErr(t, ts.sealer().Seal(t.Context()))
	ts.wantWhole(t)
	s.Sequence(t)
	s.WantClean(t)
	// No list of the agency's, and no event, has them.
	if _, err := s.DB.Log.FindRecord(t.Context(), "agency", "x"); !errors.Is(err, notary.ErrNotFound) {
		t.Error(err)
	}
	records, err := s.DB.People.TrailRecords(t.Context(), 0, 1)
	fatalIfErr(t, err)
	if _, err := s.DB.Log.FindRecord(t.Context(), "agency", records[0].Number); !errors.Is(err, notary.ErrNotFound) {
		t.Errorf("an agency finds a seal among its records: %v", err)
	}
	if _, err := s.DB.Log.FindRecord(t.Context(), "", records[0].Number); err != nil {
		t.Errorf("the public does not find a seal: %v", err)
	}
}

// testTrailTampered: a row that was changed, deleted, inserted or moved is found and named.
func testTrailTampered(t *testing.T, s *Site) {
	ts := newTrailSite(t, s)
	for range 3 {
		ts.do(t, "agency", 3)
		fatalIfErr(t, ts.sealer().Seal(t.Context()))
		s.Pass(time.Hour)
	}
	ts.do(t, "agency", 2) // in no seal yet
	ts.wantWhole(t)
	raw := Raw(t, s.URL)
	late, early := s.Now().UnixMicro(), s.Now().Add(-2*time.Hour).UnixMicro()
	insert := `INSERT INTO audit (id, at, agency_id, user_id, login, role, act, about, detail, network, outcome, ` +
		`seal) VALUES ('%s', %d, 'agency', 'u', 'wang', 'clerk', 'x', '', '', '', '', %d)`
	for name, c := range map[string]struct {
		change, undo string
		want         []string
	}{
		"detail": {`UPDATE audit SET detail = 'name=other' WHERE id = 'deed-0002'`,
			`UPDATE audit SET detail = 'name=窗口<1>' WHERE id = 'deed-0002'`,
			[]string{"deed-0002", "changed", "name=other"}},
		"time": {`UPDATE audit SET at = at + 1 WHERE id = 'deed-0009'`,
			`UPDATE audit SET at = at - 1 WHERE id = 'deed-0009'`, []string{"deed-0009", "changed"}},
		"agency": {`UPDATE audit SET agency_id = 'other' WHERE id = 'deed-0005'`,
			`UPDATE audit SET agency_id = 'agency' WHERE id = 'deed-0005'`, []string{"deed-0005", "changed"}},
		"form": {`UPDATE audit SET form = NULL WHERE id = 'deed-0001'`,
			`UPDATE audit SET form = 'form 1' WHERE id = 'deed-0001'`, []string{"deed-0001", "changed"}},
		"moved": {`UPDATE audit SET seal = 3 WHERE id = 'deed-0001'`,
			`UPDATE audit SET seal = 1 WHERE id = 'deed-0001'`, []string{"deed-0001", "inserted"}},
		"free": {`UPDATE audit SET seal = 0 WHERE id = 'deed-0001'`,
			`UPDATE audit SET seal = 1 WHERE id = 'deed-0001'`, []string{"deed-0001", "seal 0"}},
		"inserted into a seal": {fmt.Sprintf(insert, "deed-0004x", late, 2),
			`DELETE FROM audit WHERE id = 'deed-0004x'`, []string{"deed-0004x", "inserted"}},
		"inserted among earlier": {fmt.Sprintf(insert, "deed-0004y", early, 0),
			`DELETE FROM audit WHERE id = 'deed-0004y'`, []string{"deed-0004y", "inserted afterwards"}},
		"inserted with no seal": {fmt.Sprintf(insert, "deed-9", late, 77), `DELETE FROM audit WHERE id = 'deed-9'`,
			[]string{"deed-9", "seal 77"}},
		"seal's row": {`UPDATE audit_seals SET deeds = 2 WHERE number = 2`,
			`UPDATE audit_seals SET deeds = 3 WHERE number = 2`, []string{"row of seal 2"}},
	} {
		MustExec(t, raw, 1, c.change)
		got := strings.Join(ts.findings(t), "\n")
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: nothing says %q, but: %s", name, w, got)
			}
		}
		MustExec(t, raw, 1, c.undo)
	}
	ts.wantWhole(t)
	MustExec(t, raw, 1, `DELETE FROM audit WHERE id = 'deed-0008'`)
	if got := ts.findings(t); len(got) != 1 || !strings.Contains(got[0], "deed-0008") ||
		!strings.Contains(got[0], "deleted") {
		t.Errorf("an event was deleted: %q", got)
	}
	// The last seal with all its rows: the log still has it.
	MustExec(t, raw, 2, `DELETE FROM audit WHERE seal = 3`)
	MustExec(t, raw, 1, `DELETE FROM audit_seals WHERE number = 3`)
	if got := strings.Join(ts.findings(t), "\n"); !strings.Contains(got, "row of seal 3") ||
		strings.Count(got, "was deleted") != 3 {
		t.Errorf("a seal was deleted: %s", got)
	}
	// And its document.
	records, err := s.DB.People.TrailRecords(t.Context(), 0, 10)
	fatalIfErr(t, err)
	fatalIfErr(t, s.Objects.Delete(t.Context(), notary.DocumentKey(records[2].ID)))
	if _, err := s.Objects.Create(t.Context(), notary.DocumentKey(records[2].ID),
		io.LimitReader(strings.NewReader("another"), 7), 7); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ts.findings(t), "\n"); !strings.Contains(got, "not the one notarized") {
		t.Errorf("a sealed document was changed: %s", got)
	}
}
