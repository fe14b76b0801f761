// Package bsn anchors checkpoints on an application behind BSN gateways, Fabric or FISCO BCOS, in key-trust
// mode: the gateway holds the keys that sign transactions, the application signs its requests.
//
// What a gateway answers counts only with its mac, checked under a pinned key before anything
// else is looked at. Answers do not repeat the question, so each is checked to be about what
// was asked: entries carry their key, blocks their transactions. A replayed or old answer
// costs a round, never a wrong result.
//
// Entries are numbered (package bsnproof). Fabric's base chaincode creates a key once, so a
// submission whose answer was lost can be made again: at most one of them comes to be. The
// base contract of FISCO BCOS does not: there a submission whose end is not known is waited
// for and looked for before another is made, and of two rows under one number the first counts.
package bsn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"stele/crypto/merkle"
	"stele/notary/log/anchor"
	"stele/notary/proof/bsnproof"
	"stele/notary/proof/bsnproof/gateway"
	"stele/notary/proof/checkpoint"
)

// Poster carries a request to a gateway.
//
// Post sends the JSON text to an address and returns the body of an answer with the status
// 200 that is at most limit bytes long; anything else is an error. It follows no redirects,
// does not retry, and ends with ctx. It is safe for concurrent use.
type Poster interface {
	Post(ctx context.Context, url string, body []byte, limit int64) ([]byte, error)
}

// Framework is what an application runs on.
type Framework string

// The frameworks.
const (
	Fabric Framework = "fabric"
	FISCO  Framework = "fisco"
)

// Config names an application. Framework is Fabric when it is empty; Contract is for FISCO
// BCOS. All other fields but the last four are needed.
type Config struct {
	Framework  Framework
	Gateways   []string // addresses without a path; the first that works is used
	UserCode   string
	App        string // app code
	ChainCode  string // deployment name of the base chaincode, cc_<app>_NN; name of the base contract
	Contract   string // address of the base contract
	Key        *gateway.PrivateKey
	GatewayKey *gateway.PublicKey
	Post       Poster
	Now        func() time.Time

	// sub-user that transactions are made as; empty for the participant itself, under FISCO BCOS for [defaultUser]
	UserName string
	Timeout  time.Duration // for one call
	Poll     time.Duration // how often an unfinished transaction is asked for
	Patience time.Duration // an unfinished transaction is given up after this
}

const (
	defaultTimeout  = 8 * time.Second
	defaultPoll     = time.Second // blocks are cut every two seconds as a rule
	defaultPatience = time.Minute
	maxAnswer       = 1 << 20 // bytes; a block of a thousand transactions has a fifth of it
)

// Target is one application. It is safe for concurrent use.
type Target struct {
	conf Config
	app  application

	mu      sync.Mutex
	current int              // guarded by mu: the gateway that is asked first
	known   map[string]entry // guarded by mu: by log, the newest entry that was seen; never an older one again
	flight  flight           // guarded by mu: the last submission, while its end is not known
}

var _ anchor.Target = (*Target)(nil)

// entry is one of the log's entries. The zero entry stands before the first.
type entry struct {
	n uint64
	c checkpoint.Checkpoint
}

// flight is a submission that may come into a block, as far as is known.
type flight struct {
	n    uint64
	txID string      // Fabric
	row  gateway.Row // FISCO BCOS
	at   time.Time
}

// application is what differs between frameworks.
type application interface {
	// kind of the evidence
	kind() string
	// entry reads the nth entry, or fails with errNoEntry
	entry(ctx context.Context, origin string, n uint64) (entry, error)
	// write writes the nth entry; it may come into a block when this fails too
	write(ctx context.Context, origin string, n uint64, value string) error
	// flying reports whether an earlier submission of the nth entry may still come into a block
	flying(ctx context.Context, origin string, n uint64) (bool, error)
	// evidence gathers the answers about the nth entry
	evidence(ctx context.Context, origin string, n uint64) (bsnproof.Evidence, error)
}

// New returns the application behind gateways.
func New(c Config) (*Target, error) {
	switch {
	case len(c.Gateways) == 0:
		return nil, errors.New("a gateway's address is needed")
	case c.Framework != "" && c.Framework != Fabric && c.Framework != FISCO:
		return nil, fmt.Errorf("%q is no framework", c.Framework)
	case c.Framework == FISCO && !bsnproof.Address(c.Contract):
		return nil, errors.New("the contract's address is needed: 0x and 40 lower-case hex digits")
	case !bsnproof.ValidApp(c.App) || c.UserCode == "" || c.ChainCode == "":
		return nil, errors.New("user code, app code and the chaincode's deployment name are needed")
	case c.Key == nil || c.GatewayKey == nil || c.Post == nil || c.Now == nil:
		return nil, errors.New("the application's key and the gateway's public key are needed")
	case c.Key.Public().Algorithm() != c.GatewayKey.Algorithm():
		return nil, fmt.Errorf("the application's key is for %s, the gateway's for %s", c.Key.Public().Algorithm(),
			c.GatewayKey.Algorithm())
	}
	for _, d := range []struct {
		set *time.Duration
		to  time.Duration
	}{{&c.Timeout, defaultTimeout}, {&c.Poll, defaultPoll}, {&c.Patience, defaultPatience}} {
		if *d.set == 0 {
			*d.set = d.to
		}
	}
	t := &Target{conf: c, known: map[string]entry{}}
	if t.app = application(fabric{t}); c.Framework == FISCO {
		t.app = &fisco{Target: t}
	}
	return t, nil
}

// Kind is the kind of the evidence.
func (t *Target) Kind() string { return t.app.kind() }

// Changed is closed after a while: a gateway does not tell when a block is cut.
func (t *Target) Changed() <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(t.conf.Poll, func() { close(c) })
	return c
}

// Head is the checkpoint of the log's newest entry.
func (t *Target) Head(ctx context.Context, origin string) (uint64, merkle.Hash, error) {
	e, err := t.head(ctx, origin)
	return e.c.Size, e.c.Root, err
}

// head finds the newest entry. Numbers have no gaps: steps that double find one that is not
// there, halving finds the last that is. Usually that is one question.
func (t *Target) head(ctx context.Context, origin string) (entry, error) {
	t.mu.Lock()
	last := t.known[origin]
	t.mu.Unlock()
	absent := uint64(0)
	for step := uint64(1); absent == 0 || absent > last.n+1; {
		probe := last.n + step
		if absent != 0 {
			probe = last.n + (absent-last.n)/2
		}
		e, err := t.app.entry(ctx, origin, probe)
		switch {
		case errors.Is(err, errNoEntry):
			absent = probe
		case err != nil:
			return last, err
		case e.c.Size <= last.c.Size:
			return last, fmt.Errorf("%w: entry %d has the size %d, entry %d before it %d", anchor.ErrFork, e.n,
				e.c.Size, last.n, last.c.Size)
		default:
			last = e
			step *= 2
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if last.n > t.known[origin].n {
		t.known[origin] = last
	}
	if t.flight.n <= last.n {
		t.flight = flight{}
	}
	return last, nil
}

var errNoEntry = errors.New("no such entry")

// Submit writes the checkpoint as the next entry. While an earlier submission of that entry
// may still come into a block, no other is made. The newest entry is the one that Head found.
func (t *Target) Submit(ctx context.Context, s anchor.Submission) error {
	c := s.Checkpoint
	t.mu.Lock()
	last := t.known[c.Origin]
	t.mu.Unlock()
	switch {
	case last.c == c:
		return nil
	// an entry that is no larger would make a fork of the chain for good
	case last.c.Size != s.OldSize || last.c.Size >= c.Size || last.n >= bsnproof.MaxEntries:
		return anchor.ErrStale
	}
	if flying, err := t.app.flying(ctx, c.Origin, last.n+1); err != nil || flying {
		return err
	}
	return t.app.write(ctx, c.Origin, last.n+1, bsnproof.Value(c, s.Signature))
}

// started keeps a submission in mind; an empty one forgets the last.
func (t *Target) started(f flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flight = f
}

// inFlight returns the submission of an entry that is kept in mind, and whether it is too
// early to make another.
func (t *Target) inFlight(n uint64) (f flight, early bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flight.n != n {
		return flight{}, false
	}
	return t.flight, t.conf.Now().Sub(t.flight.at) <= t.conf.Patience
}

// stored reads an entry's value.
func stored(origin string, n uint64, value string) (entry, error) {
	c, _, err := bsnproof.ParseValue(value)
	if err != nil || c.Origin != origin {
		return entry{}, fmt.Errorf("%w: entry %d was written by somebody else: %v", anchor.ErrFork, n, err)
	}
	return entry{n, c}, nil
}

// Evidence returns the signed answers that attest the log's newest entry, once they say that
// it is final. A checkpoint is pending as long as that entry is another.
func (t *Target) Evidence(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	last, err := t.head(ctx, c.Origin)
	if err != nil {
		return nil, err
	}
	switch {
	case last.c.Size == c.Size && last.c != c:
		return nil, fmt.Errorf("%w: entry %d has another root for the size %d", anchor.ErrFork, last.n, c.Size)
	case last.c != c:
		return nil, anchor.ErrPending
	}
	e, err := t.app.evidence(ctx, c.Origin, last.n)
	if err != nil {
		return nil, pendingIfNo(err)
	}
	raw, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	if _, err := e.Verify(t.conf.GatewayKey, c); err != nil {
		return nil, fmt.Errorf("%w: %w", anchor.ErrPending, err) // answers from different moments: ask again
	}
	return raw, nil
}

func pendingIfNo(err error) error {
	if errors.Is(err, errSaidNo) {
		return fmt.Errorf("%w: %w", anchor.ErrPending, err)
	}
	return err
}
