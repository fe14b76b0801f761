package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
)

type agencyRow struct {
	ID        string `db:"id"`
	Code      string `db:"code"`
	Name      string `db:"name"`
	Region    string `db:"region"`
	CreatedAt int64  `db:"created_at"`
}

func (r agencyRow) agency() notary.Agency {
	return notary.Agency{ID: r.ID, Code: r.Code, Name: r.Name, Region: r.Region, CreatedAt: fromMicros(r.CreatedAt)}
}

const selectAgency = `SELECT id, code, name, region, created_at FROM agencies`

// AddAgency adds an agency with its first certificate chain (signer first, root last).
func (db *DB) AddAgency(ctx context.Context, a notary.Agency, chain [][]byte) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO agencies (id, code, name, region, created_at) VALUES ($1, $2, $3, $4, $5)`,
			a.ID, a.Code, a.Name, a.Region, micros(a.CreatedAt)); err != nil {
			return fmt.Errorf("add agency: %w", err)
		}
		return db.addCertificate(ctx, tx, a.ID, chain)
	})
}

func (db *DB) addCertificate(ctx context.Context, tx *sqlx.Tx, agencyID string, chain [][]byte) error {
	fp := sm.Sum(chain[0])
	if _, err := tx.ExecContext(ctx, `INSERT INTO certificates (fingerprint, agency_id, chain, created_at) VALUES ($1, $2, $3, $4)`,
		fp[:], agencyID, string(pki.EncodePEM(chain...)), micros(db.now())); err != nil {
		return fmt.Errorf("add certificate: %w", err)
	}
	return nil
}

// AddCertificate adds a certificate chain to an agency; it becomes the one that signs.
func (db *DB) AddCertificate(ctx context.Context, agencyID string, chain [][]byte) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error { return db.addCertificate(ctx, tx, agencyID, chain) })
}

// Agency finds an agency by id or credit code.
func (db *DB) Agency(ctx context.Context, idOrCode string) (notary.Agency, error) {
	var r agencyRow
	if !storable(idOrCode) {
		return notary.Agency{}, notary.ErrNotFound
	}
	err := db.read.GetContext(ctx, &r, selectAgency+` WHERE id = $1 OR code = $1`, idOrCode)
	return r.agency(), notFound(err)
}

// Agencies lists all agencies by name.
func (db *DB) Agencies(ctx context.Context) ([]notary.Agency, error) {
	var rows []agencyRow
	if err := db.read.SelectContext(ctx, &rows, selectAgency+` ORDER BY name, id`); err != nil {
		return nil, fmt.Errorf("list agencies: %w", err)
	}
	out := make([]notary.Agency, len(rows))
	for i, r := range rows {
		out[i] = r.agency()
	}
	return out, nil
}

// CertificateChain returns the newest certificate chain of an agency, signer first.
func (db *DB) CertificateChain(ctx context.Context, agencyID string) ([][]byte, error) {
	var text string
	if err := db.read.GetContext(ctx, &text, `SELECT chain FROM certificates WHERE agency_id = $1 ORDER BY created_at DESC LIMIT 1`, agencyID); err != nil {
		return nil, notFound(err)
	}
	return pki.DecodePEM([]byte(text), pki.MaxChain)
}

// AddKey implements auth.Store.
func (db *DB) AddKey(ctx context.Context, k notary.APIKey) error {
	_, err := db.write.ExecContext(ctx, `INSERT INTO api_keys (id, agency_id, digest, name, created_at, expires_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		k.ID, k.AgencyID, k.Digest[:], k.Name, micros(k.CreatedAt), nullMicros(micros(k.ExpiresAt)), nullMicros(micros(k.RevokedAt)))
	if err != nil {
		return fmt.Errorf("add API key: %w", err)
	}
	return nil
}

func nullMicros(us int64) sql.NullInt64 { return sql.NullInt64{Int64: us, Valid: us != 0} }

type keyRow struct {
	ID        string        `db:"id"`
	AgencyID  string        `db:"agency_id"`
	Digest    []byte        `db:"digest"`
	Name      string        `db:"name"`
	CreatedAt int64         `db:"created_at"`
	ExpiresAt sql.NullInt64 `db:"expires_at"`
	RevokedAt sql.NullInt64 `db:"revoked_at"`
}

func (r keyRow) key() (notary.APIKey, error) {
	if len(r.Digest) != sm.DigestSize {
		return notary.APIKey{}, errors.New("the row of an API key is damaged")
	}
	return notary.APIKey{ID: r.ID, AgencyID: r.AgencyID, Digest: sm.Digest(r.Digest), Name: r.Name, CreatedAt: fromMicros(r.CreatedAt),
		ExpiresAt: fromMicros(r.ExpiresAt.Int64), RevokedAt: fromMicros(r.RevokedAt.Int64)}, nil
}

const selectKey = `SELECT id, agency_id, digest, name, created_at, expires_at, revoked_at FROM api_keys`

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
	if err := db.read.SelectContext(ctx, &rows, selectKey+` WHERE agency_id = $1 ORDER BY created_at DESC`, agencyID); err != nil {
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

// RevokeKey ends a key. It returns [notary.ErrNotFound] for one that is not in force.
func (db *DB) RevokeKey(ctx context.Context, id string) error {
	res, err := db.write.ExecContext(ctx, `UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, micros(db.now()), id)
	if err != nil {
		return fmt.Errorf("revoke API key: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, notary.ErrNotFound)
	}
	return nil
}
