package chain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtcrypto "github.com/cometbft/cometbft/proto/tendermint/crypto"

	"stele/notary/proof/anchorproof"
)

// appVersion changes when the same transactions give another state: a coordinated stop.
const appVersion = 1

// app is the ABCI application. The engine calls it under one mutex (its local client), so
// the fields below need none of their own; everybody else reads the store.
//
// A refused transaction is an answer; an error from any method means that this node's own
// state cannot be read or written, and the engine halts, as it must.
type app struct {
	abci.BaseApplication
	store    *store
	cosigner *cosigner
	address  []byte // of this node's consensus key, as the engine computes it
	clock    func() time.Time
	log      *slog.Logger
	votedAt  func(height uint64) (time.Time, bool) // this node's own vote, from the sign state
	retain   uint64                                // newest blocks that the engine keeps, 0 for all
	onCommit func()                                // after each commit; must not block
	hooks    hooks
	refused  tally
	warned   uint64 // headers before this one are not warned of any more

	meta   *meta // as of the last commit
	staged *block
	seen   map[string]time.Time // first sight of proposals of the height under way, by hash

	epochs sync.Map // number to anchorproof.Epoch as committed; immutable
}

// hooks are for tests of this package.
type hooks struct {
	beforeCommit func(height uint64)
	extension    func([]byte) []byte // changes the extension of the own vote
}

// newApp takes over an initialised store.
func newApp(s *store) (*app, error) {
	raw, err := s.get(metaKey)
	if err != nil {
		return nil, err
	}
	a := &app{store: s, seen: map[string]time.Time{}}
	if a.meta, err = decodeMeta(raw); err != nil {
		return nil, err
	}
	return a, s.fillHistory(a.meta.history)
}

// epoch returns a committed epoch. It is safe for concurrent use.
func (a *app) epoch(number uint64) (e anchorproof.Epoch, err error) {
	if e, ok := a.epochs.Load(number); ok {
		return e.(anchorproof.Epoch), nil
	}
	err = a.store.view(func(get getter) error {
		s, err := loadEpoch(get, number)
		e = s.Epoch
		return err
	})
	if err == nil {
		a.epochs.Store(number, e)
	}
	return e, err
}

// newBlock begins a block on the committed state.
func (a *app) newBlock(height int64, t time.Time) *block {
	b := &block{overlay: newOverlay(a.store), meta: a.meta.clone(), height: uint64(height)}
	b.epochs = func(get getter, number uint64) (anchorproof.Epoch, error) {
		if _, own := b.changes[key("e/", number)]; own { // a hand-over of this very block is in no cache
			s, err := loadEpoch(get, number)
			return s.Epoch, err
		}
		return a.epoch(number)
	}
	b.begin(t.UnixMilli())
	return b
}

func (a *app) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	r := &abci.ResponseInfo{Data: "stele", AppVersion: appVersion, LastBlockHeight: int64(a.meta.height)}
	if a.meta.height > 0 {
		r.LastBlockAppHash = bytes.Clone(a.meta.appHash[:])
	}
	return r, nil
}

// InitChain hands the engine its first validators: those of epoch 0, which Init has stored.
// The engine calls it again when a crash came before the first block.
func (a *app) InitChain(_ context.Context, r *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var text string
	genesis, err := a.epoch(0)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(r.AppStateBytes, &text) != nil || text != genesis.Text() || r.ChainId != genesis.Chain {
		return nil, errors.New("the engine's genesis is of another chain")
	}
	return &abci.ResponseInitChain{AppHash: bytes.Clone(a.meta.appHash[:]),
		Validators: validatorUpdates(anchorproof.Epoch{}, genesis)}, nil
}

// CheckTx is as strict as execution: it is the execution, on a block of its own.
func (a *app) CheckTx(_ context.Context, r *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	b := a.newBlock(int64(a.meta.height)+1, time.UnixMilli(a.meta.timeMs+1))
	// Position 1: what comes by the mempool is never first, so never a certificate.
	err := b.exec(r.Tx, 1)
	if err == nil {
		return &abci.ResponseCheckTx{}, nil
	}
	if code, ok := codeOf(err); ok {
		// checked again, a transaction is stale because its twin was committed
		if reason := reasonOf(err); reason != "" && r.Type == abci.CheckTxType_New {
			a.refused.add(reason)
			a.log.Warn("refusing a transaction", "reason", reason, "error", err)
		}
		return &abci.ResponseCheckTx{Code: code, Log: err.Error()}, nil
	}
	// An error here would make the mempool panic. The failure shows again at execution.
	a.log.Error("cannot check a transaction", "error", err)
	return &abci.ResponseCheckTx{Code: codeUnreadable, Log: err.Error()}, nil
}

func (a *app) ExtendVote(_ context.Context, r *abci.RequestExtendVote) (*abci.ResponseExtendVote, error) {
	ext, err := a.extend(uint64(r.Height), r.Time)
	if err != nil {
		return nil, err
	}
	if a.hooks.extension != nil {
		ext = a.hooks.extension(ext)
	}
	return &abci.ResponseExtendVote{VoteExtension: ext}, nil
}

// VerifyVoteExtension accepts whatever is well formed and small. Bad or missing
// cosignatures are dropped when certificates are made: refusing the vote here would let
// two broken key devices of four stop the chain.
func (a *app) VerifyVoteExtension(_ context.Context, r *abci.RequestVerifyVoteExtension) (
	*abci.ResponseVerifyVoteExtension, error) {
	status := abci.ResponseVerifyVoteExtension_ACCEPT
	if _, ok := decodeExtension(r.VoteExtension); !ok {
		status = abci.ResponseVerifyVoteExtension_REJECT
	}
	return &abci.ResponseVerifyVoteExtension{Status: status}, nil
}

func (a *app) PrepareProposal(_ context.Context, r *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal,
	error) {
	b := a.newBlock(r.Height, r.Time)
	out := &abci.ResponsePrepareProposal{}
	var size int64
	add := func(tx []byte) error {
		n := int64(len(tx)) + 8 // protobuf: a tag and a length of at most 4 bytes
		if size+n > r.MaxTxBytes {
			return nil
		}
		if err := b.exec(tx, len(out.Txs)); err != nil {
			if _, ok := codeOf(err); ok {
				return nil // the mempool drops it when it checks again after the block
			}
			return err
		}
		size += n
		out.Txs = append(out.Txs, tx)
		return nil
	}
	certs, err := a.collect(uint64(r.Height), r.LocalLastCommit.Votes)
	if err != nil {
		return nil, err
	}
	if certs != nil {
		if err := add(certs); err != nil {
			return nil, err
		}
	}
	for _, tx := range r.Txs {
		if len(tx) > 0 && tx[0] == txCertificate {
			continue
		}
		if err := add(tx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ProcessProposal accepts a block when every transaction executes. It looks at no clock: a
// validator that refuses a block which others are locked on can block the height.
func (a *app) ProcessProposal(_ context.Context, r *abci.RequestProcessProposal) (*abci.ResponseProcessProposal,
	error) {
	if _, ok := a.seen[string(r.Hash)]; !ok {
		a.seen[string(r.Hash)] = a.clock()
	}
	b := a.newBlock(r.Height, r.Time)
	for i, tx := range r.Txs {
		if err := b.exec(tx, i); err != nil {
			if _, ok := codeOf(err); !ok {
				return nil, err
			}
			a.refused.add(RefusedProposal)
			a.log.Error("refusing a proposal", "height", r.Height, "proposer", fmt.Sprintf("%X", r.ProposerAddress),
				"error", err)
			return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
		}
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

// FinalizeBlock executes a decided block in memory.
func (a *app) FinalizeBlock(_ context.Context, r *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	for _, m := range r.Misbehavior {
		a.refused.add(RefusedTwoVotes)
		a.log.Error("a validator signed twice: its key is on two machines or stolen", "validator",
			fmt.Sprintf("%X", m.Validator.Address), "height", m.Height, "kind", m.Type.String())
	}
	b := a.newBlock(r.Height, r.Time)
	res := &abci.ResponseFinalizeBlock{TxResults: make([]*abci.ExecTxResult, len(r.Txs))}
	for i, tx := range r.Txs {
		res.TxResults[i] = &abci.ExecTxResult{}
		if err := b.exec(tx, i); err != nil {
			code, ok := codeOf(err)
			if !ok {
				return nil, err
			}
			res.TxResults[i].Code, res.TxResults[i].Log = code, err.Error() // the log is not hashed
		}
	}
	if err := b.end(); err != nil {
		return nil, err
	}
	if b.meta.open != nil {
		b.put(key("s/", b.meta.open.Index), encodeMs(a.firstSight(r.Hash, b.height).UnixMilli()))
	}
	if b.handOver != nil {
		old, err := a.epoch(a.meta.epoch)
		if err != nil {
			return nil, err
		}
		res.ValidatorUpdates = validatorUpdates(old, b.handOver.Epoch)
	}
	res.AppHash = bytes.Clone(b.meta.appHash[:])
	a.staged = b
	return res, nil
}

// firstSight is when this node first saw a block: its proposal, or the node's own vote for
// its height. After a crash the engine plays back what was decided before it; the proposal
// then comes again, late or not at all, but the vote still has its old time.
func (a *app) firstSight(hash []byte, height uint64) time.Time {
	first, ok := a.seen[string(hash)]
	if voted, ok2 := a.votedAt(height); ok2 && (!ok || voted.Before(first)) {
		first, ok = voted, true
	}
	if !ok {
		return a.clock()
	}
	return first
}

// Commit makes the executed block durable.
//
// A crash before apply returns leaves the block before: at the next start the engine
// replays this block from its own store, which has it. A crash after it leaves this block;
// the engine then takes the saved response of FinalizeBlock. Either way it is executed
// on the same state once.
func (a *app) Commit(ctx context.Context, _ *abci.RequestCommit) (*abci.ResponseCommit, error) {
	b := a.staged
	if a.hooks.beforeCommit != nil {
		a.hooks.beforeCommit(b.height)
	}
	if err := a.store.apply(b.changes); err != nil {
		return nil, fmt.Errorf("commit block %d: %w", b.height, err)
	}
	a.meta, a.staged = b.meta, nil
	clear(a.seen)
	level := slog.LevelDebug
	if len(b.anchors) > 0 || b.certified > 0 || b.handOver != nil {
		level = slog.LevelInfo
	}
	a.log.Log(ctx, level, "chain block", "height", b.height, "checkpoints", len(b.anchors), "certified", b.certified,
		"pending", b.meta.pending, "epoch", b.meta.epoch)
	a.onCommit()
	if a.retain > 0 && b.height > a.retain {
		return &abci.ResponseCommit{RetainHeight: int64(b.height - a.retain)}, nil
	}
	return &abci.ResponseCommit{}, nil
}

// validatorUpdates tells the engine what changes from one set to the next; power 0 removes.
func validatorUpdates(old, next anchorproof.Epoch) []abci.ValidatorUpdate {
	before := map[[anchorproof.ConsensusKeySize]byte]uint64{}
	for _, v := range old.Validators {
		before[v.ConsensusKey] = v.Power
	}
	var out []abci.ValidatorUpdate
	for _, v := range next.Validators {
		if before[v.ConsensusKey] != v.Power {
			out = append(out, validatorUpdate(v.ConsensusKey, v.Power))
		}
		delete(before, v.ConsensusKey)
	}
	for _, v := range old.Validators {
		if _, left := before[v.ConsensusKey]; left {
			out = append(out, validatorUpdate(v.ConsensusKey, 0))
		}
	}
	return out
}

func validatorUpdate(k [anchorproof.ConsensusKeySize]byte, power uint64) abci.ValidatorUpdate {
	return abci.ValidatorUpdate{PubKey: cmtcrypto.PublicKey{Sum: &cmtcrypto.PublicKey_Ed25519{Ed25519: k[:]}},
		Power: int64(power)}
}

func consensusAddress(k [anchorproof.ConsensusKeySize]byte) []byte {
	return cmted25519.PubKey(k[:]).Address()
}
