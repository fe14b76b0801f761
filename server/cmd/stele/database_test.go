package main

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"stele/storage/storagetest"
)

// onTwo is a site whose database URL names a server and its standby.
func onTwo(t *testing.T, primary, standby *storagetest.Postgres) site {
	t.Helper()
	s := onServers(t, primary.Database(t), storagetest.StartMinIO(t))
	for i, a := range s.args {
		s.args[i] = strings.Replace(a, primary.Address(), primary.Address()+","+standby.Address(), 1)
	}
	return s
}

// waitsForStandby says whether a commit waits until the standby has it too.
func waitsForStandby(t *testing.T, primary *storagetest.Postgres, waits bool) {
	t.Helper()
	names := map[bool]string{true: "*", false: ""}[waits]
	primary.Exec(t, `ALTER SYSTEM SET synchronous_standby_names = '`+names+`'`)
	primary.Exec(t, `SELECT pg_reload_conf()`)
}

// A standby that holds all that was answered takes over: the servers go on with it, nothing is lost.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := storagetest.NewPostgres(t)
	standby := primary.Standby(t)
	waitsForStandby(t, primary, true)
	s := onTwo(t, primary, standby).start(t, "--log-level", "error")
	var c crowd
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		eventually(t, "records before the failover", func() bool { return len(c.answers()) > 50 })
		primary.Kill(t)
		standby.Promote(t)
		before := len(c.answers())
		eventually(t, "records after the failover", func() bool { return len(c.answers()) > before+50 })
	}()
	c.work(ctx, t, s, 4, unavailable)
	eventually(t, "ready again", func() bool { return s.get("/readyz").status == http.StatusOK })
	c.drain(t, s)
	c.check(t, s)
}

// A standby takes over that lacks what was answered last. From its first answer on no server
// answers with success: what would be written there is in no history that the world was told of.
func TestStandbyThatLacksRecords(t *testing.T) {
	t.Parallel()
	primary := storagetest.NewPostgres(t)
	standby := primary.Standby(t)
	waitsForStandby(t, primary, true)
	site := onTwo(t, primary, standby)
	a := site.start(t, "--log-level", "warn")
	b := a.sibling(t)
	a.notarize(digestRequest(newDigest(), "", "anchored"))
	waitsForStandby(t, primary, false)
	standby.Stop(t)
	var c crowd
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(2*time.Second, cancel)
	c.work(ctx, t, a, 4, noOther)
	lost := a.notarize(digestRequest(newDigest(), "", "logged"))
	answered := len(c.answers())

	primary.Kill(t)
	standby.Start(t)
	standby.Promote(t)
	for _, s := range []*server{a, b} {
		c.work(context.Background(), t, s, 4, unavailable) // until it ends
		<-s.done
		if code := s.cmd.ProcessState.ExitCode(); code != exitConfig ||
			!strings.Contains(s.log.String(), "the database went back") {
			t.Errorf("exit code %d:\n%s", code, s.log)
		}
	}
	if n := len(c.answers()); n != answered {
		t.Errorf("%d records were answered on a database that lacks %s", n-answered, lost.Number)
	}
	_, errs, code := site.output(t, "serve", "--listen", "127.0.0.1:0")
	if code != exitConfig || !strings.Contains(errs, "the database is older") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
