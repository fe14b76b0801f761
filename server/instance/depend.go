package instance

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"stele/notary"
	"stele/notary/chainview"
	"stele/notary/filing"
	"stele/notary/outage"
	"stele/storage/blob/s3"
)

// disk is the dependency that SQLite has.
const disk = "disk"

// leastFree is how much room the embedded database must have; below it writes soon fail.
const leastFree = 16 << 20

func freeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// databaseFolder is where SQLite's file lies; empty for PostgreSQL.
func (c Config) databaseFolder() string {
	if path, ok := strings.CutPrefix(c.Database, "sqlite:"); ok {
		return filepath.Dir(path)
	}
	return ""
}

// watchStores has the stores watched.
func (in *Instance) watchStores(ctx context.Context) {
	in.outages = outage.New(ctx, in.log, time.Now)
	in.outages.Watch(outage.Database, func(ctx context.Context) error {
		_, err := in.DB.Progress(ctx)
		return err
	})
	in.outages.Watch(outage.Objects, in.probeObjects)
	if dir := in.Config.databaseFolder(); dir != "" {
		in.outages.Watch(disk, func(context.Context) error {
			free, err := freeBytes(dir)
			if err == nil && free <= leastFree {
				words := fmt.Sprintf("less than %d MiB are free for the database", leastFree>>20)
				err = outage.Because(words, errors.New(words))
			}
			return err
		})
	}
}

func (in *Instance) probeObjects(ctx context.Context) error {
	_, err := in.Objects.Get(ctx, objectIdentity, 4096)
	switch {
	case errors.Is(err, s3.ErrCredentials):
		return outage.Because("it refuses the credentials", err)
	case errors.Is(err, s3.ErrBucket):
		return outage.Because("there is no such bucket", err)
	case errors.Is(err, notary.ErrObjectNotFound):
		return outage.Because("the object that names its instance is missing", err)
	}
	return err
}

// watchChain has the chain watched, if this server talks with it.
func (in *Instance) watchChain() {
	switch {
	case in.chain != nil:
		in.outages.Watch(outage.Chain, func(context.Context) error {
			_, err := in.chain.Status()
			if until := in.chain.waiting(); err != nil && !until.IsZero() {
				return outage.Because("it takes nothing before "+until.Format(time.RFC3339)+", the time of its last block", err)
			} else if err != nil {
				return outage.Because("its consensus does not run", err)
			}
			return nil
		})
	case in.network != nil:
		in.outages.Watch(outage.Chain, func(context.Context) error { return in.nodesDown() })
	}
}

// watchScanner has the malware scanner watched, if there is one that can be asked.
func (in *Instance) watchScanner(scanner filing.Scanner) {
	if s, ok := scanner.(interface{ Ping(context.Context) error }); ok {
		in.outages.Watch(outage.Scanner, s.Ping)
	}
}

// nodesDown says why nothing can be anchored on a network, from what is known of its nodes. Before
// all of them have been asked once it says nothing.
func (in *Instance) nodesDown() error {
	nodes := in.network.Nodes()
	if slices.ContainsFunc(nodes, func(n chainview.Node) bool { return n.Since.IsZero() }) {
		return nil
	}
	up, away := nodesBy(nodes)
	words := ""
	switch {
	case up == 0:
		words = "no node answers"
	case chainview.StandsStill(in.network.Members(), nodes):
		words = "too few nodes answer for anything to be anchored; away: " + away
	default:
		return nil
	}
	return outage.Because(words, errors.New(words))
}

// nodesBy counts the nodes that answer and names those that do not.
func nodesBy(nodes []chainview.Node) (up int, away string) {
	var names []string
	for i, n := range nodes {
		switch {
		case n.Reachable:
			up++
		case n.Since.IsZero(): // not asked yet
		case n.Name == "":
			names = append(names, fmt.Sprintf("number %d of chain-nodes since %s", i+1, n.Since.UTC().Format(time.RFC3339)))
		default:
			names = append(names, fmt.Sprintf("%s since %s", n.Name, n.Since.UTC().Format(time.RFC3339)))
		}
	}
	return up, strings.Join(names, ", ")
}
