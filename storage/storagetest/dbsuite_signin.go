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

// testInvitations: a link is used once, also when several use it at a time; one that is
// withdrawn takes with it who never signed in, and nobody else.
func testInvitations(t *testing.T, s *Site) {
	ctx := t.Context()
	digest := func(name string) sm.Digest { return sm.Sum([]byte(name)) }
	invited := people.User{ID: "u1", AgencyID: "agency", Login: "zhang", Name: "张三", Role: people.Clerk,
		CreatedAt: s.Now()}
	fatalIfErr(t, s.DB.People.AddUser(ctx, invited))
	s.addUser(t, "u2", "other", "li")
	add := func(user, name string) people.Invitation {
		t.Helper()
		i := people.Invitation{UserID: user, Digest: digest(name), By: "admin", CreatedAt: s.Now(),
			ExpiresAt: s.Now().Add(time.Hour)}
		fatalIfErr(t, s.DB.People.AddInvitation(ctx, i))
		return i
	}
	add("u1", "first")
	want := add("u1", "second")
	add("u2", "third")
	if got, err := s.another(t).People.FindInvitation(ctx, digest("second")); err != nil ||
		fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	_, err := s.DB.People.FindInvitation(ctx, digest("first")) // was replaced
	wantErr(t, err, notary.ErrNotFound)
	for agency, n := range map[string]int{"agency": 1, "": 2, "none": 0} {
		if l, err := s.DB.People.Invitations(ctx, agency); err != nil || len(l) != n {
			t.Errorf("%q: %d invitations, %v", agency, len(l), err)
		}
	}
	refused := errors.New("refused")
	_, err = s.DB.People.UseInvitation(ctx, digest("second"), func(*people.User) error { return refused })
	wantErr(t, err, refused)
	uses := together(4, func(int) error {
		_, err := s.DB.People.UseInvitation(ctx, digest("second"),
			func(u *people.User) error { u.Password += "x"; return nil })
		return err
	})
	if n := len(slices.DeleteFunc(uses, func(err error) bool { return !errors.Is(err, notary.ErrNotFound) })); n != 3 {
		t.Errorf("%d of four were told that the invitation is used", n)
	}
	if u, err := s.DB.People.FindUser(ctx, "u1"); err != nil || u.Password != "x" {
		t.Errorf("used as often as %q says, %v", u.Password, err)
	}
	wantErr(t, s.DB.People.EndInvitation(ctx, "u1"), notary.ErrNotFound)
	add("u1", "again")
	fatalIfErr(t, s.DB.People.EndInvitation(ctx, "u1"))
	if _, err := s.DB.People.FindUser(ctx, "u1"); err != nil {
		t.Errorf("who has a password is gone with an invitation: %v", err)
	}
	invited.ID, invited.Login = "u3", "wang"
	fatalIfErr(t, s.DB.People.AddUser(ctx, invited))
	add("u3", "fourth")
	fatalIfErr(t, s.DB.People.EndInvitation(ctx, "u3"))
	_, err = s.DB.People.FindUser(ctx, "wang")
	wantErr(t, err, notary.ErrNotFound)
	s.Pass(2 * time.Hour)
	_, err = s.DB.People.FindInvitation(ctx, digest("third"))
	wantErr(t, err, notary.ErrNotFound)
	_, err = s.DB.People.UseInvitation(ctx, digest("third"), func(*people.User) error { return nil })
	wantErr(t, err, notary.ErrNotFound)
	if l, err := s.DB.People.Invitations(ctx, ""); err != nil || len(l) != 0 {
		t.Errorf("%d expired invitations are listed, %v", len(l), err)
	}
}

// testPasskeys: a passkey is read as it was written, is one user's, counts without gaps, and is
// gone with its user's ways to sign in.
func testPasskeys(t *testing.T, s *Site) {
	ctx := t.Context()
	s.addUser(t, "u1", "agency", "zhang")
	s.addUser(t, "u2", "agency", "li")
	k := people.Passkey{ID: []byte{1, 0, 255}, UserID: "u1", Name: "办公电脑", PublicKey: []byte{2},
		Transports: []string{"usb", "nfc"}, Counter: 1<<32 - 1, Eligible: true, CreatedAt: s.Now()}
	fatalIfErr(t, s.DB.People.AddPasskey(ctx, k))
	taken := k
	taken.UserID = "u2"
	wantErr(t, s.DB.People.AddPasskey(ctx, taken), people.ErrRepeated)
	fatalIfErr(t, s.DB.People.AddPasskey(ctx, people.Passkey{ID: []byte{2}, UserID: "u1", Name: "b",
		PublicKey: []byte{3},
		CreatedAt: s.Now()}))
	if l, err := s.another(t).People.Passkeys(ctx, "u1"); err != nil || len(l) != 2 ||
		fmt.Sprint(l[0]) != fmt.Sprint(k) {
		t.Errorf("got %+v, %v, want %+v first", l, err, k)
	}
	if u, err := s.DB.People.FindUser(ctx, "u1"); err != nil || u.Passkeys != 2 {
		t.Errorf("the user has %d, %v", u.Passkeys, err)
	}
	fatalIfErr(t, errors.Join(together(4, func(int) error {
		_, err := s.DB.People.ChangePasskey(ctx, []byte{2}, func(k *people.Passkey) error {
			k.Counter++
			k.BackedUp, k.UsedAt = true, s.Now()
			return nil
		})
		return err
	})...))
	refused := errors.New("refused")
	got, err := s.DB.People.ChangePasskey(ctx, []byte{2},
		func(k *people.Passkey) error { k.Counter = 0; return refused })
	wantErr(t, err, refused)
	if l, err := s.DB.People.Passkeys(ctx, "u1"); err != nil || l[1].Counter != 4 || !l[1].BackedUp ||
		l[1].UsedAt.IsZero() {
		t.Errorf("after four uses: %+v, %v (refused: %+v)", l[1], err, got)
	}
	_, err = s.DB.People.ChangePasskey(ctx, []byte{9}, func(*people.Passkey) error { return nil })
	wantErr(t, err, notary.ErrNotFound)
	free := func(people.User) error { return nil }
	wantErr(t, s.DB.People.RemovePasskey(ctx, "u2", k.ID, free), notary.ErrNotFound)
	wantErr(t, s.DB.People.RemovePasskey(ctx, "u1", k.ID, func(u people.User) error {
		if u.Passkeys != 2 {
			t.Errorf("asked of a user with %d", u.Passkeys)
		}
		return refused
	}), refused)
	fatalIfErr(t, s.DB.People.RemovePasskey(ctx, "u1", k.ID, free))
	_, err = s.DB.People.ChangeUser(ctx, "u1", func(u *people.User) error { u.Passkeys = 0; return nil })
	fatalIfErr(t, err)
	if l, err := s.DB.People.Passkeys(ctx, "u1"); err != nil || len(l) != 0 {
		t.Errorf("%d passkeys of somebody who has none, %v", len(l), err)
	}
}

// testIdentities: an identity is one user's of one agency and one issuer, and goes with them.
func testIdentities(t *testing.T, s *Site) {
	ctx := t.Context()
	agency := s.Agency.ID
	u1, u2 := s.addUser(t, "u1", agency, "zhang"), s.addUser(t, "u2", agency, "li")
	_, err := s.DB.People.Provider(ctx, agency)
	wantErr(t, err, notary.ErrNotFound)
	p := people.Provider{AgencyID: agency, Issuer: "https://a.example", ClientID: "stele", Sealed: []byte{1, 2},
		Claim: "email", Strength: people.StrengthClaimed, ACR: "gold", ChangedAt: s.Now()}
	fatalIfErr(t, s.DB.People.SetProvider(ctx, p))
	if got, err := s.another(t).People.Provider(ctx, agency); err != nil || fmt.Sprint(got) != fmt.Sprint(p) {
		t.Errorf("got %+v, %v, want %+v", got, err, p)
	}
	fatalIfErr(t, s.DB.People.Link(ctx, u1, p.Issuer, "before", s.Now()))
	fatalIfErr(t, s.DB.People.Link(ctx, u1, p.Issuer, "1001", s.Now()))
	wantErr(t, s.DB.People.Link(ctx, u2, p.Issuer, "1001", s.Now()), people.ErrRepeated)
	for name, c := range map[string]struct{ agency, issuer, subject, want string }{
		"theirs": {agency, p.Issuer, "1001", "u1"}, "the one before": {agency, p.Issuer, "before", ""},
		"of another agency": {"other", p.Issuer, "1001", ""}, "of another issuer": {agency, "https://b.example", "1001",
			""}, "no text": {agency, p.Issuer, "\xff", ""}} {
		got, err := s.DB.People.Linked(ctx, c.agency, c.issuer, c.subject)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, notary.ErrNotFound) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	linked := func(want bool, when string) {
		t.Helper()
		if u, err := s.DB.People.FindUser(ctx, "u1"); err != nil || u.Linked != want {
			t.Errorf("%s: %t, %v", when, u.Linked, err)
		}
	}
	linked(true, "linked")
	fatalIfErr(t, s.DB.People.SetProvider(ctx, p))
	linked(true, "the same issuer")
	p.Issuer, p.Sealed = "https://b.example", nil
	fatalIfErr(t, s.DB.People.SetProvider(ctx, p))
	linked(false, "another issuer")
	fatalIfErr(t, s.DB.People.Link(ctx, u1, p.Issuer, "1001", s.Now()))
	_, err = s.DB.People.ChangeUser(ctx, "u1", func(u *people.User) error { u.Linked = false; return nil })
	fatalIfErr(t, err)
	linked(false, "unlinked")
	fatalIfErr(t, s.DB.People.Link(ctx, u1, p.Issuer, "1001", s.Now()))
	fatalIfErr(t, s.DB.People.RemoveProvider(ctx, agency))
	linked(false, "without a provider")
}

// testAttempts: what was begun is finished once, in its time.
func testAttempts(t *testing.T, s *Site) {
	ctx := t.Context()
	a, b := sm.Sum([]byte("a")), sm.Sum([]byte("b"))
	fatalIfErr(t, s.DB.People.AddAttempt(ctx, a, []byte("data"), s.Now().Add(time.Hour)))
	fatalIfErr(t, s.DB.People.AddAttempt(ctx, b, []byte("late"), s.Now().Add(time.Minute)))
	errs := together(4, func(int) error {
		data, err := s.DB.People.TakeAttempt(ctx, a)
		if err == nil && string(data) != "data" {
			err = fmt.Errorf("got %q", data)
		}
		return err
	})
	n := 0
	for _, err := range errs {
		if err == nil {
			n++
		} else if !errors.Is(err, notary.ErrNotFound) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d of four took it", n)
	}
	s.Pass(2 * time.Minute)
	_, err := s.DB.People.TakeAttempt(ctx, b)
	wantErr(t, err, notary.ErrNotFound)
	fatalIfErr(t, s.DB.People.AddAttempt(ctx, a, []byte("more"), s.Now().Add(time.Hour)))
	var rows int
	fatalIfErr(t, Raw(t, s.URL).GetContext(ctx, &rows, `SELECT count(*) FROM attempts`))
	if rows != 1 {
		t.Errorf("%d rows are left", rows)
	}
}
