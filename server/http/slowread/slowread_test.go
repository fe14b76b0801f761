package slowread_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stele/server/http/slowread"
)

// ended is how the reading of a body ended.
type ended struct {
	n   int
	err error
	ctx error // of the request, four silences after its body was read
}

// serve reads bodies with limits.
func serve(t *testing.T, l slowread.Limits) (*httptest.Server, <-chan ended) {
	t.Helper()
	out := make(chan ended, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(slowread.New(w, r.Body, l, time.Now))
		if err == nil {
			select {
			case <-r.Context().Done():
			case <-time.After(4 * l.Silence):
			}
		}
		out <- ended{len(b), err, r.Context().Err()}
	}))
	t.Cleanup(srv.Close)
	return srv, out
}

// send announces a body of so many bytes, sends pieces of it with a pause between them, and then
// holds the line.
func send(t *testing.T, srv *httptest.Server, announced int, pause time.Duration, pieces ...string) {
	t.Helper()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", announced)
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			return // it was given up
		}
		time.Sleep(pause) // a slow line
	}
}

// A slow body may take longer than a silence, and what is done with it as well.
func TestSlow(t *testing.T) {
	t.Parallel()
	srv, out := serve(t, slowread.Limits{Silence: time.Second}) // ten pauses: a busy machine makes them longer
	go send(t, srv, 12, 100*time.Millisecond, strings.Split("0123456789ab", "")...)
	if e := <-out; e.n != 12 || e.err != nil || e.ctx != nil {
		t.Errorf("%+v", e)
	}
}

func TestGivenUp(t *testing.T) {
	for what, c := range map[string]struct {
		limits slowread.Limits
		pieces int
	}{
		"silent":    {slowread.Limits{Silence: 100 * time.Millisecond}, 3},
		"trickling": {slowread.Limits{Silence: 10 * time.Second, Whole: 300 * time.Millisecond}, 1000},
	} {
		t.Run(what, func(t *testing.T) {
			srv, out := serve(t, c.limits)
			go send(t, srv, 2000, 10*time.Millisecond, strings.Split(strings.Repeat("a", c.pieces), "")...)
			select {
			case e := <-out:
				if !slowread.IsTimeout(e.err) || e.n == 0 {
					t.Errorf("%+v", e)
				}
			case <-time.After(2 * time.Minute):
				t.Error("the body is still being read")
			}
		})
	}
	if slowread.IsTimeout(context.Canceled) {
		t.Error("what was cancelled is no time-out")
	}
}
