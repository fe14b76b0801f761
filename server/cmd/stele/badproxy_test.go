package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// mischief is what a bad network does to one request.
type mischief int

const (
	passes  mischief = iota
	cuts             // the connection breaks in the middle of the request
	loses            // the service does it, and the answer is lost
	halves           // the service does it, and half the answer arrives
	busy             // somebody answers 503 with Retry-After
	gateway          // somebody answers 502, not with a problem document
	delays           // it takes a while
)

// badProxy stands between a client and a server. What it does to the requests is said
// beforehand; after that it passes them on.
type badProxy struct {
	*httptest.Server
	mu    sync.Mutex
	plan  []mischief // guarded by mu
	count int        // guarded by mu: requests so far
}

func (s *server) badProxy() *badProxy {
	s.t.Helper()
	target, err := url.Parse(s.info.URL)
	fatalIfErr(s.t, err)
	p := &badProxy{}
	real := httputil.NewSingleHostReverseProxy(target)
	p.Server = httptest.NewServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(real, w, r) }))
	s.t.Cleanup(p.Close)
	return p
}

func (p *badProxy) next() mischief {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if len(p.plan) == 0 {
		return passes
	}
	m := p.plan[0]
	p.plan = p.plan[1:]
	return m
}

// will sets what happens to the next requests.
func (p *badProxy) will(plan ...mischief) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = plan
}

// done demands that everything that was planned happened.
func (p *badProxy) done(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.plan) > 0 {
		t.Errorf("%d planned mischiefs did not happen", len(p.plan))
	}
}

func (p *badProxy) serve(real http.Handler, w http.ResponseWriter, r *http.Request) {
	switch p.next() {
	case cuts:
		_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		panic(http.ErrAbortHandler)
	case loses:
		real.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case halves:
		rec := httptest.NewRecorder()
		real.ServeHTTP(rec, r)
		w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		panic(http.ErrAbortHandler)
	case busy:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"status":503,"code":"busy","detail":"Later."}`)
	case gateway:
		http.Error(w, "bad gateway", http.StatusBadGateway)
	case delays:
		select {
		case <-time.After(300 * time.Millisecond):
		case <-r.Context().Done():
		}
		real.ServeHTTP(w, r)
	default:
		real.ServeHTTP(w, r)
	}
}
