package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io/fs"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
)

// WithSchema connects to a database as a program with other migrations does.
func WithSchema(ctx context.Context, url string, schema fs.FS) (*DB, error) {
	db, err := toMigrate(ctx, url, "")
	if err == nil {
		db.schema = schema
	}
	return db, err
}

// CheckSchema is what Open does with the schema, Upgrade what Migrate does, Build what Init does.
func (db *DB) CheckSchema(ctx context.Context) error { return db.checkSchema(ctx) }
func (db *DB) Upgrade(ctx context.Context) error {
	_, err := db.upgrade(ctx)
	return err
}

func (db *DB) Build(ctx context.Context) error { return db.migrate(ctx) }

// Migrations are this program's.
var Migrations fs.FS = migrations

// Exec runs a statement on the write side's connection.
func (db *DB) Exec(ctx context.Context, query string) error {
	_, err := db.write.ExecContext(ctx, query)
	return err
}

// Hosts is what Open makes of a URL that lists several servers.
var Hosts = hosts

// Seeing returns a handle on the same database whose questions a function is told before they are asked. The URL is
// the one by which the database was opened.
func (db *DB) Seeing(t testing.TB, url string, see func(query string, args []any)) *DB {
	pool := sqlx.NewDb(sql.OpenDB(seeing{db.read.Driver(), strings.TrimPrefix(url, "sqlite:"), see}),
		db.read.DriverName())
	t.Cleanup(func() { pool.Close() })
	return newDB(&conn{postgres: db.postgres, write: db.write, read: pool, now: db.now, high: db.high})
}

// seeing makes connections that tell what is asked.
type seeing struct {
	driver driver.Driver
	name   string
	see    func(query string, args []any)
}

// Driver implements [driver.Connector].
func (s seeing) Driver() driver.Driver { return s.driver }

// Connect implements [driver.Connector].
func (s seeing) Connect(context.Context) (driver.Conn, error) {
	c, err := s.driver.Open(s.name)
	return seen{c, s.see}, err
}

// seen is one of these connections.
type seen struct {
	driver.Conn
	see func(query string, args []any)
}

// QueryContext implements [driver.QueryerContext].
func (s seen) QueryContext(ctx context.Context, query string, named []driver.NamedValue) (driver.Rows, error) {
	args := make([]any, len(named))
	for i, n := range named {
		args[i] = n.Value
	}
	s.see(query, args)
	return s.Conn.(driver.QueryerContext).QueryContext(ctx, query, named)
}
