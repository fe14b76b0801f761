package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
)

// AddKey implements auth.Store.
func (db *DB) AddKey(ctx context.Context, k notary.APIKey) error {
	networks := make([]string, len(k.Networks))
	for i, n := range k.Networks {
		networks[i] = n.String()
	}
	_, err := db.write.ExecContext(ctx, `INSERT INTO api_keys (id, agency_id, account, digest, name, scopes, networks, rate, quota, created_at, expires_at, revoked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, k.ID, k.AgencyID, k.Account, k.Digest[:], k.Name, notary.JoinScopes(k.Scopes, " "),
		strings.Join(networks, " "), k.Rate, int64(k.Quota), micros(k.CreatedAt), nullMicros(micros(k.ExpiresAt)), nullMicros(micros(k.RevokedAt)))
	if err != nil {
		return fmt.Errorf("add API key: %w", err)
	}
	return nil
}

func nullMicros(us int64) sql.NullInt64 { return sql.NullInt64{Int64: us, Valid: us != 0} }

type keyRow struct {
	ID        string        `db:"id"`
	AgencyID  string        `db:"agency_id"`
	Account   string        `db:"account"`
	Digest    []byte        `db:"digest"`
	Name      string        `db:"name"`
	Scopes    string        `db:"scopes"`
	Networks  string        `db:"networks"`
	Rate      int           `db:"rate"`
	Quota     int64         `db:"quota"`
	CreatedAt int64         `db:"created_at"`
	ExpiresAt sql.NullInt64 `db:"expires_at"`
	RevokedAt sql.NullInt64 `db:"revoked_at"`
	UsedAt    sql.NullInt64 `db:"used_at"`
}

func (r keyRow) key() (notary.APIKey, error) {
	scopes, err1 := notary.ParseScopes(strings.Fields(r.Scopes))
	networks, err2 := notary.ParseNetworks(strings.Fields(r.Networks))
	if len(r.Digest) != sm.DigestSize || err1 != nil || err2 != nil || r.Quota < 0 {
		return notary.APIKey{}, errors.New("the row of an API key is damaged")
	}
	return notary.APIKey{ID: r.ID, AgencyID: r.AgencyID, Account: r.Account, Digest: sm.Digest(r.Digest), Name: r.Name, Scopes: scopes, Networks: networks,
		Rate: r.Rate, Quota: uint64(r.Quota), CreatedAt: fromMicros(r.CreatedAt), ExpiresAt: fromMicros(r.ExpiresAt.Int64), RevokedAt: fromMicros(r.RevokedAt.Int64),
		UsedAt: fromMicros(r.UsedAt.Int64)}, nil
}

const selectKey = `SELECT id, agency_id, account, digest, name, scopes, networks, rate, quota, created_at, expires_at, revoked_at, used_at FROM api_keys`

// FindKey implements auth.Store.
func (db *DB) FindKey(ctx context.Context, id string) (notary.APIKey, error) {
	var r keyRow
	if !storable(id) {
		return notary.APIKey{}, notary.ErrNotFound
	}
	if err := db.read.GetContext(ctx, &r, selectKey+` WHERE id = $1`, id); err != nil {
		return notary.APIKey{}, notFound(err)
	}
	return r.key()
}

// Keys lists the keys of an agency, newest first.
func (db *DB) Keys(ctx context.Context, agencyID string) ([]notary.APIKey, error) {
	var rows []keyRow
	if err := db.read.SelectContext(ctx, &rows, selectKey+` WHERE agency_id = $1 ORDER BY created_at DESC, id`, agencyID); err != nil {
		return nil, fmt.Errorf("list API keys: %w", err)
	}
	out := make([]notary.APIKey, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = r.key(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// EndKey has a key end at a time, at once if that is not in the future; it never makes a key
// last longer. It returns [notary.ErrNotFound] for one that is not in force.
func (db *DB) EndKey(ctx context.Context, id string, at time.Time) error {
	q, now := `UPDATE api_keys SET expires_at = $1 WHERE id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1)`, db.now()
	if !at.After(now) {
		q, at = `UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, now
	}
	res, err := db.write.ExecContext(ctx, q, micros(at), id)
	if err != nil {
		return fmt.Errorf("end API key: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, notary.ErrNotFound)
	}
	return nil
}

// NoteKeys implements auth.UsageStore.
func (db *DB) NoteKeys(ctx context.Context, used map[string]time.Time, day int64, records map[string]int64) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for id, at := range used {
			if _, err := tx.ExecContext(ctx, `UPDATE api_keys SET used_at = $1 WHERE id = $2 AND (used_at IS NULL OR used_at < $1)`, micros(at), id); err != nil {
				return fmt.Errorf("note the use of a key: %w", err)
			}
		}
		for account, n := range records {
			if _, err := tx.ExecContext(ctx, `INSERT INTO key_records (account, day, records) VALUES ($1, $2, $3)
				ON CONFLICT (account, day) DO UPDATE SET records = key_records.records + excluded.records`, account, day, n); err != nil {
				return fmt.Errorf("count the records of a key: %w", err)
			}
		}
		return nil
	})
}

// KeyRecords implements auth.UsageStore.
func (db *DB) KeyRecords(ctx context.Context, account string, day int64) (uint64, error) {
	var n int64
	err := db.read.GetContext(ctx, &n, `SELECT records FROM key_records WHERE account = $1 AND day = $2`, account, day)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the records of a key: %w", err)
	}
	return uint64(n), nil
}
