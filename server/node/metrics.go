package node

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"stele/notary/chain/ceremony"
)

// collector reads the node's state when somebody asks.
type collector struct{ n *Node }

var (
	descHeight = prometheus.NewDesc("stele_node_height", "Height of the chain at this node.", nil, nil)
	descBehind = prometheus.NewDesc("stele_node_behind_blocks", "Blocks that peers have and this node lacks.", nil,
		nil)
	descPeers = prometheus.NewDesc("stele_node_peers", "Nodes of the list of peers by whether they are connected.",
		[]string{"connected"}, nil)
	descPeer = prometheus.NewDesc("stele_node_peer_connected",
		"Whether the node of a member is connected to this one, by the member's name.", []string{"name"}, nil)
	descHeaders = prometheus.NewDesc("stele_node_headers", "Anchor headers since the beginning.", nil, nil)
	descPending = prometheus.NewDesc("stele_node_pending_headers", "Headers without a quorum of cosignatures.", nil,
		nil)
	descEpoch   = prometheus.NewDesc("stele_node_epoch", "Newest accepted epoch.", nil, nil)
	descRefused = prometheus.NewDesc("stele_node_refused_total", "What this node refused, by reason.",
		[]string{"reason"}, nil)
	descDisk      = prometheus.NewDesc("stele_node_disk_bytes", "What the chain takes on disk.", nil, nil)
	descCertified = prometheus.NewDesc("stele_node_last_cosigned_timestamp_seconds",
		"Time of the newest header that has its quorum.", nil, nil)
	descSilent = prometheus.NewDesc("stele_node_silent_validators",
		"Members that are not in the certificate of the newest header that has one.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descHeight, descBehind, descPeers, descPeer, descHeaders, descPending,
		descEpoch, descRefused, descDisk, descCertified, descSilent} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s, err := c.n.Status()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descHeight, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descHeight, float64(s.Height))
	gauge(descBehind, float64(s.Behind))
	gauge(descHeaders, float64(s.Headers))
	gauge(descPending, float64(s.Pending))
	gauge(descEpoch, float64(s.Epoch))
	gauge(descDisk, float64(s.DiskBytes))
	connected := map[bool]int{}
	for _, p := range s.Peers {
		connected[p.Connected]++
		// strangers get no series
		if slices.ContainsFunc(c.n.peers.List, func(m ceremony.Peer) bool { return m.Name == p.Name }) {
			up := 0.0
			if p.Connected {
				up = 1
			}
			gauge(descPeer, up, p.Name)
		}
	}
	gauge(descPeers, float64(connected[true]), "yes")
	gauge(descPeers, float64(connected[false]), "no")
	for reason, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(n), reason)
	}
	if s.Last != nil {
		gauge(descCertified, float64(s.Last.Time.UnixMilli())/1000)
		gauge(descSilent, float64(len(s.Last.Silent)))
	}
}

func (n *Node) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{n}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
