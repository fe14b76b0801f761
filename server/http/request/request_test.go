package request_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5"

	"stele/server/http/request"
)

// Work that outlives its request logs what the request was, while chi serves others with the same memory.
func TestLinesAfterTheAnswer(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	log := slog.New(request.LogHandler(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(b)
	}), nil)))
	var late sync.WaitGroup
	answered := make(chan struct{})
	r := chi.NewRouter()
	r.Use(request.Middleware, request.Network)
	r.Get("/first/{id}", func(_ http.ResponseWriter, r *http.Request) {
		request.From(r.Context()).Caller("agency-1", "key-1")
		ctx := context.WithoutCancel(r.Context())
		late.Go(func() {
			<-answered
			log.InfoContext(ctx, "late")
		})
	})
	r.Get("/second", func(http.ResponseWriter, *http.Request) {})
	call := func(path string) {
		q := httptest.NewRequest("GET", path, nil)
		q.RemoteAddr = "[2001:db8:1:2:3:4:5:6]:443"
		q.Header.Set(request.Header, "one-"+path[1:2])
		r.ServeHTTP(httptest.NewRecorder(), q)
	}
	call("/first/secret")
	close(answered)
	for range 100 {
		call("/second")
	}
	late.Wait()
	line := out.String()
	for _, want := range []string{"request=one-f", "method=GET", "route=/first/{id}", "agency=agency-1", "key=key-1",
		"network=2001:db8:1:2::"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q lacks %s", line, want)
		}
	}
	if strings.Contains(line, "secret") || strings.Contains(line, "3:4:5:6") {
		t.Errorf("%q tells too much", line)
	}
	log.With("part", "x").WithGroup("g").Info("of no request") // must not fail
	request.From(t.Context()).Caller("nobody", "")             // nor this
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// Whatever comes, the id is short and of letters, digits and three signs: it goes into headers and logs.
func FuzzIDOf(f *testing.F) {
	f.Add("desk-17", "")
	f.Add("", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("", "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later")
	f.Add("a\nb", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")
	form := regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	f.Fuzz(func(t *testing.T, id, parent string) {
		got := request.IDOf(http.Header{request.Header: {id}, "Traceparent": {parent}})
		if !form.MatchString(got) {
			t.Errorf("%q", got)
		}
		if form.MatchString(id) && got != id {
			t.Errorf("%q became %q", id, got)
		}
		if two := request.IDOf(http.Header{request.Header: {id, id}}); two == id {
			t.Errorf("one of two was taken: %q", two)
		}
	})
}
