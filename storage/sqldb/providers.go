package sqldb

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary/office/people"
)

var _ people.ProviderStore = (*People)(nil)

var providers = newTable("providers", func(p *people.Provider) []column {
	return []column{{"agency_id", &p.AgencyID}, {"issuer", &p.Issuer}, {"client_id", &p.ClientID},
		{"secret", &p.Sealed}, {"claim", &p.Claim}, {"strength", &p.Strength}, {"acr", &p.ACR},
		{"changed_at", moment{&p.ChangedAt}}}
})

// SetProvider implements [people.ProviderStore].
func (db *People) SetProvider(ctx context.Context, p people.Provider) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := providers.add(ctx, tx, "set provider", p, providers.replacing("agency_id"), nil); err != nil {
			return err
		}
		return run(ctx, tx, "remove identities of another issuer",
			`DELETE FROM identities WHERE agency_id = $1 AND issuer <> $2`, p.AgencyID, p.Issuer)
	})
}

// Provider implements [people.ProviderStore].
func (db *People) Provider(ctx context.Context, agencyID string) (people.Provider, error) {
	return providers.one(ctx, db.read, ` WHERE agency_id = $1`, agencyID)
}

// RemoveProvider implements [people.ProviderStore].
func (db *People) RemoveProvider(ctx context.Context, agencyID string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for _, q := range []string{`DELETE FROM identities WHERE agency_id = $1`,
			`DELETE FROM providers WHERE agency_id = $1`} {
			if err := run(ctx, tx, "remove provider", q, agencyID); err != nil {
				return err
			}
		}
		return nil
	})
}

// Link implements [people.ProviderStore].
func (db *People) Link(ctx context.Context, u people.User, issuer, subject string, at time.Time) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := run(ctx, tx, "link", `DELETE FROM identities WHERE user_id = $1`, u.ID); err != nil {
			return err
		}
		return execOne(ctx, tx, "link", people.ErrRepeated, `INSERT INTO identities (user_id, agency_id, issuer, `+
			`subject, linked_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, u.ID, u.AgencyID, issuer, subject,
			micros(at))
	})
}

// Linked implements [people.ProviderStore].
func (db *People) Linked(ctx context.Context, agencyID, issuer, subject string) (string, error) {
	return one(ctx, db.read, itself[string],
		`SELECT user_id FROM identities WHERE agency_id = $1 AND issuer = $2 AND subject = $3`, agencyID, issuer,
		subject)
}
