package sqldb

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/erasure"
)

var _ erasure.Store = (*Log)(nil)

// Erase implements [erasure.Store].
func (db *Log) Erase(ctx context.Context, e erasure.Erasure, all bool) (notary.Record, error) {
	var rec notary.Record
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		// The log's row first, as whoever writes records: counts of days are changed under it.
		if _, err := db.lockLog(ctx, tx); err != nil {
			return err
		}
		var err error
		if rec, err = records.one(ctx, tx, ` WHERE idx = $1`, int64(e.Index)); err != nil {
			return err
		}
		for i, f := range rec.Fields {
			if slices.Contains(e.Names, f.Name) {
				rec.Fields[i] = notary.Field{Name: f.Name}
			}
		}
		if all {
			rec.Reference = ""
		}
		if e.Document && rec.Stored {
			rec.Stored = false
			if err := addToDay(ctx, tx, agencyDay{rec.AgencyID, dayOf(rec.IssuedAt)}, 0, -int64(rec.Size)); err != nil {
				return err
			}
		}
		if err := forget(ctx, tx, rec); err != nil {
			return err
		}
		return erasures.add(ctx, tx, "note an erasure", e, "", nil)
	})
	return rec, err
}

var erasures = newTable("erasures", func(e *erasure.Erasure) []column {
	return []column{{"id", &e.ID}, {"record_idx", &e.Index}, {"at", moment{&e.At}}, {"by_whom", &e.By},
		{"names", names(&e.Names)}, {"document", &e.Document}, {"reason", &e.Reason}}
})

// forget writes a record without what was erased, and removes what else remembers it.
func forget(ctx context.Context, tx *sqlx.Tx, rec notary.Record) error {
	// The digest of a request is one over its attributes without a salt: short ones could be
	// guessed from it. A random one in its place makes the key stand for a request that nobody sends.
	var nothing sm.Digest
	rand.Read(nothing[:]) // never fails: the runtime aborts when the system has no randomness
	for _, step := range []struct {
		what, q string
		args    []any
	}{
		{"the record", `UPDATE records SET fields = $1, reference = $2, stored = $3 WHERE idx = $4`,
			[]any{fields{&rec.Fields}, rec.Reference, rec.Stored, int64(rec.Index)}},
		{"prepared statements", `DELETE FROM prepared WHERE agency_id = $1 AND item LIKE $2`,
			[]any{rec.AgencyID, `%"` + rec.ID + `"%`}},
		{"the paper that it was", `UPDATE papers SET title = '', file_name = '', reference = '', fields = '{}', ` +
			`maker = '{}', checker = '{}', remark = '' WHERE agency_id = $1 AND record = $2 AND kind = 'issue'`,
			[]any{rec.AgencyID, rec.ID}},
		{"digests of requests", `UPDATE idempotency SET request_hash = $1 WHERE record_idx = $2`,
			[]any{nothing[:], int64(rec.Index)}},
		{"receivers' answers", `UPDATE delivery_attempts SET answer = $1 WHERE EXISTS (SELECT 1 FROM deliveries d ` +
			`WHERE d.endpoint_id = delivery_attempts.endpoint_id AND d.event_id = delivery_attempts.event_id AND ` +
			`d.record_idx = $2)`,
			[]any{[]byte{}, int64(rec.Index)}},
	} {
		if err := run(ctx, tx, "erase "+step.what, step.q, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// Erasures implements [erasure.Store].
func (db *Log) Erasures(ctx context.Context, index uint64) ([]erasure.Erasure, error) {
	return erasures.list(ctx, db.read, "read erasures", ` WHERE record_idx = $1 ORDER BY id`, int64(index))
}

// mostScrubbed is the size in bytes of a database file up to which it is searched, and written
// anew where something is found: both stop other writers, and larger ones for too long.
const mostScrubbed = 2 << 30

// errUnscrubbed asks the operator to do what would stop the service here.
var errUnscrubbed = errors.New(
	"the database file is too large to be searched while the service runs: run VACUUM in it at a quiet hour")

// Scrub implements [erasure.Store]. SQLite overwrites what is deleted (secure_delete); left are
// the write-ahead log, which is emptied, and copies of rows that pages keep in their unused
// parts when rows move between pages: where those hold a needle, the file is written anew.
// PostgreSQL reuses the room of old rows in its own time, and nothing short of VACUUM FULL,
// which locks the table, would hurry it.
func (db *Log) Scrub(ctx context.Context, needles [][]byte) error {
	if db.postgres {
		return nil
	}
	if err := db.emptyWAL(ctx); err != nil {
		return err
	}
	var encoded [][]byte
	for _, n := range needles {
		// as records have it, and as papers do
		encoded = append(encoded, []byte(base64.StdEncoding.EncodeToString(n)), n)
	}
	found, err := fileHolds(db.path, encoded)
	if err != nil || !found {
		return err
	}
	if _, err := db.write.ExecContext(ctx, `VACUUM`); err != nil {
		return fmt.Errorf("write the database file anew: %w", err)
	}
	return db.emptyWAL(ctx)
}

// emptyWAL copies the write-ahead log into the database and cuts it to nothing. Readers and
// other processes may hold it for a moment.
func (db *conn) emptyWAL(ctx context.Context) error {
	var busy, frames, done int
	if err := db.write.QueryRowxContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames,
		&done); err != nil {
		return fmt.Errorf("empty the write-ahead log: %w", err)
	}
	if busy != 0 {
		return errors.New("the write-ahead log is in use and keeps old pages until it is next emptied")
	}
	return nil
}

// fileHolds reports whether any of the texts is in a file.
func fileHolds(path string, texts [][]byte) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	if st.Size() > mostScrubbed {
		return false, errUnscrubbed
	}
	const piece, overlap = 1 << 20, 64 // a needle that lies across two pieces is found in the second
	b := make([]byte, overlap+piece)
	kept := 0
	for {
		n, err := io.ReadFull(f, b[kept:])
		if slices.ContainsFunc(texts, func(t []byte) bool { return bytes.Contains(b[:kept+n], t) }) {
			return true, nil
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return false, nil
		} else if err != nil {
			return false, err
		}
		kept = copy(b, b[kept+n-overlap:kept+n])
	}
}
