package anchor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"stele/crypto/merkle"
	"stele/notary/outage"
	"stele/notary/proof/checkpoint"
)

// State is what the database knows about one chain.
type State struct {
	Note     []byte    // the log's newest signed checkpoint
	Status   []byte    // the newest beyond Anchored that ends with a status statement; nil: there is none
	Anchored uint64    // size of the newest checkpoint whose evidence is stored, 0 for none
	At       time.Time // when that was
}

// Store keeps finished evidence. Methods are safe for concurrent use and do not retry.
//
// AnchorState reads. SaveEvidence stores evidence for the checkpoint of this size, durably
// and at most once. required are the chains that records must be on to count as anchored: in
// the same transaction the log's anchored size moves as far as all of them are, and the
// outbox row is written.
type Store interface {
	AnchorState(ctx context.Context, target string) (State, error)
	SaveEvidence(ctx context.Context, target string, size uint64, evidence json.RawMessage, required []string) error
}

// Signature extracts the log key's signature from a signed checkpoint.
type Signature func(note []byte) ([]byte, error)

// Options are what a [Loop] needs beside its store and chain.
type Options struct {
	Name      string        // of the chain in the database; default the target's kind
	Required  []string      // names of the chains that records must be on to count as anchored
	Every     time.Duration // pause between two anchors while fewer than Records are waiting; 0 for none
	Records   uint64        // so many waiting are not kept waiting; 0 for any number
	Now       func() time.Time
	Nodes     func(ctx context.Context, size uint64) merkle.NodeReader
	Signature Signature
	Verify    func(c checkpoint.Checkpoint, evidence []byte) error // own evidence is checked before it is stored
	// how often to look for checkpoints of other servers
	Poll       time.Duration
	Resubmit   time.Duration // a submission unanswered this long is made again
	Log        *slog.Logger
	Outages    *outage.Tracker // explains failures; nil: nothing does
	Dependency string          // what the chain is called there
	Reached    func(error)     // called when the chain has answered, with nil, or was unavailable; may be nil
	// the target may show an older state of the chain: a head behind the stored evidence is no contradiction
	MayLag     bool
	OnAnchored func() // called after evidence was stored; must not block
	// From is the size of the log when it moved to this chain: evidence up to there is of a former
	// one, which this chain need not know of. 0: it was always there.
	From uint64

	// Overdue gives the log an entry, when the chain has held the newest checkpoint, of this
	// size, without evidence for OverdueAfter; again after twice that time, and so on, up to an
	// hour. nil: nothing is done about it.
	Overdue      func(ctx context.Context, size uint64) error
	OverdueAfter time.Duration // default 30 s
}

const (
	defaultPoll     = time.Second
	defaultResubmit = 3 * time.Second
	callTimeout     = 10 * time.Second
	staleDelay      = 20 * time.Millisecond // doubled each time, up to maxStale times
	maxStale        = 7

	// An anchor costs the chain three blocks of about 4.5 KiB together, whatever it covers. A
	// single record is anchored at once; under load the pause grows with what an anchor
	// covered, so that at 1,000 records a second one anchor covers some 5,000 of them: less
	// than a byte a record. See [Loop.pace].
	quietGroup = 16
	minPace    = 250 * time.Millisecond
	maxPace    = 5 * time.Second
	perRecord  = 2 * time.Millisecond
)

// ErrMismatch means that database and chain do not belong together. A person must look.
var ErrMismatch = errors.New("the database and the chain do not hold the same log")

// Loop feeds one chain: always the newest checkpoint, one at a time. Everything it knows is
// read anew each round, so a crash anywhere costs a submission made twice, which the chain
// answers as stale or already there. Run is called once.
type Loop struct {
	store  Store
	target Target
	opt    Options
	wake   chan struct{} // capacity 1

	// Owned by Run.
	covered uint64 // records that the last anchor brought
	told    uint64 // largest size that OnAnchored was called for
	passed  uint64 // checkpoints up to this size are not preferred any more
	overdue overdue
}

// NewLoop returns a loop for one chain.
func NewLoop(store Store, target Target, o Options) *Loop {
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	if o.Resubmit == 0 {
		o.Resubmit = defaultResubmit
	}
	if o.OverdueAfter == 0 {
		o.OverdueAfter = defaultOverdue
	}
	if o.Name == "" {
		o.Name = target.Kind()
	}
	if o.OnAnchored == nil {
		o.OnAnchored = func() {}
	}
	if o.Reached == nil {
		o.Reached = func(error) {}
	}
	return &Loop{store: store, target: target, opt: o, wake: make(chan struct{}, 1)}
}

// Wake tells the loop that there is a new checkpoint. It never blocks.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Check compares database and chain at a start. Other servers may be at work meanwhile.
func (l *Loop) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	st, c, err := l.newest(ctx)
	if err != nil {
		return err
	}
	size, root, err := l.target.Head(ctx, c.Origin)
	if err != nil {
		return fmt.Errorf("read the chain's head: %w", err)
	}
	if size > c.Size {
		// Perhaps the database has gone on since it was read: it is always written first.
		if _, c, err = l.newest(ctx); err != nil {
			return err
		}
	}
	switch {
	case size > c.Size:
		return fmt.Errorf("%w: the chain has the log at size %d, the database at %d: the database is older, perhaps "+
			"restored from a backup; "+
			"restore the newest one, or, with all servers stopped, complete it with 'stele recover-tail'", ErrMismatch,
			size, c.Size)
	case size == c.Size && root != c.Root && size > 0:
		return fmt.Errorf("%w: the chain has another root for size %d", ErrMismatch, size)
	case size < st.Anchored && st.Anchored > l.opt.From && !l.opt.MayLag:
		return fmt.Errorf("%w: the database has evidence for size %d, the chain stands at %d: this is another chain "+
			"or an older copy of it. "+
			"Restore the chain's folder; if it is lost for good, move the log to another chain (docs/chain.md, "+
			"Moving)", ErrMismatch, st.Anchored, size)
	}
	l.told = st.Anchored
	return nil
}

// Run anchors until ctx ends. It returns an error only when going on would be wrong.
func (l *Loop) Run(ctx context.Context) error {
	poll := time.NewTicker(l.opt.Poll)
	defer poll.Stop()
	failures, stale := 0, 0
	rounds := outage.NewLoop(l.opt.Outages, l.opt.Log, outage.Database, l.opt.Dependency)
	for ctx.Err() == nil {
		done, err := l.round(ctx)
		switch {
		case err == nil:
			failures, stale = 0, 0
			rounds.Worked(ctx, "anchoring on "+l.opt.Name)
		case errors.Is(err, ErrMismatch), errors.Is(err, ErrFork):
			l.opt.Log.ErrorContext(ctx, "the chain holds another history than the database", "chain", l.opt.Name,
				"error", err)
			return err
		case errors.Is(err, ErrStale) && stale < maxStale:
			// Another server was faster, or an earlier submission is in flight: look again soon.
			pause(ctx, staleDelay<<stale)
			stale++
			continue
		case ctx.Err() == nil:
			failures++
			if errors.Is(err, ErrUnavailable) {
				l.opt.Reached(err)
			}
			rounds.Failed(ctx, levelOf(err), "anchoring failed, will try again", err, slog.String("chain", l.opt.Name))
			pause(ctx, min(100*time.Millisecond<<min(failures-1, 7), 10*time.Second))
			continue
		}
		if !done {
			pause(ctx, l.pace())
			continue
		}
		select {
		case <-l.wake:
		case <-poll.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// levelOf: a chain that is away comes back; anything else a person should look at.
func levelOf(err error) slog.Level {
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrStale) || errors.Is(err, context.DeadlineExceeded) {
		return slog.LevelWarn
	}
	return slog.LevelError
}

// tell calls OnAnchored once for each size that is seen in the database: the answer to our
// own write may have been lost.
func (l *Loop) tell(size uint64) {
	if size > l.told {
		l.told = size
		l.opt.OnAnchored()
	}
}

func (l *Loop) newest(ctx context.Context) (State, checkpoint.Checkpoint, error) {
	st, err := l.store.AnchorState(ctx, l.opt.Name)
	if err != nil {
		return st, checkpoint.Checkpoint{}, fmt.Errorf("read anchor state: %w", err)
	}
	c, err := checkpoint.ParseUnsafe(st.Note)
	return st, c, err
}

// round brings the newest checkpoint onto the chain and its evidence home. It reports
// whether nothing is left to do.
func (l *Loop) round(ctx context.Context) (done bool, err error) {
	st, c, err := l.read(ctx)
	if err != nil {
		return false, err
	}
	l.tell(st.Anchored)
	if c.Size <= st.Anchored || !l.due(st, c) {
		return true, nil
	}
	if st, c, err = l.prefer(st, c); err != nil {
		return false, err
	}
	held, err := l.submit(ctx, st, c)
	if err != nil {
		return false, err
	}
	evidence, err := l.await(ctx, c)
	if err != nil {
		return false, err
	}
	if evidence == nil {
		l.passed = c.Size
		if held {
			l.late(ctx, c.Size)
		}
		return false, nil // not answered in time: submit again, by then perhaps a newer one
	}
	l.overdue.settled()
	l.opt.Reached(nil)
	if err := l.opt.Verify(c, evidence); err != nil {
		return false, fmt.Errorf("the chain's evidence for size %d does not verify: %w", c.Size, err)
	}
	// A crash before this is stored costs nothing: the chain gives the evidence again.
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := l.store.SaveEvidence(ctx, l.opt.Name, c.Size, evidence, l.opt.Required); err != nil {
		return false, fmt.Errorf("store evidence: %w", err)
	}
	l.covered = c.Size - st.Anchored
	l.opt.Log.DebugContext(ctx, "anchored", "chain", l.opt.Name, "size", c.Size)
	l.tell(c.Size)
	return false, nil
}

// prefer takes the checkpoint that ends with a status statement, where one waits, before the newest one: what the
// statement says is proven under that checkpoint alone. One that the chain has passed by, or gives no evidence
// for, is passed by here too; so it is where each anchor is paid for.
func (l *Loop) prefer(st State, c checkpoint.Checkpoint) (State, checkpoint.Checkpoint, error) {
	if st.Status == nil || l.opt.Every > 0 {
		return st, c, nil
	}
	of, err := checkpoint.ParseUnsafe(st.Status)
	if err != nil || of.Size <= max(l.passed, st.Anchored) || of.Size >= c.Size {
		return st, c, err
	}
	st.Note = st.Status
	return st, of, nil
}

// due reports whether the chain's turn has come: some are paid for by the transaction.
func (l *Loop) due(st State, c checkpoint.Checkpoint) bool {
	return l.opt.Every == 0 || l.opt.Records > 0 && c.Size-st.Anchored >= l.opt.Records ||
		l.opt.Now().Sub(st.At) >= l.opt.Every
}

// read is newest with a limit of its own.
func (l *Loop) read(ctx context.Context) (State, checkpoint.Checkpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return l.newest(ctx)
}

// submit hands the chain what it does not have yet. It reports whether the chain held the
// checkpoint already.
func (l *Loop) submit(ctx context.Context, st State, c checkpoint.Checkpoint) (held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	size, root, err := l.target.Head(ctx, c.Origin)
	if err != nil {
		return false, fmt.Errorf("read the chain's head: %w", err)
	}
	switch {
	case size > c.Size:
		// The chain is ahead of what was read. Another server may have advanced meanwhile;
		// if the database still is behind, it is not the one that this chain belongs to.
		_, again, err := l.newest(ctx)
		if err != nil {
			return false, err
		}
		if again.Size >= size {
			l.passed = c.Size
			return false, ErrStale
		}
		return false, fmt.Errorf("%w: the chain has the log at size %d, the database at %d", ErrMismatch, size, c.Size)
	case size == c.Size && root == c.Root:
		return true, nil
	case size == c.Size && size > 0:
		return false, fmt.Errorf("%w: the chain has root %s for size %d, the database %s", ErrMismatch, root, size,
			c.Root)
	}
	proof, err := l.proof(ctx, size, root, c)
	if err != nil {
		return false, err
	}
	sig, err := l.opt.Signature(st.Note)
	if err != nil {
		return false, err
	}
	return false, l.target.Submit(ctx, Submission{Checkpoint: c, Signature: sig, OldSize: size, Proof: proof})
}

// proof builds and checks the proof that the newest checkpoint grew out of the chain's head.
// Tiles are not trusted: a damaged one must not look like a fork, neither here nor to the
// chain.
func (l *Loop) proof(ctx context.Context, size uint64, root merkle.Hash, c checkpoint.Checkpoint) ([]merkle.Hash,
	error) {
	if size == 0 {
		return nil, nil
	}
	nodes := l.opt.Nodes(ctx, c.Size)
	proof, err := merkle.ConsistencyProof(size, c.Size, nodes)
	if err != nil {
		return nil, fmt.Errorf("consistency proof from %d to %d: %w", size, c.Size, err)
	}
	if merkle.VerifyConsistency(size, c.Size, root, c.Root, proof) == nil {
		return proof, nil
	}
	// What the proof makes of our own root is settled by the signed one.
	own, err := merkle.Root(size, nodes)
	if err != nil {
		return nil, fmt.Errorf("root at size %d: %w", size, err)
	}
	if merkle.VerifyConsistency(size, c.Size, own, c.Root, proof) == nil {
		return nil, fmt.Errorf("%w: the chain has root %s for size %d, the database %s", ErrMismatch, root, size, own)
	}
	return nil, fmt.Errorf("the tiles do not give the signed root of size %d; run stele fsck", c.Size)
}

// await waits for finished evidence, nil if it does not come before the time to submit again.
func (l *Loop) await(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	timer := time.NewTimer(l.opt.Resubmit)
	defer timer.Stop()
	for {
		changed := l.target.Changed()
		evidence, err := l.evidence(ctx, c)
		if err == nil || !errors.Is(err, ErrPending) {
			return evidence, err
		}
		select {
		case <-changed:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *Loop) evidence(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return l.target.Evidence(ctx, c)
}

// pace is how long to wait after an anchor. It settles: below 500 records a second at its
// least, above at its most.
func (l *Loop) pace() time.Duration {
	if l.covered <= quietGroup {
		return 0
	}
	return min(max(time.Duration(l.covered)*perRecord, minPace), maxPace)
}

// pause ends early with ctx. No time needs no timer: one that is due at once can crash the race detector under a fake
// clock (Go 1.26, a timer that never was in the bubble's heap).
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
