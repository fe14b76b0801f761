package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/intake"
	"stele/notary/people"
	"stele/notary/recovery"
	"stele/notary/statement"
	"stele/notary/tail"
)

var (
	_ tail.Store     = (*DB)(nil)
	_ recovery.Store = (*DB)(nil)
)

// Stretch implements [tail.Store].
func (db *DB) Stretch(ctx context.Context, first, end uint64) (tail.Stretch, error) {
	s := tail.Stretch{Format: tail.Format, First: first, Uses: []tail.Use{}}
	var rows []struct {
		Idx         int64          `db:"idx"`
		RecordIdx   int64          `db:"record_idx"`
		Statement   string         `db:"statement"`
		Signature   []byte         `db:"signature"`
		Certificate []byte         `db:"certificate"`
		KeyUse      string         `db:"key_use"`
		AgencyID    sql.NullString `db:"agency_id"`
	}
	err := db.read.SelectContext(ctx, &rows, `SELECT e.idx, e.record_idx, e.statement, e.signature, e.certificate, e.key_use, c.agency_id
		FROM entries e LEFT JOIN certificates c ON c.fingerprint = e.certificate WHERE e.idx >= $1 AND e.idx < $2 ORDER BY e.idx`,
		int64(first), int64(end))
	if err != nil {
		return s, fmt.Errorf("read entries: %w", err)
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
		if !r.AgencyID.Valid || len(r.Certificate) != sm.DigestSize {
			return s, fmt.Errorf("the certificate of entry %d is not there; run stele fsck", r.Idx)
		}
		e := tail.Entry{Statement: r.Statement, Signature: r.Signature, Certificate: r.Certificate, AgencyID: r.AgencyID.String, KeyUse: r.KeyUse}
		if rec, ok := byIndex[r.Idx]; ok {
			e.Record = tail.FromRecord(rec)
		}
		s.Entries = append(s.Entries, e)
		about[i], uses[r.KeyUse] = r.RecordIdx, true
	}
	if err := db.tailKeys(ctx, &s, about, byIndex); err != nil {
		return s, err
	}
	return s, db.tailUses(ctx, &s, uses)
}

// tailKeys adds the idempotency keys of the records that entries are about. The one under which a record
// was withdrawn is not that of its first entry: where the withdrawal is not restored it must not be taken
// for done. After an erasure nobody can tell the keys apart; such a key then stands for no request.
func (db *DB) tailKeys(ctx context.Context, s *tail.Stretch, about []int64, records map[int64]notary.Record) error {
	at := map[int64][]int{}
	for i, idx := range about {
		at[idx] = append(at[idx], i)
	}
	var keys []struct {
		Key         string `db:"key"`
		RequestHash []byte `db:"request_hash"`
		RecordIdx   int64  `db:"record_idx"`
	}
	// The numbers are ours: they stand in the question itself.
	list := strings.ReplaceAll(strings.Trim(fmt.Sprint(about), "[]"), " ", ",")
	if err := db.read.SelectContext(ctx, &keys, `SELECT key, request_hash, record_idx FROM idempotency WHERE record_idx IN (`+list+`)
		ORDER BY created_at, key`); err != nil {
		return fmt.Errorf("read idempotency keys: %w", err)
	}
	for _, k := range keys {
		rec := records[k.RecordIdx]
		hash := intake.RevocationHash(rec.ID, rec.Reason)
		ofRevocation := rec.Standing == notary.Revoked && bytes.Equal(k.RequestHash, hash[:])
		for _, i := range at[k.RecordIdx] {
			if ofRevocation && s.Entries[i].Record != nil {
				continue
			}
			s.Entries[i].Keys = append(s.Entries[i].Keys, tail.Key{Key: k.Key, RequestHash: k.RequestHash})
		}
	}
	return nil
}

func (db *DB) tailUses(ctx context.Context, s *tail.Stretch, ids map[string]bool) error {
	var list []string
	for id := range ids {
		list = append(list, id)
	}
	return db.eachChunk(list, func(chunk any, n int) error {
		var rows []struct {
			ID          string `db:"id"`
			AgencyID    string `db:"agency_id"`
			Certificate []byte `db:"certificate"`
			Purpose     string `db:"purpose"`
			Count       int    `db:"count"`
			Statements  []byte `db:"statements"`
			At          int64  `db:"at"`
		}
		if err := db.read.SelectContext(ctx, &rows, `SELECT id, agency_id, certificate, purpose, count, statements, at FROM key_uses WHERE id `+
			db.in(n)+` ORDER BY id`, db.args(chunk)...); err != nil {
			return fmt.Errorf("read audit rows: %w", err)
		}
		for _, r := range rows {
			s.Uses = append(s.Uses, tail.Use{ID: r.ID, AgencyID: r.AgencyID, Certificate: r.Certificate, Purpose: r.Purpose, Count: r.Count,
				Statements: r.Statements, At: r.At})
		}
		return nil
	})
}

// ErasuresSince implements [tail.Store].
func (db *DB) ErasuresSince(ctx context.Context, since time.Time) ([]tail.Erased, error) {
	var rows []struct {
		ID       string `db:"id"`
		Idx      int64  `db:"record_idx"`
		At       int64  `db:"at"`
		By       string `db:"by_whom"`
		Names    string `db:"names"`
		Document bool   `db:"document"`
		Reason   string `db:"reason"`
		All      bool   `db:"bare"`
	}
	err := db.read.SelectContext(ctx, &rows, `SELECT e.id, e.record_idx, e.at, e.by_whom, e.names, e.document, e.reason, r.reference = '' AS bare
		FROM erasures e JOIN records r ON r.idx = e.record_idx WHERE e.at >= $1 ORDER BY e.id`, micros(since))
	out := make([]tail.Erased, len(rows))
	for i, r := range rows {
		out[i] = tail.Erased{ID: r.ID, Index: uint64(r.Idx), At: r.At, By: r.By, Names: strings.Fields(r.Names), Document: r.Document,
			All: r.All, Reason: r.Reason}
	}
	return out, err
}

// SkipEvents implements [recovery.Store].
func (db *DB) SkipEvents(ctx context.Context, n uint64) error {
	_, err := db.write.ExecContext(ctx, `UPDATE log SET events = events + $1`, int64(n))
	return err
}

// Restore implements [recovery.Store].
func (db *DB) Restore(ctx context.Context, s tail.Stretch) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return fmt.Errorf("lock the log: %w", err)
		}
		if log.Received != int64(s.First) {
			return fmt.Errorf("%w: entry %d was to be restored, the database has %d", recovery.ErrMoved, s.First, log.Received)
		}
		if err := db.restoreUses(ctx, tx, s.Uses); err != nil {
			return err
		}
		for rest := s.Entries; len(rest) > 0; {
			n, err := db.restoreSome(ctx, tx, log.Received+int64(len(s.Entries)-len(rest)), rest)
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
		n := int64(len(s.Entries))
		if _, err := tx.ExecContext(ctx, `UPDATE log SET received = received + $1, events = events + 1`, n); err != nil {
			return fmt.Errorf("advance the log: %w", err)
		}
		return db.event(ctx, tx, log.Events, kindReceived, log.Received, log.Received+n-1)
	})
}

// restoreSome inserts entries up to one that withdraws or replaces what an entry before it made, and
// returns how many: those are looked up among the rows.
func (db *DB) restoreSome(ctx context.Context, tx *sqlx.Tx, first int64, entries []tail.Entry) (int, error) {
	var rows []*row
	var items []*intake.Item
	made := map[string]bool{}
	for i, e := range entries {
		it, err := e.Item()
		if err != nil {
			return 0, err
		}
		if made[affected(it)] {
			break
		}
		made[it.Record.Number] = true
		items = append(items, it)
		rows = append(rows, &row{Item: it, at: i, index: first + int64(i)})
	}
	targets, err := db.targets(ctx, tx, items)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		number := affected(r.Item)
		if number == "" {
			continue
		}
		if err := standingError(targets[number], r.Item); err != nil {
			return 0, fmt.Errorf("entry %d: %w", r.index, err)
		}
		targets[number].Standing = "taken"
		r.replaces = targets[number]
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

func (db *DB) restoreKeys(ctx context.Context, tx *sqlx.Tx, r *row, keys []tail.Key) error {
	about := r.index
	if r.Action != statement.Issue {
		about = r.replaces.Idx
	}
	for _, k := range keys {
		if _, err := tx.ExecContext(ctx, `INSERT INTO idempotency (agency_id, key, request_hash, record_idx, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT DO NOTHING`, r.Record.AgencyID, k.Key, k.RequestHash, about, micros(db.now())); err != nil {
			return fmt.Errorf("restore an idempotency key: %w", err)
		}
	}
	return nil
}

func (db *DB) restoreUses(ctx context.Context, tx *sqlx.Tx, uses []tail.Use) error {
	for _, u := range uses {
		if _, err := tx.ExecContext(ctx, `INSERT INTO key_uses (id, agency_id, certificate, purpose, count, statements, at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			u.ID, u.AgencyID, u.Certificate, u.Purpose, u.Count, u.Statements, u.At); err != nil {
			return fmt.Errorf("restore an audit row: %w", err)
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
	_, err := tx.ExecContext(ctx, `INSERT INTO number_blocks (region, year, next) VALUES ($1, $2, $3) ON CONFLICT (region, year) DO UPDATE
		SET next = CASE WHEN number_blocks.next < $4 THEN $3 ELSE number_blocks.next END`, number[:6], year, serial+1+numbersBeyond, serial+1)
	if err != nil {
		return fmt.Errorf("skip certificate numbers: %w", err)
	}
	return nil
}

// RestoreAgency implements [recovery.Store]. The last certificate of an agency that is restored is the
// one that signs, whatever the clock says.
func (db *DB) RestoreAgency(ctx context.Context, a notary.Agency, chain [][]byte) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO agencies (id, code, name, region, key_at_home, created_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO NOTHING`, a.ID, a.Code, a.Name, a.Region, a.KeyAtHome, micros(a.CreatedAt)); err != nil {
			return fmt.Errorf("restore an agency: %w", err)
		}
		fp := sm.Sum(chain[0])
		var last int64
		if err := tx.GetContext(ctx, &last, `SELECT COALESCE(MAX(created_at), 0) FROM certificates WHERE agency_id = $1`, a.ID); err != nil {
			return fmt.Errorf("read the agency's certificates: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO certificates (fingerprint, agency_id, chain, created_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (fingerprint) DO NOTHING`, fp[:], a.ID, string(pki.EncodePEM(chain...)), max(last+1, micros(db.now()))); err != nil {
			return fmt.Errorf("restore a certificate: %w", err)
		}
		return nil
	})
}

// HasErasure implements [recovery.Store].
func (db *DB) HasErasure(ctx context.Context, id string) (bool, error) {
	var n int
	err := db.read.GetContext(ctx, &n, `SELECT count(*) FROM erasures WHERE id = $1`, id)
	return n > 0, err
}

// StoredRecords lists the records whose originals are kept, in the order of their ids, those after one.
func (db *DB) StoredRecords(ctx context.Context, after string, limit int) ([]notary.Record, error) {
	var rows []recordRow
	if err := db.read.SelectContext(ctx, &rows, selectRecord+` WHERE stored AND id > $1 ORDER BY id LIMIT $2`, after, limit); err != nil {
		return nil, fmt.Errorf("list stored records: %w", err)
	}
	return toRecords(rows)
}

// RestoreSeal writes the rows of a stretch of the audit trail that a record of the log holds, where they
// are missing, and that they are sealed.
func (db *DB) RestoreSeal(ctx context.Context, s people.Seal, deeds []people.Deed) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		for _, d := range deeds {
			if _, err := tx.ExecContext(ctx, `INSERT INTO audit (`+auditColumns+`, seal) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
				ON CONFLICT (id) DO UPDATE SET seal = $13`, d.ID, micros(d.At), d.AgencyID, d.UserID, d.Login, string(d.Role), string(d.Act), d.About,
				d.Detail, d.Network, d.Outcome, sql.NullString{String: d.Form, Valid: d.Form != ""}, s.Number); err != nil {
				return fmt.Errorf("restore a deed: %w", err)
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO audit_seals (`+sealColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, $9, $10, $11)
			ON CONFLICT (trail, number) DO UPDATE SET record_id = $9, record_number = $10, document = NULL`,
			s.Trail, s.Number, s.AgencyID, s.First, s.Last, s.Deeds, s.SM3[:], s.Title, s.RecordID, s.Record, micros(s.CreatedAt))
		if err != nil {
			return fmt.Errorf("restore a seal: %w", err)
		}
		return nil
	})
}
