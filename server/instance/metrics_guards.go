package instance

import (
	"github.com/prometheus/client_golang/prometheus"
)

// guardCollector says what the guards of clock and database have found.
type guardCollector struct{ in *Instance }

var (
	descClock = prometheus.NewDesc("stele_clock_offset_seconds",
		"How far this machine's clock is ahead of another one, by source.", []string{"source"}, nil)
	descClockRight = prometheus.NewDesc("stele_clock_right",
		"Whether this machine's clock may be signed with: 0 where more sources contradict it than agree.", nil, nil)
	descWeak = prometheus.NewDesc("stele_database_setting_weak",
		"A setting of the database server with which a crash may lose what was answered.", []string{"setting"}, nil)
)

// Describe implements prometheus.Collector.
func (c *guardCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descClock, descClockRight, descWeak} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It asks nobody.
func (c *guardCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, r := range c.in.clock.Readings() {
		gauge(descClock, r.Offset.Seconds(), r.Source)
	}
	right := 1.0
	if c.in.clock.Check() != nil {
		right = 0
	}
	gauge(descClockRight, right)
	for _, w := range c.in.DB.Weaknesses() {
		gauge(descWeak, 1, w.Setting)
	}
}
