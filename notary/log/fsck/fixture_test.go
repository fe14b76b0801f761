package fsck_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/fsck"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/statement"
	"stele/storage/storagetest"
)

// fixture is an instance that has seen everything: 304 entries in two checkpoints, both
// anchored, and one entry that is not logged yet.
type fixture struct {
	*storagetest.Site
	raw  *sqlx.DB
	recs []notary.Record
}

// Records with something special about them.
const (
	plain    = 20
	stored   = 30 // its original is in the object store
	revoked  = 40
	replaced = 50
	late     = 302 // behind the first tile, logged last
	waiting  = 304 // received, not logged
)

func newFixture(t *testing.T, b storagetest.Backend) *fixture {
	t.Helper()
	f := &fixture{Site: storagetest.NewSite(t, b)}
	f.raw = storagetest.Raw(t, f.URL)
	items := f.Items(t, 300)
	doc := "the original"
	rec := items[stored].Record
	rec.Stored, rec.SM3, rec.Size = true, sm.Sum([]byte(doc)), uint64(len(doc))
	*items[stored] = f.Sign(t, rec, statement.Statement{Action: statement.Issue})
	_, err := f.Objects.Create(t.Context(), notary.DocumentKey(rec.ID), strings.NewReader(doc), -1)
	fatalIfErr(t, err)
	f.recs = f.ReceiveItems(t, items...)
	f.Sequence(t)
	f.Anchor(t)
	f.ReceiveItems(t, f.Revocation(t, f.recs[revoked], "issued in error"), f.Replacement(t, f.recs[replaced]))
	f.Receive(t, 2)
	f.Sequence(t)
	f.Anchor(t)
	f.Receive(t, 1)
	list, err := f.DB.Log.RecordsFrom(t.Context(), 300, 10)
	fatalIfErr(t, err)
	for _, r := range list {
		for uint64(len(f.recs)) < r.Index {
			f.recs = append(f.recs, notary.Record{})
		}
		f.recs = append(f.recs, r.Record)
	}
	return f
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put replaces an object.
func (f *fixture) put(t *testing.T, key string, data []byte) {
	t.Helper()
	fatalIfErr(t, f.Objects.Replace(t.Context(), key, func([]byte) ([]byte, error) { return data, nil }))
}

// flip changes one byte of an object.
func (f *fixture) flip(t *testing.T, key string, at int) {
	t.Helper()
	data, err := f.Objects.Get(t.Context(), key, 1<<24)
	fatalIfErr(t, err)
	data[at] ^= 1
	f.put(t, key, data)
}

// publish puts a signed checkpoint into the object store.
func (f *fixture) publish(t *testing.T, size uint64) {
	t.Helper()
	c := checkpoint.Checkpoint{Origin: f.World.Origin(), Size: size, Root: merkle.LeafHash([]byte("another history"))}
	note, err := checkpoint.Sign(c, f.LogKey)
	fatalIfErr(t, err)
	f.put(t, batchlog.CheckpointKey, note)
}

func (f *fixture) exec(query string, args ...any) func(t *testing.T, f *fixture) {
	return func(t *testing.T, f *fixture) {
		t.Helper()
		storagetest.MustExec(t, f.raw, 1, query, args...)
	}
}

// sql is a damage that changes one row.
func sql(query string, args ...any) func(t *testing.T, f *fixture) {
	return (*fixture)(nil).exec(query, args...)
}

// row is a damage to a record's row.
func row(index int, set string) func(t *testing.T, f *fixture) {
	return sql(fmt.Sprintf("UPDATE records SET %s WHERE idx = %d", set, index))
}

// entry is a damage to an entry's row.
func entry(index int, set string, args ...any) func(t *testing.T, f *fixture) {
	return sql(fmt.Sprintf("UPDATE entries SET %s WHERE idx = %d", set, index), args...)
}

func pem(w *prooftest.World) string { return string(pki.EncodePEM(w.Agency.Certificates...)) }

// codes are the kinds of findings, each once, sorted.
func codes(res *fsck.Result) string {
	kinds := map[string]bool{}
	for _, x := range res.Findings {
		kinds[x.What] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(kinds)), " ")
}

// names reports whether a finding of this kind is about the record.
func names(res *fsck.Result, what string, r notary.Record) bool {
	return slices.ContainsFunc(res.Findings, func(x fsck.Finding) bool {
		return x.What == what && x.Record == r.Number && strings.Contains(x.String(), r.Number)
	})
}
