package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/bulk"
)

var _ bulk.Store = (*Office)(nil)

var bulkJobs = newTable("bulk_jobs", func(j *bulk.Job) []column {
	return append(caseColumns(&j.Case), []column{{"name", &j.Name}, {"header", asJSON(&j.Header)}, {"files", &j.Files},
		{"zip", &j.Zip}, {"folder", &j.Folder}, {"second", &j.Second}, {"left_names", asJSON(&j.Left)},
		{"left_over", &j.LeftOver}, {"trouble", asJSON(&j.Trouble)}, {"notices", asJSON(&j.Notices)},
		{"partial", &j.Partial}, {"forgotten", &j.Forgotten}, {"done_at", moment{&j.DoneAt}}}...)
})

// bulkRow is a row and of which job it is.
type bulkRow struct {
	bulk.Row
	JobID string
}

var bulkRows = newTable("bulk_rows", func(r *bulkRow) []column {
	return []column{{"no", &r.No}, {"job_id", &r.JobID}, {"line", &r.Line}, {"state", &r.State},
		{"cells", optional(&r.Cells)}, {"item", optional(&r.Item)}, {"problems", optional(&r.Problems)},
		{"record", &r.Record}, {"number", &r.Number}}
})

func rowsOfBulk(jobID string, rows []bulk.Row) []bulkRow {
	out := make([]bulkRow, len(rows))
	for i, r := range rows {
		if len(r.Problems) == 0 {
			r.Problems = nil
		}
		out[i] = bulkRow{r, jobID}
	}
	return out
}

// counted are jobs with the numbers of their rows.
func counted(ctx context.Context, q handle, jobs []bulk.Job, err error) ([]bulk.Job, error) {
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	at, ids := map[string]map[bulk.RowState]int{}, make([]string, len(jobs))
	for i := range jobs {
		jobs[i].Count, ids[i] = map[bulk.RowState]int{}, jobs[i].ID
		at[jobs[i].ID] = jobs[i].Count
	}
	type count struct {
		job   string
		state bulk.RowState
		n     int
	}
	counts, err := list(ctx, q, "count the rows of bulk jobs",
		func(c *count) []any { return []any{&c.job, &c.state, &c.n} },
		`SELECT job_id, state, count(*) FROM bulk_rows WHERE job_id IN (?) GROUP BY job_id, state`, ids)
	for _, c := range counts {
		at[c.job][c.state] = c.n
	}
	return jobs, err
}

func findBulk(ctx context.Context, q handle, agencyID, id, lock string) (bulk.Job, error) {
	j, err := bulkJobs.one(ctx, q, ` WHERE id = $1 AND agency_id = $2`+lock, id, agencyID)
	if err != nil {
		return bulk.Job{}, err
	}
	l, err := counted(ctx, q, []bulk.Job{j}, nil)
	if err != nil {
		return bulk.Job{}, err
	}
	return l[0], nil
}

// AddBulk implements [bulk.Store].
func (db *Office) AddBulk(ctx context.Context, j bulk.Job, rows []bulk.Row) (out bulk.Job, err error) {
	if !storable(j.Once) || !storable(j.Name) {
		return j, notary.ErrNotFound
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		// Of two who come at once the second waits here for the first, and gets its job.
		id := j.ID
		err := bulkJobs.add(ctx, tx, "add a bulk job", j, ` ON CONFLICT (agency_id, once) DO NOTHING`, errThere)
		if errors.Is(err, errThere) {
			id, err = one(ctx, tx, itself[string], `SELECT id FROM bulk_jobs WHERE agency_id = $1 AND once = $2`,
				j.AgencyID, j.Once)
		} else if err == nil {
			err = db.insertBulkRows(ctx, tx, j.ID, rows)
		}
		if err != nil {
			return err
		}
		out, err = findBulk(ctx, tx, j.AgencyID, id, "")
		return err
	})
	return out, err
}

func (db *conn) insertBulkRows(ctx context.Context, tx *sqlx.Tx, jobID string, rows []bulk.Row) error {
	values := make([][]any, len(rows))
	for i, r := range rowsOfBulk(jobID, rows) {
		values[i] = bulkRows.values(&r)
	}
	return db.bulk(ctx, tx, bulkRows.name, bulkRows.columns, values)
}

// FindBulk implements [bulk.Store].
func (db *Office) FindBulk(ctx context.Context, agencyID, id string) (bulk.Job, error) {
	return findBulk(ctx, db.read, agencyID, id, "")
}

// ChangeBulk implements [bulk.Store].
func (db *Office) ChangeBulk(ctx context.Context, agencyID, id string, change func(*bulk.Job) error) (j bulk.Job,
	err error) {
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
			if err := run(ctx, tx, "try rows again",
				`UPDATE bulk_rows SET state = 'ready', problems = '' WHERE job_id = $1 AND state = 'failed'`,
				id); err != nil {
				return err
			}
		}
		if j.Forgotten && !before.Forgotten {
			if err := run(ctx, tx, "forget rows", `UPDATE bulk_rows SET cells = '', item = '' WHERE job_id = $1`,
				id); err != nil {
				return err
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
	return bulkJobs.update(ctx, tx, "change a bulk job", j, "state version zip folder second left_names left_over "+
		"trouble partial checker remark forgotten changed_at done_at", "id")
}

// Bulks implements [bulk.Store].
func (db *Office) Bulks(ctx context.Context, q bulk.Query) ([]bulk.Job, error) {
	var w where
	w.and("agency_id = ?", q.AgencyID)
	oneOf(&w, "state", q.States)
	given(&w, "id < ?", q.Before)
	jobs, err := bulkJobs.page(ctx, db.read, "list bulk jobs", w, "id DESC", q.Limit)
	return counted(ctx, db.read, jobs, err)
}

// BulkRows implements [bulk.Store].
func (db *Office) BulkRows(ctx context.Context, q bulk.RowQuery) ([]bulk.Row, error) {
	var w where
	w.and("job_id = ? AND no > ?", q.JobID, q.After)
	oneOf(&w, "state", q.States)
	rows, err := bulkRows.page(ctx, db.read, "list the rows of a bulk job", w, "no", q.Limit)
	out := make([]bulk.Row, len(rows))
	for i, r := range rows {
		out[i] = r.Row
	}
	return out, err
}

// CheckedBulk implements [bulk.Store].
func (db *Office) CheckedBulk(ctx context.Context, j bulk.Job, rows []bulk.Row) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		now, err := findBulk(ctx, tx, j.AgencyID, j.ID, db.forUpdate())
		if err != nil {
			return err
		}
		if err := now.CheckedAs(j); err != nil {
			return err
		}
		if err := updateBulk(ctx, tx, j); err != nil {
			return err
		}
		return eachBulkRow(ctx, tx, "state item problems", "", rowsOfBulk(j.ID, rows))
	})
}

// eachBulkRow writes some columns of rows with one prepared statement.
func eachBulkRow(ctx context.Context, tx *sqlx.Tx, set, only string, rows []bulkRow) error {
	const key = "job_id no"
	stmt, err := tx.PreparexContext(ctx, tx.Rebind(updateSQL(bulkRows.name, set, key)+only))
	if err != nil {
		return fmt.Errorf("prepare the rows of a bulk job: %w", err)
	}
	defer stmt.Close()
	for _, r := range rows {
		if _, err := stmt.ExecContext(ctx, bulkRows.some(&r, set+" "+key)...); err != nil {
			return fmt.Errorf("change row %d of a bulk job: %w", r.No, err)
		}
	}
	return nil
}

// SettleBulk implements [bulk.Store].
func (db *Office) SettleBulk(ctx context.Context, jobID string, rows []bulk.Row) error {
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
	if len(settled) == 0 {
		return nil
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		return eachBulkRow(ctx, tx, "state cells item problems record number", ` AND state = 'ready'`,
			rowsOfBulk(jobID, settled))
	})
}

// OpenBulks implements [bulk.Store].
func (db *Office) OpenBulks(ctx context.Context, states []bulk.State, before time.Time, limit int) ([]bulk.Job, error) {
	var w where
	w.and("NOT forgotten")
	w.and("state IN (?)", states)
	given(&w, "changed_at < ?", micros(before))
	jobs, err := bulkJobs.page(ctx, db.read, "list bulk jobs", w, "changed_at", limit)
	return counted(ctx, db.read, jobs, err)
}

// Registered implements [bulk.Store].
func (db *Office) Registered(ctx context.Context, agencyID string, digests []sm.Digest) (map[sm.Digest]string, error) {
	type registered struct {
		sm3    sm.Digest
		number string
	}
	out := map[sm.Digest]string{}
	for part := range slices.Chunk(digests, 500) {
		values := make([][]byte, len(part))
		for i := range part {
			values[i] = part[i][:]
		}
		found, err := list(ctx, db.read, "look for registered digests",
			func(r *registered) []any { return []any{digest(&r.sm3), &r.number} },
			`SELECT sm3, number FROM records WHERE sm3 IN (?) AND agency_id = ? AND standing = ?`, values, agencyID,
			string(notary.Valid))
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			out[r.sm3] = r.number
		}
	}
	return out, nil
}
