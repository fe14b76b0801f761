package instance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stele/notary"
	"stele/notary/issue"
	"stele/notary/issue/lookup"
	"stele/notary/proof/trustfile"
	"stele/server/auth"
	"stele/server/http/api"
	"stele/server/http/caller"
	"stele/server/http/request"
	"stele/server/http/web"
	"stele/ui"
)

// Time-outs of the HTTP servers. Bodies have rolling deadlines of their own, see package
// slowread, and those that nobody reads have one too, see [bodyDeadline]; so have answers, see
// [countedConn]. A header that takes longer than this is from no honest client.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 90 * time.Second
	maxHeader     = 32 << 10
	// privateRoom is for a monitoring system or two, and an operator.
	privateRoom = 64
)

// Server is an instance with its HTTP side.
type Server struct {
	in      *Instance
	public  *http.Server
	ln      net.Listener
	private []private
	log     *slog.Logger
}

// private is a listener that the world does not reach, and what it serves.
type private struct {
	server *http.Server
	ln     net.Listener
}

// Listen opens the listeners of an instance; [Server.Serve] serves them.
func Listen(in *Instance, version string) (*Server, error) {
	s := &Server{in: in, log: in.log}
	m := newMetrics(in, version)
	stopping := make(chan struct{})
	handler, err := in.router(m, version, stopping)
	if err != nil {
		return nil, err
	}
	s.public = &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(in.log.Handler(), slog.LevelDebug)}
	s.public.RegisterOnShutdown(sync.OnceFunc(func() { close(stopping) }))
	ln, err := net.Listen("tcp", in.Config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", in.Config.Listen, err)
	}
	who, err := in.Config.callers()
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	s.ln = m.countedRoom(ln, "public",
		room{all: in.Config.MaxConnections, perAddress: in.Config.MaxConnectionsPerAddress,
			exempt: who.Trusts})
	metrics := http.NewServeMux()
	metrics.Handle("/metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	if err := errors.Join(s.listenPrivate(m, "metrics", in.Config.MetricsListen, metrics),
		s.listenPrivate(m, "pprof", in.Config.PprofListen, profiles())); err != nil {
		for _, p := range s.private {
			err = errors.Join(err, p.ln.Close())
		}
		return nil, errors.Join(err, ln.Close())
	}
	return s, nil
}

// listenPrivate opens a private listener; without an address there is none.
func (s *Server) listenPrivate(m *metrics, name, address string, h http.Handler) error {
	if address == "" {
		return nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	// There is no time-out for writing: a profile takes as long as it was asked to. What is not
	// taken ends by the listener's rule.
	server := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: s.in.Config.ReadTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(),
			slog.LevelDebug)}
	s.private = append(s.private,
		private{server, m.countedRoom(ln, name, room{all: privateRoom, perAddress: privateRoom / 2})})
	return nil
}

// profiles tell an operator where time and memory go. They hold what is in memory, command line
// and all, so they have a listener of their own that only this machine reaches.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Addr is the address of the public listener.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Serve serves until ctx ends or the instance fails, then stops in order: no new
// connections, requests under way end, intake and sequencer finish, chain and stores close.
func (s *Server) Serve(ctx context.Context) error {
	fail := make(chan error, 1+len(s.private))
	go func() { fail <- s.public.Serve(s.ln) }()
	for _, p := range s.private {
		go func() { fail <- p.server.Serve(p.ln) }()
	}
	var err error
	select {
	case <-ctx.Done():
		s.log.InfoContext(ctx, "stopping", "delay", s.in.Config.StopDelay)
		err = s.delay(fail)
	case err = <-fail:
	case err = <-s.in.Failed():
		s.log.ErrorContext(ctx, "the instance cannot go on", "error", err)
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.in.Config.StopTimeout)
	defer cancel()
	if serr := s.public.Shutdown(stopCtx); serr != nil {
		s.log.WarnContext(stopCtx, "requests were cut off", "error", serr)
		s.public.Close()
	}
	for _, p := range s.private {
		p.server.Close()
	}
	return errors.Join(err, s.in.Close())
}

// delay serves on for a while when the server is asked to stop, and says at /readyz that it will:
// whoever shares requests out among servers turns to another before the listener closes.
func (s *Server) delay(fail <-chan error) error {
	now := time.Now()
	s.in.stopping.Store(&now)
	select {
	case <-time.After(s.in.Config.StopDelay):
		return nil
	case err := <-fail:
		return err
	case err := <-s.in.Failed():
		return err
	}
}

// router puts the parts together. stopping is closed when requests that only wait must end.
func (in *Instance) router(m *metrics, version string, stopping <-chan struct{}) (http.Handler, error) {
	c := in.Config
	r := chi.NewRouter()
	who, err := c.callers()
	if err != nil {
		return nil, err
	}
	r.Use(bodyDeadline(c.ReadTimeout))
	r.Use(m.measure, request.Middleware, in.recoverer, securityHeaders,
		who.Middleware(caller.Options{Open: api.HealthPaths,
			Refuse: refuseCaller, Count: m.refuse, Now: time.Now, Log: in.log}), request.Network)
	limits := api.DefaultLimits()
	limits.MaxPublicUpload, limits.LookupsPerMin, limits.ReadTimeout = c.MaxPublicUpload, c.LookupsPerMinute,
		c.ReadTimeout
	codes := auth.NewCodes(time.Now)
	public := publicURL(c)
	issuer, err := issue.New(in.Trust, in.DB.Office, in.Classes, public)
	if err != nil {
		return nil, err
	}
	issuer.SetRevocations(in.DB.Log)
	page, err := ui.LoadVerifyPage(version)
	var offline []byte
	switch {
	case err == nil:
		offline = page.Data
	case !errors.Is(err, ui.ErrNotBuilt): // without it there is no link to it; the public page logs what to do
		return nil, err
	}
	desk := auth.NewKeyService(in.DB.People, time.Now, in.log)
	explore, reader := in.explorer(), in.chainReader()
	successions, err := in.Successions()
	if err != nil {
		return nil, err
	}
	find := &lookup.Lookup{Archive: in.Archive, Moved: in.Progress, Patience: lookup.Patience, Log: in.log}
	rest, err := api.New(r, api.Config{Lookup: find, Explore: explore, Chain: reader, ChainID: in.id.Chain,
		Histories: in.histories(reader),
		Codes:     codes, Intake: in.Intake, Archive: in.Archive, Keys: auth.NewKeys(in.DB.People, time.Now),
		Usage: in.usage,
		Desk:  desk, Claims: in.DB.Log, Agencies: in.DB.Log,
		Documents: in.Objects, Webhooks: in.webhooks.endpoints, WebhookKey: in.webhooks.private.Public(),
		Progress:  in.Progress,
		TrustJSON: in.trust, Successions: trustfile.EncodeSuccessions(successions), VerifyPage: offline,
		Issuer: issuer, Version: version,
		Uploads: in.Uploads, Lists: in.Stores, Eraser: in.eraser, Trail: in.noteKey, MaxDocument: c.MaxDocument,
		Stopping: stopping,
		Limits:   limits, MaxBatch: c.MaxBatch, Health: in.health, Now: time.Now, Log: in.log})
	if err != nil {
		return nil, err
	}
	openAPI, err := json.Marshal(rest.OpenAPI())
	if err != nil {
		return nil, err
	}
	pages := web.DefaultLimits()
	pages.MaxUpload, pages.ChecksPerMin, pages.ReadTimeout = c.MaxPublicUpload, c.LookupsPerMinute, c.ReadTimeout
	site, err := web.New(r, web.Config{Lookup: find, Explore: explore, Archive: in.Archive, Codes: codes,
		Issuer: issuer, TrustJSON: in.trust, PublicURL: public, Operator: c.Operator, VerifyPage: page,
		OpenAPI:  openAPI,
		Progress: in.Progress, Stopping: stopping, Limits: pages, Now: time.Now, Log: in.log})
	if err != nil {
		return nil, err
	}
	if c.Console {
		if err := in.mountConsole(r, m, desk, issuer, offline, public, stopping); err != nil {
			return nil, err
		}
	}
	r.NotFound(forReaders(site.NotFound(), api.NotFound))
	r.MethodNotAllowed(allowing(forReaders(site.MethodNotAllowed(), api.MethodNotAllowed)))
	return r, nil
}

// allowing names the methods that an address does take, as RFC 9110, section 15.5.6, demands of
// every 405: a router with an answer of its own leaves that to it. Of several patterns that fit the
// address the one with a name counts: that /records/batch could be the id of a record is of no use.
func allowing(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := cmp.Or(r.URL.RawPath, r.URL.Path) // as the router takes it
		fewest := math.MaxInt
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			pattern := chi.RouteContext(r.Context()).Routes.Find(chi.NewRouteContext(), method, path)
			open := strings.Count(pattern, "{") + strings.Count(pattern, "*")
			if pattern == "" || open > fewest {
				continue
			}
			if open < fewest {
				w.Header().Del("Allow")
				fewest = open
			}
			w.Header().Add("Allow", method)
		}
		next(w, r)
	}
}

// forReaders gives people a page and programs a problem document. Below /api it is always the
// latter; elsewhere those are people whose browser asks for HTML by name.
func forReaders(page http.Handler, problem http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if strings.HasPrefix(r.URL.Path, "/api/") || !strings.Contains(strings.ToLower(r.Header.Get("Accept")),
			"text/html") {
			problem(w, r)
			return
		}
		page.ServeHTTP(w, r)
	}
}

// publicURL is how the world reaches this service; without a setting, where it listens.
func publicURL(c Config) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return "http://" + net.JoinHostPort("localhost", port)
	}
	return "http://" + c.Listen
}

// refuseCaller answers a request whose caller's address cannot be told.
func refuseCaller(w http.ResponseWriter, _ *http.Request, why *caller.Refusal) {
	api.WriteProblem(w, notary.Errorf(notary.CodeMalformed, "%s", why.Detail))
}

// bodyDeadline bounds how long the body of a request may take that nobody reads, because there is
// nothing at its address or its sender may not be there: the HTTP server would read it to its end
// before it answers, and wait for ever. Who does read a body moves the deadline on, and the server
// takes it away when the body has ended.
func bodyDeadline(silence time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Body != nil && r.Body != http.NoBody {
				// A writer that knows no deadlines has no connection to hold.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(silence))
			}
			next.ServeHTTP(w, r)
		})
	}
}

// securityHeaders are those of every answer; pages add their own Content-Security-Policy.
func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// recoverer answers a panic as our fault and logs it; the connection is not reused.
func (in *Instance) recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			in.log.ErrorContext(r.Context(), "panic in a handler", "panic", v)
			w.Header().Set("Connection", "close")
			api.WriteProblem(w, errors.New("panic"))
		}()
		next.ServeHTTP(w, r)
	})
}
