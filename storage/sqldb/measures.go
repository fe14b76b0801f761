package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"stele/crypto/pki"
)

// Pools are the connection pools by what they are for. Their statistics are read without asking the
// database.
func (db *DB) Pools() map[string]*sql.DB {
	if db.read == db.write {
		return map[string]*sql.DB{"all": db.write.DB}
	}
	return map[string]*sql.DB{"write": db.write.DB, "read": db.read.DB}
}

// EntrySince is when the first entry from an index on was received; zero where there is none.
func (db *DB) EntrySince(ctx context.Context, index uint64) (time.Time, error) {
	// An entry with a record of its own came with it, any other is the end of an older record.
	return db.oldest(ctx, `SELECT CASE WHEN r.idx = e.idx THEN r.received_at ELSE r.standing_at END
		FROM entries e JOIN records r ON r.idx = e.record_idx WHERE e.idx >= $1 ORDER BY e.idx LIMIT 1`, int64(index))
}

// UnsealedSince is when the oldest line of the audit trail was written that no seal covers; zero where
// all are covered.
func (db *DB) UnsealedSince(ctx context.Context) (time.Time, error) {
	return db.oldest(ctx, `SELECT at FROM audit WHERE seal = 0 ORDER BY at LIMIT 1`)
}

func (db *DB) oldest(ctx context.Context, query string, args ...any) (time.Time, error) {
	var at []int64
	if err := db.read.SelectContext(ctx, &at, query, args...); err != nil || len(at) == 0 {
		return time.Time{}, err
	}
	return fromMicros(at[0]), nil
}

// SigningCertificates returns the newest certificate of each agency by its code, in DER.
func (db *DB) SigningCertificates(ctx context.Context) (map[string][]byte, error) {
	var rows []struct {
		Code  string `db:"code"`
		Chain string `db:"chain"`
	}
	if err := db.read.SelectContext(ctx, &rows, `SELECT a.code, c.chain FROM agencies a JOIN certificates c ON c.agency_id = a.id
		WHERE c.created_at = (SELECT max(created_at) FROM certificates WHERE agency_id = a.id)`); err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	out := make(map[string][]byte, len(rows))
	for _, r := range rows {
		chain, err := pki.DecodePEM([]byte(r.Chain), pki.MaxChain)
		if err != nil {
			return nil, fmt.Errorf("certificate of agency %s: %w", r.Code, err)
		}
		out[r.Code] = chain[0]
	}
	return out, nil
}

// CountWaiting counts papers that wait for a person or for the log, and bulk jobs, by state.
// It reads as much as there are papers: ask it once in a while.
func (db *DB) CountWaiting(ctx context.Context) (papers, bulks map[string]int, err error) {
	if papers, err = db.countStates(ctx, `SELECT state, count(*) AS n FROM papers WHERE state IN ('waiting', 'approved') GROUP BY state`); err != nil {
		return nil, nil, fmt.Errorf("count papers: %w", err)
	}
	if bulks, err = db.countStates(ctx, `SELECT state, count(*) AS n FROM bulk_jobs
		WHERE state IN ('gathering', 'uploaded', 'checked', 'waiting', 'running') AND NOT forgotten GROUP BY state`); err != nil {
		return nil, nil, fmt.Errorf("count bulk jobs: %w", err)
	}
	return papers, bulks, nil
}

func (db *DB) countStates(ctx context.Context, query string) (map[string]int, error) {
	var rows []struct {
		State string `db:"state"`
		N     int    `db:"n"`
	}
	err := db.read.SelectContext(ctx, &rows, query)
	out := make(map[string]int, len(rows))
	for _, r := range rows {
		out[r.State] = r.N
	}
	return out, err
}
