package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/intake"
	"stele/notary/statement"
)

var _ intake.Store = (*DB)(nil)

// Kinds of outbox rows.
const (
	kindReceived = "record.received"
	kindLogged   = "record.logged"
	kindAnchored = "record.anchored"
)

// Receive implements [intake.Store]. Everything is decided under the lock on the log's row:
// what is there under an idempotency key, and whether a record can still be withdrawn or
// replaced, cannot change before the commit.
func (db *DB) Receive(ctx context.Context, batch []*intake.Item) ([]intake.Outcome, error) {
	outcomes := make([]intake.Outcome, len(batch))
	var now logRow
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return fmt.Errorf("lock the log: %w", err)
		}
		now = log
		fresh, err := db.settle(ctx, tx, batch, outcomes)
		if err == nil {
			fresh, err = db.takeUploads(ctx, tx, fresh, outcomes)
		}
		if err != nil || len(fresh) == 0 {
			return err
		}
		first := log.Received
		for i, f := range fresh {
			f.index = first + int64(i)
			f.settle(outcomes)
		}
		if err := db.insert(ctx, tx, fresh); err != nil {
			return err
		}
		n := int64(len(fresh))
		if _, err := tx.ExecContext(ctx, `UPDATE log SET received = received + $1, events = events + 1`, n); err != nil {
			return fmt.Errorf("advance the log: %w", err)
		}
		now.Received, now.Events = first+n, log.Events+1
		return db.event(ctx, tx, log.Events, kindReceived, first, first+n-1)
	})
	if err != nil {
		return outcomes, err
	}
	// What is answered is what the database must hold from here on.
	if err := db.high.saw(logRow{}, now); err != nil {
		return outcomes, fmt.Errorf("%w: %w", notary.ErrUnknownOutcome, err)
	}
	return outcomes, nil
}

// row is an item on its way into the tables.
type row struct {
	*intake.Item
	at       int   // place in the batch
	index    int64 // of its entry
	replays  []int // places of later items with the same idempotency key and request
	replaces *target
}

// settle writes the outcomes of a row that has its index.
func (r *row) settle(out []intake.Outcome) {
	out[r.at].Index = uint64(r.index)
	for _, at := range r.replays {
		rec := r.Record
		if r.Action == statement.Issue {
			rec.Index = uint64(r.index)
		} else {
			rec.StandingIndex = uint64(r.index)
		}
		out[at] = intake.Outcome{Replay: true, Record: rec}
	}
}

// target is the record that an item withdraws or replaces.
type target struct {
	Idx      int64  `db:"idx"`
	Number   string `db:"number"`
	AgencyID string `db:"agency_id"`
	Standing string `db:"standing"`
}

// settle answers the items that conflict with what is stored, or with one before them in
// the batch, and those whose signer may not sign, and returns the others. Who may sign is asked under the
// log's lock, so that what an operator decided holds from the moment at which the command has returned.
func (db *DB) settle(ctx context.Context, tx *sqlx.Tx, batch []*intake.Item, out []intake.Outcome) ([]*row, error) {
	used, err := db.usedKeys(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	targets, err := db.targets(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	signers, err := db.signersOf(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	fresh := make([]*row, 0, len(batch))
	inBatch := map[agencyKey]*row{}
	for i, it := range batch {
		k := keyOf(it)
		if it.Idempotency != "" {
			if prior, ok := used[k]; ok {
				out[i] = replayOf(prior, it)
				continue
			}
			if first := inBatch[k]; first != nil {
				if out[i] = replayOf(intake.Prior{RequestHash: first.RequestHash}, it); out[i].Err == nil {
					first.replays = append(first.replays, i) // its record is known once it has an index
				}
				continue
			}
		}
		// Before anything is taken for it: one that is sent back takes nothing from others of the batch.
		if out[i].Err = signers[it.Record.AgencyID].refusal(it.Entry.Certificate); out[i].Err != nil {
			continue
		}
		r := &row{Item: it, at: i}
		if number := affected(it); number != "" {
			t := targets[number]
			if out[i].Err = standingError(t, it); out[i].Err != nil {
				continue
			}
			t.Standing = "taken" // a second item of this batch finds it so
			r.replaces = t
		}
		if it.Idempotency != "" {
			inBatch[k] = r
		}
		fresh = append(fresh, r)
	}
	return fresh, nil
}

func replayOf(prior intake.Prior, it *intake.Item) intake.Outcome {
	if prior.RequestHash != it.RequestHash {
		return intake.Outcome{Err: intake.IdempotencyConflict()}
	}
	return intake.Outcome{Replay: true, Record: prior.Record}
}

// affected is the number of the record that an item withdraws or replaces, or empty.
func affected(it *intake.Item) string {
	if it.Action == statement.Revoke {
		return it.Record.Number
	}
	return it.Record.Supersedes
}

func standingError(t *target, it *intake.Item) error {
	switch {
	case (t == nil || t.AgencyID != it.Record.AgencyID) && it.Action == statement.Revoke:
		return notary.Errorf(notary.CodeNotFound, "There is no such record of this agency.")
	case t == nil || t.AgencyID != it.Record.AgencyID:
		return notary.InvalidField("supersedes", "The record to be withdrawn or replaced is not one of this agency's.")
	case t.Standing != string(notary.Valid):
		return notary.Errorf(notary.CodeConflict, "The record %s was withdrawn or replaced already.", t.Number)
	}
	return nil
}

type agencyKey struct{ agency, key string }

func keyOf(it *intake.Item) agencyKey { return agencyKey{it.Record.AgencyID, it.Idempotency} }

func (db *DB) usedKeys(ctx context.Context, tx *sqlx.Tx, batch []*intake.Item) (map[agencyKey]intake.Prior, error) {
	var keys []string
	seen := map[string]bool{}
	for _, it := range batch {
		if it.Idempotency != "" && !seen[it.Idempotency] {
			seen[it.Idempotency] = true
			keys = append(keys, it.Idempotency)
		}
	}
	return db.priors(ctx, tx, keys)
}

// priors are the uses of idempotency keys, of all agencies, with the records they made: two
// queries for every 500 keys.
func (db *DB) priors(ctx context.Context, q sqlx.QueryerContext, keys []string) (map[agencyKey]intake.Prior, error) {
	used := map[agencyKey]intake.Prior{}
	err := db.eachChunk(keys, func(chunk any, n int) error {
		var rows []struct {
			AgencyID    string `db:"agency_id"`
			Key         string `db:"key"`
			RequestHash []byte `db:"request_hash"`
			RecordIdx   int64  `db:"record_idx"`
		}
		query := `SELECT agency_id, key, request_hash, record_idx FROM idempotency WHERE key ` + db.in(n)
		if err := sqlx.SelectContext(ctx, q, &rows, query, db.args(chunk)...); err != nil {
			return fmt.Errorf("look up idempotency keys: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		indexes := make([]int64, len(rows))
		for i, r := range rows {
			indexes[i] = r.RecordIdx
		}
		list, err := recordsAt(ctx, q, indexes)
		if err != nil {
			return err
		}
		records := make(map[int64]notary.Record, len(list))
		for _, rec := range list {
			records[int64(rec.Index)] = rec
		}
		for _, r := range rows {
			rec, ok := records[r.RecordIdx]
			if !ok || len(r.RequestHash) != sm.DigestSize {
				return fmt.Errorf("the row of idempotency key %q is damaged", r.Key)
			}
			used[agencyKey{r.AgencyID, r.Key}] = intake.Prior{RequestHash: sm.Digest(r.RequestHash), Record: rec}
		}
		return nil
	})
	return used, err
}

func (db *DB) targets(ctx context.Context, tx *sqlx.Tx, batch []*intake.Item) (map[string]*target, error) {
	out := map[string]*target{}
	var numbers []string
	for _, it := range batch {
		if n := affected(it); n != "" {
			numbers = append(numbers, n)
		}
	}
	err := db.eachChunk(numbers, func(list any, n int) error {
		var rows []*target
		if err := tx.SelectContext(ctx, &rows, `SELECT idx, number, agency_id, standing FROM records WHERE class <> '`+notary.TrailClass+`' AND number `+db.in(n), db.args(list)...); err != nil {
			return fmt.Errorf("look up records to withdraw or replace: %w", err)
		}
		for _, t := range rows {
			out[t.Number] = t
		}
		return nil
	})
	return out, err
}

// eachChunk calls f with up to 500 values at a time.
func (db *DB) eachChunk(values []string, f func(list any, n int) error) error {
	for len(values) > 0 {
		n := min(len(values), 500)
		if err := f(values[:n], n); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// in is the right side of a membership test over n strings, args its arguments.
func (db *DB) in(n int) string {
	if db.postgres {
		return `= ANY ($1)`
	}
	b := []byte("IN (")
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '?') // numbered ones are searched for by name, each among all
	}
	return string(append(b, ')'))
}

func (db *DB) args(list any) []any {
	values := list.([]string)
	if db.postgres {
		return []any{pq.Array(values)}
	}
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

var (
	recordColumns = []string{"idx", "id", "agency_id", "number", "code", "sm3", "size", "media_type", "class", "fields", "supersedes", "stored", "version",
		"issued_at", "received_at", "standing", "standing_idx", "standing_at", "standing_by", "reason", "reference"}
	entryColumns       = []string{"idx", "record_idx", "statement", "signature", "certificate", "key_use"}
	idempotencyColumns = []string{"agency_id", "key", "request_hash", "record_idx", "created_at"}
)

func (db *DB) insert(ctx context.Context, tx *sqlx.Tx, rows []*row) error {
	var records, entries, keys [][]any
	for _, r := range rows {
		recordIdx := r.index
		if r.Action == statement.Issue {
			fields, err := encodeFields(r.Record.Fields)
			if err != nil {
				return err
			}
			rec := &r.Record
			records = append(records, []any{r.index, rec.ID, rec.AgencyID, rec.Number, rec.Code, rec.SM3[:], int64(rec.Size), rec.MediaType, rec.Class, fields,
				rec.Supersedes, rec.Stored, rec.Version, micros(rec.IssuedAt), micros(rec.ReceivedAt), string(notary.Valid), int64(0), int64(0), "", "", rec.Reference})
		} else {
			recordIdx = r.replaces.Idx
		}
		entries = append(entries, []any{r.index, recordIdx, string(r.Entry.Statement), r.Entry.Signature, r.Entry.Certificate[:], r.KeyUse})
		if r.Idempotency != "" {
			keys = append(keys, []any{r.Record.AgencyID, r.Idempotency, r.RequestHash[:], recordIdx, micros(db.now())})
		}
	}
	if err := db.bulk(ctx, tx, "records", recordColumns, records); err != nil {
		return err
	}
	if err := db.bulk(ctx, tx, "entries", entryColumns, entries); err != nil {
		return err
	}
	if err := db.bulk(ctx, tx, "idempotency", idempotencyColumns, keys); err != nil {
		return err
	}
	if err := countDays(ctx, tx, rows); err != nil {
		return err
	}
	return db.updateStandings(ctx, tx, rows)
}

func (db *DB) updateStandings(ctx context.Context, tx *sqlx.Tx, rows []*row) error {
	for _, r := range rows {
		if r.replaces == nil {
			continue
		}
		standing, by, at, reason := notary.Superseded, r.Record.Number, r.Record.IssuedAt, ""
		if s, err := statement.Parse(r.Entry.Statement); err == nil {
			reason = s.Reason
		}
		if r.Action == statement.Revoke {
			standing, by, at, reason = notary.Revoked, "", r.Record.StandingAt, r.Record.Reason
		}
		_, err := tx.ExecContext(ctx, `UPDATE records SET standing = $1, standing_idx = $2, standing_at = $3, standing_by = $4, reason = $5 WHERE idx = $6`,
			string(standing), r.index, micros(at), by, reason, r.replaces.Idx)
		if err != nil {
			return fmt.Errorf("update a record's standing: %w", err)
		}
	}
	return nil
}

// insertRows is how many rows one INSERT of SQLite carries: calling a statement costs about
// as much as inserting a row. 200 rows of the widest table stay far below SQLite's limit of
// 32,766 parameters.
const insertRows = 200

// bulk inserts rows: by COPY on PostgreSQL, by INSERTs of many rows on SQLite.
func (db *DB) bulk(ctx context.Context, tx *sqlx.Tx, table string, columns []string, rows [][]any) error {
	var err error
	switch {
	case len(rows) == 0:
		return nil
	case db.postgres:
		err = copyRows(ctx, tx, table, columns, rows)
	default:
		whole := len(rows) - len(rows)%insertRows
		if err = insertChunks(ctx, tx, table, columns, rows[:whole], insertRows); err == nil {
			err = insertChunks(ctx, tx, table, columns, rows[whole:], 1)
		}
	}
	if err != nil {
		return fmt.Errorf("insert into %s: %w", table, err)
	}
	return nil
}

func copyRows(ctx context.Context, tx *sqlx.Tx, table string, columns []string, rows [][]any) error {
	stmt, err := tx.PrepareContext(ctx, `COPY `+table+` (`+strings.Join(columns, ", ")+`) FROM STDIN`)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, r := range rows {
		if _, err := stmt.ExecContext(ctx, r...); err != nil {
			return err
		}
	}
	_, err = stmt.ExecContext(ctx) // ends the COPY
	return err
}

// insertChunks inserts rows, a multiple of chunk, with one prepared statement.
func insertChunks(ctx context.Context, tx *sqlx.Tx, table string, columns []string, rows [][]any, chunk int) error {
	if len(rows) == 0 {
		return nil
	}
	stmt, err := tx.PrepareContext(ctx, insertSQL(table, columns, chunk))
	if err != nil {
		return err
	}
	defer stmt.Close()
	args := make([]any, 0, chunk*len(columns))
	for part := range slices.Chunk(rows, chunk) {
		args = args[:0]
		for _, r := range part {
			args = append(args, r...)
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func insertSQL(table string, columns []string, rows int) string {
	b := []byte(`INSERT INTO ` + table + ` (` + strings.Join(columns, ", ") + `) VALUES `)
	for i := range rows * len(columns) {
		switch {
		case i == 0:
			b = append(b, '(')
		case i%len(columns) == 0:
			b = append(b, "), ("...)
		default:
			b = append(b, ", "...)
		}
		b = append(b, '?') // numbered ones are searched for by name, each among all
	}
	return string(append(b, ')'))
}

// event adds an outbox row; number is what the log's row counted before.
func (db *DB) event(ctx context.Context, tx *sqlx.Tx, number int64, kind string, first, last int64) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO outbox (id, kind, first_idx, last_idx, at) VALUES ($1, $2, $3, $4, $5)`, number, kind, first, last, micros(db.now()))
	if err != nil {
		return fmt.Errorf("add event: %w", err)
	}
	return nil
}

// NoteKeyUse implements [intake.Store].
func (db *DB) NoteKeyUse(ctx context.Context, u intake.KeyUse) error {
	_, err := db.write.ExecContext(ctx, `INSERT INTO key_uses (id, agency_id, certificate, purpose, count, statements, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		u.ID, u.AgencyID, u.Certificate[:], u.Purpose, u.Count, u.Statements[:], micros(u.At))
	if err != nil {
		return fmt.Errorf("note key use: %w", err)
	}
	return nil
}

// ReserveNumbers implements [intake.Store].
func (db *DB) ReserveNumbers(ctx context.Context, region string, year, n int) (uint64, error) {
	var next int64
	err := db.write.GetContext(ctx, &next, `INSERT INTO number_blocks (region, year, next) VALUES ($1, $2, $3)
		ON CONFLICT (region, year) DO UPDATE SET next = number_blocks.next + $3 RETURNING next`, region, year, n)
	if err != nil {
		return 0, fmt.Errorf("reserve numbers: %w", err)
	}
	return uint64(next) - uint64(n), nil
}

// FindIdempotent implements [intake.Store].
func (db *DB) FindIdempotent(ctx context.Context, agencyID string, keys ...string) (map[string]intake.Prior, error) {
	used, err := db.priors(ctx, db.read, keys)
	if err != nil {
		return nil, err
	}
	out := make(map[string]intake.Prior, len(used))
	for k, p := range used {
		if k.agency == agencyID {
			out[k.key] = p
		}
	}
	return out, nil
}
