// Package sqldb keeps Stele's rows in PostgreSQL (lib/pq) or SQLite (modernc.org/sqlite):
// one schema, $n placeholders, times as microseconds. It implements the store interfaces
// that the domain packages declare and has no rules of its own.
package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"stele/crypto/closed"
	"stele/notary"
	"stele/notary/log/batchlog"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Pool sizes and time-outs. The write side of PostgreSQL is a handful of goroutines
// (receive, audit, sequencer, anchors); the rest are reads. An idle transaction holds the
// log's row, so the server ends one that a vanished client left behind.
const (
	maxConnections   = 24
	sqliteReaders    = 4
	busyTimeout      = 10 * time.Second
	idleTxTimeout    = 15 * time.Second
	statementTimeout = 60 * time.Second
	connectTimeout   = 5 * time.Second
	migrationTries   = 600 // a second apart: how long a server waits for another one's migration
)

// DB is a database with Stele's schema: one handle for each capability over one set of connections. It is
// safe for concurrent use, and so are its parts.
type DB struct {
	*conn
	Log      *Log
	Office   *Office
	People   *People
	Webhooks *Webhooks
}

type (
	// Log keeps what is notarized: agencies, records, entries, checkpoints, anchors, and the uploads,
	// prepared statements and erasures on the way to them and away.
	Log struct{ *conn }
	// Office keeps the work of an agency's people: classes, submissions, bulk jobs, seals, searches.
	Office struct{ *conn }
	// People keeps who may do what and what they did: users, sessions, keys, the audit trail.
	People struct{ *conn }
	// Webhooks keeps events, endpoints and deliveries.
	Webhooks struct{ *conn }
)

func newDB(c *conn) *DB { return &DB{c, &Log{c}, &Office{c}, &People{c}, &Webhooks{c}} }

// conn is what the capabilities share: connections, transactions, leases, and the guards against another
// schema and against a database that went back. It has no rows of its own.
type conn struct {
	write    *sqlx.DB // SQLite: one connection, since there is one writer anyway
	read     *sqlx.DB
	postgres bool
	path     string // of SQLite's file
	now      func() time.Time
	schema   fs.FS // the migrations

	high      *highWater
	servers   servers
	guarded   atomic.Bool // connections are looked at: the schema is there
	published atomic.Pointer[func(context.Context) (Seen, error)]
}

// Open connects to a database and checks that this program may use its schema, see [ErrSchema]. The
// URL is postgres://user@host/name?sslmode=… (the password better in a file, see password)
// or sqlite:path. It never creates a database, see [Init].
func Open(ctx context.Context, dbURL, password string, now func() time.Time) (*DB, error) {
	db, err := connect(ctx, dbURL, password, false, statementTimeout, now)
	if err != nil {
		return nil, err
	}
	if err := db.checkSchema(ctx); err != nil {
		db.Close()
		return nil, err
	}
	db.guard()
	return db, nil
}

// guard begins to compare what connections lead to with what was seen. The connections that there
// are were not looked at, and are given up.
func (db *conn) guard() {
	db.guarded.Store(true)
	if db.postgres {
		db.write.SetMaxIdleConns(0)
		db.write.SetMaxIdleConns(maxConnections)
	}
}

// Init creates the schema in an empty database (for SQLite also the file) and returns it. A
// database that has the schema already is refused.
func Init(ctx context.Context, dbURL, password string, now func() time.Time) (*DB, error) {
	db, err := connect(ctx, dbURL, password, true, statementTimeout, now)
	if err != nil {
		return nil, err
	}
	if err := db.checkEmpty(ctx, dbURL); err != nil {
		db.Close()
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// checkEmpty refuses a database that holds anything: an instance, or another program's tables.
func (db *conn) checkEmpty(ctx context.Context, dbURL string) error {
	v, err := db.version(ctx)
	if err != nil {
		return fmt.Errorf("read the schema version of %s: %w", redact(dbURL), err)
	}
	if v > 0 {
		return fmt.Errorf("the database %s is in use already (schema version %d): choose an empty one", redact(dbURL),
			v)
	}
	q := `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose_db_version' AND name NOT ` +
		`LIKE 'sqlite_%'`
	if db.postgres {
		q = `SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name <> ` +
			`'goose_db_version'`
	}
	var n int
	if err := db.write.GetContext(ctx, &n, q); err != nil {
		return fmt.Errorf("list the tables of %s: %w", redact(dbURL), err)
	}
	if n > 0 {
		return fmt.Errorf("the database %s holds %d tables of another program: choose an empty one", redact(dbURL), n)
	}
	return nil
}

// Probe checks that a database that [Init] is to use can be reached and is empty. SQLite's
// file need not exist.
func Probe(ctx context.Context, dbURL, password string) error {
	if path, ok := strings.CutPrefix(dbURL, "sqlite:"); ok {
		if _, err := os.Stat(path); err == nil {
			return fmt.Errorf("there is a file at %s already: choose another path", path)
		}
		return nil
	}
	db, err := connect(ctx, dbURL, password, false, statementTimeout, time.Now)
	if err != nil {
		return err
	}
	defer db.Close()
	if v, err := db.version(ctx); err != nil || v > 0 {
		return errors.Join(err, fmt.Errorf("the database %s is in use already (schema version %d): choose an "+
			"empty one", redact(dbURL), v))
	}
	return nil
}

// connect opens a database. patience is how long a statement may take on PostgreSQL, 0 for any time.
func connect(ctx context.Context, dbURL, password string, create bool, patience time.Duration, now func() time.Time) (
	*DB, error) {
	if path, ok := strings.CutPrefix(dbURL, "sqlite:"); ok {
		return connectSQLite(path, create, now)
	}
	if !strings.HasPrefix(dbURL, "postgres://") && !strings.HasPrefix(dbURL, "postgresql://") {
		return nil, fmt.Errorf("a database URL must begin with postgres:// or sqlite:, got %q", redact(dbURL))
	}
	named, err := hosts(dbURL)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(named)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed")
	}
	if password != "" {
		u.User = url.UserPassword(u.User.Username(), password)
	}
	q := u.Query()
	q.Set("connect_timeout", fmt.Sprint(int(connectTimeout.Seconds())))
	q.Set("idle_in_transaction_session_timeout", fmt.Sprint(idleTxTimeout.Milliseconds()))
	q.Set("statement_timeout", fmt.Sprint(patience.Milliseconds()))
	u.RawQuery = q.Encode()
	connector, err := pq.NewConnector(u.String())
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", redact(dbURL), err)
	}
	db := newDB(&conn{postgres: true, now: now, schema: migrations, high: newHighWater()})
	pool := sqlx.NewDb(sql.OpenDB(watched{connector, db}), "postgres")
	db.write, db.read = pool, pool
	pool.SetMaxOpenConns(maxConnections)
	pool.SetMaxIdleConns(maxConnections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("database %s cannot be reached: %w", redact(dbURL), err)
	}
	return db, nil
}

func connectSQLite(path string, create bool, now func() time.Time) (*DB, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !create {
		return nil, fmt.Errorf(
			"there is no database at %s: run 'stele init' for a new instance, or correct the configured path", path)
	}
	if create {
		if err := makeFile(path); err != nil {
			return nil, fmt.Errorf("create the database: %w", err)
		}
	}
	if err := closed.Check(path, path+"-wal", path+"-shm"); err != nil {
		return nil, fmt.Errorf("the database: %w", err)
	}
	// synchronous(FULL): with NORMAL a power cut may lose the last transactions, and they
	// have been answered. The write-ahead log is copied into the database every 32 MiB instead
	// of every 4: under a flood the copying costs more than the writing. What is deleted is
	// overwritten: attributes can be erased for ever.
	pragmas := []string{fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "journal_mode(WAL)",
		"foreign_keys(1)",
		"synchronous(FULL)", "wal_autocheckpoint(8192)", "cache_size(-32000)", "secure_delete(1)"}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_txlock=immediate&_pragma=" + strings.Join(pragmas,
		"&_pragma=")
	write, err := sqlx.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	read, err := sqlx.Open("sqlite", dsn+"&_pragma=query_only(1)")
	if err != nil {
		write.Close()
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	read.SetMaxOpenConns(sqliteReaders)
	read.SetMaxIdleConns(sqliteReaders)
	return newDB(&conn{write: write, read: read, path: path, now: now, schema: migrations, high: newHighWater()}), nil
}

// makeFile makes an empty file for a database, closed to other accounts. SQLite gives the files
// beside it the mode that this one has.
func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Close closes the connections. Transactions under way are rolled back.
func (db *conn) Close() error {
	if db.read == db.write {
		return db.write.Close()
	}
	return errors.Join(db.read.Close(), db.write.Close())
}

// Ping checks that the database answers.
func (db *conn) Ping(ctx context.Context) error { return db.read.PingContext(ctx) }

// redact returns a database URL without its password.
func redact(dbURL string) string {
	if named, err := hosts(dbURL); err == nil {
		dbURL = named
	}
	u, err := url.Parse(dbURL)
	if err != nil {
		return "(unreadable)"
	}
	return u.Redacted()
}

func (db *conn) provider() (*goose.Provider, error) {
	dir, err := fs.Sub(db.schema, "migrations")
	if err != nil {
		return nil, err
	}
	if !db.postgres {
		return goose.NewProvider(goose.DialectSQLite3, db.write.DB, dir)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, migrationTries))
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db.write.DB, dir, goose.WithSessionLocker(locker))
}

// migrate brings the schema up to this program's version. Servers that start together are
// serialized by a lock on PostgreSQL.
func (db *conn) migrate(ctx context.Context) error {
	p, err := db.provider()
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

func (db *conn) version(ctx context.Context) (int64, error) {
	q := `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'goose_db_version'`
	if db.postgres {
		q = `SELECT count(*) FROM information_schema.tables WHERE table_name = 'goose_db_version' AND table_schema = ` +
			`current_schema()`
	}
	var n int
	if err := db.write.GetContext(ctx, &n, q); err != nil || n == 0 {
		return 0, err
	}
	p, err := db.provider()
	if err != nil {
		return 0, err
	}
	return p.GetDBVersion(ctx)
}

// tx runs f in a transaction of the write side. An error of f rolls back, as does the end of
// ctx before the commit; an error of the commit leaves the outcome open unless the server
// itself said no.
func (db *conn) tx(ctx context.Context, f func(tx *sqlx.Tx) error) error {
	if err := db.WentBackError(); err != nil {
		return err
	}
	tx, err := db.write.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	// Looked at here because a commit that was not even sent answers ctx's error too.
	if err := ctx.Err(); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		if refused(err) {
			return err
		}
		return fmt.Errorf("%w: %w", notary.ErrUnknownOutcome, err)
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// refused reports whether a failed commit certainly did nothing.
func refused(err error) bool {
	if pe := new(pq.Error); errors.As(err, &pe) {
		// An ERROR ends the transaction. With FATAL and PANIC the server went away while it
		// committed; a server that speaks another language may mean either.
		return pe.Severity == "ERROR" && pe.Code.Class() != "57"
	}
	if se := new(sqlite.Error); errors.As(err, &se) {
		code := se.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_CONSTRAINT
	}
	return errors.Is(err, sql.ErrTxDone) // rolled back when ctx ended
}

// Temporary reports whether an error of the database may go by itself: it does not answer, begins or
// ends just now, is busy, or has no room. See https://www.postgresql.org/docs/current/errcodes-appendix.html.
func Temporary(err error) bool {
	if pe := new(pq.Error); errors.As(err, &pe) {
		return slices.Contains([]string{"08", "25", "40", "53", "55", "57", "58"}, string(pe.Code.Class()))
	}
	if se := new(sqlite.Error); errors.As(err, &se) {
		return slices.Contains([]int{sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}, se.Code()&0xff)
	}
	return errors.Is(err, ErrServersRun) || errors.Is(err, errOtherServer) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF)
}

// lockLog reads the log's row and keeps others from changing it until the transaction ends.
// SQLite's transactions are immediate: they hold the one write lock already.
func (db *conn) lockLog(ctx context.Context, tx *sqlx.Tx) (logRow, error) {
	r, err := db.readLog(ctx, tx, db.forUpdate())
	if err != nil {
		return r, fmt.Errorf("lock the log: %w", err)
	}
	return r, nil
}

// forUpdate is how a row is locked: not at all on SQLite, which has one writer.
func (db *conn) forUpdate() string {
	if db.postgres {
		return ` FOR UPDATE`
	}
	return ""
}

// readLog reads the log's row and compares it with what was seen before.
func (db *conn) readLog(ctx context.Context, q handle, lock string) (logRow, error) {
	mark, err := db.high.taken()
	if err != nil {
		return logRow{}, err
	}
	r, err := logRows.one(ctx, q, lock)
	if err != nil {
		return r, err
	}
	return r, db.high.saw(mark, r)
}

type logRow struct {
	Origin   string
	Received int64
	Size     int64
	Root     []byte
	Note     []byte
	Anchored int64
	Events   int64

	Key        string
	Generation int64
}

var logRows = newTable("log", func(r *logRow) []column {
	return []column{{"origin", &r.Origin}, {"received", &r.Received}, {"size", &r.Size}, {"root", &r.Root},
		{"note", text{&r.Note}}, {"anchored", &r.Anchored}, {"events", &r.Events}, {"key", &r.Key},
		{"key_generation", &r.Generation}}
})

func (r logRow) fence() batchlog.Fence {
	return batchlog.Fence{Key: r.Key, Generation: uint64(r.Generation)}
}
