// Package egov anchors checkpoints on the e-government chain. It fits a node of notary/chain
// to anchor.Target and translates its answers.
package egov

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"stele/crypto/merkle"
	"stele/notary/chain"
	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// Target is the chain as seen through one node. It is safe for concurrent use; the node
// stays its owner's, who closes it.
type Target struct{ node *chain.Node }

var _ anchor.Target = (*Target)(nil)

// New returns the chain that a running node belongs to.
func New(n *chain.Node) *Target { return &Target{node: n} }

// Kind is the kind of the evidence.
func (t *Target) Kind() string { return anchorproof.Kind }

// Submit hands a checkpoint to the chain. One that is committed already is a success.
func (t *Target) Submit(ctx context.Context, s anchor.Submission) error {
	err := t.node.Submit(ctx, chain.Submission(s))
	if errors.Is(err, chain.ErrKnown) {
		return nil
	}
	return translate(err)
}

// Evidence returns finished evidence. A checkpoint is pending as long as the chain has not
// committed exactly its size: larger ones do not stand in for it.
func (t *Target) Evidence(_ context.Context, c checkpoint.Checkpoint) (json.RawMessage, error) {
	raw, got, err := t.node.Evidence(c.Origin, c.Size)
	// A pending header's checkpoints are final too: the fork shows before the certificate.
	if (err == nil || errors.Is(err, chain.ErrPending)) && got != (checkpoint.Checkpoint{}) && got != c {
		return nil, fmt.Errorf("%w: %s at size %d is committed with root %s, not %s", anchor.ErrFork, c.Origin, c.Size,
			got.Root, c.Root)
	}
	if err != nil {
		return nil, translate(err)
	}
	return raw, nil
}

// Head is the newest checkpoint of this log that the chain has committed.
func (t *Target) Head(_ context.Context, origin string) (size uint64, root merkle.Hash, err error) {
	c, err := t.node.Head(origin)
	return c.Size, c.Root, translate(err)
}

// Changed is closed at the next block, and when the node stops.
func (t *Target) Changed() <-chan struct{} { return t.node.Changed() }

// translate gives a node's errors the meaning that anchor's callers know. What is no
// refusal of the submission itself leaves open what the chain thinks of it.
func translate(err error) error {
	for _, m := range []struct{ from, to error }{
		{chain.ErrStale, anchor.ErrStale},
		{chain.ErrFork, anchor.ErrFork},
		{chain.ErrUnknownLog, anchor.ErrRefused},
		{chain.ErrMalformed, anchor.ErrRefused},
		{chain.ErrPending, anchor.ErrPending},
	} {
		if errors.Is(err, m.from) {
			return fmt.Errorf("%w: %w", m.to, err)
		}
	}
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err // the caller's own doing
	}
	return fmt.Errorf("%w: %w", anchor.ErrUnavailable, err)
}
