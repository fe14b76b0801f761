package monitor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// rebuild reads a mirror. It believes the folder: what is made of it is verified as a whole.
type rebuild struct {
	folder   *Folder
	note     []byte
	size     uint64
	tiles    *tiles
	anchored []uint64 // sizes, ascending
	chains   map[sm.Digest][][]byte

	bundle uint64 // which bundle of entries is at hand
	list   []statement.Entry
}

// onDisk is a mirror's side of [Log].
type onDisk struct {
	*Folder
	Log
}

// Tile implements [Log].
func (d onDisk) Tile(ctx context.Context, path string) ([]byte, error) {
	return d.Folder.Tile(ctx, path)
}

func (f *Folder) open() (*rebuild, error) {
	var st state
	if err := f.read(stateName, &st); err != nil {
		return nil, err
	}
	c, err := checkpoint.ParseUnsafe([]byte(st.Mirror))
	if err != nil {
		return nil, mirrorError("the last checkpoint", err)
	}
	r := &rebuild{folder: f, note: []byte(st.Mirror), size: c.Size, tiles: newTiles(onDisk{Folder: f}),
		chains: map[sm.Digest][][]byte{}}
	list, err := os.ReadDir(f.Path(anchorsName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range list {
		if size, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), ".json"), 10, 64); err == nil {
			r.anchored = append(r.anchored, size)
		}
	}
	slices.Sort(r.anchored)
	return r, nil
}

// entry reads one entry; neighbours come out of one file.
func (r *rebuild) entry(index uint64) (statement.Entry, error) {
	if at := index / merkle.TileWidth; r.list == nil || r.bundle != at {
		t := merkle.Tile{Index: at, Width: int(min(r.size-at*merkle.TileWidth, merkle.TileWidth))}
		data, err := r.folder.widest(t.EntriesPath(), t.Width)
		if err != nil {
			return statement.Entry{}, mirrorError("entries", err)
		}
		list, _, err := cutEntries(t, data)
		if err != nil {
			return statement.Entry{}, mirrorError("entries", err)
		}
		r.bundle, r.list = at, list
	}
	return r.list[index%merkle.TileWidth], nil
}

// each calls f with the entries that have a statement of an agency.
func (r *rebuild) each(f func(uint64, statement.Entry, statement.Statement) error) error {
	for i := range r.size {
		e, err := r.entry(i)
		if err != nil {
			return err
		}
		if s, err := statement.Parse(e.Statement); err == nil {
			if err := f(i, e, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// ends are the entries that ended records, by the key of the record: of each the first one.
func (r *rebuild) ends() (map[sm.Digest]uint64, error) {
	out := map[sm.Digest]uint64{}
	return out, r.each(func(index uint64, _ statement.Entry, s statement.Statement) error {
		number := s.Supersedes
		if s.Action == statement.Revoke {
			number = s.Number
		}
		if key := status.RecordKey(number, s.Agency.Code); number != "" {
			if _, before := out[key]; !before {
				out[key] = index
			}
		}
		return nil
	})
}

// evidence is an entry under the first anchored checkpoint that has it, or under the newest one where none has.
func (r *rebuild) evidence(ctx context.Context, index uint64, e statement.Entry) (*proof.Evidence, error) {
	out := &proof.Evidence{Statement: e.Statement, Signature: e.Signature}
	out.Log.Index, out.Log.Checkpoint = index, r.note
	size := r.size
	if i, _ := slices.BinarySearch(r.anchored, index+1); i < len(r.anchored) {
		var a Anchored
		size = r.anchored[i]
		if err := r.folder.read(filepath.Join(anchorsName, strconv.FormatUint(size, 10)+".json"), &a); err != nil {
			return nil, err
		}
		out.Log.Checkpoint, out.Anchors = []byte(a.Note), a.Anchors
	}
	var err error
	if out.Log.Path, err = merkle.InclusionProof(index, size, r.tiles.nodes(ctx, r.size)); err != nil {
		return nil, mirrorError("tiles", err)
	}
	out.Certificates, err = r.chain(e.Certificate)
	return out, err
}

func (r *rebuild) chain(d sm.Digest) ([][]byte, error) {
	if chain, ok := r.chains[d]; ok {
		return chain, nil
	}
	var chain [][]byte
	err := r.folder.read(filepath.Join(certificatesName, d.String()+".json"), &chain)
	if err == nil && len(chain) == 0 {
		err = mirrorError("certificates", fmt.Errorf("those of %s are missing", d))
	}
	r.chains[d] = chain
	return chain, err
}
