package instance

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stele/server/caller"
)

// metrics are those of one server, on a registry of its own.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	callers  *prometheus.CounterVec
}

func newMetrics(in *Instance) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stele_http_requests_total", Help: "Requests by route and status."}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "stele_http_request_duration_seconds", Help: "Time from the request's header to the answer's end.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"route"})}
	m.callers = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "stele_http_callers_refused_total",
		Help: "Requests refused because a trusted proxy did not say readably who calls, by reason."}, []string{"reason"})
	m.registry.MustRegister(m.requests, m.duration, m.callers, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &progressCollector{in}, &guardCollector{in})
	return m
}

// refuse counts a request whose caller's address cannot be told.
func (m *metrics) refuse(r caller.Reason) { m.callers.WithLabelValues(string(r)).Inc() }

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
		m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
		m.duration.WithLabelValues(route).Observe(time.Since(start).Seconds())
	})
}

// progressCollector reads how far the log has come when somebody asks.
type progressCollector struct{ in *Instance }

var (
	descEntries = prometheus.NewDesc("stele_log_entries", "Entries of the log by how far they have come: received, logged, anchored.", []string{"state"}, nil)
	descDue     = prometheus.NewDesc("stele_webhook_due_age_seconds", "Age of the oldest webhook delivery that could be sent and was not; receivers that fail do not count.", nil, nil)
	descBehind  = prometheus.NewDesc("stele_webhook_outbox_behind", "Outbox rows that the last enabled webhook endpoint has before it.", nil, nil)
	descNode    = prometheus.NewDesc("stele_chain_node_up", "Whether a node of the chain answers this server.", []string{"node"}, nil)
	descLied    = prometheus.NewDesc("stele_chain_node_lied_total", "Answers of a node of the chain that did not verify.", []string{"node"}, nil)
	descTarget  = prometheus.NewDesc("stele_anchored_entries", "Entries that have evidence of a chain, by chain.", []string{"chain"}, nil)
	descChain   = prometheus.NewDesc("stele_chain_height", "Height of the embedded chain.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *progressCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descEntries, descDue, descBehind, descNode, descLied, descTarget, descChain} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. A database that is down shows as missing values.
func (c *progressCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if p, err := c.in.DB.Progress(ctx); err == nil {
		for state, n := range map[string]uint64{"received": p.Received, "logged": p.Logged, "anchored": p.Anchored} {
			ch <- prometheus.MustNewConstMetric(descEntries, prometheus.GaugeValue, float64(n), state)
		}
	}
	for _, l := range c.in.loops {
		if st, err := c.in.DB.AnchorState(ctx, l.name); err == nil {
			ch <- prometheus.MustNewConstMetric(descTarget, prometheus.GaugeValue, float64(st.Anchored), l.name)
		}
	}
	if due, behind, err := c.in.DB.DeliveryLag(ctx); err == nil {
		age := 0.0
		if !due.IsZero() {
			age = max(time.Since(due).Seconds(), 0)
		}
		ch <- prometheus.MustNewConstMetric(descDue, prometheus.GaugeValue, age)
		ch <- prometheus.MustNewConstMetric(descBehind, prometheus.GaugeValue, float64(behind))
	}
	if c.in.network != nil {
		for _, n := range c.in.network.Nodes() {
			up := 0.0
			if n.Reachable {
				up = 1
			}
			ch <- prometheus.MustNewConstMetric(descNode, prometheus.GaugeValue, up, n.Address)
			ch <- prometheus.MustNewConstMetric(descLied, prometheus.CounterValue, float64(n.Lied), n.Address)
		}
	}
	if c.in.chain == nil {
		return
	}
	if st, err := c.in.chain.Status(); err == nil {
		ch <- prometheus.MustNewConstMetric(descChain, prometheus.GaugeValue, float64(st.Height))
	}
}
