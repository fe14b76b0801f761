package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"stele/server/cmd/internal/command"
	"stele/server/node"
	"stele/server/remote/chainnet"
)

// networkKind is the instance whose chain is four processes beside the server.
const networkKind = "four validators"

// network measures a chain of four validators, all of them and the server on this machine.
func (b *bench) network(ctx context.Context) error {
	const what = "received to anchored, idle, p50"
	if !strings.Contains(what, b.cmd.Only) && !strings.Contains(networkKind, b.cmd.Only) {
		return nil
	}
	srv, err := b.start(ctx, networkKind)
	if err != nil {
		return err
	}
	defer srv.stop()
	home := node.Home(filepath.Join(b.dir, networkKind, "nodes", command.DemoCities[0].Name))
	first, err := chainnet.NewNode("unix:"+home.Socket(), "")
	if err != nil {
		return err
	}
	if err := srv.drained(ctx); err != nil { // the first one waits for the nodes to meet
		return err
	}
	name := func(what string) string { return networkKind + ": " + what }
	for range b.cmd.Rounds {
		before, err := first.Status(ctx)
		if err != nil {
			return err
		}
		start := time.Now()
		v, err := srv.latency(ctx, b, name("received to anchored, idle, p99"))
		if err != nil {
			return err
		}
		took := time.Since(start).Seconds()
		b.add(name(what), "ms", v)
		after, err := first.Status(ctx)
		if err != nil {
			return err
		}
		anchors := float64(after.Headers - before.Headers)
		b.add(name("anchors of one log, one after the other"), "1/s", anchors/took)
		b.add(name("disk of a node, blocks and log included"), "bytes an anchor",
			float64(after.DiskBytes-before.DiskBytes)/anchors)
	}
	b.limit(name(what), "", "< 1000")
	b.limit(name("received to anchored, idle, p99"), "", "< 2000")
	return nil
}
