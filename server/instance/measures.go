package instance

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"stele/crypto/pki"
	"stele/notary/outage"
)

// gauge sends one value.
func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// truth is 1 or 0.
func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// age is how long ago a time was, in seconds; 0 for none.
func age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(time.Since(t).Seconds(), 0)
}

// progressCollector reads how far the log has come when somebody asks.
type progressCollector struct{ in *Instance }

var (
	descUp    = desc("stele_dependency_up", "Whether what this server depends on answers it.", "dependency")
	descSince = desc("stele_dependency_since_timestamp_seconds",
		"When the dependency went up or down, or this server began to look.", "dependency")
	descEntries = desc("stele_log_entries",
		"Entries of the log by how far they have come: received, logged, anchored.", "state")
	descUnlogged = desc("stele_log_oldest_seconds",
		"How long ago the oldest entry was received that is not yet logged, or not anchored; 0 where all are.",
		"missing")
	descLease = desc("stele_sequencer_lease_held", "Whether this server holds the lease of the sequencer.")
	descDue   = desc("stele_webhook_due_age_seconds",
		"Age of the oldest webhook delivery that could be sent and was not; receivers that fail do not count.")
	descBehind = desc("stele_webhook_outbox_behind",
		"Outbox rows that the last enabled webhook endpoint has before it.")
	descUnsealed = desc("stele_audit_unsealed_seconds",
		"Age of the oldest line of the audit trail that no seal covers; 0 where all are covered.")
	descNode = desc("stele_chain_node_up",
		"Whether a node of the chain answers this server. name is the validator's, empty where it never answered.",
		"name", "node")
	descLied = desc("stele_chain_node_lied_total", "Answers of a node of the chain that did not verify.", "name",
		"node")
	descStatus = desc("stele_status_waits_seconds",
		"How long the log has had entries that no status statement covers; 0 where all are covered.")
	descTarget   = desc("stele_anchored_entries", "Entries that have evidence of a chain, by chain.", "chain")
	descChain    = desc("stele_chain_height", "Height of the embedded chain.")
	descDiskFree = desc("stele_disk_free_bytes", "Room on the file system of a folder.", "folder")
)

// Describe implements prometheus.Collector.
func (c *progressCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUp, descSince, descEntries, descUnlogged, descLease, descDue, descBehind,
		descUnsealed, descStatus, descNode, descLied, descTarget, descChain, descDiskFree} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What a database that is down would tell is missing; that it
// is down is told by stele_dependency_up, which never is.
func (c *progressCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	database := true
	for _, s := range c.in.outages.Check(ctx, healthPatience) {
		gauge(ch, descUp, truth(s.Up), s.Name)
		gauge(ch, descSince, float64(s.Since.UnixMilli())/1000, s.Name)
		database = database && (s.Up || s.Name != outage.Database)
	}
	gauge(ch, descLease, truth(c.in.batch.Leads()))
	gauge(ch, descStatus, age(c.in.follower.Waits()))
	c.disks(ch)
	c.chains(ch)
	if database {
		c.rows(ctx, ch)
	}
}

// rows reads what the database tells.
func (c *progressCollector) rows(ctx context.Context, ch chan<- prometheus.Metric) {
	db := c.in.DB
	if p, err := db.Log.Progress(ctx); err == nil {
		for state, n := range map[string]uint64{"received": p.Received, "logged": p.Logged, "anchored": p.Anchored} {
			gauge(ch, descEntries, float64(n), state)
		}
		for missing, from := range map[string]uint64{"logged": p.Logged, "anchored": p.Anchored} {
			if since, err := db.Log.EntrySince(ctx, from); err == nil {
				gauge(ch, descUnlogged, age(since), missing)
			}
		}
	}
	for _, l := range c.in.loops {
		if st, err := db.Log.AnchorState(ctx, l.name); err == nil {
			gauge(ch, descTarget, float64(st.Anchored), l.name)
		}
	}
	if due, behind, err := db.Webhooks.DeliveryLag(ctx); err == nil {
		gauge(ch, descDue, age(due))
		gauge(ch, descBehind, float64(behind))
	}
	if since, err := db.People.UnsealedSince(ctx); err == nil {
		gauge(ch, descUnsealed, age(since))
	}
}

func (c *progressCollector) chains(ch chan<- prometheus.Metric) {
	if c.in.network != nil {
		for _, n := range c.in.network.Nodes() {
			gauge(ch, descNode, truth(n.Reachable), n.Name, n.Address)
			ch <- prometheus.MustNewConstMetric(descLied, prometheus.CounterValue, float64(n.Lied), n.Name, n.Address)
		}
	}
	if c.in.chain != nil {
		if st, err := c.in.chain.Status(); err == nil {
			gauge(ch, descChain, float64(st.Height))
		}
	}
}

func (c *progressCollector) disks(ch chan<- prometheus.Metric) {
	folders := map[string]string{"data": c.in.Config.Data}
	if dir := c.in.Config.databaseFolder(); dir != "" {
		folders["database"] = dir
	}
	if c.in.Config.Objects == "dir" {
		folders["objects"] = c.in.Config.ObjectsDir
	}
	for name, dir := range folders {
		if free, err := freeBytes(dir); err == nil {
			gauge(ch, descDiskFree, float64(free), name)
		}
	}
}

// slowEvery is how old what changes in days, or costs a count of many rows, may be.
const slowEvery = time.Minute

// slowCollector reads what need not be read each time. It is safe for concurrent use.
type slowCollector struct {
	in *Instance

	mu   sync.Mutex
	at   time.Time           // guarded by mu
	last []prometheus.Metric // guarded by mu
}

var (
	descExpiry = desc("stele_certificate_not_after_timestamp_seconds", "When a certificate ends: of an agency by its "+
		"code, of the root that issues; of the log: when its key ends, where it does; of the "+
		"revocation lists: when the first of them is to have a newer one.", "kind", "agency")
	descPapers = desc("stele_papers", "Papers on all desks that wait for a second person, or approved for the log.",
		"state")
	descBulks = desc("stele_bulk_jobs", "Bulk jobs that are not finished, by state.", "state")
)

// Describe implements prometheus.Collector.
func (c *slowCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descExpiry
	ch <- descPapers
	ch <- descBulks
}

// Collect implements prometheus.Collector. While the database does not answer the last values stand.
func (c *slowCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) > slowEvery {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if fresh, err := c.read(ctx); err == nil {
			c.last, c.at = fresh, time.Now()
		}
	}
	for _, m := range c.last {
		ch <- m
	}
}

func (c *slowCollector) read(ctx context.Context) (out []prometheus.Metric, err error) {
	add := func(d *prometheus.Desc, v float64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	certs, err := c.in.DB.Log.SigningCertificates(ctx)
	if err != nil {
		return nil, err
	}
	for code, der := range certs {
		if cert, err := pki.Parse(der); err == nil {
			add(descExpiry, float64(cert.NotAfter().Unix()), "agency", code)
		}
	}
	if root, err := pki.Parse(c.in.presentRoot()); err == nil {
		add(descExpiry, float64(root.NotAfter().Unix()), "root", "")
	}
	for _, l := range c.in.Trust.Logs { // it has an end while a change of keys is under way, or after one
		if l.Key.Key().Equal(c.in.signer.Key()) && !l.NotAfter.IsZero() {
			add(descExpiry, float64(l.NotAfter.Unix()), "log", "")
		}
	}
	present, err := c.in.DB.Log.PresentCertificates(ctx)
	if err != nil {
		return nil, err
	}
	if ends := c.in.listsEnd(ctx, c.in.issuersOf(present)); !ends.IsZero() {
		add(descExpiry, float64(ends.Unix()), "revocation_list", "")
	}
	papers, bulks, err := c.in.DB.Office.CountWaiting(ctx)
	if err != nil {
		return nil, err
	}
	for _, state := range []string{"waiting", "approved"} {
		add(descPapers, float64(papers[state]), state)
	}
	for _, state := range []string{"gathering", "uploaded", "checked", "waiting", "running"} {
		add(descBulks, float64(bulks[state]), state)
	}
	return out, nil
}
