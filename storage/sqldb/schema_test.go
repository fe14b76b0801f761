package sqldb_test

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"stele/notary/log/batchlog"
	"stele/storage/sqldb"
	"stele/storage/storagetest"
)

func migrate(t *testing.T, url string) error {
	t.Helper()
	_, err := sqldb.Migrate(t.Context(), url, "")
	return err
}

// later is a database as a later program with these migrations sees it.
func later(t *testing.T, url string, migrations ...string) (db *sqldb.DB, now string) {
	t.Helper()
	newer, now := newerSchema(t, migrations...)
	db, err := sqldb.WithSchema(t.Context(), url, newer)
	fatalIfErr(t, err)
	t.Cleanup(func() { db.Close() })
	return db, now
}

const (
	additive = "-- servers: may run\nCREATE TABLE more (id BIGINT);"
	breaking = "DROP TABLE claims;\nUPDATE compatibility SET least_schema = 91;"
)

// This program goes on beside a later one when a migration adds something, until one breaks what this
// program does. Its own migrate refuses both.
func TestLaterSchema(t *testing.T) {
	eachKind(t, func(t *testing.T, url string) {
		s := storagetest.NewSiteOn(t, url, storagetest.NewDir(t))
		s.Receive(t, 3)
		next, now := later(t, url, additive)
		fatalIfErr(t, next.Upgrade(t.Context()))
		fatalIfErr(t, open(t, url))
		fatalIfErr(t, s.DB.Compatible(t.Context()))
		s.Receive(t, 3)
		wantRefusal(t, migrate(t, url), "has schema version 90, this program knows "+now, "nothing was changed",
			"newer program")
		next, _ = later(t, url, additive, breaking)
		fatalIfErr(t, next.Upgrade(t.Context()))
		fatalIfErr(t, next.CheckSchema(t.Context()))
		for what, err := range map[string]error{"opening": open(t, url),
			"a server that runs": s.DB.Compatible(t.Context())} {
			t.Run(what, func(t *testing.T) {
				if !errors.Is(err, sqldb.ErrSchema) {
					t.Errorf("%s: %v", what, err)
				}
				wantRefusal(t, err, "migrated for programs that know schema version 91, this program knows "+now,
					"newer program")
			})
		}
		wantRefusal(t, migrate(t, url), "has schema version 91, this program knows "+now)
	})
}

// A migration that needs the servers stopped is not done while one runs, and keeps them from
// sequencing; one that does not is done.
func TestMigrateBesideServers(t *testing.T) {
	eachKind(t, func(t *testing.T, url string) {
		storagetest.NewSiteOn(t, url, storagetest.NewDir(t))
		server := storagetest.OpenDatabase(t, url, time.Now)
		lease := func() bool {
			ok, err := server.Lease(t.Context(), batchlog.LeaseName, "a server", time.Hour)
			fatalIfErr(t, err)
			return ok
		}
		if !lease() {
			t.Fatal("no lease")
		}
		next, now := later(t, url, additive)
		fatalIfErr(t, next.Upgrade(t.Context()))
		next, _ = later(t, url, additive, "CREATE TABLE holder (name TEXT NOT NULL CHECK (name LIKE 'migrate/%'));\n"+
			"INSERT INTO holder VALUES ((SELECT holder FROM leases WHERE name = 'sequencer'));")
		if err := next.Upgrade(t.Context()); !errors.Is(err, sqldb.ErrServersRun) {
			t.Fatalf("a server runs: %v", err)
		}
		wantRefusal(t, next.CheckSchema(t.Context()), "has schema version 90, this program needs 91")
		fatalIfErr(t, server.ReleaseLease(t.Context(), batchlog.LeaseName, "a server"))
		fatalIfErr(t, next.Upgrade(t.Context()))
		if !lease() {
			t.Errorf("the migration of %s keeps the lease", now)
		}
	})
}

func TestMigrationsSayWhatServersDo(t *testing.T) {
	url := storagetest.StartPostgres(t)
	storagetest.InitDatabase(t, url, time.Now)
	next, _ := later(t, url, "-- servers: perhaps\nSELECT 1;")
	wantRefusal(t, next.Upgrade(t.Context()), "00090_later", "may run", "stopped")
}

// Each migration says what servers do. One beside which they run takes nothing away, or
// says from which program on nobody misses that.
func TestMigrationsKeepTheRule(t *testing.T) {
	names, err := fs.Glob(sqldb.Migrations, "migrations/*.sql")
	fatalIfErr(t, err)
	says := regexp.MustCompile(`(?m)^-- servers: (may run|stopped)$`)
	takes := regexp.MustCompile(`(?i)\bDROP\b|\bRENAME\b|SET NOT NULL`)
	for _, name := range names {
		text, err := fs.ReadFile(sqldb.Migrations, name)
		fatalIfErr(t, err)
		what := says.FindSubmatch(text)
		if what == nil {
			t.Errorf("%s: no line %q or %q, see CONTRIBUTING.md", name, "-- servers: may run", "-- servers: stopped")
			continue
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		if found := takes.FindString(up); string(what[1]) == "may run" && found != "" &&
			!strings.Contains(up, "UPDATE compatibility") {
			t.Errorf("%s says that servers may run beside it, and holds %s without raising what programs must know",
				name, found)
		}
	}
}
