package batchlog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// Around the widths of a tile, with every entry proven under every size on the way.
func TestSizes(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	var leaves []merkle.Hash
	for _, size := range []uint64{1, 2, 254, 255, 256, 257, 510, 511, 512, 513, 769} {
		items := m.site.Items(t, int(size-m.frontier.Size()))
		m.site.ReceiveItems(t, items...)
		for _, it := range items {
			m.frontier.Append(it.Entry.LeafHash())
			m.roots[m.frontier.Size()] = m.frontier.Root()
			leaves = append(leaves, it.Entry.LeafHash())
		}
		fatalIfErr(t, m.cycle(int(size)%2)) // a server that was not there before goes on
		m.check(t)
		head, err := m.site.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		tiles := batchlog.NewTiles(m.site.Objects, 8)
		for i := range size {
			path, err := merkle.InclusionProof(i, size, tiles.Nodes(t.Context(), size))
			fatalIfErr(t, err)
			fatalIfErr(t, merkle.VerifyInclusion(i, size, leaves[i], path, head.Root))
		}
		wantTiles(t, m, size)
	}
}

// wantTiles checks that there are the tiles of a log of this size, an entry bundle for each
// full one, older widths of the tiles at the edge, and nothing else.
func wantTiles(t *testing.T, m *model, size uint64) {
	t.Helper()
	var want []string
	edge := map[string]bool{} // prefixes under which older widths may lie
	for level := uint(0); size>>(merkle.TileHeight*level) > 0; level++ {
		nodes := size >> (merkle.TileHeight * level)
		for i := range nodes / merkle.TileWidth {
			full := merkle.Tile{Level: level, Index: i, Width: merkle.TileWidth}
			if want = append(want, full.Path()); level == 0 {
				want = append(want, full.EntriesPath())
			}
		}
		if w := int(nodes % merkle.TileWidth); w > 0 {
			partial := merkle.Tile{Level: level, Index: nodes / merkle.TileWidth, Width: w}
			want = append(want, partial.Path())
			edge[strings.TrimSuffix(partial.Path(), fmt.Sprint(w))] = true
		}
	}
	var got []string
	fatalIfErr(t, m.site.Objects.List(t.Context(), "tile/", func(o notary.Object) error {
		i := strings.LastIndex(o.Key, ".p/")
		if slices.Contains(want, o.Key) || i < 0 || !edge[o.Key[:i+3]] {
			got = append(got, o.Key)
		}
		return nil
	}))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("size %d: there are the tiles %q, want %q", size, got, want)
	}
}

// A log of three levels of tiles. Its entries are bytes without meaning: only the tree is
// looked at.
func TestLargeLog(t *testing.T) {
	s := storagetest.NewSiteOn(t, storagetest.StartPostgres(t), storagetest.NewDir(t))
	l := s.Log(s.DB.Log, s.Objects, batchlog.Options{MaxGroup: 1 << 14})
	fatalIfErr(t, l.Check(t.Context()))
	var leaves []merkle.Hash
	for _, size := range []int{65_535, 65_536, 65_537, 70_000} {
		for len(leaves) < size {
			n := min(size-len(leaves), 1<<14)
			items := meaningless(t, s, len(leaves), n)
			s.ReceiveItems(t, items...)
			for _, it := range items {
				leaves = append(leaves, it.Entry.LeafHash())
			}
		}
		for more := true; more; {
			var err error
			more, err = l.Cycle(t.Context())
			fatalIfErr(t, err)
		}
		head, err := s.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		if head.Size != uint64(size) || head.Root != merkle.ListRoot(leaves) {
			t.Fatalf("size %d with root %s, want %d and %s", head.Size, head.Root, size, merkle.ListRoot(leaves))
		}
		tiles := batchlog.NewTiles(s.Objects, 300)
		for _, i := range []uint64{0, 255, 256, 65_279, 65_280, 65_534, head.Size - 1} {
			path, err := merkle.InclusionProof(i, head.Size, tiles.Nodes(t.Context(), head.Size))
			fatalIfErr(t, err)
			fatalIfErr(t, merkle.VerifyInclusion(i, head.Size, leaves[i], path, head.Root))
		}
		// A server that starts here reads three tiles and goes on from them.
		l = s.Log(s.DB.Log, s.Objects, batchlog.Options{MaxGroup: 1 << 14})
		fatalIfErr(t, l.Check(t.Context()))
	}
	data, err := s.Objects.Get(t.Context(), "tile/2/000.p/1", merkle.HashSize)
	fatalIfErr(t, err)
	if merkle.Hash(data) != merkle.ListRoot(leaves[:65_536]) {
		t.Error("the third level is not the root of the first 65,536 leaves")
	}
}

func meaningless(t *testing.T, s *storagetest.Site, first, n int) []*intake.Item {
	t.Helper()
	out := make([]*intake.Item, n)
	for i := range out {
		number, err := notary.FormatNumber("420100", 2025, uint64(first+i))
		fatalIfErr(t, err)
		out[i] = &intake.Item{Action: statement.Issue, Record: notary.Record{ID: number, AgencyID: "agency",
			Number: number},
			Entry: statement.Entry{Statement: []byte(number), Signature: []byte{1}, Certificate: s.Signer.Certificate}}
	}
	return out
}

// A group is never larger than asked for, and the rest follows.
func TestMaxGroup(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	m.receive(25)
	l := m.site.Log(m.db, m.objects, batchlog.Options{MaxGroup: 10})
	for _, want := range []uint64{10, 20, 25} {
		more, err := l.Cycle(t.Context())
		fatalIfErr(t, err)
		head, err := m.site.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		if head.Size != want || more != (want < 25) {
			t.Errorf("size %d and more is %t, want %d", head.Size, more, want)
		}
		m.check(t)
	}
}

// Two servers with one lease: one works, the other waits until the lease has run out.
func TestLease(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	m.receive(1)
	fatalIfErr(t, m.cycle(0))
	m.receive(1)
	if _, err := m.servers[1].Cycle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m.check(t); m.published[len(m.published)-1].Size != 1 {
		t.Error("a server without the lease has sequenced")
	}
	fatalIfErr(t, m.cycle(1)) // a minute later
	if m.check(t); m.published[len(m.published)-1].Size != 2 {
		t.Error("a lease that has run out still holds")
	}
}
