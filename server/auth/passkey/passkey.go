// Package passkey speaks Web Authentication (W3C, Level 3) with browsers: what they are asked
// to sign, and whether they did. Who the keys belong to is package people's.
package passkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"stele/notary"
	"stele/notary/office/people"
)

// Why passkeys are not to be had at an address.
var (
	ErrNoName   = errors.New("passkeys belong to a domain name, and this service is reached by an IP address")
	ErrInsecure = errors.New("browsers use passkeys over https only")
)

// MaxAnswer bounds what a browser sends, in bytes: an attestation with certificates takes a few
// thousand.
const MaxAnswer = 32 << 10

// RelyingParty asks and checks. It is immutable and safe for concurrent use.
type RelyingParty struct{ rp *webauthn.WebAuthn }

// New returns the desk of a service that the world reaches at a URL. The relying party is its
// host name; answers for any other origin are refused.
func New(publicURL, name string) (*RelyingParty, error) {
	u, err := url.Parse(publicURL)
	if err != nil {
		return nil, fmt.Errorf("public URL: %w", err)
	}
	host := u.Hostname()
	switch {
	case host == "" || net.ParseIP(host) != nil:
		return nil, ErrNoName
	case u.Scheme != "https" && host != "localhost": // which browsers take for safe
		return nil, ErrInsecure
	}
	residentKey := true
	rp, err := webauthn.New(&webauthn.Config{
		RPID: strings.ToLower(host), RPDisplayName: name, RPOrigins: []string{u.Scheme + "://" + u.Host},
		// Who made the authenticator is nothing that we would act on, and asking for it asks the
		// person for one more consent.
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: &residentKey,
			UserVerification:   protocol.VerificationRequired},
		Timeouts: webauthn.TimeoutsConfig{Login: webauthn.TimeoutConfig{Timeout: people.AttemptTime,
			TimeoutUVD: people.AttemptTime},
			Registration: webauthn.TimeoutConfig{Timeout: people.AttemptTime, TimeoutUVD: people.AttemptTime}},
		// A browser's extension that adds an output nobody asked for does no harm.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("web authentication at %s: %w", host, err)
	}
	return &RelyingParty{rp}, nil
}

// owner is a user with their passkeys as the library wants to see them.
type owner struct {
	people.User
	keys []people.Passkey
}

// WebAuthnID implements webauthn.User: the user handle, which says nothing about the person.
func (o owner) WebAuthnID() []byte { return []byte(o.ID) }

// WebAuthnName implements webauthn.User.
func (o owner) WebAuthnName() string { return o.Login }

// WebAuthnDisplayName implements webauthn.User.
func (o owner) WebAuthnDisplayName() string { return o.Name }

// WebAuthnCredentials implements webauthn.User.
func (o owner) WebAuthnCredentials() []webauthn.Credential {
	out := make([]webauthn.Credential, len(o.keys))
	for i, k := range o.keys {
		flags := protocol.FlagUserPresent | protocol.FlagUserVerified
		if k.Eligible {
			flags |= protocol.FlagBackupEligible
		}
		if k.BackedUp {
			flags |= protocol.FlagBackupState
		}
		out[i] = webauthn.Credential{ID: k.ID, PublicKey: k.PublicKey, Flags: webauthn.NewCredentialFlags(flags),
			Authenticator: webauthn.Authenticator{SignCount: k.Counter}}
		for _, t := range k.Transports {
			out[i].Transport = append(out[i].Transport, protocol.AuthenticatorTransport(t))
		}
	}
	return out
}

// errAnswer is one answer for whatever was wrong with a browser's: which of some thirty checks
// it was helps an attacker only.
func errAnswer(err error) error {
	e := notary.Wrap(notary.CodeInvalid, err, "The passkey's answer is not the one that was asked for.")
	e.Field = "passkey"
	return e
}

// BeginRegistration returns what a browser needs to make a key for a user, as JSON, and what
// has to be kept until its answer comes. Keys that are there are not made again.
func (d *RelyingParty) BeginRegistration(u people.User, has []people.Passkey) (options, kept []byte, err error) {
	o := owner{u, has}
	exclude := make([]protocol.CredentialDescriptor, 0, len(has))
	for _, c := range o.WebAuthnCredentials() {
		exclude = append(exclude, c.Descriptor())
	}
	creation, session, err := d.rp.BeginRegistration(o, webauthn.WithExclusions(exclude))
	if err != nil {
		return nil, nil, fmt.Errorf("begin a registration: %w", err)
	}
	return pair(creation.Response, session)
}

func pair(options any, session *webauthn.SessionData) (a, b []byte, err error) {
	if a, err = json.Marshal(options); err != nil {
		return nil, nil, err
	}
	b, err = json.Marshal(session)
	return a, b, err
}

// FinishRegistration checks a browser's answer and returns the key that was made.
func (d *RelyingParty) FinishRegistration(u people.User, kept, answer []byte) (people.Passkey, error) {
	var session webauthn.SessionData
	if err := json.Unmarshal(kept, &session); err != nil {
		return people.Passkey{}, fmt.Errorf("read what was kept: %w", err)
	}
	if len(answer) > MaxAnswer {
		return people.Passkey{}, errAnswer(errors.New("too long"))
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return people.Passkey{}, errAnswer(err)
	}
	c, err := d.rp.CreateCredential(owner{u, nil}, session, parsed)
	if err != nil {
		return people.Passkey{}, errAnswer(err)
	}
	k := people.Passkey{ID: c.ID, UserID: u.ID, PublicKey: c.PublicKey, Counter: c.Authenticator.SignCount,
		Eligible: c.Flags.BackupEligible, BackedUp: c.Flags.BackupState}
	for _, t := range c.Transport {
		if knownTransports[t] {
			k.Transports = append(k.Transports, string(t))
		}
	}
	return k, nil
}

// knownTransports are those that are kept: a browser can send any text as one.
var knownTransports = map[protocol.AuthenticatorTransport]bool{protocol.USB: true, protocol.NFC: true,
	protocol.BLE: true, protocol.Hybrid: true, protocol.Internal: true, protocol.SmartCard: true}

// BeginSignIn returns what a browser needs to find a key and sign with it, as JSON, and what
// has to be kept. Without keys, any key of the service that the authenticator has will do.
func (d *RelyingParty) BeginSignIn(u people.User, has []people.Passkey) (options, kept []byte, err error) {
	var (
		assertion *protocol.CredentialAssertion
		session   *webauthn.SessionData
	)
	if len(has) == 0 {
		assertion, session, err = d.rp.BeginDiscoverableLogin()
	} else {
		assertion, session, err = d.rp.BeginLogin(owner{u, has})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("begin a sign-in: %w", err)
	}
	return pair(assertion.Response, session)
}

// Find finds whose a key is, by the user handle that the authenticator keeps and the key's id.
type Find func(userHandle string, id []byte) (people.User, []people.Passkey, error)

// Signed is what an answer has shown.
type Signed struct {
	User     people.User
	Key      []byte // id of the passkey
	Counter  uint32 // of its signatures; the caller refuses one that did not grow
	BackedUp bool
}

// FinishSignIn checks a browser's answer. The error of find comes back as it is.
func (d *RelyingParty) FinishSignIn(kept, answer []byte, find Find) (Signed, error) {
	var session webauthn.SessionData
	if err := json.Unmarshal(kept, &session); err != nil {
		return Signed{}, fmt.Errorf("read what was kept: %w", err)
	}
	if len(answer) > MaxAnswer {
		return Signed{}, errAnswer(errors.New("too long"))
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return Signed{}, errAnswer(err)
	}
	handle := string(parsed.Response.UserHandle)
	if handle == "" { // an authenticator need not say whose a key is that it was asked for by id
		handle = string(session.UserID)
	}
	if len(session.UserID) > 0 && handle != string(session.UserID) {
		return Signed{}, errAnswer(errors.New("the key is another user's"))
	}
	u, keys, err := find(handle, parsed.RawID)
	if err != nil {
		return Signed{}, err
	}
	o := owner{u, keys}
	var c *webauthn.Credential
	if len(session.UserID) > 0 {
		c, err = d.rp.ValidateLogin(o, session, parsed)
	} else {
		_, c, err = d.rp.ValidatePasskeyLogin(func([]byte, []byte) (webauthn.User, error) { return o, nil }, session,
			parsed)
	}
	if err != nil {
		return Signed{}, errAnswer(err)
	}
	return Signed{User: u, Key: c.ID, Counter: parsed.Response.AuthenticatorData.Counter,
		BackedUp: c.Flags.BackupState}, nil
}
