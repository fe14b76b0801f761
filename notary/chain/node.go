package chain

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/consensus"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/types"

	"stele/notary/proof/anchorproof"
)

// What callers of a [Node] tell apart, beside the refusals of transactions.
var (
	// ErrStopped: the node is closed, or its consensus has failed; only a restart helps.
	ErrStopped = errors.New("the chain node has stopped")
	// ErrBusy: the mempool is full or the node still catches up; try again later.
	ErrBusy = errors.New("the chain node is busy")
	// ErrPending: no finished evidence yet.
	ErrPending = errors.New("no evidence yet")
)

const (
	// maxClockLag is how far the last block may be ahead of a lone node's clock at start.
	// Going on would give headers times that nobody can vouch for, or halt the engine.
	maxClockLag = 5 * time.Second
	timeFormat  = "2006-01-02T15:04:05.000Z"
	// maxSubmits bounds transactions on their way into the mempool. After a failure of
	// consensus the engine never lets go of them, and each holds a goroutine.
	maxSubmits = 64
	// closeTimeout bounds the wait for an engine that does not stop.
	closeTimeout = 10 * time.Second
)

// Node is one node of the chain in this process. It is safe for concurrent use.
type Node struct {
	config Config
	home   *home
	engine *node.Node
	dbs    *databases
	log    *slog.Logger

	submits chan struct{} // tokens of transactions under way
	stopped chan struct{} // closed when consensus has ended, for whatever reason
	failed  chan struct{} // closed when it ended by itself
	quit    chan struct{} // closed by Close
	workers sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change; guarded by mu
	closing bool          // guarded by mu
}

// Start runs a node on a home that [Init] has made. It creates nothing and refuses a home
// that is empty, incomplete, of another chain or key, or older than the votes given from it
// ([ErrHome]). The context bounds the start only.
func Start(ctx context.Context, c Config) (*Node, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := c.checkRunning(); err != nil {
		return nil, err
	}
	h, err := openHome(c)
	if err != nil {
		return nil, err
	}
	n := &Node{config: c, home: h, dbs: &databases{}, log: c.Log, submits: make(chan struct{}, maxSubmits),
		stopped: make(chan struct{}), failed: make(chan struct{}), quit: make(chan struct{}),
		changed: make(chan struct{})}
	a := h.app
	a.clock, a.log, a.address, a.hooks, a.votedAt = c.Clock, c.Log, c.address(), c.hooks, h.validator.votedAt
	a.cosigner = newCosigner(c.Cosign, c.CosignKey, c.Log)
	a.onCommit, a.retain = n.notify, c.RetainBlocks
	if err := n.startEngine(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start chain node: %w", err), n.dbs.close(), h.close())
	}
	n.workers.Go(func() { n.poke(context.WithoutCancel(ctx)) })
	return n, nil
}

func (n *Node) startEngine(ctx context.Context) (err error) {
	// The library reads this variable at every step of a block and exits the process at the
	// step that it names: a testing aid that nobody else may trip over.
	if err := os.Unsetenv("FAIL_TEST_INDEX"); err != nil {
		return err
	}
	if err := pruneWAL(n.config.Home); err != nil {
		return err
	}
	cfg, err := n.config.engineConfig()
	if err != nil {
		return err
	}
	doc, err := genesisDoc(n.config.Genesis)
	if err != nil {
		return err
	}
	// The engine panics on stores that contradict each other.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the engine cannot go on from its files: %v", r)
		}
	}()
	n.engine, err = node.NewNodeWithContext(ctx, cfg, n.home.validator,
		&p2p.NodeKey{PrivKey: cmted25519.PrivKey(n.config.NodeKey)},
		proxy.NewLocalClientCreator(n.home.app),
		func() (*types.GenesisDoc, error) { return doc, nil },
		n.dbs.provide,
		node.DefaultMetricsProvider(cfg.Instrumentation),
		engineLog{n.log.Handler()})
	if err != nil {
		return err
	}
	env, err := n.engine.ConfigureRPC() // the only way to the consensus state; starts nothing
	if err != nil {
		return err
	}
	state, ok := env.ConsensusState.(*consensus.State)
	if !ok {
		return fmt.Errorf("the engine's consensus state is a %T", env.ConsensusState)
	}
	// The state is that of the newest stored block: blocks that a crash left unexecuted have been replayed.
	if err := mendWAL(n.config.Home, state.GetState().LastBlockHeight); err != nil {
		return err
	}
	if err := n.engine.Start(); err != nil {
		return err
	}
	// After a "CONSENSUS FAILURE" the engine still says that it is running.
	go n.watch(state.Wait)
	return nil
}

// watch tells everybody when consensus has ended. On a node that is closed while it still
// catches up, consensus never began and this goroutine stays.
func (n *Node) watch(wait func()) {
	wait()
	n.mu.Lock()
	closing := n.closing
	n.mu.Unlock()
	close(n.stopped)
	if !closing {
		n.log.Error("chain consensus has failed; the node must be restarted")
		close(n.failed)
	}
	n.notify()
}

// Failed is closed when consensus has ended by itself, after a panic or an error of the
// disk. The node is of no use from then on: the process should turn unhealthy and restart.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Close stops the node: consensus first, then the engine's databases, then our own files.
// It may be called once. A lone node can be started again in the same process; a node with
// peers should end its process first: they keep its old connections for up to a minute and
// refuse new ones meanwhile.
func (n *Node) Close() error {
	n.mu.Lock()
	n.closing = true
	n.mu.Unlock()
	close(n.quit)
	n.notify()
	n.workers.Wait()
	stop := make(chan error, 1)
	go func() {
		err := n.engine.Stop()
		n.engine.Wait()
		stop <- err
	}()
	var err error
	select {
	case err = <-stop:
	case <-time.After(closeTimeout):
		err = fmt.Errorf("the engine does not stop within %v", closeTimeout)
	}
	return errors.Join(err, n.dbs.close(), n.home.close())
}

// notify wakes everybody who waits for a change.
func (n *Node) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next committed block, and when the node
// stops. Ask for it before reading what it is about.
func (n *Node) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// WaitReady returns once the node takes part in consensus. Alone that is at once; with peers
// it has to fetch their blocks first, and a lone node of a larger chain waits for ever.
func (n *Node) WaitReady(ctx context.Context) error {
	t := time.NewTicker(10 * time.Millisecond) // the engine tells nobody
	defer t.Stop()
	for n.engine.ConsensusReactor().WaitSync() {
		select {
		case <-t.C:
		case <-n.quit:
			return ErrStopped
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Submit hands a checkpoint to the chain. nil means that this node's mempool has it, which
// a crash empties: submit again until [Node.Evidence] answers. Refusals wrap [ErrUnknownLog],
// [ErrStale], [ErrFork], [ErrKnown] or [ErrMalformed]; otherwise [ErrBusy] or [ErrStopped].
func (n *Node) Submit(ctx context.Context, s Submission) error {
	tx, err := s.encode()
	if err != nil {
		return err
	}
	return n.broadcast(ctx, tx)
}

// SubmitEpoch hands the next epoch to the chain. It takes office two blocks after the one
// that commits it. Errors are those of [Node.Submit], and [ErrEpoch].
func (n *Node) SubmitEpoch(ctx context.Context, e anchorproof.SignedEpoch) error {
	raw, err := e.Marshal()
	if err != nil {
		return err
	}
	return n.broadcast(ctx, append([]byte{txEpoch}, raw...))
}

// broadcast puts a transaction into the mempool. The engine's call ignores contexts and
// hangs for ever once consensus has failed, so it never runs on the caller's goroutine.
func (n *Node) broadcast(ctx context.Context, tx []byte) error {
	// A select with several cases ready takes any: a node that has ended is asked for first, and
	// last, since its mempool may still take what no block will ever hold.
	if n.ended() {
		return ErrStopped
	}
	if n.engine.ConsensusReactor().WaitSync() {
		return fmt.Errorf("%w: it is catching up with the chain", ErrBusy)
	}
	select {
	case n.submits <- struct{}{}:
	case <-n.stopped:
		return ErrStopped
	case <-n.quit:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	result := make(chan error, 2) // one answer of the two below, never both; neither blocks
	go func() {
		defer func() { <-n.submits }()
		err := n.engine.Mempool().CheckTx(tx, func(r *abci.ResponseCheckTx) {
			if r.Code != 0 {
				result <- &refusal{code: r.Code,
					detail: strings.TrimPrefix(r.Log, fmt.Sprintf("%v: ", codeErrors[r.Code]))}
				return
			}
			result <- nil
		}, mempool.TxInfo{})
		if err != nil {
			result <- mempoolError(err)
		}
	}()
	select {
	case err := <-result:
		if n.ended() {
			return ErrStopped
		}
		return err
	case <-n.stopped:
		return ErrStopped
	case <-n.quit:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended reports whether consensus is over or the node is being closed.
func (n *Node) ended() bool {
	select {
	case <-n.stopped:
		return true
	case <-n.quit:
		return true
	default:
		return false
	}
}

func mempoolError(err error) error {
	var large mempool.ErrTxTooLarge
	switch {
	case errors.Is(err, mempool.ErrTxInCache):
		return nil // under way, or committed already
	case errors.As(err, &large):
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return fmt.Errorf("%w: %v", ErrBusy, err)
}

// poke looks after pending headers. The chain makes a few blocks for them and falls silent;
// when this node's own signer works (again), one poke transaction makes it try once more.
// As long as it does not work, or this node is no validator, there is nothing to poke for.
func (n *Node) poke(ctx context.Context) {
	t := time.NewTicker(n.config.PokeInterval)
	defer t.Stop()
	var height uint64
	var next time.Time
	pause := n.config.PokeInterval
	for {
		select {
		case <-n.quit:
			return
		case <-n.stopped:
			return
		case <-t.C:
		}
		m, able, err := n.canCosign()
		if err != nil {
			n.log.Error("cannot look after pending headers", "error", err)
			continue
		}
		if m.pending == 0 || !able {
			next, pause = time.Time{}, n.config.PokeInterval
			continue
		}
		if m.height != height || time.Now().Before(next) {
			height = m.height // blocks are still coming, or the last poke brought nothing
			continue
		}
		// Every node's poke at this height is the same transaction: the chain sees one.
		limited, cancel := context.WithTimeout(ctx, n.config.PokeInterval)
		err = n.broadcast(limited, encodePoke(m.height))
		cancel()
		n.log.Info("poked the chain for pending headers", "pending", m.pending, "height", m.height, "error", err)
		pause = min(2*pause, maxPokeInterval)
		next = time.Now().Add(pause)
	}
}

// canCosign reports whether this node can sign some pending header now. What it signs is
// kept for the vote that the poke leads to.
func (n *Node) canCosign() (*meta, bool, error) {
	a := n.home.app
	raw, err := a.store.get(metaKey)
	if err != nil {
		return nil, false, err
	}
	m, err := decodeMeta(raw)
	if err != nil || m.pending == 0 {
		return m, false, err
	}
	headers, err := a.window(m)
	if err != nil {
		return nil, false, err
	}
	items, err := a.cosignItems(m.epochOf(m.height+1), headers)
	return m, len(items) > 0, err
}

// NodeKey returns the public half of the key that names this node among its peers.
func (n *Node) NodeKey() ed25519.PublicKey { return n.config.NodeKey.Public().(ed25519.PublicKey) }
