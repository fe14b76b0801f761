package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"stele/crypto/merkle"
	"stele/notary"
)

// hosts turns a URL that lists several servers (postgres://user@a:5432,b:5432/name) into the form
// that the driver takes, and asks for the one of them that can be written to. Other URLs stay.
func hosts(dbURL string) (string, error) {
	scheme, rest, _ := strings.Cut(dbURL, "://")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	at := strings.LastIndexByte(authority, '@') + 1 // 0: nobody is named
	user, list := authority[:at], authority[at:]
	if !strings.Contains(list, ",") {
		return dbURL, nil
	}
	u, err := url.Parse(scheme + "://" + user + "several" + tail)
	if err != nil {
		return "", errors.New("the database URL cannot be parsed")
	}
	var names, ports []string
	for one := range strings.SplitSeq(list, ",") {
		name, port, err := net.SplitHostPort(one)
		if err != nil && !strings.ContainsAny(one, ":[]") {
			name, port, err = one, "5432", nil
		}
		if err != nil || name == "" || port == "" {
			return "", fmt.Errorf("%q in the database URL is no server: several are written host:port,host:port", one)
		}
		names, ports = append(names, name), append(ports, port)
	}
	q := u.Query()
	q.Set("host", strings.Join(names, ","))
	q.Set("port", strings.Join(ports, ","))
	if !q.Has("target_session_attrs") {
		q.Set("target_session_attrs", "read-write")
	}
	u.Host, u.RawQuery = "", q.Encode()
	return u.String(), nil
}

// errOtherServer: an address leads to a database server that is not the one to write to. That may pass:
// a standby is promoted, or the address is moved.
var errOtherServer = errors.New("the database server is not the one to write to")

// watched looks at each new connection before it is used: it may lead to another database server
// than the one before, which is how a database goes back while this process runs.
type watched struct {
	driver.Connector
	db *DB
}

// Connect implements [driver.Connector].
func (w watched) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := w.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.db.look(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// borrowed is a connection whose end is somebody else's business.
type borrowed struct{ driver.Conn }

func (borrowed) Close() error { return nil }

// Connect and Driver make a connection the one of a pool of its own.
func (b borrowed) Connect(context.Context) (driver.Conn, error) { return b, nil }
func (b borrowed) Driver() driver.Driver                        { return nil }

// dbServer says which database server answers, and how durable what it says is.
type dbServer struct {
	System   string `db:"system"`   // of the cluster: what a standby shares with its primary
	Timeline int64  `db:"timeline"` // grows when a standby takes over
	Started  string `db:"started"`
	Standby  bool   `db:"standby"`
	Fsync    string `db:"fsync"`
	Commit   string `db:"commit"`
	Pages    string `db:"pages"`
}

const selectServer = `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
	CASE WHEN pg_is_in_recovery() THEN 0
		ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint END AS timeline,
	pg_postmaster_start_time()::text AS started, pg_is_in_recovery() AS standby, current_setting('fsync') AS fsync,
	current_setting('synchronous_commit') AS commit, current_setting('full_page_writes') AS pages`

// servers remembers which database server was compared last. It is safe for concurrent use.
type servers struct {
	mu       sync.Mutex
	compared dbServer // guarded by mu; zero before the first
	newest   dbServer // guarded by mu; of the highest timeline
}

// look compares what a new connection leads to with what was seen. That the server cannot say who
// it is, as with some providers, makes each connection one to a server that is not known.
func (db *conn) look(ctx context.Context, c driver.Conn) error {
	mark, err := db.high.taken()
	if err != nil || !db.guarded.Load() {
		return err
	}
	pool := sqlx.NewDb(sql.OpenDB(borrowed{c}), "postgres")
	defer pool.Close()
	var s dbServer
	if err := pool.GetContext(ctx, &s, selectServer); err != nil && ctx.Err() != nil {
		return err
	}
	if s.Standby {
		return fmt.Errorf("%w: it is a standby, nothing can be written to it", errOtherServer)
	}
	known, err := db.servers.known(s)
	if err != nil {
		return err
	}
	var published Seen
	if ask := db.published.Load(); !known && ask != nil {
		if published, err = (*ask)(ctx); err != nil {
			return fmt.Errorf("another database server answers, and cannot be compared with the published log now: %w",
				err)
		}
	}
	row, err := logRows.one(ctx, pool, "")
	if errors.Is(err, notary.ErrNotFound) && mark.Root == nil {
		return nil // no instance yet
	}
	if err != nil {
		return err
	}
	if err := db.high.saw(mark, row); err != nil || known {
		return err
	}
	for _, seen := range []Seen{mark.seen(), published} {
		if err := db.holds(ctx, pool, row, seen); err != nil {
			return err
		}
	}
	db.servers.take(s)
	return nil
}

// known reports whether this server was compared already. A server of an earlier timeline than
// one that was seen is the one that was taken over from: whatever it holds is no longer the log, and
// its connections are not used.
func (s *servers) known(now dbServer) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.System != "" && now.System == s.newest.System && now.Timeline < s.newest.Timeline {
		return false, fmt.Errorf("%w: it is of timeline %d, and one of timeline %d has taken over from it",
			errOtherServer,
			now.Timeline, s.newest.Timeline)
	}
	return now.System != "" && now == s.compared, nil
}

func (s *servers) take(now dbServer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compared = now
	if now.System != s.newest.System || now.Timeline > s.newest.Timeline {
		s.newest = now
	}
}

func (r logRow) seen() Seen {
	if len(r.Root) != merkle.HashSize {
		return Seen{} // nothing was seen yet
	}
	return Seen{Received: uint64(r.Received), Size: uint64(r.Size), Root: merkle.Hash(r.Root)}
}

// holds compares the database with a state that was seen: it must be as long, and have that root.
func (db *conn) holds(ctx context.Context, q sqlx.QueryerContext, row logRow, seen Seen) error {
	if seen == (Seen{}) {
		return nil
	}
	if uint64(row.Received) < seen.Received {
		return db.high.trip(fmt.Sprintf("it has %d received entries, and %d were answered", row.Received,
			seen.Received))
	}
	if uint64(row.Size) < seen.Size {
		return db.high.trip(fmt.Sprintf("it has %d logged entries, and %d are published", row.Size, seen.Size))
	}
	var has []byte
	err := sqlx.GetContext(ctx, q, &has, `SELECT root FROM checkpoints WHERE size = $1`, int64(seen.Size))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if !bytes.Equal(has, seen.Root[:]) {
		return db.high.trip(fmt.Sprintf("it has no checkpoint of %d entries with the root that was seen", seen.Size))
	}
	return nil
}

// Now is what time it is at a PostgreSQL server, asked over a connection of its own.
func Now(ctx context.Context, dbURL, password string) (now time.Time, err error) {
	db, err := connect(ctx, dbURL, password, false, statementTimeout, time.Now)
	if err != nil {
		return now, err
	}
	defer db.Close()
	return now, db.read.GetContext(ctx, &now, `SELECT clock_timestamp()`)
}

// Weakness is a setting of the database server with which a crash or a power cut may lose what was
// answered.
type Weakness struct {
	Setting string // of postgresql.conf
	Value   string
	Effect  string // for people
}

// Weaknesses are those of the server that was connected to last; none with SQLite, where this
// program sets what counts.
func (db *conn) Weaknesses() []Weakness {
	db.servers.mu.Lock()
	s := db.servers.compared
	db.servers.mu.Unlock()
	var out []Weakness
	add := func(weak bool, setting, value, effect string) {
		if weak {
			out = append(out, Weakness{setting, value, effect})
		}
	}
	add(s.Fsync == "off", "fsync", s.Fsync, "a power cut may destroy the database")
	add(s.Pages == "off", "full_page_writes", s.Pages, "a power cut may destroy pages of the database")
	add(s.Commit == "off", "synchronous_commit", s.Commit, "a crash loses the last records that were answered")
	add(s.Commit == "local", "synchronous_commit", s.Commit,
		"a standby that takes over lacks the last records that were answered")
	return out
}
