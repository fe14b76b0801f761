package sqldb

import (
	"context"
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
	KeyAtHome bool   `db:"key_at_home"`
	CreatedAt int64  `db:"created_at"`
}

func (r agencyRow) agency() notary.Agency {
	return notary.Agency{ID: r.ID, Code: r.Code, Name: r.Name, Region: r.Region, KeyAtHome: r.KeyAtHome, CreatedAt: fromMicros(r.CreatedAt)}
}

const selectAgency = `SELECT id, code, name, region, key_at_home, created_at FROM agencies`

// AddAgency adds an agency with its first certificate chain (signer first, root last).
func (db *DB) AddAgency(ctx context.Context, a notary.Agency, chain [][]byte) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO agencies (id, code, name, region, key_at_home, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			a.ID, a.Code, a.Name, a.Region, a.KeyAtHome, micros(a.CreatedAt)); err != nil {
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
