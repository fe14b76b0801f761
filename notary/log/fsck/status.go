package fsck

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"stele/crypto/merkle"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// readStatus reads what the database keeps of the status map. The walk compares it when it is there.
func (c *checker) readStatus(ctx context.Context) (err error) {
	if c.base, err = c.rows.StatusBase(ctx); err != nil {
		return fmt.Errorf("read what is kept of the status map: %w", err)
	}
	return nil
}

// follow takes an entry into the status map, after the walk has checked it by itself. A status statement must be
// what follows from the entries before it: another one is a contradiction that the log's key has signed.
func (c *checker) follow(index uint64, e statement.Entry, leaf merkle.Hash, ofNoRecord bool) error {
	if index == c.base.Size {
		c.kept()
	}
	if ofNoRecord && status.Is(e.Statement) {
		c.res.Statuses++
		want, err := c.status.Snapshot().Statement(c.head.Origin).Encode()
		if err != nil {
			return err
		}
		if !bytes.Equal(want, e.Statement) {
			c.find("status", index, "",
				"the status statement at entry %d says %s; from the entries before it follows %s", index, e.Statement,
				want)
		}
	}
	c.status.Add(e.Statement, leaf)
	return nil
}

// kept compares what the database keeps with what follows from as many entries.
func (c *checker) kept() {
	for _, code := range slices.Sorted(maps.Keys(c.base.Tallies)) {
		if got, want := c.base.Tallies[code], c.status.Tally(code); got != want {
			c.find("status", c.base.Size, "",
				"the tally of agency %s before entry %d is kept as %s; the entries give %s", code, c.base.Size,
				got.Text(), want.Text())
		}
	}
	if n, want := len(c.base.Tallies), c.status.Agencies(); n != want && c.base.Size > 0 {
		c.find("status", c.base.Size, "", "tallies of %d agencies are kept; %d have entries before entry %d", n, want,
			c.base.Size)
	}
	restored := status.Restore(c.base).Snapshot()
	if root := c.status.Snapshot().Map.Root(); c.base.Size > 0 && root != restored.Map.Root() {
		c.find("status", c.base.Size, "", "what is kept gives the map %s before entry %d, the entries give %s",
			restored.Map.Root(), c.base.Size, root)
	}
}
