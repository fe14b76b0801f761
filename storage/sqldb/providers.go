package sqldb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/people"
)

var _ people.ProviderStore = (*DB)(nil)

type providerRow struct {
	AgencyID  string `db:"agency_id"`
	Issuer    string `db:"issuer"`
	ClientID  string `db:"client_id"`
	Sealed    []byte `db:"secret"`
	Claim     string `db:"claim"`
	Strength  string `db:"strength"`
	ACR       string `db:"acr"`
	ChangedAt int64  `db:"changed_at"`
}

// SetProvider implements [people.ProviderStore].
func (db *DB) SetProvider(ctx context.Context, p people.Provider) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.NamedExecContext(ctx, `INSERT INTO providers (agency_id, issuer, client_id, secret, claim, strength, acr, changed_at)
			VALUES (:agency_id, :issuer, :client_id, :secret, :claim, :strength, :acr, :changed_at)
			ON CONFLICT (agency_id) DO UPDATE SET issuer = excluded.issuer, client_id = excluded.client_id, secret = excluded.secret, claim = excluded.claim, strength = excluded.strength,
			acr = excluded.acr, changed_at = excluded.changed_at`,
			providerRow{p.AgencyID, p.Issuer, p.ClientID, p.Sealed, p.Claim, string(p.Strength), p.ACR, micros(p.ChangedAt)}); err != nil {
			return fmt.Errorf("set provider: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM identities WHERE agency_id = $1 AND issuer <> $2`, p.AgencyID, p.Issuer); err != nil {
			return fmt.Errorf("remove identities of another issuer: %w", err)
		}
		return nil
	})
}

// Provider implements [people.ProviderStore].
func (db *DB) Provider(ctx context.Context, agencyID string) (people.Provider, error) {
	var r providerRow
	if err := db.read.GetContext(ctx, &r, `SELECT agency_id, issuer, client_id, secret, claim, strength, acr, changed_at FROM providers WHERE agency_id = $1`, agencyID); err != nil {
		return people.Provider{}, notFound(err)
	}
	return people.Provider{AgencyID: r.AgencyID, Issuer: r.Issuer, ClientID: r.ClientID, Sealed: r.Sealed, Claim: r.Claim, Strength: people.Strength(r.Strength), ACR: r.ACR,
		ChangedAt: fromMicros(r.ChangedAt)}, nil
}

// RemoveProvider implements [people.ProviderStore].
func (db *DB) RemoveProvider(ctx context.Context, agencyID string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for _, q := range []string{`DELETE FROM identities WHERE agency_id = $1`, `DELETE FROM providers WHERE agency_id = $1`} {
			if _, err := tx.ExecContext(ctx, q, agencyID); err != nil {
				return fmt.Errorf("remove provider: %w", err)
			}
		}
		return nil
	})
}

// Link implements [people.ProviderStore].
func (db *DB) Link(ctx context.Context, u people.User, issuer, subject string, at time.Time) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM identities WHERE user_id = $1`, u.ID); err != nil {
			return fmt.Errorf("link: %w", err)
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO identities (user_id, agency_id, issuer, subject, linked_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			u.ID, u.AgencyID, issuer, subject, micros(at))
		if err != nil {
			return fmt.Errorf("link: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, people.ErrRepeated)
		}
		return nil
	})
}

// Linked implements [people.ProviderStore].
func (db *DB) Linked(ctx context.Context, agencyID, issuer, subject string) (string, error) {
	var id string
	if !storable(subject) {
		return "", notary.ErrNotFound
	}
	err := db.read.GetContext(ctx, &id, `SELECT user_id FROM identities WHERE agency_id = $1 AND issuer = $2 AND subject = $3`, agencyID, issuer, subject)
	return id, notFound(err)
}
