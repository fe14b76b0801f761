package sqldb

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/people"
)

var (
	_ people.SealStore  = (*DB)(nil)
	_ people.SealedRows = (*DB)(nil)
)

type trailSealRow struct {
	Trail        string `db:"trail"`
	Number       int64  `db:"number"`
	AgencyID     string `db:"agency_id"`
	FirstID      string `db:"first_id"`
	LastID       string `db:"last_id"`
	Deeds        int64  `db:"deeds"`
	SM3          []byte `db:"sm3"`
	Title        string `db:"title"`
	Document     []byte `db:"document"`
	RecordID     string `db:"record_id"`
	RecordNumber string `db:"record_number"`
	CreatedAt    int64  `db:"created_at"`
}

const sealColumns = `trail, number, agency_id, first_id, last_id, deeds, sm3, title, document, record_id, record_number, created_at`

func (r trailSealRow) seal() (people.Seal, error) {
	if len(r.SM3) != sm.DigestSize {
		return people.Seal{}, fmt.Errorf("the row of seal %d of trail %q is damaged", r.Number, r.Trail)
	}
	return people.Seal{Trail: r.Trail, Number: r.Number, AgencyID: r.AgencyID, First: r.FirstID, Last: r.LastID, Deeds: int(r.Deeds), SM3: sm.Digest(r.SM3), Title: r.Title, Document: r.Document,
		RecordID: r.RecordID, Record: r.RecordNumber, CreatedAt: fromMicros(r.CreatedAt)}, nil
}

// OpenTrails implements [people.SealStore].
func (db *DB) OpenTrails(ctx context.Context) ([]string, error) {
	var out []string
	if err := db.read.SelectContext(ctx, &out, `SELECT agency_id FROM audit WHERE seal = 0 UNION SELECT trail FROM audit_seals WHERE record_id = '' ORDER BY 1`); err != nil {
		return nil, fmt.Errorf("look for open trails: %w", err)
	}
	return out, nil
}

// BeginSeal implements [people.SealStore]. Of two servers that begin the same seal one writes
// its row; the other finds it there and goes on with it.
func (db *DB) BeginSeal(ctx context.Context, trail string, most int, make func(previous *people.Seal, deeds []people.Deed) (people.Seal, error)) (people.Seal, error) {
	var out people.Seal
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		previous, err := lastSeal(ctx, tx, trail)
		if err != nil {
			return err
		}
		if previous != nil && previous.RecordID == "" {
			out = *previous
			return nil
		}
		rows := []auditRow{}
		if err := tx.SelectContext(ctx, &rows, `SELECT `+auditColumns+` FROM audit WHERE agency_id = $1 AND seal = 0 ORDER BY id LIMIT $2`, trail, most); err != nil {
			return fmt.Errorf("read the audit trail: %w", err)
		}
		if len(rows) == 0 {
			return notary.ErrNotFound
		}
		if out, err = make(previous, toDeeds(rows)); err != nil {
			return err
		}
		return db.addSeal(ctx, tx, out, rows)
	})
	return out, err
}

func lastSeal(ctx context.Context, tx *sqlx.Tx, trail string) (*people.Seal, error) {
	var r trailSealRow
	if err := notFound(tx.GetContext(ctx, &r, `SELECT `+sealColumns+` FROM audit_seals WHERE trail = $1 ORDER BY number DESC LIMIT 1`, trail)); errors.Is(err, notary.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the last seal: %w", err)
	}
	s, err := r.seal()
	return &s, err
}

func (db *DB) addSeal(ctx context.Context, tx *sqlx.Tx, s people.Seal, rows []auditRow) error {
	// The row comes first: a server that begins the same seal waits for it here, and is refused.
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit_seals (`+sealColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, '', '', $10)`,
		s.Trail, s.Number, s.AgencyID, s.First, s.Last, s.Deeds, s.SM3[:], s.Title, s.Document, micros(db.now())); err != nil {
		return fmt.Errorf("add a seal: %w", err)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	for len(ids) > 0 {
		n := min(len(ids), 500)
		if err := execIn(ctx, tx, `UPDATE audit SET seal = ? WHERE id IN (?)`, s.Number, ids[:n]); err != nil {
			return fmt.Errorf("mark sealed deeds: %w", err)
		}
		ids = ids[n:]
	}
	return nil
}

// FinishSeal implements [people.SealStore].
func (db *DB) FinishSeal(ctx context.Context, s people.Seal) error {
	_, err := db.write.ExecContext(ctx, `UPDATE audit_seals SET record_id = $1, record_number = $2, agency_id = $3, document = NULL
		WHERE trail = $4 AND number = $5 AND record_id = ''`, s.RecordID, s.Record, s.AgencyID, s.Trail, s.Number)
	return err
}

// Seals implements [people.SealStore].
func (db *DB) TrailSeals(ctx context.Context, trail string, before int64, limit int) ([]people.Seal, error) {
	var rows []trailSealRow
	if err := db.read.SelectContext(ctx, &rows, `SELECT `+sealColumns+` FROM audit_seals WHERE trail = $1 AND ($2 = 0 OR number < $2) ORDER BY number DESC LIMIT $3`, trail, before, limit); err != nil {
		return nil, fmt.Errorf("read seals: %w", err)
	}
	out := make([]people.Seal, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = r.seal(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// SealIn implements console.Seals.
func (db *DB) SealIn(ctx context.Context, number string) (people.Seal, error) {
	if number == "" || !storable(number) { // one that is no record yet has no number
		return people.Seal{}, notary.ErrNotFound
	}
	var r trailSealRow
	if err := db.read.GetContext(ctx, &r, `SELECT `+sealColumns+` FROM audit_seals WHERE record_number = $1 AND record_number <> ''`, number); err != nil {
		return people.Seal{}, notFound(err)
	}
	return r.seal()
}

const selectDeed = `SELECT a.id, a.at, a.agency_id, a.user_id, a.login, a.role, a.act, a.about, a.detail, a.network, a.outcome, a.form, a.seal, coalesce(s.record_number, '') AS sealed_in
	FROM audit a LEFT JOIN audit_seals s ON s.trail = a.agency_id AND s.number = a.seal`

// SealedDeeds implements [people.SealedRows].
func (db *DB) SealedDeeds(ctx context.Context, trail string, number int64, after string, limit int) ([]people.Deed, error) {
	var rows []auditRow
	if err := db.read.SelectContext(ctx, &rows, selectDeed+` WHERE a.agency_id = $1 AND a.seal = $2 AND a.id > $3 ORDER BY a.id LIMIT $4`, trail, number, after, limit); err != nil {
		return nil, fmt.Errorf("read sealed deeds: %w", err)
	}
	return toDeeds(rows), nil
}

// Deed implements [people.SealedRows].
func (db *DB) Deed(ctx context.Context, id string) (people.Deed, error) {
	var r auditRow
	if err := db.read.GetContext(ctx, &r, selectDeed+` WHERE a.id = $1`, id); err != nil {
		return people.Deed{}, notFound(err)
	}
	return r.deed(), nil
}

// SealMarks implements [people.SealedRows].
func (db *DB) SealMarks(ctx context.Context) (map[string][]int64, error) {
	var rows []struct {
		Trail string `db:"agency_id"`
		Seal  int64  `db:"seal"`
	}
	if err := db.read.SelectContext(ctx, &rows, `SELECT DISTINCT agency_id, seal FROM audit ORDER BY agency_id, seal`); err != nil {
		return nil, fmt.Errorf("list the seals of deeds: %w", err)
	}
	out := map[string][]int64{}
	for _, r := range rows {
		out[r.Trail] = append(out[r.Trail], r.Seal)
	}
	return out, nil
}

// TrailRecords returns the records of sealed trails from an index on, in the order of the log.
func (db *DB) TrailRecords(ctx context.Context, first uint64, limit int) ([]notary.Record, error) {
	var rows []recordRow
	if err := db.read.SelectContext(ctx, &rows, selectRecord+` WHERE class = '`+notary.TrailClass+`' AND idx >= $1 ORDER BY idx LIMIT $2`, int64(first), limit); err != nil {
		return nil, fmt.Errorf("list sealed trails: %w", err)
	}
	return toRecords(rows)
}
