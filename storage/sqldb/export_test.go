package sqldb

import (
	"context"
	"io/fs"
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

// Seeing is a context in which a function is told each question that the database is asked.
func Seeing(ctx context.Context, see func(query string, args []any)) context.Context {
	return context.WithValue(ctx, seen{}, see)
}
