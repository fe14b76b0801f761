package chain

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/cometbft/cometbft/config"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/types"

	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
)

// Config is what a node needs. No key is read from or written to the home folder.
type Config struct {
	// Home holds the node's files; made by [Init], by nobody else.
	Home string
	// Genesis is epoch 0: the chain's name, first validators and first logs. All nodes of a
	// chain must have the same; it cannot be changed later, see [Node.SubmitEpoch].
	Genesis anchorproof.Epoch
	// ConsensusKey signs the engine's votes. Two running nodes must never share one.
	ConsensusKey ed25519.PrivateKey
	// NodeKey names the node among its peers and secures their connections.
	NodeKey ed25519.PrivateKey
	// Cosign signs with this validator's SM2 key. It may block and fail: the node then
	// abstains and asks again later. It is called from one goroutine at a time.
	Cosign func(message []byte) ([]byte, error)
	// CosignKey is the public half; every signature is verified with it before use.
	CosignKey *sm.PublicKey

	// ListenAddress is host:port for peers. Default 127.0.0.1:0: the engine always listens.
	ListenAddress string
	// Peers are the other nodes, see [PeerAddress]. Without peers the node is alone: it
	// waits for nobody and checks its clock at start.
	Peers []string

	// Clock tells whether a header's time can be vouched for. Default time.Now. The engine
	// has its own clock, which is always the machine's.
	Clock func() time.Time
	// Log takes everything that the node and the engine have to say. Default: nothing.
	Log *slog.Logger

	// TimeoutPropose is how long a round waits for its proposer. Default 500 ms alone, 1 s with peers.
	TimeoutPropose time.Duration
	// TimeoutCommit is how long a block waits for late votes, to collect all cosigners.
	// Alone it is nothing; with peers the default is 200 ms.
	TimeoutCommit time.Duration
	// PokeInterval is how often pending headers are looked after. Default 2 s.
	PokeInterval time.Duration

	// RetainBlocks is how many of the newest blocks the engine keeps, 0 for all. Evidence does
	// not come from blocks; but a new node catches up only from nodes that have them all.
	RetainBlocks uint64

	hooks hooks
}

// maxPokeInterval bounds the growing pause between pokes that bring nothing: 300 blocks an
// hour at most while other validators' signers are away.
const maxPokeInterval = 5 * time.Minute

// maxDialPause bounds the growing pause between attempts to reach a peer that is away: the
// engine's own grows to hours, and a city's node that comes back would stay alone for them.
const maxDialPause = 5 * time.Second

// peerIDs are the node ids in a list of peers.
func peerIDs(peers []string) (out []string) {
	for _, p := range peers {
		id, _, _ := strings.Cut(p, "@")
		out = append(out, id)
	}
	return out
}

func (c Config) alone() bool { return len(c.Peers) == 0 }

// withDefaults checks a configuration and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	if err := c.Genesis.Check(); err != nil {
		return c, fmt.Errorf("chain configuration: genesis: %w", err)
	}
	switch {
	case c.Home == "":
		return c, errors.New("chain configuration: home folder is missing")
	case c.Genesis.Number != 0:
		return c, fmt.Errorf("chain configuration: genesis must be epoch 0, not %d", c.Genesis.Number)
	case len(c.ConsensusKey) != ed25519.PrivateKeySize:
		return c, errors.New("chain configuration: consensus key is missing")
	}
	if c.ListenAddress == "" {
		c.ListenAddress = "127.0.0.1:0"
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.TimeoutPropose == 0 {
		c.TimeoutPropose = 500 * time.Millisecond
		if !c.alone() {
			c.TimeoutPropose = time.Second
		}
	}
	if c.TimeoutCommit == 0 && !c.alone() {
		c.TimeoutCommit = 200 * time.Millisecond
	}
	if c.PokeInterval == 0 {
		c.PokeInterval = 2 * time.Second
	}
	return c, nil
}

// checkRunning checks what only a running node needs.
func (c Config) checkRunning() error {
	if len(c.NodeKey) != ed25519.PrivateKeySize {
		return errors.New("chain configuration: node key is missing")
	}
	if c.Cosign == nil || c.CosignKey == nil {
		return errors.New("chain configuration: SM2 key for cosigning is missing")
	}
	if i := validatorIndex(c.Genesis, c.address()); i >= 0 && !c.Genesis.Validators[i].Key.Equal(c.CosignKey) {
		return fmt.Errorf("chain configuration: epoch 0 has another SM2 key for %s than the one that cosigns",
			c.Genesis.Validators[i].Name)
	}
	return nil
}

func (c Config) publicKey() ed25519.PublicKey { return c.ConsensusKey.Public().(ed25519.PublicKey) }

// address is the engine's name for the consensus key.
func (c Config) address() []byte {
	return consensusAddress([anchorproof.ConsensusKeySize]byte(c.publicKey()))
}

// NodeID is the engine's name for a node: 40 hex digits made of its node key.
func NodeID(nodeKey ed25519.PublicKey) string {
	return string(p2p.PubKeyToID(cmted25519.PubKey(nodeKey)))
}

// PeerAddress is what Config.Peers wants to know of another node: its node key and where it
// listens for peers (host:port).
func PeerAddress(nodeKey ed25519.PublicKey, hostPort string) string {
	return NodeID(nodeKey) + "@" + hostPort
}

// genesisTime is the same for every chain, so that the engine's genesis follows from epoch 0
// alone and cannot lie in the future (the engine would sleep until then). No header's time
// comes from it: those are times of later blocks.
var genesisTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// maxBlockBytes bounds a block; a checkpoint takes 0.2 to 2 KB, by the length of its proof.
const maxBlockBytes = 1 << 20

// genesisDoc is the engine's genesis. It names no validators: InitChain returns those of
// epoch 0, so that there is one source of truth.
func genesisDoc(genesis anchorproof.Epoch) (*types.GenesisDoc, error) {
	state, err := json.Marshal(genesis.Text())
	if err != nil {
		return nil, err
	}
	p := types.DefaultConsensusParams()
	p.ABCI.VoteExtensionsEnableHeight = 1
	p.Block.MaxBytes = maxBlockBytes
	return &types.GenesisDoc{ChainID: genesis.Chain, GenesisTime: genesisTime, InitialHeight: 1, ConsensusParams: p,
		AppState: state}, nil
}

// engineConfig is the engine's configuration: silent when idle, no RPC, no key files.
func (c Config) engineConfig() (*config.Config, error) {
	e := config.DefaultConfig()
	e.SetRoot(c.Home)
	e.Moniker = c.Genesis.Chain
	e.DBBackend = "goleveldb"
	e.RPC.ListenAddress = ""
	e.Instrumentation.Prometheus = false
	e.TxIndex.Indexer = "null"
	e.Storage.DiscardABCIResponses = true

	e.P2P.AddrBook = filepath.Join("data", "addrbook.json")
	e.P2P.ListenAddress = "tcp://" + c.ListenAddress
	e.P2P.PersistentPeers = strings.Join(c.Peers, ",")
	e.P2P.PersistentPeersMaxDialPeriod = maxDialPause
	e.P2P.UnconditionalPeerIDs = strings.Join(peerIDs(c.Peers), ",") // strangers cannot take their places
	e.P2P.PexReactor = false                                         // members are known; nobody is discovered
	e.P2P.AddrBookStrict = false
	e.P2P.AllowDuplicateIP = true
	e.P2P.FlushThrottleTimeout = 5 * time.Millisecond

	e.Consensus.CreateEmptyBlocks = false
	e.Consensus.TimeoutPropose = c.TimeoutPropose
	e.Consensus.TimeoutPrevote = 200 * time.Millisecond
	e.Consensus.TimeoutPrecommit = 200 * time.Millisecond
	e.Consensus.TimeoutCommit = c.TimeoutCommit
	e.Consensus.SkipTimeoutCommit = c.TimeoutCommit == 0
	e.Consensus.PeerGossipSleepDuration = 10 * time.Millisecond

	e.Mempool.Size = 1000
	e.Mempool.CacheSize = 2000
	e.Mempool.MaxTxBytes = maxTxBytes
	e.Mempool.KeepInvalidTxsInCache = false
	if err := e.ValidateBasic(); err != nil {
		return nil, fmt.Errorf("engine configuration: %w", err)
	}
	return e, nil
}
