package storagetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/stamp"
)

// addSeal adds a seal whose picture is its text.
func (s *Site) addSeal(t *testing.T, name, png string, demo bool, from time.Time, onCertificates bool) notary.Seal {
	t.Helper()
	out, err := s.DB.Office.AddSeal(t.Context(), notary.Seal{ID: stamp.NewSealID(), AgencyID: s.Agency.ID, Name: name,
		Owner: "李明", PNG: []byte(png), Demonstration: demo, From: from}, onCertificates)
	fatalIfErr(t, err)
	return out
}

// testSeals: a record's seal is the one of its own time for ever; what comes later, also a
// seal that is said to be older, is for records that come later.
func testSeals(t *testing.T, s *Site) {
	shown := func(at time.Time) string {
		t.Helper()
		got, err := s.another(t).Office.SealAt(t.Context(), s.Agency.ID, at)
		if errors.Is(err, notary.ErrNotFound) {
			return "none"
		}
		fatalIfErr(t, err)
		return fmt.Sprintf("%s %t", got.PNG, got.Demonstration)
	}
	before := s.Receive(t, 1)[0]
	first := s.addSeal(t, "公章", "first", true, before.IssuedAt.Add(-time.Hour), true) // said to be older than a record
	if !first.Certificates.After(before.IssuedAt) || shown(before.IssuedAt) != "none" ||
		shown(first.Certificates) != "first true" {
		t.Errorf("from %s with a record of %s: then %s, now %s", first.Certificates, before.IssuedAt,
			shown(before.IssuedAt), shown(first.Certificates))
	}
	s.Pass(time.Hour)
	second := s.addSeal(t, "公章", "\x00\xff second", false, s.Now(), false) // takes the first one's place
	s.Pass(time.Hour)
	s.addSeal(t, "业务专用章", "other", false, s.Now(), false) // of which certificates know nothing
	removed, err := s.DB.Office.ShowSeal(t.Context(), s.Agency.ID, "")
	fatalIfErr(t, err)
	again := s.addSeal(t, "合同章", "again", true, first.Certificates, true).Certificates // before all others
	for _, c := range []struct {
		at   time.Time
		want string
	}{{first.Certificates.Add(-time.Microsecond), "none"}, {first.Certificates, "first true"},
		{second.Certificates.Add(-time.Microsecond), "first true"}, {second.Certificates, "\x00\xff second false"},
		{removed, "none"}, {again, "again true"}, {again.Add(-time.Microsecond), "none"},
		{again.Add(1e6 * time.Hour), "again true"}} {
		if got := shown(c.at); got != c.want {
			t.Errorf("at %s: %q, want %q", c.at, got, c.want)
		}
	}
	if !again.After(removed) {
		t.Errorf("%s is not after %s", again, removed)
	}
	for _, id := range []string{"", "none", "\xff", "\x00"} {
		_, err := s.DB.Office.SealAt(t.Context(), id, s.Now())
		wantErr(t, err, notary.ErrNotFound)
	}
	if _, err := s.DB.Office.AddSeal(t.Context(), notary.Seal{ID: "x", AgencyID: "none", Name: "x", PNG: []byte("x"),
		From: s.Now()}, true); err == nil {
		t.Error("an agency that is not there has a seal")
	}
}

// testSealBook: seals end when they are ended, replaced, or their time is over, and are not
// used any more then; every use is written down.
func testSealBook(t *testing.T, s *Site) {
	ctx := t.Context()
	use := func(id string, at time.Time) (string, error) {
		u := notary.SealUse{ID: stamp.NewSealID(), At: at, SealID: id, AgencyID: s.Agency.ID, Login: "wang",
			Filing: "f-1", Number: "420100-2026-00000000-7", Original: sm.Sum([]byte("a")),
			Stamped: sm.Sum([]byte("b")), Marks: 3}
		return u.ID, s.another(t).Office.UseSeal(ctx, u)
	}
	old := s.addSeal(t, "公章", "old", false, s.Now(), true)
	used, err := use(old.ID, s.Now())
	fatalIfErr(t, err)
	_, err = use(old.ID, old.From.Add(-time.Second))
	wantCode(t, err, notary.CodeConflict)
	s.Pass(time.Hour)
	next := s.addSeal(t, "公章", "new", false, s.Now().Add(time.Hour), false) // replaces it in an hour
	_, err = use(old.ID, s.Now())
	fatalIfErr(t, err)
	_, err = use(next.ID, s.Now())
	wantCode(t, err, notary.CodeConflict)
	s.Pass(time.Hour)
	last, err := use(next.ID, s.Now())
	fatalIfErr(t, err)
	_, err = use(old.ID, s.Now())
	wantCode(t, err, notary.CodeConflict)

	brief := notary.Seal{ID: stamp.NewSealID(), AgencyID: s.Agency.ID, Name: "会议章", PNG: []byte("brief"), From: s.Now(),
		Until: s.Now().Add(time.Hour)}
	brief, err = s.DB.Office.AddSeal(ctx, brief, true)
	fatalIfErr(t, err)
	if got, err := s.DB.Office.SealAt(ctx, s.Agency.ID, brief.Certificates); err != nil || string(got.PNG) != "brief" ||
		got.ID != brief.ID {
		t.Errorf("%+v %v", got, err)
	}
	_, err = s.DB.Office.SealAt(ctx, s.Agency.ID, brief.Until) // on certificates it is over with its time as well
	wantErr(t, err, notary.ErrNotFound)
	s.Pass(2 * time.Hour)
	_, err = use(brief.ID, s.Now())
	wantCode(t, err, notary.CodeConflict)
	_, err = s.DB.Office.ShowSeal(ctx, s.Agency.ID, brief.ID)
	wantCode(t, err, notary.CodeConflict)

	_, err = s.DB.Office.ShowSeal(ctx, s.Agency.ID, next.ID)
	fatalIfErr(t, err)
	ended, err := s.DB.Office.EndSeal(ctx, s.Agency.ID, next.ID)
	fatalIfErr(t, err)
	if ended.Ended.IsZero() || ended.ValidAt(s.Now()) {
		t.Errorf("%+v", ended)
	}
	s.Pass(time.Second)
	_, err = s.DB.Office.SealAt(ctx, s.Agency.ID, s.Now())
	wantErr(t, err, notary.ErrNotFound)
	_, err = s.DB.Office.EndSeal(ctx, s.Agency.ID, next.ID)
	wantCode(t, err, notary.CodeConflict)
	for _, id := range []string{"", "none", "\xff"} {
		_, err = use(id, s.Now())
		wantErr(t, err, notary.ErrNotFound)
		_, err = s.DB.Office.EndSeal(ctx, s.Agency.ID, id)
		wantErr(t, err, notary.ErrNotFound)
	}
	_, err = s.DB.Office.Seal(ctx, "another", old.ID)
	wantErr(t, err, notary.ErrNotFound)

	all, err := s.DB.Office.Seals(ctx, s.Agency.ID)
	fatalIfErr(t, err)
	if len(all) != 3 || all[0].ID != brief.ID || string(all[0].PNG) != "brief" || !all[0].Until.Equal(brief.Until) ||
		all[1].Owner != "李明" || !all[1].Certificates.IsZero() {
		t.Errorf("%+v", all)
	}
	uses, err := s.DB.Office.SealUses(ctx, s.Agency.ID, "", "", 2)
	fatalIfErr(t, err)
	if len(uses) != 2 || uses[0].ID != last || uses[0].Marks != 3 || uses[0].Stamped != sm.Sum([]byte("b")) ||
		uses[0].Login != "wang" {
		t.Errorf("%+v", uses)
	}
	rest, err := s.DB.Office.SealUses(ctx, s.Agency.ID, old.ID, uses[1].ID, 10)
	fatalIfErr(t, err)
	if len(rest) != 1 || rest[0].ID != used {
		t.Errorf("%+v", rest)
	}
	if none, err := s.DB.Office.SealUses(ctx, "another", "", "", 10); err != nil || len(none) != 0 {
		t.Errorf("another agency sees %d uses, %v", len(none), err)
	}
}
