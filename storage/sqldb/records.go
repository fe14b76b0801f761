package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/anchorproof"
	"stele/notary/archive"
	"stele/notary/statement"
)

var (
	_ archive.Store       = (*DB)(nil)
	_ archive.Checkpoints = (*DB)(nil)
)

type recordRow struct {
	Idx         int64  `db:"idx"`
	ID          string `db:"id"`
	AgencyID    string `db:"agency_id"`
	Number      string `db:"number"`
	Code        string `db:"code"`
	SM3         []byte `db:"sm3"`
	Size        int64  `db:"size"`
	MediaType   string `db:"media_type"`
	Class       string `db:"class"`
	Fields      string `db:"fields"`
	Supersedes  string `db:"supersedes"`
	Stored      bool   `db:"stored"`
	Version     string `db:"version"`
	IssuedAt    int64  `db:"issued_at"`
	ReceivedAt  int64  `db:"received_at"`
	Standing    string `db:"standing"`
	StandingIdx int64  `db:"standing_idx"`
	StandingAt  int64  `db:"standing_at"`
	StandingBy  string `db:"standing_by"`
	Reason      string `db:"reason"`
	Reference   string `db:"reference"`
}

func (r *recordRow) record() (notary.Record, error) {
	fields, err := decodeFields(r.Fields)
	if err != nil || len(r.SM3) != sm.DigestSize {
		return notary.Record{}, fmt.Errorf("row of record %s is damaged: %v", r.ID, err)
	}
	return notary.Record{ID: r.ID, Index: uint64(r.Idx), AgencyID: r.AgencyID, Number: r.Number, Code: r.Code, SM3: sm.Digest(r.SM3), Size: uint64(r.Size),
		MediaType: r.MediaType, Class: r.Class, Fields: fields, Supersedes: r.Supersedes, Stored: r.Stored, Version: r.Version,
		IssuedAt: fromMicros(r.IssuedAt), ReceivedAt: fromMicros(r.ReceivedAt), Standing: notary.Standing(r.Standing),
		StandingIndex: uint64(r.StandingIdx), StandingAt: fromMicros(r.StandingAt), StandingBy: r.StandingBy, Reason: r.Reason, Reference: r.Reference}, nil
}

// storedField keeps the column short; it is never hashed.
type storedField struct {
	N string
	S []byte
	V string
}

func encodeFields(fields []notary.Field) (string, error) {
	l := make([]storedField, len(fields))
	for i, f := range fields {
		l[i] = storedField{f.Name, f.Salt, f.Value}
	}
	b, err := json.Marshal(l)
	return string(b), err
}

func decodeFields(s string) ([]notary.Field, error) {
	var l []storedField
	if err := json.Unmarshal([]byte(s), &l); err != nil {
		return nil, err
	}
	out := make([]notary.Field, len(l))
	for i, f := range l {
		out[i] = notary.Field{Name: f.N, Salt: f.S, Value: f.V}
	}
	return out, nil
}

var selectRecord = `SELECT ` + strings.Join(recordColumns, ", ") + ` FROM records`

func findRecord(ctx context.Context, q sqlx.QueryerContext, where string, args ...any) (notary.Record, error) {
	var r recordRow
	if err := sqlx.GetContext(ctx, q, &r, selectRecord+` WHERE `+where, args...); err != nil {
		return notary.Record{}, notFound(err)
	}
	return r.record()
}

// storable reports whether a text can be in a column at all: PostgreSQL answers a question
// for any other text with an error.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// FindRecord implements [archive.Store] and intake.Store.
func (db *DB) FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error) {
	if !storable(idOrNumber) {
		return notary.Record{}, notary.ErrNotFound
	}
	column := "id"
	if notary.ValidNumber(idOrNumber) {
		column = "number"
	}
	return findRecord(ctx, db.read, column+` = $1 AND ($2 = '' OR agency_id = $2 AND class <> '`+notary.TrailClass+`')`, idOrNumber, agencyID)
}

// ListRecords implements [archive.Store].
func (db *DB) ListRecords(ctx context.Context, f archive.Filter) ([]notary.Record, error) {
	where, args, ok, err := db.recordsWhere(ctx, f)
	if err != nil || !ok {
		return []notary.Record{}, err
	}
	if f.Text != "" || f.Person != "" {
		return db.searchRecords(ctx, f, where, args)
	}
	return db.selectRecords(ctx, where, args, f.Limit)
}

func (db *DB) selectRecords(ctx context.Context, where string, args []any, limit int) ([]notary.Record, error) {
	args = append(args, limit)
	var rows []recordRow
	if err := db.read.SelectContext(ctx, &rows, selectRecord+where+fmt.Sprintf(` ORDER BY idx DESC LIMIT $%d`, len(args)), args...); err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	return toRecords(rows)
}

// CountRecords counts what a filter selects, at most as many as given: a number on a page must
// not cost a look at every row.
func (db *DB) CountRecords(ctx context.Context, f archive.Filter, most int) (int, error) {
	if f.Text != "" || f.Person != "" {
		f.Limit = most
		found, err := db.ListRecords(ctx, f)
		return len(found), err
	}
	where, args, ok, err := db.recordsWhere(ctx, f)
	if err != nil || !ok {
		return 0, err
	}
	args = append(args, most)
	var n int
	if err := db.read.GetContext(ctx, &n, `SELECT count(*) FROM (SELECT 1 FROM records`+where+fmt.Sprintf(` ORDER BY idx DESC LIMIT $%d) AS found`, len(args)), args...); err != nil {
		return 0, fmt.Errorf("count records: %w", err)
	}
	return n, nil
}

// recordsWhere is a filter as a condition; ok is false when no record can satisfy it.
func (db *DB) recordsWhere(ctx context.Context, f archive.Filter) (where string, args []any, ok bool, err error) {
	if !storable(f.Class) || !storable(string(f.Standing)) || !storable(f.Reference) || !storable(f.Text) || !storable(f.Person) {
		return "", nil, false, nil
	}
	var conditions []string
	arg := func(v any) int {
		args = append(args, v)
		return len(args)
	}
	add := func(cond string, v any) { conditions = append(conditions, fmt.Sprintf(cond, arg(v))) }
	if f.AgencyID != "" {
		add("agency_id = $%d AND class <> '"+notary.TrailClass+"'", f.AgencyID)
	}
	if f.SM3 != nil {
		add("sm3 = $%d", f.SM3[:])
	}
	if f.Class != "" {
		add("class = $%d", f.Class)
	}
	if f.Standing != "" {
		add("standing = $%d", string(f.Standing))
	}
	if f.Reference != "" {
		// The second condition is the index's own: without it the index is not used.
		add("reference = $%d AND reference <> ''", f.Reference)
	}
	if f.Text != "" {
		conditions = append(conditions, db.textCondition(arg, f.Text, "fields", "reference"))
	}
	if f.Person != "" {
		conditions = append(conditions, db.textCondition(arg, f.Person, "fields"))
	}
	if f.Before != nil {
		add("idx < $%d", int64(*f.Before))
	}
	if f.Least > 0 {
		add("idx >= $%d", int64(f.Least))
	}
	// There is no index by time, which every record would pay for. Indexes grow with time but
	// for what lies between signing and receipt, so that they narrow the search.
	if !f.From.IsZero() {
		first, err := db.indexAt(ctx, f.From.Add(-issueSlack))
		if err != nil {
			return "", nil, false, err
		}
		add("idx >= $%d", first)
		add("issued_at >= $%d", micros(f.From))
	}
	if !f.To.IsZero() {
		last, err := db.indexAt(ctx, f.To.Add(issueSlack))
		if err != nil {
			return "", nil, false, err
		}
		add("idx < $%d", last)
		add("issued_at < $%d", micros(f.To))
	}
	if len(conditions) > 0 {
		where = ` WHERE ` + strings.Join(conditions, " AND ")
	}
	return where, args, true, nil
}

// issueSlack is more than can lie between a record's time of issue and its receipt: a
// statement that waits for its agency's signature waits no longer.
const issueSlack = 48 * time.Hour

// indexAt finds an index before which records were issued before a time, and from which on at
// that time or later, but for issueSlack. Each step reads one row by its key.
func (db *DB) indexAt(ctx context.Context, at time.Time) (int64, error) {
	var end int64
	if err := db.read.GetContext(ctx, &end, `SELECT received FROM log`); err != nil {
		return 0, fmt.Errorf("read the log's size: %w", err)
	}
	low, high := int64(0), end
	for low < high {
		middle := low + (high-low)/2
		var row struct {
			Idx      int64 `db:"idx"`
			IssuedAt int64 `db:"issued_at"`
		}
		// A revocation has an index of its own and is no record: the next one is looked at.
		err := db.read.GetContext(ctx, &row, `SELECT idx, issued_at FROM records WHERE idx >= $1 ORDER BY idx LIMIT 1`, middle)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			high = middle
		case err != nil:
			return 0, fmt.Errorf("search by time: %w", err)
		case row.IssuedAt < micros(at):
			low = row.Idx + 1
		default:
			high = middle
		}
	}
	return low, nil
}

func toRecords(rows []recordRow) ([]notary.Record, error) {
	out := make([]notary.Record, len(rows))
	for i := range rows {
		var err error
		if out[i], err = rows[i].record(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ExistingRecords implements intake.Rows.
func (db *DB) ExistingRecords(ctx context.Context, ids []string) (map[string]bool, error) {
	return db.existing(ctx, `(SELECT id FROM records r WHERE r.stored OR NOT EXISTS (SELECT 1 FROM erasures e WHERE e.record_idx = r.idx AND e.document)) AS kept`, ids)
}

// existing returns those of the ids that a table has.
func (db *DB) existing(ctx context.Context, table string, ids []string) (map[string]bool, error) {
	out := map[string]bool{}
	err := db.eachChunk(ids, func(list any, n int) error {
		var found []string
		// The write side: a reader's snapshot could miss a row that was just committed.
		if err := db.write.SelectContext(ctx, &found, `SELECT id FROM `+table+` WHERE id `+db.in(n), db.args(list)...); err != nil {
			return fmt.Errorf("look up %s: %w", table, err)
		}
		for _, id := range found {
			out[id] = true
		}
		return nil
	})
	return out, err
}

// Evidence implements [archive.Store].
func (db *DB) Evidence(ctx context.Context, index, least uint64) (archive.Stored, error) {
	var r struct {
		Statement   string `db:"statement"`
		Signature   []byte `db:"signature"`
		Certificate []byte `db:"certificate"`
		Chain       string `db:"chain"`
	}
	err := db.read.GetContext(ctx, &r, `SELECT e.statement, e.signature, e.certificate, c.chain FROM entries e JOIN certificates c ON c.fingerprint = e.certificate WHERE e.idx = $1`, int64(index))
	if err != nil {
		return archive.Stored{}, notFound(err)
	}
	s := archive.Stored{Entry: statement.Entry{Statement: []byte(r.Statement), Signature: r.Signature, Certificate: sm.Digest(r.Certificate)}}
	if s.Certificates, err = pki.DecodePEM([]byte(r.Chain), pki.MaxChain); err != nil {
		return s, fmt.Errorf("certificate chain of entry %d is damaged: %w", index, err)
	}
	s.Anchored, err = db.anchoredOver(ctx, max(index+1, least))
	return s, err
}

// anchoredOver returns the smallest checkpoint of at least this size that has evidence that
// proves itself, or any where there is none of that; with what there is for it, and what
// there is first on each other chain for a later one. It returns nil when there is nothing.
func (db *DB) anchoredOver(ctx context.Context, least uint64) (*archive.AnchoredCheckpoint, error) {
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
func (db *DB) AnchoredAt(ctx context.Context, size uint64) (*archive.AnchoredCheckpoint, error) {
	c, err := db.anchoredFrom(ctx, int64(size))
	if err == nil && len(c.Anchors) == 0 {
		err = notary.ErrNotFound
	}
	return c, err
}

// anchoredFrom returns the checkpoint of a size with its evidence, and what comes later.
func (db *DB) anchoredFrom(ctx context.Context, size int64) (*archive.AnchoredCheckpoint, error) {
	rows, err := db.firstAnchors(ctx, uint64(size))
	if err != nil {
		return nil, err
	}
	out := &archive.AnchoredCheckpoint{Size: uint64(size)}
	for _, r := range rows {
		if r.Size == size {
			out.Note = []byte(r.Note)
			out.Anchors = append(out.Anchors, json.RawMessage(r.Evidence))
		} else {
			out.Later = append(out.Later, archive.LaterAnchor{Size: uint64(r.Size), Evidence: json.RawMessage(r.Evidence)})
		}
	}
	return out, nil
}

type anchorRow struct {
	Target   string `db:"target"`
	Size     int64  `db:"size"`
	Note     string `db:"note"`
	Evidence string `db:"evidence"`
}

// firstAnchors returns for each chain its smallest anchor of at least this size. The names of
// the chains are found by steps through the index: a chain may have millions of anchors.
func (db *DB) firstAnchors(ctx context.Context, size uint64) ([]anchorRow, error) {
	var rows []anchorRow
	err := db.read.SelectContext(ctx, &rows, `WITH RECURSIVE chains(target) AS (SELECT min(target) FROM anchors
			UNION ALL SELECT (SELECT min(target) FROM anchors WHERE target > chains.target) FROM chains WHERE chains.target IS NOT NULL)
		SELECT a.target, a.size, c.note, a.evidence FROM chains t JOIN anchors a ON a.target = t.target JOIN checkpoints c ON c.size = a.size
		WHERE a.size = (SELECT min(size) FROM anchors WHERE target = t.target AND size >= $1) ORDER BY a.created_at, a.target`, int64(size))
	return rows, err
}
