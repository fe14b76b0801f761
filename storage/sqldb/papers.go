package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/filing"
	"stele/notary/webhook"
)

var (
	_ filing.Store  = (*DB)(nil)
	_ filing.Rows   = (*DB)(nil)
	_ filing.Leases = (*DB)(nil)
)

// kindApproval is the outbox row of [webhook.ApprovalRequested].
const kindApproval = string(webhook.ApprovalRequested)

type paperRow struct {
	ID          string `db:"id"`
	AgencyID    string `db:"agency_id"`
	Once        string `db:"once"`
	Kind        string `db:"kind"`
	State       string `db:"state"`
	Version     int    `db:"version"`
	Class       string `db:"class"`
	Title       string `db:"title"`
	FileName    string `db:"file_name"`
	MediaType   string `db:"media_type"`
	Reference   string `db:"reference"`
	Fields      string `db:"fields"`
	Supersedes  string `db:"supersedes"`
	Record      string `db:"record"`
	Reason      string `db:"reason"`
	File        string `db:"file"`
	Marked      string `db:"marked"`
	Marks       string `db:"marks"`
	Number      string `db:"number"`
	Code        string `db:"code"`
	Maker       string `db:"maker"`
	MakerID     string `db:"maker_id"`
	Checker     string `db:"checker"`
	Remark      string `db:"remark"`
	CreatedAt   int64  `db:"created_at"`
	SubmittedAt int64  `db:"submitted_at"`
	ChangedAt   int64  `db:"changed_at"`
}

const paperColumns = `id, agency_id, once, kind, state, version, class, title, file_name, media_type, reference, fields, supersedes, record, reason, file, marked, marks, number, code,
	maker, maker_id, checker, remark, created_at, submitted_at, changed_at`

// paperValues are the same columns as named parameters.
var paperValues = ":" + strings.Join(strings.Fields(paperColumns), " :")

type fileColumn struct {
	Key  string `json:"key"`
	SM3  string `json:"sm3"`
	Size int64  `json:"size"`
}

func columnOf(f filing.File) fileColumn { return fileColumn{f.Key, f.SM3.String(), f.Size} }

func (c fileColumn) file() (filing.File, error) {
	d, err := sm.ParseDigest(c.SM3)
	return filing.File{Key: c.Key, SM3: d, Size: c.Size}, err
}

func rowOfPaper(p filing.Paper) (paperRow, error) {
	r := paperRow{ID: p.ID, AgencyID: p.AgencyID, Once: p.Once, Kind: string(p.Kind), State: string(p.State), Version: p.Version, Class: p.Class, Title: p.Title, FileName: p.FileName,
		MediaType: p.MediaType, Reference: p.Reference, Supersedes: p.Supersedes, Record: p.Record, Reason: p.Reason, Marks: string(p.Marks), Number: p.Number, Code: p.Code, MakerID: p.Maker.ID,
		Remark: p.Remark, CreatedAt: micros(p.CreatedAt), SubmittedAt: micros(p.SubmittedAt), ChangedAt: micros(p.ChangedAt)}
	for _, c := range []struct {
		to *string
		v  any
	}{{&r.Fields, p.Fields}, {&r.File, columnOf(p.File)}, {&r.Marked, columnOf(p.Marked)}, {&r.Maker, p.Maker}, {&r.Checker, p.Checker}} {
		text, err := json.Marshal(c.v)
		if err != nil {
			return r, fmt.Errorf("encode a paper: %w", err)
		}
		*c.to = string(text)
	}
	return r, nil
}

func (r *paperRow) paper() (filing.Paper, error) {
	p := filing.Paper{ID: r.ID, AgencyID: r.AgencyID, Once: r.Once, Kind: filing.Kind(r.Kind), State: filing.State(r.State), Version: r.Version, Class: r.Class, Title: r.Title, FileName: r.FileName,
		MediaType: r.MediaType, Reference: r.Reference, Supersedes: r.Supersedes, Record: r.Record, Reason: r.Reason, Number: r.Number, Code: r.Code,
		Remark: r.Remark, CreatedAt: fromMicros(r.CreatedAt), SubmittedAt: fromMicros(r.SubmittedAt), ChangedAt: fromMicros(r.ChangedAt)}
	if r.Marks != "" {
		p.Marks = json.RawMessage(r.Marks)
	}
	var file, marked fileColumn
	for _, c := range []struct {
		text string
		to   any
	}{{r.Fields, &p.Fields}, {r.File, &file}, {r.Marked, &marked}, {r.Maker, &p.Maker}, {r.Checker, &p.Checker}} {
		if err := json.Unmarshal([]byte(c.text), c.to); err != nil {
			return p, fmt.Errorf("the row of paper %s is damaged", r.ID)
		}
	}
	var err, err2 error
	p.File, err = file.file()
	p.Marked, err2 = marked.file()
	return p, errors.Join(err, err2)
}

// AddPaper implements [filing.Store].
func (db *DB) AddPaper(ctx context.Context, p filing.Paper, upload string) (out filing.Paper, err error) {
	row, err := rowOfPaper(p)
	if err != nil {
		return p, err
	}
	if !storable(p.Once) || !storable(upload) {
		return p, notary.ErrNotFound
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		// Of two who come at once the second waits here for the first, and gets its paper.
		res, err := tx.NamedExecContext(ctx, `INSERT INTO papers (`+paperColumns+`) VALUES (`+paperValues+`) ON CONFLICT (agency_id, once) DO NOTHING`, row)
		if err != nil {
			return fmt.Errorf("add a paper: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			var there paperRow
			if err := tx.GetContext(ctx, &there, `SELECT `+paperColumns+` FROM papers WHERE agency_id = $1 AND once = $2`, p.AgencyID, p.Once); err != nil {
				return fmt.Errorf("find the paper: %w", err)
			}
			out, err = there.paper()
			return err
		}
		out = p
		if upload == "" {
			return nil
		}
		return execOne(ctx, tx, notary.ErrNotFound, `DELETE FROM uploads WHERE id = $1 AND agency_id = $2`, upload, p.AgencyID)
	})
	return out, err
}

// FindPaper implements [filing.Store].
func (db *DB) FindPaper(ctx context.Context, agencyID, id string) (filing.Paper, error) {
	return db.findPaper(ctx, db.read, agencyID, id, "")
}

func (db *DB) findPaper(ctx context.Context, q sqlx.QueryerContext, agencyID, id, lock string) (filing.Paper, error) {
	var r paperRow
	if !storable(id) {
		return filing.Paper{}, notary.ErrNotFound
	}
	if err := sqlx.GetContext(ctx, q, &r, `SELECT `+paperColumns+` FROM papers WHERE id = $1 AND agency_id = $2`+lock, id, agencyID); err != nil {
		return filing.Paper{}, notFound(err)
	}
	return r.paper()
}

// ChangePaper implements [filing.Store].
func (db *DB) ChangePaper(ctx context.Context, agencyID, id string, change func(*filing.Paper) error) (p filing.Paper, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		if p, err = db.findPaper(ctx, tx, agencyID, id, db.forUpdate()); err != nil {
			return err
		}
		before := p.State
		if err := change(&p); err != nil {
			return err
		}
		row, err := rowOfPaper(p)
		if err != nil {
			return err
		}
		if _, err := tx.NamedExecContext(ctx, `UPDATE papers SET state = :state, version = :version, class = :class, title = :title, reference = :reference, fields = :fields, supersedes = :supersedes, reason = :reason,
			record = :record, file = :file, marked = :marked, marks = :marks, number = :number, code = :code, checker = :checker, remark = :remark, submitted_at = :submitted_at, changed_at = :changed_at
			WHERE id = :id`, row); err != nil {
			return fmt.Errorf("change a paper: %w", err)
		}
		if p.State == filing.Waiting && before != filing.Waiting {
			return db.notice(ctx, tx, kindApproval, agencyID, p.ID, "", p.Class)
		}
		return nil
	})
	return p, err
}

// Papers implements [filing.Store].
func (db *DB) Papers(ctx context.Context, q filing.Query) ([]filing.Paper, error) {
	where, args := []string{"agency_id = ?"}, []any{q.AgencyID}
	if len(q.States) > 0 {
		in, values, err := sqlx.In("state IN (?)", q.States)
		if err != nil {
			return nil, err
		}
		where, args = append(where, in), append(args, values...)
	}
	if q.MakerID != "" {
		where, args = append(where, "maker_id = ?"), append(args, q.MakerID)
	}
	if q.Before != "" {
		where, args = append(where, "id < ?"), append(args, q.Before)
	}
	return db.papers(ctx, `SELECT `+paperColumns+` FROM papers WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, append(args, q.Limit)...)
}

func (db *DB) papers(ctx context.Context, query string, args ...any) ([]filing.Paper, error) {
	var rows []paperRow
	if err := db.read.SelectContext(ctx, &rows, sqlx.Rebind(sqlx.DOLLAR, query), args...); err != nil {
		return nil, fmt.Errorf("list papers: %w", err)
	}
	out, errs := make([]filing.Paper, len(rows)), make([]error, len(rows))
	for i := range rows {
		out[i], errs[i] = rows[i].paper()
	}
	return out, errors.Join(errs...)
}

// CountPapers implements [filing.Store].
func (db *DB) CountPapers(ctx context.Context, agencyID string) (map[filing.State]int, error) {
	var rows []struct {
		State string `db:"state"`
		N     int    `db:"n"`
	}
	if err := db.read.SelectContext(ctx, &rows, `SELECT state, count(*) AS n FROM papers WHERE agency_id = $1 AND state IN ('draft', 'waiting', 'returned', 'approved') GROUP BY state`, agencyID); err != nil {
		return nil, fmt.Errorf("count papers: %w", err)
	}
	out := map[filing.State]int{}
	for _, r := range rows {
		out[filing.State(r.State)] = r.N
	}
	return out, nil
}

// ApprovedPapers implements [filing.Rows].
func (db *DB) ApprovedPapers(ctx context.Context, limit int) ([]filing.Paper, error) {
	return db.papers(ctx, `SELECT `+paperColumns+` FROM papers WHERE state = 'approved' ORDER BY changed_at LIMIT ?`, limit)
}

// OpenPapers implements [filing.Rows].
func (db *DB) OpenPapers(ctx context.Context, ids []string) (map[string]filing.Paper, error) {
	out := map[string]filing.Paper{}
	if len(ids) == 0 {
		return out, nil
	}
	query, args, err := sqlx.In(`SELECT `+paperColumns+` FROM papers WHERE state IN ('draft', 'waiting', 'returned', 'approved') AND id IN (?)`, ids)
	if err != nil {
		return nil, err
	}
	list, err := db.papers(ctx, query, args...)
	for _, p := range list {
		out[p.ID] = p
	}
	return out, err
}
