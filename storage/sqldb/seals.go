package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/office/stamp"
)

var (
	_ stamp.Seals = (*Office)(nil)
	_ stamp.Book  = (*Office)(nil)
)

// shownFrom is since when certificates show a seal: it is the one of the newest row.
const shownFrom = `COALESCE((SELECT c.valid_from FROM seals c WHERE c.agency_id = agency_seals.agency_id
	AND c.seal_id = agency_seals.id
	AND NOT EXISTS (SELECT 1 FROM seals n WHERE n.agency_id = c.agency_id AND n.valid_from > c.valid_from)), 0)`

var agencySeals = newTable("agency_seals", func(s *notary.Seal) []column {
	return []column{{"id", &s.ID}, {"agency_id", &s.AgencyID}, {"name", &s.Name}, {"owner", &s.Owner}, {"png", &s.PNG},
		{"demonstration", &s.Demonstration}, {"valid_from", moment{&s.From}}, {"valid_until", moment{&s.Until}},
		{"ended_at", moment{&s.Ended}}, {shownFrom, computed{moment{&s.Certificates}}}}
})

// SealAt implements issue.Seals.
func (db *Office) SealAt(ctx context.Context, agencyID string, at time.Time) (notary.Seal, error) {
	s, err := one(ctx, db.read, func(s *notary.Seal) []any {
		return []any{&s.ID, &s.AgencyID, &s.PNG, &s.Demonstration, moment{&s.From}, moment{&s.Until}}
	}, `SELECT seal_id, agency_id, png, demonstration, valid_from, valid_until FROM seals
		WHERE agency_id = $1 AND valid_from <= $2 ORDER BY valid_from DESC LIMIT 1`, agencyID, micros(at))
	if err == nil && (len(s.PNG) == 0 || !s.Until.IsZero() && micros(at) >= micros(s.Until)) {
		err = notary.ErrNotFound
	}
	if err != nil {
		return notary.Seal{}, err
	}
	return s, nil
}

// Seal implements [stamp.Seals].
func (db *Office) Seal(ctx context.Context, agencyID, id string) (notary.Seal, error) {
	return findSeal(ctx, db.read, agencyID, id, "")
}

func findSeal(ctx context.Context, q handle, agencyID, id, lock string) (notary.Seal, error) {
	return agencySeals.one(ctx, q, ` WHERE agency_id = $1 AND id = $2`+lock, agencyID, id)
}

// Seals implements [stamp.Book].
func (db *Office) Seals(ctx context.Context, agencyID string) ([]notary.Seal, error) {
	return agencySeals.list(ctx, db.read, "list seals",
		` WHERE agency_id = $1 ORDER BY ended_at > 0, created_at DESC, id`, agencyID)
}

// AddSeal implements [stamp.Book].
func (db *Office) AddSeal(ctx context.Context, s notary.Seal, onCertificates bool) (notary.Seal, error) {
	if err := s.Check(); err != nil {
		return s, err
	}
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		from, err := db.lockSeals(ctx, tx, s.AgencyID, s.From)
		if err != nil {
			return err
		}
		// One of the same name that is in use is replaced; certificates that showed it show this one.
		old, err := agencySeals.one(ctx, tx, ` WHERE agency_id = $1 AND name = $2 AND ended_at = 0`, s.AgencyID, s.Name)
		if err == nil {
			onCertificates = onCertificates || !old.Certificates.IsZero()
			old.Ended = fromMicros(max(micros(s.From), micros(db.now())))
			err = agencySeals.update(ctx, tx, "end a seal", old, "ended_at", "id")
		}
		if err != nil && !errors.Is(err, notary.ErrNotFound) {
			return err
		}
		s.Ended = time.Time{}
		if err := run(ctx, tx, "add a seal", insertSQL(agencySeals.name, append(slices.Clone(agencySeals.columns),
			"created_at"), 1), append(agencySeals.values(&s), micros(db.now()))...); err != nil {
			return err
		}
		if onCertificates {
			s.Certificates = from
			return db.showSeal(ctx, tx, s)
		}
		return nil
	})
	return s, err
}

// ShowSeal implements [stamp.Book].
func (db *Office) ShowSeal(ctx context.Context, agencyID, id string) (from time.Time, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		if from, err = db.lockSeals(ctx, tx, agencyID, db.now()); err != nil {
			return err
		}
		s := notary.Seal{AgencyID: agencyID}
		if id != "" {
			if s, err = findSeal(ctx, tx, agencyID, id, ""); err != nil {
				return err
			}
			if err := stamp.Usable(s, db.now()); err != nil {
				return err
			}
		}
		s.Certificates = from
		return db.showSeal(ctx, tx, s)
	})
	return from, err
}

// EndSeal implements [stamp.Book].
func (db *Office) EndSeal(ctx context.Context, agencyID, id string) (s notary.Seal, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		from, err := db.lockSeals(ctx, tx, agencyID, db.now())
		if err != nil {
			return err
		}
		if s, err = findSeal(ctx, tx, agencyID, id, ""); err != nil {
			return err
		}
		shown := !s.Certificates.IsZero()
		if err := stamp.End(&s, fromMicros(micros(db.now()))); err != nil {
			return err
		}
		if err := agencySeals.update(ctx, tx, "end a seal", s, "ended_at", "id"); err != nil {
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
func (db *conn) lockSeals(ctx context.Context, tx *sqlx.Tx, agencyID string, from time.Time) (time.Time, error) {
	if _, err := db.lockLog(ctx, tx); err != nil {
		return time.Time{}, err
	}
	at := micros(from)
	for _, q := range []string{`SELECT max(issued_at) FROM (SELECT issued_at FROM records WHERE agency_id = $1 ORDER ` +
		`BY idx DESC LIMIT $2) AS recent`,
		`SELECT max(valid_from) FROM (SELECT valid_from FROM seals WHERE agency_id = $1 ORDER BY valid_from DESC ` +
			`LIMIT $2) AS recent`} {
		last, err := one(ctx, tx, itself[sql.NullInt64], q, agencyID, recentRecords)
		if err != nil {
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
func (db *conn) showSeal(ctx context.Context, tx *sqlx.Tx, s notary.Seal) error {
	png := s.PNG
	if png == nil {
		png = []byte{} // the column holds no NULL
	}
	return run(ctx, tx, "show a seal", `INSERT INTO seals (agency_id, valid_from, png, demonstration, created_at, `+
		`seal_id, valid_until) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		s.AgencyID, micros(s.Certificates), png, s.Demonstration, micros(db.now()), s.ID, micros(s.Until))
}

var sealUses = newTable("seal_uses", func(u *notary.SealUse) []column {
	return []column{{"id", &u.ID}, {"at", moment{&u.At}}, {"seal_id", &u.SealID}, {"agency_id", &u.AgencyID},
		{"login", &u.Login}, {"filing", &u.Filing}, {"number", &u.Number}, {"original", digest(&u.Original)},
		{"stamped", digest(&u.Stamped)}, {"marks", &u.Marks}}
})

// UseSeal implements [stamp.Seals].
func (db *Office) UseSeal(ctx context.Context, u notary.SealUse) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		s, err := findSeal(ctx, tx, u.AgencyID, u.SealID, db.forUpdate())
		if err != nil {
			return err
		}
		if err := stamp.Usable(s, u.At); err != nil {
			return err
		}
		return sealUses.add(ctx, tx, "note the use of a seal", u, "", nil)
	})
}

// SealUses implements [stamp.Book].
func (db *Office) SealUses(ctx context.Context, agencyID, sealID, before string, limit int) ([]notary.SealUse, error) {
	var w where
	w.and("agency_id = ?", agencyID)
	given(&w, "seal_id = ?", sealID)
	given(&w, "id < ?", before)
	return sealUses.page(ctx, db.read, "list uses of seals", w, "id DESC", limit)
}
