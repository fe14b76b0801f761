package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/storage/storagetest"
	"stele/storage/storagetest/freeport"
)

// unavailable is what a client may be told while a dependency is down.
func unavailable(status int) bool { return status == http.StatusServiceUnavailable }

// eventually waits until f holds; it is for facts that no channel tells.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		time.Sleep(20 * time.Millisecond) // between two looks at another process
	}
}

// The database or the S3 server goes away under load and comes back: requests fail with 503
// meanwhile, nothing that was answered is lost, and everything catches up by itself.
func TestOutages(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"postgres", "s3"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			pg, minio := storagetest.NewPostgres(t), storagetest.NewMinIO(t)
			s := onServers(t, pg.Database(t), minio.Bucket(t, false)).start(t, "--log-level", "error")
			var c crowd
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				defer cancel()
				for range 3 {
					answered := func() bool { return len(c.answers()) > 0 }
					before := len(c.answers())
					eventually(t, "progress before the outage",
						func() bool { return answered() && len(c.answers()) > before+20 })
					if what == "postgres" {
						pg.Kill(t)
						pg.Start(t)
					} else {
						minio.Kill(t)
						minio.Start(t)
					}
				}
			}()
			c.work(ctx, t, s, 4, unavailable)
			eventually(t, "ready again", func() bool { return s.get("/readyz").status == http.StatusOK })
			c.drain(t, s)
			c.check(t, s)
		})
	}
}

// answers lists the jobs that were answered.
func (c *crowd) answers() []*job {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*job
	for _, j := range c.jobs {
		if j.answered.Load() {
			out = append(out, j)
		}
	}
	return out
}

// inNamespace runs a test again in a user namespace, where it may mount small file systems
// of its own; it reports whether this is that second run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("STELE_TEST_NAMESPACE") != "" {
		return true
	}
	cmd := exec.Command("unshare", "--user", "--map-root-user", "--mount", os.Args[0], "-test.run=^"+t.Name()+"$",
		"-test.v")
	cmd.Env = append(os.Environ(), "STELE_TEST_NAMESPACE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

func mountSmall(t *testing.T, dir, size string) {
	t.Helper()
	fatalIfErr(t, syscall.Mount("none", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// fill writes a file that takes all the room there is left.
func fill(dir string) (path string) {
	path = filepath.Join(dir, "filler")
	_ = os.WriteFile(path, make([]byte, 64<<20), 0o600) // fails when the disk is full, as it should
	return path
}

// Intake goes on while the disk of the object store is full, as far as it needs no object;
// uploads fail with a clear answer; when there is room again everything catches up.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	dir := t.TempDir()
	mountSmall(t, dir, "8m")
	site := site{data: folder(t), args: []string{"--objects-dir", filepath.Join(dir, "objects")}}
	s := site.start(t, "--log-level", "error")
	first := s.notarize(fileRequest(make([]byte, 100_000), `{}`, ""))
	full := s.call(fileRequest(make([]byte, 16<<20), `{}`, ""))
	if full.status != http.StatusServiceUnavailable || !strings.Contains(string(full.body), "full") {
		t.Fatalf("status %d: %s", full.status, full.body)
	}
	filler := fill(dir)
	rec := s.notarize(digestRequest(newDigest(), "", ""))
	if res := s.call(fileRequest(make([]byte, 1<<20), `{}`, "")); res.status != http.StatusServiceUnavailable {
		t.Fatalf("status %d: %s", res.status, res.body)
	}
	fatalIfErr(t, os.Remove(filler))
	s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.demand(first, proof.Genuine)
	s.demand(rec, proof.Genuine)
	s.stop()
	if res := site.fsck(t); res.Orphans != 0 || res.Records != 3 {
		t.Errorf("%+v", res)
	}
}

// The chain's disk is full, so its consensus stops: records are received and logged all the
// same, the server says that it is degraded, and when there is room the chain is started
// again and anchors what has waited.
func TestChainDiskFull(t *testing.T) {
	t.Parallel()
	if !inNamespace(t) {
		return
	}
	site := site{data: folder(t)}
	site.start(t).stop()
	chain, kept := filepath.Join(site.data, "chain"), t.TempDir()
	copyFolder(t, filepath.Join(kept, "chain"), chain)
	mountSmall(t, chain, "24m")
	copyFolder(t, chain, filepath.Join(kept, "chain"))
	s := site.start(t, "--log-level", "error")
	before := s.notarize(digestRequest(newDigest(), "", "anchored"))
	filler := fill(chain)
	rec := s.notarize(digestRequest(newDigest(), "", "logged"))
	eventually(t, "the chain stops", func() bool {
		res := s.get("/readyz")
		return res.status == http.StatusOK && strings.Contains(string(res.body), `"degraded"`)
	})
	if again := s.notarize(digestRequest(newDigest(), "", "logged")); again.State != "logged" {
		t.Errorf("%+v", again)
	}
	s.demand(rec, proof.Pending)
	fatalIfErr(t, os.Remove(filler))
	eventually(t, "what has waited is anchored", func() bool {
		res := s.get("/api/v1/records/" + rec.ID)
		return strings.Contains(string(res.body), `"state":"anchored"`)
	})
	s.demand(before, proof.Genuine)
	s.demand(rec, proof.Genuine)
	s.stop()
	site.fsck(t)
}

// Two servers share one database and one bucket, both under load; one of them is killed in
// the middle and the other takes over the sequencing.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		a := site.start(t)
		b := a.sibling(t)
		var ca, cb crowd
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			defer cancel()
			eventually(t, "both servers work", func() bool { return len(ca.answers()) > 50 && len(cb.answers()) > 50 })
		}()
		done := make(chan struct{})
		go func() { cb.work(ctx, t, b, 4, noOther); close(done) }()
		ca.work(ctx, t, a, 4, noOther)
		<-done
		b.kill() // it may hold the lease: a has to wait until it runs out
		ca.drain(t, a)
		cb.drain(t, a)
		for _, j := range cb.jobs {
			rec := record{ID: j.answer.ID}
			s := a.call(request{method: "GET", path: "/api/v1/records/" + rec.ID})
			s.json(t, &rec)
			if rec.Index != j.answer.Index {
				t.Fatalf("the record has index %d on one server and %d on the other", j.answer.Index, rec.Index)
			}
		}
		ca.jobs = append(ca.jobs, cb.jobs...)
		ca.check(t, a)
	})
}

// sibling starts a second server on the same stores, without a validator of its own.
func (s *server) sibling(t *testing.T) *server {
	t.Helper()
	addr := freeport.Address(t)
	b := &server{site: s.site, t: t, info: s.info, trust: s.trust, log: &lockedBuffer{}, done: make(chan struct{})}
	b.info.URL = "http://" + addr
	b.cmd = s.command(t, "serve", "--listen", addr, "--chain", "none", "--lookups-per-minute", "1000000")
	b.cmd.Stderr = b.log
	fatalIfErr(t, b.cmd.Start())
	go func() { _ = b.cmd.Wait(); close(b.done) }()
	t.Cleanup(b.kill)
	eventually(t, "the second server answers", func() bool {
		res, err := b.try(context.Background(), request{method: "GET", path: "/healthz"})
		return err == nil && res.status == http.StatusOK
	})
	return b
}

// A graceful stop under load answers what it has taken on, and exits with 0.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t)
	var c crowd
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		eventually(t, "some work", func() bool { return len(c.answers()) > 30 })
		s.stop()
		cancel()
	}()
	c.work(ctx, t, s, 8, unavailable)
	<-s.done
	res := site.fsck(t)
	if n := uint64(len(c.answers())); res.Records < n {
		t.Errorf("%d records, %d were answered", res.Records, n)
	}
	again := site.start(t)
	c.drain(t, again)
	c.check(t, again)
}

// A page that waits for events does not hold up a stop.
func TestStopWithOpenEvents(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--chain", "none", "--stop-timeout", "10m")
	rec := s.notarize(digestRequest(newDigest(), "", "logged"))
	res, err := httpClient.Get(s.info.URL + "/r/" + rec.Number + "/events")
	fatalIfErr(t, err)
	defer res.Body.Close()
	first := make([]byte, 256)
	n, err := res.Body.Read(first)
	fatalIfErr(t, err)
	if want := "event: state\ndata: {\"state\":\"logged\",\"standing\":\"valid\"}\n\n"; string(first[:n]) != want {
		t.Errorf("the stream begins with %q, want %q", first[:n], want)
	}
	s.stop() // would take ten minutes
	if rest, _ := io.ReadAll(res.Body); len(rest) > 0 {
		t.Errorf("and ends with %q", rest)
	}
}

// What does not belong together, or is empty where it should not be, stops the start.
func TestStartNeverGuesses(t *testing.T) {
	t.Parallel()
	one, two := site{data: folder(t)}, site{data: folder(t)}
	for _, s := range []site{one, two} {
		srv := s.start(t)
		srv.notarize(digestRequest(newDigest(), "", "anchored"))
		srv.stop()
	}
	refused := func(name string, s site, change func(dir string), want string) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, dir, s.data)
			change(dir)
			out, errs, code := site{data: dir}.output(t, "serve", "--listen", "127.0.0.1:0")
			if code == 0 || !strings.Contains(errs, want) {
				t.Errorf("exit %d, want a message with %q, got: %s%s", code, want, out, errs)
			}
		})
	}
	replace := func(name string) func(string) {
		return func(dir string) {
			fatalIfErr(t, os.RemoveAll(filepath.Join(dir, name)))
			if st, err := os.Stat(filepath.Join(two.data, name)); err == nil && st.IsDir() {
				copyFolder(t, filepath.Join(dir, name), filepath.Join(two.data, name))
				return
			}
			text, err := os.ReadFile(filepath.Join(two.data, name))
			fatalIfErr(t, err)
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		}
	}
	remove := func(name string) func(string) {
		return func(dir string) { fatalIfErr(t, os.RemoveAll(filepath.Join(dir, name))) }
	}
	refused("another instance's database", one, replace("stele.db"), "belongs to instance")
	refused("another instance's objects", one, replace("objects"), "belongs to instance")
	refused("another instance's chain", one, replace("chain"), "chain")
	refused("no database", one, remove("stele.db"), "there is no database")
	refused("no objects", one, remove("objects"), "object store")
	refused("no chain", one, remove("chain"), "chain")
	refused("no instance", one, remove("instance.json"), "stele init")
	refused("no passphrase", one, remove("keys/passphrase"), "passphrase")
	refused("no log key", one, remove("keys/log.key"), "log's key")
	refused("objects emptied", one, func(dir string) {
		fatalIfErr(t, os.RemoveAll(filepath.Join(dir, "objects/objects")))
		fatalIfErr(t, os.MkdirAll(filepath.Join(dir, "objects/objects"), 0o700))
	}, "empty")
	t.Run("database restored from a backup", func(t *testing.T) {
		old, err := os.ReadFile(filepath.Join(one.data, "stele.db"))
		fatalIfErr(t, err)
		srv := one.start(t)
		srv.notarize(digestRequest(newDigest(), "", "anchored"))
		srv.stop()
		refused("older database", one,
			func(dir string) { fatalIfErr(t, os.WriteFile(filepath.Join(dir, "stele.db"), old, 0o600)) }, "older")
	})
	t.Run("init over an instance", func(t *testing.T) {
		if _, errs, code := one.output(t, "init"); code == 0 || !strings.Contains(errs, "already") {
			t.Errorf("exit %d: %s", code, errs)
		}
	})
}

// Tiles that are lost, or were left out of a backup, are derived anew from the rows; the
// start refuses until then.
func TestRebuildTiles(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t, "--max-batch", "1000")
	var batch []string
	for range 700 {
		batch = append(batch, fmt.Sprintf(`{"sm3":%q,"size":1}`, newDigest()))
	}
	res := s.call(request{method: "POST", path: "/api/v1/records/batch?wait=anchored",
		header: map[string]string{"Content-Type": jsonType},
		body:   strings.NewReader(`{"records":[` + strings.Join(batch, ",") + `]}`)})
	if res.status != http.StatusOK {
		t.Fatalf("%d %s", res.status, res.body)
	}
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.stop()
	objects := filepath.Join(site.data, "objects", "objects")
	fatalIfErr(t, os.RemoveAll(filepath.Join(objects, "tile")))
	fatalIfErr(t, os.Remove(filepath.Join(objects, "checkpoint")))
	if _, errs, code := site.output(t, "serve", "--listen", "127.0.0.1:0"); code == 0 {
		t.Fatalf("started without tiles: %s", errs)
	}
	if out, errs, code := site.output(t, "rebuild-tiles"); code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	site.fsck(t)
	again := site.start(t)
	again.demand(rec, proof.Genuine)
	again.notarize(digestRequest(newDigest(), "", "anchored"))
	again.stop()
	fatalIfErr(t, os.WriteFile(filepath.Join(objects, "tile", "0", "000"), make([]byte, 8192), 0o600))
	if _, errs, code := site.output(t, "rebuild-tiles"); code == 0 || !strings.Contains(errs, "other contents") {
		t.Errorf("a forged tile was accepted: %s", errs)
	}
}

// copyFolder copies a folder as a backup does, with the modes that a start demands.
func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
