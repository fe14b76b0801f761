package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"stele/server/node"
	"stele/server/remote/chainnet"
)

// RunningNode is how a command reaches a node that runs: by the socket in its home, or over
// its interface for servers.
type RunningNode struct {
	Home      string `env:"STELE_NODE_HOME" help:"Folder of a node on this machine." placeholder:"DIR"`
	Node      string `help:"Address of a node's interface for servers, http://host:port, where there is no home here." placeholder:"URL"`
	TokenFile string `name:"token-file" env:"STELE_NODE_API_TOKEN_FILE" help:"File with the token for --node." placeholder:"FILE"`
}

func (r RunningNode) connect() (*chainnet.Node, error) {
	if r.Node != "" {
		token, err := secretText("the token", "--token-file", r.TokenFile, "STELE_NODE_API_TOKEN")
		if err != nil {
			return nil, usage(err)
		}
		return chainnet.NewNode(r.Node, token)
	}
	if r.Home == "" {
		return nil, usage(fmt.Errorf("name a node with --home or --node"))
	}
	socket := node.Home(r.Home).Socket()
	if _, err := os.Stat(socket); isMissing(err) {
		return nil, fmt.Errorf("no node runs in %s", r.Home)
	}
	return chainnet.NewNode("unix:"+socket, "")
}

type nodeStatusCmd struct {
	RunningNode
	JSON    bool `name:"json" help:"Print JSON."`
	Healthy bool `help:"Print nothing; fail unless the node runs, is not behind and has peers enough to vote. For health checks."`
}

// Run prints the state of a node.
func (c *nodeStatusCmd) Run(ctx context.Context, s *streams) error {
	n, err := c.connect()
	if err != nil {
		return err
	}
	st, err := n.Status(ctx)
	if err != nil {
		return err
	}
	switch {
	case c.Healthy:
		return healthy(st)
	case c.JSON:
		return s.json(st)
	}
	_, err = s.out.Write([]byte(statusText(st)))
	return err
}

// maxBehind is how many blocks a node may lack and still be called healthy: an anchor makes three.
const maxBehind = 30

func healthy(st chainnet.Status) error {
	switch {
	case st.Failed:
		return fmt.Errorf("consensus has stopped")
	case st.CatchingUp && len(st.Members) > 1 && st.Height == 0 && st.Behind == 0:
		return nil // a network that starts: the others are not there yet
	case st.CatchingUp || st.Behind > maxBehind:
		return fmt.Errorf("it is catching up: height %d, %d behind", st.Height, st.Behind)
	}
	return nil
}

func statusText(st chainnet.Status) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	role := "follows without a vote"
	if st.Validating {
		role = "votes"
	}
	line("node", "%s on %s, %s", st.Name, st.Chain, role)
	state := fmt.Sprintf("%d", st.Height)
	if st.Behind > 0 {
		state += fmt.Sprintf(", %d behind its peers", st.Behind)
	}
	if st.CatchingUp {
		state += ", catching up"
	}
	if st.Failed {
		state += ", CONSENSUS HAS STOPPED: start the node again"
	}
	line("height", "%s", state)
	line("epoch", "%d, in office from height %d: %s", st.Epoch, st.EpochAt, memberList(st.Members))
	for _, p := range st.Peers {
		how := "away"
		if p.Connected {
			how = fmt.Sprintf("height %d", p.Height)
		}
		line("peer", "%s, %s", p.Name, how)
	}
	line("anchors", "%d, %d waiting for cosignatures", st.Headers, st.Pending)
	if l := st.Last; l != nil {
		line("last cosigned", "header %d of %s (%v ago) by %s", l.Index, l.Time.Format(time.RFC3339),
			st.Now.Sub(l.Time).Round(time.Second), strings.Join(l.Cosigned, ", "))
		if len(l.Silent) > 0 {
			line("", "not by %s", strings.Join(l.Silent, ", "))
		}
	}
	for _, h := range st.Heads {
		line("log", "%s: size %d, root %s", h.Origin, h.Size, h.Root)
	}
	for _, reason := range slices.Sorted(maps.Keys(st.Refused)) {
		line("refused", "%s: %d", reason, st.Refused[reason])
	}
	line("disk", "%.1f MiB", float64(st.DiskBytes)/(1<<20))
	return b.String()
}

func memberList(ms []chainnet.Member) string {
	var total uint64
	for _, m := range ms {
		total += m.Power
	}
	var out []string
	for _, m := range ms {
		out = append(out, fmt.Sprintf("%s %d/%d", m.Name, m.Power, total))
	}
	return strings.Join(out, ", ")
}
