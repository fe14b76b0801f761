package people

import (
	"context"
	"errors"
	"slices"
	"time"

	"stele/notary"
)

// MaxPasskeys is how many a user can have.
const MaxPasskeys = 20

// Passkey is the public half of a key in somebody's authenticator (Web Authentication Level 3,
// section 4, credential record). Who signs with it has shown the authenticator and, to that, a
// finger, face or PIN: two factors at once.
type Passkey struct {
	ID         []byte
	UserID     string
	Name       string // as its owner calls it
	PublicKey  []byte // COSE_Key
	Transports []string
	Counter    uint32 // of signatures; 0 for authenticators that do not count
	Eligible   bool   // it can be copied to other devices of its owner
	BackedUp   bool   // it was
	CreatedAt  time.Time
	UsedAt     time.Time // zero: never
}

// PasskeyStore keeps passkeys. Its contract is that of [UserStore].
//
// AddPasskey answers [ErrRepeated] for an id that is there. Passkeys lists a user's, the
// oldest first. ChangePasskey lets change alter counter, copies and use of one, in one
// transaction; an error of change leaves it as it was. RemovePasskey asks may with its owner,
// as they are before it, and takes it out if that gives no error, in one transaction.
type PasskeyStore interface {
	AddPasskey(ctx context.Context, k Passkey) error
	Passkeys(ctx context.Context, userID string) ([]Passkey, error)
	ChangePasskey(ctx context.Context, id []byte, change func(*Passkey) error) (Passkey, error)
	RemovePasskey(ctx context.Context, userID string, id []byte, may func(User) error) error
}

// Passkeys lists a user's passkeys, the oldest first.
func (p *People) Passkeys(ctx context.Context, userID string) ([]Passkey, error) {
	l, err := p.store.Passkeys(ctx, userID)
	if err != nil {
		return nil, down(err)
	}
	return l, nil
}

// AddPasskey adds a passkey whose owner has just signed with it. Who has no recovery codes yet
// gets some, this once.
func (p *People) AddPasskey(ctx context.Context, k Passkey) ([]string, error) {
	if !notary.ValidLine(k.Name, maxName) {
		return nil, notary.InvalidField("name",
			"A name has 1 to %d bytes, no control characters and no white space at its ends.", maxName)
	}
	has, err := p.Passkeys(ctx, k.UserID)
	if err != nil {
		return nil, err
	}
	if len(has) >= MaxPasskeys {
		return nil, notary.Errorf(notary.CodeConflict, "There are %d passkeys already.", MaxPasskeys)
	}
	k.CreatedAt, k.UsedAt = p.opt.Now().UTC(), Passkey{}.UsedAt
	if err := p.store.AddPasskey(ctx, k); errors.Is(err, ErrRepeated) {
		return nil, notary.Errorf(notary.CodeConflict, "The passkey is registered already.")
	} else if err != nil {
		return nil, down(err)
	}
	codes, digests := newRecovery(k.UserID)
	_, err = p.store.ChangeUser(ctx, k.UserID, func(u *User) error {
		if len(u.Recovery) > 0 {
			codes = nil
			return nil
		}
		u.Recovery = digests
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	return codes, nil
}

// RemovePasskey takes a passkey away, unless it is the last second factor of a role that needs
// one, or the only way in.
func (p *People) RemovePasskey(ctx context.Context, userID string, id []byte) error {
	err := p.store.RemovePasskey(ctx, userID, id, func(u User) error {
		last := u.Passkeys == 1
		switch {
		case last && p.NeedsFactor(u) && !u.HasCodes():
			return notary.InvalidField("last", "It is the last second factor, and this role needs one.")
		case last && u.Password == "" && !u.Linked:
			return notary.InvalidField("only", "It is the only way to sign in.")
		}
		return nil
	})
	if errors.Is(err, notary.ErrNotFound) {
		return notary.Errorf(notary.CodeNotFound, "There is no such passkey.")
	} else if err != nil {
		return down(err)
	}
	return nil
}

// ErrCloned means that an authenticator counted backwards: there are two of it.
var ErrCloned error = &notary.Error{Code: notary.CodeForbidden, Field: "cloned",
	Message: "The passkey's counter went back: a copy of it may be in use."}

// UsePasskey notes that a passkey has signed, with the counter and copies that it told. A
// counter that did not grow is refused, and the trail says so (Web Authentication Level 3,
// section 6.1.1): whoever uses the copy gets no further than its owner.
func (p *People) UsePasskey(ctx context.Context, u User, id []byte, counter uint32, backedUp bool,
	network string) error {
	_, err := p.store.ChangePasskey(ctx, id, func(k *Passkey) error {
		if k.UserID != u.ID {
			return notary.ErrNotFound
		}
		if (counter > 0 || k.Counter > 0) && counter <= k.Counter {
			return ErrCloned
		}
		k.Counter, k.BackedUp, k.UsedAt = counter, backedUp, p.opt.Now().UTC()
		return nil
	})
	switch {
	case errors.Is(err, ErrCloned):
		if nerr := p.note(ctx, u, ActCloned, network, ""); nerr != nil {
			return nerr
		}
		return ErrCloned
	case errors.Is(err, notary.ErrNotFound):
		return errSignIn
	case err != nil:
		return down(err)
	}
	return nil
}

// SignInPasskey completes a sign-in with a passkey that was used.
func (p *People) SignInPasskey(ctx context.Context, id, network string) (User, error) {
	if _, err := p.User(ctx, id); err != nil {
		return User{}, err
	}
	return p.signedIn(ctx, id, network, ByPasskey)
}

// Owner returns who may sign in with a passkey, by its user handle, and their passkeys.
func (p *People) Owner(ctx context.Context, userHandle string, id []byte) (User, []Passkey, error) {
	u, err := p.User(ctx, userHandle)
	if err != nil {
		return User{}, nil, err
	}
	list, err := p.Passkeys(ctx, u.ID)
	if err != nil {
		return User{}, nil, err
	}
	if !slices.ContainsFunc(list, func(k Passkey) bool { return slices.Equal(k.ID, id) }) {
		return User{}, nil, errSignIn
	}
	return u, list, nil
}
