package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/stamp"
)

var (
	_ stamp.Seals = (*DB)(nil)
	_ stamp.Book  = (*DB)(nil)
)

type sealRow struct {
	ID            string `db:"id"`
	AgencyID      string `db:"agency_id"`
	Name          string `db:"name"`
	Owner         string `db:"owner"`
	PNG           []byte `db:"png"`
	Demonstration bool   `db:"demonstration"`
	ValidFrom     int64  `db:"valid_from"`
	ValidUntil    int64  `db:"valid_until"`
	EndedAt       int64  `db:"ended_at"`
	CreatedAt     int64  `db:"created_at"`
	ShownFrom     int64  `db:"shown_from"`
}

func (r sealRow) seal() notary.Seal {
	return notary.Seal{ID: r.ID, AgencyID: r.AgencyID, Name: r.Name, Owner: r.Owner, PNG: r.PNG, Demonstration: r.Demonstration,
		From: fromMicros(r.ValidFrom), Until: fromMicros(r.ValidUntil), Ended: fromMicros(r.EndedAt), Certificates: fromMicros(r.ShownFrom)}
}

// shownFrom is since when certificates show a seal: it is the one of the newest row.
const shownFrom = `COALESCE((SELECT c.valid_from FROM seals c WHERE c.agency_id = s.agency_id AND c.seal_id = s.id
	AND NOT EXISTS (SELECT 1 FROM seals n WHERE n.agency_id = c.agency_id AND n.valid_from > c.valid_from)), 0)`

const selectSeal = `SELECT s.id, s.agency_id, s.name, s.owner, s.png, s.demonstration, s.valid_from, s.valid_until, s.ended_at, s.created_at, ` + shownFrom + ` AS shown_from FROM agency_seals s`

// SealAt implements issue.Seals.
func (db *DB) SealAt(ctx context.Context, agencyID string, at time.Time) (notary.Seal, error) {
	var r sealRow
	if !storable(agencyID) {
		return notary.Seal{}, notary.ErrNotFound
	}
	err := db.read.GetContext(ctx, &r, `SELECT png, demonstration, valid_from, valid_until, seal_id AS id FROM seals WHERE agency_id = $1 AND valid_from <= $2 ORDER BY valid_from DESC LIMIT 1`,
		agencyID, micros(at))
	if err != nil {
		return notary.Seal{}, notFound(err)
	}
	if len(r.PNG) == 0 || r.ValidUntil > 0 && micros(at) >= r.ValidUntil {
		return notary.Seal{}, notary.ErrNotFound
	}
	r.AgencyID = agencyID
	return r.seal(), nil
}

// Seal implements [stamp.Seals].
func (db *DB) Seal(ctx context.Context, agencyID, id string) (notary.Seal, error) {
	return findSeal(ctx, db.read, agencyID, id, "")
}

func findSeal(ctx context.Context, q sqlx.QueryerContext, agencyID, id, lock string) (notary.Seal, error) {
	var r sealRow
	if !storable(agencyID) || !storable(id) {
		return notary.Seal{}, notary.ErrNotFound
	}
	if err := sqlx.GetContext(ctx, q, &r, selectSeal+` WHERE s.agency_id = $1 AND s.id = $2`+lock, agencyID, id); err != nil {
		return notary.Seal{}, notFound(err)
	}
	return r.seal(), nil
}

// Seals implements [stamp.Book].
func (db *DB) Seals(ctx context.Context, agencyID string) ([]notary.Seal, error) {
	var rows []sealRow
	if !storable(agencyID) {
		return nil, nil
	}
	if err := db.read.SelectContext(ctx, &rows, selectSeal+` WHERE s.agency_id = $1 ORDER BY s.ended_at > 0, s.created_at DESC, s.id`, agencyID); err != nil {
		return nil, fmt.Errorf("list seals: %w", err)
	}
	out := make([]notary.Seal, len(rows))
	for i, r := range rows {
		out[i] = r.seal()
	}
	return out, nil
}

// AddSeal implements [stamp.Book].
func (db *DB) AddSeal(ctx context.Context, s notary.Seal, onCertificates bool) (notary.Seal, error) {
	if err := s.Check(); err != nil {
		return s, err
	}
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		from, err := db.lockSeals(ctx, tx, s.AgencyID, s.From)
		if err != nil {
			return err
		}
		// One of the same name that is in use is replaced; certificates that showed it show this one.
		var old struct {
			ID    string `db:"id"`
			Shown int64  `db:"shown_from"`
		}
		err = tx.GetContext(ctx, &old, `SELECT s.id, `+shownFrom+` AS shown_from FROM agency_seals s WHERE s.agency_id = $1 AND s.name = $2 AND s.ended_at = 0`, s.AgencyID, s.Name)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err == nil {
			onCertificates = onCertificates || old.Shown > 0
			if _, err := tx.ExecContext(ctx, `UPDATE agency_seals SET ended_at = $1 WHERE id = $2`, max(micros(s.From), micros(db.now())), old.ID); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO agency_seals (id, agency_id, name, owner, png, demonstration, valid_from, valid_until, ended_at, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)`, s.ID, s.AgencyID, s.Name, s.Owner, s.PNG, s.Demonstration, micros(s.From), micros(s.Until), micros(db.now())); err != nil {
			return err
		}
		if onCertificates {
			s.Certificates = from
			return db.showSeal(ctx, tx, s)
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("add a seal: %w", err)
	}
	return s, nil
}

// ShowSeal implements [stamp.Book].
func (db *DB) ShowSeal(ctx context.Context, agencyID, id string) (from time.Time, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		if from, err = db.lockSeals(ctx, tx, agencyID, db.now()); err != nil {
			return err
		}
		s := notary.Seal{AgencyID: agencyID}
		if id != "" {
			if s, err = findSeal(ctx, tx, agencyID, id, ""); err != nil {
				return err
			}
			if !s.ValidAt(db.now()) {
				return errNotValid()
			}
		}
		s.Certificates = from
		return db.showSeal(ctx, tx, s)
	})
	return from, err
}

// EndSeal implements [stamp.Book].
func (db *DB) EndSeal(ctx context.Context, agencyID, id string) (s notary.Seal, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		from, err := db.lockSeals(ctx, tx, agencyID, db.now())
		if err != nil {
			return err
		}
		if s, err = findSeal(ctx, tx, agencyID, id, ""); err != nil {
			return err
		}
		if !s.Ended.IsZero() {
			return notary.Errorf(notary.CodeConflict, "This seal was ended before.")
		}
		shown := !s.Certificates.IsZero()
		s.Ended, s.Certificates = fromMicros(micros(db.now())), time.Time{}
		if _, err := tx.ExecContext(ctx, `UPDATE agency_seals SET ended_at = $1 WHERE id = $2`, micros(s.Ended), id); err != nil {
			return err
		}
		if shown {
			return db.showSeal(ctx, tx, notary.Seal{AgencyID: agencyID, Certificates: from})
		}
		return nil
	})
	return s, err
}

// recentRecords are the newest of an agency's records that lockSeals looks at while intake
// waits: far more than can be under way at once with times out of order.
const recentRecords = 100_000

// lockSeals keeps others from changing an agency's seals until the transaction ends, and
// returns from when on its certificates can show another one: from a time, but later than
// every record of the agency and than the last such change, so that no certificate that may
// have been handed out changes. Records are received under the log's lock, which is held here
// too: one that is received meanwhile is either seen, or its certificate is made later.
func (db *DB) lockSeals(ctx context.Context, tx *sqlx.Tx, agencyID string, from time.Time) (time.Time, error) {
	if _, err := db.lockLog(ctx, tx); err != nil {
		return time.Time{}, err
	}
	at := micros(from)
	for _, q := range []string{`SELECT max(issued_at) FROM (SELECT issued_at FROM records WHERE agency_id = $1 ORDER BY idx DESC LIMIT $2) AS recent`,
		`SELECT max(valid_from) FROM (SELECT valid_from FROM seals WHERE agency_id = $1 ORDER BY valid_from DESC LIMIT $2) AS recent`} {
		var last sql.NullInt64
		if err := tx.GetContext(ctx, &last, q, agencyID, recentRecords); err != nil {
			return time.Time{}, err
		}
		if last.Valid {
			at = max(at, last.Int64+1)
		}
	}
	return fromMicros(at), nil
}

// showSeal makes certificates show a seal from the time on that it says, or none where it has
// no picture.
func (db *DB) showSeal(ctx context.Context, tx *sqlx.Tx, s notary.Seal) error {
	png := s.PNG
	if png == nil {
		png = []byte{} // the column holds no NULL
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO seals (agency_id, valid_from, png, demonstration, created_at, seal_id, valid_until) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		s.AgencyID, micros(s.Certificates), png, s.Demonstration, micros(db.now()), s.ID, micros(s.Until))
	return err
}

func errNotValid() error {
	return notary.Errorf(notary.CodeConflict, "This seal is not valid now: it was ended, its validity is over, or it has not begun.")
}

// UseSeal implements [stamp.Seals].
func (db *DB) UseSeal(ctx context.Context, u notary.SealUse) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		s, err := findSeal(ctx, tx, u.AgencyID, u.SealID, db.forUpdate())
		if err != nil {
			return err
		}
		if !s.ValidAt(u.At) {
			return errNotValid()
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO seal_uses (id, at, seal_id, agency_id, login, filing, number, original, stamped, marks) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			u.ID, micros(u.At), u.SealID, u.AgencyID, u.Login, u.Filing, u.Number, u.Original[:], u.Stamped[:], u.Marks)
		return err
	})
}

type sealUseRow struct {
	ID       string `db:"id"`
	At       int64  `db:"at"`
	SealID   string `db:"seal_id"`
	AgencyID string `db:"agency_id"`
	Login    string `db:"login"`
	Filing   string `db:"filing"`
	Number   string `db:"number"`
	Original []byte `db:"original"`
	Stamped  []byte `db:"stamped"`
	Marks    int    `db:"marks"`
}

// SealUses implements [stamp.Book].
func (db *DB) SealUses(ctx context.Context, agencyID, sealID, before string, limit int) ([]notary.SealUse, error) {
	if !storable(agencyID) || !storable(sealID) || !storable(before) {
		return nil, nil
	}
	var rows []sealUseRow
	if err := db.read.SelectContext(ctx, &rows, `SELECT id, at, seal_id, agency_id, login, filing, number, original, stamped, marks FROM seal_uses
		WHERE agency_id = $1 AND ($2 = '' OR seal_id = $2) AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4`, agencyID, sealID, before, limit); err != nil {
		return nil, fmt.Errorf("list uses of seals: %w", err)
	}
	out := make([]notary.SealUse, len(rows))
	for i, r := range rows {
		if len(r.Original) != sm.DigestSize || len(r.Stamped) != sm.DigestSize {
			return nil, errors.New("the row of a seal's use is damaged")
		}
		out[i] = notary.SealUse{ID: r.ID, At: fromMicros(r.At), SealID: r.SealID, AgencyID: r.AgencyID, Login: r.Login, Filing: r.Filing, Number: r.Number,
			Original: sm.Digest(r.Original), Stamped: sm.Digest(r.Stamped), Marks: r.Marks}
	}
	return out, nil
}
