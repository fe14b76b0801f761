package people_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/people"
	"stele/storage/storagetest"
)

const password = "correct horse battery staple"

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hall is a database with one admin.
type hall struct {
	*people.People
	site *storagetest.Site
	user people.User
}

func newHall(t *testing.T, optional bool) *hall {
	t.Helper()
	s := storagetest.NewSite(t, storagetest.Embedded)
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	box, err := seal.New(key, "test")
	fatalIfErr(t, err)
	p, err := people.New(s.DB.People, people.Options{Box: box, OptionalFactor: optional, Now: s.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	fatalIfErr(t, err)
	u, _, err := p.Add(t.Context(), s.Agency.ID, " Zhang ", "张三", people.Admin, password)
	fatalIfErr(t, err)
	return &hall{p, s, u}
}

func (h *hall) in(login, pass, network string) notary.Code {
	if _, err := h.SignIn(context.Background(), login, pass, network); err != nil {
		return notary.CodeOf(err)
	}
	return ""
}

func TestSignIn(t *testing.T) {
	h := newHall(t, false)
	ctx := t.Context()
	if got := h.in("ZHANG", password, "192.0.2.1"); got != "" {
		t.Fatalf("refused: %s", got)
	}
	for name, c := range map[string][2]string{"password": {"zhang", password + "x"}, "name": {"nobody", password},
		"id": {h.user.ID, password}, "no name": {"", password},
		"no text": {"zh\x00ang", password}, "long": {strings.Repeat("z", 10_000), password},
		"long password": {"zhang", strings.Repeat("p", 100_000)}} {
		t.Run(name, func(t *testing.T) {
			if got := h.in(c[0], c[1], "192.0.2.9"+name); got != notary.CodeUnauthorized {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
	fatalIfErr(t, h.SetDisabled(ctx, h.site.Agency.ID, h.user.ID, true))
	if got := h.in("zhang", password, "192.0.2.1"); got != notary.CodeUnauthorized {
		t.Errorf("a disabled user: %s", got)
	}
	fatalIfErr(t, h.SetDisabled(ctx, h.site.Agency.ID, h.user.ID, false))
	if _, err := h.Reset(ctx, "other", h.user.ID, ""); notary.CodeOf(err) != notary.CodeNotFound {
		t.Errorf("another agency's user is reset: %v", err)
	}
	made, err := h.Reset(ctx, h.site.Agency.ID, h.user.ID, "")
	fatalIfErr(t, err)
	if h.in("zhang", password, "192.0.2.1") == "" || h.in("zhang", made, "192.0.2.1") != "" {
		t.Error("the reset password is not the one that works")
	}
	events, err := h.AuditEvents(ctx, people.AuditFilter{Login: "zhang", Limit: 100})
	fatalIfErr(t, err)
	count := map[people.Action]int{}
	for _, d := range events {
		count[d.Act]++
		if d.AgencyID != h.site.Agency.ID || d.UserID != h.user.ID {
			t.Errorf("%+v", d)
		}
	}
	if count[people.ActSignIn] != 2 || count[people.ActFailed] < 2 {
		t.Errorf("the trail says %v", count)
	}
	if all, err := h.AuditEvents(ctx, people.AuditFilter{Limit: 100}); err != nil || len(all) != len(events) {
		t.Errorf("what was typed as a name that nobody has is in the trail: %d rows, %v", len(all), err)
	}
	for range 20 {
		h.in("zhang", "guess", "203.0.113.1")
	}
	if got := h.in("zhang", made, "203.0.113.1"); got != notary.CodeRateLimited {
		t.Errorf("who guesses goes on: %s", got)
	}
	if got := h.in("zhang", made, "192.0.2.1"); got != "" {
		t.Errorf("the owner is locked out by a stranger: %s", got)
	}
}

func TestSettings(t *testing.T) {
	h := newHall(t, false)
	for name, c := range map[string]struct {
		login, name, password string
		role                  people.Role
		agency                string
	}{"login": {"a b", "x", password, people.Clerk, "agency"}, "short login": {"ab", "x", password, people.Clerk,
		"agency"}, "name": {"abc", " x", password, people.Clerk, "agency"},
		"role": {"abc", "x", password, "king", "agency"}, "operator of an agency": {"abc", "x", password,
			people.Operator, "agency"}, "clerk of none": {"abc", "x", password, people.Clerk, ""},
		"short password": {"abc", "x", "short", people.Clerk, "agency"},
		"own name":       {"horse", "x", password, people.Clerk, "agency"},
		"taken":          {"zhang", "x", password, people.Clerk, "agency"}} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := h.Add(t.Context(), c.agency, c.login, c.name, c.role, c.password); notary.CodeOf(
				err) != notary.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if err := h.SetRole(t.Context(), "", h.user.ID, people.Operator); notary.CodeOf(err) != notary.CodeInvalid {
		t.Errorf("an agency's user became operator: %v", err)
	}
	if err := h.SetPassword(t.Context(), h.user.ID, "wrong", "another fine password", "192.0.2.1",
		sm.Digest{}); notary.CodeOf(err) != notary.CodeInvalid {
		t.Errorf("a password was changed without the old one: %v", err)
	}
	fatalIfErr(t, h.SetPassword(t.Context(), h.user.ID, password, "ｆｕｌｌ width password", "192.0.2.1", sm.Digest{}))
	if got := h.in("zhang", "full width password", "192.0.2.1"); got != "" {
		t.Errorf("the same password from another input method: %s", got)
	}
}

func TestSecondFactor(t *testing.T) {
	h := newHall(t, false)
	ctx := t.Context()
	if !h.MustEnrol(h.user) || newHall(t, true).MustEnrol(h.user) || h.MustEnrol(people.User{Role: people.Clerk}) {
		t.Error("who needs a second factor")
	}
	secret := people.NewFactor()
	if _, err := h.Enrol(ctx, h.user.ID, secret, "000000"); notary.CodeOf(err) != notary.CodeInvalid {
		t.Errorf("set up without a code: %v", err)
	}
	code := func() string {
		c, err := totp.GenerateCode(secret, h.site.Now())
		fatalIfErr(t, err)
		return c
	}
	used := code()
	_, err := h.Enrol(ctx, h.user.ID, secret, used)
	fatalIfErr(t, err)
	u, err := h.SignIn(ctx, "zhang", password, "192.0.2.1")
	if err != nil || !u.HasFactor() || !u.SignedInAt.IsZero() {
		t.Fatalf("the password alone: %+v, %v", u, err)
	}
	if strings.Contains(string(u.Factor), secret) {
		t.Error("the secret is stored in clear")
	}
	if _, err := h.SignInCode(ctx, u.ID, used, "192.0.2.1"); notary.CodeOf(err) != notary.CodeInvalid {
		t.Errorf("a code works twice: %v", err)
	}
	h.site.Pass(time.Minute)
	if u, err = h.SignInCode(ctx, u.ID, code(), "192.0.2.1"); err != nil || u.SignedInAt.IsZero() {
		t.Errorf("%+v, %v", u, err)
	}
	if err := h.Confirm(ctx, u.ID, password, "192.0.2.1"); err != nil {
		t.Errorf("confirmed by the password: %v", err)
	}
	if err := h.Confirm(ctx, u.ID, "wrong", "192.0.2.1"); notary.CodeOf(err) != notary.CodeInvalid {
		t.Errorf("confirmed by nothing: %v", err)
	}
	if err := h.RemoveFactor(ctx, u.ID); notary.CodeOf(err) != notary.CodeForbidden {
		t.Errorf("an admin gave the second factor up: %v", err)
	}
	if err := h.Note(ctx, people.AuditEvent{Form: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Note(ctx, people.AuditEvent{Form: "x"}); !errors.Is(err, people.ErrRepeated) {
		t.Errorf("a form counts twice: %v", err)
	}
}

// Of many who send one code at once, one gets in: an authenticator's and a recovery code alike. A code
// of a step before one that was used is worth nothing, although clocks may be so far apart.
func TestCodesAtOnce(t *testing.T) {
	h := newHall(t, false)
	ctx := t.Context()
	secret := people.NewFactor()
	codeAt := func(at time.Time) string {
		c, err := totp.GenerateCode(secret, at)
		fatalIfErr(t, err)
		return c
	}
	recovery, err := h.Enrol(ctx, h.user.ID, secret, codeAt(h.site.Now()))
	fatalIfErr(t, err)
	h.site.Pass(10 * time.Minute)
	atOnce := func(what, code string) {
		t.Helper()
		var in atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 32 { // from as many networks: none is slowed down by the others
			wg.Go(func() {
				<-start
				if _, err := h.SignInCode(ctx, h.user.ID, code, fmt.Sprintf("198.51.100.%d", i)); err == nil {
					in.Add(1)
				}
			})
		}
		close(start)
		wg.Wait()
		if in.Load() != 1 {
			t.Errorf("%s: %d got in", what, in.Load())
		}
	}
	now := h.site.Now()
	atOnce("a code", codeAt(now))
	for what, at := range map[string]time.Time{"the same step": now, "the step before": now.Add(-30 * time.Second)} {
		t.Run(what, func(t *testing.T) {
			if _, err := h.SignInCode(ctx, h.user.ID, codeAt(at), "203.0.113.1"); notary.CodeOf(
				err) != notary.CodeInvalid {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	atOnce("a recovery code", recovery[0])
	if u, err := h.Find(ctx, h.site.Agency.ID, "zhang"); err != nil || len(u.Recovery) != len(recovery)-1 {
		t.Errorf("%d recovery codes are left of %d, %v", len(u.Recovery), len(recovery), err)
	}
}
