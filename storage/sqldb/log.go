package sqldb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/anchor"
	"stele/notary/batchlog"
	"stele/notary/checkpoint"
	"stele/notary/statement"
)

var (
	_ batchlog.Store = (*DB)(nil)
	_ anchor.Store   = (*DB)(nil)
)

// Instance says which instance a database belongs to.
type Instance struct {
	ID    string `db:"id"`
	Chain string `db:"chain"`
}

// InitInstance writes the instance's row and the log's first head, once.
func (db *DB) InitInstance(ctx context.Context, in Instance, head batchlog.Head) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO instance (one, id, chain, created_at) VALUES (1, $1, $2, $3)`, in.ID, in.Chain, micros(db.now())); err != nil {
			return fmt.Errorf("write the instance's row: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO log (one, origin, received, size, root, note, anchored, events, key, key_generation)
			VALUES (1, $1, 0, 0, $2, $3, 0, 0, $4, $5)`,
			head.Origin, head.Root[:], string(head.Note), head.Key, int64(head.Generation)); err != nil {
			return fmt.Errorf("write the log's row: %w", err)
		}
		return db.addCheckpoint(ctx, tx, checkpoint.Checkpoint{Root: head.Root}, head.Note)
	})
}

// Instance reads the instance's row.
func (db *DB) Instance(ctx context.Context) (Instance, error) {
	var in Instance
	err := db.read.GetContext(ctx, &in, `SELECT id, chain FROM instance`)
	return in, notFound(err)
}

func (db *DB) logRow(ctx context.Context) (logRow, error) {
	r, err := db.readLog(ctx, db.read, `SELECT `+logColumns+` FROM log`)
	if err == nil && len(r.Root) != merkle.HashSize {
		err = errors.New("the log's row is damaged: root")
	}
	return r, err
}

// Head implements [batchlog.Store].
func (db *DB) Head(ctx context.Context) (batchlog.Head, error) {
	r, err := db.logRow(ctx)
	if err != nil {
		return batchlog.Head{}, err
	}
	return batchlog.Head{Origin: r.Origin, Received: uint64(r.Received), Size: uint64(r.Size), Root: merkle.Hash(r.Root),
		Note: []byte(r.Note), Fence: r.fence()}, nil
}

// Progress reads how far the log has come.
func (db *DB) Progress(ctx context.Context) (notary.Progress, error) {
	r, err := db.logRow(ctx)
	return notary.Progress{Received: uint64(r.Received), Logged: uint64(r.Size), Anchored: uint64(r.Anchored)}, err
}

// Entries implements [batchlog.Store].
func (db *DB) Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT idx, statement, signature, certificate FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx`, int64(first), int64(end))
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	defer rows.Close()
	out := make([]statement.Entry, 0, end-first)
	for rows.Next() {
		var e statement.Entry
		var idx int64
		var cert []byte
		if err := rows.Scan(&idx, &e.Statement, &e.Signature, &cert); err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		if len(cert) != sm.DigestSize || len(e.Statement) > statement.MaxSize || len(e.Signature) > sm.MaxSignatureSize {
			return nil, &batchlog.DamagedEntryError{Index: uint64(idx)}
		}
		if idx != int64(first)+int64(len(out)) {
			break // a gap: the caller sees that entries are missing
		}
		e.Certificate = sm.Digest(cert)
		out = append(out, e)
	}
	return out, rows.Err()
}

// Advance implements [batchlog.Store].
func (db *DB) Advance(ctx context.Context, from batchlog.Head, to checkpoint.Checkpoint, note []byte) error {
	if to.Size <= from.Size {
		return fmt.Errorf("a log of %d entries cannot advance to %d", from.Size, to.Size)
	}
	var now logRow
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return fmt.Errorf("lock the log: %w", err)
		}
		now = log
		now.Size, now.Root, now.Events = int64(to.Size), to.Root[:], log.Events+1
		if log.Size != int64(from.Size) || !bytes.Equal(log.Root, from.Root[:]) || int64(to.Size) > log.Received {
			return batchlog.ErrLostRace
		}
		if log.fence() != from.Fence {
			return batchlog.ErrFenced
		}
		if err := db.addCheckpoint(ctx, tx, to, note); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE log SET size = $1, root = $2, note = $3, events = events + 1`, int64(to.Size), to.Root[:], string(note)); err != nil {
			return fmt.Errorf("advance the head: %w", err)
		}
		return db.event(ctx, tx, log.Events, kindLogged, log.Size, int64(to.Size)-1)
	})
	if err != nil {
		return err
	}
	return db.high.saw(logRow{}, now)
}

// LogFence reads which key is the log's.
func (db *DB) LogFence(ctx context.Context) (batchlog.Fence, error) {
	r, err := db.logRow(ctx)
	return r.fence(), err
}

// MoveLogFence makes a key the log's, if the fence still stands where it was seen; otherwise it
// returns [batchlog.ErrFenced]. From then on no server that has another key advances the log.
func (db *DB) MoveLogFence(ctx context.Context, from batchlog.Fence, key string) (batchlog.Fence, error) {
	to := batchlog.Fence{Key: key, Generation: from.Generation + 1}
	res, err := db.write.ExecContext(ctx, `UPDATE log SET key = $1, key_generation = $2 WHERE key = $3 AND key_generation = $4`,
		to.Key, int64(to.Generation), from.Key, int64(from.Generation))
	if err != nil {
		return from, err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return from, errors.Join(err, batchlog.ErrFenced)
	}
	return to, nil
}

func (db *DB) addCheckpoint(ctx context.Context, tx *sqlx.Tx, c checkpoint.Checkpoint, note []byte) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO checkpoints (size, root, note, created_at) VALUES ($1, $2, $3, $4)`, int64(c.Size), c.Root[:], string(note), micros(db.now()))
	if err != nil {
		return fmt.Errorf("add checkpoint: %w", err)
	}
	return nil
}

// Lease implements [batchlog.Store]. Servers' clocks may differ: a lease saves work and
// guards nothing.
func (db *DB) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	now := db.now()
	res, err := db.write.ExecContext(ctx, `INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = $2, expires_at = $3 WHERE leases.holder = $2 OR leases.expires_at < $4`,
		name, holder, micros(now.Add(ttl)), micros(now))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// ReleaseLease gives a lease up at a graceful stop, so that another server need not wait.
func (db *DB) ReleaseLease(ctx context.Context, name, holder string) error {
	_, err := db.write.ExecContext(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
	return err
}

// CheckpointAt returns the smallest checkpoint of at least this size.
func (db *DB) CheckpointAt(ctx context.Context, size uint64) (checkpoint.Checkpoint, []byte, error) {
	var r struct {
		Size int64  `db:"size"`
		Root []byte `db:"root"`
		Note string `db:"note"`
	}
	if err := db.read.GetContext(ctx, &r, `SELECT size, root, note FROM checkpoints WHERE size >= $1 ORDER BY size LIMIT 1`, int64(size)); err != nil {
		return checkpoint.Checkpoint{}, nil, notFound(err)
	}
	c, err := checkpoint.ParseUnsafe([]byte(r.Note))
	if err == nil && (c.Size != uint64(r.Size) || !bytes.Equal(c.Root[:], r.Root)) {
		err = fmt.Errorf("the row of checkpoint %d is damaged", r.Size)
	}
	return c, []byte(r.Note), err
}

// UnanchoredSince is when the log first had entries beyond a size; zero where it has none.
func (db *DB) UnanchoredSince(ctx context.Context, size uint64) (time.Time, error) {
	var at []int64
	if err := db.read.SelectContext(ctx, &at, `SELECT created_at FROM checkpoints WHERE size > $1 ORDER BY size LIMIT 1`, int64(size)); err != nil || len(at) == 0 {
		return time.Time{}, err
	}
	return fromMicros(at[0]), nil
}

// AnchorState implements [anchor.Store].
func (db *DB) AnchorState(ctx context.Context, target string) (anchor.State, error) {
	log, err := db.logRow(ctx)
	if err != nil {
		return anchor.State{}, err
	}
	st := anchor.State{Note: []byte(log.Note)}
	var newest []struct {
		Size      int64 `db:"size"`
		CreatedAt int64 `db:"created_at"`
	}
	if err := db.read.SelectContext(ctx, &newest, `SELECT size, created_at FROM anchors WHERE target = $1 ORDER BY size DESC LIMIT 1`, target); err != nil {
		return anchor.State{}, fmt.Errorf("read anchors: %w", err)
	}
	for _, a := range newest {
		st.Anchored, st.At = uint64(a.Size), fromMicros(a.CreatedAt)
	}
	return st, nil
}

// SaveEvidence implements [anchor.Store].
func (db *DB) SaveEvidence(ctx context.Context, target string, size uint64, evidence json.RawMessage, required []string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return fmt.Errorf("lock the log: %w", err)
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO anchors (target, size, evidence, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
			target, int64(size), string(evidence), micros(db.now()))
		if err != nil {
			return fmt.Errorf("save evidence: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return db.moveAnchored(ctx, tx, log, required)
	})
}

// SettleAnchored moves the log's anchored size as far as all required chains are: after a
// change of the policy that may be further than before.
func (db *DB) SettleAnchored(ctx context.Context, required []string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return fmt.Errorf("lock the log: %w", err)
		}
		return db.moveAnchored(ctx, tx, log, required)
	})
}

// moveAnchored moves the anchored size, never back: what was told is not taken back.
func (db *DB) moveAnchored(ctx context.Context, tx *sqlx.Tx, log logRow, required []string) error {
	size := int64(0)
	for i, target := range required {
		var on int64
		if err := tx.GetContext(ctx, &on, `SELECT coalesce(max(size), 0) FROM anchors WHERE target = $1`, target); err != nil {
			return fmt.Errorf("read anchors: %w", err)
		}
		if i == 0 || on < size {
			size = on
		}
	}
	if size <= log.Anchored {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `UPDATE log SET anchored = $1, events = events + 1`, size); err != nil {
		return fmt.Errorf("move the anchored size: %w", err)
	}
	return db.event(ctx, tx, log.Events, kindAnchored, log.Anchored, size-1)
}
