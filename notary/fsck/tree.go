package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/batchlog"
	"stele/notary/checkpoint"
	"stele/notary/proof"
	"stele/notary/statement"
)

// grow adds a leaf to the tree that is derived here, compares every tile that it fills,
// and every checkpoint that it reaches.
func (c *checker) grow(ctx context.Context, index uint64, e statement.Entry) error {
	encoded := e.Encode()
	leaf := merkle.LeafHash(encoded)
	c.frontier.Append(leaf)
	c.leaves = append(c.leaves, leaf)
	c.bundle = append(c.bundle, encoded...)
	if len(c.leaves) == merkle.TileWidth {
		if err := c.fullTile(ctx, index); err != nil {
			return err
		}
	}
	return c.markReached(ctx)
}

func (c *checker) fullTile(ctx context.Context, index uint64) error {
	t := merkle.Tile{Index: index / merkle.TileWidth, Width: merkle.TileWidth}
	if err := c.compareObject(ctx, t.EntriesPath(), c.bundle); err != nil {
		return err
	}
	hashes := c.leaves
	for level := uint(0); ; level++ {
		t := merkle.Tile{Level: level, Index: (index + 1) >> (merkle.TileHeight * (level + 1)), Width: merkle.TileWidth}
		t.Index--
		if err := c.compareObject(ctx, t.Path(), concat(hashes)); err != nil {
			return err
		}
		if int(level) == len(c.upper) {
			c.upper = append(c.upper, nil)
		}
		c.upper[level] = append(c.upper[level], merkle.ListRoot(hashes))
		if len(c.upper[level]) < merkle.TileWidth {
			break
		}
		hashes, c.upper[level] = c.upper[level], nil
	}
	c.leaves, c.bundle = c.leaves[:0], c.bundle[:0]
	return nil
}

// partialTiles compares the tiles at the right edge.
func (c *checker) partialTiles(ctx context.Context) error {
	levels := append([][]merkle.Hash{c.leaves}, c.upper...)
	for level, hashes := range levels {
		if len(hashes) == 0 {
			continue
		}
		nodes := c.head.Size >> (merkle.TileHeight * level)
		t := merkle.Tile{Level: uint(level), Index: nodes / merkle.TileWidth, Width: len(hashes)}
		if err := c.compareObject(ctx, t.Path(), concat(hashes)); err != nil {
			return err
		}
	}
	if root := c.frontier.Root(); c.frontier.Size() == c.head.Size && root != c.head.Root {
		c.find("head", c.head.Size, "", "the entries give root %s, the head has %s", root, c.head.Root)
	}
	return nil
}

func (c *checker) compareObject(ctx context.Context, key string, want []byte) error {
	c.res.Tiles++
	got, err := c.objects.Get(ctx, key, int64(len(want)))
	switch {
	case errors.Is(err, notary.ErrObjectNotFound):
		c.find("tile", 0, "", "%s is missing in the object store", key)
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		c.find("tile", 0, "", "%s cannot be read: %v", key, err)
	case !bytes.Equal(got, want):
		c.find("tile", 0, "", "%s is not what the entries give", key)
	}
	return nil
}

func concat(hashes []merkle.Hash) []byte {
	b := make([]byte, 0, len(hashes)*merkle.HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// markReached compares every stored checkpoint of the size that the tree has now.
func (c *checker) markReached(ctx context.Context) error {
	for {
		if len(c.next) == 0 {
			var err error
			if c.next, err = c.marks.CheckpointsFrom(ctx, c.lastMark, chunk); err != nil {
				return fmt.Errorf("read checkpoints: %w", err)
			}
			if len(c.next) == 0 {
				return nil
			}
		}
		m := c.next[0]
		if m.Size > c.frontier.Size() {
			return nil
		}
		c.next, c.lastMark = c.next[1:], int64(m.Size)
		c.res.Checkpoints++
		opened, err := c.open(m.Note)
		switch {
		case err != nil:
			c.find("checkpoint", m.Size, "", "checkpoint %d: %v", m.Size, err)
		case opened.Size != m.Size || opened.Root != m.Root:
			c.find("checkpoint", m.Size, "", "the row of checkpoint %d says something else than its note", m.Size)
		case m.Size == c.frontier.Size() && m.Root != c.frontier.Root():
			c.find("checkpoint", m.Size, "", "the entries give root %s at size %d, signed was %s", c.frontier.Root(), m.Size, m.Root)
		}
	}
}

func (c *checker) open(note []byte) (checkpoint.Checkpoint, error) {
	var keys []*signednote.Verifier
	for _, l := range c.trust.Logs {
		keys = append(keys, l.Key)
	}
	opened, _, err := checkpoint.Open(note, keys...)
	return opened, err
}

// published compares what the world reads with the head.
func (c *checker) published(ctx context.Context) error {
	note, err := c.objects.Get(ctx, batchlog.CheckpointKey, signednote.MaxNoteSize)
	if errors.Is(err, notary.ErrObjectNotFound) {
		c.find("checkpoint", 0, "", "the object store holds no checkpoint")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the published checkpoint: %w", err)
	}
	p, err := c.open(note)
	switch {
	case err != nil:
		c.find("checkpoint", 0, "", "the published checkpoint: %v", err)
	case p.Size > c.head.Size:
		c.find("checkpoint", p.Size, "", "the published checkpoint has %d entries, the database %d", p.Size, c.head.Size)
	case p.Size == c.head.Size && p.Root != c.head.Root:
		c.find("checkpoint", p.Size, "", "the published checkpoint has another root than the database's at size %d", p.Size)
	}
	return nil
}

func (c *checker) anchors(ctx context.Context) error {
	after := int64(0)
	for {
		list, err := c.marks.AnchorsFrom(ctx, after, chunk)
		if err != nil {
			return fmt.Errorf("read anchors: %w", err)
		}
		for _, a := range list {
			c.res.Anchors++
			after = int64(a.Size)
			if err := c.anchor(a); err != nil {
				c.find("anchor", a.Size, "", "anchor of size %d on %s: %v", a.Size, a.Target, err)
			}
		}
		if len(list) < chunk {
			return nil
		}
	}
}

func (c *checker) anchor(a StoredAnchor) error {
	if a.Target != proof.KindEgov {
		return nil // attested kinds are checked by the package that knows them
	}
	mark, err := c.open(a.Note)
	if err != nil {
		return err
	}
	_, err = proof.VerifyAnchor(c.trust, mark, a.Evidence)
	return err
}

// orphans counts documents that no record speaks of.
func (c *checker) orphans(ctx context.Context) error {
	err := c.objects.List(ctx, notary.DocumentKey(""), func(o notary.Object) error {
		if !c.ids[strings.TrimPrefix(o.Key, notary.DocumentKey(""))] {
			c.res.Orphans++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list documents: %w", err)
	}
	return nil
}
