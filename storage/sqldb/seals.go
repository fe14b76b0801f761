package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
)

type sealRow struct {
	PNG           []byte `db:"png"`
	Demonstration bool   `db:"demonstration"`
	ValidFrom     int64  `db:"valid_from"`
}

// SealAt implements issue.Seals.
func (db *DB) SealAt(ctx context.Context, agencyID string, at time.Time) (notary.Seal, error) {
	var r sealRow
	if !storable(agencyID) {
		return notary.Seal{}, notary.ErrNotFound
	}
	err := db.read.GetContext(ctx, &r, `SELECT png, demonstration, valid_from FROM seals WHERE agency_id = $1 AND valid_from <= $2 ORDER BY valid_from DESC LIMIT 1`,
		agencyID, micros(at))
	if err != nil {
		return notary.Seal{}, notFound(err)
	}
	if len(r.PNG) == 0 {
		return notary.Seal{}, notary.ErrNotFound
	}
	return notary.Seal{AgencyID: agencyID, PNG: r.PNG, Demonstration: r.Demonstration, From: fromMicros(r.ValidFrom)}, nil
}

// recentRecords are the newest of an agency's records that AddSeal looks at while intake
// waits: far more than can be under way at once with times out of order.
const recentRecords = 100_000

// AddSeal gives an agency a seal, or none where the picture is empty, and returns from when
// on: from s.From, but later than every record of the agency and than its seal before, so
// that no certificate that may have been handed out changes. Records are received under the
// log's lock, which is held here too: one that is received meanwhile is either seen, or its
// certificate is made when the seal is there.
func (db *DB) AddSeal(ctx context.Context, s notary.Seal) (from time.Time, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := db.lockLog(ctx, tx); err != nil {
			return err
		}
		at := micros(s.From)
		for _, q := range []string{`SELECT max(issued_at) FROM (SELECT issued_at FROM records WHERE agency_id = $1 ORDER BY idx DESC LIMIT $2) AS recent`,
			`SELECT max(valid_from) FROM (SELECT valid_from FROM seals WHERE agency_id = $1 ORDER BY valid_from DESC LIMIT $2) AS recent`} {
			var last sql.NullInt64
			if err := tx.GetContext(ctx, &last, q, s.AgencyID, recentRecords); err != nil {
				return err
			}
			if last.Valid {
				at = max(at, last.Int64+1)
			}
		}
		from = fromMicros(at)
		png := s.PNG
		if png == nil {
			png = []byte{} // the column holds no NULL
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO seals (agency_id, valid_from, png, demonstration, created_at) VALUES ($1, $2, $3, $4, $5)`,
			s.AgencyID, at, png, s.Demonstration, micros(db.now()))
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("add a seal: %w", err)
	}
	return from, nil
}
