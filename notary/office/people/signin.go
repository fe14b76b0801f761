package people

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary"
)

// Options are what [New] needs beside its stores.
type Options struct {
	Box            *seal.Box // of second factors; nil where nobody signs in: at the command line
	OptionalFactor bool      // no role needs a second factor: a demo
	Now            func() time.Time
	Log            *slog.Logger
}

// Store is where people are kept; each part says its contract.
type Store interface {
	UserStore
	SessionStore
	AuditLog
	InvitationStore
	PasskeyStore
	ProviderStore
	AttemptStore
}

// People is what can be done with users. It is safe for concurrent use.
type People struct {
	store  Store
	opt    Options
	guard  *Guard
	hasher *hasher
}

// New returns the people of a store.
func New(s Store, opt Options) (*People, error) {
	h, err := newHasher()
	if err != nil {
		return nil, err
	}
	return &People{store: s, opt: opt, guard: NewGuard(opt.Now),
		hasher: h}, nil
}

// Sessions gives the store of sessions to who keeps them in cookies.
func (p *People) Sessions() SessionStore { return p.store }

var errSignIn = notary.Errorf(notary.CodeUnauthorized, "Login name or password is wrong.")

// place where a user's second factor is sealed; see [seal.Box.Seal].
func factorPlace(userID string) string { return "second factor " + userID }

// NeedsFactor reports whether a user's role needs a second factor here.
func (p *People) NeedsFactor(u User) bool { return !p.opt.OptionalFactor && u.Role.NeedsFactor() }

// MustEnrol reports whether a user has to set up a second factor before anything else.
func (p *People) MustEnrol(u User) bool {
	return p.NeedsFactor(u) && !u.HasFactor()
}

// SignIn checks login name and password. For names that nobody has, for disabled users and
// for wrong passwords there is one answer, after the same time. Who has a second factor is not
// signed in by this alone.
func (p *People) SignIn(ctx context.Context, login, password, network string) (User, error) {
	if login = NormalizeLogin(login); !validLogin.MatchString(login) {
		login = "" // nobody has such a name, and it may be long
	}
	u, err := p.store.FindUser(ctx, login)
	exists := err == nil && u.Login == login
	if err != nil && !errors.Is(err, notary.ErrNotFound) {
		return User{}, down(err)
	}
	hash := u.Password
	if !exists || !u.DisabledAt.IsZero() || u.Password == "" {
		u, hash = User{ID: u.ID}, p.hasher.dummy
	}
	if err := p.try(ctx, u.ID, login, network); err != nil {
		return User{}, err
	}
	ok, err := p.hasher.matches(ctx, password, hash)
	if err != nil {
		return User{}, err
	}
	if !ok || u.Login == "" {
		return User{}, p.failed(ctx, u, network, errSignIn)
	}
	p.guard.Passed(login, network)
	if u.HasFactor() {
		return u, nil
	}
	return p.signedIn(ctx, u.ID, network, ByPassword)
}

// try asks the guard; without a user nobody is known.
func (p *People) try(ctx context.Context, userID, account, network string) error {
	known, err := p.store.SignedInFrom(ctx, userID, network)
	if err != nil {
		return down(err)
	}
	return p.guard.Try(account, network, known)
}

// failed notes a failure of somebody who exists. What was typed as a name that nobody has is
// not kept: it may be a password.
func (p *People) failed(ctx context.Context, u User, network string, answer error) error {
	if u.Login == "" {
		return answer
	}
	if err := p.note(ctx, u, ActFailed, network, ""); err != nil {
		return err
	}
	return answer
}

// note adds to the trail what a user did, or what was tried in their name.
func (p *People) note(ctx context.Context, u User, act Action, network, detail string) error {
	return p.Note(ctx, AuditEvent{AgencyID: u.AgencyID, UserID: u.ID, Login: u.Login, Role: u.Role, Act: act,
		Network: network, Detail: detail})
}

func (p *People) signedIn(ctx context.Context, id, network string, by By) (User, error) {
	u, err := p.store.ChangeUser(ctx, id, func(u *User) error {
		u.SignedInAt = p.opt.Now().UTC()
		return nil
	})
	if err != nil {
		return User{}, down(err)
	}
	return u, p.note(ctx, u, ActSignIn, network, "by="+string(by))
}

var errCode = notary.InvalidField("code", "This code is wrong, or was used before. Wait for the next one.")

// SignInCode completes a sign-in with a code of the authenticator or a recovery code.
func (p *People) SignInCode(ctx context.Context, id, code, network string) (User, error) {
	if err := p.Code(ctx, id, code, network); err != nil {
		return User{}, err
	}
	return p.signedIn(ctx, id, network, ByCode)
}

// Code checks a code of the second factor and uses it up.
func (p *People) Code(ctx context.Context, id, code, network string) error {
	u, err := p.User(ctx, id)
	if err != nil {
		return err
	}
	account := "code " + u.Login
	if err := p.try(ctx, u.ID, account, network); err != nil {
		return err
	}
	var secret []byte // none: recovery codes alone are taken
	if u.HasCodes() {
		if secret, err = p.opt.Box.Open(factorPlace(u.ID), u.Factor); err != nil {
			return notary.Wrap(notary.CodeInternal, err, "The second factor cannot be read.")
		}
	}
	_, err = p.store.ChangeUser(ctx, id, func(u *User) error {
		if !useCode(u, string(secret), code, p.opt.Now()) {
			return errCode
		}
		return nil
	})
	if errors.Is(err, errCode) {
		return p.failed(ctx, u, network, errCode)
	}
	if err != nil {
		return down(err)
	}
	p.guard.Passed(account, network)
	return nil
}

var errConfirm = notary.InvalidField("confirm", "This is neither your password nor a code of your second factor.")

// Confirm checks that it is still the same person: by the password or, where there is a second
// factor, by a code of it.
func (p *People) Confirm(ctx context.Context, id, text, network string) error {
	u, err := p.User(ctx, id)
	if err != nil {
		return err
	}
	if u.HasFactor() && couldBeCode(text) && p.Code(ctx, id, text, network) == nil {
		return nil
	}
	account := "confirm " + u.Login
	if err := p.try(ctx, u.ID, account, network); err != nil {
		return err
	}
	ok := false
	if u.Password != "" {
		if ok, err = p.hasher.matches(ctx, text, u.Password); err != nil {
			return err
		}
	}
	if !ok {
		return p.failed(ctx, u, network, errConfirm)
	}
	p.guard.Passed(account, network)
	return nil
}

// User returns one who may sign in.
func (p *People) User(ctx context.Context, id string) (User, error) {
	u, err := p.store.FindUser(ctx, id)
	switch {
	case errors.Is(err, notary.ErrNotFound) || err == nil && (u.ID != id || !u.DisabledAt.IsZero()):
		return User{}, errSignIn
	case err != nil:
		return User{}, down(err)
	}
	return u, nil
}

// Note adds to the audit trail what was done; id and time are filled in.
func (p *People) Note(ctx context.Context, d AuditEvent) error {
	d.ID, d.At = uuid.Must(uuid.NewV7()).String(), p.opt.Now().UTC()
	if err := p.store.Note(ctx, d); errors.Is(err, ErrRepeated) {
		return err
	} else if err != nil {
		return down(err)
	}
	return nil
}

// Events reads the audit trail, the newest first.
func (p *People) AuditEvents(ctx context.Context, f AuditFilter) ([]AuditEvent, error) {
	l, err := p.store.AuditEvents(ctx, f)
	if err != nil {
		return nil, down(err)
	}
	return l, nil
}

// FormKey names a form that was sent, for [AuditEvent.Form]: one of another session is another one.
func FormKey(session sm.Digest, form string) string {
	return sm.Sum([]byte("stele/form/v1\x00"), session[:], []byte(form)).String()
}

func down(err error) error {
	var e *notary.Error
	if errors.As(err, &e) {
		return err
	}
	return notary.Wrap(notary.CodeUnavailable, err, "The users cannot be reached at the moment; nothing was changed, "+
		"as far as is known. Look before you try again.")
}

// NormalizeLogin writes a login name in its one form.
func NormalizeLogin(typed string) string { return strings.ToLower(strings.TrimSpace(typed)) }

var validLogin = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{2,63}$`)
