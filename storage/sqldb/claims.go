package sqldb

import (
	"context"
	"fmt"

	"stele/crypto/sm"
)

// ClaimKey implements api.Claims.
func (db *DB) ClaimKey(ctx context.Context, agencyID, key string, request sm.Digest, id string) (made string, first sm.Digest, err error) {
	// A conflict changes nothing, and the row that is there is read: whoever came first counts.
	if _, err := db.write.ExecContext(ctx, `INSERT INTO claims (agency_id, key, request_hash, made, created_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (agency_id, key) DO NOTHING`, agencyID, key, request[:], id, micros(db.now())); err != nil {
		return "", first, fmt.Errorf("claim an idempotency key: %w", err)
	}
	var row struct {
		Hash []byte `db:"request_hash"`
		Made string `db:"made"`
	}
	if err := db.write.GetContext(ctx, &row, `SELECT request_hash, made FROM claims WHERE agency_id = $1 AND key = $2`, agencyID, key); err != nil {
		return "", first, fmt.Errorf("read an idempotency key: %w", err)
	}
	if len(row.Hash) != sm.DigestSize {
		return "", first, fmt.Errorf("the row of idempotency key %q is damaged", key)
	}
	return row.Made, sm.Digest(row.Hash), nil
}
