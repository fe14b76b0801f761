package storagetest

import (
	"path/filepath"
	"testing"
	"time"

	"stele/storage/sqldb"
)

// Backend is a kind of database with a kind of object store.
type Backend struct {
	Name     string
	Database func(t testing.TB) (url string) // of a fresh database without a schema
	Objects  func(t testing.TB) Store        // a fresh one
}

// Embedded is everything in one folder; Servers is everything on servers.
var (
	Embedded = Backend{"sqlite and dir", SQLiteURL, NewDir}
	Servers  = Backend{"postgres and s3", StartPostgres, NewS3}
)

// EachBackend runs a test on both ways to deploy.
func EachBackend(t *testing.T, f func(t *testing.T, b Backend)) {
	for _, b := range []Backend{Embedded, Servers} {
		t.Run(b.Name, func(t *testing.T) { f(t, b) })
	}
}

// SQLiteURL names a database file of the test that is not there yet.
func SQLiteURL(t testing.TB) (url string) {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "stele.db")
}

// InitDatabase makes the schema in a fresh database and returns a handle on it.
func InitDatabase(t testing.TB, url string, now func() time.Time) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Init(t.Context(), url, "", now)
	fatalIfErr(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// OpenDatabase returns another handle on a database, as another server has it.
func OpenDatabase(t testing.TB, url string, now func() time.Time) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url, "", now)
	fatalIfErr(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}
