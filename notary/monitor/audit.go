package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// audit is what follows from the entries up to a place. It is made anew with each start.
type audit struct {
	tree    merkle.Frontier
	status  status.State
	edges   []edge             // of a mirror's tiles, by level
	signers map[sm.Digest]bool // whose certificates may have to be fetched
}

var errEntries = errors.New("a bundle of entries is out of form")

// audited fetches the entries up to the last checkpoint, compares their root with it, and each status statement with
// what follows from the entries before it.
func (m *Monitor) audited(ctx context.Context) error {
	if !m.Audit || m.state.Note == "" {
		return nil
	}
	if m.audit == nil {
		m.audit = &audit{}
	}
	c := m.last()
	for m.audit.tree.Size() < c.Size {
		if err := m.auditBundle(ctx, c.Size); err != nil {
			m.audit = nil // whatever was taken in: the next round begins anew
			if errors.Is(err, errEntries) {
				return m.find(Finding{Code: NotConsistent, Subject: "entries" + m.state.Note, Detail: fmt.Sprintf(
					"The entries that the service hands out are not those of the log of %d entries: %v.", c.Size, err),
					Evidence: map[string]string{"checkpoint": m.state.Note}})
			}
			return err
		}
	}
	if root := m.audit.tree.Root(); root != c.Root {
		m.audit = nil
		return m.find(Finding{Code: NotConsistent, Subject: "root" + m.state.Note, Detail: fmt.Sprintf(
			"The entries that the service hands out give the root %s, and the log has signed another for %d entries.",
			root, c.Size), Evidence: map[string]string{"checkpoint": m.state.Note}})
	}
	if m.Mirror != nil && m.state.Mirror != m.state.Note {
		if err := m.mirrored(ctx); err != nil {
			return err
		}
		m.state.Mirror = m.state.Note
	}
	m.state.AuditAsOf = m.Now().UTC()
	return m.keep()
}

// auditBundle takes in the entries of the next bundle that are not taken in yet.
func (m *Monitor) auditBundle(ctx context.Context, size uint64) error {
	at := m.audit.tree.Size()
	t := merkle.Tile{Index: at / merkle.TileWidth}
	first := t.Index * merkle.TileWidth
	t.Width = int(min(size-first, merkle.TileWidth))
	data, own, err := m.entryBundle(ctx, t)
	if err != nil {
		return err
	}
	list, leaves, err := cutBundle(t, data)
	if err == nil {
		err = m.inTree(ctx, first, at-first, leaves)
	}
	if own && errors.Is(err, errEntries) { // the mirror's file is damaged, which is no fault of the service
		if err := os.Remove(m.Folder.Path(t.EntriesPath())); err != nil {
			return err
		}
		return m.auditBundle(ctx, size)
	}
	if err != nil {
		return err
	}
	for i := at - first; i < uint64(t.Width); i++ {
		e := list[i]
		if status.OfNoRecord(e.Statement) {
			if err := m.said(first+i, e); err != nil {
				return err
			}
		}
		if err := m.keepLeaf(leaves[i]); err != nil {
			return err
		}
		m.audit.sign(e)
		m.audit.status.Add(e.Statement, leaves[i])
	}
	if m.Mirror == nil {
		return nil
	}
	return m.Folder.keepTile(t.EntriesPath(), data)
}

// cutBundle reads the entries of a bundle that fill it.
func cutBundle(t merkle.Tile, data []byte) (list []statement.Entry, leaves []merkle.Hash, err error) {
	list, rest, err := cutEntries(t, data)
	if err == nil && len(rest) != 0 {
		err = fmt.Errorf("%w: %s has more than its entries", errEntries, t.EntriesPath())
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range list {
		leaves = append(leaves, e.LeafHash())
	}
	return list, leaves, nil
}

// cutEntries reads as many entries as a bundle has, and returns what follows them: those of a wider one.
func cutEntries(t merkle.Tile, data []byte) (list []statement.Entry, rest []byte, err error) {
	for range t.Width {
		var e statement.Entry
		if e, data, err = statement.CutEntry(data); err != nil {
			return nil, nil, fmt.Errorf("%w: %s", errEntries, t.EntriesPath())
		}
		list = append(list, e)
	}
	return list, data, nil
}

// inTree checks that the leaves of a bundle, but for the first few, are in the tree at their places, from index
// first on. A full bundle is a subtree, which one path shows: its lower part is made of the leaves at hand.
func (m *Monitor) inTree(ctx context.Context, first, skip uint64, leaves []merkle.Hash) error {
	c := m.last()
	if len(leaves) == merkle.TileWidth {
		path, err := merkle.InclusionProof(first, c.Size, m.tiles.nodes(ctx, c.Size))
		if err != nil {
			return unreachable("tiles", err)
		}
		own, err := merkle.ListInclusion(leaves, 0)
		if err != nil {
			return err
		}
		copy(path, own)
		if merkle.VerifyInclusion(first, c.Size, leaves[0], path, c.Root) != nil {
			return fmt.Errorf("%w: entries %d to %d are not in the tree", errEntries, first, first+merkle.TileWidth-1)
		}
		return nil
	}
	for i := skip; i < uint64(len(leaves)); i++ {
		there, err := m.included(ctx, first+i, leaves[i], c)
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("%w: entry %d is not in the tree", errEntries, first+i)
		}
	}
	return nil
}

// said compares a status statement with what follows from the entries before it, and looks who signed a revocation.
func (m *Monitor) said(index uint64, e statement.Entry) error {
	if status.IsRevocation(e.Statement) {
		return m.revoked(index, e)
	}
	want, err := m.audit.status.Snapshot().Statement(m.state.Origin).Encode()
	if err != nil {
		return err
	}
	_, err = status.VerifyEntry(e, m.state.Origin, m.Trust.LogKeys(m.state.Origin))
	if err == nil && bytes.Equal(want, e.Statement) {
		return nil
	}
	detail := fmt.Sprintf("The status statement at entry %d does not follow from the entries before it.", index)
	if err != nil {
		detail = fmt.Sprintf("The status statement at entry %d is not the log's: %v.", index, err)
	}
	return m.find(Finding{Code: StatusDiffers, Subject: fmt.Sprint(index), Index: &index, Detail: detail,
		Evidence: map[string]string{"says": string(e.Statement), "follows": string(want), "checkpoint": m.state.Note}})
}

// revoked checks that a root has signed the revocation of a certificate: the log cannot revoke one by itself.
func (m *Monitor) revoked(index uint64, e statement.Entry) error {
	_, err := status.VerifyRevocation(e, m.Trust.Certificates())
	if err == nil {
		return nil
	}
	return m.find(Finding{Code: ForgedRevocation, Subject: fmt.Sprint(index), Index: &index, Detail: fmt.Sprintf(
		"Entry %d revokes a certificate, and none of your trust roots has signed it: %v.", index, err),
		Evidence: map[string]string{"says": string(e.Statement), "checkpoint": m.state.Note}})
}
