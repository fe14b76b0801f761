package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"stele/notary"
)

// Pools are the connection pools by what they are for. Their statistics are read without asking the
// database.
func (db *conn) Pools() map[string]*sql.DB {
	if db.read == db.write {
		return map[string]*sql.DB{"all": db.write.DB}
	}
	return map[string]*sql.DB{"write": db.write.DB, "read": db.read.DB}
}

// EntrySince is when the first entry from an index on was received; zero where there is none.
func (db *Log) EntrySince(ctx context.Context, index uint64) (time.Time, error) {
	// An entry with a record of its own came with it, any other is the end of an older record.
	return db.oldest(ctx, `SELECT CASE WHEN r.idx = e.idx THEN r.received_at ELSE r.standing_at END
		FROM entries e JOIN records r ON r.idx = e.record_idx WHERE e.idx >= $1 ORDER BY e.idx LIMIT 1`, int64(index))
}

// UnsealedSince is when the oldest line of the audit trail was written that no seal covers; zero where
// all are covered.
func (db *People) UnsealedSince(ctx context.Context) (time.Time, error) {
	return db.oldest(ctx, `SELECT at FROM audit WHERE seal = 0 ORDER BY at LIMIT 1`)
}

func (db *conn) oldest(ctx context.Context, query string, args ...any) (time.Time, error) {
	at, err := one(ctx, db.read, func(t *time.Time) []any { return []any{moment{t}} }, query, args...)
	if errors.Is(err, notary.ErrNotFound) {
		return at, nil
	}
	return at, err
}

// SigningCertificates returns the newest certificate of each agency by its code, in DER.
func (db *Log) SigningCertificates(ctx context.Context) (map[string][]byte, error) {
	type signer struct {
		code  string
		chain [][]byte
	}
	l, err := list(ctx, db.read, "list certificates", func(s *signer) []any { return []any{&s.code, pem(&s.chain)} },
		`SELECT a.code, c.chain FROM agencies a JOIN certificates c ON c.agency_id = a.id
		WHERE c.created_at = (SELECT max(created_at) FROM certificates WHERE agency_id = a.id)`)
	out := make(map[string][]byte, len(l))
	for _, s := range l {
		out[s.code] = s.chain[0]
	}
	return out, err
}

// CountWaiting counts papers that wait for a person or for the log, and bulk jobs, by state.
// It reads as much as there are papers: ask it once in a while.
func (db *Office) CountWaiting(ctx context.Context) (papers, bulks map[string]int, err error) {
	if papers, err = countStates[string](ctx, db.read, "count papers",
		`SELECT state, count(*) FROM papers WHERE state IN ('waiting', 'approved') GROUP BY state`); err != nil {
		return nil, nil, err
	}
	bulks, err = countStates[string](ctx, db.read, "count bulk jobs", `SELECT state, count(*) FROM bulk_jobs
		WHERE state IN ('gathering', 'uploaded', 'checked', 'waiting', 'running') AND NOT forgotten GROUP BY state`)
	return papers, bulks, err
}

// countStates reads states and how many there are in each.
func countStates[S ~string](ctx context.Context, q handle, what, query string, args ...any) (map[S]int, error) {
	type count struct {
		state S
		n     int
	}
	l, err := list(ctx, q, what, func(c *count) []any { return []any{&c.state, &c.n} }, query, args...)
	out := make(map[S]int, len(l))
	for _, c := range l {
		out[c.state] = c.n
	}
	return out, err
}
