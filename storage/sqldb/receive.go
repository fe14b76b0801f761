package sqldb

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/tail"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
)

var _ intake.Store = (*Log)(nil)

// Kinds of outbox rows.
const (
	kindReceived = "record.received"
	kindLogged   = "record.logged"
	kindAnchored = "record.anchored"
)

// Receive implements [intake.Store]. Everything is decided under the lock on the log's row:
// what is there under an idempotency key, and whether a record can still be withdrawn or
// replaced, cannot change before the commit.
func (db *Log) Receive(ctx context.Context, batch []*intake.Item) ([]intake.Outcome, error) {
	outcomes := make([]intake.Outcome, len(batch))
	var now logRow
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return err
		}
		now = log
		fresh, err := db.settle(ctx, tx, batch, outcomes)
		if err == nil {
			fresh, err = takeUploads(ctx, tx, fresh, outcomes)
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
		if err := advance(ctx, tx, n); err != nil {
			return err
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

// advance counts entries that were received, and the event that says so.
func advance(ctx context.Context, tx *sqlx.Tx, n int64) error {
	return run(ctx, tx, "advance the log", `UPDATE log SET received = received + $1, events = events + 1`, n)
}

// row is an item on its way into the tables.
type row struct {
	*intake.Item
	at       int   // place in the batch
	index    int64 // of its entry
	replays  []int // places of later items with the same idempotency key and request
	replaces *intake.Target
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

// settle answers the items that conflict with what is stored, or with one before them in
// the batch, and those whose signer may not sign, and returns the others. Who may sign is asked under the
// log's lock, so that what an operator decided holds from the moment at which the command has returned.
func (db *conn) settle(ctx context.Context, tx *sqlx.Tx, batch []*intake.Item, out []intake.Outcome) ([]*row, error) {
	used, err := usedKeys(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	targets, err := targetsOf(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	signers, err := signersOf(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	fresh := make([]*row, 0, len(batch))
	inBatch := map[agencyKey]*row{}
	for i, it := range batch {
		k := keyOf(it)
		if it.Idempotency != "" {
			if prior, ok := used[k]; ok {
				out[i] = prior.Repeat(it)
				continue
			}
			if first := inBatch[k]; first != nil {
				out[i] = (intake.Prior{RequestHash: first.RequestHash}).Repeat(it)
				if out[i].Err == nil {
					first.replays = append(first.replays, i) // its record is known once it has an index
				}
				continue
			}
		}
		// Before anything is taken for it: one that is sent back takes nothing from others of the batch.
		if out[i].Err = signers[it.Record.AgencyID].Refusal(it); out[i].Err != nil {
			continue
		}
		r := &row{Item: it, at: i}
		if number := it.Affected(); number != "" {
			t := targets[number]
			if out[i].Err = t.Take(it); out[i].Err != nil {
				continue
			}
			r.replaces = t
		}
		if it.Idempotency != "" {
			inBatch[k] = r
		}
		fresh = append(fresh, r)
	}
	return fresh, nil
}

type agencyKey struct{ agency, key string }

func keyOf(it *intake.Item) agencyKey { return agencyKey{it.Record.AgencyID, it.Idempotency} }

func usedKeys(ctx context.Context, tx *sqlx.Tx, batch []*intake.Item) (map[agencyKey]intake.Prior, error) {
	var keys []string
	seen := map[string]bool{}
	for _, it := range batch {
		if it.Idempotency != "" && !seen[it.Idempotency] {
			seen[it.Idempotency] = true
			keys = append(keys, it.Idempotency)
		}
	}
	return priors(ctx, tx, keys)
}

// priors are the uses of idempotency keys, of all agencies, with the records they made: two
// queries for every 500 keys.
func priors(ctx context.Context, q handle, keys []string) (map[agencyKey]intake.Prior, error) {
	type use struct {
		agencyKey
		hash   sm.Digest
		record int64
	}
	uses, err := listIn(ctx, q, "look up idempotency keys",
		func(u *use) []any { return []any{&u.key, &u.agency, digest(&u.hash), &u.record} },
		`SELECT key, agency_id, request_hash, record_idx FROM idempotency WHERE key IN (?)`, keys)
	if err != nil || len(uses) == 0 {
		return nil, err
	}
	indexes := make([]int64, len(uses))
	for i, u := range uses {
		indexes[i] = u.record
	}
	made, err := recordsAt(ctx, q, indexes)
	used := make(map[agencyKey]intake.Prior, len(uses))
	for _, u := range uses {
		rec := made[u.record]
		if err == nil && rec == nil {
			err = fmt.Errorf("the row of idempotency key %q is damaged", u.key)
		}
		if err != nil {
			return nil, err
		}
		used[u.agencyKey] = intake.Prior{RequestHash: u.hash, Record: *rec}
	}
	return used, nil
}

// targetsOf are the records that items withdraw or replace, by number.
func targetsOf(ctx context.Context, tx *sqlx.Tx, batch []*intake.Item) (map[string]*intake.Target, error) {
	var numbers []string
	for _, it := range batch {
		if n := it.Affected(); n != "" {
			numbers = append(numbers, n)
		}
	}
	found, err := listIn(ctx, tx, "look up records to withdraw or replace",
		func(t *intake.Target) []any { return []any{&t.Number, &t.Index, &t.AgencyID, &t.Standing} },
		`SELECT number, idx, agency_id, standing FROM records WHERE class <> '`+notary.TrailClass+`' AND number IN (?)`,
		numbers)
	out := make(map[string]*intake.Target, len(found))
	for i := range found {
		out[found[i].Number] = &found[i]
	}
	return out, err
}

var (
	entryColumns       = []string{"idx", "record_idx", "statement", "signature", "certificate", "key_use"}
	idempotencyColumns = []string{"agency_id", "key", "request_hash", "record_idx", "created_at"}
)

func (db *conn) insert(ctx context.Context, tx *sqlx.Tx, rows []*row) error {
	var issued, entries, keys [][]any
	for _, r := range rows {
		recordIdx := r.index
		if r.Action == statement.Issue {
			rec := r.Record
			rec.Index, rec.Standing, rec.StandingIndex, rec.StandingAt = uint64(r.index), notary.Valid, 0, time.Time{}
			rec.StandingBy, rec.Reason = "", ""
			issued = append(issued, records.values(&rec))
		} else {
			recordIdx = int64(r.replaces.Index)
		}
		entries = append(entries, []any{r.index, recordIdx, string(r.Entry.Statement), r.Entry.Signature,
			r.Entry.Certificate[:], r.KeyUse})
		if r.Idempotency != "" {
			keys = append(keys, []any{r.Record.AgencyID, r.Idempotency, r.RequestHash[:], recordIdx, micros(db.now())})
		}
	}
	if err := db.bulk(ctx, tx, records.name, records.columns, issued); err != nil {
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
	return updateStandings(ctx, tx, rows)
}

func updateStandings(ctx context.Context, tx *sqlx.Tx, rows []*row) error {
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
		if err := records.update(ctx, tx, "update a record's standing", notary.Record{Index: r.replaces.Index,
			Standing: standing, StandingIndex: uint64(r.index), StandingAt: at, StandingBy: by, Reason: reason},
			"standing standing_idx standing_at standing_by reason", "idx"); err != nil {
			return err
		}
		if err := countStanding(ctx, tx, r.replaces.AgencyID, standing); err != nil {
			return err
		}
	}
	return nil
}

// insertRows is how many rows one INSERT of SQLite carries: calling a statement costs about
// as much as inserting a row. 200 rows of the widest table stay far below SQLite's limit of
// 32,766 parameters.
const insertRows = 200

// bulk inserts rows: by COPY on PostgreSQL, by INSERTs of many rows on SQLite.
func (db *conn) bulk(ctx context.Context, tx *sqlx.Tx, table string, columns []string, rows [][]any) error {
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
func (db *conn) event(ctx context.Context, tx *sqlx.Tx, number int64, kind string, first, last int64) error {
	return run(ctx, tx, "add event",
		`INSERT INTO outbox (id, kind, first_idx, last_idx, at) VALUES ($1, $2, $3, $4, $5)`,
		number, kind, first, last, micros(db.now()))
}

// NoteKeyUse implements [intake.Store].
func (db *Log) NoteKeyUse(ctx context.Context, u intake.KeyUse) error {
	return keyUses.add(ctx, db.write, "note key use", tail.Use{ID: u.ID, AgencyID: u.AgencyID,
		Certificate: u.Certificate[:], Purpose: u.Purpose, Count: u.Count, Statements: u.Statements[:],
		At: micros(u.At)}, "", nil)
}

// ReserveNumbers implements [intake.Store].
func (db *Log) ReserveNumbers(ctx context.Context, region string, year, n int) (uint64, error) {
	next, err := value[uint64](ctx, db.write, "reserve numbers",
		`INSERT INTO number_blocks (region, year, next) VALUES ($1, $2, $3)
		ON CONFLICT (region, year) DO UPDATE SET next = number_blocks.next + $3 RETURNING next`, region, year, n)
	if err != nil {
		return 0, err
	}
	return next - uint64(n), nil
}

// FindIdempotent implements [intake.Store].
func (db *Log) FindIdempotent(ctx context.Context, agencyID string, keys ...string) (map[string]intake.Prior, error) {
	used, err := priors(ctx, db.read, keys)
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
