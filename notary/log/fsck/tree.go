package fsck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// grow adds a leaf to the tree that is derived here, compares every tile that it fills,
// and every checkpoint that it reaches.
func (c *checker) grow(ctx context.Context, index uint64, encoded []byte, leaf merkle.Hash) error {
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
		same, what, err := c.compare(ctx, t.Path(), concat(hashes))
		if err != nil {
			return err
		}
		if same {
			continue
		}
		// A log that has grown since has a wider tile and may have removed this one.
		if now, moved, err := c.moved(ctx); err != nil {
			return err
		} else if moved && now.Size>>(merkle.TileHeight*level)/merkle.TileWidth > t.Index {
			continue
		}
		c.find("tile", 0, "", "%s", what)
	}
	if root := c.frontier.Root(); c.frontier.Size() == c.head.Size && root != c.head.Root && !c.diverged {
		c.find("head", c.head.Size, "", "the entries give root %s, the head has %s", root, c.head.Root)
	}
	return nil
}

func (c *checker) compareObject(ctx context.Context, key string, want []byte) error {
	same, what, err := c.compare(ctx, key, want)
	if err == nil && !same {
		c.find("tile", 0, "", "%s", what)
	}
	return err
}

// compare reads an object of which no more than the expected bytes are believed.
func (c *checker) compare(ctx context.Context, key string, want []byte) (same bool, what string, err error) {
	c.res.Tiles++
	body, _, err := c.objects.Open(ctx, key, "")
	if errors.Is(err, notary.ErrObjectNotFound) {
		return false, key + " is missing in the object store", nil
	}
	if err != nil {
		return false, "", fmt.Errorf("open %s: %w", key, err)
	}
	defer body.Close()
	got, err := io.ReadAll(io.LimitReader(body, int64(len(want))+1))
	if err != nil {
		return false, "", fmt.Errorf("read %s: %w", key, err)
	}
	return bytes.Equal(got, want), key + " is not what the entries give", nil
}

func concat(hashes []merkle.Hash) []byte {
	b := make([]byte, 0, len(hashes)*merkle.HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// markReached compares every stored checkpoint of the size that the tree has now, and the
// published one.
func (c *checker) markReached(ctx context.Context) error {
	if p := c.published; p != nil && p.Size == c.frontier.Size() && p.Root != c.frontier.Root() {
		c.find("checkpoint", p.Size, "", "the entries give root %s at size %d, published is %s", c.frontier.Root(),
			p.Size, p.Root)
	}
	for {
		if err := c.readMarks(ctx); err != nil || len(c.next) == 0 || c.next[0].Size > c.frontier.Size() {
			return err
		}
		m := c.next[0]
		c.next, c.lastMark = c.next[1:], int64(m.Size)
		c.mark(m)
	}
}

// readMarks reads on when no checkpoint is at hand.
func (c *checker) readMarks(ctx context.Context) (err error) {
	if len(c.next) > 0 {
		return nil
	}
	if c.next, err = c.rows.CheckpointsFrom(ctx, c.lastMark, chunk); err != nil {
		return fmt.Errorf("read checkpoints: %w", err)
	}
	return nil
}

func (c *checker) mark(m StoredCheckpoint) {
	c.res.Checkpoints++
	c.headMark = c.headMark || m.Size == c.head.Size
	opened, err := c.open(m.Note)
	switch {
	case err != nil:
		c.find("checkpoint", m.Size, "", "checkpoint %d: %v", m.Size, err)
	case opened.Size != m.Size || opened.Root != m.Root:
		c.find("checkpoint", m.Size, "", "the row of checkpoint %d says something else than its note", m.Size)
	case m.Root != c.frontier.Root() && !c.diverged:
		c.diverged = true
		c.find("checkpoint", m.Size, "",
			"the entries give root %s at size %d, signed was %s; roots of later checkpoints were not compared",
			c.frontier.Root(), m.Size, m.Root)
	}
}

// beyond looks for what lies behind the end of the log and was not put there meanwhile.
func (c *checker) beyond(ctx context.Context) error {
	if c.frontier.Size() < c.head.Size {
		return nil // the walk ended early
	}
	if err := c.readMarks(ctx); err != nil {
		return err
	}
	stray, err := c.rows.Entries(ctx, c.head.Received, c.head.Received+1)
	if err != nil {
		return fmt.Errorf("read entry %d: %w", c.head.Received, err)
	}
	now, _, err := c.moved(ctx)
	if err != nil {
		return err
	}
	if len(c.next) > 0 && c.next[0].Size > now.Size {
		c.find("checkpoint", c.next[0].Size, "",
			"there is a signed checkpoint of size %d, but the head has %d entries: the head was set back",
			c.next[0].Size, now.Size)
	}
	if len(stray) > 0 && now.Received == c.head.Received {
		c.find("entry", c.head.Received, "", "there is an entry %d, but only %d were received", c.head.Received,
			c.head.Received)
	}
	if !c.headMark {
		c.find("checkpoint", c.head.Size, "", "the row of the head's checkpoint, size %d, is missing", c.head.Size)
	}
	return nil
}

func (c *checker) open(note []byte) (checkpoint.Checkpoint, error) { return open(c.trust, note) }

// open opens a checkpoint that any of the log's keys signed.
func open(trust *proof.Trust, note []byte) (checkpoint.Checkpoint, error) {
	var keys []*signednote.Verifier
	for _, l := range trust.Logs {
		keys = append(keys, l.Key)
	}
	opened, _, err := checkpoint.Open(note, keys...)
	return opened, err
}

// readPublished reads what the world reads.
func (c *checker) readPublished(ctx context.Context) error {
	note, err := c.objects.Get(ctx, batchlog.CheckpointKey, signednote.MaxNoteSize)
	if errors.Is(err, notary.ErrObjectNotFound) {
		c.find("checkpoint", 0, "", "the object store holds no checkpoint")
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the published checkpoint: %w", err)
	}
	p, err := c.open(note)
	if err != nil {
		c.find("checkpoint", 0, "", "the published checkpoint: %v", err)
		return nil
	}
	c.published = &p
	return nil
}

func (c *checker) anchors(ctx context.Context) error {
	// What the service says is read first: it is written with or after the evidence.
	said, err := c.rows.Progress(ctx)
	if err != nil {
		return fmt.Errorf("read the log's progress: %w", err)
	}
	found := said.Anchored == 0
	for after := int64(0); ; {
		list, err := c.rows.AnchorsFrom(ctx, after, chunk)
		if err != nil {
			return fmt.Errorf("read anchors: %w", err)
		}
		for _, a := range list {
			c.res.Anchors++
			after = int64(a.Size)
			found = found || a.Size == said.Anchored
			if err := c.anchor(ctx, a); err != nil {
				c.find("anchor", a.Size, "", "anchor of size %d on %s: %v", a.Size, a.Target, err)
			}
		}
		if len(list) < chunk {
			break
		}
	}
	if !found {
		c.find("anchor", said.Anchored, "",
			"the log counts %d entries as anchored, but there is no evidence for that size", said.Anchored)
	}
	return nil
}

func (c *checker) anchor(ctx context.Context, a StoredAnchor) error {
	return CheckAnchor(ctx, c.rows, c.trust, a)
}

// CheckAnchor says why no bundle can use an anchor; nil where one can. It checks what the bundle of the
// last entry under the checkpoint checks of it. Where that entry cannot be read, which is a finding of
// its own, the evidence alone is checked.
func CheckAnchor(ctx context.Context, rows Rows, trust *proof.Trust, a StoredAnchor) error {
	mark, err := open(trust, a.Note)
	if err != nil {
		return err
	}
	if mark.Size != a.Size {
		return fmt.Errorf("its checkpoint is of size %d", mark.Size)
	}
	last, err := lastUnder(ctx, rows, a.Size)
	if err != nil {
		return err
	}
	if last == nil {
		return proof.CheckAnchor(trust, mark, a.Evidence)
	}
	return proof.CheckAnchored(trust, a.Note, *last, a.Evidence)
}

// lastUnder is the statement of the last entry of a log of this size; nil where it cannot be read.
func lastUnder(ctx context.Context, rows Rows, size uint64) (*statement.Statement, error) {
	if size == 0 {
		return nil, nil
	}
	var damaged *batchlog.DamagedEntryError
	list, err := rows.Entries(ctx, size-1, size)
	if errors.As(err, &damaged) || err == nil && len(list) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read entry %d: %w", size-1, err)
	}
	s, err := statement.Parse(list[0].Statement)
	if err != nil {
		return nil, nil
	}
	return &s, nil
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
