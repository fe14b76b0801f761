package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/storage/storagetest"
)

// drill is two servers of one instance on a PostgreSQL and an S3 server, under load from people who
// turn to the other server when one is away.
type drill struct {
	site
	t       *testing.T
	pg      *storagetest.Postgres
	crowd   crowd
	mu      sync.Mutex
	servers [2]*server // guarded by mu
}

// up starts both servers: the first one runs the chain.
func (d *drill) up() {
	d.t.Helper()
	a := d.start(d.t, "--log-level", "warn")
	d.put(0, a)
	d.put(1, a.sibling(d.t))
}

func (d *drill) put(i int, s *server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.servers[i] = s
}

func (d *drill) server(i int) *server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.servers[i%2]
}

// load keeps people busy while f runs. Refusals with 503 and broken connections may happen; nothing
// else may.
func (d *drill) load(f func()) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for turn := i; ctx.Err() == nil; turn++ {
				d.crowd.work(ctx, d.t, d.server(turn), 1, unavailable)
			}
		})
	}
	f()
	cancel()
	wg.Wait()
}

// answered waits until so many more records were answered.
func (d *drill) answered(more int) {
	d.t.Helper()
	before := len(d.crowd.answers())
	eventually(d.t, "records are answered", func() bool { return len(d.crowd.answers()) >= before+more })
}

// down ends both servers in order.
func (d *drill) down() {
	d.t.Helper()
	d.server(0).stop()
	d.server(1).stop()
}

// verified compares everything that was ever answered with the database, verifies each bundle, and
// leaves the instance stopped and checked by fsck.
func (d *drill) verified() {
	d.t.Helper()
	d.crowd.drain(d.t, d.server(0))
	d.server(1).stop()
	d.crowd.check(d.t, d.server(0))
	d.crowd.extra++ // check notarizes one of its own
}

// ends demands that both servers end by themselves, and answer nothing more with success meanwhile.
func (d *drill) ends(says string) {
	d.t.Helper()
	before := len(d.crowd.answers())
	for i := range 2 {
		s := d.server(i)
		d.crowd.work(context.Background(), d.t, s, 4, unavailable)
		<-s.done
		if s.cmd.ProcessState.ExitCode() != exitConfig || !strings.Contains(s.log.String(), says) {
			d.t.Fatalf("exit code %d:\n%s", s.cmd.ProcessState.ExitCode(), s.log)
		}
	}
	if n := len(d.crowd.answers()) - before; n != 0 {
		d.t.Fatalf("%d records were answered that nobody can find again", n)
	}
}

// refusedWith demands that a start is refused, for good and with this reason.
func (d *drill) refusedWith(says string, extra ...string) {
	d.t.Helper()
	_, errs, code := d.output(d.t, append([]string{"serve", "--listen", "127.0.0.1:0"}, extra...)...)
	if code != exitConfig || !strings.Contains(errs, says) {
		d.t.Fatalf("exit code %d, want %d with %q: %s", code, exitConfig, says, errs)
	}
}

// TestDrill is an operator's day of accidents, on the real program and real servers: load, a rolling
// restart, a killed leader, a backup that is older than what was answered, a database that goes back
// under running servers, the key from before a change, a wrong clock. After each of them every record
// that was answered is compared with the database, its bundle is verified, and fsck finds nothing.
func TestDrill(t *testing.T) {
	t.Parallel()
	d := &drill{t: t, pg: storagetest.NewPostgres(t)}
	d.site = onServers(t, d.pg.Database(t), storagetest.StartMinIO(t))
	step := func(name string, f func()) {
		start, before := time.Now(), len(d.crowd.answers())
		d.up()
		f()
		d.up()
		d.verified()
		t.Logf("%s: %d records answered, all there and genuine, in %v", name, len(d.crowd.answers())-before,
			time.Since(start).Round(time.Second))
	}
	step("rolling restart", func() {
		d.load(func() {
			d.answered(50)
			d.server(0).stop()
			d.answered(20)
			d.put(0, d.start(t, "--log-level", "warn"))
			d.server(1).stop()
			d.answered(20)
			d.put(1, d.server(0).sibling(t))
			d.answered(20)
		})
		d.down()
	})
	step("the leader is killed", func() {
		d.load(func() {
			d.answered(50)
			d.server(0).kill()
			d.answered(20)
			d.put(0, d.start(t, "--log-level", "warn"))
			d.answered(20)
		})
		d.down()
	})
	step("an older backup is restored", func() {
		var backup string
		d.load(func() {
			d.answered(50)
			backup = d.pg.Backup(t)
			d.answered(50)
		})
		d.server(0).kill()
		d.server(1).kill()
		d.pg.Kill(t)
		d.pg.Restore(t, backup)
		d.pg.Start(t)
		d.refusedWith("the database is older")
		eventually(t, "recover-tail when the killed server's lease has run out", func() bool {
			_, _, code := d.output(t, "recover-tail")
			return code == 0
		})
	})
	step("the database goes back while servers run", func() {
		var backup string
		d.load(func() {
			d.answered(50)
			backup = d.pg.Backup(t)
			d.answered(50)
		})
		d.pg.Kill(t)
		newest := d.pg.Restore(t, backup)
		d.pg.Start(t)
		d.ends("the database went back")
		d.refusedWith("the database is older")
		d.pg.Kill(t)
		d.pg.Restore(t, newest)
		d.pg.Start(t)
	})
	step("the key from before a change", func() {
		d.load(func() { d.answered(20) })
		d.down()
		former := folder(t)
		copyFolder(t, former, d.data)
		d.succeeds(t, "log-key", "next")
		d.succeeds(t, "log-key", "switch")
		old := d.site
		old.data = former
		_, errs, code := old.output(t, "serve", "--listen", "127.0.0.1:0")
		if code != exitConfig || !strings.Contains(errs, "another key than this server") {
			t.Fatalf("exit code %d: %s", code, errs)
		}
	})
	if canShift() == nil {
		step("a wrong clock", func() {
			d.load(func() { d.answered(20) })
			d.down()
			cmd := d.command(t, "serve", "--listen", "127.0.0.1:0")
			var said lockedBuffer
			cmd.Stderr = &said
			fatalIfErr(t, shifted(600)(cmd))
			if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), "ahead of the database server") {
				t.Fatalf("%v: %s", err, &said)
			}
		})
	}
}
