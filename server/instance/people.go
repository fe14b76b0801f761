package instance

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary/issue"
	"stele/notary/people"
	"stele/server/auth"
	"stele/server/console"
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
	in.people, err = people.New(in.DB, in.DB, in.DB, people.Options{Box: box, OptionalFactor: in.Config.Demo, Now: time.Now, Log: in.log})
	return err
}

// People are the users as a command manages them, who signs nobody in and so needs no key.
func (s *Stores) People(log *slog.Logger) (*people.People, error) {
	return people.New(s.DB, s.DB, s.DB, people.Options{OptionalFactor: true, Now: time.Now, Log: log})
}

// mountConsole serves the console.
func (in *Instance) mountConsole(r chi.Router, desk *auth.Desk, issuer *issue.Issuer, offline []byte, public string) error {
	_, err := console.New(r, console.Config{People: in.people, Agencies: in.DB, Archive: in.Archive, Counter: in.DB, Intake: in.Intake, Classes: in.Classes, Papers: in.Desk, Bulk: in.Bulk, PublicURL: public, ReadWait: in.Config.ReadTimeout, Issuer: issuer, Documents: in.Objects, Desk: desk,
		Webhooks: in.webhooks.endpoints, TrustJSON: in.trust, VerifyPage: offline, Operator: in.Config.Operator, Secure: strings.HasPrefix(public, "https://"), Now: time.Now, Log: in.log})
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}
