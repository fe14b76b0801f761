package sqldb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/intake"
	"stele/notary/statement"
)

var _ intake.PreparedStore = (*DB)(nil)

// storedItem is a prepared item as it waits in the database, for a day at most.
type storedItem struct {
	Record      notary.Record
	Action      statement.Action
	Statement   []byte
	Certificate []byte
	Idempotency string
	RequestHash []byte
	Upload      string
}

// AddPrepared implements [intake.PreparedStore].
func (db *DB) AddPrepared(ctx context.Context, p intake.Prepared) error {
	it := &p.Item
	text, err := json.Marshal(storedItem{Record: it.Record, Action: it.Action, Statement: it.Entry.Statement, Certificate: it.Entry.Certificate[:],
		Idempotency: it.Idempotency, RequestHash: it.RequestHash[:], Upload: it.Upload})
	if err != nil {
		return fmt.Errorf("encode a prepared statement: %w", err)
	}
	if _, err := db.write.ExecContext(ctx, `INSERT INTO prepared (id, agency_id, item, expires_at) VALUES ($1, $2, $3, $4)`,
		p.ID, it.Record.AgencyID, string(text), micros(p.ExpiresAt)); err != nil {
		return fmt.Errorf("add a prepared statement: %w", err)
	}
	return nil
}

// FindPrepared implements [intake.PreparedStore].
func (db *DB) FindPrepared(ctx context.Context, agencyID, id string) (intake.Prepared, error) {
	if !storable(id) {
		return intake.Prepared{}, notary.ErrNotFound
	}
	var row struct {
		Item      string `db:"item"`
		ExpiresAt int64  `db:"expires_at"`
	}
	if err := db.read.GetContext(ctx, &row, `SELECT item, expires_at FROM prepared WHERE id = $1 AND agency_id = $2`, id, agencyID); err != nil {
		return intake.Prepared{}, notFound(err)
	}
	var s storedItem
	if err := json.Unmarshal([]byte(row.Item), &s); err != nil || len(s.Certificate) != sm.DigestSize || len(s.RequestHash) != sm.DigestSize {
		return intake.Prepared{}, fmt.Errorf("the row of prepared statement %s is damaged", id)
	}
	return intake.Prepared{ID: id, ExpiresAt: fromMicros(row.ExpiresAt), Item: intake.Item{Record: s.Record, Action: s.Action,
		Entry: statement.Entry{Statement: s.Statement, Certificate: sm.Digest(s.Certificate)}, Idempotency: s.Idempotency, RequestHash: sm.Digest(s.RequestHash), Upload: s.Upload}}, nil
}

// DropPrepared implements [intake.PreparedStore].
func (db *DB) DropPrepared(ctx context.Context, expiredBefore time.Time) (int, error) {
	res, err := db.write.ExecContext(ctx, `DELETE FROM prepared WHERE expires_at < $1`, micros(expiredBefore))
	if err != nil {
		return 0, fmt.Errorf("drop prepared statements: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
