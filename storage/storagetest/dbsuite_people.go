package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
)

func (s *Site) addUser(t *testing.T, id, agencyID, login string) people.User {
	t.Helper()
	u := people.User{ID: id, AgencyID: agencyID, Login: login, Name: "张 三", Role: people.Clerk, Password: "$argon2id$…",
		Initial: true, CreatedAt: s.Now()}
	fatalIfErr(t, s.DB.People.AddUser(t.Context(), u))
	return u
}

// testUsers: a user is read as it was written; a login name is given out once; a change that
// fails changes nothing.
func testUsers(t *testing.T, s *Site) {
	s.addUser(t, "u1", "agency", "zhang")
	wantErr(t, s.DB.People.AddUser(t.Context(), people.User{ID: "u2", Login: "zhang"}), people.ErrLoginTaken)
	s.addUser(t, "u3", "other", "li")
	s.addUser(t, "u4", "", "operator")
	want, err := s.DB.People.ChangeUser(t.Context(), "u1", func(u *people.User) error {
		u.Name, u.Role, u.Password, u.Initial = "李四", people.Admin, "hash", false
		u.Factor, u.FactorStep, u.Recovery = []byte{1, 2}, 7, []sm.Digest{sm.Sum([]byte("a")), sm.Sum([]byte("b"))}
		u.DisabledAt, u.SignedInAt = s.Now(), s.Now()
		return nil
	})
	fatalIfErr(t, err)
	for _, key := range []string{"u1", "zhang"} {
		if got, err := s.another(t).People.FindUser(t.Context(), key); err != nil ||
			fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s: got %+v, %v, want %+v", key, got, err, want)
		}
	}
	refused := errors.New("refused")
	_, err = s.DB.People.ChangeUser(t.Context(), "u1", func(u *people.User) error { u.Name = "no"; return refused })
	wantErr(t, err, refused)
	if got, err := s.DB.People.FindUser(t.Context(), "u1"); err != nil || got.Name != want.Name {
		t.Errorf("a refused change left %q, %v", got.Name, err)
	}
	for _, key := range []string{"", "none", "\xff", "a\x00"} {
		_, err := s.DB.People.FindUser(t.Context(), key)
		wantErr(t, err, notary.ErrNotFound)
	}
	for agency, want := range map[string]int{"agency": 1, "": 3, "none": 0} {
		if l, err := s.DB.People.Users(t.Context(), agency); err != nil || len(l) != want {
			t.Errorf("agency %q: %d users, %v", agency, len(l), err)
		}
	}
	// A code that works once works once with two servers too: changes do not overlap.
	errs := together(4, func(int) error {
		_, err := s.DB.People.ChangeUser(t.Context(), "u3", func(u *people.User) error { u.FactorStep++; return nil })
		return err
	})
	fatalIfErr(t, errors.Join(errs...))
	if u, err := s.DB.People.FindUser(t.Context(), "u3"); err != nil || u.FactorStep != 4 {
		t.Errorf("after four changes at once: %d, %v", u.FactorStep, err)
	}
}

// testSessions: a session is found until it ends, by time or by hand; one that was ended does
// not come back when a request that was under way writes it.
func testSessions(t *testing.T, s *Site) {
	s.addUser(t, "u1", "agency", "zhang")
	s.addUser(t, "u2", "agency", "li")
	digest := func(name string) sm.Digest { return sm.Sum([]byte(name)) }
	add := func(name, user string, lasts time.Duration) {
		t.Helper()
		fatalIfErr(t, s.DB.People.AddSession(t.Context(), people.Session{Digest: digest(name), UserID: user,
			Data: []byte("data"), Address: "192.0.2.1", Agent: "browser", ExpiresAt: s.Now().Add(lasts)}))
	}
	find := func(name string) (people.Session, error) {
		return s.another(t).People.FindSession(t.Context(), digest(name))
	}
	add("a", "u1", time.Hour)
	add("b", "u1", 2*time.Hour)
	add("c", "u1", 2*time.Hour)
	add("d", "u2", 2*time.Hour)
	got, err := find("a")
	if err != nil || got.UserID != "u1" || string(got.Data) != "data" || got.Address != "192.0.2.1" ||
		got.Agent != "browser" || got.CreatedAt.IsZero() || !got.SeenAt.Equal(got.CreatedAt) {
		t.Errorf("got %+v, %v", got, err)
	}
	s.Pass(2 * time.Minute)
	fatalIfErr(t, s.DB.People.TouchSession(t.Context(), digest("a"), []byte("more"), s.Now().Add(90*time.Minute)))
	if got, err = find("a"); err != nil || string(got.Data) != "more" || got.SeenAt.Sub(got.CreatedAt) < 2*time.Minute {
		t.Errorf("touched: %+v, %v", got, err)
	}
	if l, err := s.DB.People.Sessions(t.Context(), "u1"); err != nil || len(l) != 3 || l[0].Digest != digest("a") {
		t.Errorf("%d sessions, %v", len(l), err)
	}
	d := digest("d")
	fatalIfErr(t, s.DB.People.EndSessions(t.Context(), "u1", &d, nil)) // somebody else's
	if _, err := find("d"); err != nil {
		t.Errorf("another user's session was ended: %v", err)
	}
	b, c := digest("b"), digest("c")
	fatalIfErr(t, s.DB.People.EndSessions(t.Context(), "u1", &b, nil))
	fatalIfErr(t, s.DB.People.TouchSession(t.Context(), b, []byte("late"), s.Now().Add(time.Hour)))
	_, err = find("b")
	wantErr(t, err, notary.ErrNotFound)
	fatalIfErr(t, s.DB.People.EndSessions(t.Context(), "u1", nil, &c))
	if l, err := s.DB.People.Sessions(t.Context(), "u1"); err != nil || len(l) != 1 || l[0].Digest != c {
		t.Errorf("all but one were ended: %+v, %v", l, err)
	}
	s.Pass(2 * time.Hour)
	_, err = find("c")
	wantErr(t, err, notary.ErrNotFound)
	add("e", "u2", time.Hour) // takes those that have ended away
	var n int
	fatalIfErr(t, Raw(t, s.URL).GetContext(t.Context(), &n, `SELECT count(*) FROM sessions`))
	if n != 1 {
		t.Errorf("%d rows are left", n)
	}
}

// testTrail: rows come back newest first, narrowed as asked; a form is noted once.
func testTrail(t *testing.T, s *Site) {
	note := func(d people.AuditEvent) error { d.At = s.Now(); return s.DB.People.Note(t.Context(), d) }
	fatalIfErr(t, note(people.AuditEvent{ID: "01", AgencyID: "agency", UserID: "u1", Login: "zhang", Role: people.Admin,
		Act: people.ActSignIn, Network: "192.0.2.1"}))
	middle := s.Now()
	full := people.AuditEvent{ID: "02", AgencyID: "agency", UserID: "u1", Login: "zhang", Role: people.Admin,
		Act: "key_create", About: "k1", Detail: "name=窗口", Network: "192.0.2.2", Outcome: "conflict", Form: "f1"}
	fatalIfErr(t, note(full))
	fatalIfErr(t, note(people.AuditEvent{ID: "03", AgencyID: "other", UserID: "u2", Login: "li",
		Act: people.ActSignIn}))
	wantErr(t, note(people.AuditEvent{ID: "04", AgencyID: "agency", Act: "key_create", Form: "f1"}), people.ErrRepeated)
	for name, c := range map[string]struct {
		f    people.AuditFilter
		want []string
	}{
		"all": {people.AuditFilter{}, []string{"03", "02", "01"}}, "agency": {people.AuditFilter{AgencyID: "agency"},
			[]string{"02", "01"}}, "login": {people.AuditFilter{Login: "li"}, []string{"03"}},
		"act":   {people.AuditFilter{Act: people.ActSignIn, AgencyID: "agency"}, []string{"01"}},
		"about": {people.AuditFilter{About: "k1"}, []string{"02"}},
		"from":  {people.AuditFilter{From: middle}, []string{"03", "02"}},
		"to":    {people.AuditFilter{To: middle}, []string{"01"}}, "page": {people.AuditFilter{Before: "03", Limit: 1},
			[]string{"02"}},
		"no text": {people.AuditFilter{Login: "\xff"}, nil},
	} {
		if c.f.Limit == 0 {
			c.f.Limit = 10
		}
		l, err := s.DB.People.AuditEvents(t.Context(), c.f)
		fatalIfErr(t, err)
		var got []string
		for _, d := range l {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	l, err := s.DB.People.AuditEvents(t.Context(), people.AuditFilter{About: "k1", Limit: 1})
	fatalIfErr(t, err)
	if full.At = l[0].At; l[0] != full {
		t.Errorf("got %+v, want %+v", l[0], full)
	}
	for network, want := range map[string]bool{"192.0.2.1": true, "192.0.2.2": false} {
		if known, err := s.DB.People.SignedInFrom(t.Context(), "u1", network); err != nil || known != want {
			t.Errorf("%s: %t, %v", network, known, err)
		}
	}
}
