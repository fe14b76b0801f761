package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/storage/storagetest"
)

// shifted starts a process whose clock is wrong by so many seconds.
func shifted(seconds int32) storagetest.Launch {
	return func(cmd *exec.Cmd) error {
		runtime.LockOSThread() // a process is traced by the thread that started it
		defer runtime.UnlockOSThread()
		return startShifted(cmd, seconds)
	}
}

// A server whose clock is wrong does not start where another clock says so: not one record, nor
// one block, gets the wrong time.
func TestStartWithWrongClock(t *testing.T) {
	t.Parallel()
	needsShift(t)
	site := onServers(t, storagetest.StartDurablePostgres(t), storagetest.StartMinIO(t))
	refused := func(verb ...string) {
		for seconds, side := range map[int32]string{600: "ahead of", -600: "behind"} {
			var said bytes.Buffer
			cmd := site.command(t, verb...)
			cmd.Stderr = &said
			fatalIfErr(t, shifted(seconds)(cmd))
			if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), side+" the database server, and") ||
				!strings.Contains(said.String(), side+" the object store") {
				t.Fatalf("%v, clock wrong by %d s: %v: %s", verb, seconds, err, &said)
			}
			if verb[0] == "init" { // its passphrase is all that it leaves
				fatalIfErr(t, os.RemoveAll(filepath.Join(site.data, "keys")))
			}
		}
	}
	refused("init", "--new-passphrase", "--origin", "clock.example/log")
	site.start(t).stop()
	refused("serve", "--listen", "127.0.0.1:0")
	refused("agency", "add", "--code", "91350100M000100Y43", "--name", "城市管理局", "--region", "350100")
	s := site.start(t)
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.demand(rec, proof.Genuine)
	s.stop()
	site.fsck(t)
}

// A clock that becomes wrong while the server runs ends signing, and nothing else, until it is right.
func TestClockBecomesWrong(t *testing.T) {
	t.Parallel()
	needsShift(t)
	minio := storagetest.NewMinIO(t)
	site := onServers(t, "postgres://nobody@nowhere/none", minio.Bucket(t, false))
	site.args = site.args[4:] // SQLite: the bucket's is the only other clock
	s := site.start(t)
	first := s.notarize(digestRequest(newDigest(), "", "anchored"))

	minio.Stop(t)
	minio.StartBy(t, shifted(-600))
	ready := func() response { return s.get("/readyz") }
	deadline := time.Now().Add(3 * time.Minute) // the clocks are compared once a minute
	for !strings.Contains(string(ready().body), "ahead of the object store") && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond) // between two looks at another process
	}
	if r := ready(); !strings.Contains(string(r.body), "ahead of the object store") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	res := s.call(digestRequest(newDigest(), "", ""))
	if res.status != http.StatusServiceUnavailable || !strings.Contains(string(res.body), "clock is wrong") {
		t.Fatalf("%d %s", res.status, res.body)
	}
	s.demand(first, proof.Genuine)

	minio.Restart(t)
	eventually(t, "signing again",
		func() bool { return s.call(digestRequest(newDigest(), "", "")).status == http.StatusCreated })
	s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.stop()
	if res := site.fsck(t); res.Records != 3 {
		t.Errorf("%+v", res)
	}
}

// The chain's last block is of a time to come, since a server ran with a clock that was ahead.
// Where other clocks confirm that it is right now, records are taken in, and anchored when that
// time has passed; where none does, nobody can say which clock is wrong, and nothing starts.
func TestChainAhead(t *testing.T) {
	t.Parallel()
	needsShift(t)
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		site.start(t).stop()
		s, err := site.launch(t, shifted(40), "--clock-tolerance", "1h")
		fatalIfErr(t, err)
		s.notarize(digestRequest(newDigest(), "", "anchored"))
		s.stop()
		if len(site.args) == 0 {
			_, errs, code := site.output(t, "serve", "--listen", "127.0.0.1:0")
			if code == 0 || !strings.Contains(errs, "until it has passed") || !strings.Contains(errs, "chain move") {
				t.Fatalf("exit code %d: %s", code, errs)
			}
			eventually(t, "the start when the time has passed", func() bool {
				_, err := site.launch(t, (*exec.Cmd).Start)
				return err == nil
			})
			return
		}
		s = site.start(t)
		rec := s.notarize(digestRequest(newDigest(), "", "logged"))
		if r := s.get("/readyz"); !strings.Contains(string(r.body), "takes nothing before") {
			t.Errorf("%s", r.body)
		}
		eventually(t, "anchored", func() bool {
			s.get("/api/v1/records/"+rec.ID).json(t, &rec)
			return rec.State == "anchored"
		})
		s.demand(rec, proof.Genuine)
		s.stop()
		site.fsck(t)
	})
}
