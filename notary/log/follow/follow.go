// Package follow keeps what is derived from the log up to date with it, beside the write path: today the
// status map (package status). It follows the entries by their index, whoever logged them: those that the
// sequencer of this process has in hand, and else their rows.
//
// In the server that sequences it also makes the status statements, each an entry of the log. A statement
// covers exactly the entries before it, so it is made under the lock that gives out indexes.
//
// What it keeps in the database is the tallies of agencies at one size of the log; the rest follows from
// records' rows. All of it can be derived again from the entries, and fsck does so.
package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/log/batchlog"
	"stele/notary/outage"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// Store reads and writes the database. Methods are safe for concurrent use and do not retry.
//
// Entries are those from first up to, not including, end; fewer where there are no more. StatusBase is what
// the last status statement of this database left, or the zero value. AppendStatus enters a status
// statement, in one transaction under the lock that gives out indexes: it hands the entries from an index on
// to write, which returns the statement's entry and the tallies to keep with it, and returns its index.
// [ErrBehind] where more than most entries are there, and what a server with another log key gets is
// [batchlog.ErrFenced]. Another error may hide that it was written: whoever follows will see.
type Store interface {
	Head(ctx context.Context) (batchlog.Head, error)
	Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error)
	StatusBase(ctx context.Context) (status.Kept, error)
	AppendStatus(ctx context.Context, from, most uint64, fence batchlog.Fence, write Write) (index uint64, err error)
}

// Write makes the entry with an index out of the entries that the follower has not seen yet.
type Write func(rest []statement.Entry) (statement.Entry, map[string]status.Tally, error)

// ErrBehind: more entries were received than can be taken in under the lock.
var ErrBehind = errors.New("the follower is behind the log")

// Options are what a [Follower] needs beside its store.
type Options struct {
	Signer *signednote.Signer // of the log
	Pause  time.Duration      // least time between two status statements
	Daily  time.Duration      // after which one is made though nothing changed; default 24 h
	AtOnce uint64             // entries that may be taken in under the lock, as many as are not logged; default 16,384
	Leads  func() bool        // whether this process makes them
	Clock  func() error       // whether this machine's clock may be signed with
	// Kept is called with the index of a status statement that was entered: it has come by none of the ways
	// on which entries are kept for a recovery. It must not fail for good.
	Kept    func(ctx context.Context, index uint64)
	Wake    func() // tells the sequencer
	Now     func() time.Time
	Log     *slog.Logger
	Outages *outage.Tracker
}

const (
	poll       = time.Second      // between looks for entries that other servers logged, and whether it is time
	readAtOnce = 1024             // entries
	atOnce     = 1 << 14          // what is received while the sequencer logs a group or two, under load
	mostQueued = 4                // stretches that wait for the follower; others it reads from the rows
	mostKept   = 64               // statements that wait for their anchor
	daily      = 24 * time.Hour   // as long as nothing changes
	firstPause = 10 * time.Second // after a start: the sequencer may have much to do
)

// Statement is a status statement of the log with its map.
type Statement struct {
	Index uint64
	Entry statement.Entry
	Map   status.Snapshot
}

type stretch struct {
	first   uint64
	entries []statement.Entry
	leaves  []merkle.Hash
}

// Follower follows a log. Run is called once; the other methods are safe for concurrent use.
type Follower struct {
	store Store
	opt   Options
	key   string // text of the log's key
	queue chan stretch

	// Owned by Run.
	state *status.State
	seen  uint64    // size of the state when it was looked at last
	last  time.Time // when the last statement was made, or seen

	mu    sync.Mutex
	made  []Statement // guarded by mu: the newest, in the order of their indexes
	err   error       // guarded by mu: the contradiction that was found
	waits time.Time   // guarded by mu: when the first entry came that no statement covers; zero: all are covered
}

// New returns a follower; it begins with [Follower.Run].
func New(store Store, o Options) *Follower {
	if o.Daily == 0 {
		o.Daily = daily
	}
	if o.AtOnce == 0 {
		o.AtOnce = atOnce
	}
	return &Follower{store: store, opt: o, key: signednote.FormatKey(o.Signer.Name(), o.Signer.Key()),
		queue: make(chan stretch, mostQueued)}
}

// Logged takes what the sequencer of this process has logged. It never blocks: what finds no place is read
// from the rows.
func (f *Follower) Logged(first uint64, entries []statement.Entry, leaves []merkle.Hash) {
	select {
	case f.queue <- stretch{first, entries, leaves}:
	default:
	}
}

// At is the status statement with an index, such as the newest one whose checkpoint is anchored; ok is false where
// this process does not have its map. Those before it are forgotten.
func (f *Follower) At(index uint64) (s Statement, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.made) > 1 && f.made[1].Index <= index {
		f.made = f.made[1:]
	}
	if len(f.made) == 0 || f.made[0].Index != index {
		return s, false
	}
	return f.made[0], true
}

// Contradiction is not nil once a status statement was seen in the log that does not follow from the
// entries before it. This process makes none from then on.
func (f *Follower) Contradiction() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Waits is when this process saw the first entry that no status statement covers; zero where all are covered.
func (f *Follower) Waits() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waits
}

func (f *Follower) covered(all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case all:
		f.waits = time.Time{}
	case f.waits.IsZero():
		f.waits = f.opt.Now()
	}
}

// Run follows until ctx ends. What fails is tried again.
func (f *Follower) Run(ctx context.Context) error {
	rounds := outage.NewLoop(f.opt.Outages, f.opt.Log, outage.Database)
	f.last = f.opt.Now().Add(min(firstPause, f.opt.Pause) - f.opt.Pause)
	look := time.NewTicker(max(min(poll, f.opt.Pause), 10*time.Millisecond)) // tests are in a hurry
	defer look.Stop()
	for {
		if err := f.round(ctx); err != nil && ctx.Err() == nil {
			rounds.Failed(ctx, slog.LevelWarn, "following the log failed, will try again", err)
		} else {
			rounds.Worked(ctx, "following the log")
		}
		for waiting := true; waiting; {
			select {
			case s := <-f.queue:
				f.take(s)
			case <-look.C:
				waiting = false
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// round catches up with the rows, and makes a statement when it is time.
func (f *Follower) round(ctx context.Context) error {
	head, err := f.CatchUp(ctx)
	if err != nil || !f.due(head) {
		return err
	}
	return f.append(ctx, head.Fence)
}

// CatchUp follows the log up to its head and returns that. What was handed over since the last time comes
// first; where that was something, the rest is on its way too, and rows are read only if nothing comes.
// Outside of [Follower.Run] it is for those that do not call that.
func (f *Follower) CatchUp(ctx context.Context) (batchlog.Head, error) {
	if f.state == nil {
		base, err := f.store.StatusBase(ctx)
		if err != nil {
			return batchlog.Head{}, fmt.Errorf("read what is kept of the status map: %w", err)
		}
		f.state = status.Restore(base)
		f.seen = base.Size
	}
	head, err := f.store.Head(ctx)
	for range len(f.queue) {
		f.take(<-f.queue)
	}
	if err == nil && f.state.Size() == f.seen {
		err = f.catchUp(ctx, head.Size)
	}
	f.seen = f.state.Size()
	return head, err
}

// catchUp reads entries up to a size from their rows. What the sequencer hands over meanwhile is skipped.
func (f *Follower) catchUp(ctx context.Context, size uint64) error {
	for f.state.Size() < size {
		first := f.state.Size()
		list, err := f.store.Entries(ctx, first, min(first+readAtOnce, size))
		if err != nil {
			return fmt.Errorf("read entries from %d: %w", first, err)
		}
		if len(list) == 0 {
			return fmt.Errorf("entry %d is missing; run stele fsck", first)
		}
		f.take(stretch{first: first, entries: list})
	}
	return nil
}

// take adds the entries of a stretch that follow what was seen; a stretch behind a gap is read from the rows
// with the next round.
func (f *Follower) take(s stretch) {
	if f.state == nil || s.first > f.state.Size() || s.first+uint64(len(s.entries)) <= f.state.Size() {
		return
	}
	for i := f.state.Size() - s.first; i < uint64(len(s.entries)); i++ {
		e := s.entries[i]
		if status.Is(e.Statement) {
			f.see(e)
		} else {
			f.covered(false)
		}
		leaf := merkle.Hash{}
		if s.leaves != nil {
			leaf = s.leaves[i]
		} else {
			leaf = e.LeafHash()
		}
		f.state.Add(e.Statement, leaf)
	}
}

// see compares a status statement of the log with what follows from the entries before it, and keeps it.
func (f *Follower) see(e statement.Entry) {
	s := Statement{Index: f.state.Size(), Entry: e, Map: f.state.Snapshot()}
	// What a former key of the log said may be anchored when that key's time is over, and shows nothing then: the
	// present one says it anew, though nothing has changed.
	f.covered(e.Certificate == sm.Sum([]byte(f.key)))
	f.last = f.opt.Now()
	want, err := s.Map.Statement(f.opt.Signer.Name()).Encode()
	if err == nil && !bytes.Equal(want, e.Statement) {
		err = fmt.Errorf("the status statement at entry %d does not follow from the entries before it: %s says the "+
			"log, %s follows; run stele fsck", s.Index, e.Statement, want)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.err = errors.Join(f.err, err)
		f.opt.Log.Error("the log contradicts itself", "error", err)
		return
	}
	f.made = append(f.made, s)
	if len(f.made) > mostKept { // the oldest is the one that may be anchored: the second goes
		f.made = append(f.made[:1], f.made[2:]...)
	}
}

// due reports whether a statement is to be made. Few entries may be received that are not logged yet: they are
// taken in under the lock.
func (f *Follower) due(head batchlog.Head) bool {
	since := f.opt.Now().Sub(f.last)
	return head.Size > 0 && head.Received-f.state.Size() <= f.opt.AtOnce &&
		(!f.Waits().IsZero() && since >= f.opt.Pause || since >= f.opt.Daily) &&
		f.opt.Leads() && f.Contradiction() == nil && f.opt.Clock() == nil
}

// append enters a status statement. A crash right after the transaction leaves it received, as any entry: the
// sequencer logs it, and the tail's background work keeps it.
func (f *Follower) append(ctx context.Context, fence batchlog.Fence) error {
	from, changed := f.state.Size(), map[string]status.Tally{}
	// What was read is the log's key, which somebody may have changed while this server slept: it signs with its own.
	fence.Key = f.key
	index, err := f.store.AppendStatus(ctx, from, f.opt.AtOnce, fence,
		func(rest []statement.Entry) (statement.Entry, map[string]status.Tally, error) {
			// They are durable: whether this transaction is or not, the state stays right. A transaction that is
			// begun again comes here again.
			f.take(stretch{first: from, entries: rest})
			if err := f.Contradiction(); err != nil {
				return statement.Entry{}, nil, err
			}
			text, err := f.state.Snapshot().Statement(f.opt.Signer.Name()).Encode()
			if err != nil {
				return statement.Entry{}, nil, err
			}
			sig, err := f.opt.Signer.Sign(text)
			maps.Copy(changed, f.state.Changed())
			return status.Entry(text, sig, f.key), changed, err
		})
	if errors.Is(err, ErrBehind) { // many came in between: later
		return nil
	}
	if err != nil {
		f.state = nil // what is kept of it may not be what it says has not changed
		return fmt.Errorf("enter a status statement: %w", err)
	}
	f.covered(true)
	f.last = f.opt.Now()
	f.opt.Kept(ctx, index)
	f.opt.Wake()
	return nil
}
