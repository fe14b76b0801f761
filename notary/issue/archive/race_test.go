package archive_test

import (
	"errors"
	"testing"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/batchlog"
	"stele/storage/storagetest"
)

func pemText(chain [][]byte) string { return string(pki.EncodePEM(chain...)) }

// The log grows over the end of a tile, and partial tiles go, between any two reads of
// somebody who makes a proof.
func TestTilesReplacedWhileReading(t *testing.T) {
	for name, read := range map[string]func(t *testing.T, f *fixture, r notary.Record) error{
		"bundle": func(t *testing.T, f *fixture, r notary.Record) error {
			_, err := f.archive.Bundle(t.Context(), r, true)
			return err
		},
		"tile": func(t *testing.T, f *fixture, _ notary.Record) error {
			_, err := f.archive.Tile(t.Context(), merkle.Tile{Width: 200})
			return err
		},
		"consistency": func(t *testing.T, f *fixture, _ notary.Record) error {
			_, err := f.archive.ConsistencyProof(t.Context(), 100, 250)
			return err
		},
	} {
		for call := 1; call <= 2; call++ {
			t.Run(name, func(t *testing.T) {
				f := newFixture(t, storagetest.Embedded)
				recs := f.Receive(t, 250)
				f.Sequence(t)
				f.archive = archive.New(f.db, batchlog.NewTiles(f.objects, 0), f.World.Trust()) // reads each time
				held := f.objects.Inject(storagetest.Fault{Op: storagetest.OpGet, Mode: storagetest.Hold, Call: call})
				done := make(chan error, 1)
				go func() { done <- read(t, f, recs[101]) }()
				select {
				case <-held.Hit():
					f.Receive(t, 300)
					f.Sequence(t)
					f.Anchor(t)
					held.Release()
					fatalIfErr(t, <-done)
				case err := <-done: // it reads fewer tiles
					fatalIfErr(t, err)
				}
			})
		}
	}
}

// The log advances and is anchored between the look at its head and that at the evidence.
func TestAnchoredWhileReading(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	recs := f.Receive(t, 200)
	f.Sequence(t)
	held := f.db.Inject(storagetest.Fault{Op: storagetest.OpEvidence, Mode: storagetest.Hold, Call: 1})
	done := make(chan error, 1)
	go func() {
		_, err := f.archive.Bundle(t.Context(), recs[101], true)
		done <- err
	}()
	<-held.Hit()
	f.Receive(t, 300)
	f.Sequence(t)
	f.Anchor(t)
	held.Release()
	fatalIfErr(t, <-done)
}

// A store that is away is no damage: the caller asks again later.
func TestOutages(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	r := f.Receive(t, 3)[0]
	f.Sequence(t)
	f.archive = archive.New(f.db, batchlog.NewTiles(f.objects, 0), f.World.Trust())
	f.objects.Inject(storagetest.Fault{Op: storagetest.OpGet, Mode: storagetest.Fail})
	_, err := f.archive.Bundle(t.Context(), r, true)
	wantCode(t, err, notary.CodeUnavailable)
	_, err = f.archive.Tile(t.Context(), merkle.Tile{Width: 2})
	wantCode(t, err, notary.CodeUnavailable)
	f.objects.Heal()
	for _, op := range []storagetest.Op{storagetest.OpHead, storagetest.OpEvidence} {
		f.db.Inject(storagetest.Fault{Op: op, Mode: storagetest.Fail})
		_, err = f.archive.Bundle(t.Context(), r, true)
		wantCode(t, err, notary.CodeUnavailable)
		f.db.Heal()
	}
	f.db.Inject(storagetest.Fault{Op: storagetest.OpHead, Mode: storagetest.Fail})
	_, err = f.archive.Checkpoint(t.Context())
	wantCode(t, err, notary.CodeUnavailable)
	_, err = f.archive.ConsistencyProof(t.Context(), 0, 1)
	wantCode(t, err, notary.CodeUnavailable)
	f.db.Heal()
	fatalIfErr(t, func() error { _, err := f.archive.Bundle(t.Context(), r, true); return err }())
	f.db.Inject(storagetest.Fault{Op: storagetest.OpFindRecord, Mode: storagetest.Fail})
	_, err = f.archive.Record(t.Context(), "", r.ID)
	wantCode(t, err, notary.CodeUnavailable)
}

// An agency gets the same answer for another's record as for none.
func TestIsolation(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	r := f.Receive(t, 1)[0]
	_, err1 := f.archive.Record(t.Context(), "other", r.ID)
	_, err2 := f.archive.Record(t.Context(), "other", "none")
	wantCode(t, err1, notary.CodeNotFound)
	if err2 == nil || err1.Error() != err2.Error() {
		t.Errorf("%v and %v can be told apart", err1, err2)
	}
	if list, err := f.archive.List(t.Context(), archive.Filter{AgencyID: "other", SM3: &r.SM3,
		Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("%d records of another agency, %v", len(list), err)
	}
}

// Tiles and proofs are given as far as the log reaches, and no further.
func TestTilesAndProofs(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.Receive(t, 300)
	f.Sequence(t)
	head, err := f.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	for _, c := range []struct {
		tile merkle.Tile
		ok   bool
	}{
		{merkle.Tile{Width: 256}, true}, {merkle.Tile{Width: 100}, true}, {merkle.Tile{Index: 1, Width: 44}, true},
		{merkle.Tile{Index: 1, Width: 1}, true}, {merkle.Tile{Level: 1, Width: 1}, true},
		{merkle.Tile{Index: 1, Width: 45}, false}, {merkle.Tile{Index: 1, Width: 256}, false},
		{merkle.Tile{Index: 2, Width: 1}, false}, {merkle.Tile{Level: 1, Width: 2}, false},
		{merkle.Tile{Level: 2, Width: 1}, false}, {merkle.Tile{Level: 7, Width: 1}, false},
		{merkle.Tile{Index: 1 << 56, Width: 1}, false}, {merkle.Tile{Index: 1<<56 + 1, Width: 44}, false},
		{merkle.Tile{Index: 1<<64 - 1, Width: 256}, false},
	} {
		data, err := f.archive.Tile(t.Context(), c.tile)
		if c.ok && (err != nil || len(data) != c.tile.Width*merkle.HashSize) {
			t.Errorf("%s: %d bytes, %v", c.tile.Path(), len(data), err)
		}
		if !c.ok {
			wantCode(t, err, notary.CodeNotFound)
		}
	}
	path, err := f.archive.ConsistencyProof(t.Context(), 0, 300)
	if err != nil || len(path) != 0 {
		t.Error(path, err)
	}
	for _, c := range [][2]uint64{{2, 1}, {1, 301}, {301, 301}} {
		_, err := f.archive.ConsistencyProof(t.Context(), c[0], c[1])
		wantCode(t, err, notary.CodeInvalid)
	}
	note, err := f.archive.Checkpoint(t.Context())
	if err != nil || string(note) != string(head.Note) {
		t.Error(string(note), err)
	}
	if o, err := f.archive.Origin(t.Context()); err != nil || o != f.World.Origin() {
		t.Error(o, err)
	}
	if errors.Is(err, archive.ErrOwnBundle) {
		t.Error(err)
	}
}
