package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"stele/notary/outage"
)

// Queue is the deliveries table as the dispatcher needs it. Methods are safe for concurrent
// use, by several servers too; what they have returned from is durable; they do not retry.
//
// FanOut makes deliveries of what the endpoints' cursors have before them and moves the
// cursors in the same transaction; it says how many it made and whether there is more to look
// at. It costs one question while there is nothing to do, however many records come in.
//
// Claim takes deliveries that are due and of which no earlier one of the same record to the
// same endpoint is pending, and keeps others from them until a time; room says how many of an
// endpoint may be taken. Finish writes what became of claimed deliveries and their endpoints'
// [Health.After]; the failure of a delivery that somebody else has taken meanwhile only leaves
// its attempt. Prune removes up to limit finished deliveries from before a time, and what
// deleted endpoints have left, and returns how many.
type Queue interface {
	FanOut(ctx context.Context) (made int, more bool, err error)
	Claim(ctx context.Context, holder string, until time.Time, room func(endpointID string, failing bool) int) ([]Claim,
		error)
	Finish(ctx context.Context, holder string, outcomes []Outcome) error
	Prune(ctx context.Context, before time.Time, limit int) (int, error)
}

// Claim is a delivery that is to be made now.
type Claim struct {
	Delivery
	Endpoint Endpoint
}

// Step is what comes after an attempt.
type Step int

// The steps.
const (
	Delivered Step = iota + 1
	Retry          // at Outcome.DueAt
	GivenUp        // it was the last attempt
	Released       // nothing was sent: the server is stopping
)

// Outcome is what became of a claimed delivery.
type Outcome struct {
	EndpointID string
	EventID    string
	Event      Kind
	Step       Step
	DueAt      time.Time
	Attempt    Attempt // unless released
	RetryAfter time.Duration
	Gone       bool // the receiver wants nothing more
}

// Answer is what came of a request.
type Answer struct {
	Status     int    // 0 when there was none
	Body       []byte // at most [MaxAnswer] bytes
	RetryAfter time.Duration
	Error      string // why there was none, without anything internal
}

// Send makes one request to a URL. It ends in bounded time and is safe for concurrent use.
type Send func(ctx context.Context, url string, m Signed) Answer

// DispatchOptions are what a [Dispatcher] needs besides [Options].
type DispatchOptions struct {
	Options
	Holder string         // names this server in claims
	Jitter func() float64 // in [0, 1)
	Keep   time.Duration  // how long finished deliveries are kept
	Pace   time.Duration  // least time between two fan-outs
	Log    *slog.Logger
	// Outages explains failures; nil: nothing does.
	Outages *outage.Tracker
}

const (
	// perEndpoint is how many requests one endpoint has at once, claimedPerEndpoint how many
	// of its deliveries are claimed in one transaction and wait for their turn. One that is
	// failing has one of each.
	perEndpoint        = 16
	claimedPerEndpoint = 64
	// maxInFlight bounds what is claimed of all endpoints. Twenty endpoints that hang hold
	// twenty of these, once each has hung a first time.
	maxInFlight = 4096
	// claimFor must be longer than waiting for a turn and a request together can take; a
	// server that dies leaves its claims for so long.
	claimFor = 30 * time.Second
	turnFor  = 10 * time.Second // who has waited this long for its turn is given back
	// poll is how often to look for retries that have become due, and other servers' facts.
	poll        = time.Second
	errorPause  = time.Second
	pruneEvery  = time.Hour
	pruneAtOnce = 1000
	stopTimeout = 5 * time.Second
)

// Dispatcher makes deliveries and sends them. Run is called once.
type Dispatcher struct {
	queue   Queue
	send    Send
	opt     DispatchOptions
	fanWake chan struct{} // capacity 1
	dueWake chan struct{} // capacity 1
	results chan Outcome

	fanning, pruning, claiming, finishing *outage.Loop

	// Owned by the delivering loop.
	inFlight map[string]*turns // by endpoint
	total    int
}

// turns are the requests that an endpoint can have at once.
type turns struct {
	claimed int
	slots   chan struct{} // capacity perEndpoint
}

// NewDispatcher returns a dispatcher; [Dispatcher.Run] starts it.
func NewDispatcher(queue Queue, send Send, opt DispatchOptions) *Dispatcher {
	loop := func() *outage.Loop { return outage.NewLoop(opt.Outages, opt.Log, outage.Database) }
	return &Dispatcher{fanning: loop(), pruning: loop(), claiming: loop(), finishing: loop(), queue: queue, send: send,
		opt: opt, fanWake: make(chan struct{}, 1), dueWake: make(chan struct{}, 1),
		results: make(chan Outcome, maxInFlight), inFlight: map[string]*turns{}}
}

// Wake says that there may be something to do: an endpoint, a ping, a replay. It never blocks.
func (d *Dispatcher) Wake() {
	signal(d.fanWake)
	signal(d.dueWake)
}

// NewFacts says that the log has moved. It never blocks.
func (d *Dispatcher) NewFacts() { signal(d.fanWake) }

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run works until ctx ends; requests under way are then broken off, and come again later.
// Errors of the store are logged and tried again: webhooks never stop the service.
func (d *Dispatcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { d.fanOutLoop(ctx) })
	wg.Go(func() { d.pruneLoop(ctx) })
	d.deliverLoop(ctx)
	wg.Wait()
	return nil
}

func (d *Dispatcher) fanOutLoop(ctx context.Context) {
	for {
		made, more, err := d.queue.FanOut(ctx)
		pause := d.opt.Pace
		if err != nil {
			d.fanning.Failed(ctx, slog.LevelWarn, "making deliveries of events failed, will try again", err)
			more, pause = false, errorPause
		} else {
			d.fanning.Worked(ctx, "making deliveries of events")
		}
		if made > 0 {
			signal(d.dueWake)
		}
		if more {
			continue
		}
		if !wait(ctx, pause, nil) || !wait(ctx, poll, d.fanWake) {
			return
		}
	}
}

func (d *Dispatcher) pruneLoop(ctx context.Context) {
	for {
		n, err := d.queue.Prune(ctx, d.opt.Now().Add(-d.opt.Keep), pruneAtOnce)
		pause := pruneEvery
		if err != nil {
			d.pruning.Failed(ctx, slog.LevelWarn, "removing old deliveries failed, will try again", err)
		} else if d.pruning.Worked(ctx, "removing old deliveries"); n == pruneAtOnce {
			pause = poll
		}
		if !wait(ctx, pause, nil) {
			return
		}
	}
}

// wait waits for a time or a wake-up and reports whether ctx goes on.
func wait(ctx context.Context, pause time.Duration, wake <-chan struct{}) bool {
	select {
	case <-time.After(pause):
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// deliverLoop is one goroutine that claims and writes results; each request is another.
func (d *Dispatcher) deliverLoop(ctx context.Context) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var unwritten []Outcome
	for {
		unwritten = d.finish(ctx, unwritten)
		if err := d.claim(ctx); err != nil {
			d.claiming.Failed(ctx, slog.LevelWarn, "claiming deliveries failed, will try again", err)
		} else {
			d.claiming.Worked(ctx, "claiming deliveries")
		}
		select {
		case o := <-d.results:
			unwritten = append(unwritten, d.collect(o)...)
		case <-d.dueWake:
		case <-tick.C:
		case <-ctx.Done():
			d.drain(ctx, unwritten)
			return
		}
	}
}

// collect takes a result and those that wait behind it: they share a transaction.
func (d *Dispatcher) collect(first Outcome) []Outcome {
	out := []Outcome{first}
	for {
		select {
		case o := <-d.results:
			out = append(out, o)
			continue
		default:
		}
		for _, o := range out {
			d.total--
			t := d.inFlight[o.EndpointID]
			if t.claimed--; t.claimed == 0 {
				delete(d.inFlight, o.EndpointID)
			}
		}
		return out
	}
}

// finish writes outcomes and returns those that could not be written. They are kept until
// the claims have long run out: then the deliveries have come again.
func (d *Dispatcher) finish(ctx context.Context, outcomes []Outcome) []Outcome {
	if len(outcomes) == 0 {
		return nil
	}
	if err := d.queue.Finish(ctx, d.opt.Holder, outcomes); err != nil {
		d.finishing.Failed(ctx, slog.LevelWarn, "writing the outcome of deliveries failed, will try again", err)
		return outcomes[max(0, len(outcomes)-maxInFlight):]
	}
	d.finishing.Worked(ctx, "writing the outcome of deliveries")
	return nil
}

func (d *Dispatcher) claim(ctx context.Context) error {
	if d.total >= maxInFlight {
		return nil
	}
	left := maxInFlight - d.total
	claims, err := d.queue.Claim(ctx, d.opt.Holder, d.opt.Now().Add(claimFor),
		func(endpointID string, failing bool) int {
			most := claimedPerEndpoint
			if failing {
				most = 1
			}
			if t := d.inFlight[endpointID]; t != nil {
				most = max(most-t.claimed, 0)
			}
			n := min(most, left)
			left -= n
			return n
		})
	if err != nil {
		return err
	}
	for _, c := range claims {
		t := d.inFlight[c.Endpoint.ID]
		if t == nil {
			t = &turns{slots: make(chan struct{}, perEndpoint)}
			d.inFlight[c.Endpoint.ID] = t
		}
		d.total++
		t.claimed++
		go func() { d.results <- d.takeTurn(ctx, t, c) }() // there is room for each
	}
	return nil
}

// drain writes what is finished and gives back what the end of ctx has broken off.
func (d *Dispatcher) drain(ctx context.Context, unwritten []Outcome) {
	for d.total > 0 {
		unwritten = append(unwritten, d.collect(<-d.results)...)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	d.finish(ctx, unwritten)
}

// takeTurn waits until its endpoint has a free slot, and delivers.
func (d *Dispatcher) takeTurn(ctx context.Context, t *turns, c Claim) Outcome {
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
		return d.deliver(ctx, c)
	case <-time.After(turnFor):
	case <-ctx.Done():
	}
	return Outcome{EndpointID: c.Endpoint.ID, EventID: c.Event.ID, Event: c.Event.Kind, Step: Released,
		DueAt: d.opt.Now().UTC()}
}

// deliver makes one attempt.
func (d *Dispatcher) deliver(ctx context.Context, c Claim) Outcome {
	o := Outcome{EndpointID: c.Endpoint.ID, EventID: c.Event.ID, Event: c.Event.Kind}
	o.Attempt.At = d.opt.Now().UTC()
	m, err := d.signed(c, o.Attempt.At)
	var a Answer
	if err != nil {
		d.opt.Log.ErrorContext(ctx, "a webhook cannot be signed", "error", err)
		a.Error = "the message could not be signed; rotate the secret"
	} else {
		a = d.send(ctx, c.Endpoint.Settings.URL, m)
	}
	end := d.opt.Now().UTC()
	success := a.Status >= 200 && a.Status <= 299
	if !success && ctx.Err() != nil {
		o.Step, o.DueAt = Released, end
		return o
	}
	o.Attempt.Took, o.Attempt.Status, o.Attempt.Answer, o.Attempt.Error = end.Sub(o.Attempt.At), a.Status, a.Body,
		a.Error
	o.RetryAfter, o.Gone = a.RetryAfter, a.Status == statusGone
	again := false
	switch {
	case success:
		o.Step = Delivered
		return o
	case c.Event.Kind != Ping:
		o.DueAt, again = retryAt(c.Attempts+1, end, a.RetryAfter, d.opt.Jitter())
	}
	o.Step = GivenUp
	if again {
		o.Step = Retry
	}
	return o
}

// statusGone is 410: the receiver wants no more webhooks (specification, "Disabling endpoints").
const statusGone = 410

func (d *Dispatcher) signed(c Claim, at time.Time) (Signed, error) {
	event := c.Event
	if event.Kind == Ping {
		event.Notice = &Notice{Subject: c.Endpoint.ID, URL: c.Endpoint.Settings.URL}
	} else if event.Record == nil && event.Notice == nil {
		return Signed{}, fmt.Errorf("event %s: %w", event.ID, errNoSubject)
	}
	body, err := MessageOf(event, c.Endpoint.Settings.Form).Encode()
	if err != nil {
		return Signed{}, err
	}
	secrets, err := d.opt.secrets(c.Endpoint, at)
	if err != nil {
		return Signed{}, err
	}
	return Sign(event.ID, at, body, secrets, d.opt.Sign)
}

var errNoSubject = errors.New("its record or notice is not in the database")
