package sqldb

import (
	"context"
	"encoding/json"
	"fmt"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/fsck"
)

var (
	_ fsck.Rows  = (*DB)(nil)
	_ fsck.Marks = (*DB)(nil)
)

// RecordsFrom implements [fsck.Rows].
func (db *DB) RecordsFrom(ctx context.Context, first uint64, limit int) ([]fsck.StoredRecord, error) {
	var rows []recordRow
	if err := db.read.SelectContext(ctx, &rows, selectRecord+` WHERE idx >= $1 ORDER BY idx LIMIT $2`, int64(first), limit); err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	out := make([]fsck.StoredRecord, len(rows))
	for i := range rows {
		rec, err := rows[i].record()
		if err != nil {
			rec.Index, rec.Number, out[i].Damage = uint64(rows[i].Idx), rows[i].Number, err.Error()
		}
		out[i].Record = rec
	}
	return out, nil
}

// Chain implements [fsck.Rows].
func (db *DB) Chain(ctx context.Context, fingerprint sm.Digest) (agencyID string, chain [][]byte, err error) {
	var r struct {
		AgencyID string `db:"agency_id"`
		Chain    string `db:"chain"`
	}
	if err := db.read.GetContext(ctx, &r, `SELECT agency_id, chain FROM certificates WHERE fingerprint = $1`, fingerprint[:]); err != nil {
		return "", nil, notFound(err)
	}
	chain, err = pki.DecodePEM([]byte(r.Chain), pki.MaxChain)
	return r.AgencyID, chain, err
}

// KeyUses implements [fsck.Rows].
func (db *DB) KeyUses(ctx context.Context, first, end uint64) ([]uint64, error) {
	var missing []uint64
	err := db.read.SelectContext(ctx, &missing, `SELECT e.idx FROM entries e LEFT JOIN key_uses k ON k.id = e.key_use AND k.certificate = e.certificate
		WHERE e.idx >= $1 AND e.idx < $2 AND k.id IS NULL ORDER BY e.idx`, int64(first), int64(end))
	return missing, err
}

// CheckpointsFrom implements [fsck.Marks].
func (db *DB) CheckpointsFrom(ctx context.Context, after int64, limit int) ([]fsck.StoredCheckpoint, error) {
	var rows []struct {
		Size int64  `db:"size"`
		Root []byte `db:"root"`
		Note string `db:"note"`
	}
	if err := db.read.SelectContext(ctx, &rows, `SELECT size, root, note FROM checkpoints WHERE size > $1 ORDER BY size LIMIT $2`, after, limit); err != nil {
		return nil, err
	}
	out := make([]fsck.StoredCheckpoint, len(rows))
	for i, r := range rows {
		if len(r.Root) != merkle.HashSize {
			return nil, fmt.Errorf("the row of checkpoint %d is damaged", r.Size)
		}
		out[i] = fsck.StoredCheckpoint{Size: uint64(r.Size), Root: merkle.Hash(r.Root), Note: []byte(r.Note)}
	}
	return out, nil
}

// AnchorsFrom implements [fsck.Marks].
func (db *DB) AnchorsFrom(ctx context.Context, after int64, limit int) ([]fsck.StoredAnchor, error) {
	var rows []struct {
		Target   string `db:"target"`
		Size     int64  `db:"size"`
		Evidence string `db:"evidence"`
		Note     string `db:"note"`
	}
	err := db.read.SelectContext(ctx, &rows, `SELECT a.target, a.size, a.evidence, c.note FROM anchors a JOIN checkpoints c ON c.size = a.size
		WHERE a.size > $1 AND a.size <= coalesce((SELECT size FROM anchors WHERE size > $1 ORDER BY size LIMIT 1 OFFSET $2 - 1),
			(SELECT max(size) FROM anchors)) ORDER BY a.size, a.target`, after, limit)
	out := make([]fsck.StoredAnchor, len(rows))
	for i, r := range rows {
		out[i] = fsck.StoredAnchor{Target: r.Target, Size: uint64(r.Size), Note: []byte(r.Note), Evidence: json.RawMessage(r.Evidence)}
	}
	return out, err
}

// DropAnchor removes evidence that no bundle can use. The checkpoint stays.
func (db *DB) DropAnchor(ctx context.Context, target string, size uint64) error {
	_, err := db.write.ExecContext(ctx, `DELETE FROM anchors WHERE target = $1 AND size = $2`, target, int64(size))
	return err
}
