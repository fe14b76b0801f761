// Package bsn anchors checkpoints on a Fabric application behind BSN gateways, in key-trust
// mode: the gateway holds the keys that sign transactions, the application signs its requests.
//
// What a gateway answers counts only with its mac, checked under a pinned key before anything
// else is looked at. Answers do not repeat the question, so each is checked to be about what
// was asked: entries carry their key, blocks their transactions. A replayed or old answer
// costs a round, never a wrong result.
//
// Entries are numbered (package bsnproof) and written with the base chaincode's set, which
// creates a key once. So a submission whose answer was lost can be made again: at most one of
// them comes to be.
package bsn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"stele/crypto/merkle"
	"stele/notary/anchor"
	"stele/notary/bsnproof"
	"stele/notary/checkpoint"
	"stele/notary/gateway"
)

// Poster carries a request to a gateway.
//
// Post sends the JSON text to an address and returns the body of an answer with the status
// 200 that is at most limit bytes long; anything else is an error. It follows no redirects,
// does not retry, and ends with ctx. It is safe for concurrent use.
type Poster interface {
	Post(ctx context.Context, url string, body []byte, limit int64) ([]byte, error)
}

// Config names an application. All fields but the last four are needed.
type Config struct {
	Gateways   []string // addresses without a path; the first that works is used
	UserCode   string
	App        string // app code
	ChainCode  string // deployment name of the base chaincode, cc_<app>_NN
	Key        *gateway.PrivateKey
	GatewayKey *gateway.PublicKey
	Post       Poster
	Now        func() time.Time

	UserName string        // sub-user that transactions are made as; empty for the participant itself
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

// flight is a submission that was accepted and is not in a block yet, as far as is known.
type flight struct {
	n    uint64
	txID string
	at   time.Time
}

// New returns the application behind gateways.
func New(c Config) (*Target, error) {
	switch {
	case len(c.Gateways) == 0:
		return nil, errors.New("a gateway's address is needed")
	case !bsnproof.ValidApp(c.App) || c.UserCode == "" || c.ChainCode == "":
		return nil, errors.New("user code, app code and the chaincode's deployment name are needed")
	case c.Key == nil || c.GatewayKey == nil || c.Post == nil || c.Now == nil:
		return nil, errors.New("the application's key and the gateway's public key are needed")
	case c.Key.Public().Algorithm() != c.GatewayKey.Algorithm():
		return nil, fmt.Errorf("the application's key is for %s, the gateway's for %s", c.Key.Public().Algorithm(), c.GatewayKey.Algorithm())
	}
	for _, d := range []struct {
		set *time.Duration
		to  time.Duration
	}{{&c.Timeout, defaultTimeout}, {&c.Poll, defaultPoll}, {&c.Patience, defaultPatience}} {
		if *d.set == 0 {
			*d.set = d.to
		}
	}
	return &Target{conf: c, known: map[string]entry{}}, nil
}

// Kind is the kind of the evidence.
func (t *Target) Kind() string { return bsnproof.KindFabric }

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
		e, _, err := t.entry(ctx, origin, probe)
		switch {
		case errors.Is(err, errNoEntry):
			absent = probe
		case err != nil:
			return last, err
		case e.c.Size <= last.c.Size:
			return last, fmt.Errorf("%w: entry %d has the size %d, entry %d before it %d", anchor.ErrFork, e.n, e.c.Size, last.n, last.c.Size)
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

// entry reads one entry, with the signed answer that says so.
func (t *Target) entry(ctx context.Context, origin string, n uint64) (entry, gateway.HistoryEntry, error) {
	_, written, err := t.history(ctx, origin, n)
	if err != nil {
		return entry{}, written, err
	}
	var stored gateway.StoredData
	if err := json.Unmarshal([]byte(written.DataInfo), &stored); err != nil || stored.BaseKey != bsnproof.Key(origin, n) {
		return entry{}, written, fmt.Errorf("%w: the gateway answered about the key %q when asked for entry %d", anchor.ErrUnavailable, stored.BaseKey, n)
	}
	c, _, err := bsnproof.ParseValue(stored.BaseInfo)
	if err != nil || c.Origin != origin {
		return entry{}, written, fmt.Errorf("%w: entry %d was written by somebody else: %v", anchor.ErrFork, n, err)
	}
	return entry{n, c}, written, nil
}

// history asks for everything that was ever written under an entry's key.
func (t *Target) history(ctx context.Context, origin string, n uint64) (bsnproof.Signed[gateway.ChainCodeAnswer], gateway.HistoryEntry, error) {
	answer, err := t.run(ctx, gateway.FuncHistory, bsnproof.Key(origin, n))
	if err != nil {
		return answer, gateway.HistoryEntry{}, err
	}
	res := answer.Body.CCRes
	var list []gateway.HistoryEntry
	if res.CCCode != gateway.CCOK {
		return answer, gateway.HistoryEntry{}, fmt.Errorf("%w: getHistory: %d %s", anchor.ErrUnavailable, res.CCCode, res.CCData)
	}
	if err := json.Unmarshal([]byte(res.CCData), &list); err != nil {
		return answer, gateway.HistoryEntry{}, fmt.Errorf("%w: getHistory gave no list: %v", anchor.ErrUnavailable, err)
	}
	switch {
	case len(list) == 0:
		return answer, gateway.HistoryEntry{}, errNoEntry
	case len(list) > 1 || list[0].IsDelete:
		return answer, gateway.HistoryEntry{}, fmt.Errorf("%w: entry %d was changed after it was written", anchor.ErrFork, n)
	}
	return answer, list[0], nil
}

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
	case last.c.Size != s.OldSize || last.n >= bsnproof.MaxEntries:
		return anchor.ErrStale
	}
	if flying, err := t.flying(ctx, last.n+1); err != nil || flying {
		return err
	}
	data, err := json.Marshal(gateway.BaseData{BaseKey: bsnproof.Key(c.Origin, last.n+1), BaseValue: bsnproof.Value(c, s.Signature)})
	if err != nil {
		return err
	}
	answer, err := t.run(ctx, gateway.FuncSet, string(data))
	if err != nil {
		return err
	}
	info, res := answer.Body.BlockInfo, answer.Body.CCRes
	switch {
	case res.CCCode != gateway.CCOK && strings.Contains(res.CCData, gateway.CCKeyExists):
		return anchor.ErrStale // another server was faster, or an answer was lost: the next look shows it
	case res.CCCode != gateway.CCOK:
		return fmt.Errorf("%w: set: %d %s", anchor.ErrUnavailable, res.CCCode, res.CCData)
	case info.Status > gateway.StatusValid:
		return fmt.Errorf("%w: set: the transaction has the status %d", anchor.ErrUnavailable, info.Status)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flight = flight{last.n + 1, info.TxID, t.conf.Now()}
	return nil
}

// flying reports whether the submission of an entry may still come into a block. What the
// gateway cannot tell yet is not submitted again until patience ends.
func (t *Target) flying(ctx context.Context, n uint64) (bool, error) {
	t.mu.Lock()
	f := t.flight
	t.mu.Unlock()
	if f.n != n || t.conf.Now().Sub(f.at) > t.conf.Patience {
		return false, nil
	}
	block, err := call[gateway.BlockAnswer](ctx, t, gateway.PathBlockInfo, gateway.BlockRequest{TxID: f.txID}, true)
	if errors.Is(err, errSaidNo) {
		return true, nil // not in a block yet
	}
	if err != nil {
		return false, err
	}
	for _, tx := range block.Body.Transactions {
		if tx.TxID == f.txID && tx.Status > gateway.StatusValid { // it is in a block, without effect
			t.mu.Lock()
			t.flight = flight{}
			t.mu.Unlock()
			return false, nil
		}
	}
	return true, nil
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
	e := bsnproof.Fabric{App: t.conf.App}
	var written gateway.HistoryEntry
	if e.History, written, err = t.history(ctx, c.Origin, last.n); err != nil {
		return nil, err
	}
	if e.Block, err = call[gateway.BlockAnswer](ctx, t, gateway.PathBlockInfo, gateway.BlockRequest{TxID: written.TxID}, true); err != nil {
		return nil, pendingIfNo(err)
	}
	if e.Ledger, err = call[gateway.LedgerAnswer](ctx, t, gateway.PathLedgerInfo, nil, true); err != nil {
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
