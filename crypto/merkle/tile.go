package merkle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TileHeight is the number of tree levels in a tile, TileWidth the hashes of a full one
// (C2SP tlog-tiles).
const (
	TileHeight = 8
	TileWidth  = 1 << TileHeight
)

// Tile names one tile: Level counts tiles upward from the leaves, Index from the left.
// Width is 1 to [TileWidth]; less than that is a partial tile at the right edge.
type Tile struct {
	Level uint
	Index uint64
	Width int
}

// ErrTilePath reports a path that is no tile's one spelling.
var ErrTilePath = errors.New(
	"a tile path must be tile/<level>/<index>[.p/<width>] with the index in groups of three digits")

// Path is tile/<L>/<N>[.p/<W>], N in groups of three digits with x before all but the last.
func (t Tile) Path() string {
	return "tile/" + strconv.FormatUint(uint64(t.Level), 10) + "/" + t.indexPath()
}

// EntriesPath is the path of the entry bundle beside a level-0 tile.
func (t Tile) EntriesPath() string { return "tile/entries/" + t.indexPath() }

func (t Tile) indexPath() string {
	n := t.Index
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	if t.Width < TileWidth {
		s += ".p/" + strconv.Itoa(t.Width)
	}
	return s
}

// ParseTilePath is the inverse of [Tile.Path] and accepts no other spelling.
func ParseTilePath(path string) (Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok {
		return Tile{}, ErrTilePath
	}
	level, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return Tile{}, ErrTilePath
	}
	l, err := strconv.ParseUint(level, 10, 6)
	if err != nil || l > 7 {
		return Tile{}, ErrTilePath
	}
	t, err := parseTileIndex(rest)
	t.Level = uint(l)
	if err != nil || t.Path() != path {
		return Tile{}, ErrTilePath
	}
	return t, nil
}

// ParseEntriesPath is the inverse of [Tile.EntriesPath].
func ParseEntriesPath(path string) (Tile, error) {
	rest, ok := strings.CutPrefix(path, "tile/entries/")
	if !ok {
		return Tile{}, ErrTilePath
	}
	t, err := parseTileIndex(rest)
	if err != nil || t.EntriesPath() != path {
		return Tile{}, ErrTilePath
	}
	return t, nil
}

func parseTileIndex(s string) (Tile, error) {
	t := Tile{Width: TileWidth}
	if index, width, ok := strings.Cut(s, ".p/"); ok {
		w, err := strconv.ParseUint(width, 10, 8)
		if err != nil || w == 0 {
			return t, ErrTilePath
		}
		t.Width, s = int(w), index
	}
	for _, g := range strings.Split(s, "/") {
		g = strings.TrimPrefix(g, "x")
		v, err := strconv.ParseUint(g, 10, 10)
		if err != nil || len(g) != 3 || t.Index > 1<<50 {
			return t, ErrTilePath
		}
		t.Index = t.Index*1000 + v
	}
	return t, nil
}

// TilesAt returns every tile of a tree of this size at one tile level, from index first on.
func tilesFrom(level uint, first, size uint64) []Tile {
	nodes := size >> (TileHeight * level)
	var out []Tile
	for i := first; i*TileWidth < nodes; i++ {
		out = append(out, Tile{Level: level, Index: i, Width: int(min(nodes-i*TileWidth, TileWidth))})
	}
	return out
}

// NewTiles returns the tiles that a tree of newSize has and one of oldSize had not, lowest
// level first: the full tiles that came to be and the partial ones at the right edge.
func NewTiles(oldSize, newSize uint64) []Tile {
	var out []Tile
	for level := uint(0); newSize>>(TileHeight*level) > 0; level++ {
		had := oldSize >> (TileHeight * level)
		if had == newSize>>(TileHeight*level) {
			break
		}
		out = append(out, tilesFrom(level, had/TileWidth, newSize)...)
	}
	return out
}

// TileOf returns the widest tile of a tree of this size that holds the node's subtree, and
// how to get the node out of it with [NodeFromTile].
func TileOf(id NodeID, size uint64) Tile {
	level := id.Level / TileHeight
	index := id.Index >> (TileHeight - id.Level%TileHeight)
	nodes := size >> (TileHeight * level)
	return Tile{Level: level, Index: index, Width: int(min(nodes-index*TileWidth, TileWidth))}
}

// NodeFromTile computes a node from the data of the tile that [TileOf] named, or of any
// wider version of it. Data is the concatenation of the tile's hashes.
func NodeFromTile(id NodeID, t Tile, data []byte) (Hash, error) {
	depth := id.Level % TileHeight
	first := (id.Index << depth) - t.Index*TileWidth
	count := uint64(1) << depth
	if id.Level/TileHeight != t.Level || first+count > uint64(len(data)/HashSize) {
		return Hash{}, fmt.Errorf("node %d/%d is not in tile %s", id.Level, id.Index, t.Path())
	}
	nodes := make([]Hash, count)
	for i := range nodes {
		nodes[i] = Hash(data[(first+uint64(i))*HashSize:])
	}
	for len(nodes) > 1 {
		for i := range len(nodes) / 2 {
			nodes[i] = NodeHash(nodes[2*i], nodes[2*i+1])
		}
		nodes = nodes[:len(nodes)/2]
	}
	return nodes[0], nil
}

// TileNodes reads nodes of the tree of size leaves out of its tiles, each of which read returns whole.
func TileNodes(size uint64, read func(Tile) ([]byte, error)) NodeReader {
	return func(ids []NodeID) ([]Hash, error) {
		out := make([]Hash, len(ids))
		for i, id := range ids {
			tile := TileOf(id, size)
			data, err := read(tile)
			if err != nil {
				return nil, err
			}
			if out[i], err = NodeFromTile(id, tile, data); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
}
