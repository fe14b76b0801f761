package sqldb

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/fsck"
	"stele/notary/proof/anchorproof"
)

var (
	_ archive.Store       = (*Log)(nil)
	_ archive.Checkpoints = (*Log)(nil)
)

var records = newTable("records", func(r *notary.Record) []column {
	return []column{{"idx", &r.Index}, {"id", &r.ID}, {"agency_id", &r.AgencyID}, {"number", &r.Number},
		{"code", &r.Code}, {"sm3", digest(&r.SM3)}, {"size", &r.Size}, {"media_type", &r.MediaType},
		{"class", &r.Class}, {"fields", fields{&r.Fields}}, {"supersedes", &r.Supersedes}, {"stored", &r.Stored},
		{"version", &r.Version}, {"issued_at", moment{&r.IssuedAt}}, {"received_at", moment{&r.ReceivedAt}},
		{"standing", &r.Standing},
		{"standing_idx", &r.StandingIndex}, {"standing_at", moment{&r.StandingAt}}, {"standing_by", &r.StandingBy},
		{"reason", &r.Reason}, {"reference", &r.Reference}}
})

// fields are attributes as JSON.
type fields struct{ l *[]notary.Field }

// storedField keeps the column short; it is never hashed.
type storedField struct {
	N string
	S []byte
	V string
}

func (f fields) Value() (driver.Value, error) {
	l := make([]storedField, len(*f.l))
	for i, f := range *f.l {
		l[i] = storedField{f.Name, f.Salt, f.Value}
	}
	b, err := json.Marshal(l)
	return string(b), err
}

func (f fields) Scan(src any) error {
	s, err := textOf(src)
	if err != nil {
		return err
	}
	var l []storedField
	if err := json.Unmarshal([]byte(s), &l); err != nil {
		return err
	}
	*f.l = make([]notary.Field, len(l))
	for i, v := range l {
		(*f.l)[i] = notary.Field{Name: v.N, Salt: v.S, Value: v.V}
	}
	return nil
}

// FindRecord implements [archive.Store] and intake.Store.
func (db *Log) FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error) {
	column := "id"
	if notary.ValidNumber(idOrNumber) {
		column = "number"
	}
	return records.one(ctx, db.read, ` WHERE `+column+` = $1 AND ($2 = '' OR agency_id = $2 AND class <> '`+
		notary.TrailClass+`')`, idOrNumber, agencyID)
}

// ListRecords implements [archive.Store].
func (db *Log) ListRecords(ctx context.Context, f archive.Filter) ([]notary.Record, error) {
	w, err := db.recordsWhere(ctx, f)
	if err != nil {
		return nil, err
	}
	if f.Text != "" || f.Person != "" {
		return db.searchRecords(ctx, f, w)
	}
	return db.newest(ctx, w, f.Limit)
}

// newest are the newest records that one of some conditions selects, no two of which select the same.
func (db *conn) newest(ctx context.Context, wheres []where, limit int) (out []notary.Record, err error) {
	for _, w := range wheres {
		found, err := records.page(ctx, db.read, "list records", w, "idx DESC", limit)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	if len(wheres) > 1 {
		slices.SortFunc(out, func(a, b notary.Record) int { return cmp.Compare(b.Index, a.Index) })
	}
	return out[:min(len(out), limit)], nil
}

// recordsWhere is a filter as conditions: a record fulfils one of them at most.
func (db *conn) recordsWhere(ctx context.Context, f archive.Filter) ([]where, error) {
	var w where
	given(&w, "agency_id = ? AND class <> '"+notary.TrailClass+"'", f.AgencyID)
	// A digest and a reference choose few records. Asked for as such, SQLite would rather walk through all of the
	// agency in the order of the list; so they are found first.
	if f.SM3 != nil {
		w.and("idx IN (SELECT idx FROM records WHERE sm3 = ?)", f.SM3[:])
	}
	if f.Reference != "" {
		among := where{conditions: []string{"reference = ? AND reference <> ''"}, args: []any{f.Reference}}
		given(&among, "agency_id = ?", f.AgencyID)
		w.and("idx IN (SELECT idx FROM records"+among.sql()+")", among.args...)
	}
	given(&w, "class = ?", f.Class)
	// The second condition is the index's own: without it the index is not used, as with references.
	if given(&w, "standing = ?", string(f.Standing)); f.Standing != "" && f.Standing != notary.Valid {
		w.and("standing <> '" + string(notary.Valid) + "'")
	}
	db.textCondition(&w, f.Text, "fields", "reference")
	db.textCondition(&w, f.Person, "fields")
	if f.Before != nil {
		w.and("idx < ?", int64(*f.Before))
	}
	given(&w, "idx >= ?", int64(f.Least))
	return db.inTime(ctx, w, f.From, f.To)
}

// inTime adds the time of issue to conditions. There is no index by it, which every record would pay for. Records are
// numbered in the order in which they were received, which is when they were issued but for the clocks of servers; and
// for those that waited for their agency's signature, which have a small index of their own. (Where a recovery had
// nothing but the entries, it knows no other time than that of issue. What waited then is found by another filter.)
func (db *conn) inTime(ctx context.Context, w where, from, to time.Time) ([]where, error) {
	if from.IsZero() && to.IsZero() {
		return []where{w}, nil
	}
	end, err := value[int64](ctx, db.read, "read the log's size", `SELECT received FROM log`)
	if err != nil {
		return nil, err
	}
	if !from.IsZero() {
		first, err := db.indexAt(ctx, from.Add(-receiptSlack), end)
		if err != nil {
			return nil, err
		}
		w.and("idx >= ? AND issued_at >= ?", first, micros(from))
	}
	if to.IsZero() {
		return []where{w}, nil
	}
	w.and("issued_at < ?", micros(to))
	soon, err := db.indexAt(ctx, to.Add(receiptSlack), end)
	if err != nil {
		return nil, err
	}
	last, err := db.indexAt(ctx, to.Add(issueSlack), end)
	if err != nil {
		return nil, err
	}
	late := w.clone()
	late.and("idx >= ? AND idx < ? AND "+isLate, soon, last)
	w.and("idx < ?", soon)
	return []where{w, late}, nil
}

// receiptSlack is more than lies between a record's issue and its receipt where nobody was waited for, with servers'
// clocks that differ; the index of late records begins there.
const receiptSlack = 5 * time.Minute

// isLate is the condition of that index: a record was received more than receiptSlack after it was issued.
const isLate = "received_at - issued_at > 300000000"

// issueSlack is more than can lie between a record's time of issue and its receipt: a
// statement that waits for its agency's signature waits no longer.
const issueSlack = 48 * time.Hour

// indexAt finds an index before which records were received before a time, and from which on at that time or later,
// but for servers' clocks; end is the log's size. Each step reads one row by its key.
func (db *conn) indexAt(ctx context.Context, at time.Time, end int64) (int64, error) {
	low, high := int64(0), end
	for low < high {
		middle := low + (high-low)/2
		var idx int64
		var received time.Time
		// A revocation has an index of its own and is no record: the next one is looked at.
		_, err := one(ctx, db.read, func(*struct{}) []any { return []any{&idx, moment{&received}} },
			`SELECT idx, received_at FROM records WHERE idx >= $1 ORDER BY idx LIMIT 1`, middle)
		switch {
		case errors.Is(err, notary.ErrNotFound):
			high = middle
		case err != nil:
			return 0, fmt.Errorf("search by time: %w", err)
		case micros(received) < micros(at):
			low = idx + 1
		default:
			high = middle
		}
	}
	return low, nil
}

// ExistingRecords returns those of the given ids that have a row, but for records whose original was
// erased.
func (db *Log) ExistingRecords(ctx context.Context, ids []string) (map[string]bool, error) {
	return db.existing(ctx, `(SELECT id FROM records r WHERE r.stored OR NOT EXISTS (SELECT 1 FROM erasures e WHERE `+
		`e.record_idx = r.idx AND e.document)) AS kept`, ids)
}

// existing returns those of the ids that a table has.
func (db *conn) existing(ctx context.Context, table string, ids []string) (map[string]bool, error) {
	// The write side: a reader's snapshot could miss a row that was just committed.
	found, err := listIn(ctx, db.write, "look up "+table, itself[string], `SELECT id FROM `+table+` WHERE id IN (?)`,
		ids)
	out := make(map[string]bool, len(found))
	for _, id := range found {
		out[id] = true
	}
	return out, err
}

// Evidence implements [archive.Store].
func (db *Log) Evidence(ctx context.Context, index, least uint64) (archive.Stored, error) {
	s, err := one(ctx, db.read, func(s *archive.Stored) []any {
		return []any{text{&s.Entry.Statement}, &s.Entry.Signature, digest(&s.Entry.Certificate), pem(&s.Certificates)}
	}, `SELECT e.statement, e.signature, e.certificate, c.chain FROM entries e JOIN `+
		`certificates c ON c.fingerprint = e.certificate WHERE e.idx = $1`, int64(index))
	if err != nil {
		return s, err
	}
	s.Anchored, err = db.anchoredOver(ctx, max(index+1, least))
	return s, err
}

// anchoredOver returns the smallest checkpoint of at least this size that has evidence that
// proves itself, or any where there is none of that; with what there is for it, and what
// there is first on each other chain for a later one. It returns nil when there is nothing.
func (db *conn) anchoredOver(ctx context.Context, least uint64) (*archive.AnchoredCheckpoint, error) {
	base, err := db.firstAnchors(ctx, least)
	if err != nil || len(base) == 0 {
		return nil, err
	}
	size := base[0].Size
	for _, r := range base {
		if r.Target == anchorproof.Kind {
			size = r.Size
			break
		}
		size = min(size, r.Size)
	}
	return db.anchoredFrom(ctx, size)
}

// AnchoredAt implements [archive.Checkpoints].
func (db *Log) AnchoredAt(ctx context.Context, size uint64) (*archive.AnchoredCheckpoint, error) {
	c, err := db.anchoredFrom(ctx, size)
	if err == nil && len(c.Anchors) == 0 {
		err = notary.ErrNotFound
	}
	return c, err
}

// anchoredFrom returns the checkpoint of a size with its evidence, and what comes later.
func (db *conn) anchoredFrom(ctx context.Context, size uint64) (*archive.AnchoredCheckpoint, error) {
	rows, err := db.firstAnchors(ctx, size)
	if err != nil {
		return nil, err
	}
	out := &archive.AnchoredCheckpoint{Size: size}
	for _, r := range rows {
		if r.Size == size {
			out.Note = r.Note
			out.Anchors = append(out.Anchors, r.Evidence)
		} else {
			out.Later = append(out.Later, archive.LaterAnchor{Size: r.Size, Evidence: r.Evidence})
		}
	}
	return out, nil
}

// firstAnchors returns for each chain its smallest anchor of at least this size. The names of
// the chains are found by steps through the index: a chain may have millions of anchors.
func (db *conn) firstAnchors(ctx context.Context, size uint64) ([]fsck.StoredAnchor, error) {
	return list(ctx, db.read, "read anchors", storedAnchor,
		`WITH RECURSIVE chains(target) AS (SELECT min(target) FROM anchors
			UNION ALL SELECT (SELECT min(target) FROM anchors WHERE target > chains.target) FROM chains WHERE chains.target IS NOT NULL)
		SELECT a.target, a.size, c.note, a.evidence FROM chains t JOIN anchors a ON a.target = t.target JOIN checkpoints c ON c.size = a.size
		WHERE a.size = (SELECT min(size) FROM anchors WHERE target = t.target AND size >= $1) ORDER BY a.created_at, a.target`, int64(size))
}
