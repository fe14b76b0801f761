// Package request gives every request an id and has the log say which request a line is about: who
// quotes an id from an answer is found in the log of the server and of the proxy before it.
package request

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"stele/server/auth"
)

// Header carries the id, in requests and answers.
const Header = "X-Request-Id"

// maxID bounds an id that somebody else has chosen, in bytes.
const maxID = 64

// Request is what the log says of a request. It is safe for concurrent use: work that goes on after
// the answer may still log.
type Request struct {
	id     string
	method string

	mu      sync.Mutex
	route   string       // guarded by mu; set when the request has ended
	live    *chi.Context // guarded by mu; nil once the request has ended, since chi uses it again
	agency  string       // guarded by mu
	key     string       // guarded by mu
	network string       // guarded by mu
}

type contextKey struct{}

// From is the request that a context belongs to, or nil.
func From(ctx context.Context) *Request {
	r, _ := ctx.Value(contextKey{}).(*Request)
	return r
}

// ID is the id of the request that a context belongs to; empty where there is none.
func ID(ctx context.Context) string {
	if r := From(ctx); r != nil {
		return r.id
	}
	return ""
}

// Caller notes who makes a request, once that is known: an agency's id and, of a program, the id of its
// key. On nil it does nothing.
func (r *Request) Caller(agency, key string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.agency, r.key = agency, key
}

// Middleware belongs to the router, before everything that may log or answer, and after what finds the
// caller's address.
func Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &Request{id: IDOf(r.Header), method: Method(r.Method), live: chi.RouteContext(r.Context())}
		w.Header().Set(Header, q.id)
		defer q.end()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, q)))
	})
}

// Network notes the caller's network, once his address is known, as limits count it: of IPv6 the first
// 64 bits.
func Network(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := From(r.Context()); q != nil {
			q.mu.Lock()
			q.network, _ = auth.ClientKey(r) // it has no error
			q.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}

// end keeps the route's pattern. chi hands its context to another request afterwards.
func (r *Request) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.route, r.live = r.pattern(), nil
}

// pattern is the pattern of the route as far as it is known. The caller holds mu.
func (r *Request) pattern() string {
	if r.live != nil {
		return r.live.RoutePattern()
	}
	return r.route
}

// attributes are those of a line of the log.
func (r *Request) attributes() []slog.Attr {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := []slog.Attr{slog.String("request", r.id), slog.String("method", r.method)}
	for _, a := range [...][2]string{{"route", r.pattern()}, {"agency", r.agency}, {"key", r.key},
		{"network", r.network}} {
		if a[1] != "" {
			out = append(out, slog.String(a[0], a[1]))
		}
	}
	return out
}

// Method is a method as it may stand in a log or a metric: one that HTTP does not know is "other".
func Method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions:
		return m
	}
	return "other"
}

// IDOf is the id that a request brings along: X-Request-Id, or the trace of a traceparent (W3C Trace
// Context). One that is out of form is not taken over; then, and without any, a new one is made.
func IDOf(h http.Header) string {
	if v := h[Header]; len(v) == 1 && valid(v[0]) {
		return v[0]
	}
	if v := h["Traceparent"]; len(v) == 1 {
		if id := traceOf(v[0]); id != "" {
			return id
		}
	}
	return uuid.Must(uuid.NewV7()).String()
}

// valid reports whether an id can stand in logs and headers as it is.
func valid(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') &&
			!strings.ContainsRune("-_.", rune(c)) {
			return false
		}
	}
	return true
}

// traceOf is the trace id of a traceparent, or empty if it is out of form.
func traceOf(v string) string {
	if len(v) < 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' || v[:2] == "ff" || v[:2] == "00" && len(v) != 55 ||
		len(v) > 55 && v[55] != '-' {
		return ""
	}
	for _, part := range []string{v[:2], v[3:35], v[36:52], v[53:55]} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return ""
		}
	}
	trace, span := v[3:35], v[36:52]
	if strings.Trim(trace, "0") == "" || strings.Trim(span, "0") == "" {
		return ""
	}
	return trace
}
