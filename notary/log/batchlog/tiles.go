package batchlog

import (
	"context"
	"errors"
	"fmt"

	lru "github.com/hashicorp/golang-lru/v2"

	"stele/crypto/merkle"
)

// ErrTiles: what is stored as a tile is not what was written.
var ErrTiles = errors.New("damaged tile")

// tileReader is the part of [Objects] that reading needs.
type tileReader interface {
	Get(ctx context.Context, key string, max int64) ([]byte, error)
}

// Tiles reads nodes out of stored tiles. Tiles never change once written, so what was read
// is kept: bundles of neighbouring records share all but their lowest tile. It is safe for
// concurrent use. Data read here is not trusted: whoever builds a proof verifies it.
type Tiles struct {
	objects tileReader
	cache   *lru.Cache[string, []byte] // nil: nothing is kept
}

// NewTiles keeps up to cached tiles of 8 KiB each in memory.
func NewTiles(objects tileReader, cached int) *Tiles {
	t := &Tiles{objects: objects}
	if cached > 0 {
		t.cache, _ = lru.New[string, []byte](cached) // fails for sizes below one only
	}
	return t
}

// Nodes returns a reader for proofs in a stored tree of this size or any smaller one. The
// size must be one that has been a checkpoint of the log recently: partial tiles of older
// ones are gone, and not needed, because newer tiles hold the same nodes.
func (t *Tiles) Nodes(ctx context.Context, size uint64) merkle.NodeReader {
	return merkle.TileNodes(size, func(tile merkle.Tile) ([]byte, error) { return t.Tile(ctx, tile) })
}

// Tile returns a tile's bytes: Width hashes of 32 bytes.
func (t *Tiles) Tile(ctx context.Context, tile merkle.Tile) ([]byte, error) {
	key := tile.Path()
	if t.cache != nil {
		if data, ok := t.cache.Get(key); ok {
			return data, nil
		}
	}
	data, err := readTile(ctx, t.objects, tile)
	if err == nil && t.cache != nil {
		t.cache.Add(key, data)
	}
	return data, err
}

// Forget drops what is kept in memory: a proof made of it did not hold, so something that
// was read is not what was written, and may have been repaired since.
func (t *Tiles) Forget() {
	if t.cache != nil {
		t.cache.Purge()
	}
}

func (t *Tiles) remember(objects map[string][]byte) {
	if t.cache == nil {
		return
	}
	for key, data := range objects {
		if len(data) <= merkle.TileWidth*merkle.HashSize {
			t.cache.Add(key, data)
		}
	}
}

func readTile(ctx context.Context, objects tileReader, t merkle.Tile) ([]byte, error) {
	data, err := objects.Get(ctx, t.Path(), merkle.TileWidth*merkle.HashSize)
	if err != nil {
		return nil, fmt.Errorf("tile %s: %w", t.Path(), err)
	}
	if len(data) != t.Width*merkle.HashSize {
		return nil, fmt.Errorf("%w: %s has %d bytes, want %d", ErrTiles, t.Path(), len(data), t.Width*merkle.HashSize)
	}
	return data, nil
}
