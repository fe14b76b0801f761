package batchlog

import (
	"context"
	"fmt"

	"stele/crypto/merkle"
)

// rebuildChunk is how many entries are read at once; whole tiles.
const rebuildChunk = 16 * merkle.TileWidth

// Rebuild writes the log's tiles, entry bundles and checkpoint from the rows into an object
// store that lost them or was restored without them. It changes nothing that is there:
// objects are put if absent or equal, and one that differs stops it. Nothing is written
// before the rows have given the root that the database's checkpoint signs; a crash leaves
// some of the objects, and running it again adds the others. It returns how many objects the
// tree has.
func (l *Log) Rebuild(ctx context.Context, progress func(done, total uint64)) (int, error) {
	head, err := l.store.Head(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the log's head: %w", err)
	}
	if err := l.checkHead(head); err != nil {
		return 0, err
	}
	if err := l.walk(ctx, head, func(map[string][]byte) error { return nil }); err != nil {
		return 0, err
	}
	count := 0
	err = l.walk(ctx, head, func(objects map[string][]byte) error {
		count += len(objects)
		if err := l.objects.PutOnceAll(ctx, objects); err != nil {
			return fmt.Errorf("write tiles: %w", err)
		}
		return nil
	})
	if err != nil {
		return count, err
	}
	if progress != nil {
		progress(head.Size, head.Size)
	}
	return count, l.objects.Replace(ctx, CheckpointKey, func(current []byte) ([]byte, error) {
		if current != nil {
			return nil, nil // Check judges one that is there
		}
		return head.Note, nil
	})
}

// walk derives the tree from the rows, hands out the objects of each stretch, and checks the
// root at the end.
func (l *Log) walk(ctx context.Context, head Head, write func(map[string][]byte) error) error {
	e := &edge{frontier: &merkle.Frontier{}}
	for first := uint64(0); first < head.Size; first += rebuildChunk {
		end := min(first+rebuildChunk, head.Size)
		entries, err := l.store.Entries(ctx, first, end)
		if err != nil {
			return fmt.Errorf("read entries %d to %d: %w", first, end, err)
		}
		if uint64(len(entries)) != end-first {
			return fmt.Errorf("%w: entries %d to %d have gaps", ErrMismatch, first, end)
		}
		e = e.clone()
		for _, x := range entries {
			e.append(x.LeafHash())
		}
		objects := e.newTiles()
		for key := range objects { // partial tiles of the way there are nobody's
			if t, err := merkle.ParseTilePath(key); err == nil && t.Width < merkle.TileWidth && !atEdge(t, head.Size) {
				delete(objects, key)
			}
		}
		if err := l.addBundles(ctx, objects, first, entries); err != nil {
			return err
		}
		if end == head.Size && e.frontier.Root() != head.Root {
			return fmt.Errorf("%w: the entries give root %s, the checkpoint signs %s; run stele fsck", ErrMismatch,
				e.frontier.Root(), head.Root)
		}
		if err := write(objects); err != nil {
			return err
		}
	}
	return nil
}

// atEdge reports whether a partial tile is one of a tree of this size. An upper one may have
// come to its width long before the end.
func atEdge(t merkle.Tile, size uint64) bool {
	nodes := size >> (merkle.TileHeight * t.Level)
	return t.Index == nodes/merkle.TileWidth && uint64(t.Width) == nodes%merkle.TileWidth
}
