package instance

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary/issue"
	"stele/notary/people"
	"stele/server/auth"
	"stele/server/console"
	"stele/server/sso"
	"stele/storage/sqldb"
)

// factorPurpose separates the key that seals second factors from others of the same source.
const factorPurpose = "stele/second-factors/v1"

// openPeople connects the users with their store. Second factors are sealed under a key that
// is derived from the one of webhooks: it is there on every server of an instance, and one
// more key file would have to be carried to each.
func (in *Instance) openPeople(key *sm.PrivateKey) error {
	box, err := seal.New(key, factorPurpose)
	if err != nil {
		return err
	}
	in.people, err = people.New(peopleStores(in.DB), people.Options{Box: box, OptionalFactor: in.Config.Demo, Now: time.Now, Log: in.log})
	return err
}

func peopleStores(db *sqldb.DB) people.Stores {
	return people.Stores{Users: db, Sessions: db, Trail: db, Invitations: db, Passkeys: db, Providers: db, Attempts: db}
}

// People are the users as a command manages them, who signs nobody in and so needs no key.
func (s *Stores) People(log *slog.Logger) (*people.People, error) {
	return people.New(peopleStores(s.DB), people.Options{OptionalFactor: true, Now: time.Now, Log: log})
}

// InvitationLink is what an invited person opens.
func (s *Stores) InvitationLink(token string) string {
	return console.InvitationLink(publicURL(s.Config), token)
}

// mountConsole serves the console.
func (in *Instance) mountConsole(r chi.Router, m *metrics, desk *auth.Desk, issuer *issue.Issuer, offline []byte, public string, stopping <-chan struct{}) error {
	policy, err := in.Config.webhookPolicy()
	if err != nil {
		return err
	}
	_, err = console.New(r, console.Config{People: in.people, Agencies: in.DB, Archive: in.Archive, Statistics: in.DB, Searches: in.DB, Seals: in.DB, Eraser: in.eraser, Progress: in.Progress, Stopping: stopping,
		Classes: in.Classes, Papers: in.Desk, Bulk: in.Bulk, Uploads: in.Uploads, ReadTimeout: in.Config.ReadTimeout, SealBook: in.DB, Stamps: in.stamps, Issuer: issuer, Documents: in.Objects, Desk: desk,
		Webhooks: in.webhooks.endpoints, TrustJSON: in.trust, VerifyPage: offline, Operator: in.Config.Operator, PublicURL: public, SSO: sso.New(policy, time.Now), SignInFailed: m.signInFailed,
		CertificateEnds: in.agencies.CertificateEnds, Now: time.Now, Log: in.log})
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}
