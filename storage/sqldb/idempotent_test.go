package sqldb_test

import (
	"fmt"
	"testing"

	"stele/notary/register/intake"
	"stele/storage/storagetest"
)

// BenchmarkIdempotent looks 1,000 idempotency keys up, one by one and all at once: new ones, as
// nearly every batch has, and such as were used before, as a repeated one has.
func BenchmarkIdempotent(b *testing.B) {
	for name, fresh := range map[string]func(testing.TB) string{
		"SQLite": storagetest.SQLiteURL, "PostgreSQL": storagetest.StartPostgres,
	} {
		b.Run(name, func(b *testing.B) {
			s := storagetest.NewSiteOn(b, fresh(b), storagetest.NewDir(b))
			const n = 1000
			first := s.Items(b, 1)[0]
			items, used, unused := make([]*intake.Item, n), make([]string, n), make([]string, n)
			for i := range items {
				it := *first
				used[i], unused[i] = fmt.Sprint("key ", i), fmt.Sprint("another ", i)
				it.Record.ID, it.Record.Number, it.Idempotency = fmt.Sprint("record ", i), fmt.Sprint("number ", i),
					used[i]
				items[i] = &it
			}
			_, err := s.DB.Log.Receive(b.Context(), items)
			fatalIfErr(b, err)
			for what, c := range map[string]struct {
				keys []string
				want int
			}{"new": {unused, 0}, "used": {used, n}} {
				b.Run(what+"/one by one", func(b *testing.B) {
					for b.Loop() {
						found := 0
						for _, k := range c.keys {
							one, err := s.DB.Log.FindIdempotent(b.Context(), s.Agency.ID, k)
							fatalIfErr(b, err)
							found += len(one)
						}
						if found != c.want {
							b.Fatalf("%d keys, want %d", found, c.want)
						}
					}
				})
				b.Run(what+"/together", func(b *testing.B) {
					for b.Loop() {
						all, err := s.DB.Log.FindIdempotent(b.Context(), s.Agency.ID, c.keys...)
						fatalIfErr(b, err)
						if len(all) != c.want {
							b.Fatalf("%d keys, want %d", len(all), c.want)
						}
					}
				})
			}
		})
	}
}
