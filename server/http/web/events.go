package web

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"stele/notary"
	"stele/server/auth"
	"stele/server/http/site"
)

// streamPause is the least time between two looks of a stream, so that a busy log does not
// make each open page read the database for each checkpoint.
const streamPause = 500 * time.Millisecond

// event is what a stream tells: how far a record is, and whether it stands. Why and by what
// is for the verified report to say.
type event struct {
	State    notary.State    `json:"state"`
	Standing notary.Standing `json:"standing"`
}

// events tells, as server-sent events, how far a record is: at once, and whenever that changes.
// The stream ends when the record is anchored, after Limits.StreamTime, or when the server
// stops; a browser that still waits connects again. It tells no more than the record's page does.
func (w *Web) events(rw http.ResponseWriter, r *http.Request) {
	client, err := auth.ClientKey(r)
	if err != nil || !w.streams.Enter(client, w.Limits.Streams, w.Limits.StreamsPerClient) {
		rw.Header().Set("Retry-After", "60")
		http.Error(rw, "too many pages wait for events", http.StatusTooManyRequests)
		return
	}
	defer w.streams.Leave(client)
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
	s := site.Stream[event]{Changed: w.Progress.Changed, Read: func(ctx context.Context) (event, error) {
		return w.stateOf(ctx, number)
	}, Done: func(e event) bool { return e.State == notary.Anchored },
		Stopping: w.Stopping, Time: w.Limits.StreamTime, Heartbeat: w.Limits.Heartbeat, Pause: streamPause}
	if err := s.Serve(rw, r, now, changed); err != nil {
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
