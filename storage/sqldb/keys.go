package sqldb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
)

var apiKeys = newTable("api_keys", func(k *notary.APIKey) []column {
	return []column{{"id", &k.ID}, {"agency_id", &k.AgencyID}, {"account", &k.Account}, {"digest", digest(&k.Digest)},
		{"name", &k.Name}, {"scopes", scopes(&k.Scopes)}, {"networks", networks(&k.Networks)}, {"rate", &k.Rate},
		{"quota", &k.Quota}, {"created_at", moment{&k.CreatedAt}}, {"expires_at", ending{moment{&k.ExpiresAt}}},
		{"revoked_at", ending{moment{&k.RevokedAt}}}, {"used_at", ending{moment{&k.UsedAt}}}}
})

func scopes(l *[]notary.Scope) coded {
	c := words(l)
	c.read = func(s string) (err error) { *l, err = notary.ParseScopes(strings.Fields(s)); return err }
	return c
}

func networks(l *[]netip.Prefix) coded {
	return coded{
		func() (string, error) { return strings.Trim(fmt.Sprint(*l), "[]"), nil },
		func(s string) (err error) { *l, err = notary.ParseNetworks(strings.Fields(s)); return err }}
}

// AddKey implements auth.Store.
func (db *People) AddKey(ctx context.Context, k notary.APIKey) error {
	k.UsedAt = time.Time{}
	return apiKeys.add(ctx, db.write, "add API key", k, "", nil)
}

// FindKey implements auth.Store.
func (db *People) FindKey(ctx context.Context, id string) (notary.APIKey, error) {
	return apiKeys.one(ctx, db.read, ` WHERE id = $1`, id)
}

// Keys lists the keys of an agency, newest first.
func (db *People) Keys(ctx context.Context, agencyID string) ([]notary.APIKey, error) {
	return apiKeys.list(ctx, db.read, "list API keys", ` WHERE agency_id = $1 ORDER BY created_at DESC, id`, agencyID)
}

// EndKey has a key end at a time, at once if that is not in the future; it never makes a key
// last longer. It returns [notary.ErrNotFound] for one that is not in force.
func (db *People) EndKey(ctx context.Context, id string, at time.Time) error {
	q, now := `UPDATE api_keys SET expires_at = $1 WHERE id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR `+
		`expires_at > $1)`, db.now()
	if !at.After(now) {
		q, at = `UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, now
	}
	return execOne(ctx, db.write, "end API key", notary.ErrNotFound, q, micros(at), id)
}

// NoteKeys implements auth.UsageStore.
func (db *People) NoteKeys(ctx context.Context, used map[string]time.Time, day int64, records map[string]int64) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for id, at := range used {
			if err := run(ctx, tx, "note the use of a key",
				`UPDATE api_keys SET used_at = $1 WHERE id = $2 AND (used_at IS NULL OR used_at < $1)`, micros(at),
				id); err != nil {
				return err
			}
		}
		for account, n := range records {
			if err := run(ctx, tx, "count the records of a key",
				`INSERT INTO key_records (account, day, records) VALUES ($1, $2, $3)
				ON CONFLICT (account, day) DO UPDATE SET records = key_records.records + excluded.records`, account,
				day, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// KeyRecords implements auth.UsageStore.
func (db *People) KeyRecords(ctx context.Context, account string, day int64) (uint64, error) {
	n, err := one(ctx, db.read, itself[uint64], `SELECT records FROM key_records WHERE account = $1 AND day = $2`,
		account, day)
	if err != nil && !errors.Is(err, notary.ErrNotFound) {
		return 0, fmt.Errorf("read the records of a key: %w", err)
	}
	return n, nil
}
