package sqldb

import (
	"context"
	"fmt"

	"stele/crypto/sm"
)

// ClaimKey implements api.Claims.
func (db *Log) ClaimKey(ctx context.Context, agencyID, key string, request sm.Digest, id string) (made string,
	first sm.Digest, err error) {
	// A conflict changes nothing, and the row that is there is read: whoever came first counts.
	if err := run(ctx, db.write, "claim an idempotency key",
		`INSERT INTO claims (agency_id, key, request_hash, made, created_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (agency_id, key) DO NOTHING`, agencyID, key, request[:], id, micros(db.now())); err != nil {
		return "", first, err
	}
	_, err = one(ctx, db.write, func(*struct{}) []any { return []any{digest(&first), &made} },
		`SELECT request_hash, made FROM claims WHERE agency_id = $1 AND key = $2`, agencyID, key)
	if err != nil {
		return "", first, fmt.Errorf("read an idempotency key: %w", err)
	}
	return made, first, nil
}
