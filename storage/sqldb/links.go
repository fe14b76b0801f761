package sqldb

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// ErrChainMoved means that the database names another chain than the one to move from.
var ErrChainMoved = errors.New("the database names another chain")

// ChainLinks are the signed links by which the log came to its present chain, oldest first.
func (db *DB) ChainLinks(ctx context.Context) ([][]byte, error) {
	var out [][]byte
	err := db.read.SelectContext(ctx, &out, `SELECT link FROM chain_links ORDER BY place`)
	return out, err
}

// MoveChain names another chain, by the SM3 of its epoch 0 in hex, and keeps the signed link that
// leads there; both or neither. It returns [ErrChainMoved] where from is not the present chain.
func (db *DB) MoveChain(ctx context.Context, from, to string, link []byte) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE instance SET chain = $1 WHERE chain = $2`, to, from)
		if err != nil {
			return fmt.Errorf("name the chain: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n != 1 {
			return errors.Join(err, ErrChainMoved)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO chain_links (place, former, link, created_at)
			SELECT coalesce(max(place), 0) + 1, $1, $2, $3 FROM chain_links`, from, string(link), micros(db.now()))
		if err != nil {
			return fmt.Errorf("keep the link: %w", err)
		}
		return nil
	})
}
