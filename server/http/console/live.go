package console

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"stele/notary"
	"stele/server/http/site"
)

// Limits of event streams: how many there may be, how long one lasts (a browser connects again,
// and is asked then whether it is still signed in), and how often it looks.
const (
	maxStreams       = 2000
	streamsPerClient = 50 // an office often has one address
	streamTime       = 5 * time.Minute
	streamHeartbeat  = 20 * time.Second
	streamPause      = 2 * time.Second
)

// nowOf is how far things are, as a page and a stream of events write it: a page whose own is
// another one is out of date.
func nowOf(what any) string {
	b, err := json.Marshal(what)
	if err != nil {
		panic(err) // structs of texts and numbers always marshal
	}
	return string(b)
}

// logNow is what the stream of the overview tells.
type logNow struct {
	Received uint64 `json:"received"`
	Logged   uint64 `json:"logged"`
	Anchored uint64 `json:"anchored"`
}

func logNowOf(p notary.Progress) logNow { return logNow{p.Received, p.Logged, p.Anchored} }

// recordNow is what the stream of a record's public page tells.
type recordNow struct {
	State    notary.State    `json:"state"`
	Standing notary.Standing `json:"standing"`
}

// events tells how far the log is, whenever that changes, as long as the person is signed in.
func (v *visit) events() error {
	client := network(v.r)
	if !v.places.Enter(client, maxStreams, streamsPerClient) {
		v.rw.Header().Set("Retry-After", "60")
		http.Error(v.rw, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests)
		return nil
	}
	defer v.places.Leave(client)
	read := func(ctx context.Context) (logNow, error) {
		p, err := v.Archive.Progress(ctx)
		return logNowOf(p), err
	}
	changed := v.Progress.Changed()
	now, err := read(v.r.Context())
	if err != nil {
		return err
	}
	session := v.session()
	s := site.Stream[logNow]{Changed: v.Progress.Changed, Read: read, Done: func(logNow) bool { return false },
		Stopping: v.Stopping, Time: streamTime, Heartbeat: streamHeartbeat, Pause: streamPause,
		Alive: func(ctx context.Context) bool {
			_, err := v.People.Sessions().FindSession(ctx, session)
			return err == nil
		}}
	if err := s.Serve(v.rw, v.r, now, changed); err != nil {
		v.Log.DebugContext(v.r.Context(), "an event stream ended", "error", err)
	}
	return nil
}

// quiet loads a request's session and does not write it: what a page asks for by itself must
// not keep somebody signed in who has left.
func (c *Console) quiet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		token := ""
		if cookie, err := r.Cookie(c.sessions.Cookie.Name); err == nil {
			token = cookie.Value
		}
		ctx, err := c.sessions.Load(r.Context(), token)
		if err != nil {
			c.sessions.ErrorFunc(rw, r, err)
			return
		}
		next.ServeHTTP(rw, r.WithContext(ctx))
	})
}
