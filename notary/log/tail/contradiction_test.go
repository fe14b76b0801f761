package tail_test

import (
	"errors"
	"testing"

	"stele/notary/log/tail"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// putOther puts other entries than the database has, as a server does whose database is another.
func (f *fixture) putOther(t *testing.T, first uint64, count int) {
	t.Helper()
	other := tail.New(f.DB.Log, f.objects, tail.Options{Sealer: f.sealer(), Log: storagetest.Discard, From: first})
	fatalIfErr(t, other.Put(t.Context(), intake.Group{First: first, Items: f.Items(t, count)}))
}

func wantContradiction(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, tail.ErrContradiction) {
		t.Errorf("got %v", err)
	}
}

// Another entry at the same index is a database that went back: that is an error, not an outage, whatever
// the sizes of the groups are. It ends the tail, and nothing is put after it.
func TestContradiction(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		for mine, theirs := range map[int]int{1: 1, 2: 1, 3: 4} {
			f := newFixture(t, b)
			f.putOther(t, 0, theirs)
			ended := make(chan error, 1)
			go func() { ended <- f.tail.Run(t.Context()) }()
			wantContradiction(t, f.tail.Put(t.Context(), intake.Group{First: 0, Items: f.Items(t, mine)}))
			wantContradiction(t, <-ended)
			wantContradiction(t, f.tail.Put(t.Context(), intake.Group{First: 9, Items: f.Items(t, 1)}))
			if newest, err := tail.Newest(t.Context(), f.objects, 0); err != nil || newest > 9 {
				t.Errorf("put after the contradiction: up to %d, %v", newest, err)
			}
		}
	})
}

// The same entries in groups of another size are no contradiction: a server puts what another left.
func TestOverlapOfTheSame(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		items := f.Items(t, 4)
		f.received(t, items...)
		for _, g := range []intake.Group{{First: 0, Items: items[:1]}, {First: 1, Items: items[1:4]},
			{First: 0, Items: items}} {
			fatalIfErr(t, f.open(nil).Put(t.Context(), g))
		}
		left := uint64(4)
		f.until(t, f.open(nil), "the background work goes on after it has compared them", func() bool {
			if f.covered(t) == left && left < 6 { // another server received one and died
				f.ReceiveItems(t, f.Items(t, 1)...)
				left++
			}
			return f.covered(t) == 6
		})
		fatalIfErr(t, f.tail.CompareNewest(t.Context(), 4))
	})
}

// What overlaps and begins elsewhere is found by the background work, and so is what another server put
// where this one put nothing.
func TestContradictionInTheBackground(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		t.Run("overlapping", func(t *testing.T) {
			f := newFixture(t, b)
			f.received(t, f.Items(t, 3)...)
			f.putOther(t, 1, 1)
			wantContradiction(t, f.open(nil).Run(t.Context()))
		})
		t.Run("in place of ours", func(t *testing.T) {
			f := newFixture(t, b)
			f.ReceiveItems(t, f.Items(t, 4)...)
			f.putOther(t, 0, 2)
			f.putOther(t, 2, 3)
			wantContradiction(t, f.tail.CompareNewest(t.Context(), 4))
			wantContradiction(t, f.tail.Run(t.Context()))
		})
		t.Run("while it runs", func(t *testing.T) {
			f := newFixture(t, b)
			f.received(t, f.Items(t, 2)...)
			ended := make(chan error, 1)
			go func() { ended <- f.tail.Run(t.Context()) }()
			f.putOther(t, 2, 2)
			f.ReceiveItems(t, f.Items(t, 1)...)
			wantContradiction(t, <-ended)
		})
	})
}

// What nobody can read, for its key is lost, is said, and contradicts nothing.
func TestUnreadableIsNoContradiction(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.received(t, f.Items(t, 2)...)
	lost := tail.New(f.DB.Log, f.objects, tail.Options{Sealer: tail.NewSealer(f.key, "another"),
		Log: storagetest.Discard})
	fatalIfErr(t, lost.CompareNewest(t.Context(), 2))
	fatalIfErr(t, lost.Put(t.Context(), intake.Group{First: 0, Items: f.Items(t, 1)}))
}
