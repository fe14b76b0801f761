package storagetest

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

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

// Raw opens a database under the eyes of the adapter, to look at rows or to damage them.
func Raw(t testing.TB, url string) *sqlx.DB {
	t.Helper()
	driver, source := "postgres", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, source = "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	db, err := sqlx.Open(driver, source)
	fatalIfErr(t, err)
	t.Cleanup(func() { db.Close() })
	return db
}

// MustExec changes rows; n is how many it must change.
func MustExec(t testing.TB, db *sqlx.DB, n int64, query string, args ...any) {
	t.Helper()
	res, err := db.ExecContext(t.Context(), query, args...)
	fatalIfErr(t, err)
	if got, err := res.RowsAffected(); err != nil || got != n {
		t.Fatalf("%s: %d rows, %v; want %d", query, got, err, n)
	}
}
