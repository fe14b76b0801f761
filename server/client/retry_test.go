package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stele/crypto/sm"
)

const secret = "stele_test_0123456789abcdef"

// seen is a request as it arrived.
type seen struct {
	path, key, authorization string
	body                     string
}

// script answers one request after another, without a network: so the clock of a test can be
// a made-up one.
type script struct {
	answers []func(*http.Request) (*http.Response, error)
	got     []seen
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
	}
	s.got = append(s.got, seen{r.URL.RequestURI(), r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization"),
		string(body)})
	if len(s.answers) == 0 {
		return nil, errors.New("no answer is left")
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	return next(r)
}

func (s *script) client() *Client {
	return &Client{BaseURL: "https://stele.test/", Key: secret, HTTPClient: &http.Client{Transport: s}}
}

func answers(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		if status >= 400 {
			h.Set("Content-Type", "application/problem+json")
		}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func refuses(status int, code string, header ...string) func(*http.Request) (*http.Response, error) {
	return answers(status, fmt.Sprintf(`{"status":%d,"code":%q,"detail":"No."}`, status, code), header...)
}

func breaks(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// breaksOff is an answer of which only the first bytes arrive.
func breaksOff(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 201, Header: http.Header{},
		Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"id":`), failing{}))}, nil
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var issued = `{"id":"a","number":"420100-2026-00000000-7","state":"received","standing":"valid","document":{"sm3":"` +
	sm.Sum([]byte("text")).String() + `"}}`

// A write is repeated with the same key and the same bytes until it is answered.
func TestWritesAreRepeatedWithTheirKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){breaks, refuses(503, "unavailable"),
			refuses(408, "timeout"), answers(502, "<html>bad gateway", "Content-Type", "text/html"), breaksOff,
			refuses(500, "internal"), refuses(429, "rate_limited", "Retry-After", "60"),
			answers(201, issued, "Idempotency-Replayed", "true")}}
		c := s.client()
		var pauses []time.Duration
		c.OnRetry = func(_ error, pause time.Duration) { pauses = append(pauses, pause) }
		var progress []int64
		r, err := c.Notarize(t.Context(), Document{Content: strings.NewReader("text"), Size: 4,
			Progress: func(n int64) { progress = append(progress, n) }}, NewRecord{Title: "文书"})
		fatalIfErr(t, err)
		if !r.Replayed || r.Number != "420100-2026-00000000-7" {
			t.Errorf("%+v", r)
		}
		if len(s.got) != 8 || s.got[0].key == "" {
			t.Fatalf("%d requests: %+v", len(s.got), s.got)
		}
		for _, g := range s.got {
			if g != s.got[0] {
				t.Errorf("a repetition differs:\n%+v\n%+v", g, s.got[0])
			}
		}
		if !slices.Equal(progress, []int64{4, 4, 4, 4, 4, 4, 4, 4}) {
			t.Errorf("progress: %v", progress)
		}
		for i, p := range pauses {
			base := firstPause << i
			if i == 6 {
				base = 60 * time.Second
			}
			if p < base/2 || p > base*3/2 {
				t.Errorf("pause %d is %v", i, p)
			}
		}
		if pauses[6] < time.Minute {
			t.Errorf("the service asked for a minute, waited were %v", pauses[6])
		}
	})
}

// Each call makes its own key, and keeps one that it is given.
func TestKeysOfCalls(t *testing.T) {
	s := &script{answers: []func(*http.Request) (*http.Response, error){answers(201, issued), answers(201, issued),
		answers(201, issued)}}
	c := s.client()
	for _, key := range []string{"", "", "mine"} {
		_, err := c.NotarizeDigest(t.Context(), sm.Sum([]byte("text")), 4, NewRecord{IdempotencyKey: key})
		fatalIfErr(t, err)
	}
	if s.got[0].key == "" || s.got[0].key == s.got[1].key || s.got[2].key != "mine" {
		t.Errorf("%+v", s.got)
	}
}

func TestNotRepeated(t *testing.T) {
	certificate := func(*http.Request) (*http.Response, error) {
		return nil, &tls.CertificateVerificationError{Err: errors.New("unknown authority")}
	}
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"400": refuses(400, "malformed_request"), "401": refuses(401, "unauthorized"), "403": refuses(403, "forbidden"),
		"404": refuses(404, "not_found"), "409": refuses(409, "idempotency_conflict"), "413": refuses(413, "too_large"),
		"415": refuses(415, "unsupported_media"), "422": refuses(422, "invalid_request"),
		"quota": refuses(429, "quota_exceeded", "Retry-After", "3600"), "redirect": answers(307, "", "Location",
			"https://elsewhere.test/"), "certificate": certificate, "no JSON": answers(200, "<html>")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []func(*http.Request) (*http.Response, error){answer}}
				_, err := s.client().Get(t.Context(), "a")
				if err == nil || len(s.got) != 1 {
					t.Errorf("%s: %d requests, %v", name, len(s.got), err)
				}
				var p *Problem
				if name == "quota" && (!errors.As(err, &p) || p.RetryAfter != time.Hour || !p.Temporary()) {
					t.Errorf("%s: %+v", name, p)
				}
			})
		})
	}
}

func TestAttemptsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{}
		start := time.Now()
		_, err := s.client().Get(t.Context(), "a")
		var lost *UnreachableError
		if !errors.As(err, &lost) || len(s.got) != defaultAttempts || time.Since(start) > 3*time.Minute {
			t.Errorf("%d requests in %v: %v", len(s.got), time.Since(start), err)
		}
	})
}

// The context ends a pause, and the error says so beside what went wrong.
func TestContextEndsPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){
			refuses(503, "unavailable", "Retry-After", "100")}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := s.client().Get(ctx, "a")
		var p *Problem
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &p) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// A connection on which nothing moves is given up.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){
			func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
			func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Body: io.NopCloser(silentBody{r.Context()})}, nil
			},
			answers(200, issued)}}
		c := s.client()
		var why []string
		c.OnRetry = func(err error, _ time.Duration) { why = append(why, err.Error()) }
		_, err := c.Get(t.Context(), "a")
		fatalIfErr(t, err)
		if len(why) != 2 || !strings.Contains(why[0], "nothing came or went") ||
			!strings.Contains(why[1], "nothing came or went") {
			t.Errorf("%q", why)
		}
	})
}

type silentBody struct{ ctx context.Context }

func (b silentBody) Read([]byte) (int, error) { <-b.ctx.Done(); return 0, b.ctx.Err() }

// A document that cannot be read, or is not the one that was registered, is told apart.
func TestDocuments(t *testing.T) {
	s := &script{}
	_, err := s.client().Notarize(t.Context(), Document{Content: strings.NewReader("tex"), Size: 4}, NewRecord{})
	var lost *UnreachableError
	if !errors.Is(err, errSource) || errors.As(err, &lost) || len(s.got) != 0 {
		t.Errorf("a document that became shorter: %v", err)
	}
	s = &script{answers: []func(*http.Request) (*http.Response, error){answers(201, issued)}}
	_, err = s.client().Notarize(t.Context(), Document{Content: strings.NewReader("TEXT"), Size: 4}, NewRecord{})
	var other *DigestError
	if !errors.As(err, &other) || other.Record.ID != "a" || other.Read != sm.Sum([]byte("TEXT")) {
		t.Errorf("another digest than was sent: %v", err)
	}
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// A document of any size is sent in constant memory, in its length and in one go.
func TestMemory(t *testing.T) {
	const size = 128 << 20
	var before, after runtime.MemStats
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != r.ContentLength || n < size {
			t.Errorf("%d bytes of %d: %v", n, r.ContentLength, err)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"number":"n","document":{"sm3":%q}}`, r.Header.Get("Idempotency-Key"))
	}))
	t.Cleanup(srv.Close)
	runtime.ReadMemStats(&before)
	h, last := sm.NewHash(), int64(0)
	_, err := io.Copy(h, io.NewSectionReader(zeros{}, 0, size))
	fatalIfErr(t, err)
	// The answer repeats the key as the digest, so the digest of what is sent is compared.
	c := &Client{BaseURL: srv.URL, Key: secret}
	_, err = c.Notarize(t.Context(), Document{Content: zeros{}, Size: size, Progress: func(n int64) { last = n }},
		NewRecord{IdempotencyKey: hex.EncodeToString(h.Sum(nil))})
	fatalIfErr(t, err)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 || last != size {
		t.Errorf("%d bytes were allocated, %d sent", used, last)
	}
}

// Of a batch only those items are sent again that failed for the moment, with their keys.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok := func(id string) string { return fmt.Sprintf(`{"status":201,"record":{"id":%q}}`, id) }
		bad := func(status int, code string) string {
			return fmt.Sprintf(`{"status":%d,"problem":{"status":%d,"code":%q,"detail":"No."}}`, status, status, code)
		}
		s := &script{answers: []func(*http.Request) (*http.Response, error){
			answers(200, `{"results":[`+ok("a")+`,`+bad(503, "busy")+`,`+bad(422, "invalid_request")+`]}`), breaks,
			answers(200, `{"results":[{"status":200,"record":{"id":"b"}}]}`)}}
		items := []BatchItem{{SM3: sm.Sum([]byte("a")), Size: 1}, {SM3: sm.Sum([]byte("b")), Size: 1}, {Size: 1}}
		res, err := s.client().Batch(t.Context(), items)
		fatalIfErr(t, err)
		var p *Problem
		if res[0].Record.ID != "a" || res[1].Record.ID != "b" || !res[1].Replayed || !errors.As(res[2].Err, &p) ||
			p.Code != "invalid_request" || res[0].Err != nil || res[1].Err != nil {
			t.Errorf("%+v", res)
		}
		var first, last struct {
			Records []struct{ SM3, IdempotencyKey string }
		}
		fatalIfErr(t, json.Unmarshal([]byte(s.got[0].body), &first))
		fatalIfErr(t, json.Unmarshal([]byte(s.got[2].body), &last))
		if len(last.Records) != 1 || last.Records[0] != first.Records[1] || first.Records[1].IdempotencyKey == "" ||
			s.got[1] != s.got[2] {
			t.Errorf("sent again: %+v, at first %+v", last, first)
		}
	})
}

// A batch that comes to an end without all its items says which ones it does not know of.
func TestBatchBreaks(t *testing.T) {
	s := &script{answers: []func(*http.Request) (*http.Response, error){refuses(401, "unauthorized")}}
	res, err := s.client().Batch(t.Context(), make([]BatchItem, batchSize+1))
	var p *Problem
	if !errors.As(err, &p) || !errors.As(res[0].Err, &p) || res[batchSize].Err != errNotTried {
		t.Errorf("%v: %v, %v", err, res[0].Err, res[batchSize].Err)
	}
}

// Bundles go on after the last line that arrived.
func TestBundlesGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []func(*http.Request) (*http.Response, error){
			answers(200, `{"record":"a","bundle":"A"}`+"\n"+`{"record":"b","bu`),
			answers(200, `{"record":"b","problem":{"status":404,"code":"not_found"}}`+"\n"+
				`{"record":"c","bundle":"C"}`+"\n")}}
		var got []string
		for r, err := range s.client().Bundles(t.Context(), []string{"a", "b", "c"}) {
			fatalIfErr(t, err)
			if r.Err != nil {
				got = append(got, r.Record+" "+r.Err.(*Problem).Code)
				continue
			}
			got = append(got, r.Record+" "+string(r.Bundle.JSON))
		}
		if !slices.Equal(got, []string{"a A", "b not_found", "c C"}) || s.got[1].body != `{"records":["b","c"]}` {
			t.Errorf("%q, asked for %+v", got, s.got)
		}
	})
}

// The key is in the header of each request and nowhere else.
func TestKeyStaysSecret(t *testing.T) {
	s := &script{answers: []func(*http.Request) (*http.Response, error){refuses(401, "unauthorized"), breaks}}
	c := s.client()
	c.Attempts = 1
	var shown bytes.Buffer
	for range 2 {
		_, err := c.Get(t.Context(), "a")
		fmt.Fprintf(&shown, "%v %+v %#v\n", err, err, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		fmt.Fprintf(&shown, verb+"\n", c.Key)
		fmt.Fprintf(&shown, verb+"\n", *c)
	}
	text, err := json.Marshal(map[string]any{"key": c.Key})
	fatalIfErr(t, err)
	shown.Write(text)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("client", "key", c.Key, "client", c)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("client", "key", c.Key)
	if strings.Contains(shown.String(), secret) || strings.Contains(shown.String(), fmt.Sprintf("%x", secret)) {
		t.Errorf("the key is shown:\n%s", &shown)
	}
	for _, g := range s.got {
		if g.authorization != "Bearer "+secret || strings.Contains(g.path, secret) {
			t.Errorf("%+v", g)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, base := range []string{"", "stele.test", "ftp://stele.test", "https://user:password@stele.test",
		"https://stele.test/?a=b", "http://stele.test", "http://10.0.0.1"} {
		c := &Client{BaseURL: base, Key: secret}
		if err := c.Check(); err == nil || strings.Contains(err.Error(), "password") {
			t.Errorf("%q: %v", base, err)
		}
	}
	for _, key := range []Key{"", "two words", "line\nline", "钥"} {
		if (&Client{BaseURL: "https://stele.test", Key: key}).Check() == nil {
			t.Errorf("a wrong key is taken")
		}
	}
	for _, base := range []string{"http://127.0.0.1:8080", "http://localhost", "http://[::1]:80/",
		"https://stele.test/path"} {
		fatalIfErr(t, (&Client{BaseURL: base, Key: secret}).Check())
	}
	fatalIfErr(t, (&Client{BaseURL: "http://stele", Key: secret, AllowHTTP: true}).Check())
}

func TestListPages(t *testing.T) {
	s := &script{answers: []func(*http.Request) (*http.Response, error){
		answers(200, `{"records":[{"id":"a"},{"id":"b"}],"next":"C"}`), answers(200, `{"records":[{"id":"c"}]}`)}}
	var got []string
	for r, err := range s.client().List(t.Context(), Filter{Class: "decision", Reference: "a b"}) {
		fatalIfErr(t, err)
		got = append(got, r.ID)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) ||
		s.got[1].path != "/api/v1/records?class=decision&cursor=C&limit=500&reference=a+b" {
		t.Errorf("%v, %+v", got, s.got)
	}
}

func TestRetryAfter(t *testing.T) {
	const date = "Sun, 22 Nov 2026 06:28:41 GMT"
	for text, want := range map[string]time.Duration{"": 0, "5": 5 * time.Second, "-5": 0, "x": 0,
		"99999999999999999999": 0, "9999999999999999": 1<<63 - 1 - (1<<63-1)%time.Second,
		"Sun, 22 Nov 2026 06:29:41 GMT": time.Minute, "Sun, 22 Nov 2026 06:00:00 GMT": 0} {
		t.Run(text, func(t *testing.T) {
			if got := parseRetryAfter(text, date); got != want {
				t.Errorf("%q: %v, want %v", text, got, want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	for text, want := range map[string]map[string]Limit{"": {}, `"requests";r=119;t=60, "records";r=3;t=3600`: {
		"requests": {119, time.Minute}, "records": {3, time.Hour}},
		`requests;r=1, "x", "";r=1, "a"";r=1`: {}, `"x";r=-1`: {}} {
		t.Run(text, func(t *testing.T) {
			if got := parseLimits(text); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v", text, got)
			}
		})
	}
}
