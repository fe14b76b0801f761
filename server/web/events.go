package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/notary"
	"stele/server/auth"
	"stele/server/site"
)

const (
	// streamPoll is how often a stream looks at the record without being told to: an operator
	// may run several servers, and what another one does is not signalled here.
	streamPoll = 2 * time.Second
	// streamPause is the least time between two looks of a stream, so that a busy log does not
	// make each open page read the database for each checkpoint.
	streamPause = 500 * time.Millisecond
	// streamWrite is how long a client may take to receive an event.
	streamWrite = 10 * time.Second
)

// streams counts open event streams.
type streams struct {
	mu       sync.Mutex
	all      int            // guarded by mu
	byClient map[string]int // guarded by mu; without zeros
}

// enter takes a place, unless there is none, in all or for this client.
func (s *streams) enter(client string, l Limits) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= l.Streams || s.byClient[client] >= l.StreamsPerClient {
		return false
	}
	if s.byClient == nil {
		s.byClient = map[string]int{}
	}
	s.all++
	s.byClient[client]++
	return true
}

func (s *streams) leave(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.byClient[client]--; s.byClient[client] == 0 {
		delete(s.byClient, client)
	}
}

// event is what a stream tells: how far a record is, and whether it stands. Why and by what
// is for the verified report to say.
type event struct {
	State    notary.State    `json:"state"`
	Standing notary.Standing `json:"standing"`
}

// events tells, as server-sent events (WHATWG HTML, 9.2), how far a record is: at once, and
// whenever that changes. The stream ends when the record is anchored, after
// Limits.StreamTime, or when the server stops; a browser that still waits connects again.
// It tells no more than the record's page does.
func (w *Web) events(rw http.ResponseWriter, r *http.Request) {
	client, err := auth.ClientKey(r)
	if err != nil || !w.streams.enter(client, w.Limits) {
		rw.Header().Set("Retry-After", "60")
		http.Error(rw, "too many pages wait for events", http.StatusTooManyRequests)
		return
	}
	defer w.streams.leave(client)
	number := site.NormalizeNumber(chi.URLParam(r, "number"))
	changed := w.Progress.Changed()
	now, err := w.stateOf(r.Context(), number)
	switch {
	case !notary.ValidNumber(number) || notary.CodeOf(err) == notary.CodeNotFound:
		http.NotFound(rw, r)
		return
	case err != nil:
		rw.Header().Set("Retry-After", "5")
		http.Error(rw, "the service cannot be reached", http.StatusServiceUnavailable)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back until its buffer is full
	ctx, cancel := context.WithTimeout(r.Context(), w.Limits.StreamTime)
	defer cancel()
	s := &stream{rw: rw, out: http.NewResponseController(rw)}
	if err := s.follow(ctx, w, number, now, changed); err != nil {
		w.Log.DebugContext(r.Context(), "an event stream ended", "error", err)
	}
}

// stateOf reads how far a record is.
func (w *Web) stateOf(ctx context.Context, number string) (event, error) {
	rec, err := w.Archive.Record(ctx, "", number)
	if err != nil {
		return event{}, err
	}
	p, err := w.Archive.Progress(ctx)
	return event{State: p.StateOf(rec.Index), Standing: rec.Standing}, err
}

// stream is one answer of events.
type stream struct {
	rw  http.ResponseWriter
	out *http.ResponseController
}

// follow writes events until there is nothing more to tell. changed was taken before now
// was read, so that no change is missed.
func (s *stream) follow(ctx context.Context, w *Web, number string, now event, changed <-chan struct{}) error {
	heartbeat := time.NewTicker(w.Limits.Heartbeat)
	defer heartbeat.Stop()
	if err := s.tell(now); err != nil {
		return err
	}
	for now.State != notary.Anchored {
		select {
		case <-changed:
		case <-time.After(streamPoll):
		case <-heartbeat.C: // keeps proxies from taking the silence for a dead connection
			if err := s.write(": still waiting\n\n"); err != nil {
				return err
			}
			continue
		case <-w.Stopping:
			return nil
		case <-ctx.Done():
			return nil
		}
		changed = w.Progress.Changed()
		next, err := w.stateOf(ctx, number)
		if err == nil && next != now { // an outage is not told: the page waits on
			if err := s.tell(next); err != nil {
				return err
			}
			now = next
		}
		select {
		case <-time.After(streamPause):
		case <-w.Stopping:
		case <-ctx.Done():
		}
	}
	return nil
}

func (s *stream) tell(e event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.write(fmt.Sprintf("event: state\ndata: %s\n\n", data))
}

func (s *stream) write(text string) error {
	if err := s.out.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if _, err := s.rw.Write([]byte(text)); err != nil {
		return err
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	return s.out.SetWriteDeadline(time.Time{}) // the connection may serve something else afterwards
}
