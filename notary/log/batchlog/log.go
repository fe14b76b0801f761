// Package batchlog is the sequencer: it turns received entries into leaves, tiles and
// signed checkpoints, and serves the nodes that proofs are made of.
//
// An entry's index is fixed in the transaction that makes its record durable, under a lock
// on the log's row, so indexes are gapless and in commit order. What is left to do is a
// function of the rows alone. One cycle, for the entries between the log's size and what
// was received:
//
//  1. read the entries, compute leaves and tiles       a crash leaves nothing
//  2. write tiles, put-if-absent-or-equal               leaves tiles nobody refers to; the next
//     cycle writes the same bytes
//  3. sign the checkpoint, open it again, check that    leaves nothing
//     it is consistent with the last one
//  4. compare-and-swap the log's head in the database   the entries are logged; step 5 is made
//     up for by the next cycle or start
//  5. publish the checkpoint in the object store        complete
//
// Several servers may run cycles at once: step 2 gives equal bytes, step 4 lets one win.
// The lease only saves work. The database's head is the one trusted place; the object
// store is checked against it.
package batchlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/outage"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// Head is the log's row: the signed size and root, and how many entries are durable.
type Head struct {
	Origin   string
	Received uint64 // entries that have an index
	Size     uint64 // entries under the signed root
	Root     merkle.Hash
	Note     []byte // the signed checkpoint
	Fence
}

// Fence says which key is the log's, and how often that was changed. It stands in the database, so
// that a server with a former key, or with one that is to come, does not sign: key folders and trust
// roots are copied by people, and each fits itself.
type Fence struct {
	Key        string // a verifier key of a signed note; empty in a database from before fences
	Generation uint64
}

// Store is the database side. Methods are safe for concurrent use and do not retry.
//
// Head reads the row. Entries returns the entries from index first up to, not including,
// end, in order and without gaps. Advance replaces the head if, and only if, size and root
// are still those of from; otherwise it returns [ErrLostRace] and changes nothing, and [ErrFenced]
// where the log has another key by now; it is durable when it returns nil. Lease takes or renews the
// named lease for ttl and reports whether the holder has it.
type Store interface {
	Head(ctx context.Context) (Head, error)
	Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error)
	Advance(ctx context.Context, from Head, to checkpoint.Checkpoint, note []byte) error
	Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
}

// DamagedEntryError is what Entries returns for a row that no entry can have made.
type DamagedEntryError struct{ Index uint64 }

func (e *DamagedEntryError) Error() string {
	return fmt.Sprintf("the row of entry %d is damaged", e.Index)
}

// Objects is the object store side, see the storage adapters for the contract of each.
// PutOnceAll writes objects that must be absent or equal, all durable on return.
type Objects interface {
	Get(ctx context.Context, key string, max int64) ([]byte, error)
	PutOnceAll(ctx context.Context, objects map[string][]byte) error
	Replace(ctx context.Context, key string, next func(current []byte) ([]byte, error)) error
	List(ctx context.Context, prefix string, fn func(notary.Object) error) error
	Delete(ctx context.Context, key string) error
}

var (
	// ErrLostRace: another server advanced the head first. Load again.
	ErrLostRace = errors.New("another server advanced the log")
	// ErrMismatch: database and object store do not hold the same log. A person must look.
	ErrMismatch = errors.New("the database and the object store do not hold the same log")
	// ErrFenced: the log has another key than this server. A person must look.
	ErrFenced = errors.New("the log has another key than this server")
)

// CheckpointKey is where the published checkpoint lies.
const CheckpointKey = "checkpoint"

// Options are what a [Log] needs beside its stores.
type Options struct {
	Signer    *signednote.Signer
	Keys      []*signednote.Verifier // that the log had before, and has; the signer's alone if empty
	Holder    string                 // this process, unique
	Interval  time.Duration          // least time between the starts of two cycles under load
	Poll      time.Duration          // how often to look for entries that other servers received
	MaxGroup  uint64                 // entries in one cycle
	Now       func() time.Time
	Clock     func() error // whether Now may be signed with, asked before each signature; nil: always
	Log       *slog.Logger
	Outages   *outage.Tracker // explains failures; nil: nothing does
	OnAdvance func()          // called after a checkpoint; must not block

	// Follow is handed each stretch of entries that this process has logged, with their leaf hashes, for what
	// is derived from the log. It must not block and does not own the slices; nil: nothing follows.
	Follow func(first uint64, entries []statement.Entry, leaves []merkle.Hash)

	// Keep makes sure that a recovery finds the entries from one index up to another before a checkpoint
	// covers them, see package tail; nil: nothing does. An error ends the cycle.
	Keep func(ctx context.Context, from, end uint64) error
}

// Defaults for options left zero. A cycle costs a few file or object writes and one
// transaction; 50 ms between cycles under load keeps that below a tenth of the work. A group
// is held in memory twice, at up to 16 KiB an entry: after an outage it must not be all.
const (
	defaultInterval = 50 * time.Millisecond
	defaultPoll     = 500 * time.Millisecond
	defaultMaxGroup = 1 << 13

	// quietGroup is how many entries a cycle may have had and the next one still follow at
	// once: a single record is logged without waiting.
	quietGroup = 16
)

// Log sequences and serves one log. Run is called once; the other methods are safe for
// concurrent use.
type Log struct {
	store   Store
	objects Objects
	opt     Options
	tiles   *Tiles
	wake    chan struct{} // capacity 1
	leads   atomic.Int64  // when the lease ends, in Unix nanoseconds

	// Owned by Run.
	edge       *edge
	published  *uint64 // size that is published at least, nil when not known
	group      uint64  // entries of the last cycle that had any
	told       uint64  // largest size that OnAdvance was called for
	leaseUntil time.Time
}

// New returns a log on stores that hold one, see [Init] and [Check].
func New(store Store, objects Objects, tiles *Tiles, o Options) *Log {
	if o.Interval == 0 {
		o.Interval = defaultInterval
	}
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	if o.MaxGroup == 0 {
		o.MaxGroup = defaultMaxGroup
	}
	if len(o.Keys) == 0 {
		o.Keys = []*signednote.Verifier{&o.Signer.Verifier}
	}
	if o.OnAdvance == nil {
		o.OnAdvance = func() {}
	}
	if o.Clock == nil {
		o.Clock = func() error { return nil }
	}
	return &Log{store: store, objects: objects, opt: o, tiles: tiles, wake: make(chan struct{}, 1)}
}

// Wake tells the sequencer that entries were received. It never blocks.
func (l *Log) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// FirstCheckpoint signs the empty tree: what an explicit init stores as the first head.
func FirstCheckpoint(s *signednote.Signer) (Head, error) {
	c := checkpoint.Checkpoint{Origin: s.Name(), Root: merkle.EmptyRoot()}
	note, err := checkpoint.Sign(c, s)
	fence := Fence{Key: signednote.FormatKey(s.Name(), s.Key())}
	return Head{Origin: c.Origin, Root: c.Root, Note: note, Fence: fence}, err
}

// checkFence refuses to sign for a log that has another key. A database from before fences has none
// until the first start has set it.
func (l *Log) checkFence(head Head) error {
	own := signednote.FormatKey(l.opt.Signer.Name(), l.opt.Signer.Key())
	if head.Key == own {
		return nil
	}
	return fmt.Errorf("%w: the database says that its key is %q, of generation %d; this server's is %q",
		ErrFenced, head.Key, head.Generation, own)
}

// Check compares database and object store before anything is served, and never repairs
// what only a person can judge. It publishes the database's checkpoint when the object
// store's is older: a crash between the steps 4 and 5 leaves it so. Another server may be
// at work meanwhile.
func (l *Log) Check(ctx context.Context) error {
	// The object store is read first: it is written last, so of a log that is at work what
	// the database says a moment later is as new or newer.
	note, noteErr := l.objects.Get(ctx, CheckpointKey, signednote.MaxNoteSize)
	head, err := l.store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the log's head: %w", err)
	}
	if err := l.checkHead(head); err != nil {
		return err
	}
	if errors.Is(noteErr, notary.ErrObjectNotFound) {
		return fmt.Errorf("%w: the object store holds no checkpoint although the database holds log %q with %d "+
			"entries; check the configured directory or bucket, or "+
			"restore it; if tiles and checkpoint were lost, 'stele rebuild-tiles' writes them anew", ErrMismatch,
			head.Origin, head.Size)
	}
	if noteErr != nil {
		return fmt.Errorf("read the published checkpoint: %w", noteErr)
	}
	stored, _, err := checkpoint.Open(note, l.opt.Keys...)
	switch {
	case err != nil:
		return fmt.Errorf("%w: the object store's checkpoint is of another log or damaged (%v); check the configured "+
			"directory or bucket", ErrMismatch, err)
	case stored.Size > head.Size:
		return fmt.Errorf("%w: the object store's checkpoint has %d entries, the database's %d: the database is "+
			"older, perhaps restored from a backup; "+
			"restore the newest one, or, with all servers stopped, complete it with 'stele recover-tail'", ErrMismatch,
			stored.Size, head.Size)
	case stored.Size == head.Size && stored.Root != head.Root:
		return fmt.Errorf("%w: two different roots for size %d; run stele fsck", ErrMismatch, head.Size)
	}
	if head, err = l.load(ctx); err != nil {
		return err
	}
	if err := l.checkPrefix(ctx, stored); err != nil {
		return err
	}
	l.told = head.Size
	return l.publish(ctx, head)
}

// Published reads the checkpoint that the world reads, opened with the log's keys.
func (l *Log) Published(ctx context.Context) (checkpoint.Checkpoint, error) {
	note, err := l.objects.Get(ctx, CheckpointKey, signednote.MaxNoteSize)
	if err != nil {
		return checkpoint.Checkpoint{}, fmt.Errorf("read the published checkpoint: %w", err)
	}
	c, _, err := checkpoint.Open(note, l.opt.Keys...)
	return c, err
}

// checkHead checks that the database's head is signed by a key of the log. After a change of keys
// that is the former one, until the log grows.
func (l *Log) checkHead(head Head) error {
	if head.Origin != l.opt.Signer.Name() {
		return fmt.Errorf("%w: the database holds log %q, the key is of %q; check the configured database and key",
			ErrMismatch, head.Origin, l.opt.Signer.Name())
	}
	if err := l.checkFence(head); err != nil {
		return err
	}
	c, _, err := checkpoint.Open(head.Note, l.opt.Keys...)
	if err != nil {
		return fmt.Errorf("%w: the database's checkpoint is not signed by a key of the log (%v); check the "+
			"configured key and the trust roots", ErrMismatch, err)
	}
	if head.Received < head.Size {
		return fmt.Errorf("%w: the database's row says that %d entries were received and %d signed; run stele fsck",
			ErrMismatch, head.Received, head.Size)
	}
	if c.Size != head.Size || c.Root != head.Root {
		return fmt.Errorf("%w: the database's row says size %d, its signed checkpoint size %d, or another root; run "+
			"stele fsck", ErrMismatch, head.Size, c.Size)
	}
	return nil
}

// checkPrefix checks that the tree grew out of the one that is published.
func (l *Log) checkPrefix(ctx context.Context, published checkpoint.Checkpoint) error {
	_, err := l.stable(ctx, func(head Head) error {
		path, err := merkle.ConsistencyProof(published.Size, head.Size, l.tiles.Nodes(ctx, head.Size))
		if err != nil {
			return err
		}
		if err := merkle.VerifyConsistency(published.Size, head.Size, published.Root, head.Root, path); err != nil {
			return fmt.Errorf("%w: the published checkpoint of size %d is of another history: %v", ErrTiles,
				published.Size, err)
		}
		return nil
	})
	return err
}

// Run sequences until ctx ends, then once more so that a graceful stop leaves nothing
// behind that could have been logged. It returns early only with an error that a restart
// alone does not mend.
func (l *Log) Run(ctx context.Context) error {
	poll := time.NewTicker(l.opt.Poll)
	defer poll.Stop()
	var failures int
	rounds := outage.NewLoop(l.opt.Outages, l.opt.Log, outage.Database, outage.Objects)
	for {
		start := l.opt.Now()
		more, err := l.cycle(ctx)
		switch {
		case fatal(err):
			return err
		case err != nil && ctx.Err() == nil:
			failures++
			rounds.Failed(ctx, slog.LevelError, "sequencing failed, will try again", err)
		default:
			failures = 0
			rounds.Worked(ctx, "sequencing")
		}
		if ctx.Err() != nil {
			return l.last(ctx)
		}
		if failures > 0 {
			pause(ctx, backoff(failures))
			continue
		}
		if !more {
			select {
			case <-l.wake:
			case <-poll.C:
			case <-ctx.Done():
			}
		}
		if l.group > quietGroup {
			pause(ctx, l.opt.Interval-l.opt.Now().Sub(start)) // not at all after an idle time
		}
	}
}

// last runs cycles, most often one, until all is logged that was received, with a short deadline of their own.
func (l *Log) last(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	more, err := true, error(nil)
	for more && err == nil {
		more, err = l.cycle(ctx)
	}
	if fatal(err) {
		return err
	}
	if err != nil {
		l.opt.Log.WarnContext(ctx, "last sequencing before the stop failed; the next start makes up for it", "error",
			err)
	}
	return nil
}

// fatal reports whether going on would be wrong.
func fatal(err error) bool {
	return errors.Is(err, ErrMismatch) || errors.Is(err, ErrFenced) || errors.Is(err, notary.ErrObjectDiffers)
}

func backoff(failures int) time.Duration {
	return min(100*time.Millisecond<<min(failures-1, 6), 5*time.Second)
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
