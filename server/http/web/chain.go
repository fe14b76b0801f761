package web

import (
	"net/http"
	"strconv"
	"time"

	"stele/notary/proof/chainview"
	"stele/ui"
)

// chainPage is the explorer: who the members are, who cosigned what, the newest anchors.
type chainPage struct {
	Alone   bool        // there is one member, who proves no more than that
	Still   bool        // nothing can be anchored now
	Facts   [][2]string // name and value
	Anchors []chainAnchor
	Members []chainMember
	Nodes   []chainNode
}

type chainAnchor struct {
	Index, Height, Time, UTC string
	Certified                bool
	Marks                    []chainMark
	Words                    string // the same, read out
	Logs                     []chainLog
}

// chainMark is a member's dot: filled when it cosigned.
type chainMark struct {
	Name   string
	Signed bool
}

type chainLog struct {
	Origin, Size, Root string
}

type chainMember struct {
	Name, Power, Count, Last string
	Silent                   bool // it cosigned none of the newest anchors
}

type chainNode struct {
	Name, State string
	Reachable   bool
}

// chain shows the explorer.
func (w *Web) chain(rw http.ResponseWriter, r *http.Request) {
	c := w.textsOf(r)
	v, err := w.Explore(r.Context())
	if err != nil {
		w.Log.WarnContext(r.Context(), "the chain cannot be shown", "error", err)
		w.fail(rw, r, errChainAway)
		return
	}
	w.show(rw, r, http.StatusOK, "chain", c.Text("chain.title"), chainPageOf(c, v))
}

func chainPageOf(c *ui.Catalogue, v chainview.View) chainPage {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	pending := c.Text("chain.pending_none")
	if v.Pending > 0 {
		pending = c.Text("chain.pending_some", "n", number(v.Pending))
	}
	p := chainPage{Alone: len(v.Validators) == 1, Still: chainview.QuorumLost(v.Validators, v.Nodes),
		Facts: [][2]string{
			{c.Text("chain.id"), v.Chain},
			{c.Text("chain.anchors"), number(v.Headers)},
			{c.Text("chain.height"), number(v.Height)},
			{c.Text("chain.epoch"), c.Text("chain.epoch_value", "n", number(v.Epoch), "members",
				strconv.Itoa(len(v.Validators)))},
			{c.Text("chain.pending"), pending},
			{c.Text("chain.at"), c.Time(v.At.Format(time.RFC3339))},
		}}
	for _, a := range v.Anchors {
		p.Anchors = append(p.Anchors, anchorOf(c, a))
	}
	for _, m := range v.Validators {
		row := chainMember{Name: m.Name, Power: c.Text("chain.power", "n", number(m.Power), "total", number(v.Total)),
			Silent: m.Of > 0 && m.Cosigned == 0,
			Count:  c.Text("chain.cosigned_of", "n", strconv.Itoa(m.Cosigned), "of", strconv.Itoa(m.Of)),
			Last:   c.Text("chain.never")}
		if !m.Last.IsZero() {
			row.Last = c.Time(m.Last.Format(time.RFC3339))
		}
		p.Members = append(p.Members, row)
	}
	for i, n := range v.Nodes {
		row := chainNode{Name: n.Name, Reachable: n.Reachable, State: c.Text("chain.node_away")}
		if row.Name == "" {
			row.Name = c.Text("chain.node_unnamed", "n", strconv.Itoa(i+1))
		}
		switch {
		case n.Reachable && n.Behind > 0:
			row.State = c.Text("chain.node_behind", "height", number(n.Height), "n", number(n.Behind))
		case n.Reachable:
			row.State = c.Text("chain.node_height", "height", number(n.Height))
		}
		p.Nodes = append(p.Nodes, row)
	}
	return p
}

func anchorOf(c *ui.Catalogue, a chainview.Anchor) chainAnchor {
	out := chainAnchor{Index: strconv.FormatUint(a.Header.Index, 10), Height: strconv.FormatUint(a.Header.Height, 10),
		Certified: a.Certified(),
		Time:      c.Time(a.Header.Time().Format(time.RFC3339)),
		UTC:       a.Header.Time().Format("2006-01-02T15:04:05.000Z")}
	for _, name := range a.Cosigned {
		out.Marks = append(out.Marks, chainMark{name, true})
	}
	for _, name := range a.Silent {
		out.Marks = append(out.Marks, chainMark{name, false})
	}
	out.Words = c.Text("chain.waiting")
	if out.Certified {
		out.Words = c.Text("chain.signed_words", "n", strconv.Itoa(len(a.Cosigned)), "of", strconv.Itoa(len(out.Marks)))
	}
	for _, p := range a.Checkpoints {
		out.Logs = append(out.Logs, chainLog{p.Origin, c.Text("chain.size", "n", strconv.FormatUint(p.Size, 10)),
			p.Root.String()})
	}
	return out
}
