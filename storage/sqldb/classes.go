package sqldb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/class"
)

var _ class.Store = (*DB)(nil)

// Classes implements [class.Store].
func (db *DB) Classes(ctx context.Context, agencyID string, at time.Time) ([]class.Class, error) {
	var rows []struct {
		ID    string `db:"id"`
		From  int64  `db:"from_"`
		Class string `db:"class"`
	}
	if err := db.read.SelectContext(ctx, &rows, `SELECT id, from_, class FROM classes c WHERE agency_id = $1
		AND from_ = (SELECT max(from_) FROM classes WHERE agency_id = c.agency_id AND id = c.id AND from_ <= $2) ORDER BY id`, agencyID, micros(at)); err != nil {
		return nil, fmt.Errorf("list the classes: %w", err)
	}
	out := make([]class.Class, len(rows))
	for i, r := range rows {
		if err := json.Unmarshal([]byte(r.Class), &out[i]); err != nil {
			return nil, fmt.Errorf("the row of class %s is damaged", r.ID)
		}
		out[i].ID, out[i].AgencyID, out[i].From = r.ID, agencyID, fromMicros(r.From)
	}
	return out, nil
}

// AddClass implements [class.Store].
func (db *DB) AddClass(ctx context.Context, c class.Class) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode a class: %w", err)
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		var later int
		if err := tx.GetContext(ctx, &later, `SELECT count(*) FROM classes WHERE agency_id = $1 AND id = $2 AND from_ >= $3`, c.AgencyID, c.ID, micros(c.From)); err != nil {
			return fmt.Errorf("look for later versions: %w", err)
		}
		if later > 0 {
			return notary.Errorf(notary.CodeConflict, "Somebody else has just changed this class. Look at it again. Nothing was saved.")
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO classes (agency_id, id, from_, class) VALUES ($1, $2, $3, $4)`, c.AgencyID, c.ID, micros(c.From), string(text))
		return err
	})
}
