package sqldb

import (
	"context"
	"database/sql"
	"fmt"

	"stele/crypto/sm"
	"stele/notary/log/fsck"
)

var (
	_ fsck.Rows = (*Log)(nil)
)

// RecordsFrom implements [fsck.Rows].
func (db *Log) RecordsFrom(ctx context.Context, first uint64, limit int) ([]fsck.StoredRecord, error) {
	out := []fsck.StoredRecord{}
	err := eachRow(ctx, db.read, func(rows *sql.Rows) error {
		var r fsck.StoredRecord
		if err := rows.Scan(records.into(&r.Record)...); err != nil {
			r.Damage = err.Error()
		}
		out = append(out, r)
		return nil
	}, records.query+` WHERE idx >= $1 ORDER BY idx LIMIT $2`, int64(first), limit)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return out, nil
}

// Chain implements [fsck.Rows].
func (db *Log) Chain(ctx context.Context, fingerprint sm.Digest) (agencyID string, chain [][]byte, err error) {
	_, err = one(ctx, db.read, func(*struct{}) []any { return []any{&agencyID, pem(&chain)} },
		`SELECT agency_id, chain FROM certificates WHERE fingerprint = $1`, fingerprint[:])
	return agencyID, chain, err
}

// KeyUses implements [fsck.Rows].
func (db *Log) KeyUses(ctx context.Context, first, end uint64) ([]uint64, error) {
	return list(ctx, db.read, "look for entries without an audit row", itself[uint64],
		`SELECT e.idx FROM entries e LEFT JOIN key_uses k ON k.id = e.key_use AND k.certificate = e.certificate
		WHERE e.idx >= $1 AND e.idx < $2 AND k.id IS NULL ORDER BY e.idx`, int64(first), int64(end))
}

// CheckpointsFrom implements [fsck.Rows].
func (db *Log) CheckpointsFrom(ctx context.Context, after int64, limit int) ([]fsck.StoredCheckpoint, error) {
	return list(ctx, db.read, "read checkpoints", storedCheckpoint,
		`SELECT size, root, note FROM checkpoints WHERE size > $1 ORDER BY size LIMIT $2`, after, limit)
}

// AnchorsFrom implements [fsck.Rows].
func (db *Log) AnchorsFrom(ctx context.Context, after int64, limit int) ([]fsck.StoredAnchor, error) {
	return list(ctx, db.read, "read anchors", storedAnchor,
		`SELECT a.target, a.size, c.note, a.evidence FROM anchors a JOIN checkpoints c ON c.size = a.size
		WHERE a.size > $1 AND a.size <= coalesce((SELECT size FROM anchors WHERE size > $1 ORDER BY size LIMIT 1 OFFSET $2 - 1),
			(SELECT max(size) FROM anchors)) ORDER BY a.size, a.target`, after, limit)
}

func storedAnchor(a *fsck.StoredAnchor) []any {
	return []any{&a.Target, &a.Size, text{&a.Note}, text{(*[]byte)(&a.Evidence)}}
}

// DropAnchor removes evidence that no bundle can use. The checkpoint stays.
func (db *Log) DropAnchor(ctx context.Context, target string, size uint64) error {
	return run(ctx, db.write, "drop an anchor", `DELETE FROM anchors WHERE target = $1 AND size = $2`, target,
		int64(size))
}
