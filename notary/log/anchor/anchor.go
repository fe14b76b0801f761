// Package anchor carries checkpoints to chains and brings their evidence back.
//
// A [Target] is one chain. The loop that feeds it lives here too; adapters for kinds of
// chains are anchor/egov and anchor/bsn.
package anchor

import (
	"context"
	"encoding/json"
	"errors"

	"stele/crypto/merkle"
	"stele/notary/proof/checkpoint"
)

// Submission asks a chain to commit a checkpoint.
type Submission struct {
	Checkpoint checkpoint.Checkpoint
	Signature  []byte        // the log key's DER signature over the checkpoint's text
	OldSize    uint64        // size of the head that the chain has now
	Proof      []merkle.Hash // consistency proof from that head, see merkle.ConsistencyProof
}

// Target is a chain that checkpoints can be anchored on.
//
// Implementations are safe for concurrent use. Submit returns nil once the chain has
// accepted the checkpoint for ordering; it is idempotent and not durable: a crash may lose
// it, so the caller submits again until Evidence answers. Evidence returns the finished
// evidence as canonical JSON with its "kind", or [ErrPending]; what it returned once it
// returns again, for as long as the chain exists. Head is the newest checkpoint of this origin
// that the chain has committed (size 0 when there is none). Changed returns a channel that is
// closed at the next change of the chain's state. A target that is gone answers
// [ErrUnavailable] to every call; who waits retries.
type Target interface {
	Kind() string
	Submit(ctx context.Context, s Submission) error
	Evidence(ctx context.Context, c checkpoint.Checkpoint) (json.RawMessage, error)
	Head(ctx context.Context, origin string) (size uint64, root merkle.Hash, err error)
	Changed() <-chan struct{}
}

// What callers of a [Target] tell apart.
var (
	// ErrPending: the chain has no finished evidence for this checkpoint yet.
	ErrPending = errors.New("not anchored yet")
	// ErrStale: the submission does not start at the chain's head; ask Head and build it anew.
	ErrStale = errors.New("submission does not start at the chain's head")
	// ErrFork: the chain holds another history of this log. Nothing but a person can help.
	ErrFork = errors.New("the chain holds another history of this log")
	// ErrRefused: the chain does not know this log's key, or the submission is malformed.
	ErrRefused = errors.New("the chain refuses the submission")
	// ErrUnavailable: the chain cannot be reached or has stopped.
	ErrUnavailable = errors.New("the chain is unavailable")
)
