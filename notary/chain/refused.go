package chain

import (
	"errors"
	"maps"
	"sync"
)

// Why a node refused something, as it is counted and logged. A transaction that is committed
// already or finds a full block is ordinary traffic and not counted.
const (
	RefusedMalformed   = "malformed"         // not a transaction
	RefusedUnknownLog  = "unknown_log"       // the epoch does not admit the log, or another key signed
	RefusedStale       = "stale"             // it does not start at the chain's head
	RefusedSmaller     = "smaller_size"      // the log would shrink
	RefusedTwoRoots    = "two_roots"         // another root for a size that is committed
	RefusedProof       = "wrong_proof"       // the consistency proof does not hold
	RefusedCertificate = "certificate"       // a certificate that came by the mempool, or does not hold
	RefusedEpoch       = "epoch"             // no hand-over from the newest epoch
	RefusedProposal    = "proposal"          // a validator proposed a block that does not execute
	RefusedCosignature = "wrong_cosignature" // a validator's cosignature does not verify
	RefusedTwoVotes    = "two_votes"         // a validator signed twice for one step
)

var codeReasons = map[uint32]string{codeMalformed: RefusedMalformed, codeUnknownLog: RefusedUnknownLog,
	codeStale: RefusedStale,
	codeFork:  RefusedTwoRoots, codeCertificate: RefusedCertificate, codeEpoch: RefusedEpoch}

// reasonOf is under which reason a refusal is counted, "" for ordinary traffic.
func reasonOf(err error) string {
	var r *refusal
	if !errors.As(err, &r) {
		return ""
	}
	if r.reason != "" {
		return r.reason
	}
	return codeReasons[r.code]
}

// tally counts refusals by reason, since the start of the node. It is safe for concurrent use.
type tally struct {
	mu sync.Mutex
	n  map[string]uint64 // guarded by mu
}

func (t *tally) add(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]uint64{}
	}
	t.n[reason]++
}

func (t *tally) counts() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.n)
}
