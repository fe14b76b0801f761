package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// A mirror keeps what bundles are made of, so that evidence outlives the operator: the entries and the tiles over
// them as the log lays them out, and in folders of their own the anchored checkpoints and the signers' certificates.
// All of it is verified before it is kept, and again as it is read at a start.
const (
	anchorsName      = "anchors"
	certificatesName = "certificates"
)

// Kept is what a mirror takes from a service beside its [Log]. Anchored are anchored checkpoints of more than so many
// entries, the smallest first; not all at once. Certificates is the signer's with this SM3 and those above it.
type Kept interface {
	Anchored(ctx context.Context, after uint64) ([]Anchored, error)
	Certificates(ctx context.Context, sm3 string) ([][]byte, error)
}

// Anchored is a checkpoint with the evidence for it.
type Anchored struct {
	Note    string            `json:"checkpoint"`
	Anchors []json.RawMessage `json:"anchors"`
}

// edge is the right edge of the tiles of one level.
type edge struct {
	full   uint64 // tiles
	hashes []merkle.Hash
}

// keepLeaf takes a leaf into the tree, and keeps the tiles that it completes.
func (m *Monitor) keepLeaf(leaf merkle.Hash) error {
	failed := m.keepNode(0, leaf)
	m.audit.tree.AppendVisit(leaf, func(id merkle.NodeID, h merkle.Hash) {
		if id.Level%merkle.TileHeight == 0 {
			failed = errors.Join(failed, m.keepNode(id.Level/merkle.TileHeight, h))
		}
	})
	return failed
}

func (m *Monitor) keepNode(level uint, h merkle.Hash) error {
	if m.Mirror == nil {
		return nil
	}
	for uint(len(m.audit.edges)) <= level {
		m.audit.edges = append(m.audit.edges, edge{})
	}
	e := &m.audit.edges[level]
	if e.hashes = append(e.hashes, h); len(e.hashes) < merkle.TileWidth {
		return nil
	}
	err := m.Folder.keepTile(merkle.Tile{Level: level, Index: e.full, Width: merkle.TileWidth}.Path(), joined(e.hashes))
	e.full, e.hashes = e.full+1, nil
	return err
}

func joined(hashes []merkle.Hash) []byte {
	var out []byte
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// mirrored keeps what the audit has verified beside full tiles: the edge, and the certificates of new signers.
func (m *Monitor) mirrored(ctx context.Context) error {
	if m.Mirror == nil {
		return nil
	}
	for level, e := range m.audit.edges {
		if w := len(e.hashes); w > 0 {
			t := merkle.Tile{Level: uint(level), Index: e.full, Width: w}
			if err := m.Folder.keepTile(t.Path(), joined(e.hashes)); err != nil {
				return err
			}
		}
	}
	for d := range m.audit.signers {
		if err := m.certificate(ctx, d); err != nil {
			return err
		}
		delete(m.audit.signers, d)
	}
	return m.anchors(ctx)
}

// certificate keeps a signer's certificates. That they are what entries name is all that is checked: what they are
// worth says whoever verifies a bundle.
func (m *Monitor) certificate(ctx context.Context, d sm.Digest) error {
	name := filepath.Join(certificatesName, d.String()+".json")
	if _, err := os.Stat(m.Folder.Path(name)); err == nil {
		return nil
	}
	chain, err := m.Mirror.Certificates(ctx, d.String())
	if err == nil && (len(chain) == 0 || sm.Sum(chain[0]) != d) {
		err = errors.New("another one is answered")
	}
	if err != nil {
		return unreachable("the certificate "+d.String(), err)
	}
	return m.Folder.write(name, chain)
}

// anchors keeps the anchored checkpoints up to the last one that was verified. Evidence that does not hold is
// left out: an instance may have some that a former key signed.
func (m *Monitor) anchors(ctx context.Context) error {
	for {
		list, err := m.Mirror.Anchored(ctx, m.state.Anchored)
		if err != nil {
			return unreachable("the anchors", err)
		}
		before := m.state.Anchored
		for _, a := range list {
			c, _, err := proof.VerifyAnchoredCheckpoint(m.Trust, []byte(a.Note), a.Anchors)
			if c.Size <= m.state.Anchored {
				continue
			}
			if c.Size > m.last().Size {
				break
			}
			if err == nil {
				ok, err := m.related(ctx, c, []byte(a.Note), m.last(), []byte(m.state.Note), NotConsistent, "")
				if err != nil || !ok {
					return err
				}
				name := filepath.Join(anchorsName, strconv.FormatUint(c.Size, 10)+".json")
				if err := m.Folder.write(name, a); err != nil {
					return err
				}
			}
			m.state.Anchored = c.Size
		}
		if m.state.Anchored == before {
			return nil
		}
		if err := m.keep(); err != nil {
			return err
		}
	}
}

// keepTile writes a tile or a bundle of entries, and removes the narrower ones that it takes the place of. A crash
// before the removal leaves files that nothing reads.
func (f *Folder) keepTile(path string, data []byte) error {
	if old, err := os.ReadFile(f.Path(path)); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Path(path)), 0o700); err != nil {
		return err
	}
	if err := f.replace(path, data); err != nil {
		return err
	}
	if filepath.Ext(filepath.Dir(path)) != ".p" {
		return os.RemoveAll(f.Path(path + ".p"))
	}
	list, err := os.ReadDir(filepath.Dir(f.Path(path)))
	for _, e := range list {
		if e.Name() != filepath.Base(path) {
			err = errors.Join(err, os.Remove(filepath.Join(filepath.Dir(f.Path(path)), e.Name())))
		}
	}
	return err
}

// Tile implements the reading half of [Log] out of a mirror, for tiles of hashes.
func (f *Folder) Tile(_ context.Context, path string) ([]byte, error) {
	t, err := merkle.ParseTilePath(path)
	if err != nil {
		return nil, err
	}
	data, err := f.widest(path, t.Width)
	return data[:min(len(data), t.Width*merkle.HashSize)], err
}

// widest reads a tile, or one that took its place since: it begins with the same.
func (f *Folder) widest(path string, width int) ([]byte, error) {
	data, err := os.ReadFile(f.Path(path))
	if !errors.Is(err, fs.ErrNotExist) || width == merkle.TileWidth {
		return data, err
	}
	dir := filepath.Dir(path)
	if data, err := os.ReadFile(f.Path(strings.TrimSuffix(dir, ".p"))); err == nil {
		return data, nil
	}
	list, _ := os.ReadDir(f.Path(dir)) // what cannot be read is not there
	for _, e := range list {
		if w, err := strconv.Atoi(e.Name()); err == nil && w > width {
			return os.ReadFile(f.Path(dir, e.Name()))
		}
	}
	return nil, err
}

// entryBundle reads entries out of the mirror where it has them, and else from the service; own is true for the
// mirror's.
func (m *Monitor) entryBundle(ctx context.Context, t merkle.Tile) (data []byte, own bool, err error) {
	if m.Mirror != nil {
		data, err := os.ReadFile(m.Folder.Path(t.EntriesPath())) // of exactly this width
		if !errors.Is(err, fs.ErrNotExist) {
			return data, true, err
		}
	}
	if data, err = m.Log.Tile(ctx, t.EntriesPath()); err != nil {
		return nil, false, unreachable("entries", err)
	}
	return data, false, nil
}

// sign notes who has signed an entry.
func (a *audit) sign(e statement.Entry) {
	if !status.OfNoRecord(e.Statement) {
		if a.signers == nil {
			a.signers = map[sm.Digest]bool{}
		}
		a.signers[e.Certificate] = true
	}
}

// Rebuilt is a record's bundle as it was made out of a mirror.
type Rebuilt struct {
	Number string
	Bundle []byte
	Report *proof.Report // of the bundle without a document
}

// Rebuild makes the bundles of all records in a mirror, in the order of the log, and hands them to each. Attributes
// are not in the log, and so not in these bundles.
func (f *Folder) Rebuild(ctx context.Context, trust *proof.Trust, each func(Rebuilt) error) error {
	r, err := f.open()
	if err != nil {
		return err
	}
	ends, err := r.ends()
	if err != nil {
		return err
	}
	return r.each(func(index uint64, e statement.Entry, s statement.Statement) error {
		if s.Action != statement.Issue {
			return nil
		}
		main, err := r.evidence(ctx, index, e)
		if err != nil {
			return err
		}
		b := &proof.Bundle{Evidence: *main, UserID: sm.UserID}
		if at, ended := ends[status.RecordKey(s.Number, s.Agency.Code)]; ended {
			later, err := r.entry(at)
			if err != nil {
				return err
			}
			if b.Standing, err = r.evidence(ctx, at, later); err != nil {
				return err
			}
		}
		text := b.Encode()
		return each(Rebuilt{Number: s.Number, Bundle: text, Report: proof.Verify(trust, nil, text)})
	})
}

// errMirror: the folder is no complete mirror.
var errMirror = errors.New("the folder has no complete mirror: run stele monitor --mirror until it ends without a " +
	"complaint")

func mirrorError(what string, err error) error { return fmt.Errorf("%w: %s: %w", errMirror, what, err) }
