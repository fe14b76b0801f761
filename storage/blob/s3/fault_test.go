package s3_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"stele/notary"
	"stele/storage/blob/s3"
	"stele/storage/storagetest"
)

// proxy stands between the store and the real server and spoils answers.
type proxy struct {
	mu    sync.Mutex
	spoil func(r *http.Response) error // nil: nothing
}

// startProxy returns a proxy and the config that leads through it.
func startProxy(t *testing.T, config s3.Config) (*proxy, s3.Config) {
	t.Helper()
	p := &proxy{}
	target := &url.URL{Scheme: "http", Host: config.Endpoint}
	server := httptest.NewServer(&httputil.ReverseProxy{
		// The Host header stays as it was: it is signed.
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.spoil == nil {
				return nil
			}
			return p.spoil(r)
		},
		// The answer is lost: the connection breaks.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	t.Cleanup(server.Close)
	config.Endpoint = strings.TrimPrefix(server.URL, "http://")
	return p, config
}

func (p *proxy) set(spoil func(r *http.Response) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil = spoil
}

// lose drops the answers to so many requests that match.
func (p *proxy) lose(count int, match func(r *http.Request) bool) (lost func() int) {
	n := 0
	p.set(func(r *http.Response) error {
		if n == count || !match(r.Request) {
			return nil
		}
		n++
		_, err := io.Copy(io.Discard, r.Body) // what was asked has been done
		return errors.Join(err, errors.New("lost"))
	})
	return func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return n
	}
}

func isPut(r *http.Request) bool { return r.Method == http.MethodPut }
func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

// A write that was done, whose answer was lost, succeeds when it is repeated.
func TestLostAnswers(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		config := server.Plain(t).Config()
		p, config := startProxy(t, config)
		s := newStore(t, config)
		large := bytes.Repeat([]byte("large"), 3<<20)
		for name, c := range map[string]struct {
			match func(r *http.Request) bool
			write func(key string) error
			want  []byte
		}{
			"create-small": {isPut, func(key string) error {
				_, err := s.Create(t.Context(), key, strings.NewReader("small"), -1)
				return err
			}, []byte("small")},
			"create-part": {isPut, func(key string) error {
				_, err := s.Create(t.Context(), key, bytes.NewReader(large), -1)
				return err
			}, large},
			"create-complete": {isComplete, func(key string) error {
				_, err := s.Create(t.Context(), key, bytes.NewReader(large), int64(len(large)))
				return err
			}, large},
			"put-once": {isPut, func(key string) error { return s.PutOnce(t.Context(), key, []byte("tile")) },
				[]byte("tile")},
			"put-once-all": {isPut,
				func(key string) error { return s.PutOnceAll(t.Context(), map[string][]byte{key: []byte("tile")}) },
				[]byte("tile")},
		} {
			t.Run(name, func(t *testing.T) {
				lost := p.lose(1, c.match)
				if err := c.write("lost/" + name); err != nil || lost() != 1 {
					t.Errorf("%s: %v with %d answers lost", name, err, lost())
				}
				p.set(nil)
				got, err := s.Get(t.Context(), "lost/"+name, int64(len(c.want)))
				if err != nil || !bytes.Equal(got, c.want) {
					t.Errorf("%s: stored %d bytes, %v", name, len(got), err)
				}
			})
		}
		// And somebody else's object is still somebody else's.
		lost := p.lose(1, isPut)
		if _, err := s.Create(t.Context(), "lost/put-once", strings.NewReader("tile"), -1); !errors.Is(err,
			notary.ErrObjectExists) || lost() != 1 {
			t.Errorf("got %v with %d answers lost", err, lost())
		}
	})
}

// Replace does not repeat a write whose fate is unknown: a step would be made twice.
func TestReplaceIsNotRepeatedBlindly(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		p, config := startProxy(t, server.Plain(t).Config())
		s := newStore(t, config)
		step := func() error {
			return s.Replace(t.Context(), "counter", func(current []byte) ([]byte, error) {
				n, _ := strconv.Atoi(string(current))
				return strconv.AppendInt(nil, int64(n+1), 10), nil
			})
		}
		if err := step(); err != nil {
			t.Fatal(err)
		}
		lost := p.lose(1, isPut)
		if err := step(); !errors.Is(err, s3.ErrUnreachable) || lost() != 1 {
			t.Errorf("got %v with %d answers lost, want an error", err, lost())
		}
		if data, err := s.Get(t.Context(), "counter", 10); err != nil || string(data) != "2" {
			t.Errorf("the counter is at %q, %v, want 2", data, err)
		}
	})
}

// A server that ignores the conditions of a write would let writers overwrite each other.
func TestServerThatIgnoresConditions(t *testing.T) {
	eachServer(t, func(t *testing.T, server *storagetest.S3Server) {
		for _, header := range []string{"If-None-Match", "If-Match"} {
			config := server.Plain(t).Config()
			if err := s3.Init(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			p, config := startProxy(t, config)
			p.set(func(r *http.Response) error {
				if r.StatusCode == http.StatusPreconditionFailed && r.Request.Header.Get(header) != "" {
					r.StatusCode, r.Status = http.StatusOK, "200 OK"
				}
				return nil
			})
			for what, err := range map[string]error{"Init": s3.Init(t.Context(), config), "Open": openErr(t, config)} {
				t.Run(what, func(t *testing.T) {
					if err == nil || !strings.Contains(err.Error(), "ignores "+header) {
						t.Errorf("%s: got %v", what, err)
					}
				})
			}
		}
	})
}

// The store outlives an outage of its server, and says so while it lasts.
func TestServerStopsAndComesBack(t *testing.T) {
	t.Parallel() // it waits for attempts that are in vain
	m := storagetest.NewMinIO(t)
	s := newStore(t, m.Bucket(t, false).Config())
	if err := s.PutOnce(t.Context(), "before", []byte("1")); err != nil {
		t.Fatal(err)
	}
	m.Kill(t)
	_, createErr := s.Create(t.Context(), "while", strings.NewReader("2"), -1)
	_, getErr := s.Get(t.Context(), "before", 1)
	for what, err := range map[string]error{
		"Create": createErr, "Get": getErr, "Ready": s.Ready(t.Context()),
		"PutOnce": s.PutOnce(t.Context(), "while", []byte("2")),
		"List":    s.List(t.Context(), "", func(notary.Object) error { return nil }),
		"Delete":  s.Delete(t.Context(), "before"),
	} {
		t.Run(what, func(t *testing.T) {
			if !errors.Is(err, s3.ErrUnreachable) {
				t.Errorf("%s without a server: %v", what, err)
			}
		})
	}
	m.Start(t)
	if err := errors.Join(s.Ready(t.Context()), s.PutOnce(t.Context(), "before", []byte("1")),
		s.PutOnce(t.Context(), "after", []byte("3"))); err != nil {
		t.Error(err)
	}
}
