package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/intake"
	"stele/notary/upload"
	"stele/notary/webhook"
)

var (
	_ upload.Store  = (*DB)(nil)
	_ upload.Leases = (*DB)(nil)
	_ upload.Rows   = (*DB)(nil)
)

// AddUpload implements [upload.Store]. The agency's row is locked, so that no two callers
// both take its last place.
func (db *DB) AddUpload(ctx context.Context, u upload.Upload, most int) error {
	metadata, err := json.Marshal(u.Metadata)
	if err != nil {
		return fmt.Errorf("encode an upload's metadata: %w", err)
	}
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		lock := ""
		if db.postgres {
			lock = ` FOR NO KEY UPDATE` // which new records of the agency do not wait for
		}
		if _, err := tx.ExecContext(ctx, `SELECT 1 FROM agencies WHERE id = $1`+lock, u.AgencyID); err != nil {
			return fmt.Errorf("lock the agency: %w", err)
		}
		var n int
		if err := tx.GetContext(ctx, &n, `SELECT count(*) FROM uploads WHERE agency_id = $1 AND expires_at > $2`, u.AgencyID, micros(db.now())); err != nil {
			return fmt.Errorf("count the agency's uploads: %w", err)
		}
		if n >= most {
			return upload.ErrTooMany
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO uploads (id, agency_id, size, offset_, direct, metadata, holder, held_until, expires_at) VALUES ($1, $2, $3, 0, $4, $5, '', 0, $6)`,
			u.ID, u.AgencyID, u.Size, u.Direct, string(metadata), micros(u.ExpiresAt))
		if err != nil {
			return fmt.Errorf("add upload: %w", err)
		}
		return nil
	})
}

type uploadRow struct {
	ID        string `db:"id"`
	AgencyID  string `db:"agency_id"`
	Size      int64  `db:"size"`
	Offset    int64  `db:"offset_"`
	Direct    bool   `db:"direct"`
	Metadata  string `db:"metadata"`
	HeldUntil int64  `db:"held_until"`
	ExpiresAt int64  `db:"expires_at"`
}

const uploadSelection = `id, agency_id, size, offset_, direct, metadata, held_until, expires_at`

func (r *uploadRow) upload() (upload.Upload, error) {
	u := upload.Upload{ID: r.ID, AgencyID: r.AgencyID, Size: r.Size, Offset: r.Offset, Direct: r.Direct, ExpiresAt: fromMicros(r.ExpiresAt)}
	if err := json.Unmarshal([]byte(r.Metadata), &u.Metadata); err != nil {
		return u, fmt.Errorf("the row of upload %s is damaged", r.ID)
	}
	return u, nil
}

// findUpload reads an upload that has not expired.
func (db *DB) findUpload(ctx context.Context, q sqlx.QueryerContext, agencyID, id, lock string) (uploadRow, error) {
	var r uploadRow
	if !storable(id) {
		return r, notary.ErrNotFound
	}
	err := sqlx.GetContext(ctx, q, &r, `SELECT `+uploadSelection+` FROM uploads WHERE id = $1 AND agency_id = $2 AND expires_at > $3`+lock, id, agencyID, micros(db.now()))
	return r, notFound(err)
}

// FindUpload implements [upload.Store].
func (db *DB) FindUpload(ctx context.Context, agencyID, id string) (upload.Upload, error) {
	r, err := db.findUpload(ctx, db.read, agencyID, id, "")
	if err != nil {
		return upload.Upload{}, err
	}
	return r.upload()
}

// UploadParts implements [upload.Store].
func (db *DB) UploadParts(ctx context.Context, id string) ([]upload.Part, error) {
	var rows []struct {
		Offset int64  `db:"offset_"`
		Size   int64  `db:"size"`
		Key    string `db:"key"`
	}
	if err := db.read.SelectContext(ctx, &rows, `SELECT offset_, size, key FROM upload_parts WHERE upload_id = $1 ORDER BY offset_`, id); err != nil {
		return nil, fmt.Errorf("list the parts of an upload: %w", err)
	}
	parts := make([]upload.Part, len(rows))
	for i, r := range rows {
		parts[i] = upload.Part(r)
	}
	return parts, nil
}

// DropUpload implements [upload.Store].
func (db *DB) DropUpload(ctx context.Context, agencyID, id string) error {
	if !storable(id) {
		return notary.ErrNotFound
	}
	return execOne(ctx, db.write, notary.ErrNotFound, `DELETE FROM uploads WHERE id = $1 AND agency_id = $2 AND expires_at > $3`, id, agencyID, micros(db.now()))
}

// execOne runs a statement that changes a row; none is the error if there was none to change.
func execOne(ctx context.Context, q sqlx.ExecerContext, none error, query string, args ...any) error {
	res, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, none)
	}
	return nil
}

// LeaseUpload implements [upload.Leases].
func (db *DB) LeaseUpload(ctx context.Context, agencyID, id, holder string, until, keep time.Time) (u upload.Upload, err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		r, err := db.findUpload(ctx, tx, agencyID, id, db.forUpdate())
		if err != nil {
			return err
		}
		if r.HeldUntil > micros(db.now()) {
			return upload.ErrBusy
		}
		if u, err = r.upload(); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE uploads SET holder = $1, held_until = $2, `+longer(3)+` WHERE id = $4`, holder, micros(until), micros(keep), id)
		return err
	})
	return u, err
}

// longer moves an upload's expiry on, never back.
func longer(arg int) string {
	return fmt.Sprintf(`expires_at = CASE WHEN expires_at < $%d THEN $%[1]d ELSE expires_at END`, arg)
}

// RenewUpload implements [upload.Leases].
func (db *DB) RenewUpload(ctx context.Context, id, holder string, until, keep time.Time) error {
	return execOne(ctx, db.write, upload.ErrLost, `UPDATE uploads SET held_until = $1, `+longer(2)+` WHERE id = $3 AND holder = $4`, micros(until), micros(keep), id, holder)
}

// AddPart implements [upload.Leases].
func (db *DB) AddPart(ctx context.Context, id, holder string, p upload.Part, until, keep time.Time) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := execOne(ctx, tx, upload.ErrLost, `UPDATE uploads SET offset_ = offset_ + $1, held_until = $2, `+longer(3)+` WHERE id = $4 AND holder = $5 AND offset_ = $6 AND offset_ + $1 <= size`,
			p.Size, micros(until), micros(keep), id, holder, p.Offset); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO upload_parts (upload_id, offset_, size, key) VALUES ($1, $2, $3, $4)`, id, p.Offset, p.Size, p.Key)
		return err
	})
}

// ReleaseUpload implements [upload.Leases].
func (db *DB) ReleaseUpload(ctx context.Context, id, holder string) error {
	_, err := db.write.ExecContext(ctx, `UPDATE uploads SET holder = '', held_until = 0 WHERE id = $1 AND holder = $2`, id, holder)
	return err
}

// expiredAtOnce is how many uploads expire in one transaction, which holds the log's row.
const expiredAtOnce = 100

// DropExpired implements [upload.Rows]. The agency is told in the transaction that drops one.
func (db *DB) DropExpired(ctx context.Context) (int, error) {
	for all := 0; ; {
		n, err := db.dropExpired(ctx)
		if all += n; err != nil || n < expiredAtOnce {
			return all, err
		}
	}
}

func (db *DB) dropExpired(ctx context.Context) (n int, err error) {
	now := micros(db.now())
	var some int // looked for without the lock: mostly there are none
	if err := db.read.GetContext(ctx, &some, `SELECT count(*) FROM uploads WHERE expires_at <= $1`, now); err != nil || some == 0 {
		return 0, err
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := db.lockLog(ctx, tx); err != nil { // in the order of those who notarize an upload
			return fmt.Errorf("lock the log: %w", err)
		}
		var gone []struct {
			ID       string `db:"id"`
			AgencyID string `db:"agency_id"`
		}
		if err := tx.SelectContext(ctx, &gone, `SELECT id, agency_id FROM uploads WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2`, now, expiredAtOnce); err != nil {
			return fmt.Errorf("look for expired uploads: %w", err)
		}
		for _, u := range gone {
			res, err := tx.ExecContext(ctx, `DELETE FROM uploads WHERE id = $1 AND expires_at <= $2`, u.ID, now)
			if err != nil {
				return fmt.Errorf("drop an expired upload: %w", err)
			}
			if dropped, err := res.RowsAffected(); err != nil || dropped == 0 { // somebody has gone on with it
				continue
			}
			if err := db.notice(ctx, tx, kindFailed, u.AgencyID, u.ID, "", webhook.ReasonExpired); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// ExistingUploads implements [upload.Rows].
func (db *DB) ExistingUploads(ctx context.Context, ids []string) (map[string]bool, error) {
	return db.existing(ctx, "uploads", ids)
}

// takeUploads removes, in the transaction that makes their records, the uploads that items
// were made of. What was taken before, or given up meanwhile, is no record's document any more.
func (db *DB) takeUploads(ctx context.Context, tx *sqlx.Tx, rows []*row, out []intake.Outcome) ([]*row, error) {
	fresh := rows[:0]
	for _, r := range rows {
		if r.Upload != "" {
			err := execOne(ctx, tx, notary.ErrNotFound, `DELETE FROM uploads WHERE id = $1 AND agency_id = $2`, r.Upload, r.Record.AgencyID)
			if err != nil && !errors.Is(err, notary.ErrNotFound) {
				return nil, fmt.Errorf("take an upload: %w", err)
			}
			if err != nil {
				for _, at := range append(r.replays, r.at) {
					out[at] = intake.Outcome{Err: intake.UploadGone()}
				}
				continue
			}
		}
		fresh = append(fresh, r)
	}
	return fresh, nil
}
