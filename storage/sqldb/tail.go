package sqldb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/recovery"
	"stele/notary/log/tail"
	"stele/notary/office/people"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/notary/register/intake"
)

var (
	_ tail.Store     = (*Log)(nil)
	_ recovery.Store = (*Log)(nil)
)

// Stretch implements [tail.Store].
func (db *Log) Stretch(ctx context.Context, first, end uint64) (tail.Stretch, error) {
	s := tail.Stretch{Format: tail.Format, First: first, Uses: []tail.Use{}}
	type entry struct {
		tail.Entry
		index, record int64
		agency        *string
	}
	rows, err := list(ctx, db.read, "read entries", func(e *entry) []any {
		return []any{&e.index, &e.record, &e.Statement, &e.Signature, &e.Certificate, &e.KeyUse, &e.agency}
	}, `SELECT e.idx, e.record_idx, e.statement, e.signature, e.certificate, e.key_use, c.agency_id
		FROM entries e LEFT JOIN certificates c ON c.fingerprint = e.certificate WHERE e.idx >= $1 AND e.idx < $2 ORDER BY e.idx`,
		int64(first), int64(end))
	if err != nil {
		return s, err
	}
	if uint64(len(rows)) != end-first {
		return s, fmt.Errorf("entries %d to %d have gaps; run stele fsck", first, end)
	}
	records, err := db.RecordsFrom(ctx, first, int(end-first))
	if err != nil {
		return s, err
	}
	byIndex := map[int64]notary.Record{}
	for _, r := range records {
		if r.Damage != "" {
			return s, fmt.Errorf("record %s: %s; run stele fsck", r.Number, r.Damage)
		}
		byIndex[int64(r.Index)] = r.Record
	}
	about := make([]int64, len(rows))
	uses := map[string]bool{}
	for i, r := range rows {
		if status.OfNoRecord([]byte(r.Statement)) {
			s.Entries = append(s.Entries, r.Entry)
			about[i] = r.record
			continue
		}
		if r.agency == nil || len(r.Certificate) != sm.DigestSize {
			return s, fmt.Errorf("the certificate of entry %d is not there; run stele fsck", r.index)
		}
		r.AgencyID = *r.agency
		if rec, ok := byIndex[r.index]; ok {
			r.Record = tail.FromRecord(rec)
		}
		s.Entries = append(s.Entries, r.Entry)
		about[i], uses[r.KeyUse] = r.record, true
	}
	if err := db.tailKeys(ctx, &s, about, byIndex); err != nil {
		return s, err
	}
	used, err := listIn(ctx, db.read, "read audit rows", keyUses.into, keyUses.query+` WHERE id IN (?) ORDER BY id`,
		slices.Collect(maps.Keys(uses)))
	s.Uses = append(s.Uses, used...)
	return s, err
}

var keyUses = newTable("key_uses", func(u *tail.Use) []column {
	return []column{{"id", &u.ID}, {"agency_id", &u.AgencyID}, {"certificate", &u.Certificate}, {"purpose", &u.Purpose},
		{"count", &u.Count}, {"statements", &u.Statements}, {"at", &u.At}}
})

// tailKeys adds the idempotency keys of the records that entries are about. The one under which a record
// was withdrawn is not that of its first entry: where the withdrawal is not restored it must not be taken
// for done. After an erasure nobody can tell the keys apart; such a key then stands for no request.
func (db *conn) tailKeys(ctx context.Context, s *tail.Stretch, about []int64, records map[int64]notary.Record) error {
	at := map[int64][]int{}
	for i, idx := range about {
		at[idx] = append(at[idx], i)
	}
	type use struct {
		tail.Key
		record int64
	}
	keys, err := list(ctx, db.read, "read idempotency keys",
		func(u *use) []any { return []any{&u.Key.Key, &u.RequestHash, &u.record} },
		`SELECT key, request_hash, record_idx FROM idempotency WHERE record_idx IN (`+numbersSQL(about)+`)
		ORDER BY created_at, key`)
	if err != nil {
		return err
	}
	for _, k := range keys {
		rec := records[k.record]
		hash := intake.RevocationHash(rec.ID, rec.Reason)
		ofRevocation := rec.Standing == notary.Revoked && bytes.Equal(k.RequestHash, hash[:])
		for _, i := range at[k.record] {
			if ofRevocation && s.Entries[i].Record != nil {
				continue
			}
			s.Entries[i].Keys = append(s.Entries[i].Keys, k.Key)
		}
	}
	return nil
}

// ErasuresSince implements [tail.Store].
func (db *Log) ErasuresSince(ctx context.Context, since time.Time) ([]tail.Erased, error) {
	return list(ctx, db.read, "read erasures", func(e *tail.Erased) []any {
		return []any{&e.ID, &e.Index, &e.At, &e.By, names(&e.Names), &e.Document, &e.Reason, &e.All}
	}, `SELECT e.id, e.record_idx, e.at, e.by_whom, e.names, e.document, e.reason, r.reference = ''
		FROM erasures e JOIN records r ON r.idx = e.record_idx WHERE e.at >= $1 ORDER BY e.id`, micros(since))
}

// SkipEvents implements [recovery.Store].
func (db *Log) SkipEvents(ctx context.Context, n uint64) error {
	return run(ctx, db.write, "skip events", `UPDATE log SET events = events + $1`, int64(n))
}

// Restore implements [recovery.Store].
func (db *Log) Restore(ctx context.Context, s tail.Stretch) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return err
		}
		if log.Received != int64(s.First) {
			return fmt.Errorf("%w: entry %d was to be restored, the database has %d", recovery.ErrMoved, s.First,
				log.Received)
		}
		for _, u := range s.Uses {
			if err := keyUses.add(ctx, tx, "restore an audit row", u, ` ON CONFLICT DO NOTHING`, nil); err != nil {
				return err
			}
		}
		for rest := s.Entries; len(rest) > 0; {
			n, err := db.restoreSome(ctx, tx, log.Received+int64(len(s.Entries)-len(rest)), rest)
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		n := int64(len(s.Entries))
		if err := advance(ctx, tx, n); err != nil {
			return err
		}
		return db.event(ctx, tx, log.Events, kindReceived, log.Received, log.Received+n-1)
	})
}

// restoreSome inserts entries up to one that withdraws or replaces what an entry before it made, and
// returns how many: those are looked up among the rows. What is of no record is inserted by itself.
func (db *conn) restoreSome(ctx context.Context, tx *sqlx.Tx, first int64, entries []tail.Entry) (int, error) {
	var rows []*row
	var items []*intake.Item
	made := map[string]bool{}
	for i, e := range entries {
		if status.OfNoRecord([]byte(e.Statement)) {
			if i == 0 {
				return 1, addOfNoRecord(ctx, tx, first, e.Logged())
			}
			break
		}
		it, err := e.Item()
		if err != nil {
			return 0, err
		}
		if made[it.Affected()] {
			break
		}
		made[it.Record.Number] = true
		items = append(items, it)
		rows = append(rows, &row{Item: it, at: i, index: first + int64(i)})
	}
	targets, err := targetsOf(ctx, tx, items)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		number := r.Affected()
		if number == "" {
			continue
		}
		r.replaces = targets[number]
		if err := r.replaces.Take(r.Item); err != nil {
			return 0, fmt.Errorf("entry %d: %w", r.index, err)
		}
	}
	if err := db.insert(ctx, tx, rows); err != nil {
		return 0, err
	}
	numbers := map[string]string{} // the largest one by region and year
	for i, r := range rows {
		if err := db.restoreKeys(ctx, tx, r, entries[i].Keys); err != nil {
			return 0, err
		}
		if n := r.Record.Number; notary.ValidNumber(n) {
			numbers[n[:11]] = max(numbers[n[:11]], n)
		}
	}
	for _, n := range numbers {
		if err := skipNumber(ctx, tx, n); err != nil {
			return 0, err
		}
	}
	return len(rows), nil
}

func (db *conn) restoreKeys(ctx context.Context, tx *sqlx.Tx, r *row, keys []tail.Key) error {
	about := r.index
	if r.Action != statement.Issue {
		about = int64(r.replaces.Index)
	}
	for _, k := range keys {
		if err := run(ctx, tx, "restore an idempotency key", insertSQL("idempotency", idempotencyColumns, 1)+
			` ON CONFLICT DO NOTHING`, r.Record.AgencyID, k.Key, k.RequestHash, about, micros(db.now())); err != nil {
			return err
		}
	}
	return nil
}

// numbersBeyond is how many numbers after one that was given out are not given out again: the block
// that it came from may have served papers that were not notarized yet.
const numbersBeyond = 1000

// skipNumber makes sure that a certificate number is not given out again.
func skipNumber(ctx context.Context, tx *sqlx.Tx, number string) error {
	year, err1 := strconv.Atoi(number[7:11])
	serial, err2 := strconv.ParseInt(number[12:20], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return run(ctx, tx, "skip certificate numbers",
		`INSERT INTO number_blocks (region, year, next) VALUES ($1, $2, $3) ON CONFLICT (region, year) DO UPDATE
		SET next = CASE WHEN number_blocks.next < $4 THEN $3 ELSE number_blocks.next END`, number[:6], year,
		serial+1+numbersBeyond, serial+1)
}

// RestoreAgency implements [recovery.Store]. The last certificate of an agency that is restored is the
// one that signs, whatever the clock says.
func (db *Log) RestoreAgency(ctx context.Context, a notary.Agency, chain [][]byte) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := addAgency(ctx, tx, a, ` ON CONFLICT (id) DO NOTHING`); err != nil {
			return err
		}
		last, err := value[int64](ctx, tx, "read the agency's certificates",
			`SELECT COALESCE(MAX(created_at), 0) FROM certificates WHERE agency_id = $1`, a.ID)
		if err != nil {
			return err
		}
		return certificates.add(ctx, tx, "restore a certificate", certificate{notary.Certificate{
			Fingerprint: sm.Sum(chain[0]), Chain: chain, CreatedAt: fromMicros(max(last+1, micros(db.now())))}, a.ID},
			` ON CONFLICT (fingerprint) DO NOTHING`, nil)
	})
}

// HasErasure implements [recovery.Store].
func (db *Log) HasErasure(ctx context.Context, id string) (bool, error) {
	n, err := value[int](ctx, db.read, "look for an erasure", `SELECT count(*) FROM erasures WHERE id = $1`, id)
	return n > 0, err
}

// StoredRecords lists the records whose originals are kept, in the order of their ids, those after one.
func (db *Log) StoredRecords(ctx context.Context, after string, limit int) ([]notary.Record, error) {
	return records.list(ctx, db.read, "list stored records", ` WHERE stored AND id > $1 ORDER BY id LIMIT $2`, after,
		limit)
}

// RestoreSeal writes the rows of a stretch of the audit trail that a record of the log holds, where they
// are missing, and that they are sealed.
func (db *People) RestoreSeal(ctx context.Context, s people.TrailSeal, events []people.AuditEvent) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for _, e := range events {
			e.Seal = s.Number
			if err := auditEvents.add(ctx, tx, "restore an event", e,
				` ON CONFLICT (id) DO UPDATE SET seal = excluded.seal`, nil); err != nil {
				return err
			}
		}
		s.Document = nil
		return trailSeals.add(ctx, tx, "restore a seal", s, ` ON CONFLICT (trail, number) DO UPDATE
			SET record_id = excluded.record_id, record_number = excluded.record_number, document = NULL`, nil)
	})
}
