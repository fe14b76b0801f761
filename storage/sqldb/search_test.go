package sqldb_test

import (
	"fmt"
	"testing"

	"stele/notary/issue/archive"
	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// BenchmarkSearch looks for texts among 100,000 records of an agency.
func BenchmarkSearch(b *testing.B) {
	for name, fresh := range map[string]func(testing.TB) string{"SQLite": storagetest.SQLiteURL,
		"PostgreSQL": storagetest.StartPostgres} {
		b.Run(name, func(b *testing.B) {
			s := storagetest.NewSiteOn(b, fresh(b), storagetest.NewDir(b))
			const all, group = 100_000, 2000
			first := s.Items(b, 1)[0]
			for n := 0; n < all; n += group {
				items := make([]*intake.Item, group)
				for i := range items {
					it := *first
					it.Record.ID, it.Record.Number = fmt.Sprint("record ", n+i), fmt.Sprint("number ", n+i)
					it.Record.Fields = append(it.Record.Fields[:0:0], it.Record.Fields...)
					it.Record.Fields[0].Value = fmt.Sprintf("关于公布第%d号不动产登记结果的通知", n+i)
					items[i] = &it
				}
				_, err := s.DB.Log.Receive(b.Context(), items)
				fatalIfErr(b, err)
			}
			for what, f := range map[string]archive.Filter{"nothing": {Text: "没有这样的文书"}, "the oldest": {Text: "第7号"},
				"page": {Text: "不动产"}, "latin": {Text: "Notice"}} {
				b.Run(what, func(b *testing.B) {
					f.AgencyID, f.Limit = "agency", 51
					for b.Loop() {
						_, err := s.DB.Log.ListRecords(b.Context(), f)
						fatalIfErr(b, err)
					}
				})
			}
			b.Run("tally", func(b *testing.B) {
				for b.Loop() {
					_, err := s.DB.Log.Tally(b.Context(), archive.Filter{AgencyID: "agency"}, all)
					fatalIfErr(b, err)
				}
			})
		})
	}
}
