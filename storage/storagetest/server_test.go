package storagetest_test

import (
	"bufio"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"stele/storage/storagetest"
)

func mustOpenDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func TestPostgresFreshDatabases(t *testing.T) {
	a, b := mustOpenDB(t, storagetest.StartPostgres(t)), mustOpenDB(t, storagetest.StartPostgres(t))
	mustExec(t, a, "CREATE TABLE things (id INT)")
	mustExec(t, b, "CREATE TABLE things (id INT)")
}

func TestPostgresDurable(t *testing.T) {
	var fsync string
	if err := mustOpenDB(t, storagetest.StartDurablePostgres(t)).QueryRow("SHOW fsync").Scan(&fsync); err != nil ||
		fsync != "on" {
		t.Fatalf("fsync %q, %v", fsync, err)
	}
}

func TestPostgresKillAndRestart(t *testing.T) {
	p := storagetest.NewPostgres(t)
	db := mustOpenDB(t, p.Database(t))
	mustExec(t, db, "CREATE TABLE things (id INT)")
	mustExec(t, db, "INSERT INTO things VALUES (7)")
	p.Kill(t)
	if err := db.Ping(); err == nil {
		t.Fatal("a killed server answers")
	}
	p.Start(t)
	p.Restart(t)
	var id int
	// The pool may hold a connection that died with the server; database/sql takes another.
	if err := db.QueryRow("SELECT id FROM things").Scan(&id); err != nil || id != 7 {
		t.Fatalf("got %d, %v after the crash", id, err)
	}
}

func TestMinIOKillAndRestart(t *testing.T) {
	m := storagetest.NewMinIO(t)
	b := m.Bucket(t, false)
	m.Kill(t)
	if c, err := net.Dial("tcp", b.Endpoint); err == nil {
		c.Close()
		t.Fatal("a killed server accepts connections")
	}
	m.Start(t)
	m.Restart(t)
	if again := m.Bucket(t, true); again.Endpoint != b.Endpoint || again.Name == b.Name {
		t.Errorf("got %+v after a restart, had %+v", again, b)
	}
}

// The servers and their folders go when the test binary is killed with SIGKILL: it runs
// itself, lets the child start both, and kills it.
func TestServersDieWithTheTest(t *testing.T) {
	const child = "STELE_TEST_SERVERS_CHILD"
	if os.Getenv(child) != "" {
		u, _ := url.Parse(storagetest.StartPostgres(t))
		fmt.Printf("\nSERVERS %s %s\n", u.Host, storagetest.StartMinIO(t).Endpoint)
		select {} // until it is killed
	}
	tmp, err := os.MkdirTemp("", "st") // short: it will hold a Unix socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil { // PostgreSQL runs as another account
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServersDieWithTheTest$")
	cmd.Env = append(os.Environ(), child+"=1", "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var hosts []string
	var seen strings.Builder
	for lines := bufio.NewScanner(out); hosts == nil && lines.Scan(); {
		seen.WriteString(lines.Text() + "\n")
		if rest, ok := strings.CutPrefix(lines.Text(), "SERVERS "); ok {
			hosts = strings.Fields(rest)
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if len(hosts) != 2 {
		t.Fatalf("the child did not start its servers:\n%s", seen.String())
	}
	for _, host := range hosts {
		eventually(t, host+" is closed", func() bool {
			c, err := net.Dial("tcp", host)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	}
	eventually(t, "the servers' folders are gone", func() bool {
		left, err := os.ReadDir(tmp)
		return err == nil && len(left) == 0
	})
}

// eventually waits for a fact.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
