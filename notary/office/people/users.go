package people

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"stele/crypto/sm"
	"stele/notary"
)

const maxName = 100 // bytes

// check refuses settings of a user that are out of form. Operators are the users of no agency.
func check(login, name string, role Role, agencyID string) error {
	switch {
	case !validLogin.MatchString(login):
		return notary.InvalidField("login",
			"A login name has 3 to 64 of a-z, 0-9, '.', '_', '@' and '-', beginning with a letter or digit.")
	case !notary.ValidLine(name, maxName):
		return notary.InvalidField("name",
			"A name has 1 to %d bytes, no control characters and no white space at its ends.", maxName)
	case !role.Valid() || (role == Operator) != (agencyID == ""):
		return notary.InvalidField("role",
			"There is no such role here; an operator belongs to no agency, all others belong to one.")
	}
	return nil
}

// Add adds a user with a password that is somebody else's to know until it is changed. An
// empty password makes a random one, which is returned, this once.
func (p *People) Add(ctx context.Context, agencyID, login, name string, role Role, password string) (User, string,
	error) {
	login = NormalizeLogin(login)
	if err := check(login, name, role, agencyID); err != nil {
		return User{}, "", err
	}
	if password == "" {
		password = NewPassword()
	}
	hash, err := p.hasher.hash(ctx, password, login)
	if err != nil {
		return User{}, "", err
	}
	u, err := p.add(ctx, agencyID, login, name, role, hash)
	if err != nil {
		return User{}, "", err
	}
	return u, password, nil
}

// add adds a user; without the hash of a password, one who cannot sign in.
func (p *People) add(ctx context.Context, agencyID, login, name string, role Role, hash string) (User, error) {
	login = NormalizeLogin(login)
	if err := check(login, name, role, agencyID); err != nil {
		return User{}, err
	}
	u := User{ID: uuid.Must(uuid.NewV7()).String(), AgencyID: agencyID, Login: login, Name: name, Role: role,
		Password: hash, Initial: hash != "", CreatedAt: p.opt.Now().UTC()}
	if err := p.store.AddUser(ctx, u); errors.Is(err, ErrLoginTaken) {
		return User{}, notary.InvalidField("login", "The login name is in use. Nothing was saved.")
	} else if err != nil {
		return User{}, down(err)
	}
	return u, nil
}

// List lists the users of an agency; of an empty agency, everybody.
func (p *People) List(ctx context.Context, agencyID string) ([]User, error) {
	l, err := p.store.Users(ctx, agencyID)
	if err != nil {
		return nil, down(err)
	}
	return l, nil
}

var errNoUser = notary.Errorf(notary.CodeNotFound, "There is no such user.")

// Find finds a user by id or login name, in an agency or, where that is empty, anywhere.
func (p *People) Find(ctx context.Context, agencyID, idOrLogin string) (User, error) {
	u, err := p.store.FindUser(ctx, idOrLogin)
	if errors.Is(err, notary.ErrNotFound) || err == nil && agencyID != "" && u.AgencyID != agencyID {
		return User{}, errNoUser
	} else if err != nil {
		return User{}, down(err)
	}
	return u, nil
}

// change alters a user of an agency and ends all sessions of theirs: what they may do, or how
// they prove who they are, is another now.
func (p *People) change(ctx context.Context, agencyID, id string, change func(*User) error) (User, error) {
	if _, err := p.Find(ctx, agencyID, id); err != nil {
		return User{}, err
	}
	u, err := p.store.ChangeUser(ctx, id, change)
	if err != nil {
		return User{}, down(err)
	}
	if err := p.store.EndSessions(ctx, u.ID, nil, nil); err != nil {
		return User{}, down(err)
	}
	return u, nil
}

// SetRole gives a user another role. Operators stay what they are: they belong to no agency.
func (p *People) SetRole(ctx context.Context, agencyID, id string, role Role) error {
	_, err := p.change(ctx, agencyID, id, func(u *User) error {
		u.Role = role
		return check(u.Login, u.Name, role, u.AgencyID)
	})
	return err
}

// SetDisabled keeps a user from signing in, or lets them in again.
func (p *People) SetDisabled(ctx context.Context, agencyID, id string, disabled bool) error {
	_, err := p.change(ctx, agencyID, id, func(u *User) error {
		if disabled && u.DisabledAt.IsZero() {
			u.DisabledAt = p.opt.Now().UTC()
		} else if !disabled {
			u.DisabledAt = User{}.DisabledAt
		}
		return nil
	})
	return err
}

// Reset gives a user an initial password (a random one if none is given, returned this once)
// in the place of every way to sign in that they had, an open invitation among them: for who
// has lost them.
func (p *People) Reset(ctx context.Context, agencyID, id, password string) (string, error) {
	found, err := p.Find(ctx, agencyID, id)
	if err != nil {
		return "", err
	}
	if password == "" {
		password = NewPassword()
	}
	hash, err := p.hasher.hash(ctx, password, found.Login)
	if err != nil {
		return "", err
	}
	_, err = p.change(ctx, agencyID, found.ID, func(u *User) error {
		u.forget()
		u.Password, u.Initial = hash, true
		return nil
	})
	if err != nil {
		return "", err
	}
	if err := p.store.EndInvitation(ctx, found.ID); err != nil && !errors.Is(err, notary.ErrNotFound) {
		return "", down(err)
	}
	return password, nil
}

// Settle marks a password as the user's own, as nobody else is to know it: of a demo.
func (p *People) Settle(ctx context.Context, id string) error {
	_, err := p.store.ChangeUser(ctx, id, func(u *User) error {
		u.Initial = false
		return nil
	})
	return err
}

// SetPassword changes a user's own password and ends their other sessions.
func (p *People) SetPassword(ctx context.Context, id, old, password, network string, keep sm.Digest) error {
	u, err := p.User(ctx, id)
	if err != nil {
		return err
	}
	account := "confirm " + u.Login
	if err := p.try(ctx, id, account, network); err != nil {
		return err
	}
	if u.Password == "" {
		return notary.InvalidField("old", "There is no password to be changed.")
	}
	ok, err := p.hasher.matches(ctx, old, u.Password)
	switch {
	case err != nil:
		return err
	case !ok:
		return p.failed(ctx, u, network, notary.InvalidField("old", "This is not your present password."))
	case old == password:
		return notary.InvalidField("password", "The new password is the old one.")
	}
	p.guard.Passed(account, network)
	hash, err := p.hasher.hash(ctx, password, u.Login)
	if err != nil {
		return err
	}
	if _, err := p.store.ChangeUser(ctx, id, func(u *User) error {
		u.Password, u.Initial = hash, false
		return nil
	}); err != nil {
		return down(err)
	}
	if err := p.store.EndSessions(ctx, id, nil, &keep); err != nil {
		return down(err)
	}
	return nil
}

// Enrol sets up a second factor whose secret the user has put into an authenticator, which a
// code of it shows. It returns recovery codes, this once.
func (p *People) Enrol(ctx context.Context, id, secret, code string) ([]string, error) {
	codes, digests := newRecovery(id)
	_, err := p.store.ChangeUser(ctx, id, func(u *User) error {
		u.FactorStep, u.Recovery = 0, nil
		if !useCode(u, secret, code, p.opt.Now()) {
			return errCode
		}
		u.Factor, u.Recovery = p.opt.Box.Seal(factorPlace(id), []byte(secret)), digests
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	return codes, nil
}

// RemoveFactor takes a user's authenticator app away, unless the role needs a second factor and
// there is no other.
func (p *People) RemoveFactor(ctx context.Context, id string) error {
	_, err := p.store.ChangeUser(ctx, id, func(u *User) error {
		if u.Passkeys == 0 && p.NeedsFactor(*u) {
			return notary.Errorf(notary.CodeForbidden, "This role needs a second factor.")
		}
		if u.Factor = nil; u.Passkeys == 0 {
			u.Recovery = nil
		}
		return nil
	})
	if err != nil {
		return down(err)
	}
	return nil
}

// SealFactor keeps a secret that is being set up safe until it is confirmed; OpenFactor is its
// inverse.
func (p *People) SealFactor(id, secret string) []byte {
	return p.opt.Box.Seal("new "+factorPlace(id), []byte(secret))
}

// OpenFactor: see [People.SealFactor].
func (p *People) OpenFactor(id string, sealed []byte) (string, error) {
	b, err := p.opt.Box.Open("new "+factorPlace(id), sealed)
	return string(b), err
}
