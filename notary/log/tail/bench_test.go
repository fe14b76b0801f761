package tail_test

import (
	"testing"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary/log/tail"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// What a record costs in the tail: the text, the seal, and both with the write.
func BenchmarkTail(b *testing.B) {
	s := storagetest.NewSite(b, storagetest.Embedded)
	items := s.Items(b, 512)
	g := intake.Group{Items: items}
	key, err := sm.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	text, err := tail.FromGroup(g).Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("text", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for range b.N {
			if _, err := tail.FromGroup(g).Encode(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(items)), "ns/record")
	})
	b.Run("seal", func(b *testing.B) {
		box, err := seal.New(key, "bench")
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
		for range b.N {
			box.Seal("place", text)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(items)), "ns/record")
	})
	b.Run("put", func(b *testing.B) {
		tl := tail.New(s.DB.Log, s.Objects, tail.Options{Sealer: tail.NewSealer(key, "site"), Log: storagetest.Discard})
		for i := range b.N {
			g.First = uint64(i * len(items))
			if err := tl.Put(b.Context(), g); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(items)), "ns/record")
	})
}
