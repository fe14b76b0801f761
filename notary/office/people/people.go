// Package people is who uses the console: users with roles, how they prove who they are, and
// the trail of what they did. It knows no HTTP; server/http/console puts pages before it.
package people

import (
	"context"
	"errors"
	"slices"
	"time"

	"stele/crypto/sm"
)

// Role is what a user is there for.
type Role string

// The roles. An operator belongs to no agency: it runs the service, sees nobody's documents,
// and gives agencies their first admin.
const (
	Clerk    Role = "clerk"
	Approver Role = "approver"
	Admin    Role = "admin"
	Auditor  Role = "auditor" // sees everything of the agency and changes nothing
	Operator Role = "operator"
)

// Roles are all of them.
var Roles = []Role{Clerk, Approver, Admin, Auditor, Operator}

// Valid reports whether there is such a role.
func (r Role) Valid() bool { return slices.Contains(Roles, r) }

// NeedsFactor reports whether a role needs a second factor, except in a demo.
func (r Role) NeedsFactor() bool { return r == Admin || r == Approver || r == Operator }

// User is a person as stored.
type User struct {
	ID         string
	AgencyID   string // empty for operators
	Login      string // lower case, unique in the instance
	Name       string
	Role       Role
	Password   string      // argon2id, in the form of its reference program; empty: signs in otherwise, or not yet
	Initial    bool        // somebody else knows the password: it must be changed
	Factor     []byte      // sealed secret of the second factor; nil without one
	FactorStep int64       // time step of the last code that was used (RFC 6238)
	Recovery   []sm.Digest // of the recovery codes that are left
	CreatedAt  time.Time
	DisabledAt time.Time // zero: may sign in
	SignedInAt time.Time // zero: never
	Passkeys   int       // how many there are
	Linked     bool      // has an identity at the agency's provider
}

// HasCodes reports whether an authenticator app is set up.
func (u User) HasCodes() bool { return len(u.Factor) > 0 }

// HasFactor reports whether a second factor is set up: an app or a passkey.
func (u User) HasFactor() bool { return u.HasCodes() || u.Passkeys > 0 }

// forget takes every way to sign in away.
func (u *User) forget() {
	u.Password, u.Initial, u.Factor, u.FactorStep, u.Recovery, u.Passkeys, u.Linked = "", false, nil, 0, nil, 0, false
}

// Session is a signed-in browser as stored.
type Session struct {
	Digest    sm.Digest // of the token
	UserID    string
	Data      []byte
	Address   string // network of the browser when it signed in
	Agent     string // what the browser calls itself
	CreatedAt time.Time
	SeenAt    time.Time // within a minute
	ExpiresAt time.Time
}

// UserStore keeps users. Methods are safe for concurrent use, durable when they return, and do
// not retry. What is not there is [notary.ErrNotFound].
//
// AddUser answers [ErrLoginTaken] for a login name that is in use. FindUser takes an id or a
// login name. Users lists those of an agency by login name; of an empty agency, everybody.
// ChangeUser reads a user, lets change alter it and writes it back, in one transaction; an
// error of change leaves it as it was. Only name, role, password, factor and times change; who
// has no passkeys or identity afterwards loses those that there were.
type UserStore interface {
	AddUser(ctx context.Context, u User) error
	FindUser(ctx context.Context, idOrLogin string) (User, error)
	Users(ctx context.Context, agencyID string) ([]User, error)
	ChangeUser(ctx context.Context, id string, change func(*User) error) (User, error)
}

// SessionStore keeps sessions. Its contract is that of [UserStore].
//
// AddSession adds one and removes those of everybody that have ended. FindSession does not
// find one that has ended. TouchSession writes data and end of one that is there, and does
// nothing where it was ended meanwhile. Sessions lists a user's, the last used first.
// EndSessions ends those of a user; only one where one is given, all but keep otherwise.
type SessionStore interface {
	AddSession(ctx context.Context, s Session) error
	FindSession(ctx context.Context, digest sm.Digest) (Session, error)
	TouchSession(ctx context.Context, digest sm.Digest, data []byte, expiresAt time.Time) error
	Sessions(ctx context.Context, userID string) ([]Session, error)
	EndSessions(ctx context.Context, userID string, only, keep *sm.Digest) error
}

// AuditEvent is one row of the audit trail: who did what, when, from where, about what.
type AuditEvent struct {
	ID       string // sorts by time
	At       time.Time
	AgencyID string
	UserID   string
	Login    string
	Role     Role
	Act      Action
	About    string // id or number of what it is about
	Detail   string // never a secret
	Network  string // from where
	Outcome  string // empty: it was begun; otherwise the code of the error that it ended with
	Form     string // the form that was sent, unique; empty for none

	// Where it is sealed, see [Seal]; filled in where the trail is read.
	Seal     int64  // 0: not yet
	SealedIn string // number of the record; empty while the seal is being made
}

// Act names what somebody did.
type Action string

// Acts that no page has; those of pages stand in their table of routes.
const (
	ActSignIn Action = "sign_in"
	ActFailed Action = "sign_in_failed" // wrong password or code of somebody who exists
	ActCloned Action = "passkey_cloned" // a passkey counted backwards
	ActNobody Action = "sso_refused"    // somebody whom the agency's provider knows, and nobody here
	ActAdd    Action = "user_add"       // at the command line: with an initial password
	ActReset  Action = "user_reset"     // at the command line: to an initial password

	// At the command line, in the operators' trail, about an agency.
	ActAgencyRenew   Action = "agency_renew"
	ActAgencyRekey   Action = "agency_rekey"
	ActAgencyRevoke  Action = "agency_revoke" // a certificate
	ActAgencySuspend Action = "agency_suspend"
	ActAgencyResume  Action = "agency_resume"
	ActAgencyClose   Action = "agency_close"
	ActAgencyRename  Action = "agency_rename"
	ActAgencyExport  Action = "agency_export_key"
	ActAgencyImport  Action = "agency_import_key"
	ActKeysRewrap    Action = "keys_rewrap"
)

// Acts are those that stand in no table of pages.
var Acts = []Action{ActSignIn, ActFailed, ActCloned, ActNobody, ActAdd, ActReset, ActAgencyRenew, ActAgencyRekey,
	ActAgencyRevoke, ActAgencySuspend, ActAgencyResume,
	ActAgencyClose, ActAgencyRename, ActAgencyExport, ActAgencyImport, ActKeysRewrap}

// By is how somebody signed in, for the trail.
type By string

// The ways to sign in.
const (
	ByPassword     By = "password"
	ByCode         By = "code"
	ByPasskey      By = "passkey"
	ByInvitation   By = "invitation"
	BySingleSignOn By = "single sign-on"
)

// AuditFilter narrows the trail. Zero fields do not narrow.
type AuditFilter struct {
	AgencyID string
	Login    string
	Act      Action
	About    string
	From, To time.Time // at or after From, before To
	Before   string    // only rows with a smaller id: the cursor of the next page
	Limit    int
}

// Trail keeps the audit trail. Rows are only added.
//
// Note adds a row; it answers [ErrRepeated] when the row's form was noted before. Events lists
// the newest first. SignedInFrom reports whether a user has signed in from a network.
type AuditLog interface {
	Note(ctx context.Context, d AuditEvent) error
	AuditEvents(ctx context.Context, f AuditFilter) ([]AuditEvent, error)
	SignedInFrom(ctx context.Context, userID, network string) (bool, error)
}

// Errors of stores that callers tell apart.
var (
	ErrLoginTaken = errors.New("the login name is in use")
	ErrRepeated   = errors.New("the form was sent before")
)
