package sqldb

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/batchlog"
	"stele/notary/log/follow"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

var _ follow.Store = (*Log)(nil)

// followedStatus is the name of the status map in the table followed.
const followedStatus = "status"

// tally is a row.
type tally struct {
	Code string
	status.Tally
}

var tallies = newTable("tallies", func(t *tally) []column {
	return []column{{"code", &t.Code}, {"entries", &t.Entries}, {"hash", digest(&t.Hash)}}
})

// StatusBase implements [follow.Store]. What it reads changes with a status statement only, beside records
// that end, which are those of later entries; the size is read first and last.
func (db *Log) StatusBase(ctx context.Context) (status.Kept, error) {
	for {
		b, err := db.statusBase(ctx)
		if err != nil {
			return b, err
		}
		if again, err := db.followed(ctx, db.read); err != nil || again == b.Size {
			return b, err
		}
	}
}

func (db *conn) statusBase(ctx context.Context) (b status.Kept, err error) {
	if b.Size, err = db.followed(ctx, db.read); err != nil || b.Size == 0 {
		return b, err
	}
	kept, err := tallies.list(ctx, db.read, "read tallies", "")
	if err != nil {
		return b, err
	}
	b.Tallies = make(map[string]status.Tally, len(kept))
	for _, t := range kept {
		b.Tallies[t.Code] = t.Tally
	}
	type ended struct {
		number, code string
		standing     notary.Standing
		index        uint64
	}
	rows, err := list(ctx, db.read, "read records that ended",
		func(e *ended) []any { return []any{&e.number, &e.code, &e.standing, &e.index} },
		`SELECT r.number, a.code, r.standing, r.standing_idx FROM records r JOIN agencies a ON a.id = r.agency_id
		WHERE r.standing <> '`+string(notary.Valid)+`' AND r.standing_idx < $1`, int64(b.Size))
	b.Ended = make(map[sm.Digest]status.Ended, len(rows))
	for _, e := range rows {
		b.Ended[status.RecordKey(e.number, e.code)] = status.Ended{Superseded: e.standing == notary.Superseded,
			Index: e.index}
	}
	if err != nil {
		return b, err
	}
	revoked, err := revocations.list(ctx, db.read, "read certificates that were revoked", ` WHERE idx < $1`, int64(b.Size))
	b.Revoked = make(map[sm.Digest]status.Revocation, len(revoked))
	for _, r := range revoked {
		b.Revoked[status.CertificateKey(r.Certificate)] = r.Revocation
	}
	return b, err
}

// followed is the size of the log that the kept tallies stand for; 0 where there are none.
func (db *conn) followed(ctx context.Context, q handle) (uint64, error) {
	size, err := one(ctx, q, func(n *uint64) []any { return []any{n} }, `SELECT size FROM followed WHERE name = $1`,
		followedStatus)
	if errors.Is(err, notary.ErrNotFound) {
		return 0, nil
	}
	return size, err
}

// AppendStatus implements [follow.Store].
func (db *Log) AppendStatus(ctx context.Context, from, most uint64, fence batchlog.Fence, write follow.Write) (
	uint64, error) {
	var now logRow
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return err
		}
		now = log
		received := uint64(log.Received)
		if log.fence() != fence {
			return batchlog.ErrFenced
		}
		if received < from || received-from > most {
			return fmt.Errorf("%w: it has seen %d entries of %d", follow.ErrBehind, from, received)
		}
		rest, err := entriesOf(ctx, tx, from, received)
		if err != nil {
			return err
		}
		if uint64(len(rest)) != received-from {
			return fmt.Errorf("entries %d to %d have gaps; run stele fsck", from, received)
		}
		e, changed, err := write(rest)
		if err != nil {
			return err
		}
		if err := addOfNoRecord(ctx, tx, log.Received, e); err != nil {
			return err
		}
		if err := keepTallies(ctx, tx, received, changed); err != nil {
			return err
		}
		if err := advance(ctx, tx, 1); err != nil {
			return err
		}
		now.Received, now.Events = log.Received+1, log.Events+1
		return db.event(ctx, tx, log.Events, kindReceived, log.Received, log.Received)
	})
	if err != nil {
		return 0, err
	}
	return uint64(now.Received - 1), db.high.saw(logRow{}, now)
}

// addOfNoRecord inserts the entry of a status statement or of a certificate's revocation, which has no audit row.
func addOfNoRecord(ctx context.Context, tx *sqlx.Tx, index int64, e statement.Entry) error {
	if err := run(ctx, tx, "enter what is of no record", insertSQL("entries", entryColumns, 1), index, index,
		string(e.Statement), e.Signature, e.Certificate[:], ""); err != nil {
		return err
	}
	if status.IsRevocation(e.Statement) {
		return keepRevocation(ctx, tx, index, e.Statement)
	}
	return run(ctx, tx, "list a status statement", `INSERT INTO status_statements (idx) VALUES ($1)`, index)
}

// statusCheckpoint is the newest checkpoint beyond a size that ends with a status statement; nil where there is
// none.
func (db *conn) statusCheckpoint(ctx context.Context, beyond uint64) ([]byte, error) {
	note, err := one(ctx, db.read, func(b *[]byte) []any { return []any{text{b}} },
		`SELECT c.note FROM status_statements s JOIN checkpoints c ON c.size = s.idx + 1 WHERE s.idx >= $1
		ORDER BY s.idx DESC LIMIT 1`, int64(beyond))
	if errors.Is(err, notary.ErrNotFound) {
		return nil, nil
	}
	return note, err
}

// NewestStatus is the newest status statement whose checkpoint, which ends with it, has evidence that proves
// itself; where there is none of that, any.
func (db *Log) NewestStatus(ctx context.Context) (index uint64, under *archive.AnchoredCheckpoint, err error) {
	for _, target := range []string{` AND a.target = '` + anchorproof.Kind + `'`, ""} {
		index, err = one(ctx, db.read, func(n *uint64) []any { return []any{n} },
			`SELECT s.idx FROM status_statements s JOIN anchors a ON a.size = s.idx + 1`+target+` ORDER BY s.idx DESC LIMIT 1`)
		if err == nil {
			under, err = db.AnchoredAt(ctx, index+1)
		}
		if !errors.Is(err, notary.ErrNotFound) {
			break
		}
	}
	return index, under, err
}

func keepTallies(ctx context.Context, tx *sqlx.Tx, size uint64, changed map[string]status.Tally) error {
	for code, t := range changed {
		if err := tallies.add(ctx, tx, "keep a tally", tally{code, t}, tallies.replacing("code"), nil); err != nil {
			return err
		}
	}
	return run(ctx, tx, "keep how far the status map is", `INSERT INTO followed (name, size) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET size = excluded.size`, followedStatus, int64(size))
}
