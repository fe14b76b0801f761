package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/outage"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/server/clock"
	"stele/server/remote/chainnet"
)

// chainNodes are the addresses of chain-nodes.
func (c Config) chainNodes() (out []string) {
	for _, a := range strings.Split(c.ChainNodes, ",") {
		if a = strings.TrimSpace(a); a != "" {
			out = append(out, a)
		}
	}
	return out
}

// filePrepared says that the key folder holds keys for an instance to come.
const filePrepared = "prepared.json"

// preparation is what the keys were made for.
type preparation struct {
	Origin       string `json:"origin"`
	Organization string `json:"organization"`
}

// Prepare makes the keys of an instance to come and returns the log's public key, which the
// members of a network enter into their genesis. [Init] with the same names uses them.
func Prepare(c Config, req InitRequest, now time.Time) (logKey string, err error) {
	if Exists(c) {
		return "", fmt.Errorf("there is an instance in %s already: choose another data folder", c.Data)
	}
	if !signednote.ValidName(req.Origin) {
		return "", errors.New("an origin is printable ASCII without spaces and plus signs")
	}
	p, err := readPrepared(c)
	if err != nil {
		return "", err
	}
	if p != nil { // again: the same key
		pass, err := c.passphrase()
		if err != nil {
			return "", err
		}
		key, err := keysOf(c, req, p, pass, now)
		if err != nil {
			return "", err
		}
		return signednote.FormatKey(req.Origin, key.Public()), nil
	}
	if entries, err := os.ReadDir(c.Keys); err == nil && hasKeys(entries) {
		return "", fmt.Errorf("the key folder %s holds keys already: choose another one", c.Keys)
	}
	if err := os.MkdirAll(c.Keys, 0o700); err != nil {
		return "", err
	}
	pass, err := c.passphrase()
	if err != nil {
		return "", err
	}
	key, err := initKeys(c, req, pass, now)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(preparation{req.Origin, req.Organization})
	if err != nil {
		return "", err
	}
	return signednote.FormatKey(req.Origin, key.Public()), writeFile(c.keyPath(filePrepared), append(text, '\n'))
}

// PreparedOrigin is the origin that keys were prepared for, "" when there are none.
func PreparedOrigin(c Config) (string, error) {
	p, err := readPrepared(c)
	if p == nil {
		return "", err
	}
	return p.Origin, nil
}

// readPrepared is nil when no keys were prepared.
func readPrepared(c Config) (*preparation, error) {
	text, err := os.ReadFile(c.keyPath(filePrepared))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var p preparation
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", c.keyPath(filePrepared), err)
	}
	return &p, nil
}

// keysOf makes the keys of a new instance, or takes those that were prepared for it.
func keysOf(c Config, req InitRequest, p *preparation, pass keystore.Secret, now time.Time) (*sm.PrivateKey, error) {
	if p == nil {
		return initKeys(c, req, pass, now)
	}
	if p.Origin != req.Origin || p.Organization != req.Organization {
		return nil, fmt.Errorf("the keys in %s were prepared for the log %s of %s, not for %s of %s", c.Keys, p.Origin,
			p.Organization, req.Origin, req.Organization)
	}
	return keystore.Load(c.keyPath(fileLogKey), pass)
}

// chainOf founds the embedded chain, or checks the genesis of a network.
func chainOf(c Config, req InitRequest, pass keystore.Secret, logKey *sm.PublicKey) (anchorproof.Epoch, error) {
	if req.Genesis == nil {
		return initChain(c, req, pass, logKey)
	}
	return *req.Genesis, madeFor(*req.Genesis, req.Origin, logKey)
}

// madeFor refuses a genesis that has another key for a log.
func madeFor(g anchorproof.Epoch, origin string, key *sm.PublicKey) error {
	if k := g.Notary(origin); k != nil && !k.Equal(key) {
		return fmt.Errorf("the genesis has another key for the log %s than this instance: it was made for another "+
			"instance", origin)
	}
	return nil
}

// admits reports whether an epoch takes checkpoints of a log that this key signs.
func admits(e anchorproof.Epoch, origin string, key *sm.PublicKey) bool {
	k := e.Notary(origin)
	return k != nil && k.Equal(key)
}

// nodes are the configured nodes, of the chain with this epoch 0.
func (s *Stores) nodes(genesis anchorproof.Epoch, log *slog.Logger) (*chainnet.Target, error) {
	token, err := secretFile(s.Config.ChainTokenFile)
	if err != nil {
		return nil, err
	}
	return chainnet.New(genesis, s.Config.chainNodes(), token, time.Now, log)
}

// genesis is the pinned first epoch of the instance's present chain.
func (s *Stores) genesis() (anchorproof.Epoch, error) {
	for _, c := range s.Trust.Chains {
		if c.Genesis.Hash().String() == s.id.Epoch0 {
			return c.Genesis, nil
		}
	}
	return anchorproof.Epoch{}, fmt.Errorf("%w: the trust roots do not pin the instance's chain %s with epoch 0 %s. "+
		"If the log was moved, copy trust.json from the server where that was done", ErrForeign, s.id.Chain,
		s.id.Epoch0)
}

// openNetwork prepares anchoring through nodes elsewhere. That none answers at the moment
// stops nothing: documents are taken in, and anchored when the network is back.
func (in *Instance) openNetwork(ctx context.Context) error {
	genesis, err := in.genesis()
	if err != nil {
		return err
	}
	if in.network, err = in.nodes(genesis, in.log.With("part", "chain")); err != nil {
		return err
	}
	in.clock.Add(clock.Source{Name: "the chain's nodes", Now: in.network.Now})
	in.outages.Watch(outage.Chain, func(context.Context) error { return in.nodesDown() })
	in.jobs.add(stageOffice, "chain nodes", in.watchNetwork)
	return moveHint(in.network.Check(ctx))
}

// watchNetwork watches the nodes until ctx ends, or until it shows that they are of another chain.
func (in *Instance) watchNetwork(ctx context.Context) error { return moveHint(in.network.Run(ctx)) }

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
	case chainview.QuorumLost(in.network.Members(), nodes):
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
			names = append(names, fmt.Sprintf("number %d of chain-nodes since %s", i+1,
				n.Since.UTC().Format(time.RFC3339)))
		default:
			names = append(names, fmt.Sprintf("%s since %s", n.Name, n.Since.UTC().Format(time.RFC3339)))
		}
	}
	return up, strings.Join(names, ", ")
}

// chainViews hands out what the explorer shows. A view is shared for a moment: the public
// asks for it, and the chain's nodes must not feel that. It is safe for concurrent use.
type chainViews struct {
	take func(context.Context) (chainview.View, error)
	now  func() time.Time

	mu   sync.Mutex
	at   time.Time      // guarded by mu
	view chainview.View // guarded by mu
	err  error          // guarded by mu
}

const (
	viewAge  = 2 * time.Second
	viewTime = 5 * time.Second // to ask for one
)

// View returns a view that is at most viewAge old. Callers that come meanwhile wait for the
// one that asks.
func (c *chainViews) View(ctx context.Context) (chainview.View, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.at.IsZero() || now.Sub(c.at) > viewAge || now.Before(c.at) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), viewTime)
		defer cancel()
		c.view, c.err = c.take(ctx)
		c.at = c.now()
	}
	return c.view, c.err
}

// explorer is where views of this instance's chain come from; nil where another server
// anchors.
func (in *Instance) explorer() func(context.Context) (chainview.View, error) {
	c := &chainViews{now: time.Now}
	switch {
	case in.network != nil:
		c.take = in.network.View
	case in.chain != nil:
		c.take = in.embeddedView
	default:
		return nil
	}
	return c.View
}

// embeddedView reads the chain in this process.
func (in *Instance) embeddedView(context.Context) (chainview.View, error) {
	n, err := in.chain.current()
	if err != nil {
		return chainview.View{}, fmt.Errorf("%w: %w", chainview.ErrUnavailable, err)
	}
	s, err := n.Status()
	if err != nil {
		return chainview.View{}, fmt.Errorf("%w: %w", chainview.ErrUnavailable, err)
	}
	src := chainview.Source{At: time.Now(), Height: s.Height, Headers: s.Headers, Pending: s.Pending}
	for i := uint64(1); i <= s.Epoch; i++ {
		e, err := n.Epoch(i)
		if err != nil {
			return chainview.View{}, err
		}
		src.Epochs = append(src.Epochs, e)
	}
	for i := max(s.Headers, chainview.MaxAnchors) - chainview.MaxAnchors; i < s.Headers; i++ {
		e, err := n.Entry(i)
		if err != nil {
			return chainview.View{}, err
		}
		src.Entries = append(src.Entries, chainview.Entry(e))
	}
	src.Nodes = []chainview.Node{{Name: s.Validators[0].Name, Reachable: true, Height: s.Height}}
	return chainview.Build(n.Genesis(), src)
}
