package people_test

import (
	"errors"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/office/people"
)

// An invitation lets one person choose, once and in its time; inviting again ends every way to
// sign in that there was.
func TestInvitations(t *testing.T) {
	h := newHall(t, false)
	ctx, agency := t.Context(), h.site.Agency.ID
	u, token, err := h.Invite(ctx, agency, " Wang ", "王五", people.Clerk, "zhang")
	fatalIfErr(t, err)
	if _, _, err := h.Invite(ctx, agency, "wang", "王五", people.Clerk, "zhang"); notary.CodeOf(
		err) != notary.CodeInvalid {
		t.Errorf("a login name is given out twice: %v", err)
	}
	if got := h.in("wang", "", "192.0.2.1"); got != notary.CodeUnauthorized {
		t.Errorf("who has no password yet signs in by none: %s", got)
	}
	for name, wrong := range map[string]string{"no token": "", "longer": token + "x", "shorter": token[1:]} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := h.Invited(ctx, wrong); !errors.Is(err, people.ErrNoInvitation) {
				t.Errorf("%q: %v", wrong, err)
			}
		})
	}
	if _, err := h.Accept(ctx, token, "short", "192.0.2.1"); notary.CodeOf(err) != notary.CodeInvalid {
		t.Errorf("a short password: %v", err)
	}
	// looking, and failing, do not use it up
	if i, who, err := h.Invited(ctx, token); err != nil || who.ID != u.ID || i.By != "zhang" {
		t.Errorf("%+v, %+v, %v", i, who, err)
	}
	fatalIfErr(t, h.SetDisabled(ctx, agency, u.ID, true))
	if _, err := h.Accept(ctx, token, password, "192.0.2.1"); !errors.Is(err, people.ErrNoInvitation) {
		t.Errorf("a disabled person: %v", err)
	}
	fatalIfErr(t, h.SetDisabled(ctx, agency, u.ID, false))
	if u, err = h.Accept(ctx, token, password, "192.0.2.1"); err != nil || u.Initial || u.SignedInAt.IsZero() {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := h.Accept(ctx, token, "another phrase altogether", "192.0.2.1"); !errors.Is(err,
		people.ErrNoInvitation) {
		t.Errorf("a second time: %v", err)
	}

	if _, _, err := h.InviteAgain(ctx, "other", u.ID, "zhang"); notary.CodeOf(err) != notary.CodeNotFound {
		t.Errorf("another agency's user: %v", err)
	}
	_, err = h.AddPasskey(ctx, people.Passkey{ID: []byte{1}, UserID: u.ID, Name: "x", PublicKey: []byte{1}})
	fatalIfErr(t, err)
	if _, token, err = h.InviteAgain(ctx, agency, u.ID, "zhang"); err != nil {
		t.Fatal(err)
	}
	if got := h.in("wang", password, "192.0.2.1"); got != notary.CodeUnauthorized {
		t.Errorf("the password of before: %s", got)
	}
	if u, err = h.Find(ctx, agency, "wang"); err != nil || u.HasFactor() || u.Password != "" || len(u.Recovery) > 0 {
		t.Errorf("what is left: %+v, %v", u, err)
	}
	_, err = h.Reset(ctx, agency, u.ID, "")
	fatalIfErr(t, err)
	if _, _, err := h.Invited(ctx, token); !errors.Is(err, people.ErrNoInvitation) {
		t.Errorf("the link of before a reset: %v", err)
	}
	if _, token, err = h.InviteAgain(ctx, agency, u.ID, "zhang"); err != nil {
		t.Fatal(err)
	}
	h.site.Pass(people.InvitationTime + time.Minute)
	if _, err := h.Accept(ctx, token, password, "192.0.2.1"); !errors.Is(err, people.ErrNoInvitation) {
		t.Errorf("after its time: %v", err)
	}
	if l, err := h.Invitations(ctx, agency); err != nil || len(l) != 0 {
		t.Errorf("%d open invitations, %v", len(l), err)
	}
	_, token, err = h.Invite(ctx, agency, "zhao", "赵六", people.Clerk, "zhang")
	fatalIfErr(t, err)
	zhao, err := h.Find(ctx, agency, "zhao")
	fatalIfErr(t, err)
	if err := h.Withdraw(ctx, "other", zhao.ID); notary.CodeOf(err) != notary.CodeNotFound {
		t.Errorf("withdrawn by another agency: %v", err)
	}
	fatalIfErr(t, h.Withdraw(ctx, agency, zhao.ID))
	if _, _, err := h.Invited(ctx, token); !errors.Is(err, people.ErrNoInvitation) {
		t.Errorf("withdrawn: %v", err)
	}
	if _, err := h.Find(ctx, agency, "zhao"); notary.CodeOf(err) != notary.CodeNotFound {
		t.Errorf("who never came keeps the login name: %v", err)
	}
	if err := h.Withdraw(ctx, agency, h.user.ID); notary.CodeOf(err) != notary.CodeConflict {
		t.Errorf("withdrawn without an invitation: %v", err)
	}
}

// A passkey counts up, is kept where it is the last factor or the only way, and brings recovery
// codes with it.
func TestPasskeyRules(t *testing.T) {
	h := newHall(t, false)
	ctx := t.Context()
	codes, err := h.AddPasskey(ctx, people.Passkey{ID: []byte{1}, UserID: h.user.ID, Name: "办公电脑",
		PublicKey: []byte{1}})
	if err != nil || len(codes) != 10 {
		t.Fatalf("%d codes, %v", len(codes), err)
	}
	for name, k := range map[string]people.Passkey{"no name": {ID: []byte{2}, UserID: h.user.ID},
		"the same": {ID: []byte{1}, UserID: h.user.ID, Name: "x", PublicKey: []byte{1}}} {
		t.Run(name, func(t *testing.T) {
			if _, err := h.AddPasskey(ctx, k); err == nil {
				t.Errorf("%s is taken", name)
			}
		})
	}
	u, err := h.User(ctx, h.user.ID)
	if err != nil || h.MustEnrol(u) {
		t.Errorf("a passkey is no second factor: %v", err)
	}
	for i, c := range []struct {
		counter uint32
		want    error
	}{{0, nil}, {0, nil}, {7, nil}, {7, people.ErrCloned}, {3, people.ErrCloned}, {0, people.ErrCloned}, {8, nil}} {
		if err := h.UsePasskey(ctx, u, []byte{1}, c.counter, false, "192.0.2.1"); !errors.Is(err, c.want) ||
			c.want == nil && err != nil {
			t.Errorf("%d: counter %d: %v", i, c.counter, err)
		}
	}
	if l, err := h.AuditEvents(ctx, people.AuditFilter{Act: people.ActCloned, Limit: 10}); err != nil || len(l) != 3 ||
		l[0].UserID != u.ID {
		t.Errorf("the trail: %+v, %v", l, err)
	}
	if err := h.UsePasskey(ctx, people.User{ID: "somebody else"}, []byte{1}, 9, false, "192.0.2.1"); notary.CodeOf(
		err) != notary.CodeUnauthorized {
		t.Errorf("another person's passkey: %v", err)
	}
	if err := h.Code(ctx, u.ID, "", "192.0.2.1"); err == nil {
		t.Error("nothing is a code of who has no authenticator")
	}
	fatalIfErr(t, h.Confirm(ctx, u.ID, codes[0], "192.0.2.1"))
	if err := h.Code(ctx, u.ID, codes[0], "192.0.2.1"); err == nil {
		t.Error("a recovery code works twice")
	}
	var e *notary.Error
	if err := h.RemovePasskey(ctx, u.ID, []byte{1}); !errors.As(err, &e) || e.Field != "last" {
		t.Errorf("an admin gave the last factor up: %v", err)
	}
	_, err = h.AddPasskey(ctx, people.Passkey{ID: []byte{2}, UserID: u.ID, Name: "x", PublicKey: []byte{1}})
	fatalIfErr(t, err)
	fatalIfErr(t, h.RemovePasskey(ctx, u.ID, []byte{1}))
	if err := h.RemovePasskey(ctx, u.ID, []byte{1}); notary.CodeOf(err) != notary.CodeNotFound {
		t.Errorf("removed twice: %v", err)
	}
	if _, _, err := h.Owner(ctx, u.ID, []byte{1}); notary.CodeOf(err) != notary.CodeUnauthorized {
		t.Errorf("a removed passkey signs in: %v", err)
	}
	fatalIfErr(t, h.SetDisabled(ctx, "", u.ID, true))
	if _, _, err := h.Owner(ctx, u.ID, []byte{2}); notary.CodeOf(err) != notary.CodeUnauthorized {
		t.Errorf("a disabled person: %v", err)
	}
}

// A client's secret stays with the issuer and client that it was meant for.
func TestProviderSecret(t *testing.T) {
	h := newHall(t, false)
	ctx := t.Context()
	set := func(issuer, client, secret string) string {
		t.Helper()
		p, err := h.CheckProvider(ctx, people.Provider{AgencyID: h.site.Agency.ID, Issuer: issuer, ClientID: client,
			Strength: people.StrengthNever}, secret)
		fatalIfErr(t, err)
		fatalIfErr(t, h.SetProvider(ctx, p))
		got, err := h.ClientSecret(p)
		fatalIfErr(t, err)
		return got
	}
	if a, b := set("https://a.example", "stele", "s"), set("https://a.example", "stele", ""); a != "s" || b != "s" {
		t.Errorf("kept: %q, then %q", a, b)
	}
	if got := set("https://b.example", "stele", ""); got != "" {
		t.Errorf("another issuer is given the secret %q", got)
	}
	p, _, err := h.Provider(ctx, h.site.Agency.ID)
	fatalIfErr(t, err)
	for name, id := range map[string]people.Identity{"another issuer": {Issuer: "https://a.example", Subject: "1"}} {
		t.Run(name, func(t *testing.T) {
			if err := h.Link(ctx, p, h.user.ID, id); err == nil {
				t.Errorf("%s is linked", name)
			}
		})
	}
	p.Claim = "email"
	if err := h.Link(ctx, p, h.user.ID, people.Identity{Issuer: p.Issuer, Subject: "1"}); err == nil {
		t.Error("an account without the claim is linked")
	}
	fatalIfErr(t, h.Link(ctx, p, h.user.ID, people.Identity{Issuer: p.Issuer, Subject: "1", Claim: " ZHANG "}))
}
