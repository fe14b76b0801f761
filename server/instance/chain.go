package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/chain"
	"stele/notary/log/anchor"
	"stele/notary/log/anchor/egov"
	"stele/notary/outage"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// chainKeeper runs the embedded chain. When its consensus stops, for instance because its
// disk is full, intake goes on without it: the keeper says that it is unavailable, closes
// the node and tries to start it again until it works. It is safe for concurrent use.
type chainKeeper struct {
	config  chain.Config
	log     *slog.Logger
	clock   func() error // nothing is handed to the chain while it returns an error
	outages *outage.Tracker
	changed notary.Signal

	// ready is what must be done with a node before anything is anchored on it; its error is final
	// where it is [anchor.ErrMismatch]. Set before the keeper starts.
	ready func(context.Context, *chain.Node) error

	mu     sync.Mutex
	node   *chain.Node  // guarded by mu; nil while there is none
	target *egov.Target // guarded by mu; of that node
	until  time.Time    // guarded by mu; the chain takes nothing before: its last block is of this time
}

var _ anchor.Target = (*chainKeeper)(nil)

var errChainDown = errors.New("the embedded chain is not running")

// Pauses between two attempts to start a chain that has stopped, and how long a stopped
// node may take to close: after a consensus failure parts of the engine may hang for ever.
const (
	chainRetryFirst = time.Second
	chainRetryMost  = time.Minute
	chainCloseTime  = 10 * time.Second
)

// openChain starts the chain of this instance, or finds the nodes that run it. With neither, another
// server of the instance anchors.
func (in *Instance) openChain(ctx context.Context, pass keystore.Secret) error {
	switch in.Config.Chain {
	case "embedded":
		return in.openEmbedded(ctx, pass)
	case "nodes":
		return in.openNetwork(ctx)
	}
	return nil
}

func (in *Instance) openEmbedded(ctx context.Context, pass keystore.Secret) error {
	c := in.Config
	cosign, err := keystore.Load(c.keyPath(fileCosignKey), pass)
	if err != nil {
		return fmt.Errorf("the chain's cosigning key: %w", err)
	}
	consensus, err := keystore.LoadEd25519(c.keyPath(fileConsensusKey), pass)
	if err != nil {
		return fmt.Errorf("the chain's consensus key: %w", err)
	}
	nodeKey, err := keystore.LoadEd25519(c.keyPath(fileNodeKey), pass)
	if err != nil {
		return fmt.Errorf("the chain's node key: %w", err)
	}
	genesis, err := in.genesis()
	if err != nil {
		return err
	}
	if !genesis.Validators[0].Key.Equal(cosign.Public()) {
		return fmt.Errorf("%w: %s is not the key of the chain %s. If its nodes run elsewhere, set chain=nodes and "+
			"chain-nodes; else correct the key folder", ErrForeign, c.keyPath(fileCosignKey), genesis.Chain)
	}
	in.chain = &chainKeeper{log: in.log, outages: in.outages, clock: in.clock.Check,
		config: chain.Config{Home: c.path(folderChain),
			Genesis: genesis, ConsensusKey: consensus, NodeKey: nodeKey, Cosign: cosign.Sign,
			CosignKey: cosign.Public(),
			Log:       in.log.With("part", "chain")}}
	in.chain.ready = func(ctx context.Context, node *chain.Node) error {
		if err := admitOwnKey(ctx, node, &in.signer.Verifier, cosign); err != nil {
			return fmt.Errorf("make the chain admit the log's key: %w", err)
		}
		return in.belongs(ctx, node)
	}
	in.jobs.addCloser(stageChain, "chain", in.chain.run, in.chain.Close)
	in.outages.Watch(outage.Chain, in.chain.answers)
	if err := in.chain.open(context.WithoutCancel(ctx), in.clock.Confirmed()); err != nil {
		return fmt.Errorf("start the chain: %w", moveHint(err))
	}
	return nil
}

// open starts the chain; at the start of the server a failure is final. But where others confirm
// this machine's clock, a last block of a time to come was made with a clock that was ahead: records
// are taken in without the chain, which is started when that time has passed.
func (k *chainKeeper) open(ctx context.Context, confirmed bool) error {
	err := k.start(ctx)
	var ahead *chain.AheadError
	if !errors.As(err, &ahead) || !confirmed {
		return err
	}
	k.log.ErrorContext(ctx, "nothing is anchored until the time of the chain's last block has passed; records are "+
		"received and logged", "until", ahead.Last, "error", err)
	return nil
}

func (k *chainKeeper) start(ctx context.Context) error {
	node, err := chain.Start(ctx, k.config)
	var ahead *chain.AheadError
	if errors.As(err, &ahead) {
		k.mu.Lock()
		k.until = ahead.Last
		k.mu.Unlock()
	}
	if err != nil {
		return err
	}
	if err := k.ready(ctx, node); err != nil {
		return errors.Join(err, closeNode(node))
	}
	k.mu.Lock()
	k.node, k.target, k.until = node, egov.New(node), time.Time{}
	k.mu.Unlock()
	k.changed.Notify()
	return nil
}

// waiting is the time before which the chain takes nothing; zero where it does not wait for one.
func (k *chainKeeper) waiting() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.until
}

// run watches the node until ctx ends.
func (k *chainKeeper) run(ctx context.Context) error {
	for {
		k.mu.Lock()
		node := k.node
		k.mu.Unlock()
		if node == nil { // it waits for its time
			if done, err := k.restart(ctx); done {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-node.Failed():
		}
		k.outages.Report(outage.Chain, outage.Because("its consensus has stopped",
			errors.New("the chain's consensus has stopped; records are received and logged, not anchored, until it "+
				"runs again")))
		k.drop()
		if err := closeNode(node); err != nil {
			k.log.WarnContext(ctx, "closing the stopped chain", "error", err)
		}
		if done, err := k.restart(ctx); done {
			return err
		}
		k.outages.Report(outage.Chain, nil)
	}
}

// restart tries until the chain runs; done means that it is not to run any more.
func (k *chainKeeper) restart(ctx context.Context) (done bool, err error) {
	starting := outage.NewLoop(nil, k.log)
	for wait := chainRetryFirst; ; wait = min(2*wait, chainRetryMost) {
		select {
		case <-ctx.Done():
			return true, nil
		case <-time.After(max(wait, min(time.Until(k.waiting()), chainRetryMost))):
		}
		// The node outlives this attempt's context: it is stopped by Close.
		err := k.start(context.WithoutCancel(ctx))
		switch {
		case err == nil:
			starting.Worked(ctx, "the chain's start")
			return false, nil
		case errors.Is(err, anchor.ErrMismatch):
			return true, err
		}
		starting.Failed(ctx, slog.LevelError, "the chain cannot be started, will try again", err)
	}
}

func (k *chainKeeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.node, k.target = nil, nil
}

func closeNode(node *chain.Node) error {
	done := make(chan error, 1)
	go func() { done <- node.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(chainCloseTime):
		return errors.New("the engine does not close; only a restart of the server will free it")
	}
}

func (k *chainKeeper) running() (*egov.Target, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.target == nil {
		return nil, errors.Join(anchor.ErrUnavailable, errChainDown)
	}
	return k.target, nil
}

// Kind implements [anchor.Target].
func (k *chainKeeper) Kind() string { return anchorproof.Kind }

// Submit implements [anchor.Target].
func (k *chainKeeper) Submit(ctx context.Context, s anchor.Submission) error {
	t, err := k.running()
	if err != nil {
		return err
	}
	if err := k.clock(); err != nil { // the block would say the wrong time for ever
		return errors.Join(anchor.ErrUnavailable, err)
	}
	return t.Submit(ctx, s)
}

// Evidence implements [anchor.Target].
func (k *chainKeeper) Evidence(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	t, err := k.running()
	if err != nil {
		return nil, err
	}
	return t.Evidence(ctx, c)
}

// Head implements [anchor.Target].
func (k *chainKeeper) Head(ctx context.Context, origin string) (uint64, merkle.Hash, error) {
	t, err := k.running()
	if err != nil {
		return 0, merkle.Hash{}, err
	}
	return t.Head(ctx, origin)
}

// Changed implements [anchor.Target].
func (k *chainKeeper) Changed() <-chan struct{} {
	t, err := k.running()
	if err != nil {
		return k.changed.Changed()
	}
	return t.Changed()
}

// Status reads the chain's state.
func (k *chainKeeper) Status() (chain.Status, error) {
	node, err := k.current()
	if err != nil {
		return chain.Status{}, err
	}
	return node.Status()
}

// answers says what keeps the chain from taking anything.
func (k *chainKeeper) answers(context.Context) error {
	_, err := k.Status()
	if until := k.waiting(); err != nil && !until.IsZero() {
		return outage.Because("it takes nothing before "+until.Format(time.RFC3339)+", the time of its last block", err)
	} else if err != nil {
		return outage.Because("its consensus does not run", err)
	}
	return nil
}

// current is the node that runs.
func (k *chainKeeper) current() (*chain.Node, error) {
	k.mu.Lock()
	node := k.node
	k.mu.Unlock()
	if node == nil {
		return nil, errChainDown
	}
	select {
	case <-node.Failed():
		return nil, errChainDown
	default:
		return node, nil
	}
}

// Close stops the node. run must have ended.
func (k *chainKeeper) Close() error {
	k.mu.Lock()
	node := k.node
	k.mu.Unlock()
	if node == nil {
		return nil
	}
	return closeNode(node)
}
