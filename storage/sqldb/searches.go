package sqldb

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"stele/notary/archive"
)

// Searches implements console.Searches.
func (db *DB) Searches(ctx context.Context, userID string) ([]archive.Search, error) {
	var rows []struct {
		Name  string `db:"name"`
		Query string `db:"query"`
	}
	if err := db.read.SelectContext(ctx, &rows, `SELECT name, query FROM saved_searches WHERE user_id = $1 ORDER BY created_at, name`, userID); err != nil {
		return nil, fmt.Errorf("list saved searches: %w", err)
	}
	out := make([]archive.Search, len(rows))
	for i, r := range rows {
		out[i] = archive.Search{Name: r.Name, Query: r.Query}
	}
	return out, nil
}

// SaveSearch implements console.Searches.
func (db *DB) SaveSearch(ctx context.Context, userID string, s archive.Search, most int) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		var others int
		if err := tx.GetContext(ctx, &others, `SELECT count(*) FROM saved_searches WHERE user_id = $1 AND name <> $2`, userID, s.Name); err != nil {
			return fmt.Errorf("count saved searches: %w", err)
		}
		if others >= most {
			return archive.ErrTooMany
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO saved_searches (user_id, name, query, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, name) DO UPDATE SET query = $3`,
			userID, s.Name, s.Query, micros(db.now()))
		return err
	})
}

// DeleteSearch implements console.Searches.
func (db *DB) DeleteSearch(ctx context.Context, userID, name string) error {
	if !storable(name) {
		return nil
	}
	_, err := db.write.ExecContext(ctx, `DELETE FROM saved_searches WHERE user_id = $1 AND name = $2`, userID, name)
	return err
}
