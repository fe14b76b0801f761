package caller

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// logPause is the least time between two lines about refused requests: a wrong setting refuses
// all of them, and one line a minute tells it as well.
const logPause = time.Minute

// Options are what [Rules.Middleware] needs beside the rules.
type Options struct {
	// Open are paths that ask for no address. A proxy's own health checks come without the header.
	Open   []string
	Refuse func(w http.ResponseWriter, r *http.Request, why *Refusal) // answers a refused request
	Count  func(Reason)                                               // of each refused request
	Now    func() time.Time
	Log    *slog.Logger
}

// Middleware puts the caller's address into the request's RemoteAddr, where all that comes
// after takes it from: no other code reads a forwarding header. The port is that of the
// connection if the address is, else 0. Requests whose address cannot be told are refused.
func (r Rules) Middleware(o Options) func(http.Handler) http.Handler {
	l := &paced{now: o.Now}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			addr, err := r.Addr(req)
			var why *Refusal
			if errors.As(err, &why) && slices.Contains(o.Open, req.URL.Path) {
				if why.Reason != Missing { // not a balancer that asks for itself, but nobody knows who
					req.RemoteAddr = ""
				}
				next.ServeHTTP(w, req)
				return
			}
			if why != nil {
				o.Count(why.Reason)
				if n, ok := l.due(); ok {
					o.Log.WarnContext(req.Context(), "requests are refused: their caller's address cannot be told",
						"reason", string(why.Reason), "detail", why.Detail, "peer", req.RemoteAddr, "since_last_line",
						n)
				}
				o.Refuse(w, req, why)
				return
			}
			port := uint16(0)
			if end, err := netip.ParseAddrPort(req.RemoteAddr); err == nil && end.Addr().Unmap().WithZone("") == addr {
				port = end.Port()
			}
			req.RemoteAddr = netip.AddrPortFrom(addr, port).String()
			next.ServeHTTP(w, req)
		})
	}
}

// paced counts what is not logged. It is safe for concurrent use.
type paced struct {
	now func() time.Time

	mu   sync.Mutex
	last time.Time // guarded by mu
	n    int       // guarded by mu: since the last line, this one included
}

func (p *paced) due() (n int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	now := p.now()
	if !p.last.IsZero() && now.Sub(p.last) < logPause {
		return 0, false
	}
	n, p.n, p.last = p.n, 0, now
	return n, true
}
