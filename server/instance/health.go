package instance

import (
	"context"
	"fmt"
	"time"

	"stele/notary"
	"stele/notary/outage"
	"stele/server/http/api"
)

// What /readyz takes at most: a balancer that asks gives up after a second or two. What does not
// answer in that time stands as it was known, and goes down in the background when its own time is over.
const (
	healthPatience = 500 * time.Millisecond // for the dependencies
	healthTime     = 900 * time.Millisecond // for all
)

// Bounds of a lag that is still health.
const (
	mostUnlogged = 100_000         // entries
	anchorLag    = 2 * time.Minute // an entry's wait for its anchor, beside the pause that the policy sets
)

// health reports what the service needs. A chain that is down does not stop intake.
func (in *Instance) health(ctx context.Context) []api.Check {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	if at := in.stopping.Load(); at != nil {
		return []api.Check{{Name: "stopping", Required: true, Since: api.FormatTime(*at),
			Detail: "the server was asked to stop and takes requests for a little longer"}}
	}
	var checks []api.Check
	var p *notary.Progress // nil where the database does not tell
	for _, s := range in.outages.Check(ctx, healthPatience) {
		c := in.dependency(s)
		switch l := in.gateway(s.Name); {
		case s.Name == outage.Database && s.Up:
			var more []api.Check
			p, more = in.progress(ctx, &c)
			checks = append(append(checks, c), more...)
			continue
		case l != nil && p != nil:
			in.gatewayHealth(ctx, &c, *l, *p)
		}
		checks = append(checks, c)
	}
	for _, check := range []func() (api.Check, bool){in.durability, in.clockHealth, in.tailHealth,
		in.statusHealth} {
		if c, ok := check(); ok {
			checks = append(checks, c)
		}
	}
	return append(checks, in.agencies.check())
}

// dependency says how a dependency is.
func (in *Instance) dependency(s outage.State) api.Check {
	c := api.Check{Name: s.Name, OK: s.Up, Detail: s.Cause}
	c.Required = s.Name == outage.Database || s.Name == outage.Objects || s.Name == disk
	if silent := time.Since(s.Seen); s.Up && silent > 2*time.Second && in.gateway(s.Name) == nil {
		c.Detail = fmt.Sprintf("no answer for %s", silent.Round(time.Second)) // it may be about to go down
	}
	if !s.Up {
		c.Since = api.FormatTime(s.Since)
		return c
	}
	switch s.Name {
	case disk:
		if free, err := freeBytes(in.Config.databaseFolder()); err == nil {
			c.Detail = fmt.Sprintf("%d MiB free for the database", free>>20)
		}
	case outage.Chain:
		c.Detail = in.chainDetail()
	}
	return c
}

// gateway returns the loop whose chain behind a gateway has this name, or nil.
func (in *Instance) gateway(name string) *chainLoop {
	for i := range in.loops {
		if l := &in.loops[i]; !l.final && l.dependency() == name {
			return l
		}
	}
	return nil
}

// chainDetail says how far the chain is and names the nodes that are away.
func (in *Instance) chainDetail() string {
	if in.chain != nil {
		st, err := in.chain.Status()
		if err != nil {
			return ""
		}
		return fmt.Sprintf("height %d", st.Height)
	}
	nodes := in.network.Nodes()
	up, away := nodesBy(nodes)
	detail := fmt.Sprintf("%d of %d nodes answer", up, len(nodes))
	if away != "" {
		detail += "; away: " + away
	}
	return detail
}

// progress completes the database's check and adds those of how far the log and its anchors are.
func (in *Instance) progress(ctx context.Context, database *api.Check) (*notary.Progress, []api.Check) {
	p, err := in.DB.Log.Progress(ctx)
	if err != nil { // too slow for this answer, and not down yet
		database.Detail = "no answer in time for how far the log is"
		return nil, nil
	}
	if database.Detail == "" {
		database.Detail = fmt.Sprintf("%d entries received", p.Received)
	}
	log := api.Check{Name: "log", OK: p.Received-p.Logged < mostUnlogged, Detail: fmt.Sprintf("%d entries to "+
		"be logged", p.Received-p.Logged)}
	if !log.OK {
		if since, err := in.DB.Log.EntrySince(ctx, p.Logged); err == nil {
			log.Since = api.FormatTime(since)
		}
	}
	return &p, []api.Check{log, in.anchorHealth(ctx, p)}
}

// anchorHealth says how long entries have waited for the chains that are required.
func (in *Instance) anchorHealth(ctx context.Context, p notary.Progress) api.Check {
	c := api.Check{Name: "anchor", OK: true, Detail: fmt.Sprintf("%d entries to be anchored", p.Logged-p.Anchored)}
	if p.Logged == p.Anchored {
		return c
	}
	since, err := in.DB.Log.UnanchoredSince(ctx, p.Anchored)
	if err != nil || since.IsZero() {
		if c.OK = err == nil; err != nil {
			c.Detail += ", since when is not known: " + outage.Cause(err)
		}
		return c
	}
	waits := time.Since(since)
	c.Detail += fmt.Sprintf(", the first for %s", waits.Round(time.Second))
	if c.OK = waits < anchorLag+in.Policy.longestPause(); !c.OK {
		c.Since = api.FormatTime(since)
	}
	return c
}

// gatewayHealth adds to a gateway's check how far its chain is.
func (in *Instance) gatewayHealth(ctx context.Context, c *api.Check, l chainLoop, p notary.Progress) {
	st, err := in.DB.Log.AnchorState(ctx, l.name)
	if err != nil {
		return // the database's check says it
	}
	detail := fmt.Sprintf("%d entries anchored there", st.Anchored)
	if c.Detail != "" {
		detail = c.Detail + "; " + detail
	}
	c.Detail = detail
	if lag := p.Logged - min(p.Logged, st.Anchored); c.OK && lag >= mostUnlogged {
		c.OK = false
		if since, err := in.DB.Log.UnanchoredSince(ctx, st.Anchored); err == nil {
			c.Since = api.FormatTime(since)
		}
	}
}
