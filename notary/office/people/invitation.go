package people

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"stele/crypto/sm"
	"stele/notary"
)

// InvitationTime is how long an invitation is good for.
const InvitationTime = 72 * time.Hour

// Invitation is a one-time link as stored, by which a person says how they sign in.
type Invitation struct {
	UserID    string
	Digest    sm.Digest // of the token in the link
	By        string    // login name of who invites
	CreatedAt time.Time
	ExpiresAt time.Time
}

// InvitationStore keeps invitations. Its contract is that of [UserStore].
//
// AddInvitation adds one; one that the user has already is replaced. FindInvitation does not
// find one that has expired. Invitations lists those of an agency that are open; of an empty
// agency, everybody's. UseInvitation takes an invitation that has not expired out and changes
// its user, in one transaction, as ChangeUser does: of several callers one succeeds.
// EndInvitation takes a user's out, and the user too who has no way to sign in and never did.
type InvitationStore interface {
	AddInvitation(ctx context.Context, i Invitation) error
	FindInvitation(ctx context.Context, digest sm.Digest) (Invitation, error)
	Invitations(ctx context.Context, agencyID string) ([]Invitation, error)
	UseInvitation(ctx context.Context, digest sm.Digest, change func(*User) error) (User, error)
	EndInvitation(ctx context.Context, userID string) error
}

func invitationDigest(token string) sm.Digest {
	return sm.Sum([]byte("stele/invitation/v1\x00"), []byte(token))
}

// invite makes the link's token, which is given out this once.
func (p *People) invite(ctx context.Context, userID, by string) (string, error) {
	token, now := rand.Text(), p.opt.Now().UTC()
	i := Invitation{UserID: userID, Digest: invitationDigest(token), By: by, CreatedAt: now,
		ExpiresAt: now.Add(InvitationTime)}
	if err := p.store.AddInvitation(ctx, i); err != nil {
		return "", down(err)
	}
	return token, nil
}

// Invite adds a user who cannot sign in yet and returns the token of the link by which they
// choose how, this once. by is the login name of who invites.
func (p *People) Invite(ctx context.Context, agencyID, login, name string, role Role, by string) (User, string, error) {
	u, err := p.add(ctx, agencyID, login, name, role, "")
	if err != nil {
		return User{}, "", err
	}
	token, err := p.invite(ctx, u.ID, by)
	return u, token, err
}

// InviteAgain takes every way to sign in away from a user, ends their sessions and returns the
// token of a link by which they choose anew: for who has lost a password or a device.
func (p *People) InviteAgain(ctx context.Context, agencyID, id, by string) (User, string, error) {
	u, err := p.change(ctx, agencyID, id, func(u *User) error {
		u.forget()
		return nil
	})
	if err != nil {
		return User{}, "", err
	}
	token, err := p.invite(ctx, u.ID, by)
	return u, token, err
}

// Withdraw ends a user's invitation. A user who never signed in is removed with it, and the
// login name is free again.
func (p *People) Withdraw(ctx context.Context, agencyID, id string) error {
	u, err := p.Find(ctx, agencyID, id)
	if err != nil {
		return err
	}
	if err := p.store.EndInvitation(ctx, u.ID); errors.Is(err, notary.ErrNotFound) {
		return notary.Errorf(notary.CodeConflict, "There is no open invitation.")
	} else if err != nil {
		return down(err)
	}
	return nil
}

// Invitations lists the open invitations of an agency, or of everybody, by user.
func (p *People) Invitations(ctx context.Context, agencyID string) (map[string]Invitation, error) {
	l, err := p.store.Invitations(ctx, agencyID)
	if err != nil {
		return nil, down(err)
	}
	out := make(map[string]Invitation, len(l))
	for _, i := range l {
		out[i.UserID] = i
	}
	return out, nil
}

// ErrNoInvitation is the one answer for tokens that were never given out, were used or
// withdrawn, or have expired.
var ErrNoInvitation = notary.Errorf(notary.CodeNotFound, "The invitation is not open.")

// Invited returns who a token invites. Looking does not use it up: programs follow links too.
func (p *People) Invited(ctx context.Context, token string) (Invitation, User, error) {
	i, err := p.store.FindInvitation(ctx, invitationDigest(token))
	if errors.Is(err, notary.ErrNotFound) {
		return Invitation{}, User{}, ErrNoInvitation
	} else if err != nil {
		return Invitation{}, User{}, down(err)
	}
	u, err := p.User(ctx, i.UserID)
	if notary.CodeOf(err) == notary.CodeUnauthorized {
		err = ErrNoInvitation // the user was disabled meanwhile
	}
	return i, u, err
}

// Accept uses an invitation up: the person has chosen a password, and is signed in.
func (p *People) Accept(ctx context.Context, token, password, network string) (User, error) {
	_, u, err := p.Invited(ctx, token)
	if err != nil {
		return User{}, err
	}
	hash, err := p.hasher.hash(ctx, password, u.Login)
	if err != nil {
		return User{}, err
	}
	return p.accept(ctx, token, network, func(u *User) { u.Password, u.Initial = hash, false })
}

func (p *People) accept(ctx context.Context, token, network string, settle func(*User)) (User, error) {
	u, err := p.store.UseInvitation(ctx, invitationDigest(token), func(u *User) error {
		if !u.DisabledAt.IsZero() {
			return ErrNoInvitation
		}
		settle(u)
		return nil
	})
	if errors.Is(err, notary.ErrNotFound) {
		return User{}, ErrNoInvitation
	} else if err != nil {
		return User{}, down(err)
	}
	return p.signedIn(ctx, u.ID, network, ByInvitation)
}
