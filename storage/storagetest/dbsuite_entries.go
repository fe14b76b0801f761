package storagetest

import (
	"slices"
	"testing"

	"stele/notary/register/intake"
)

// testAgencyEntries: whatever the size of a page, an agency gets each of its entries once, in order, revocations
// and replacements among them, and none of another agency's.
func testAgencyEntries(t *testing.T, s *Site) {
	own := s.Receive(t, 5)
	foreign := s.Items(t, 2)
	for _, it := range foreign {
		s.Foreign(t, it)
	}
	others := s.ReceiveItems(t, foreign...)
	s.ReceiveItems(t, s.Revocation(t, own[3], "one"), s.Revocation(t, own[0], "two"))
	s.ReceiveItems(t, s.Replacement(t, own[1]))
	var more []*intake.Item
	for _, i := range []int{2, 4} {
		more = append(more, s.Revocation(t, own[i], "more"))
	}
	s.ReceiveItems(t, more...)
	end := s.received(t)
	var want []uint64
	for i := range end {
		if i != others[0].Index && i != others[1].Index {
			want = append(want, i)
		}
	}
	for _, limit := range []int{1, 2, 3, 100} {
		for from := range end {
			var got []uint64
			for next := from; next < end; {
				list, covered, err := s.DB.Log.AgencyEntries(t.Context(), s.Agency.ID, next, end, limit)
				fatalIfErr(t, err)
				if len(list) > limit || covered <= next || covered > end {
					t.Fatalf("from %d in pages of %d: %d entries, covered %d", next, limit, len(list), covered)
				}
				for _, e := range list {
					got = append(got, e.Index)
				}
				next = covered
			}
			first, _ := slices.BinarySearch(want, from)
			if !slices.Equal(got, want[first:]) {
				t.Errorf("from %d in pages of %d: %d, want %d", from, limit, got, want[first:])
			}
		}
	}
	all, err := s.DB.Log.Entries(t.Context(), 0, end)
	fatalIfErr(t, err)
	list, _, err := s.DB.Log.AgencyEntries(t.Context(), s.Agency.ID, 0, end-1, 100)
	fatalIfErr(t, err)
	for _, e := range list {
		if e.Index >= end-1 || e.Entry.LeafHash() != all[e.Index].LeafHash() {
			t.Errorf("entry %d is not the log's", e.Index)
		}
	}
}
