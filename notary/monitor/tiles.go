package monitor

import (
	"context"
	"fmt"

	"stele/crypto/merkle"
)

// maxTiles is how many tiles of 8 KiB are kept for a round.
const maxTiles = 256

// tiles reads nodes out of the log's tiles for a round. What is read proves nothing by itself.
type tiles struct {
	log   Log
	known map[merkle.Tile][]byte
}

func newTiles(log Log) *tiles { return &tiles{log, map[merkle.Tile][]byte{}} }

func (t *tiles) nodes(ctx context.Context, size uint64) merkle.NodeReader {
	return merkle.TileNodes(size, func(tile merkle.Tile) ([]byte, error) { return t.tile(ctx, tile) })
}

func (t *tiles) tile(ctx context.Context, tile merkle.Tile) ([]byte, error) {
	if data, ok := t.known[tile]; ok {
		return data, nil
	}
	data, err := t.log.Tile(ctx, tile.Path())
	if err != nil {
		return nil, err
	}
	if len(data) != tile.Width*merkle.HashSize {
		return nil, fmt.Errorf("%s has %d bytes, %d are expected", tile.Path(), len(data), tile.Width*merkle.HashSize)
	}
	if len(t.known) >= maxTiles {
		clear(t.known)
	}
	t.known[tile] = data
	return data, nil
}
