package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
)

// Checkpoints finds anchored checkpoints. It is safe for concurrent use.
//
// AnchoredAt returns the checkpoint of exactly this size with the evidence for it, and what there
// is first on each other chain for a later one; [notary.ErrNotFound] where no chain holds one.
type Checkpoints interface {
	AnchoredAt(ctx context.Context, size uint64) (*AnchoredCheckpoint, error)
}

// HeaderPaths is the chain as bundles need it. HeaderPath returns the path that shows the newer of
// two headers to vouch for the older one (see anchorproof.CheckHistory), or any error where the
// chain cannot say now. It is asked for once and not again. It is safe for concurrent use.
type HeaderPaths interface {
	HeaderPath(ctx context.Context, chain string, older, newer uint64) ([]merkle.Hash, error)
}

// headerTime is how long a bundle waits for the paths between headers. They are an addition: what
// shows that the log only grew is in the tiles.
const headerTime = 3 * time.Second

// Histories makes bundles that show another checkpoint to be of the same history. It is safe for
// concurrent use.
type Histories struct {
	archive     *Archive
	checkpoints Checkpoints
	headers     HeaderPaths // nil where another server talks with the chain
}

// NewHistories returns what makes them.
func NewHistories(a *Archive, c Checkpoints, h HeaderPaths) *Histories {
	return &Histories{archive: a, checkpoints: c, headers: h}
}

// Other names the other checkpoint: that of a record, of whichever agency, or one by its size.
type Other struct {
	Number string // of a certificate; empty where a size is given
	Size   uint64
}

// Bundle is [Archive.Bundle] in version 2: the other checkpoint's anchors are in it, and the proof
// that the log only grew between the two. Of the other record nothing else is: the size of the log
// when it was anchored, which tiles and chain show anybody. Both must be anchored; until then the
// error is not_ready.
//
// Paths between headers are left out where the chain cannot be asked. All else must be there, or
// no bundle leaves.
func (h *Histories) Bundle(ctx context.Context, r notary.Record, show bool, with Other) ([]byte, error) {
	a := h.archive
	head, err := a.store.Head(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	b, _, err := a.draft(ctx, head, r, show, [2]uint64{})
	if err != nil {
		return nil, err
	}
	if len(b.Anchors) == 0 {
		return nil, notary.Errorf(notary.CodeNotReady,
			"The record is not anchored yet, so no checkpoint of its own can be compared; ask again in a few seconds.")
	}
	other, err := h.find(ctx, with)
	if err != nil {
		return nil, err
	}
	if b.Consistency, err = h.consistency(ctx, head, b, *other); err != nil {
		return nil, err
	}
	return a.showing(r, b, proof.StepConsistency, fmt.Sprintf("the consistency with size %d", other.Size))
}

// find looks the other checkpoint up.
func (h *Histories) find(ctx context.Context, with Other) (*AnchoredCheckpoint, error) {
	if with.Number == "" {
		c, err := h.checkpoints.AnchoredAt(ctx, with.Size)
		if errors.Is(err, notary.ErrNotFound) {
			return nil, notary.Errorf(notary.CodeNotFound, "The log has no anchored checkpoint of the size %d. "+
				"The sizes that are anchored stand in the bundles of anchored records.", with.Size)
		}
		return c, unavailable(err)
	}
	r, err := h.archive.store.FindRecord(ctx, "", with.Number)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, notary.Errorf(notary.CodeNotFound, "There is no record with the number %s in this log.",
			with.Number)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	s, err := h.archive.store.Evidence(ctx, r.Index, 0)
	switch {
	case errors.Is(err, notary.ErrNotFound), err == nil && s.Anchored == nil:
		return nil, notary.Errorf(notary.CodeNotReady,
			"The record %s is not anchored yet, so it has no checkpoint to compare with; ask again in a few seconds.",
			with.Number)
	case err != nil:
		return nil, unavailable(err)
	}
	return s.Anchored, nil
}

// consistency puts the second half of the bundle together.
func (h *Histories) consistency(ctx context.Context, head batchlog.Head, b *proof.Bundle,
	other AnchoredCheckpoint) (*proof.Consistency, error) {
	a := h.archive
	own, err := checkpoint.ParseUnsafe(b.Log.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOwnBundle, err)
	}
	c := &proof.Consistency{Checkpoint: other.Note}
	if c.Anchors, err = a.withLater(ctx, other, head.Size); err != nil {
		return nil, err
	}
	from, to := min(own.Size, other.Size), max(own.Size, other.Size)
	err = a.steady(ctx, head.Size, func(headSize uint64) (err error) {
		c.Path, err = merkle.ConsistencyProof(from, to, a.tiles.Nodes(ctx, headSize))
		return err
	})
	c.Headers = h.headerPaths(ctx, b, c)
	return c, err
}

func (h *Histories) headerPaths(ctx context.Context, b *proof.Bundle, c *proof.Consistency) (out []proof.HeaderPath) {
	ctx, cancel := context.WithTimeout(ctx, headerTime)
	defer cancel()
	for _, pair := range proof.SharedHeaders(b.Anchors, c.Anchors) {
		var path []merkle.Hash
		if pair.Older != pair.Newer { // a header needs no path to itself
			if h.headers == nil {
				continue
			}
			var err error
			if path, err = h.headers.HeaderPath(ctx, pair.Chain, pair.Older, pair.Newer); err != nil {
				continue
			}
		}
		out = append(out, proof.HeaderPath{Chain: pair.Chain, Path: path})
	}
	return out
}
