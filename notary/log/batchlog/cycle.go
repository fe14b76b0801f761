package batchlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// LeaseName is what the server that sequences holds.
const LeaseName = "sequencer"

const (
	leaseTTL = 10 * time.Second
	// leaseSlack is how long before its end a lease is renewed.
	leaseSlack = 5 * time.Second
	// cycleTimeout bounds one cycle: a slow store must not hold up a stop for ever.
	cycleTimeout = 60 * time.Second
)

// cycle runs the steps of the package comment once. It reports whether more entries wait.
func (l *Log) cycle(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cycleTimeout)
	defer cancel()
	if leader, err := l.lease(ctx); err != nil || !leader {
		return false, err
	}
	head, err := l.store.Head(ctx)
	if err != nil {
		return false, fmt.Errorf("read head: %w", err)
	}
	if err := l.checkFence(head); err != nil {
		return false, err
	}
	if l.edge == nil || l.edge.frontier.Size() != head.Size || l.edge.frontier.Root() != head.Root {
		// Another server advanced, or the outcome of the last swap was unknown: what the
		// database says is what happened. This is the same path as a start.
		if head, err = l.load(ctx); err != nil {
			return false, err
		}
	}
	l.tell(head.Size)
	if head.Received <= head.Size {
		return false, l.publish(ctx, head)
	}
	end := min(head.Received, head.Size+l.opt.MaxGroup)
	next, err := l.advance(ctx, head, end)
	if errors.Is(err, ErrLostRace) {
		l.edge = nil
		return true, nil
	}
	if err != nil {
		l.edge = nil
		return false, err
	}
	l.group = next.Size - head.Size
	l.tell(next.Size)
	if err := l.publish(ctx, next); err != nil {
		return false, err
	}
	l.dropPartials(ctx, head.Size, next.Size)
	return next.Received > next.Size, nil
}

// load reads the head and the edge of its tree.
func (l *Log) load(ctx context.Context) (Head, error) {
	head, err := l.stable(ctx, func(head Head) (err error) {
		l.edge, err = loadEdge(ctx, l.objects, head)
		return err
	})
	if err != nil {
		l.edge = nil
	}
	return head, err
}

// stable runs f, which reads tiles, on the head. Another server may advance meanwhile and
// remove partial tiles of the size before; so a tile that is missing, or not the one that
// was signed, is one only while the head stands still.
func (l *Log) stable(ctx context.Context, f func(head Head) error) (Head, error) {
	for {
		head, err := l.store.Head(ctx)
		if err != nil {
			return head, fmt.Errorf("read the log's head: %w", err)
		}
		err = f(head)
		if err == nil {
			return head, nil
		}
		if !errors.Is(err, ErrTiles) && !errors.Is(err, notary.ErrObjectNotFound) {
			return head, fmt.Errorf("read the tiles of size %d: %w", head.Size, err)
		}
		again, herr := l.store.Head(ctx)
		if herr != nil {
			return head, fmt.Errorf("read the log's head: %w", herr)
		}
		if again.Size == head.Size {
			return head, fmt.Errorf("%w: the tiles do not give the signed root of size %d (%v); "+
				"run stele fsck; 'stele rebuild-tiles' writes tiles anew that are lost", ErrMismatch, head.Size, err)
		}
	}
}

// tell calls OnAdvance once for each size that is seen in the database, whoever brought it
// there: the answer to our own swap may have been lost.
func (l *Log) tell(size uint64) {
	if size > l.told {
		l.told = size
		l.opt.OnAdvance()
	}
}

// Leads reports whether this process holds the lease of the sequencer, as far as it knows.
func (l *Log) Leads() bool { return l.opt.Now().UnixNano() < l.leads.Load() }

func (l *Log) lease(ctx context.Context) (bool, error) {
	now := l.opt.Now()
	if now.Before(l.leaseUntil.Add(-leaseSlack)) {
		return true, nil
	}
	ok, err := l.store.Lease(ctx, LeaseName, l.opt.Holder, leaseTTL)
	if err != nil {
		return false, fmt.Errorf("lease: %w", err)
	}
	l.leaseUntil = time.Time{}
	if ok {
		l.leaseUntil = now.Add(leaseTTL)
	}
	l.leads.Store(l.leaseUntil.UnixNano())
	return ok, nil
}

func (l *Log) advance(ctx context.Context, head Head, end uint64) (Head, error) {
	if err := l.opt.Clock(); err != nil {
		return Head{}, err
	}
	start := l.opt.Now()
	entries, err := l.store.Entries(ctx, head.Size, end)
	if err != nil {
		return Head{}, fmt.Errorf("read entries %d to %d: %w", head.Size, end, err)
	}
	if uint64(len(entries)) != end-head.Size {
		return Head{}, fmt.Errorf("%w: entries %d to %d have gaps", ErrMismatch, head.Size, end)
	}
	entries = untilStatus(entries)
	end = head.Size + uint64(len(entries))
	edge := l.edge.clone()
	leaves := make([]merkle.Hash, len(entries))
	for i, e := range entries {
		leaves[i] = e.LeafHash()
		edge.append(leaves[i])
	}
	objects := edge.newTiles()
	if err := l.addBundles(ctx, objects, head.Size, entries); err != nil {
		return Head{}, err
	}
	// A crash from here to the swap leaves tiles that no checkpoint needs; the next cycle
	// covers at least these entries and writes equal bytes.
	if err := l.objects.PutOnceAll(ctx, objects); err != nil {
		return Head{}, fmt.Errorf("write %d tiles: %w", len(objects), err)
	}
	l.tiles.remember(objects)
	next := checkpoint.Checkpoint{Origin: head.Origin, Size: end, Root: edge.frontier.Root()}
	if err := l.checkConsistent(ctx, head, next); err != nil {
		return Head{}, err
	}
	if l.opt.Keep != nil {
		if err := l.opt.Keep(ctx, head.Size, end); err != nil {
			return Head{}, err
		}
	}
	l.opt.Log.DebugContext(ctx, "signing checkpoint", "size", next.Size, "root", next.Root.String())
	note, err := checkpoint.Sign(next, l.opt.Signer)
	if err != nil {
		return Head{}, err
	}
	// A crash right after this leaves the entries logged and the object store's checkpoint
	// one behind; publish makes up for it in the next cycle or at the next start.
	if err := l.store.Advance(ctx, head, next, note); err != nil {
		return Head{}, fmt.Errorf("advance to %d: %w", end, err)
	}
	l.edge = edge
	if l.opt.Follow != nil {
		l.opt.Follow(head.Size, entries, leaves)
	}
	l.opt.Log.DebugContext(ctx, "checkpoint", "size", next.Size, "entries", len(entries), "objects", len(objects),
		"elapsed", l.opt.Now().Sub(start))
	return Head{Origin: next.Origin, Received: head.Received, Size: next.Size, Root: next.Root, Note: note,
		Fence: head.Fence}, nil
}

// untilStatus ends a group with the first status statement in it. What comes after one its map does not
// cover: under the checkpoint that ends with it, it is the log's word on all that the checkpoint has.
func untilStatus(entries []statement.Entry) []statement.Entry {
	for i, e := range entries {
		if status.Is(e.Statement) {
			return entries[:i+1]
		}
	}
	return entries
}

// checkConsistent proves to ourselves, from the tiles as written, that the new tree extends
// the old one: it catches bugs and bad memory before they are signed.
func (l *Log) checkConsistent(ctx context.Context, head Head, next checkpoint.Checkpoint) error {
	path, err := merkle.ConsistencyProof(head.Size, next.Size, l.tiles.Nodes(ctx, next.Size))
	if err != nil {
		return fmt.Errorf("consistency of the new checkpoint: %w", err)
	}
	if err := merkle.VerifyConsistency(head.Size, next.Size, head.Root, next.Root, path); err != nil {
		return fmt.Errorf("%w: new checkpoint: %v", ErrMismatch, err)
	}
	return nil
}

// addBundles adds the entry bundles of level-0 tiles that have become full. Bundles of
// partial tiles are not stored: whoever may read entries gets them from the rows.
func (l *Log) addBundles(ctx context.Context, objects map[string][]byte, first uint64,
	entries []statement.Entry) error {
	end := first + uint64(len(entries))
	for n := first / merkle.TileWidth; (n+1)*merkle.TileWidth <= end; n++ {
		lo, hi := n*merkle.TileWidth, (n+1)*merkle.TileWidth
		var part []statement.Entry
		if lo < first {
			var err error
			if part, err = l.store.Entries(ctx, lo, first); err != nil {
				return fmt.Errorf("read entries %d to %d: %w", lo, first, err)
			}
			lo = first
		}
		var b []byte
		for _, e := range append(part[:len(part):len(part)], entries[lo-first:hi-first]...) {
			b = append(b, e.Encode()...)
		}
		objects[merkle.Tile{Index: n, Width: merkle.TileWidth}.EntriesPath()] = b
	}
	return nil
}

// publish puts the checkpoint where the world reads it, unless a newer one is there: a
// server that was asleep must not take the log back.
func (l *Log) publish(ctx context.Context, head Head) error {
	if l.published != nil && *l.published >= head.Size {
		return nil
	}
	err := l.objects.Replace(ctx, CheckpointKey, func(current []byte) ([]byte, error) {
		if current == nil {
			return nil, fmt.Errorf("%w: the object store's checkpoint has vanished", ErrMismatch)
		}
		// Opened, not just read: a larger size that somebody wrote there must not keep the
		// log from being published.
		c, _, err := checkpoint.Open(current, l.opt.Keys...)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: the object store's checkpoint is of another log or damaged: %v", ErrMismatch,
				err)
		case c.Size == head.Size && c.Root != head.Root:
			return nil, fmt.Errorf("%w: two different roots for size %d", ErrMismatch, head.Size)
		case c.Size >= head.Size:
			return nil, nil
		}
		return head.Note, nil
	})
	if err != nil {
		return fmt.Errorf("publish checkpoint: %w", err)
	}
	l.published = &head.Size
	return nil
}

// dropPartials removes the partial tiles of tiles that are full now; nothing refers to
// them any more. Failing, or crashing, leaves garbage and nothing else.
func (l *Log) dropPartials(ctx context.Context, oldSize, newSize uint64) {
	for level := uint(0); oldSize>>(merkle.TileHeight*level) > 0; level++ {
		had, has := oldSize>>(merkle.TileHeight*level), newSize>>(merkle.TileHeight*level)
		if had%merkle.TileWidth == 0 || had/merkle.TileWidth == has/merkle.TileWidth {
			continue
		}
		full := merkle.Tile{Level: level, Index: had / merkle.TileWidth, Width: merkle.TileWidth}
		var keys []string
		err := l.objects.List(ctx, full.Path()+".p/", func(o notary.Object) error {
			keys = append(keys, o.Key)
			return nil
		})
		for _, k := range keys {
			err = errors.Join(err, l.objects.Delete(ctx, k))
		}
		if err != nil {
			l.opt.Log.WarnContext(ctx, "old partial tiles stay", "tile", full.Path(), "error", err)
		}
	}
}
