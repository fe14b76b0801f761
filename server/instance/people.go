package instance

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/crypto/keystore"
	"stele/crypto/seal"
	"stele/notary/issue"
	"stele/notary/office/people"
	"stele/server/auth"
	"stele/server/auth/sso"
	"stele/server/http/console"
)

// factorPurpose separates the key that seals second factors from others of the same source.
const factorPurpose = "stele/second-factors/v1"

// openPeople connects users and API keys with their store. Second factors are sealed under a key that
// is derived from the one of webhooks.
func (in *Instance) openPeople(_ context.Context, _ keystore.Secret) error {
	box, err := seal.New(in.webhooks.private, factorPurpose)
	if err != nil {
		return err
	}
	in.people, err = people.New(in.DB.People, people.Options{Box: box, OptionalFactor: in.Config.Demo,
		Now: time.Now, Log: in.log})
	if err != nil {
		return err
	}
	in.usage = auth.NewUsage(in.DB.People, in.Config.RequestsPerMinute, time.Now, in.log, in.outages)
	in.jobs.add(stageOffice, "API key usage", in.usage.Run)
	return nil
}

// People are the users as a command manages them, who signs nobody in and so needs no key.
func (s *Stores) People(log *slog.Logger) (*people.People, error) {
	return people.New(s.DB.People, people.Options{OptionalFactor: true, Now: time.Now, Log: log})
}

// InvitationLink is what an invited person opens.
func (s *Stores) InvitationLink(token string) string {
	return console.InvitationLink(publicURL(s.Config), token)
}

// mountConsole serves the console.
func (in *Instance) mountConsole(r chi.Router, m *metrics, desk *auth.KeyService, issuer *issue.Issuer, offline []byte,
	public string, stopping <-chan struct{}) error {
	policy, err := in.Config.webhookPolicy()
	if err != nil {
		return err
	}
	_, err = console.New(r, console.Config{People: in.people, Agencies: in.DB.Log, Archive: in.Archive,
		Statistics: in.DB.Log,
		Searches:   in.DB.Office, Seals: in.DB.People, Eraser: in.eraser, Progress: in.Progress, Stopping: stopping,
		Classes: in.Classes, Papers: in.Desk, Bulk: in.Bulk, Uploads: in.Uploads, ReadTimeout: in.Config.ReadTimeout,
		SealBook: in.DB.Office, Stamps: in.stamps, Issuer: issuer, Documents: in.Objects, Desk: desk,
		Webhooks: in.webhooks.endpoints, TrustJSON: in.trust, VerifyPage: offline, Operator: in.Config.Operator,
		PublicURL: public, SSO: sso.New(policy, time.Now), SignInFailed: m.signInFailed,
		CertificateEnds: in.agencies.CertificateEnds, Now: time.Now, Log: in.log})
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}
