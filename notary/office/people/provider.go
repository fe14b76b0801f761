package people

import (
	"context"
	"errors"
	"slices"
	"time"

	"stele/notary"
)

// Strength says whether single sign-on counts as a second factor.
type Strength string

// The strengths.
const (
	StrengthNever Strength = "never" // who needs a second factor shows it here
	// where the provider says so: amr has "mfa" (RFC 8176), or acr is the one asked for
	StrengthClaimed Strength = "claimed"
	StrengthAlways  Strength = "always" // the provider lets nobody in without one
)

// Strengths are all of them.
var Strengths = []Strength{StrengthNever, StrengthClaimed, StrengthAlways}

// Provider is an agency's OpenID Connect provider.
type Provider struct {
	AgencyID  string
	Issuer    string
	ClientID  string
	Sealed    []byte // the client's secret; nil for a client without one
	Claim     string // must equal the login name when an identity is linked; empty for none
	Strength  Strength
	ACR       string // what is asked for, and counts for StrengthClaimed; may be empty
	ChangedAt time.Time
}

// Identity is who a person is at their agency's provider, as an ID token says.
type Identity struct {
	Issuer  string
	Subject string
	Claim   string // the value of the provider's claim; untrusted but for comparing
	Name    string // to show to the person; untrusted
	Strong  bool   // counts as a second factor
}

// ProviderStore keeps providers and identities. Its contract is that of [UserStore].
//
// SetProvider writes an agency's provider; identities of another issuer go. Provider finds it.
// RemoveProvider takes it out, with its identities. Link makes an identity a user's, in the
// place of one they had; it answers [ErrRepeated] when it is another user's. Linked finds
// whose an identity is.
type ProviderStore interface {
	SetProvider(ctx context.Context, p Provider) error
	Provider(ctx context.Context, agencyID string) (Provider, error)
	RemoveProvider(ctx context.Context, agencyID string) error
	Link(ctx context.Context, u User, issuer, subject string, at time.Time) error
	Linked(ctx context.Context, agencyID, issuer, subject string) (userID string, err error)
}

func clientPlace(agencyID string) string { return "client of " + agencyID }

// Provider returns an agency's provider, and whether it has one.
func (p *People) Provider(ctx context.Context, agencyID string) (Provider, bool, error) {
	out, err := p.store.Provider(ctx, agencyID)
	if errors.Is(err, notary.ErrNotFound) {
		return Provider{}, false, nil
	} else if err != nil {
		return Provider{}, false, down(err)
	}
	return out, true, nil
}

// ClientSecret opens the secret with which the service shows a provider who it is.
func (p *People) ClientSecret(o Provider) (string, error) {
	if len(o.Sealed) == 0 {
		return "", nil
	}
	b, err := p.opt.Box.Open(clientPlace(o.AgencyID), o.Sealed)
	return string(b), err
}

// Bounds of a provider's settings in bytes.
const (
	maxIssuer   = 500
	maxClientID = 255
	maxSecret   = 1000
	maxClaim    = 64
)

// CheckProvider refuses settings that are out of form and seals the secret. Without a new
// secret the one before stays.
func (p *People) CheckProvider(ctx context.Context, o Provider, secret string) (Provider, error) {
	before, _, err := p.Provider(ctx, o.AgencyID)
	if err != nil {
		return Provider{}, err
	}
	switch {
	case !notary.ValidLine(o.Issuer, maxIssuer):
		return Provider{}, notary.InvalidField("issuer", "The issuer is an https URL.")
	case !notary.ValidLine(o.ClientID, maxClientID):
		return Provider{}, notary.InvalidField("client", "The client id has 1 to %d bytes.", maxClientID)
	case len(secret) > maxSecret:
		return Provider{}, notary.InvalidField("secret", "The client's secret has at most %d bytes.", maxSecret)
	case o.Claim != "" && !notary.ValidLine(o.Claim, maxClaim):
		return Provider{}, notary.InvalidField("claim", "The claim has at most %d bytes.", maxClaim)
	case o.ACR != "" && !notary.ValidLine(o.ACR, maxClientID):
		return Provider{}, notary.InvalidField("acr", "The acr value has at most %d bytes.", maxClientID)
	case !slices.Contains(Strengths, o.Strength):
		return Provider{}, notary.InvalidField("strength", "There is no such choice.")
	}
	o.ChangedAt = p.opt.Now().UTC()
	switch {
	case secret != "":
		o.Sealed = p.opt.Box.Seal(clientPlace(o.AgencyID), []byte(secret))
	case before.Issuer == o.Issuer && before.ClientID == o.ClientID: // a secret goes to whom it was meant for
		o.Sealed = before.Sealed
	}
	return o, nil
}

// SetProvider keeps settings that [People.CheckProvider] has passed.
func (p *People) SetProvider(ctx context.Context, o Provider) error {
	if err := p.store.SetProvider(ctx, o); err != nil {
		return down(err)
	}
	return nil
}

// RemoveProvider ends an agency's single sign-on. Who signs in by nothing else needs a new
// invitation.
func (p *People) RemoveProvider(ctx context.Context, agencyID string) error {
	if err := p.store.RemoveProvider(ctx, agencyID); err != nil {
		return down(err)
	}
	return nil
}

var (
	errOtherLogin = notary.InvalidField("other_login", "The account at the provider belongs to another login name.")
	errLinked     = &notary.Error{Code: notary.CodeConflict, Field: "linked",
		Message: "The account at the provider belongs to another person here already."}
)

// fits refuses an identity whose claim names somebody else.
func fits(o Provider, u User, id Identity) error {
	if o.AgencyID != u.AgencyID || o.Issuer != id.Issuer || o.Claim != "" && NormalizeLogin(id.Claim) != u.Login {
		return errOtherLogin
	}
	return nil
}

// Link makes an identity a user's, after the person has said that it is theirs.
func (p *People) Link(ctx context.Context, o Provider, userID string, id Identity) error {
	u, err := p.User(ctx, userID)
	if err != nil {
		return err
	}
	if err := fits(o, u, id); err != nil {
		return err
	}
	return p.link(ctx, u, id)
}

func (p *People) link(ctx context.Context, u User, id Identity) error {
	if err := p.store.Link(ctx, u, id.Issuer, id.Subject, p.opt.Now().UTC()); errors.Is(err, ErrRepeated) {
		return errLinked
	} else if err != nil {
		return down(err)
	}
	return nil
}

// Unlink takes a user's identity away, unless it is the only way to sign in.
func (p *People) Unlink(ctx context.Context, userID string) error {
	_, err := p.store.ChangeUser(ctx, userID, func(u *User) error {
		if u.Password == "" && u.Passkeys == 0 {
			return notary.InvalidField("only", "It is the only way to sign in.")
		}
		u.Linked = false
		return nil
	})
	if err != nil {
		return down(err)
	}
	return nil
}

// AcceptIdentity uses an invitation up: the person signs in at the provider from now on.
func (p *People) AcceptIdentity(ctx context.Context, o Provider, token string, id Identity, network string) (User,
	error) {
	_, u, err := p.Invited(ctx, token)
	if err != nil {
		return User{}, err
	}
	if err := fits(o, u, id); err != nil {
		return User{}, err
	}
	if err := p.link(ctx, u, id); err != nil {
		return User{}, err
	}
	return p.accept(ctx, token, network, func(u *User) { u.Initial = false })
}

// ErrNotLinked means that nobody here has said that this is them.
var ErrNotLinked error = &notary.Error{Code: notary.CodeForbidden, Field: "not_linked",
	Message: "The account at the provider is nobody's here."}

// WhoIs returns whose an identity is.
func (p *People) WhoIs(ctx context.Context, o Provider, id Identity) (User, error) {
	userID, err := p.store.Linked(ctx, o.AgencyID, id.Issuer, id.Subject)
	if errors.Is(err, notary.ErrNotFound) {
		return User{}, ErrNotLinked
	} else if err != nil {
		return User{}, down(err)
	}
	u, err := p.User(ctx, userID)
	if err == nil && u.AgencyID != o.AgencyID {
		err = ErrNotLinked
	}
	return u, err
}

// SignInIdentity signs in whose an identity is. Who has to show a second factor here is not
// signed in by this alone: shows says whether.
func (p *People) SignInIdentity(ctx context.Context, u User, id Identity, network string) (shows bool, err error) {
	if !id.Strong && u.HasFactor() {
		return true, nil
	}
	_, err = p.signedIn(ctx, u.ID, network, BySingleSignOn)
	return false, err
}
