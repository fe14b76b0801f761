package site

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// streamPoll is how often a stream looks without being told to: an operator may run several
	// servers, and what another one does is not signalled here.
	streamPoll = 2 * time.Second
	// streamWrite is how long a client may take to receive an event.
	streamWrite = 10 * time.Second
)

// Places counts what takes long and is bounded, such as open event streams. The zero value is ready;
// it is safe for concurrent use.
type Places struct {
	mu       sync.Mutex
	all      int            // guarded by mu
	byClient map[string]int // guarded by mu; without zeros
}

// Enter takes a place, unless all are taken, or those of this client. [Places.Leave] gives it back.
func (p *Places) Enter(client string, all, perClient int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= all || p.byClient[client] >= perClient {
		return false
	}
	if p.byClient == nil {
		p.byClient = map[string]int{}
	}
	p.all++
	p.byClient[client]++
	return true
}

// Leave gives a place back.
func (p *Places) Leave(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.byClient[client]--; p.byClient[client] == 0 {
		delete(p.byClient, client)
	}
}

// Stream is an answer of server-sent events (WHATWG HTML, 9.2): what something is, at once and
// whenever it has changed.
type Stream[T comparable] struct {
	Changed   func() <-chan struct{}                 // closed at the next change that this server knows of
	Read      func(ctx context.Context) (T, error)   // how things are
	Done      func(T) bool                           // nothing more will come
	Alive     func(ctx context.Context) (alive bool) // asked at each heartbeat; nil: always
	Stopping  <-chan struct{}
	Time      time.Duration // how long a stream lasts; a browser connects again
	Heartbeat time.Duration // how often something is sent: proxies take silence for a dead connection
	Pause     time.Duration // least time between two looks, so that a busy log costs a page little
}

// Serve sends events until there is nothing more to tell. now is what Read said after changed
// was taken, so that no change is missed.
func (s Stream[T]) Serve(rw http.ResponseWriter, r *http.Request, now T, changed <-chan struct{}) error {
	h := rw.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back until its buffer is full
	ctx, cancel := context.WithTimeout(r.Context(), s.Time)
	defer cancel()
	heartbeat := time.NewTicker(s.Heartbeat)
	defer heartbeat.Stop()
	out := http.NewResponseController(rw)
	if err := tell(rw, out, now); err != nil {
		return err
	}
	for !s.Done(now) {
		select {
		case <-changed:
		case <-time.After(streamPoll):
		case <-heartbeat.C:
			if s.Alive != nil && !s.Alive(ctx) {
				return nil
			}
			if err := write(rw, out, ": still waiting\n\n"); err != nil {
				return err
			}
			continue
		case <-s.Stopping:
			return nil
		case <-ctx.Done():
			return nil
		}
		changed = s.Changed()
		next, err := s.Read(ctx)
		if err == nil && next != now { // an outage is not told: the page waits on
			if err := tell(rw, out, next); err != nil {
				return err
			}
			now = next
		}
		select {
		case <-time.After(s.Pause):
		case <-s.Stopping:
		case <-ctx.Done():
		}
	}
	return nil
}

func tell(rw http.ResponseWriter, out *http.ResponseController, what any) error {
	data, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return write(rw, out, fmt.Sprintf("event: state\ndata: %s\n\n", data))
}

func write(rw http.ResponseWriter, out *http.ResponseController, text string) error {
	if err := out.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if _, err := rw.Write([]byte(text)); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return out.SetWriteDeadline(time.Time{}) // the connection may serve something else afterwards
}
