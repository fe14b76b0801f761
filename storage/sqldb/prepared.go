package sqldb

import (
	"context"
	"fmt"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
)

// storedItem is a prepared item as it waits in the database, for a day at most.
type storedItem struct {
	Record      notary.Record
	Action      statement.Action
	Statement   []byte
	Certificate []byte
	Idempotency string
	RequestHash []byte
	Upload      string
	Leaves      []string
}

// AddPrepared implements [intake.Store].
func (db *Log) AddPrepared(ctx context.Context, p intake.Prepared) error {
	it := &p.Item
	item := storedItem{Record: it.Record, Action: it.Action, Statement: it.Entry.Statement,
		Certificate: it.Entry.Certificate[:],
		Idempotency: it.Idempotency, RequestHash: it.RequestHash[:], Upload: it.Upload, Leaves: it.Leaves}
	return run(ctx, db.write, "add a prepared statement",
		`INSERT INTO prepared (id, agency_id, item, expires_at) VALUES ($1, $2, $3, $4)`,
		p.ID, it.Record.AgencyID, asJSON(item), micros(p.ExpiresAt))
}

// FindPrepared implements [intake.Store].
func (db *Log) FindPrepared(ctx context.Context, agencyID, id string) (intake.Prepared, error) {
	var s storedItem
	p, err := one(ctx, db.read, func(p *intake.Prepared) []any { return []any{asJSON(&s), moment{&p.ExpiresAt}} },
		`SELECT item, expires_at FROM prepared WHERE id = $1 AND agency_id = $2`, id, agencyID)
	if err == nil && (len(s.Certificate) != sm.DigestSize || len(s.RequestHash) != sm.DigestSize) {
		err = fmt.Errorf("the row of prepared statement %s is damaged", id)
	}
	if err != nil {
		return intake.Prepared{}, err
	}
	return intake.Prepared{ID: id, ExpiresAt: p.ExpiresAt,
		Item: intake.Item{Record: s.Record, Action: s.Action,
			Entry:       statement.Entry{Statement: s.Statement, Certificate: sm.Digest(s.Certificate)},
			Idempotency: s.Idempotency, RequestHash: sm.Digest(s.RequestHash), Upload: s.Upload,
			Leaves: s.Leaves}}, nil
}

// DropPrepared implements [intake.Store].
func (db *Log) DropPrepared(ctx context.Context, expiredBefore time.Time) (int, error) {
	n, err := exec(ctx, db.write, "drop prepared statements", `DELETE FROM prepared WHERE expires_at < $1`,
		micros(expiredBefore))
	return int(n), err
}
