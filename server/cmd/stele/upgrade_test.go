package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/storage/storagetest"
)

// checkout is the root of the working copy.
const checkout = "../../.."

// build makes a program in a folder with sources, of the package there.
func build(t *testing.T, sources string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stele")
	cmd := exec.Command("go", append(append([]string{"build", "-tags", fewRounds, "-o", path}, args...),
		"./server/cmd/stele")...)
	cmd.Dir = sources
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build in %s: %v\n%s", sources, err, out)
	}
	return path
}

// nextProgram is this program as it will be when it has one more migration.
func nextProgram(t *testing.T, sql string) string {
	t.Helper()
	root, err := filepath.Abs(checkout)
	fatalIfErr(t, err)
	dir := t.TempDir()
	migration, overlay := filepath.Join(dir, "later.sql"), filepath.Join(dir, "overlay.json")
	fatalIfErr(t, os.WriteFile(migration, []byte(sql+"\n-- +goose Down\nSELECT 1;\n"), 0o600))
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "storage/sqldb/migrations/99990_later.sql"): migration}})
	fatalIfErr(t, err)
	fatalIfErr(t, os.WriteFile(overlay, text, 0o600))
	return build(t, root, "-overlay", overlay)
}

// git runs it in the working copy, whoever that belongs to.
func git(args ...string) ([]byte, error) {
	cmd := exec.Command("git", append([]string{"-C", checkout, "-c", "safe.directory=*"}, args...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, errs.Bytes())
	}
	return out, err
}

// lastRelease builds the program of the release that deploy/last-release names. A history that is cut
// short is fetched.
func lastRelease(t *testing.T) (program, sources, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(checkout, "deploy/last-release"))
	fatalIfErr(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	commit, name, ok := strings.Cut(lines[len(lines)-1], " ")
	if !ok {
		t.Fatalf("deploy/last-release: want a line with a commit and the release's name, got %q", lines[len(lines)-1])
	}
	if _, err := git("cat-file", "-e", commit+"^{commit}"); err != nil {
		if _, err2 := git("fetch", "--depth=1", "origin", commit); err2 != nil {
			t.Fatalf("the last release (%s, commit %s of deploy/last-release) is not in this history and cannot be "+
				"fetched; "+
				"clone with it (git fetch --unshallow): %v", name, commit, errors.Join(err, err2))
		}
	}
	sources = t.TempDir()
	tree, err := git("archive", "--format=tar", commit)
	fatalIfErr(t, err)
	tar := exec.Command("tar", "-x", "-C", sources)
	tar.Stdin = bytes.NewReader(tree)
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", name, err, out)
	}
	return build(t, sources), sources, name
}

// with is the same site under another program.
func (s site) with(program string) site {
	s.program = program
	return s
}

// on is a running server's site under another program, to start a sibling of that.
func (s *server) on(program string) *server {
	x := *s
	x.site = s.with(program)
	return &x
}

// answered is how many jobs of a crowd have been.
func (c *crowd) answered() int { return len(c.answers()) }

// more waits until that many further jobs are answered.
func (c *crowd) more(t *testing.T, n int) {
	t.Helper()
	want := c.answered() + n
	eventually(t, fmt.Sprintf("%d more records", n), func() bool { return c.answered() >= want })
}

// rolling upgrades an instance while clients go on, and back: the older program runs on the newer one's
// schema, beside it, and starts on it. Every record that was answered is there and genuine in the end.
func rolling(t *testing.T, older, newer string) {
	s := onServers(t, storagetest.StartDurablePostgres(t), storagetest.StartMinIO(t))
	var c crowd
	var load sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer load.Wait()
	defer cancel()
	serve := func(x *server) *server {
		load.Go(func() { c.work(ctx, t, x, 3, unavailable) })
		c.more(t, 30)
		return x
	}
	a := serve(s.with(older).start(t))
	if _, errs, code := s.with(newer).output(t, "migrate", "--check"); code != 0 && code != exitNeeded {
		t.Fatalf("migrate --check: %d %s", code, errs)
	}
	s.with(newer).succeeds(t, "migrate")
	s.with(newer).succeeds(t, "migrate", "--check")
	c.more(t, 30)
	b := serve(a.on(newer).sibling(t))
	a.stop()
	c.more(t, 30)
	next := serve(s.with(newer).start(t))
	b.stop()
	c.more(t, 30)
	back := serve(next.on(older).sibling(t)) // a step back, beside the newer one
	next.stop()
	c.more(t, 30)
	last := serve(s.with(newer).start(t))
	back.stop()
	cancel()
	load.Wait()
	c.drain(t, last)
	s.with(older).fsck(t)
	c.check(t, last)
}

// What a later program's migration adds, this program passes by. The real next release cannot be known;
// this one is this program with a migration more.
func TestUpgradeToTheNext(t *testing.T) {
	t.Parallel()
	binary, err := binary()
	fatalIfErr(t, err)
	next := nextProgram(t, `-- servers: may run
-- +goose Up
ALTER TABLE records ADD COLUMN later TEXT NOT NULL DEFAULT '';
CREATE TABLE later (id BIGINT PRIMARY KEY);
CREATE INDEX records_later ON records (later);`)
	rolling(t, binary, next)
}

// The last release runs beside this program on its schema, unless a migration since then says that
// servers are stopped.
func TestUpgradeFromLastRelease(t *testing.T) {
	t.Parallel()
	release, sources, name := lastRelease(t)
	binary, err := binary()
	fatalIfErr(t, err)
	if step := stopping(t, sources); step != "" {
		t.Logf("since %s there is %s: servers are stopped", name, step)
		stopped(t, release, binary, step)
		return
	}
	rolling(t, release, binary)
}

// stopping is the first migration that the sources of a release lack and that needs servers stopped; "" if
// there is none.
func stopping(t *testing.T, sources string) string {
	t.Helper()
	files := func(root string) []string {
		names, err := filepath.Glob(filepath.Join(root, "storage/sqldb/migrations/*.sql"))
		fatalIfErr(t, err)
		return names
	}
	former := files(sources)
	last := filepath.Base(former[len(former)-1])[:5]
	for _, file := range files(checkout) {
		text, err := os.ReadFile(file)
		fatalIfErr(t, err)
		if name := filepath.Base(file); name[:5] > last && strings.Contains(string(text), "-- servers: stopped") {
			return strings.TrimSuffix(name, ".sql")
		}
	}
	return ""
}

// A release whose migration says so is begun when the servers before it are stopped.
func TestUpgradeThatStopsServers(t *testing.T) {
	t.Parallel()
	binary, err := binary()
	fatalIfErr(t, err)
	stopped(t, binary, nextProgram(t, `-- servers: stopped
-- +goose Up
UPDATE compatibility SET least_schema = 99990;`), "99990_later")
}

// stopped upgrades an instance whose servers are stopped for it. While one runs this is refused.
func stopped(t *testing.T, older, newer, step string) {
	s := onServers(t, storagetest.StartDurablePostgres(t), storagetest.StartMinIO(t)).with(newer)
	var c crowd
	a := s.with(older).start(t)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() { c.work(ctx, t, a, 3, unavailable) })
	c.more(t, 30)
	out, _, code := s.output(t, "migrate", "--check")
	if code != exitNeeded || !strings.Contains(out, "to be done: "+step+" (servers stopped)") ||
		!strings.Contains(out, "Stop all servers") {
		t.Errorf("migrate --check: %d %s", code, out)
	}
	s.fails(t, "a server of this instance runs", "migrate")
	s.fails(t, "run 'stele migrate'", "serve")
	c.more(t, 30)
	a.stop()
	cancel()
	load.Wait()
	s.succeeds(t, "migrate")
	s.with(older).fails(t, "newer program", "serve")
	b := s.start(t)
	c.drain(t, b)
	c.check(t, b)
}

// A server notices that the database was migrated for later programs, and stops for good.
func TestServerStopsWhenItsSchemaIsPast(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, s site) {
		srv := s.start(t)
		db := storagetest.Raw(t, s.database(t))
		_, err := db.ExecContext(t.Context(), `UPDATE compatibility SET least_schema = 99990`)
		fatalIfErr(t, err)
		select {
		case <-srv.done:
		case <-time.After(time.Minute):
			t.Fatalf("it goes on\n%s", srv.log)
		}
		if code := srv.cmd.ProcessState.ExitCode(); code != exitConfig ||
			!strings.Contains(srv.log.String(), "use the newer program") {
			t.Errorf("exit code %d\n%s", code, srv.log)
		}
		if _, errs, code := s.output(t, "serve", "--listen", "127.0.0.1:0"); code != exitConfig ||
			!strings.Contains(errs, "migrated for programs that know schema version 99990") {
			t.Errorf("starting again: %d %s", code, errs)
		}
	})
}

// database is the URL of the site's database, password and all.
func (s site) database(t *testing.T) string {
	t.Helper()
	if s.args == nil {
		return "sqlite:" + filepath.Join(s.data, "stele.db")
	}
	u, err := url.Parse(s.args[1])
	fatalIfErr(t, err)
	password, err := os.ReadFile(s.args[3])
	fatalIfErr(t, err)
	u.User = url.UserPassword(u.User.Username(), strings.TrimSpace(string(password)))
	return u.String()
}
