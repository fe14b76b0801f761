package sqldb

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary/register/class"
)

var _ class.Store = (*Office)(nil)

// Classes implements [class.Store].
func (db *Office) Classes(ctx context.Context, agencyID string, at time.Time) ([]class.Class, error) {
	return list(ctx, db.read, "list the classes", func(c *class.Class) []any {
		c.AgencyID = agencyID
		// JSON comes first: it has an id and a time of its own.
		return []any{asJSON(c), &c.ID, moment{&c.From}}
	}, `SELECT class, id, from_ FROM classes c WHERE agency_id = $1 AND from_ = (SELECT max(from_) FROM classes
		WHERE agency_id = c.agency_id AND id = c.id AND from_ <= $2) ORDER BY id`, agencyID, micros(at))
}

// AddClass implements [class.Store].
func (db *Office) AddClass(ctx context.Context, c class.Class) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		later, err := value[int](ctx, tx, "look for later versions",
			`SELECT count(*) FROM classes WHERE agency_id = $1 AND id = $2 AND from_ >= $3`, c.AgencyID, c.ID,
			micros(c.From))
		if err != nil {
			return err
		}
		if later > 0 {
			return class.Changed()
		}
		return run(ctx, tx, "add a class", `INSERT INTO classes (agency_id, id, from_, class) VALUES ($1, $2, $3, $4)`,
			c.AgencyID, c.ID, micros(c.From), asJSON(c))
	})
}
