package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"stele/crypto/keystore"
	"stele/notary/chain"
	"stele/notary/chain/ceremony"
	"stele/server/remote/chainnet"
)

// Options are what a running node needs beside its home.
type Options struct {
	Home          Home
	Passphrase    keystore.Secret
	P2PListen     string // host:port for peers; empty: the port of the member's address, on all interfaces
	APIListen     string // host:port for servers; empty for none
	APIToken      string // at least minToken characters; needed with APIListen
	MetricsListen string // host:port for /metrics; empty for none
	TimeoutCommit time.Duration
	RetainBlocks  uint64 // see chain.Config
	Version       string
	Now           func() time.Time
	Log           *slog.Logger
}

const (
	// minToken is the shortest token that is taken: 128 bits in base64.
	minToken = 22
	// Time-outs of the interface: its bodies are small and its callers few.
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = chainnet.MaxWait + 30*time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	// diskEvery is how old the measured disk use may be: measuring walks the folder.
	diskEvery = 10 * time.Second
)

// Node is a running validator. It is safe for concurrent use.
type Node struct {
	chain    *chain.Node
	home     Home
	member   ceremony.SignedMember
	peers    ceremony.Peers
	version  string
	now      func() time.Time
	log      *slog.Logger
	stopping chan struct{}
	servers  []*http.Server
	failed   chan error

	mu       sync.Mutex
	diskAt   time.Time // guarded by mu
	diskUsed int64     // guarded by mu
}

// Start runs the node of a home that has joined a chain.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	if o.APIListen != "" && len(o.APIToken) < minToken {
		return nil, fmt.Errorf(
			"the interface for servers needs a token of at least %d characters: name its file with --api-token-file",
			minToken)
	}
	genesis, peers, err := o.Home.Joined()
	if err != nil {
		return nil, err
	}
	m, k, err := o.Home.load(o.Passphrase)
	if err != nil {
		return nil, err
	}
	c := o.Home.chainConfig(genesis, m, k)
	c.Peers, c.ListenAddress, c.TimeoutCommit, c.Log = addresses(peers, m), o.P2PListen, o.TimeoutCommit,
		o.Log.With("part", "chain")
	c.RetainBlocks = o.RetainBlocks
	if c.ListenAddress == "" {
		_, port, err := net.SplitHostPort(m.Address)
		if err != nil {
			return nil, err
		}
		c.ListenAddress = net.JoinHostPort("0.0.0.0", port)
	}
	n := &Node{home: o.Home, member: m, peers: peers, version: o.Version, now: o.Now, log: o.Log,
		stopping: make(chan struct{}), failed: make(chan error, 4)}
	if n.chain, err = chain.Start(context.WithoutCancel(ctx), c); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.serveSocket(); err != nil {
		return nil, err
	}
	if o.APIListen != "" {
		if err := n.serve(o.APIListen, n.handler(o.APIToken)); err != nil {
			return nil, err
		}
	}
	if o.MetricsListen != "" {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(n.metrics(), promhttp.HandlerOpts{}))
		if err := n.serve(o.MetricsListen, mux); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// serveSocket takes calls from this machine's operator: the folder is closed to others. A
// socket that a killed process left is replaced; the chain's own files say that nobody else
// runs this home.
func (n *Node) serveSocket() error {
	if err := os.Remove(n.home.Socket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ln, err := net.Listen("unix", n.home.Socket())
	if err != nil {
		if strings.Contains(err.Error(), "invalid argument") {
			err = fmt.Errorf("%w: the path of a socket has at most 100 characters: choose a shorter home", err)
		}
		return err
	}
	if err := os.Chmod(n.home.Socket(), 0o600); err != nil {
		return errors.Join(err, ln.Close())
	}
	n.run(ln, n.handler(""))
	return nil
}

func (n *Node) serve(address string, h http.Handler) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", address, err)
	}
	n.run(ln, h)
	return nil
}

func (n *Node) run(ln net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug)}
	n.servers = append(n.servers, s)
	go func() {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			n.failed <- err
		}
	}()
}

// Wait returns when ctx ends, or with an error when the node cannot go on: the process should
// end then and be started again.
func (n *Node) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-n.failed:
		return err
	case <-n.chain.Failed():
		return errors.New("consensus has stopped; start the node again. If it stops again, its log says why")
	}
}

// Close answers what is under way and stops the node.
func (n *Node) Close() error {
	close(n.stopping)
	ctx, cancel := context.WithTimeout(context.Background(), headerTimeout)
	defer cancel()
	for _, s := range n.servers {
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
	}
	return n.chain.Close()
}

// Member is the public file of the node.
func (n *Node) Member() ceremony.SignedMember { return n.member }

// disk is how many bytes the chain takes on disk, as of a little while ago.
func (n *Node) disk() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := n.now(); now.Sub(n.diskAt) > diskEvery || n.diskAt.IsZero() {
		n.diskAt, n.diskUsed = now, n.home.diskBytes()
	}
	return n.diskUsed
}
