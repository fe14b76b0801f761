package sqldb

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"
)

// ErrChainMoved means that the database names another chain than the one to move from.
var ErrChainMoved = errors.New("the database names another chain")

// ChainLinks are the signed links by which the log came to its present chain, oldest first.
func (db *Log) ChainLinks(ctx context.Context) ([][]byte, error) {
	return list(ctx, db.read, "read the links", itself[[]byte], `SELECT link FROM chain_links ORDER BY place`)
}

// MoveChain names another chain, by the SM3 of its epoch 0 in hex, and keeps the signed link that
// leads there; both or neither. It returns [ErrChainMoved] where from is not the present chain.
func (db *Log) MoveChain(ctx context.Context, from, to string, link []byte) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := execOne(ctx, tx, "name the chain", ErrChainMoved, `UPDATE instance SET chain = $1 WHERE chain = $2`,
			to, from); err != nil {
			return err
		}
		return run(ctx, tx, "keep the link", `INSERT INTO chain_links (place, former, link, created_at)
			SELECT coalesce(max(place), 0) + 1, $1, $2, $3 FROM chain_links`, from, string(link), micros(db.now()))
	})
}
