package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
)

// Time-outs of the two durable steps of a group. A database that takes longer is down for
// the purpose of whoever waits; the outcome of the second is then unknown.
const (
	noteTimeout    = 10 * time.Second
	receiveTimeout = 30 * time.Second
)

// committer is the one writer: callers queue their items, one goroutine notes the use of the
// key and signs a group while a second one writes the group before it, and a third keeps the tail
// of the one before that. Each waiter gets exactly one outcome, on every path.
type committer struct {
	in       *Intake
	done     chan struct{} // closed when everybody has an answer
	wake     chan struct{} // capacity 1: a hint that the queue is not empty
	capacity notary.Signal // there may be room in the queue, or no more at all

	mu       sync.Mutex
	queue    []*waiter // guarded by mu
	reserved int       // guarded by mu: items of batches that were let in and are not queued yet
	closed   bool      // guarded by mu: no more items are taken
}

type waiter struct {
	item   *Item
	signer *Signer
	out    chan Outcome // capacity 1
	use    *KeyUse      // the audit row of its signature
}

func newCommitter(ctx context.Context, in *Intake) *committer {
	c := &committer{in: in, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	signed, written := make(chan []*waiter), make(chan *received)
	go c.signLoop(ctx, signed)
	go c.writeLoop(ctx, signed, written)
	go c.answerLoop(ctx, written)
	return c
}

func (c *committer) submit(ctx context.Context, signer *Signer, item *Item) Outcome {
	return c.enqueue(signer, item, false).wait(ctx)
}

// The answers of a committer that takes nothing on.
var (
	errStopping = notary.Errorf(notary.CodeBusy, "The server is stopping. Nothing was saved; try again.")
	errBusy     = notary.Errorf(notary.CodeBusy,
		"Too many records are being written at the moment. Nothing was saved; try again.")
)

// reserve lets a batch in as a whole, so that it is never refused half-way: it may fill the
// queue beyond its limit by its own size. What is not enqueued afterwards is given back. It waits
// for room, so that a few senders of large batches come in turn instead of being sent away.
func (c *committer) reserve(ctx context.Context, n int) error {
	timer := time.NewTimer(c.in.limits.BatchWait)
	defer timer.Stop()
	for {
		changed := c.capacity.Changed()
		if err := c.tryReserve(n); !errors.Is(err, errBusy) {
			return err
		}
		select {
		case <-changed:
		case <-timer.C:
			return errBusy
		case <-ctx.Done():
			return errBusy
		}
	}
}

func (c *committer) tryReserve(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errStopping
	case len(c.queue)+c.reserved >= c.in.limits.MaxQueue:
		return errBusy
	}
	c.reserved += n
	return nil
}

func (c *committer) release(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved -= n
	c.capacity.Notify()
}

// enqueue takes an item on; reserved: the item is of a batch that reserve let in.
func (c *committer) enqueue(signer *Signer, item *Item, reserved bool) *waiter {
	w := &waiter{item: item, signer: signer, out: make(chan Outcome, 1)}
	c.mu.Lock()
	if reserved {
		c.reserved--
	}
	switch {
	case c.closed:
		w.out <- Outcome{Err: errStopping}
	case !reserved && len(c.queue)+c.reserved >= c.in.limits.MaxQueue:
		w.out <- Outcome{Err: errBusy}
	default:
		c.queue = append(c.queue, w)
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return w
}

// wait returns the outcome, or, when the caller leaves first, that it is unknown.
func (w *waiter) wait(ctx context.Context) Outcome {
	select {
	case o := <-w.out:
		return o
	case <-ctx.Done():
	}
	select {
	case o := <-w.out: // both at once: the caller gets what is known
		return o
	default:
		return Outcome{Err: unknown(ctx.Err())}
	}
}

func (o Outcome) result() (Taken, error) {
	if o.Err != nil {
		return Taken{}, o.Err
	}
	return Taken{Record: o.Record, Replay: o.Replay}, nil
}

func (c *committer) take() ([]*waiter, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(len(c.queue), c.in.limits.GroupSize)
	group := c.queue[:n:n]
	c.queue = c.queue[n:]
	if n > 0 {
		c.capacity.Notify()
	}
	return group, c.closed
}

func (c *committer) signLoop(ctx context.Context, signed chan<- []*waiter) {
	defer close(signed)
	for {
		group, closed := c.take()
		if len(group) > 0 {
			if ready := c.sign(ctx, group); len(ready) > 0 {
				signed <- ready
			}
			continue
		}
		if closed {
			return
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			c.mu.Lock()
			c.closed = true
			c.mu.Unlock()
			c.capacity.Notify()
		}
	}
}

func (c *committer) writeLoop(ctx context.Context, signed <-chan []*waiter, written chan<- *received) {
	defer close(written)
	for group := range signed {
		c.write(context.WithoutCancel(ctx), group, written)
	}
}

// received is a group after its transaction.
type received struct {
	group    []*waiter
	outcomes []Outcome
}

// answerLoop keeps a group's tail and answers it, while the group after it is written. Tails are
// kept in order: what a caller was told of has nothing before it that was not kept by then.
func (c *committer) answerLoop(ctx context.Context, written <-chan *received) {
	defer close(c.done)
	for r := range written {
		// A crash right here leaves records that nobody was told of, and that the tail lacks until
		// its background work finds them.
		if err := c.keep(context.WithoutCancel(ctx), r); err != nil {
			c.in.log.ErrorContext(ctx, "what was received contradicts the tail in the object store", "error", err)
			fail(r.group, unknown(err))
			continue
		}
		for i, w := range r.group {
			w.out <- r.outcomes[i]
		}
	}
}

// keep hands the new entries of a group to the tail, in the order of their indexes.
func (c *committer) keep(ctx context.Context, r *received) error {
	if c.in.tail == nil {
		return nil
	}
	var g Group
	seen := map[*KeyUse]bool{}
	for i, w := range r.group {
		o := r.outcomes[i]
		if o.Err != nil || o.Replay {
			continue
		}
		if len(g.Items) == 0 {
			g.First = o.Index
		}
		g.Items = append(g.Items, w.item)
		if !seen[w.use] {
			seen[w.use] = true
			g.Uses = append(g.Uses, *w.use)
		}
	}
	if len(g.Items) == 0 {
		return nil
	}
	return c.in.tail.Put(ctx, g)
}

// maxAhead is how far a statement's time may be ahead of the clock that it is signed by: the clock may
// have been set back a little since the statement was made.
const maxAhead = time.Minute

func wrongClock(err error) error {
	return notary.Wrap(notary.CodeUnavailable, err,
		"The server's clock is wrong, so nothing is signed until it is set. Nothing was saved; try again later.")
}

// timely answers what was made while the clock was ahead: a statement of a time to come could never
// be proven.
func (c *committer) timely(group []*waiter) []*waiter {
	out, latest := group[:0:0], c.in.now().Add(maxAhead)
	for _, w := range group {
		at := w.item.Record.IssuedAt
		if w.item.Action == statement.Revoke {
			at = w.item.Record.StandingAt
		}
		if at.After(latest) {
			w.out <- Outcome{
				Err: wrongClock(fmt.Errorf("a statement of %s, which is yet to come", at.Format(time.RFC3339)))}
			continue
		}
		out = append(out, w)
	}
	return out
}

// sign notes the use of each agency's key, then signs; what fails is answered at once. The
// audit row is durable before the first signature exists, so there is no signature without one.
func (c *committer) sign(ctx context.Context, group []*waiter) []*waiter {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err := c.in.clock(); err != nil {
		fail(group, wrongClock(err))
		return nil
	}
	group = c.timely(group)
	ready := make([]*waiter, 0, len(group))
	for _, of := range byAgency(group) {
		if err := c.noteUse(ctx, of); err != nil {
			fail(of, storeDown(err))
			continue
		}
		ready = append(ready, of...)
	}
	errs := make([]error, len(ready))
	parallel(len(ready), func(i int) {
		w := ready[i]
		sig, err := w.signer.Sign(w.item.Entry.Statement)
		if err == nil && (len(sig) == 0 || len(sig) > sm.MaxSignatureSize) {
			err = fmt.Errorf("a signature of %d bytes", len(sig)) // no entry can hold it
		}
		w.item.Entry.Signature, errs[i] = sig, err
	})
	out := ready[:0]
	for i, w := range ready {
		if errs[i] != nil {
			c.in.log.ErrorContext(ctx, "signing failed", "agency", w.signer.AgencyID, "error", errs[i])
			w.out <- Outcome{Err: notary.Wrap(notary.CodeUnavailable, errs[i],
				"The agency's signing key did not work. Nothing was saved.")}
			continue
		}
		out = append(out, w)
	}
	return out
}

func (c *committer) noteUse(ctx context.Context, of []*waiter) error {
	h := sm.NewHash()
	for _, w := range of {
		d := sm.Sum(w.item.Entry.Statement)
		h.Write(d[:])
	}
	use := KeyUse{ID: newID(), AgencyID: of[0].signer.AgencyID, Certificate: of[0].signer.Certificate,
		Purpose: "statement", Count: len(of),
		Statements: sm.Digest(h.Sum(nil)), At: c.in.now()}
	if err := c.in.store.NoteKeyUse(ctx, use); err != nil {
		return err
	}
	for _, w := range of {
		w.item.KeyUse, w.use = use.ID, &use
	}
	return nil
}

// write makes a group durable. What names a certificate that has ended meanwhile is signed anew.
func (c *committer) write(ctx context.Context, group []*waiter, written chan<- *received) {
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	for try := 0; len(group) > 0 && try < signTries; try++ {
		r, ended := c.receive(ctx, group)
		if r != nil {
			written <- r
		}
		if group = ended; len(group) > 0 {
			group = c.sign(ctx, c.restate(ctx, group))
		}
	}
	fail(group, errRestless)
}

// signTries is how often a statement is signed when its agency's certificate ends each time before
// it is written.
const signTries = 4

var errRestless = notary.Errorf(notary.CodeBusy,
	"The agency's certificate changes at the moment. Nothing was saved; try again.")

// receive runs the transaction of a group; r is nil where it failed and all were told so. Those whose
// certificate has ended are not in r, and are to be signed anew.
func (c *committer) receive(ctx context.Context, group []*waiter) (r *received, ended []*waiter) {
	items := make([]*Item, len(group))
	for i, w := range group {
		items[i] = w.item
	}
	start := c.in.now()
	outcomes, err := c.in.store.Receive(ctx, items)
	if err != nil {
		c.in.receiving.Failed(ctx, slog.LevelError, "receiving failed", err, slog.Int("items", len(items)))
		if errors.Is(err, notary.ErrUnknownOutcome) {
			err = unknown(err)
		} else {
			err = storeDown(err)
		}
		fail(group, err)
		return nil, nil
	}
	c.in.onNew()
	r = &received{}
	for i, w := range group {
		o := outcomes[i]
		if errors.Is(o.Err, notary.ErrCertificateEnded) {
			ended = append(ended, w)
			continue
		}
		if o.Err == nil && !o.Replay {
			o.Record = w.item.Record
			if w.item.Action == statement.Issue {
				o.Record.Index = o.Index
			} else {
				o.Record.StandingIndex = o.Index
			}
		}
		r.group, r.outcomes = append(r.group, w), append(r.outcomes, o)
	}
	c.in.receiving.Worked(ctx, "receiving")
	c.in.log.DebugContext(ctx, "received", "items", len(items), "elapsed", c.in.now().Sub(start))
	return r, ended
}

// restate has statements name their agency as it is called now, and its present certificate; they
// are to be signed anew. What cannot be is answered: a statement that its agency signed at home, and
// those of an agency in whose name nothing is signed any more.
func (c *committer) restate(ctx context.Context, group []*waiter) []*waiter {
	out := group[:0]
	for _, of := range byAgency(group) {
		c.in.forget(of[0].signer.AgencyID)
		signer, err := c.in.anySigner(of[0].signer.AgencyID)
		if err == nil && signer.Sign == nil {
			err = errChanged
		}
		if err != nil {
			fail(of, err)
			continue
		}
		c.in.log.InfoContext(ctx, "signing anew: the agency's certificate has ended", "agency", signer.AgencyID,
			"items", len(of))
		for _, w := range of {
			if err := w.restate(signer); err != nil {
				w.out <- Outcome{Err: err}
				continue
			}
			out = append(out, w)
		}
	}
	return out
}

func (w *waiter) restate(signer *Signer) error {
	s, err := statement.Parse(w.item.Entry.Statement)
	if err != nil {
		return err
	}
	s.Agency = signer.Agency
	encoded, err := s.Encode()
	if err != nil {
		return notary.Wrap(notary.CodeInvalid, err,
			"The record does not fit into a statement: use fewer or shorter fields.")
	}
	w.signer, w.item.Entry = signer, statement.Entry{Statement: encoded, Certificate: signer.Certificate}
	return nil
}

func fail(group []*waiter, err error) {
	for _, w := range group {
		w.out <- Outcome{Err: err}
	}
}

// unknown is the answer when a record may or may not exist.
func unknown(cause error) error {
	return notary.Wrap(notary.CodeUnavailable, errors.Join(notary.ErrUnknownOutcome, cause),
		"It is not known whether the record was saved. Repeat the request with the same idempotency key.")
}

func outcomeUnknown(err error) bool { return errors.Is(err, notary.ErrUnknownOutcome) }

// byAgency splits a group by agency and certificate, keeping the order within each: while a certificate
// is replaced, a group may hold statements that name the former one and others that name the new one.
func byAgency(group []*waiter) [][]*waiter {
	var out [][]*waiter
	type signer struct {
		agency      string
		certificate sm.Digest
	}
	at := map[signer]int{}
	for _, w := range group {
		k := signer{w.signer.AgencyID, w.signer.Certificate}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], w)
	}
	return out
}

// parallel runs f for 0 to n-1 on as many goroutines as there are processors.
func parallel(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			for i := k; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}
