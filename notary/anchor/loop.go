package anchor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"stele/crypto/merkle"
	"stele/notary/checkpoint"
)

// State is what the database knows about one chain.
type State struct {
	Note     []byte // the log's newest signed checkpoint
	Anchored uint64 // size of the newest checkpoint whose evidence is stored, 0 for none
}

// Store keeps finished evidence. Methods are safe for concurrent use and do not retry.
//
// AnchorState reads. SaveEvidence stores evidence for the checkpoint of this size, durably
// and at most once; where the chain is required for records to be anchored, the same
// transaction moves the log's anchored size and writes the outbox row.
type Store interface {
	AnchorState(ctx context.Context, target string) (State, error)
	SaveEvidence(ctx context.Context, target string, size uint64, evidence json.RawMessage, required bool) error
}

// Signature extracts the log key's signature from a signed checkpoint.
type Signature func(note []byte) ([]byte, error)

// Options are what a [Loop] needs beside its store and chain.
type Options struct {
	Required   bool // records are anchored when this chain has them
	Nodes      func(ctx context.Context, size uint64) merkle.NodeReader
	Signature  Signature
	Verify     func(c checkpoint.Checkpoint, evidence []byte) error // own evidence is checked before it is stored
	Poll       time.Duration                                        // how often to look for checkpoints of other servers
	Resubmit   time.Duration                                        // a submission unanswered this long is made again
	Pace       time.Duration                                        // least time after an anchor that covered many records
	Log        *slog.Logger
	OnAnchored func() // called after evidence was stored; must not block
}

const (
	defaultPoll     = time.Second
	defaultResubmit = 3 * time.Second
	callTimeout     = 10 * time.Second
	staleDelay      = 20 * time.Millisecond

	// An anchor costs the chain three blocks, whatever it covers. Under load one every
	// quarter of a second is plenty; a single record is anchored at once.
	defaultPace = 250 * time.Millisecond
	quietGroup  = 16
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

	covered uint64 // records that the last anchor brought; owned by Run
}

// NewLoop returns a loop for one chain.
func NewLoop(store Store, target Target, o Options) *Loop {
	if o.Poll == 0 {
		o.Poll = defaultPoll
	}
	if o.Resubmit == 0 {
		o.Resubmit = defaultResubmit
	}
	if o.Pace == 0 {
		o.Pace = defaultPace
	}
	if o.OnAnchored == nil {
		o.OnAnchored = func() {}
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

// Check compares database and chain at a start.
func (l *Loop) Check(ctx context.Context) error {
	st, c, err := l.newest(ctx)
	if err != nil {
		return err
	}
	size, root, err := l.target.Head(ctx, c.Origin)
	if err != nil {
		return fmt.Errorf("read the chain's head: %w", err)
	}
	switch {
	case size > c.Size:
		return fmt.Errorf("%w: the chain has the log at size %d, the database at %d: the database is older, perhaps restored from a backup; restore the newest one", ErrMismatch, size, c.Size)
	case size == c.Size && root != c.Root && size > 0:
		return fmt.Errorf("%w: the chain has another root for size %d", ErrMismatch, size)
	case size < st.Anchored:
		return fmt.Errorf("%w: the database has evidence for size %d, the chain stands at %d: this is another chain or an older copy of it; restore the chain's folder", ErrMismatch, st.Anchored, size)
	}
	return nil
}

// Run anchors until ctx ends. It returns an error only when going on would be wrong.
func (l *Loop) Run(ctx context.Context) error {
	poll := time.NewTicker(l.opt.Poll)
	defer poll.Stop()
	failures := 0
	for ctx.Err() == nil {
		done, err := l.round(ctx)
		if errors.Is(err, ErrMismatch) {
			return err
		}
		var wait <-chan time.Time
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, ErrStale):
			// Another server was faster, or an earlier submission is in flight: look again soon.
			wait = time.After(staleDelay)
		case ctx.Err() == nil:
			failures++
			l.opt.Log.WarnContext(ctx, "anchoring failed, will try again", "chain", l.target.Kind(), "error", err, "failures", failures)
			wait = time.After(min(100*time.Millisecond<<min(failures-1, 7), 10*time.Second))
		}
		if err == nil && !done {
			if l.covered > quietGroup {
				pause(ctx, l.opt.Pace)
			}
			continue
		}
		if wait != nil {
			select {
			case <-wait:
			case <-ctx.Done():
			}
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

func (l *Loop) newest(ctx context.Context) (State, checkpoint.Checkpoint, error) {
	st, err := l.store.AnchorState(ctx, l.target.Kind())
	if err != nil {
		return st, checkpoint.Checkpoint{}, fmt.Errorf("read anchor state: %w", err)
	}
	c, err := checkpoint.ParseUnsafe(st.Note)
	return st, c, err
}

// round brings the newest checkpoint onto the chain and its evidence home. It reports
// whether nothing is left to do.
func (l *Loop) round(ctx context.Context) (done bool, err error) {
	st, c, err := l.newest(ctx)
	if err != nil {
		return false, err
	}
	if c.Size <= st.Anchored {
		return true, nil
	}
	if err := l.submit(ctx, st, c); err != nil {
		return false, err
	}
	evidence, err := l.await(ctx, c)
	if err != nil {
		return false, err
	}
	if evidence == nil {
		return false, nil // not answered in time: submit again, by then perhaps a newer one
	}
	if err := l.opt.Verify(c, evidence); err != nil {
		return false, fmt.Errorf("the chain's evidence for size %d does not verify: %w", c.Size, err)
	}
	// A crash before this is stored costs nothing: the chain gives the evidence again.
	if err := l.store.SaveEvidence(ctx, l.target.Kind(), c.Size, evidence, l.opt.Required); err != nil {
		return false, fmt.Errorf("store evidence: %w", err)
	}
	l.covered = c.Size - st.Anchored
	l.opt.Log.DebugContext(ctx, "anchored", "chain", l.target.Kind(), "size", c.Size)
	l.opt.OnAnchored()
	return false, nil
}

func (l *Loop) submit(ctx context.Context, st State, c checkpoint.Checkpoint) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	size, root, err := l.target.Head(ctx, c.Origin)
	if err != nil {
		return fmt.Errorf("read the chain's head: %w", err)
	}
	switch {
	case size > c.Size:
		// The chain is ahead of what was read. Another server may have advanced meanwhile;
		// if the database still is behind, it is not the one that this chain belongs to.
		if _, again, err := l.newest(ctx); err != nil || again.Size >= size {
			return errors.Join(ErrStale, err)
		}
		return fmt.Errorf("%w: the chain has the log at size %d, the database at %d", ErrMismatch, size, c.Size)
	case size == c.Size && root == c.Root:
		return nil
	}
	proof, err := merkle.ConsistencyProof(size, c.Size, l.opt.Nodes(ctx, c.Size))
	if err != nil {
		return fmt.Errorf("consistency proof from %d to %d: %w", size, c.Size, err)
	}
	sig, err := l.opt.Signature(st.Note)
	if err != nil {
		return err
	}
	return l.target.Submit(ctx, Submission{Checkpoint: c, Signature: sig, OldSize: size, Proof: proof})
}

// await waits for finished evidence, nil if it does not come before the time to submit again.
func (l *Loop) await(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	timer := time.NewTimer(l.opt.Resubmit)
	defer timer.Stop()
	for {
		changed := l.target.Changed()
		evidence, err := l.target.Evidence(ctx, c)
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

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
