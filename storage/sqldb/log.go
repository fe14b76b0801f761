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
	"stele/notary/log/anchor"
	"stele/notary/log/batchlog"
	"stele/notary/log/fsck"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

var (
	_ batchlog.Store = (*Log)(nil)
	_ anchor.Store   = (*Log)(nil)
)

// Instance says which instance a database belongs to.
type Instance struct {
	ID    string
	Chain string
}

// InitInstance writes the instance's row and the log's first head, once.
func (db *Log) InitInstance(ctx context.Context, in Instance, head batchlog.Head) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		if err := run(ctx, tx, "write the instance's row",
			`INSERT INTO instance (one, id, chain, created_at) VALUES (1, $1, $2, $3)`,
			in.ID, in.Chain, micros(db.now())); err != nil {
			return err
		}
		if err := run(ctx, tx, "write the log's row",
			`INSERT INTO log (one, origin, received, size, root, note, anchored, events, key, key_generation)
			VALUES (1, $1, 0, 0, $2, $3, 0, 0, $4, $5)`,
			head.Origin, head.Root[:], string(head.Note), head.Key, int64(head.Generation)); err != nil {
			return err
		}
		return db.addCheckpoint(ctx, tx, checkpoint.Checkpoint{Root: head.Root}, head.Note)
	})
}

// Instance reads the instance's row.
func (db *Log) Instance(ctx context.Context) (Instance, error) {
	return one(ctx, db.read, func(in *Instance) []any { return []any{&in.ID, &in.Chain} },
		`SELECT id, chain FROM instance`)
}

func (db *conn) logRow(ctx context.Context) (logRow, error) {
	r, err := db.readLog(ctx, db.read, "")
	if err == nil && len(r.Root) != merkle.HashSize {
		err = errors.New("the log's row is damaged: root")
	}
	return r, err
}

// Head implements [batchlog.Store].
func (db *Log) Head(ctx context.Context) (batchlog.Head, error) {
	r, err := db.logRow(ctx)
	if err != nil {
		return batchlog.Head{}, err
	}
	return batchlog.Head{Origin: r.Origin, Received: uint64(r.Received), Size: uint64(r.Size),
		Root: merkle.Hash(r.Root),
		Note: r.Note, Fence: r.fence()}, nil
}

// Progress reads how far the log has come.
func (db *Log) Progress(ctx context.Context) (notary.Progress, error) {
	r, err := db.logRow(ctx)
	return notary.Progress{Received: uint64(r.Received), Logged: uint64(r.Size), Anchored: uint64(r.Anchored)}, err
}

// Entries implements [batchlog.Store].
func (db *Log) Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error) {
	return entriesOf(ctx, db.read, first, end)
}

func entriesOf(ctx context.Context, q handle, first, end uint64) ([]statement.Entry, error) {
	rows, err := q.QueryContext(ctx,
		`SELECT idx, statement, signature, certificate FROM entries WHERE idx >= $1 AND idx < $2 ORDER BY idx`,
		int64(first), int64(end))
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
		if len(cert) != sm.DigestSize || len(e.Statement) > statement.MaxSize ||
			len(e.Signature) > sm.MaxSignatureSize {
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
func (db *Log) Advance(ctx context.Context, from batchlog.Head, to checkpoint.Checkpoint, note []byte) error {
	if to.Size <= from.Size {
		return fmt.Errorf("a log of %d entries cannot advance to %d", from.Size, to.Size)
	}
	var now logRow
	err := db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return err
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
		if err := run(ctx, tx, "advance the head",
			`UPDATE log SET size = $1, root = $2, note = $3, events = events + 1`,
			int64(to.Size), to.Root[:], string(note)); err != nil {
			return err
		}
		return db.event(ctx, tx, log.Events, kindLogged, log.Size, int64(to.Size)-1)
	})
	if err != nil {
		return err
	}
	return db.high.saw(logRow{}, now)
}

// LogFence reads which key is the log's.
func (db *Log) LogFence(ctx context.Context) (batchlog.Fence, error) {
	r, err := db.logRow(ctx)
	return r.fence(), err
}

// MoveLogFence makes a key the log's, if the fence still stands where it was seen; otherwise it
// returns [batchlog.ErrFenced]. From then on no server that has another key advances the log.
func (db *Log) MoveLogFence(ctx context.Context, from batchlog.Fence, key string) (batchlog.Fence, error) {
	to := batchlog.Fence{Key: key, Generation: from.Generation + 1}
	if err := execOne(ctx, db.write, "move the fence", batchlog.ErrFenced,
		`UPDATE log SET key = $1, key_generation = $2 WHERE key = $3 AND key_generation = $4`,
		to.Key, int64(to.Generation), from.Key, int64(from.Generation)); err != nil {
		return from, err
	}
	return to, nil
}

func (db *conn) addCheckpoint(ctx context.Context, tx *sqlx.Tx, c checkpoint.Checkpoint, note []byte) error {
	return run(ctx, tx, "add checkpoint",
		`INSERT INTO checkpoints (size, root, note, created_at) VALUES ($1, $2, $3, $4)`,
		int64(c.Size), c.Root[:], string(note), micros(db.now()))
}

// Lease implements [batchlog.Store]. Servers' clocks may differ: a lease saves work and
// guards nothing.
func (db *conn) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	now := db.now()
	n, err := exec(ctx, db.write, "lease", `INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET holder = $2, expires_at = $3 WHERE leases.holder = $2 OR leases.expires_at < $4`,
		name, holder, micros(now.Add(ttl)), micros(now))
	return n == 1, err
}

// ReleaseLease gives a lease up at a graceful stop, so that another server need not wait.
func (db *conn) ReleaseLease(ctx context.Context, name, holder string) error {
	return run(ctx, db.write, "release a lease", `DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
}

func storedCheckpoint(c *fsck.StoredCheckpoint) []any {
	return []any{&c.Size, hash[merkle.Hash]{&c.Root}, text{&c.Note}}
}

// CheckpointAt returns the smallest checkpoint of at least this size.
func (db *Log) CheckpointAt(ctx context.Context, size uint64) (checkpoint.Checkpoint, []byte, error) {
	r, err := one(ctx, db.read, storedCheckpoint,
		`SELECT size, root, note FROM checkpoints WHERE size >= $1 ORDER BY size LIMIT 1`, int64(size))
	if err != nil {
		return checkpoint.Checkpoint{}, nil, err
	}
	c, err := checkpoint.ParseUnsafe(r.Note)
	if err == nil && (c.Size != r.Size || c.Root != r.Root) {
		err = fmt.Errorf("the row of checkpoint %d is damaged", r.Size)
	}
	return c, r.Note, err
}

// UnanchoredSince is when the log first had entries beyond a size; zero where it has none.
func (db *Log) UnanchoredSince(ctx context.Context, size uint64) (time.Time, error) {
	return db.oldest(ctx, `SELECT created_at FROM checkpoints WHERE size > $1 ORDER BY size LIMIT 1`, int64(size))
}

// AnchorState implements [anchor.Store].
func (db *Log) AnchorState(ctx context.Context, target string) (anchor.State, error) {
	log, err := db.logRow(ctx)
	if err != nil {
		return anchor.State{}, err
	}
	st := anchor.State{Note: log.Note}
	_, err = one(ctx, db.read, func(*struct{}) []any { return []any{&st.Anchored, moment{&st.At}} },
		`SELECT size, created_at FROM anchors WHERE target = $1 ORDER BY size DESC LIMIT 1`, target)
	if err != nil && !errors.Is(err, notary.ErrNotFound) {
		return anchor.State{}, fmt.Errorf("read anchors: %w", err)
	}
	st.Status, err = db.statusCheckpoint(ctx, st.Anchored)
	return st, err
}

// SaveEvidence implements [anchor.Store].
func (db *Log) SaveEvidence(ctx context.Context, target string, size uint64, evidence json.RawMessage,
	required []string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return err
		}
		n, err := exec(ctx, tx, "save evidence", `INSERT INTO anchors (target, size, evidence, created_at) VALUES `+
			`($1, $2, $3, $4) ON CONFLICT DO NOTHING`, target, int64(size), string(evidence), micros(db.now()))
		if err != nil || n == 0 {
			return err
		}
		return db.moveAnchored(ctx, tx, log, required)
	})
}

// SettleAnchored moves the log's anchored size as far as all required chains are: after a
// change of the policy that may be further than before.
func (db *Log) SettleAnchored(ctx context.Context, required []string) error {
	return db.tx(ctx, func(tx *sqlx.Tx) error {
		log, err := db.lockLog(ctx, tx)
		if err != nil {
			return err
		}
		return db.moveAnchored(ctx, tx, log, required)
	})
}

// moveAnchored moves the anchored size, never back: what was told is not taken back.
func (db *conn) moveAnchored(ctx context.Context, tx *sqlx.Tx, log logRow, required []string) error {
	size := int64(0)
	for i, target := range required {
		on, err := value[int64](ctx, tx, "read anchors", `SELECT coalesce(max(size), 0) FROM anchors WHERE target = $1`,
			target)
		if err != nil {
			return err
		}
		if i == 0 || on < size {
			size = on
		}
	}
	if size <= log.Anchored {
		return nil
	}
	if err := run(ctx, tx, "move the anchored size", `UPDATE log SET anchored = $1, events = events + 1`,
		size); err != nil {
		return err
	}
	return db.event(ctx, tx, log.Events, kindAnchored, log.Anchored, size-1)
}
