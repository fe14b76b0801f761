package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/notary"
	"stele/notary/office/webhook"
	"stele/notary/register/intake"
	"stele/notary/register/upload"
)

var (
	_ upload.Store = (*Log)(nil)
)

// AddUpload implements [upload.Store]. The agency's row is locked, so that no two callers
// both take its last place.
func (db *Log) AddUpload(ctx context.Context, u upload.Upload, whole *upload.Part, most int) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		lock := ""
		if db.postgres {
			lock = ` FOR NO KEY UPDATE` // which new records of the agency do not wait for
		}
		if err := run(ctx, tx, "lock the agency", `SELECT 1 FROM agencies WHERE id = $1`+lock, u.AgencyID); err != nil {
			return err
		}
		n, err := value[int](ctx, tx, "count the agency's uploads",
			`SELECT count(*) FROM uploads WHERE agency_id = $1 AND expires_at > $2`, u.AgencyID, micros(db.now()))
		if err != nil {
			return err
		}
		if n >= most {
			return upload.ErrTooMany
		}
		u.Offset = 0
		if err := uploads.add(ctx, tx, "add upload", heldUpload{Upload: u}, "", nil); err != nil || whole == nil {
			return err
		}
		return addPart(ctx, tx, u.ID, *whole)
	})
}

func addPart(ctx context.Context, tx *sqlx.Tx, id string, p upload.Part) error {
	return run(ctx, tx, "add a part",
		`INSERT INTO upload_parts (upload_id, offset_, size, key) VALUES ($1, $2, $3, $4)`,
		id, p.Offset, p.Size, p.Key)
}

// heldUpload is an upload and who is at it, until when.
type heldUpload struct {
	upload.Upload
	Holder string
	Until  time.Time
}

var uploads = newTable("uploads", func(u *heldUpload) []column {
	return []column{{"id", &u.ID}, {"agency_id", &u.AgencyID}, {"size", &u.Size}, {"offset_", &u.Offset},
		{"direct", &u.Direct}, {"metadata", asJSON(&u.Metadata)}, {"holder", &u.Holder},
		{"held_until", moment{&u.Until}}, {"expires_at", moment{&u.ExpiresAt}}}
})

// findUpload reads an upload that has not expired.
func (db *conn) findUpload(ctx context.Context, q handle, agencyID, id, lock string) (heldUpload, error) {
	return uploads.one(ctx, q, ` WHERE id = $1 AND agency_id = $2 AND expires_at > $3`+lock, id, agencyID,
		micros(db.now()))
}

// FindUpload implements [upload.Store].
func (db *Log) FindUpload(ctx context.Context, agencyID, id string) (upload.Upload, error) {
	u, err := db.findUpload(ctx, db.read, agencyID, id, "")
	return u.Upload, err
}

// UploadParts implements [upload.Store].
func (db *Log) UploadParts(ctx context.Context, id string) ([]upload.Part, error) {
	return list(ctx, db.read, "list the parts of an upload",
		func(p *upload.Part) []any { return []any{&p.Offset, &p.Size, &p.Key} },
		`SELECT offset_, size, key FROM upload_parts WHERE upload_id = $1 ORDER BY offset_`, id)
}

// DropUpload implements [upload.Store].
func (db *Log) DropUpload(ctx context.Context, agencyID, id string) error {
	if !storable(id) {
		return notary.ErrNotFound
	}
	return execOne(ctx, db.write, "drop an upload", notary.ErrNotFound,
		`DELETE FROM uploads WHERE id = $1 AND agency_id = $2 AND expires_at > $3`, id, agencyID, micros(db.now()))
}

// LeaseUpload implements [upload.Store].
func (db *Log) LeaseUpload(ctx context.Context, agencyID, id, holder string, until, keep time.Time) (u upload.Upload,
	err error) {
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		r, err := db.findUpload(ctx, tx, agencyID, id, db.forUpdate())
		if err != nil {
			return err
		}
		if micros(r.Until) > micros(db.now()) {
			return upload.ErrBusy
		}
		u = r.Upload
		return run(ctx, tx, "lease an upload", `UPDATE uploads SET holder = $1, held_until = $2, `+longer(3)+
			` WHERE id = $4`, holder, micros(until), micros(keep), id)
	})
	return u, err
}

// longer moves an upload's expiry on, never back.
func longer(arg int) string {
	return fmt.Sprintf(`expires_at = CASE WHEN expires_at < $%d THEN $%[1]d ELSE expires_at END`, arg)
}

// RenewUpload implements [upload.Store].
func (db *Log) RenewUpload(ctx context.Context, id, holder string, until, keep time.Time) error {
	return execOne(ctx, db.write, "renew an upload", upload.ErrLost, `UPDATE uploads SET held_until = $1, `+longer(2)+
		` WHERE id = $3 AND holder = $4`, micros(until), micros(keep), id, holder)
}

// AddPart implements [upload.Store].
func (db *Log) AddPart(ctx context.Context, id, holder string, p upload.Part, until, keep time.Time) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := execOne(ctx, tx, "move an upload on", upload.ErrLost,
			`UPDATE uploads SET offset_ = offset_ + $1, held_until = $2, `+longer(3)+`
			WHERE id = $4 AND holder = $5 AND offset_ = $6 AND offset_ + $1 <= size`,
			p.Size, micros(until), micros(keep), id, holder, p.Offset); err != nil {
			return err
		}
		return addPart(ctx, tx, id, p)
	})
}

// ReleaseUpload implements [upload.Store].
func (db *Log) ReleaseUpload(ctx context.Context, id, holder string) error {
	return run(ctx, db.write, "release an upload",
		`UPDATE uploads SET holder = '', held_until = 0 WHERE id = $1 AND holder = $2`, id, holder)
}

// expiredAtOnce is how many uploads expire in one transaction, which holds the log's row.
const expiredAtOnce = 100

// DropExpired implements [upload.Store]. The agency is told in the transaction that drops one.
func (db *Log) DropExpired(ctx context.Context) (all []upload.Ended, err error) {
	for {
		ended, err := db.dropExpired(ctx)
		if all = append(all, ended...); err != nil || len(ended) < expiredAtOnce {
			return all, err
		}
	}
}

func (db *conn) dropExpired(ctx context.Context) (ended []upload.Ended, err error) {
	now := micros(db.now())
	// Looked for without the lock: mostly there are none.
	some, err := value[int](ctx, db.read, "look for expired uploads",
		`SELECT count(*) FROM uploads WHERE expires_at <= $1`, now)
	if err != nil || some == 0 {
		return nil, err
	}
	err = db.tx(ctx, func(tx *sqlx.Tx) error {
		ended = nil
		if _, err := db.lockLog(ctx, tx); err != nil { // in the order of those who notarize an upload
			return err
		}
		gone, err := list(ctx, tx, "look for expired uploads",
			func(u *upload.Upload) []any { return []any{&u.ID, &u.AgencyID} },
			`SELECT id, agency_id FROM uploads WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2`, now,
			expiredAtOnce)
		if err != nil {
			return err
		}
		for _, u := range gone {
			keys, err := list(ctx, tx, "list the parts of an expired upload", itself[string],
				`SELECT key FROM upload_parts WHERE upload_id = $1 ORDER BY offset_`, u.ID)
			if err != nil {
				return err
			}
			dropped, err := exec(ctx, tx, "drop an expired upload",
				`DELETE FROM uploads WHERE id = $1 AND expires_at <= $2`, u.ID, now)
			if err != nil {
				return err
			}
			if dropped == 0 { // somebody has gone on with it
				continue
			}
			if err := db.notice(ctx, tx, kindFailed, u.AgencyID, u.ID, "", webhook.ReasonExpired); err != nil {
				return err
			}
			ended = append(ended, upload.Ended{AgencyID: u.AgencyID, Keys: keys})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// takeUploads removes, in the transaction that makes their records, the uploads that items
// were made of. What was taken before, or given up meanwhile, is no record's document any more.
func takeUploads(ctx context.Context, tx *sqlx.Tx, rows []*row, out []intake.Outcome) ([]*row, error) {
	fresh := rows[:0]
	for _, r := range rows {
		if r.Upload != "" {
			n, err := exec(ctx, tx, "take an upload", `DELETE FROM uploads WHERE id = $1 AND agency_id = $2`, r.Upload,
				r.Record.AgencyID)
			if err != nil {
				return nil, err
			}
			if n == 0 {
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
