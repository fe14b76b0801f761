package storagetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/lib/pq" // the driver that creates databases

	"stele/storage/storagetest/freeport"
)

// Postgres is a PostgreSQL server of its own on the loopback interface. Its methods are
// for the test's goroutine; clients may do what they like meanwhile.
type Postgres struct {
	bin, dir string
	port     int
	password string
	durable  bool
	attr     func() *syscall.SysProcAttr
	process  *process
	serial   atomic.Int64
}

var (
	sharedPostgres     = sync.OnceValues(func() (*Postgres, error) { return newPostgres(false) })
	sharedPostgresSync = sync.OnceValues(func() (*Postgres, error) { return newPostgres(true) })
)

// StartPostgres returns the data source name of a fresh, empty database for lib/pq, as a
// URL. All tests of a binary share one server, started by the first; it does not flush to
// disk. A test that stops or kills the server takes [NewPostgres]. PostgreSQL that is not
// installed fails the test: nothing is skipped.
func StartPostgres(t testing.TB) (dsn string) {
	t.Helper()
	needsServer(t)
	p, err := sharedPostgres()
	fatalIfErr(t, err)
	return p.Database(t)
}

// StartDurablePostgres is [StartPostgres] on a server with fsync on: for benchmarks, which
// would measure nothing without.
func StartDurablePostgres(t testing.TB) (dsn string) {
	t.Helper()
	needsServer(t)
	p, err := sharedPostgresSync()
	fatalIfErr(t, err)
	return p.Database(t)
}

// NewPostgres starts a server for this test alone, with fsync on, that the test may stop,
// kill and start again.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	needsServer(t)
	p, err := newPostgres(true)
	fatalIfErr(t, err)
	t.Cleanup(func() {
		p.process.stop(syscall.SIGQUIT)
		os.RemoveAll(p.dir)
	})
	return p
}

// Database creates a fresh database and returns its data source name.
func (p *Postgres) Database(t testing.TB) (dsn string) {
	t.Helper()
	db, err := sql.Open("postgres", p.dsn("postgres"))
	fatalIfErr(t, err)
	defer db.Close()
	name := fmt.Sprintf("stele%d", p.serial.Add(1))
	_, err = db.ExecContext(context.WithoutCancel(t.Context()), "CREATE DATABASE "+name)
	fatalIfErr(t, err)
	return p.dsn(name)
}

// Stop ends the server in order; open connections break.
func (p *Postgres) Stop(t testing.TB) {
	t.Helper()
	fatalIfErr(t, p.process.stop(syscall.SIGINT))
}

// Kill ends the server as a crash does: without a checkpoint, to be recovered from its log.
func (p *Postgres) Kill(t testing.TB) {
	t.Helper()
	fatalIfErr(t, p.process.stop(syscall.SIGQUIT))
}

// Start starts the stopped server again, on the same port with the same data.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	fatalIfErr(t, p.start())
}

// Restart is Stop and Start.
func (p *Postgres) Restart(t testing.TB) {
	t.Helper()
	p.Stop(t)
	p.Start(t)
}

// Standby starts a second server that follows this one and takes over when it is promoted. It has
// the same databases and passwords.
func (p *Postgres) Standby(t testing.TB) *Postgres {
	t.Helper()
	dir, err := serverDir("pg")
	fatalIfErr(t, err)
	s := &Postgres{bin: p.bin, dir: dir, password: p.password, durable: p.durable}
	s.attr, err = postgresAccount(dir)
	fatalIfErr(t, err)
	copied := s.command("pg_basebackup", "-D", filepath.Join(dir, "data"), "-d", p.dsn("postgres"), "-R", "-X",
		"stream",
		"-c", "fast", "--no-sync")
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	s.port, err = freeport.Get()
	fatalIfErr(t, err)
	fatalIfErr(t, s.start())
	t.Cleanup(func() {
		s.process.stop(syscall.SIGQUIT)
		os.RemoveAll(dir)
	})
	return s
}

// Backup copies the cluster of the running server, as it is at the end of the copying, and returns
// the copy's folder.
func (p *Postgres) Backup(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(p.dir, fmt.Sprintf("backup-%d", p.serial.Add(1)))
	copied := p.command("pg_basebackup", "-D", dir, "-d", p.dsn("postgres"), "-X", "stream", "-c", "fast", "--no-sync")
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	return dir
}

// Restore puts a copy in the place of the stopped server's cluster, which is kept beside it: what is
// returned restores that one.
func (p *Postgres) Restore(t testing.TB, backup string) (former string) {
	t.Helper()
	data := filepath.Join(p.dir, "data")
	former = filepath.Join(p.dir, fmt.Sprintf("former-%d", p.serial.Add(1)))
	fatalIfErr(t, os.Rename(data, former))
	fatalIfErr(t, os.Rename(backup, data))
	return former
}

// Promote makes a standby a server of its own.
func (p *Postgres) Promote(t testing.TB) { p.Exec(t, `SELECT pg_promote()`) }

// Exec runs a statement as the cluster's owner.
func (p *Postgres) Exec(t testing.TB, statement string) {
	t.Helper()
	db, err := sql.Open("postgres", p.dsn("postgres"))
	fatalIfErr(t, err)
	defer db.Close()
	_, err = db.ExecContext(context.WithoutCancel(t.Context()), statement)
	fatalIfErr(t, err)
}

// Address is the server's host and port.
func (p *Postgres) Address() string { return "127.0.0.1:" + strconv.Itoa(p.port) }

func (p *Postgres) dsn(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("stele", p.password), Path: "/" + database,
		Host: p.Address(), RawQuery: "sslmode=disable"}
	return u.String()
}

// newPostgres makes a cluster and starts its server.
func newPostgres(durable bool) (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	dir, err := serverDir("pg")
	if err != nil {
		return nil, err
	}
	p := &Postgres{bin: bin, dir: dir, password: rand.Text(), durable: durable}
	if p.attr, err = postgresAccount(dir); err != nil {
		return nil, err
	}
	if err := p.initCluster(); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		if p.port, err = freeport.Get(); err != nil {
			return nil, err
		}
		if err = p.start(); err == nil || !errors.Is(err, errExited) || attempt == 3 {
			return p, err
		}
	}
}

// initCluster runs initdb. The password keeps a test from talking to another test's server.
func (p *Postgres) initCluster() error {
	pwfile := filepath.Join(p.dir, "password")
	if err := os.WriteFile(pwfile, []byte(p.password+"\n"), 0o600); err != nil {
		return err
	}
	if c := p.attr().Credential; c != nil {
		if err := os.Chown(pwfile, int(c.Uid), int(c.Gid)); err != nil {
			return err
		}
	}
	cmd := p.command("initdb", "-D", filepath.Join(p.dir, "data"), "-U", "stele", "-A", "scram-sha-256",
		"--pwfile="+pwfile, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// start starts the server and waits until it answers.
func (p *Postgres) start() error {
	args := []string{"-D", filepath.Join(p.dir, "data"), "-p", strconv.Itoa(p.port), "-k", p.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=500", "-c", "shared_buffers=64MB"}
	if !p.durable {
		args = append(args, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	var err error
	// On SIGQUIT the server ends at once and takes its children along.
	if p.process, err = startProcess(p.command("postgres", args...), syscall.SIGQUIT, nil); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	db, err := sql.Open("postgres", p.dsn("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := p.process.waitReady(db.Ping); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	return nil
}

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.SysProcAttr = p.attr()
	cmd.Dir = p.dir
	cmd.Env = []string{"HOME=" + p.dir, "LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	return cmd
}

// postgresAccount gives dir to the account that the server is to run as and says how to
// become it: PostgreSQL refuses to run as root.
func postgresAccount(dir string) (func() *syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return func() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root cannot run PostgreSQL: %w: install it with: make tools", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, err
	}
	return func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}, nil
}

// postgresBin is the folder of the newest server's programs. Debian keeps them out of PATH.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) > 0 {
		version := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4])
			return n
		}
		return filepath.Dir(
			slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(version(a), version(b)) })), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("PostgreSQL is not installed, these tests need it: run: make tools")
	}
	return filepath.Dir(path), nil
}
