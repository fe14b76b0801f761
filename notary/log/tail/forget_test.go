package tail_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"stele/notary"
	"stele/notary/log/tail"
	"stele/notary/register/erasure"
	"stele/storage/storagetest"
)

// hooked calls before what it does with a stretch, the first time.
type hooked struct {
	storagetest.Store
	beforeGet func(key string)
	beforePut func(key string, data []byte)
}

func (h *hooked) Get(ctx context.Context, key string, max int64) ([]byte, error) {
	if f := h.beforeGet; f != nil && strings.HasPrefix(key, tail.EntriesPrefix) {
		h.beforeGet = nil
		f(key)
	}
	return h.Store.Get(ctx, key, max)
}

func (h *hooked) PutOnce(ctx context.Context, key string, data []byte) error {
	if f := h.beforePut; f != nil && strings.HasPrefix(key, tail.EntriesPrefix) {
		h.beforePut = nil
		f(key, data)
	}
	return h.Store.PutOnce(ctx, key, data)
}

// erase erases all of a record, with another process's tail.
func (f *fixture) erase(t *testing.T, rec notary.Record, objects tail.Objects) {
	t.Helper()
	tl := tail.New(f.DB.Log, objects, tail.Options{Sealer: f.sealer(), Log: storagetest.Discard})
	_, err := erasure.New(f.DB.Log, f.objects, tl, f.Now, storagetest.Discard).Erase(t.Context(),
		erasure.Request{AgencyID: f.Agency.ID, Record: rec.ID, All: true, Reason: "asked for"})
	fatalIfErr(t, err)
}

// Of two erasures at once in one stretch, one read the rows before the other's were written, and puts its
// revision first: the other one makes a revision after it.
func TestErasedAtOnce(t *testing.T) {
	for _, moment := range []string{"before the put", "before the read"} {
		t.Run(moment, func(t *testing.T) {
			f := newFixture(t, storagetest.Embedded)
			recs := f.received(t, f.Items(t, 3)...)
			f.erase(t, recs[0], &hooked{Store: f.objects, beforePut: func(key string, stale []byte) {
				other := &hooked{Store: f.objects}
				if moment == "before the put" {
					other.beforePut = func(string, []byte) { fatalIfErr(t, f.objects.PutOnce(t.Context(), key, stale)) }
				} else {
					other.beforeGet = func(former string) {
						fatalIfErr(t, f.objects.PutOnce(t.Context(), key, stale))
						fatalIfErr(t, f.objects.Delete(t.Context(), former))
					}
				}
				f.erase(t, recs[1], other)
			}})
			var names []string
			fatalIfErr(t, f.objects.List(t.Context(), tail.EntriesPrefix, func(o notary.Object) error {
				names = append(names, o.Key)
				return nil
			}))
			all := f.stretches(t)
			for i, want := range []bool{false, false, true} {
				if has := all[0].Entries[i].Record.Fields[0].Value != ""; has != want {
					t.Errorf("record %d has its attribute: %v", i, has)
				}
			}
			if len(names) != 1 {
				t.Errorf("revisions that may have what was erased are left: %v", names)
			}
		})
	}
}

// A stretch that cannot be renewed keeps no other one from it, and nothing from being removed.
func TestSweepGoesOn(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	first, second := f.received(t, f.Items(t, 2)...), f.received(t, f.Items(t, 2)...)
	f.received(t, f.Items(t, 2)...)
	f.objects.err = errors.New("the bucket is down")
	f.erase(t, first[0], f.objects)
	f.erase(t, second[0], f.objects)
	f.objects.err = nil
	damaged := tail.Name{First: 0, Count: 2}.String()
	fatalIfErr(t, f.objects.Delete(t.Context(), damaged))
	fatalIfErr(t, f.objects.PutOnce(t.Context(), damaged, []byte("damaged")))
	fatalIfErr(t, f.objects.PutOnce(t.Context(), tail.Name{First: 4, Count: 2, Revision: 1}.String(),
		[]byte("a revision")))
	n, err := f.open(f.Now).Sweep(t.Context())
	if !errors.Is(err, tail.ErrFormat) || !strings.Contains(err.Error(), "of the record at 0") || n != 1 {
		t.Errorf("%d were removed, %v", n, err)
	}
	s, err := tail.NewReader(f.objects, f.sealer()).Stretch(t.Context(), tail.Name{First: 2, Count: 2, Revision: 1})
	if err != nil || s.Entries[0].Record.Fields[0].Value != "" {
		t.Errorf("%+v, %v", s, err)
	}
}

// What was removed for its age is not put again because an older stretch, renewed after an erasure, is
// still there.
func TestNothingOldIsPutAgain(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	old := f.received(t, f.Items(t, 2)...)
	f.received(t, f.Items(t, 2)...)
	f.received(t, f.Items(t, 1)...)
	f.erase(t, old[0], f.objects)
	fatalIfErr(t, f.objects.Delete(t.Context(), tail.Name{First: 2, Count: 2}.String()))
	f.ReceiveItems(t, f.Items(t, 1)...) // by a server that died
	f.until(t, f.open(nil), "the newest is put", func() bool {
		newest, err := tail.Newest(t.Context(), f.objects, 6)
		fatalIfErr(t, err)
		return newest == 6
	})
	if n := f.covered(t); n != 2 {
		t.Errorf("%d entries are kept from the first on", n)
	}
}
