package sqldb

import (
	"context"

	"github.com/jmoiron/sqlx"

	"stele/notary/issue/archive"
)

// Searches implements console.Searches.
func (db *Office) Searches(ctx context.Context, userID string) ([]archive.Search, error) {
	return list(ctx, db.read, "list saved searches", func(s *archive.Search) []any { return []any{&s.Name, &s.Query} },
		`SELECT name, query FROM saved_searches WHERE user_id = $1 ORDER BY created_at, name`, userID)
}

// SaveSearch implements console.Searches.
func (db *Office) SaveSearch(ctx context.Context, userID string, s archive.Search, most int) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		others, err := value[int](ctx, tx, "count saved searches",
			`SELECT count(*) FROM saved_searches WHERE user_id = $1 AND name <> $2`, userID, s.Name)
		if err != nil {
			return err
		}
		if others >= most {
			return archive.ErrTooMany
		}
		return run(ctx, tx, "save a search", `INSERT INTO saved_searches (user_id, name, query, created_at)
			VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, name) DO UPDATE SET query = $3`,
			userID, s.Name, s.Query, micros(db.now()))
	})
}

// DeleteSearch implements console.Searches.
func (db *Office) DeleteSearch(ctx context.Context, userID, name string) error {
	if !storable(name) {
		return nil
	}
	return run(ctx, db.write, "delete a search", `DELETE FROM saved_searches WHERE user_id = $1 AND name = $2`, userID,
		name)
}
