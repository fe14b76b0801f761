package sqldb_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stele/notary"
	"stele/storage/storagetest"
)

// proxy stands between a client and a PostgreSQL server and can break the connection when
// the client commits: before the server gets to know of it, or after it has answered.
type proxy struct {
	ln     net.Listener
	server string
	mode   atomic.Int32
	broke  atomic.Int32
	wg     sync.WaitGroup
}

const (
	pass int32 = iota
	breakBefore
	breakAfter
)

// newProxy returns it with the data source name that leads through it.
func newProxy(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	fatalIfErr(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	fatalIfErr(t, err)
	p := &proxy{ln: ln, server: u.Host}
	p.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); p.wg.Wait() })
	u.Host = ln.Addr().String()
	return p, u.String()
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	answer := make(chan int32, 1) // what to do with the next answer of the server
	p.wg.Go(func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			select {
			case <-answer:
				return // the server has answered the commit, the client does not hear it
			default:
			}
			if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if bytes.Contains(buf[:n], []byte("COMMIT\x00")) {
			switch mode := p.mode.Load(); mode {
			case breakBefore:
				p.broke.Add(1)
				return
			case breakAfter:
				p.broke.Add(1)
				answer <- mode
			}
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// A commit whose answer is lost may or may not have happened, and the caller must hear just
// that. The idempotency key tells afterwards.
func TestCommitOnABrokenConnection(t *testing.T) {
	for name, c := range map[string]struct {
		mode      int32
		persisted bool
	}{"before": {breakBefore, false}, "after": {breakAfter, true}} {
		t.Run(name, func(t *testing.T) {
			dsn := storagetest.StartPostgres(t)
			s := storagetest.NewSiteOn(t, dsn, storagetest.NewDir(t))
			p, through := newProxy(t, dsn)
			db := storagetest.OpenDatabase(t, through, s.Now)
			items := s.Items(t, 2)
			items[0].Idempotency = "k"
			p.mode.Store(c.mode)
			_, err := db.Log.Receive(t.Context(), items)
			if !errors.Is(err, notary.ErrUnknownOutcome) || p.broke.Load() != 1 {
				t.Fatalf("got %v, %d commits were broken", err, p.broke.Load())
			}
			p.mode.Store(pass)
			out, err := db.Log.Receive(t.Context(), items[:1]) // on a new connection
			fatalIfErr(t, err)
			if out[0].Replay != c.persisted || out[0].Err != nil {
				t.Errorf("got %+v, want a replay: %t", out[0], c.persisted)
			}
			// The same for the head: one server's answer is lost, both look, one goes on.
			head, err := db.Log.Head(t.Context())
			fatalIfErr(t, err)
			cp, note := checkpointOf(t, s, 1)
			p.mode.Store(c.mode)
			if err := db.Log.Advance(t.Context(), head, cp, note); !errors.Is(err, notary.ErrUnknownOutcome) {
				t.Fatalf("Advance: got %v", err)
			}
			p.mode.Store(pass)
			now, err := db.Log.Head(t.Context())
			fatalIfErr(t, err)
			if (now.Size == 1) != c.persisted {
				t.Errorf("the head is at %d, want the write to have happened: %t", now.Size, c.persisted)
			}
		})
	}
}

// The server ends the connection in the middle of the commit.
func TestBackendKilledAtCommit(t *testing.T) {
	s := storagetest.NewSiteOn(t, storagetest.StartPostgres(t), storagetest.NewDir(t))
	fatalIfErr(t, s.DB.Exec(t.Context(), `CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.number LIKE '%-00000003-_' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$`))
	fatalIfErr(t, s.DB.Exec(t.Context(), `CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON records DEFERRABLE `+
		`INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()`))
	s.Receive(t, 3)
	doomed := s.Items(t, 1)
	if _, err := s.DB.Log.Receive(t.Context(), doomed); !errors.Is(err, notary.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	if p, err := s.DB.Log.Progress(t.Context()); err != nil || p.Received != 3 {
		t.Errorf("received %d, %v", p.Received, err)
	}
	s.Receive(t, 2) // the pool has other connections
}

// A refusal by a server that is well is no unknown outcome: it says that nothing was done.
func TestCommitRefused(t *testing.T) {
	s := storagetest.NewSiteOn(t, storagetest.StartPostgres(t), storagetest.NewDir(t))
	fatalIfErr(t,
		s.DB.Exec(t.Context(), `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE `+
			`EXCEPTION 'refused'; END $$`))
	fatalIfErr(t, s.DB.Exec(t.Context(), `CREATE CONSTRAINT TRIGGER refuses AFTER INSERT ON records DEFERRABLE `+
		`INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`))
	if _, err := s.DB.Log.Receive(t.Context(), s.Items(t, 1)); err == nil || errors.Is(err, notary.ErrUnknownOutcome) {
		t.Errorf("got %v", err)
	}
	fatalIfErr(t, s.DB.Exec(t.Context(), `DROP TRIGGER refuses ON records`))
	s.Receive(t, 1)
}

// The server crashes and comes back: what was answered is there, and the handle goes on.
func TestServerCrash(t *testing.T) {
	server := storagetest.NewPostgres(t)
	s := storagetest.NewSiteOn(t, server.Database(t), storagetest.NewDir(t))
	s.Receive(t, 5)
	server.Kill(t)
	if _, err := s.DB.Log.Receive(t.Context(), s.Items(t, 1)); err == nil || errors.Is(err, notary.ErrUnknownOutcome) {
		t.Errorf("got %v from a server that is away", err)
	}
	if err := s.DB.Ping(t.Context()); err == nil {
		t.Error("a server that is away answers")
	}
	server.Start(t)
	s.Receive(t, 2)
	if p, err := s.DB.Log.Progress(t.Context()); err != nil || p.Received != 7 {
		t.Errorf("received %d, %v", p.Received, err)
	}
}

// A context that ends while the transaction waits for the log's lock: nothing was done,
// and that is known.
func TestCancelledWhileWaiting(t *testing.T) {
	eachKind(t, func(t *testing.T, dbURL string) {
		s := storagetest.NewSiteOn(t, dbURL, storagetest.NewDir(t))
		raw := storagetest.Raw(t, dbURL)
		conn, err := raw.Connx(t.Context())
		fatalIfErr(t, err)
		begin, lock := `BEGIN`, `SELECT received FROM log FOR UPDATE`
		if raw.DriverName() == "sqlite" {
			begin, lock = `BEGIN IMMEDIATE`, `SELECT 1`
		}
		for _, q := range []string{begin, lock} {
			_, err := conn.ExecContext(t.Context(), q)
			fatalIfErr(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		items, done := s.Items(t, 1), make(chan error, 1)
		go func() {
			_, err := s.DB.Log.Receive(ctx, items)
			done <- err
		}()
		<-ctx.Done()
		if raw.DriverName() == "postgres" { // SQLite waits for its lock until it has it or gives up
			err = <-done
		}
		_, rerr := conn.ExecContext(t.Context(), `ROLLBACK`)
		fatalIfErr(t, errors.Join(rerr, conn.Close()))
		if raw.DriverName() == "sqlite" {
			err = <-done
		}
		if err == nil || errors.Is(err, notary.ErrUnknownOutcome) {
			t.Errorf("got %v", err)
		}
		s.Receive(t, 1)
		if p, err := s.DB.Log.Progress(t.Context()); err != nil || p.Received != 1 {
			t.Errorf("received %d, %v", p.Received, err)
		}
	})
}

// A full disk: nothing is written, that is known, and with room again all goes on.
func TestSQLiteFullDisk(t *testing.T) {
	s := storagetest.NewSite(t, storagetest.Embedded)
	s.Receive(t, 3)
	fatalIfErr(t, s.DB.Exec(t.Context(), `PRAGMA max_page_count = 1`)) // as large as it is now
	var err error
	for range 200 { // pages that are there already may take some
		if _, err = s.DB.Log.Receive(t.Context(), s.Items(t, 20)); err != nil {
			break
		}
	}
	if err == nil || errors.Is(err, notary.ErrUnknownOutcome) {
		t.Fatalf("got %v on a full disk", err)
	}
	before, err := s.DB.Log.Progress(t.Context())
	fatalIfErr(t, err)
	fatalIfErr(t, s.DB.Exec(t.Context(), `PRAGMA max_page_count = 1000000`))
	s.Receive(t, 1)
	after, err := s.DB.Log.Progress(t.Context())
	fatalIfErr(t, err)
	list, err := s.DB.Log.Entries(t.Context(), 0, after.Received+1)
	if err != nil || after.Received != before.Received+1 || uint64(len(list)) != after.Received {
		t.Errorf("received %d, then %d, %d entries, %v", before.Received, after.Received, len(list), err)
	}
}
