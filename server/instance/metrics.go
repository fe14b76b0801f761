package instance

import (
	"net"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stele/server/http/caller"
	"stele/server/http/request"
)

// metrics are those of one server, on a registry of its own. Labels have few values, whatever strangers
// send: each is a series that somebody keeps.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	callers  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	signIns  *prometheus.CounterVec
}

func newMetrics(in *Instance, version string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(),
		requests: counters("stele_http_requests_total", "Requests by method, route and status.", "method", "route",
			"status"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "stele_http_request_duration_seconds",
			Help: "Time from the request's header to the answer's end. waits is yes for requests that were asked " +
				"to wait, by ?wait= or as a stream of events.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}},
			[]string{"method", "route", "class", "waits"}),
		callers: counters("stele_http_callers_refused_total",
			"Requests refused because a trusted proxy did not say readably who calls, by reason.", "reason"),
		refused: counters("stele_connections_refused_total",
			"Connections for which the listener had no room, by what they got: answer 503, or closed without one.",
			"listener", "answer"),
		signIns: counters("stele_sign_ins_failed_total",
			"Refused attempts to sign in to the console, by what was shown.", "by")}
	m.registry.MustRegister(m.requests, m.duration, m.callers, m.refused, m.signIns, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(version), in.objectTimes,
		&progressCollector{in}, &slowCollector{in: in}, &guardCollector{in})
	for name, pool := range in.DB.Pools() {
		m.registry.MustRegister(collectors.NewDBStatsCollector(pool, name))
	}
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// buildInfo says what program this is.
func buildInfo(version string) prometheus.Collector {
	revision := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "stele_build_info", Help: "1, with what program this is.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "goversion": runtime.Version()}})
	g.Set(1)
	return g
}

// refuse counts a request whose caller's address cannot be told.
func (m *metrics) refuse(r caller.Reason) { m.callers.WithLabelValues(string(r)).Inc() }

// noRoom returns what counts the connections that a listener refuses.
func (m *metrics) noRoom(listener string) func(answered bool) {
	answer, closed := m.refused.WithLabelValues(listener, "503"), m.refused.WithLabelValues(listener, "none")
	return func(answered bool) {
		if answered {
			answer.Inc()
		} else {
			closed.Inc()
		}
	}
}

// signInFailed counts a refused sign-in.
func (m *metrics) signInFailed(by string) { m.signIns.WithLabelValues(by).Inc() }

func (m *metrics) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		route := "none" // whatever a stranger asks for must not become a label
		if rc := chi.RouteContext(r.Context()); rc != nil && rc.RoutePattern() != "" {
			route = rc.RoutePattern()
		}
		status := ww.Status()
		if status == 0 {
			status = http.StatusOK
		}
		method := request.Method(r.Method)
		m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
		m.duration.WithLabelValues(method, route, strconv.Itoa(status/100)+"xx", waits(r.URL, ww.Header())).Observe(
			time.Since(start).Seconds())
	})
}

// waits tells a request that was to wait for something: how long that took says nothing about how fast
// the service is.
func waits(u *url.URL, answer http.Header) string {
	if strings.Contains(u.RawQuery, "wait=") || strings.HasPrefix(answer.Get("Content-Type"), "text/event-stream") {
		return "yes"
	}
	return "no"
}

// countedRoom gives a listener its limits and counts what it refuses.
func (m *metrics) countedRoom(ln net.Listener, name string, r room) net.Listener {
	r.refused = m.noRoom(name)
	return limitListener(ln, r)
}
