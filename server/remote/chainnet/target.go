package chainnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// Target is the chain as seen through several nodes. Every call goes to all of them at once,
// so that one that is away, slow or silent holds nothing up. Evidence is verified against the
// pinned epoch before it is believed; a node whose evidence does not verify is reported and
// passed over for a while. It is safe for concurrent use.
type Target struct {
	pinned   anchorproof.Epoch
	peers    []*peer
	changed  notary.Signal
	now      func() time.Time
	log      *slog.Logger
	followed followed
}

var _ anchor.Target = (*Target)(nil)

// asideTime is how long a node is not asked that gave evidence which does not verify.
const asideTime = time.Minute

// Pauses after which a node that does not answer is asked for its state again.
const (
	retryFirst = 250 * time.Millisecond
	retryMost  = 5 * time.Second
	// watchLeast is the pause between two questions to a node that answers: one that never
	// lets a caller wait must not keep a core busy.
	watchLeast = 10 * time.Millisecond
)

// peer is one node with what is known of it.
type peer struct {
	*Node
	address    string
	submitting chan struct{} // has room for [maxSubmitting]

	mu     sync.Mutex
	status Status    // guarded by mu; the last one that it told
	up     bool      // guarded by mu; whether it answered last time
	since  time.Time // guarded by mu; of up, zero before the first answer or failure
	aside  time.Time // guarded by mu; not to be asked before
	lied   uint64    // guarded by mu; answers that did not verify
	ours   bool      // guarded by mu; it said once that it is of the pinned chain
	other  error     // guarded by mu; that it is of another one, as it said last; or nil
}

// New returns the chain whose first epoch is pinned, as these nodes show it. [Target.Run]
// watches them.
func New(pinned anchorproof.Epoch, addresses []string, token string, now func() time.Time, log *slog.Logger) (*Target,
	error) {
	if len(addresses) == 0 {
		return nil, errors.New("no node of the chain is named")
	}
	t := &Target{pinned: pinned, now: now, log: log}
	for _, a := range addresses {
		n, err := NewNode(a, token)
		if err != nil {
			return nil, err
		}
		t.peers = append(t.peers, &peer{Node: n, address: a, submitting: make(chan struct{}, maxSubmitting)})
	}
	return t, nil
}

// Now is what the nodes' clocks say: the middle one of those that answer. A node may lie; as long as
// more than half of them do not, the middle is between two honest clocks.
func (t *Target) Now(ctx context.Context) (time.Time, error) {
	said := make([]time.Time, len(t.peers))
	start := time.Now()
	var wg sync.WaitGroup
	for i, p := range t.peers {
		wg.Go(func() {
			sent := time.Now()
			if s, err := p.Status(ctx); err == nil {
				said[i] = s.Now.Add(-(sent.Sub(start) + time.Since(sent)/2)) // as of the start
			}
		})
	}
	wg.Wait()
	said = slices.DeleteFunc(said, time.Time.IsZero)
	if len(said) == 0 {
		return time.Time{}, fmt.Errorf("%w: no node says what time it is", anchor.ErrUnavailable)
	}
	slices.SortFunc(said, time.Time.Compare)
	return said[len(said)/2].Add(time.Since(start) / 2), nil
}

// Run watches the nodes until ctx ends, or until all that have answered are of another chain
// ([ErrOtherChain]).
func (t *Target) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, p := range t.peers {
		wg.Go(func() { t.watch(ctx, p, cancel) })
	}
	wg.Wait()
	if err := context.Cause(ctx); errors.Is(err, ErrOtherChain) {
		return err
	}
	return nil
}

// watch waits for the changes of one node, again and again. It calls end when no node is of the chain.
func (t *Target) watch(ctx context.Context, p *peer, end context.CancelCauseFunc) {
	pause := retryFirst
	for known := false; ctx.Err() == nil; {
		var s Status
		var err error
		if known {
			s, err = p.Wait(ctx, p.last().Height)
		} else {
			s, err = p.Status(ctx)
		}
		if err == nil {
			err = t.belongs(p, s)
		}
		if t.note(ctx, p, s, err) {
			t.changed.Notify()
		}
		if err := t.foreign(); err != nil {
			end(err)
		}
		if known = err == nil; known {
			pause = retryFirst
			rest(ctx, watchLeast)
			continue
		}
		rest(ctx, pause)
		pause = min(2*pause, retryMost)
	}
}

// rest waits, or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// note keeps what a node said and reports whether that is news.
func (t *Target) note(ctx context.Context, p *peer, s Status, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, height, since := p.up, p.status.Height, p.since
	if ctx.Err() != nil {
		return false // the server stops: it is not the node that broke off
	}
	p.up = err == nil
	if err == nil {
		p.status = s
	}
	if was != p.up || since.IsZero() {
		p.since = t.now()
	}
	switch {
	case err != nil && (was || since.IsZero()):
		t.log.WarnContext(ctx, "a node of the chain does not answer", "node", p.address, "name", p.status.Name, "error",
			err)
	case !was && err == nil && since.IsZero():
		t.log.InfoContext(ctx, "a node of the chain answers", "node", p.address, "name", s.Name, "height", s.Height)
	case !was && err == nil:
		t.log.InfoContext(ctx, "a node of the chain answers again", "node", p.address, "name", s.Name, "height",
			s.Height,
			"down_for", t.now().Sub(since).Round(time.Millisecond))
	}
	return was != p.up || s.Height != height
}

func (p *peer) last() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// accuse reports a node whose answer does not verify, and sets it aside.
func (t *Target) accuse(ctx context.Context, p *peer, err error) {
	p.mu.Lock()
	p.lied++
	p.aside = t.now().Add(asideTime)
	p.mu.Unlock()
	t.log.ErrorContext(ctx, "a node of the chain gave an answer that does not verify; it is passed over for a while",
		"node", p.address, "error", err)
}

// askable are the nodes that are not set aside; all of them when there are no others.
func (t *Target) askable() []*peer {
	now := t.now()
	out := slices.DeleteFunc(slices.Clone(t.peers), func(p *peer) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return now.Before(p.aside)
	})
	if len(out) == 0 {
		return t.peers
	}
	return out
}

// minAgreeing is how many nodes must say the same before it is believed without a proof: one
// more than may lie, and never one alone.
func (t *Target) minAgreeing() int { return max(2, (len(t.peers)-1)/3+1) }

// Kind implements [anchor.Target].
func (t *Target) Kind() string { return anchorproof.Kind }

// Changed implements [anchor.Target].
func (t *Target) Changed() <-chan struct{} { return t.changed.Changed() }

// answer is what one node said.
type answer[T any] struct {
	peer  *peer
	value T
	err   error
}

// ask asks all nodes at once and hands over their answers as they come. The channel has room
// for all of them, so nobody has to read it to the end.
func ask[T any](ctx context.Context, peers []*peer, f func(context.Context, *peer) (T, error)) <-chan answer[T] {
	out := make(chan answer[T], len(peers))
	for _, p := range peers {
		go func() {
			v, err := f(ctx, p)
			out <- answer[T]{p, v, err}
		}()
	}
	return out
}

// grace is how long the other nodes are waited for once one has answered: a node that hangs
// must not hold up what the others know.
const grace = 250 * time.Millisecond

// gather hands over answers until each wants no more, all n are there, or the others had
// their grace. It reports how many came.
func gather[T any](ctx context.Context, answers <-chan answer[T], n int, each func(answer[T]) (more bool)) (came int) {
	var over <-chan time.Time
	for came < n {
		select {
		case a := <-answers:
			came++
			if !each(a) {
				return came
			}
			if a.err == nil && over == nil {
				t := time.NewTimer(grace)
				defer t.Stop()
				over = t.C
			}
		case <-over:
			return came
		case <-ctx.Done():
			return came
		}
	}
	return came
}

// maxSubmitting is how many submissions to one node may be under way. A slow node has several,
// since a submission returns with the fastest; one that hangs must not gather them. Each call
// ends by itself.
const maxSubmitting = 16

var errUnderWay = fmt.Errorf("%d earlier submissions to this node are still under way", maxSubmitting)

// Submit hands a checkpoint to every node: all their mempools may have it, the chain commits
// it once. It returns as soon as one has taken it. What a single node says against the
// checkpoint is not believed: forks show in evidence, or when several nodes see one.
func (t *Target) Submit(ctx context.Context, s anchor.Submission) error {
	peers := t.askable()
	answers := ask(context.WithoutCancel(ctx), peers, func(ctx context.Context, p *peer) (struct{}, error) {
		select {
		case p.submitting <- struct{}{}:
			defer func() { <-p.submitting }()
			return struct{}{}, p.Submit(ctx, s)
		default:
			return struct{}{}, fmt.Errorf("%w: %w", anchor.ErrUnavailable, errUnderWay)
		}
	})
	var errs []error
	forks := 0
	for range peers {
		select {
		case a := <-answers:
			if a.err == nil {
				return nil
			}
			if errors.Is(a.err, anchor.ErrFork) {
				forks++
			}
			errs = append(errs, fmt.Errorf("%s: %w", a.peer.address, a.err))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return t.verdict(errors.Join(errs...), forks)
}

// verdict is what the refusals of all nodes amount to.
func (t *Target) verdict(all error, forks int) error {
	switch {
	case forks >= t.minAgreeing():
		return fmt.Errorf("%w: %w", anchor.ErrFork, all)
	case errors.Is(all, anchor.ErrStale):
		return fmt.Errorf("%w: %v", anchor.ErrStale, all)
	case forks == 0 && errors.Is(all, anchor.ErrRefused):
		return fmt.Errorf("%w: %v", anchor.ErrRefused, all)
	}
	return fmt.Errorf("%w: no node takes the checkpoint: %v", anchor.ErrUnavailable, all)
}

// verified checks what a node gave as the checkpoint of a log and its evidence.
func (t *Target) verified(a Anchored, origin string) (c checkpoint.Checkpoint, err error) {
	if c, err = checkpoint.Parse(a.Checkpoint); err != nil {
		return c, err
	}
	if c.Origin != origin {
		return c, fmt.Errorf("it is of log %s, not of %s", c.Origin, origin)
	}
	_, err = anchorproof.Verify(t.pinned, c, a.Evidence)
	return c, err
}

// Evidence implements [anchor.Target]: the first evidence that verifies counts. Evidence that
// verifies for another root is the proof of a fork.
func (t *Target) Evidence(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := t.askable()
	answers := ask(ctx, peers, func(ctx context.Context, p *peer) (Anchored, error) {
		return p.Evidence(ctx, c.Origin, c.Size)
	})
	var found json.RawMessage
	var fork error
	var errs []error
	came := gather(ctx, answers, len(peers), func(a answer[Anchored]) (more bool) {
		if a.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.peer.address, a.err))
			return true
		}
		if len(a.value.Evidence) == 0 {
			return true // pending, says this node
		}
		got, err := t.verified(a.value, c.Origin)
		switch {
		case err == nil && got == c:
			found = a.value.Evidence
			return false
		case err == nil && got.Size == c.Size:
			fork = fmt.Errorf("%w: %s at size %d is committed with root %s, not %s", anchor.ErrFork, c.Origin, c.Size,
				got.Root, c.Root)
			return false
		case err == nil:
			err = fmt.Errorf("it is of size %d", got.Size)
		}
		t.accuse(ctx, a.peer, fmt.Errorf("evidence of %s at size %d: %w", c.Origin, c.Size, err))
		return true
	})
	switch {
	case found != nil || fork != nil:
		return found, fork
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case came == len(errs):
		return nil, fmt.Errorf("%w: no node answers: %v", anchor.ErrUnavailable, errors.Join(errs...))
	}
	return nil, fmt.Errorf("%w: %s at size %d", anchor.ErrPending, c.Origin, c.Size)
}

// Head implements [anchor.Target]: the largest checkpoint that a node proves, or that more
// nodes agree on than may lie. A node that lags behind only makes it smaller; a submission
// from there is stale, and made again.
func (t *Target) Head(ctx context.Context, origin string) (uint64, merkle.Hash, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := t.askable()
	answers := ask(ctx, peers, func(ctx context.Context, p *peer) (Anchored, error) { return p.Head(ctx, origin) })
	best := checkpoint.Checkpoint{Origin: origin, Root: merkle.EmptyRoot()}
	proven := false
	claims := map[checkpoint.Checkpoint]int{}
	var errs []error
	gather(ctx, answers, len(peers), func(a answer[Anchored]) (more bool) {
		if a.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", a.peer.address, a.err))
			return true
		}
		c, err := t.claim(a.value, origin)
		if err != nil {
			t.accuse(ctx, a.peer, fmt.Errorf("head of %s: %w", origin, err))
			return true
		}
		claims[c]++
		// A log that is not there yet needs no proof: nothing can be built on it that holds.
		if (len(a.value.Evidence) > 0 || c.Size == 0) && c.Size >= best.Size {
			best, proven = c, true
		}
		return true
	})
	for c, n := range claims {
		if n >= t.minAgreeing() && (c.Size > best.Size || !proven) {
			best, proven = c, true
		}
	}
	switch {
	case proven:
		return best.Size, best.Root, nil
	case ctx.Err() != nil:
		return 0, merkle.Hash{}, ctx.Err()
	case len(claims) > 0:
		return 0, merkle.Hash{},
			fmt.Errorf("%w: the head of %s has no quorum yet, and too few nodes answer to believe it: %v",
				anchor.ErrUnavailable, origin, errors.Join(errs...))
	}
	return 0, merkle.Hash{}, fmt.Errorf("%w: no node answers: %v", anchor.ErrUnavailable, errors.Join(errs...))
}

// claim is the head that a node names; it is verified when there is evidence.
func (t *Target) claim(a Anchored, origin string) (checkpoint.Checkpoint, error) {
	if a.Checkpoint == "" {
		return checkpoint.Checkpoint{Origin: origin, Root: merkle.EmptyRoot()}, nil
	}
	if len(a.Evidence) > 0 {
		return t.verified(a, origin)
	}
	c, err := checkpoint.Parse(a.Checkpoint)
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("it is of log %s", c.Origin)
	}
	return c, err
}
