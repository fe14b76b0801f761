package intake_test

import (
	"fmt"
	"testing"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

func (f *fixture) batchOf(n int, key func(i int) string) []intake.BatchItem {
	items := make([]intake.BatchItem, n)
	for i := range items {
		items[i] = intake.BatchItem{Draft: f.draft(key(i)), Digest: sm.Sum(fmt.Append(nil, i)), Size: 7}
	}
	return items
}

// A batch asks the store once for all its keys, however many there are; and what it is told is
// what each item alone would have been told.
func TestBatchAsksForItsKeysOnce(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		const n = 700 // more than one of the store's own portions
		key := func(i int) string {
			if i%7 == 0 {
				return "" // some have none
			}
			return fmt.Sprint("key ", i)
		}
		first := f.run(t.Context(), f.batchOf(n, key))
		if calls := f.db.Calls(storagetest.OpFindIdempotent); calls != 1 {
			t.Errorf("%d questions for the keys of one batch", calls)
		}
		again := f.batchOf(n, key)
		again[1].Size = 8 // another request under the same key
		records := n
		for i, r := range f.run(t.Context(), again) {
			fatalIfErr(t, first[i].Err)
			switch {
			case i == 1:
				wantCode(t, r.Err, notary.CodeIdempotency)
			case key(i) == "":
				if records++; r.Err != nil || r.Replay || r.Record.ID == first[i].Record.ID {
					t.Fatalf("item %d without a key: %+v", i, r)
				}
			case r.Err != nil || !r.Replay || r.Record.ID != first[i].Record.ID ||
				r.Record.Index != first[i].Record.Index:
				t.Fatalf("item %d repeated: %+v, before %+v", i, r, first[i])
			}
		}
		f.want(t, 0, records)
	})
}

// Where the keys cannot be looked up the items that have one are refused, as each would be alone;
// nothing of them is saved, and a repetition makes them.
func TestBatchWithoutAnswerForItsKeys(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		f.db.Inject(storagetest.Fault{Op: storagetest.OpFindIdempotent, Mode: storagetest.Fail})
		items := f.batchOf(3, func(i int) string { return []string{"a", "", "c"}[i] })
		out := f.run(t.Context(), items)
		wantCode(t, out[0].Err, notary.CodeUnavailable)
		fatalIfErr(t, out[1].Err)
		wantCode(t, out[2].Err, notary.CodeUnavailable)
		f.want(t, 0, 1)
		f.db.Heal()
		for i, r := range f.run(t.Context(), items) {
			fatalIfErr(t, r.Err)
			if r.Replay {
				t.Errorf("item %d was there before", i)
			}
		}
		f.want(t, 0, 4)
	})
}
