package sqldb_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"stele/notary"
	"stele/storage/sqldb"
	"stele/storage/storagetest"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantRefusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("got  %v\nwant … %s …", err, p)
		}
	}
}

func eachKind(t *testing.T, f func(t *testing.T, url string)) {
	for name, fresh := range map[string]func(testing.TB) string{"sqlite": storagetest.SQLiteURL,
		"postgres": storagetest.StartPostgres} {
		t.Run(name, func(t *testing.T) { f(t, fresh(t)) })
	}
}

func open(t *testing.T, url string) error {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url, "", time.Now)
	if err == nil {
		db.Close()
	}
	return err
}

// A database is made only by an explicit init, and only out of nothing.
func TestOpenAndInit(t *testing.T) {
	eachKind(t, func(t *testing.T, url string) {
		sqlite := strings.HasPrefix(url, "sqlite:")
		if sqlite {
			wantRefusal(t, open(t, url), "there is no database at", "stele init")
			wantRefusal(t, migrate(t, url), "there is no database at")
			path := strings.TrimPrefix(url, "sqlite:")
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("opening made a file: %v", err)
			}
			fatalIfErr(t, os.WriteFile(path, nil, 0o600))
		}
		wantRefusal(t, open(t, url), "holds no Stele instance", "stele init")
		wantRefusal(t, migrate(t, url), "holds no Stele instance")
		db := storagetest.InitDatabase(t, url, time.Now)
		fatalIfErr(t, open(t, url))
		_, err := sqldb.Init(t.Context(), url, "", time.Now)
		wantRefusal(t, err, "in use already (schema version ", "choose an empty one")
		if _, err := db.Log.Instance(t.Context()); !errors.Is(err, notary.ErrNotFound) {
			t.Errorf("a schema without an instance: %v", err)
		}
		if _, err := db.Log.Head(t.Context()); !errors.Is(err, notary.ErrNotFound) {
			t.Errorf("a schema without a log: %v", err)
		}
	})
}

// Another program's tables are not built upon.
func TestInitRefusesForeignTables(t *testing.T) {
	eachKind(t, func(t *testing.T, url string) {
		if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
			fatalIfErr(t, os.WriteFile(path, nil, 0o600)) // an open one would be refused for that
		}
		_, err := storagetest.Raw(t, url).ExecContext(t.Context(), `CREATE TABLE invoices (id BIGINT)`)
		fatalIfErr(t, err)
		_, err = sqldb.Init(t.Context(), url, "", time.Now)
		wantRefusal(t, err, "holds 1 tables of another program", "choose an empty one")
		wantRefusal(t, open(t, url), "holds no Stele instance")
	})
}

// newerSchema is the schema of a later program, with migrations 90 and on, and the version of
// this one.
func newerSchema(t *testing.T, later ...string) (newer fstest.MapFS, now string) {
	t.Helper()
	newer = fstest.MapFS{}
	names, err := fs.Glob(sqldb.Migrations, "migrations/*.sql")
	fatalIfErr(t, err)
	for _, name := range names {
		data, err := fs.ReadFile(sqldb.Migrations, name)
		fatalIfErr(t, err)
		newer[name] = &fstest.MapFile{Data: data}
		now = strings.TrimLeft(strings.TrimPrefix(name, "migrations/")[:5], "0")
	}
	for i, sql := range later {
		newer[fmt.Sprintf("migrations/%05d_later.sql", 90+i)] = &fstest.MapFile{
			Data: []byte("-- +goose Up\n" + sql + "\n-- +goose Down\nSELECT 1;\n")}
	}
	return newer, now
}

func TestSchemaVersions(t *testing.T) {
	const bad = "migrations/00091_later.sql"
	newer, now := newerSchema(t, "CREATE TABLE more (id BIGINT);\nUPDATE compatibility SET least_schema = 90;",
		"CREATE TABLE evenmore (id BIGINT);\nSELECT nonsense;")
	eachKind(t, func(t *testing.T, url string) {
		s := storagetest.NewSiteOn(t, url, storagetest.NewDir(t))
		s.Receive(t, 3)
		broken, err := sqldb.WithSchema(t.Context(), url, newer)
		fatalIfErr(t, err)
		defer broken.Close()
		wantRefusal(t, broken.CheckSchema(t.Context()), "has schema version "+now+", this program needs 91",
			"stele migrate", "backup")
		wantRefusal(t, broken.Upgrade(t.Context()), "migrate the database")
		held := newer[bad]
		delete(newer, bad)
		defer func() { newer[bad] = held }()
		next, err := sqldb.WithSchema(t.Context(), url, newer)
		fatalIfErr(t, err)
		defer next.Close()
		fatalIfErr(t, next.CheckSchema(t.Context())) // the good one of the two stayed
		fatalIfErr(t, next.Upgrade(t.Context()))
		wantRefusal(t, open(t, url), "migrated for programs that know schema version 90, this program knows "+now,
			"newer program")
		recs, err := next.Log.RecordsFrom(t.Context(), 0, 10)
		if err != nil || len(recs) != 3 {
			t.Errorf("%d records after the migration, %v", len(recs), err)
		}
	})
}

// A migration of a large log may take longer than a statement of the service.
func TestMigrationsTakeTheirTime(t *testing.T) {
	newer, _ := newerSchema(t, "CREATE TABLE limits (statement TEXT NOT NULL CHECK (statement = '0'));\nINSERT INTO "+
		"limits VALUES (current_setting('statement_timeout'));")
	eachKind(t, func(t *testing.T, url string) {
		if strings.HasPrefix(url, "sqlite:") {
			return // has no such limit
		}
		storagetest.NewSiteOn(t, url, storagetest.NewDir(t))
		next, err := sqldb.WithSchema(t.Context(), url, newer)
		fatalIfErr(t, err)
		defer next.Close()
		fatalIfErr(t, next.Upgrade(t.Context()))
	})
}

// A database from before the first file is refused by everything that looks at its schema, and is left
// as it is.
func TestDatabaseFromBefore(t *testing.T) {
	eachKind(t, func(t *testing.T, url string) {
		storagetest.InitDatabase(t, url, time.Now)
		raw := storagetest.Raw(t, url)
		var later []int
		fatalIfErr(t, raw.SelectContext(t.Context(), &later,
			`SELECT version_id FROM goose_db_version WHERE version_id > 22 ORDER BY version_id`))
		storagetest.MustExec(t, raw, int64(len(later)), `DELETE FROM goose_db_version WHERE version_id > 22`)
		storagetest.MustExec(t, raw, 1, `UPDATE goose_db_version SET version_id = 21 WHERE version_id = 22`)
		_, planned := sqldb.PlanMigration(t.Context(), url, "")
		for _, err := range []error{open(t, url), migrate(t, url), planned} {
			wantRefusal(t, err, "has schema version 21", "upgrades from version 22 on", "nothing was changed",
				"of commit ")
			if !errors.Is(err, sqldb.ErrSchema) {
				t.Error("a later try helps?")
			}
		}
		storagetest.MustExec(t, raw, 1, `UPDATE goose_db_version SET version_id = 22 WHERE version_id = 21`)
		for _, v := range later { // all it made is there
			storagetest.MustExec(t, raw, 1, raw.Rebind(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (?, ?)`),
				v, true)
		}
		fatalIfErr(t, migrate(t, url))
		fatalIfErr(t, open(t, url))
	})
}

// Servers that are started together migrate one after another.
func TestMigrateTogether(t *testing.T) {
	url := storagetest.StartPostgres(t)
	storagetest.InitDatabase(t, url, time.Now)
	newer, _ := newerSchema(t, "CREATE TABLE more (id BIGINT);\nSELECT pg_sleep(0.2);")
	done := make(chan error, 3)
	for range cap(done) {
		db, err := sqldb.WithSchema(t.Context(), url, newer)
		fatalIfErr(t, err)
		defer db.Close()
		go func() { done <- db.Upgrade(t.Context()) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"":                                   "must begin with postgres:// or sqlite:",
		"mysql://u:secret@h/d":               "must begin with postgres:// or sqlite:",
		"postgres://u:secret@127.0.0.1:1/d":  "cannot be reached",
		"postgres://u:secret@[::1/d":         "cannot be parsed",
		"sqlite:" + t.TempDir() + "/none.db": "there is no database at",
	} {
		t.Run(url, func(t *testing.T) {
			err := open(t, url)
			wantRefusal(t, err, want)
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in the error: %v", err)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "no database")
	fatalIfErr(t, os.WriteFile(path, []byte(strings.Repeat("text ", 1000)), 0o600))
	wantRefusal(t, open(t, "sqlite:"+path), "not a database")
}

// Paths with characters that mean something in URLs.
func TestSQLitePaths(t *testing.T) {
	for _, name := range []string{"a b.db", "50%.db", "what?.db", "a#b.db", "碑.db", "a&_pragma=x.db", "deep/er/x.db"} {
		path := filepath.Join(t.TempDir(), name)
		url := "sqlite:" + path
		s := storagetest.NewSiteOn(t, url, storagetest.NewDir(t))
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.Receive(t, 1)
		fatalIfErr(t, open(t, url))
	}
}
