package batchlog

import (
	"context"
	"fmt"
	"slices"

	"stele/crypto/merkle"
)

// edge is the right edge of the tree in memory: the hashes of the last, partial tile of
// each level, and the frontier for the root. Appending to a clone and swapping it in after
// the commit keeps a failed cycle from leaving a trace.
type edge struct {
	frontier *merkle.Frontier
	levels   [][]merkle.Hash   // per tile level, the hashes of its partial tile, fewer than TileWidth
	start    uint64            // size when the edge was loaded or cloned
	full     map[string][]byte // tiles that became full since then
}

// loadEdge reads the edge of a stored tree and checks that it gives the signed root.
func loadEdge(ctx context.Context, objects Objects, head Head) (*edge, error) {
	e := &edge{start: head.Size}
	for level := uint(0); head.Size>>(merkle.TileHeight*level) > 0; level++ {
		nodes := head.Size >> (merkle.TileHeight * level)
		t := merkle.Tile{Level: level, Index: nodes / merkle.TileWidth, Width: int(nodes % merkle.TileWidth)}
		var hashes []merkle.Hash
		if t.Width > 0 {
			data, err := readTile(ctx, objects, t)
			if err != nil {
				return nil, err
			}
			for i := range t.Width {
				hashes = append(hashes, merkle.Hash(data[i*merkle.HashSize:]))
			}
		}
		e.levels = append(e.levels, hashes)
	}
	f, err := merkle.LoadFrontier(head.Size, NewTiles(objects, 0).Nodes(ctx, head.Size))
	if err != nil {
		return nil, err
	}
	if f.Root() != head.Root {
		return nil, fmt.Errorf("%w: they give root %s, the checkpoint has %s", ErrTiles, f.Root(), head.Root)
	}
	e.frontier = f
	return e, nil
}

func (e *edge) clone() *edge {
	c := &edge{frontier: e.frontier.Clone(), start: e.frontier.Size(), full: map[string][]byte{}}
	for _, l := range e.levels {
		c.levels = append(c.levels, slices.Clone(l))
	}
	return c
}

func (e *edge) append(leaf merkle.Hash) {
	e.frontier.Append(leaf)
	h, index := leaf, e.frontier.Size()
	for level := uint(0); ; level++ {
		if int(level) == len(e.levels) {
			e.levels = append(e.levels, nil)
		}
		e.levels[level] = append(e.levels[level], h)
		if len(e.levels[level]) < merkle.TileWidth {
			return
		}
		index >>= merkle.TileHeight
		t := merkle.Tile{Level: level, Index: index - 1, Width: merkle.TileWidth}
		e.full[t.Path()] = concat(e.levels[level])
		h = merkle.ListRoot(e.levels[level])
		e.levels[level] = e.levels[level][:0]
	}
}

// newTiles returns the tiles that the tree has now and had not at the clone.
func (e *edge) newTiles() map[string][]byte {
	out := make(map[string][]byte, len(e.full)+len(e.levels))
	for _, t := range merkle.NewTiles(e.start, e.frontier.Size()) {
		if t.Width == merkle.TileWidth {
			out[t.Path()] = e.full[t.Path()]
		} else {
			out[t.Path()] = concat(e.levels[t.Level])
		}
	}
	return out
}

func concat(hashes []merkle.Hash) []byte {
	b := make([]byte, 0, len(hashes)*merkle.HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}
