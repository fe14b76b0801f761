package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/bulk"
)

var (
	_ bulk.Store = (*DB)(nil)
	_ bulk.Work  = (*DB)(nil)
)

type bulkRow struct {
	ID        string `db:"id"`
	AgencyID  string `db:"agency_id"`
	Once      string `db:"once"`
	State     string `db:"state"`
	Version   int    `db:"version"`
	Class     string `db:"class"`
	Name      string `db:"name"`
	Header    string `db:"header"`
	Files     bool   `db:"files"`
	Zip       string `db:"zip"`
	Folder    string `db:"folder"`
	Second    bool   `db:"second"`
	LeftNames string `db:"left_names"`
	LeftOver  int    `db:"left_over"`
	Trouble   string `db:"trouble"`
	Notices   string `db:"notices"`
	Partial   bool   `db:"partial"`
	Maker     string `db:"maker"`
	Checker   string `db:"checker"`
	Remark    string `db:"remark"`
	Forgotten bool   `db:"forgotten"`
	CreatedAt int64  `db:"created_at"`
	ChangedAt int64  `db:"changed_at"`
	DoneAt    int64  `db:"done_at"`
}

const bulkColumns = `id, agency_id, once, state, version, class, name, header, files, zip, folder, second, left_names, left_over, trouble, notices, partial, maker, checker, remark, forgotten, created_at, changed_at, done_at`

func rowOfBulk(j bulk.Job) (bulkRow, error) {
	r := bulkRow{ID: j.ID, AgencyID: j.AgencyID, Once: j.Once, State: string(j.State), Version: j.Version, Class: j.Class, Name: j.Name, Files: j.Files, Zip: j.Zip, Folder: j.Folder, Second: j.Second,
		LeftOver: j.LeftOver, Partial: j.Partial, Remark: j.Remark, Forgotten: j.Forgotten, CreatedAt: micros(j.CreatedAt), ChangedAt: micros(j.ChangedAt), DoneAt: micros(j.DoneAt)}
	var err error
	for _, c := range []struct {
		to *string
		v  any
	}{{&r.Header, j.Header}, {&r.LeftNames, j.Left}, {&r.Trouble, j.Trouble}, {&r.Notices, j.Notices}, {&r.Maker, j.Maker}, {&r.Checker, j.Checker}} {
		*c.to, err = asJSON(c.v, err)
	}
	return r, err
}

// asJSON encodes a column after others: the first error stays.
func asJSON(v any, before error) (string, error) {
	text, err := json.Marshal(v)
	return string(text), errors.Join(before, err)
}

func (r *bulkRow) job() (bulk.Job, error) {
	j := bulk.Job{ID: r.ID, AgencyID: r.AgencyID, Once: r.Once, State: bulk.State(r.State), Version: r.Version, Class: r.Class, Name: r.Name, Files: r.Files, Zip: r.Zip, Folder: r.Folder, Second: r.Second,
		LeftOver: r.LeftOver, Partial: r.Partial, Remark: r.Remark, Forgotten: r.Forgotten, CreatedAt: fromMicros(r.CreatedAt), ChangedAt: fromMicros(r.ChangedAt), DoneAt: fromMicros(r.DoneAt), Count: map[bulk.RowState]int{}}
	for _, c := range []struct {
		text string
		to   any
	}{{r.Header, &j.Header}, {r.LeftNames, &j.Left}, {r.Trouble, &j.Trouble}, {r.Notices, &j.Notices}, {r.Maker, &j.Maker}, {r.Checker, &j.Checker}} {
		if err := json.Unmarshal([]byte(c.text), c.to); err != nil {
			return j, fmt.Errorf("the row of bulk job %s is damaged", r.ID)
		}
	}
	return j, nil
}

// bulkJobs reads jobs and counts their rows.
func bulkJobs(ctx context.Context, q sqlx.QueryerContext, query string, args ...any) ([]bulk.Job, error) {
	var rows []bulkRow
	if err := sqlx.SelectContext(ctx, q, &rows, sqlx.Rebind(sqlx.DOLLAR, query), args...); err != nil {
		return nil, fmt.Errorf("list bulk jobs: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	out, at, ids := make([]bulk.Job, len(rows)), map[string]int{}, make([]string, len(rows))
	var err error
	for i := range rows {
		if out[i], err = rows[i].job(); err != nil {
			return nil, err
		}
		at[rows[i].ID], ids[i] = i, rows[i].ID
	}
	query, args, err = sqlx.In(`SELECT job_id, state, count(*) AS n FROM bulk_rows WHERE job_id IN (?) GROUP BY job_id, state`, ids)
	if err != nil {
		return nil, err
	}
	var counts []struct {
		JobID string `db:"job_id"`
		State string `db:"state"`
		N     int    `db:"n"`
	}
	if err := sqlx.SelectContext(ctx, q, &counts, sqlx.Rebind(sqlx.DOLLAR, query), args...); err != nil {
		return nil, fmt.Errorf("count the rows of bulk jobs: %w", err)
	}
	for _, c := range counts {
		out[at[c.JobID]].Count[bulk.RowState(c.State)] = c.N
	}
	return out, nil
}

func findBulk(ctx context.Context, q sqlx.QueryerContext, agencyID, id, lock string) (bulk.Job, error) {
	if !storable(id) {
		return bulk.Job{}, notary.ErrNotFound
	}
	list, err := bulkJobs(ctx, q, `SELECT `+bulkColumns+` FROM bulk_jobs WHERE id = ? AND agency_id = ?`+lock, id, agencyID)
	if err == nil && len(list) == 0 {
		err = notary.ErrNotFound
	}
	if err != nil {
		return bulk.Job{}, err
	}
	return list[0], nil
}

// AddBulk implements [bulk.Store].
func (db *DB) AddBulk(ctx context.Context, j bulk.Job, rows []bulk.Row) (out bulk.Job, err error) {
	row, err := rowOfBulk(j)
	if err != nil {
		return j, err
	}
	if !storable(j.Once) || !storable(j.Name) {
		return j, notary.ErrNotFound
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		// Of two who come at once the second waits here for the first, and gets its job.
		res, err := tx.NamedExecContext(ctx, `INSERT INTO bulk_jobs (`+bulkColumns+`) VALUES (`+named(bulkColumns)+`) ON CONFLICT (agency_id, once) DO NOTHING`, row)
		if err != nil {
			return fmt.Errorf("add a bulk job: %w", err)
		}
		id := j.ID
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			if err := tx.GetContext(ctx, &id, `SELECT id FROM bulk_jobs WHERE agency_id = $1 AND once = $2`, j.AgencyID, j.Once); err != nil {
				return fmt.Errorf("find the bulk job: %w", err)
			}
		} else if err := insertBulkRows(ctx, tx, j.ID, rows); err != nil {
			return err
		}
		out, err = findBulk(ctx, tx, j.AgencyID, id, "")
		return err
	})
	return out, err
}

// named are the parameters of columns.
func named(columns string) string { return ":" + strings.Join(strings.Fields(columns), " :") }

type bulkRowRow struct {
	JobID    string `db:"job_id"`
	No       int    `db:"no"`
	Line     int    `db:"line"`
	State    string `db:"state"`
	Cells    string `db:"cells"`
	Item     string `db:"item"`
	Problems string `db:"problems"`
	Record   string `db:"record"`
	Number   string `db:"number"`
}

const bulkRowColumns = `job_id, no, line, state, cells, item, problems, record, number`

// bulkInsert is how many rows go into one statement: both databases bound the parameters of one.
const bulkInsert = 500

func rowsOfBulk(jobID string, rows []bulk.Row) (out []bulkRowRow, err error) {
	out = make([]bulkRowRow, len(rows))
	for i, r := range rows {
		o := bulkRowRow{JobID: jobID, No: r.No, Line: r.Line, State: string(r.State), Record: r.Record, Number: r.Number}
		if r.Cells != nil {
			o.Cells, err = asJSON(r.Cells, err)
		}
		if r.Item != nil {
			o.Item, err = asJSON(r.Item, err)
		}
		if len(r.Problems) > 0 {
			o.Problems, err = asJSON(r.Problems, err)
		}
		out[i] = o
	}
	return out, err
}

func insertBulkRows(ctx context.Context, tx *sqlx.Tx, jobID string, rows []bulk.Row) error {
	all, err := rowsOfBulk(jobID, rows)
	if err != nil {
		return err
	}
	for len(all) > 0 {
		n := min(len(all), bulkInsert)
		if _, err := tx.NamedExecContext(ctx, `INSERT INTO bulk_rows (`+bulkRowColumns+`) VALUES (`+named(bulkRowColumns)+`)`, all[:n]); err != nil {
			return fmt.Errorf("add the rows of a bulk job: %w", err)
		}
		all = all[n:]
	}
	return nil
}

// FindBulk implements [bulk.Store].
func (db *DB) FindBulk(ctx context.Context, agencyID, id string) (bulk.Job, error) {
	return findBulk(ctx, db.read, agencyID, id, "")
}

// ChangeBulk implements [bulk.Store].
func (db *DB) ChangeBulk(ctx context.Context, agencyID, id string, change func(*bulk.Job) error) (j bulk.Job, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		if j, err = findBulk(ctx, tx, agencyID, id, db.forUpdate()); err != nil {
			return err
		}
		before := j
		if err := change(&j); err != nil {
			return err
		}
		if err := updateBulk(ctx, tx, j); err != nil {
			return err
		}
		if before.State == bulk.Done && j.State == bulk.Running {
			if _, err := tx.ExecContext(ctx, `UPDATE bulk_rows SET state = 'ready', problems = '' WHERE job_id = $1 AND state = 'failed'`, id); err != nil {
				return fmt.Errorf("try rows again: %w", err)
			}
		}
		if j.Forgotten && !before.Forgotten {
			if _, err := tx.ExecContext(ctx, `UPDATE bulk_rows SET cells = '', item = '' WHERE job_id = $1`, id); err != nil {
				return fmt.Errorf("forget rows: %w", err)
			}
		}
		if j.State == bulk.Waiting && before.State != bulk.Waiting {
			if err := db.notice(ctx, tx, kindApproval, agencyID, j.ID, "", j.Class); err != nil {
				return err
			}
		}
		j, err = findBulk(ctx, tx, agencyID, id, "")
		return err
	})
	return j, err
}

func updateBulk(ctx context.Context, tx *sqlx.Tx, j bulk.Job) error {
	row, err := rowOfBulk(j)
	if err != nil {
		return err
	}
	if _, err := tx.NamedExecContext(ctx, `UPDATE bulk_jobs SET state = :state, version = :version, zip = :zip, folder = :folder, second = :second, left_names = :left_names, left_over = :left_over,
		trouble = :trouble, partial = :partial, checker = :checker, remark = :remark, forgotten = :forgotten, changed_at = :changed_at, done_at = :done_at WHERE id = :id`, row); err != nil {
		return fmt.Errorf("change a bulk job: %w", err)
	}
	return nil
}

// Bulks implements [bulk.Store].
func (db *DB) Bulks(ctx context.Context, q bulk.Query) ([]bulk.Job, error) {
	where, args := []string{"agency_id = ?"}, []any{q.AgencyID}
	if len(q.States) > 0 {
		in, values, err := sqlx.In("state IN (?)", q.States)
		if err != nil {
			return nil, err
		}
		where, args = append(where, in), append(args, values...)
	}
	if q.Before != "" {
		where, args = append(where, "id < ?"), append(args, q.Before)
	}
	return bulkJobs(ctx, db.read, `SELECT `+bulkColumns+` FROM bulk_jobs WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, append(args, q.Limit)...)
}

// BulkRows implements [bulk.Store].
func (db *DB) BulkRows(ctx context.Context, q bulk.RowQuery) ([]bulk.Row, error) {
	where, args := []string{"job_id = ?", "no > ?"}, []any{q.JobID, q.After}
	if len(q.States) > 0 {
		in, values, err := sqlx.In("state IN (?)", q.States)
		if err != nil {
			return nil, err
		}
		where, args = append(where, in), append(args, values...)
	}
	var rows []bulkRowRow
	if err := db.read.SelectContext(ctx, &rows, sqlx.Rebind(sqlx.DOLLAR, `SELECT `+bulkRowColumns+` FROM bulk_rows WHERE `+strings.Join(where, " AND ")+` ORDER BY no LIMIT ?`), append(args, q.Limit)...); err != nil {
		return nil, fmt.Errorf("list the rows of a bulk job: %w", err)
	}
	out := make([]bulk.Row, len(rows))
	for i, r := range rows {
		out[i] = bulk.Row{No: r.No, Line: r.Line, State: bulk.RowState(r.State), Record: r.Record, Number: r.Number}
		for _, c := range []struct {
			text string
			to   any
		}{{r.Cells, &out[i].Cells}, {r.Item, &out[i].Item}, {r.Problems, &out[i].Problems}} {
			if c.text == "" {
				continue
			}
			if err := json.Unmarshal([]byte(c.text), c.to); err != nil {
				return nil, fmt.Errorf("row %d of bulk job %s is damaged", r.No, q.JobID)
			}
		}
	}
	return out, nil
}

// CheckedBulk implements [bulk.Work].
func (db *DB) CheckedBulk(ctx context.Context, j bulk.Job, rows []bulk.Row) error {
	all, err := rowsOfBulk(j.ID, rows)
	if err != nil {
		return err
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		now, err := findBulk(ctx, tx, j.AgencyID, j.ID, db.forUpdate())
		if err != nil {
			return err
		}
		if now.State != bulk.Uploaded || now.Version != j.Version-1 {
			return notary.Errorf(notary.CodeConflict, "Somebody has changed this job meanwhile. Nothing was saved.")
		}
		if err := updateBulk(ctx, tx, j); err != nil {
			return err
		}
		return eachBulkRow(ctx, tx, `UPDATE bulk_rows SET state = :state, item = :item, problems = :problems WHERE job_id = :job_id AND no = :no`, all)
	})
}

// eachBulkRow runs one prepared statement for each row.
func eachBulkRow(ctx context.Context, tx *sqlx.Tx, query string, rows []bulkRowRow) error {
	stmt, err := tx.PrepareNamedContext(ctx, query)
	if err != nil {
		return fmt.Errorf("prepare the rows of a bulk job: %w", err)
	}
	defer stmt.Close()
	for _, r := range rows {
		if _, err := stmt.ExecContext(ctx, r); err != nil {
			return fmt.Errorf("change row %d of a bulk job: %w", r.No, err)
		}
	}
	return nil
}

// SettleBulk implements [bulk.Work].
func (db *DB) SettleBulk(ctx context.Context, jobID string, rows []bulk.Row) error {
	var settled []bulk.Row
	for _, r := range rows {
		switch r.State {
		case bulk.Settled:
			r.Cells, r.Item, r.Problems = nil, nil, nil
			settled = append(settled, r)
		case bulk.Failed:
			settled = append(settled, r)
		}
	}
	all, err := rowsOfBulk(jobID, settled)
	if err != nil || len(all) == 0 {
		return err
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		return eachBulkRow(ctx, tx, `UPDATE bulk_rows SET state = :state, cells = :cells, item = :item, problems = :problems, record = :record, number = :number
			WHERE job_id = :job_id AND no = :no AND state = 'ready'`, all)
	})
}

// OpenBulks implements [bulk.Work].
func (db *DB) OpenBulks(ctx context.Context, states []bulk.State, before time.Time, limit int) ([]bulk.Job, error) {
	in, args, err := sqlx.In("state IN (?)", states)
	if err != nil {
		return nil, err
	}
	if !before.IsZero() {
		in, args = in+" AND changed_at < ?", append(args, micros(before))
	}
	return bulkJobs(ctx, db.read, `SELECT `+bulkColumns+` FROM bulk_jobs WHERE NOT forgotten AND `+in+` ORDER BY changed_at LIMIT ?`, append(args, limit)...)
}

// KeptBulks implements [bulk.Work].
func (db *DB) KeptBulks(ctx context.Context, ids []string) (map[string]bulk.Job, error) {
	out := map[string]bulk.Job{}
	if len(ids) == 0 {
		return out, nil
	}
	query, args, err := sqlx.In(`SELECT `+bulkColumns+` FROM bulk_jobs WHERE NOT forgotten AND id IN (?)`, ids)
	if err != nil {
		return nil, err
	}
	list, err := bulkJobs(ctx, db.read, query, args...)
	for _, j := range list {
		out[j.ID] = j
	}
	return out, err
}

// Registered implements [bulk.Work].
func (db *DB) Registered(ctx context.Context, agencyID string, digests []sm.Digest) (map[sm.Digest]string, error) {
	out := map[sm.Digest]string{}
	for len(digests) > 0 {
		n := min(len(digests), bulkInsert)
		values := make([][]byte, n)
		for i := range values {
			values[i] = digests[i][:]
		}
		digests = digests[n:]
		query, args, err := sqlx.In(`SELECT sm3, number FROM records WHERE sm3 IN (?) AND agency_id = ? AND standing = ?`, values, agencyID, string(notary.Valid))
		if err != nil {
			return nil, err
		}
		var rows []struct {
			SM3    []byte `db:"sm3"`
			Number string `db:"number"`
		}
		if err := db.read.SelectContext(ctx, &rows, sqlx.Rebind(sqlx.DOLLAR, query), args...); err != nil {
			return nil, fmt.Errorf("look for registered digests: %w", err)
		}
		for _, r := range rows {
			if len(r.SM3) == len(sm.Digest{}) {
				out[sm.Digest(r.SM3)] = r.Number
			}
		}
	}
	return out, nil
}
