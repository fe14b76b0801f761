package sqldb

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/review"
	"stele/notary/office/webhook"
)

var (
	_ filing.Store  = (*Office)(nil)
	_ review.Leases = (*Office)(nil)
)

// kindApproval is the outbox row of [webhook.ApprovalRequested].
const kindApproval = string(webhook.ApprovalRequested)

var papers = newTable("papers", func(p *filing.Paper) []column {
	return append(caseColumns(&p.Case), []column{{"kind", &p.Kind}, {"title", &p.Title}, {"file_name", &p.FileName},
		{"media_type", &p.MediaType}, {"reference", &p.Reference}, {"fields", asJSON(&p.Fields)},
		{"supersedes", &p.Supersedes}, {"record", &p.Record}, {"reason", &p.Reason}, {"file", file{&p.File}},
		{"marked", file{&p.Marked}}, {"marks", text{(*[]byte)(&p.Marks)}}, {"number", &p.Number}, {"code", &p.Code},
		{"maker_id", copied{&p.Maker.ID}}, {"submitted_at", moment{&p.SubmittedAt}}}...)
})

// file is one as JSON.
type file struct{ f *filing.File }

type fileColumn struct {
	Key  string `json:"key"`
	SM3  string `json:"sm3"`
	Size int64  `json:"size"`
}

func (f file) Value() (driver.Value, error) {
	text, err := json.Marshal(fileColumn{f.f.Key, f.f.SM3.String(), f.f.Size})
	return string(text), err
}

func (f file) Scan(src any) error {
	s, err := textOf(src)
	if err != nil {
		return err
	}
	var c fileColumn
	if err := json.Unmarshal([]byte(s), &c); err != nil {
		return err
	}
	f.f.Key, f.f.Size = c.Key, c.Size
	f.f.SM3, err = sm.ParseDigest(c.SM3)
	return err
}

// AddPaper implements [filing.Store].
func (db *Office) AddPaper(ctx context.Context, p filing.Paper, upload string) (out filing.Paper, err error) {
	if !storable(p.Once) || !storable(upload) {
		return p, notary.ErrNotFound
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		// Of two who come at once the second waits here for the first, and gets its paper.
		err := papers.add(ctx, tx, "add a paper", p, ` ON CONFLICT (agency_id, once) DO NOTHING`, errThere)
		if errors.Is(err, errThere) {
			out, err = papers.one(ctx, tx, ` WHERE agency_id = $1 AND once = $2`, p.AgencyID, p.Once)
			return err
		}
		out = p
		if err != nil || upload == "" {
			return err
		}
		return execOne(ctx, tx, "take an upload", notary.ErrNotFound,
			`DELETE FROM uploads WHERE id = $1 AND agency_id = $2`, upload, p.AgencyID)
	})
	return out, err
}

// errThere: a case was made before of what it is made of.
var errThere = errors.New("the case is there")

// FindPaper implements [filing.Store].
func (db *Office) FindPaper(ctx context.Context, agencyID, id string) (filing.Paper, error) {
	return db.findPaper(ctx, db.read, agencyID, id, "")
}

func (db *conn) findPaper(ctx context.Context, q handle, agencyID, id, lock string) (filing.Paper, error) {
	return papers.one(ctx, q, ` WHERE id = $1 AND agency_id = $2`+lock, id, agencyID)
}

// ChangePaper implements [filing.Store].
func (db *Office) ChangePaper(ctx context.Context, agencyID, id string, change func(*filing.Paper) error) (
	p filing.Paper, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		if p, err = db.findPaper(ctx, tx, agencyID, id, db.forUpdate()); err != nil {
			return err
		}
		before := p.State
		if err := change(&p); err != nil {
			return err
		}
		if err := papers.update(ctx, tx, "change a paper", p, "state version class title reference fields supersedes "+
			"reason record file marked marks number code checker remark submitted_at changed_at", "id"); err != nil {
			return err
		}
		if p.State == filing.Waiting && before != filing.Waiting {
			return db.notice(ctx, tx, kindApproval, agencyID, p.ID, "", p.Class)
		}
		return nil
	})
	return p, err
}

// Papers implements [filing.Store].
func (db *Office) Papers(ctx context.Context, q filing.Query) ([]filing.Paper, error) {
	var w where
	w.and("agency_id = ?", q.AgencyID)
	oneOf(&w, "state", q.States)
	given(&w, "maker_id = ?", q.MakerID)
	given(&w, "id < ?", q.Before)
	return papers.page(ctx, db.read, "list papers", w, "id DESC", q.Limit)
}

// CountPapers implements [filing.Store].
func (db *Office) CountPapers(ctx context.Context, agencyID string) (map[filing.State]int, error) {
	return countStates[filing.State](ctx, db.read, "count papers", `SELECT state, count(*) FROM papers `+
		`WHERE agency_id = $1 AND state IN ('draft', 'waiting', 'returned', 'approved') GROUP BY state`, agencyID)
}

// ApprovedPapers implements [filing.Store].
func (db *Office) ApprovedPapers(ctx context.Context, limit int) ([]filing.Paper, error) {
	return papers.list(ctx, db.read, "list papers", ` WHERE state = 'approved' ORDER BY changed_at LIMIT ?`, limit)
}
