package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	mrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/notary/log/recovery"
	"stele/notary/proof"
	"stele/server/instance"
	"stele/storage/storagetest"
)

// copied is a site whose database can go back to what it was.
type copied struct {
	site
	keep    func() // copies the database of a stopped instance
	restore func() // puts the copy in its place
}

var copiedBackends = map[string]func(t *testing.T) *copied{
	"sqlite+dir": func(t *testing.T) *copied {
		c := &copied{site: site{data: folder(t)}}
		kept := t.TempDir()
		move := func(to, from string) {
			for _, end := range []string{"", "-wal", "-shm"} {
				fatalIfErr(t, os.RemoveAll(filepath.Join(to, "stele.db"+end)))
				if text, err := os.ReadFile(filepath.Join(from, "stele.db"+end)); err == nil {
					fatalIfErr(t, os.WriteFile(filepath.Join(to, "stele.db"+end), text, 0o600))
				}
			}
		}
		c.keep = func() { move(kept, c.data) }
		c.restore = func() { move(c.data, kept) }
		return c
	},
	"postgres+s3": func(t *testing.T) *copied {
		dsn := storagetest.StartDurablePostgres(t)
		c := &copied{site: onServers(t, dsn, storagetest.StartMinIO(t))}
		u := must(url.Parse(dsn))
		name := strings.TrimPrefix(u.Path, "/")
		u.Path = "/postgres"
		do := func(format string, args ...any) {
			t.Helper()
			db := must(sql.Open("postgres", u.String()))
			defer db.Close()
			// The connections of a killed server end a moment later.
			eventually(t, fmt.Sprintf(format, args...), func() bool {
				_, err := db.Exec(fmt.Sprintf(format, args...))
				return err == nil
			})
		}
		c.keep = func() {
			do("DROP DATABASE IF EXISTS %s_kept", name)
			do("CREATE DATABASE %s_kept TEMPLATE %s", name, name)
		}
		c.restore = func() {
			do("DROP DATABASE %s WITH (FORCE)", name)
			do("CREATE DATABASE %s TEMPLATE %s_kept", name, name)
		}
		return c
	},
}

// recovered runs the command, which must succeed.
func (s site) recovered(t testing.TB, code int, extra ...string) recovery.Result {
	t.Helper()
	out, errs, got := s.output(t, append([]string{"recover-tail", "--json"}, extra...)...)
	var res recovery.Result
	if err := json.Unmarshal([]byte(out), &res); err != nil || got != code {
		t.Fatalf("recover-tail: exit code %d, want %d: %v: %s%s", got, code, err, out, errs)
	}
	return res
}

// A database that is older by many answered records, as one restored to the newest WAL archive is: the
// start is refused, recover-tail brings back every record that was answered, with its attributes,
// its idempotency key, what was withdrawn, erased and entered of the audit trail, killed on the way as
// often as not; and what goes on afterwards is the same log on the same chain.
func TestRecoverTail(t *testing.T) {
	t.Parallel()
	for name, open := range copiedBackends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			srv := s.start(t)
			early := srv.notarize(fileRequest([]byte("from before the copy"),
				`{"title":"Early","fields":{"owner":"Wang"}}`, "early"))
			withdrawn := srv.notarize(digestRequest(newDigest(), "", "anchored"))
			srv.stop()
			s.keep()

			srv = s.start(t, "--audit-seal-every", "1s", "--log-level", "debug")
			late := srv.notarize(fileRequest([]byte("from after the copy"),
				`{"title":"Late","reference":"2026-17","fields":{"owner":"Zhang"}}`, "late"))
			srv.notarize(fileRequest([]byte("instead of the other"), `{"title":"Newer","supersedes":"`+early.Number+
				`"}`, "newer"))
			if r := srv.call(as(srv.info.APIKey, http.MethodPost, "/api/v1/records/"+withdrawn.ID+"/revoke",
				`{"reason":"A mistake."}`)); r.status/100 != 2 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			key := srv.site.eraseKey(t)
			for _, rec := range []record{late, early} {
				if r := srv.call(as(key, http.MethodPost, "/api/v1/records/"+rec.ID+"/erase",
					`{"fields":["owner"],"reason":"asked for"}`)); r.status != http.StatusOK {
					t.Fatalf("%d %s", r.status, r.body)
				}
			}
			eventually(t, "the audit trail is sealed",
				func() bool { return strings.Contains(srv.log.String(), "sealed the audit trail") })
			var c crowd
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				defer cancel()
				eventually(t, "many records", func() bool { return len(c.answers()) > 600 })
				srv.kill()
			}()
			c.work(ctx, t, srv, 8, noOther)
			<-srv.done
			acked := c.answers()

			s.restore()
			s.fails(t, "stele recover-tail", "serve", "--listen", "127.0.0.1:0", "--chain", "none")
			eventually(t, "the killed server's lease runs out", func() bool {
				_, errs, code := s.output(t, "recover-tail", "--dry-run")
				return code == 0 || !strings.Contains(errs, "a server of this instance runs")
			})
			dry := s.recovered(t, 0, "--dry-run")
			if dry.FromTail < uint64(len(acked)) || len(dry.Bare) != 0 || !dry.DryRun {
				t.Fatalf("%d were answered; dry run: %+v", len(acked), dry)
			}
			for i := range 6 {
				cmd := s.command(t, "recover-tail")
				fatalIfErr(t, cmd.Start())
				timer := time.AfterFunc(time.Duration(100+mrand.IntN(150*(i+1)))*time.Millisecond,
					func() { _ = cmd.Process.Kill() })
				if err := cmd.Wait(); err != nil && cmd.ProcessState.Exited() {
					s.recovered(t, 0) // it was refused: the lease of the one that was killed
				}
				timer.Stop()
				eventually(t, "the lease runs out", func() bool {
					_, errs, _ := s.output(t, "recover-tail", "--dry-run")
					return !strings.Contains(errs, "a server of this instance runs")
				})
			}
			if res := s.recovered(t, 0); res.To < dry.To {
				t.Errorf("up to %d, the dry run said %d", res.To, dry.To)
			}
			if again := s.recovered(t, 0); again.From != again.To || again.Erasures+again.Seals > 0 {
				t.Errorf("nothing was left to recover: %+v", again)
			}
			s.fsck(t)

			srv = s.start(t)
			for _, j := range acked {
				var rec record
				srv.get("/api/v1/records/"+j.answer.ID).json(t, &rec)
				if rec.Number != j.answer.Number || rec.Index != j.answer.Index ||
					rec.Document.SM3 != j.digest.String() {
					t.Fatalf("answered was %+v, now there is %+v", *j.answer, rec)
				}
			}
			n := len(c.jobs)
			c.drain(t, srv)
			if again := srv.notarize(fileRequest([]byte("from after the copy"),
				`{"title":"Late","reference":"2026-17","fields":{"owner":"Zhang"}}`, "late2")); again.ID == late.ID {
				t.Error("another key gave the same record")
			}
			for _, want := range []struct {
				rec      record
				standing string
				title    string
			}{{early, "superseded", "Early"}, {withdrawn, "revoked", "Notice"}, {late, "valid", "Late"}} {
				var rec record
				srv.get("/api/v1/records/"+want.rec.ID).json(t, &rec)
				if rec.Standing != want.standing || rec.Index != want.rec.Index || rec.Fields["owner"] != "" ||
					rec.Code != want.rec.Code {
					t.Errorf("%s: %+v", want.title, rec)
				}
			}
			if body := srv.get("/api/v1/records/" + late.ID + "/document").body; string(body) != "from after the copy" {
				t.Errorf("the original is %q", body)
			}
			srv.notarize(digestRequest(newDigest(), "", "anchored"))
			for _, j := range c.jobs {
				srv.demand(*j.answer, proof.Genuine)
			}
			numbers := map[string]bool{}
			for _, j := range c.jobs {
				if numbers[j.answer.Number] {
					t.Errorf("the number %s was given out twice", j.answer.Number)
				}
				numbers[j.answer.Number] = true
			}
			t.Logf("%d records were answered before the loss, %d asked for, %d entries recovered", len(acked), n,
				dry.To-dry.From)
			srv.stop()
			s.fsck(t)
		})
	}
}

// eraseKey makes an API key of the demo agency that may erase.
func (s site) eraseKey(t testing.TB) string {
	t.Helper()
	var key struct{ Key string }
	fatalIfErr(t,
		json.Unmarshal([]byte(s.succeeds(t, "apikey", "add", "--agency", demoCode, "--label", "eraser", "--scopes",
			"read,erase", "--json")), &key))
	return key.Key
}

// Further back than the tail reaches, the log's own entry bundles bring the records back, without what was
// private; originals are found by their digests. What is in neither stops everything, by name.
func TestRecoverFromBundles(t *testing.T) {
	t.Parallel()
	s := copiedBackends["sqlite+dir"](t)
	srv := s.start(t)
	srv.stop()
	s.keep()
	srv = s.start(t)
	var c crowd
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		eventually(t, "many records", func() bool { return len(c.answers()) > 700 })
	}()
	c.work(ctx, t, srv, 8, noOther)
	c.drain(t, srv)
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.stop()
	objects := filepath.Join(s.data, "objects", "objects")
	var stretches []string
	fatalIfErr(t, filepath.WalkDir(filepath.Join(objects, "tail", "entries"),
		func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				stretches = append(stretches, path)
			}
			return err
		}))
	aside := t.TempDir()
	drop := func(covers func(first, end int) bool) (n int) {
		for _, path := range stretches {
			var first, count, revision int
			must(fmt.Sscanf(filepath.Base(path), "%d-%d-%d", &first, &count, &revision))
			if !covers(first, first+count) {
				continue
			}
			if err := os.Rename(path, filepath.Join(aside, filepath.Base(path))); err == nil {
				n++
			}
		}
		return n
	}
	s.restore()
	drop(func(first, end int) bool { return first < 256 })
	// One that no full bundle makes up for.
	gone := drop(func(first, end int) bool { return first <= len(c.jobs)-3 && end > len(c.jobs)-3 })
	if gone != 1 {
		t.Fatalf("%d stretches were taken away", gone)
	}
	before := must(os.ReadFile(filepath.Join(s.data, "stele.db")))
	s.fails(t, "entries are missing in the database and in the object store", "recover-tail")
	if after := must(os.ReadFile(filepath.Join(s.data, "stele.db"))); len(after) != len(before) {
		t.Error("a refused recovery changed the database")
	}
	for _, path := range stretches {
		if file := filepath.Join(aside, filepath.Base(path)); strings.Compare(filepath.Base(path),
			"0000000000000300") > 0 {
			_ = os.Rename(file, path) // those that were taken away last
		}
	}
	res := s.recovered(t, 3)
	if res.FromBundles == 0 || res.FromTail == 0 || len(res.Bare) != int(res.FromBundles) {
		t.Fatalf("%+v", res)
	}
	s.fsck(t)
	bare := map[uint64]bool{}
	for _, b := range res.Bare {
		bare[b.Index] = true
	}
	srv = s.start(t)
	for _, j := range c.jobs {
		var rec record
		srv.get("/api/v1/records/"+j.answer.Number).json(t, &rec)
		if rec.Index != j.answer.Index || rec.Document.SM3 != j.digest.String() ||
			bare[rec.Index] == (rec.Code == j.answer.Code) {
			t.Fatalf("answered was %+v, now there is %+v", *j.answer, rec)
		}
		if len(j.content) > 0 {
			if body := srv.get("/api/v1/records/" + rec.ID + "/document").body; string(body) != string(j.content) {
				t.Fatalf("the original of %s is not there", rec.Number)
			}
		}
		srv.demand(rec, proof.Genuine)
	}
	srv.stop()
	s.fsck(t)
}

// A bucket that is gone as a whole is made anew from the database: the log goes on, and each original
// that nobody can make is named.
func TestRebuildStore(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, s site) {
		t.Parallel()
		srv := s.start(t)
		file := srv.notarize(fileRequest([]byte("the original"), `{"title":"A file"}`, ""))
		kept := srv.notarize(digestRequest(newDigest(), "", "anchored"))
		s.fails(t, "a server of this instance runs", "rebuild-store")
		srv.stop()
		if len(s.args) == 0 {
			fatalIfErr(t, os.RemoveAll(filepath.Join(s.data, "objects")))
		} else {
			for i, a := range s.args {
				if a == "--s3-bucket" {
					s.args = append(append([]string{}, s.args...), "--s3-prefix", "anew")
					_ = i
					break
				}
			}
		}
		s.fails(t, "stele rebuild-store", "serve", "--listen", "127.0.0.1:0", "--chain", "none")
		s.fails(t, "stele rebuild-store", "rebuild-tiles")
		out, errs, code := s.output(t, "rebuild-store", "--json")
		var res instance.Rebuilt
		if err := json.Unmarshal([]byte(out), &res); err != nil || code != 3 {
			t.Fatalf("exit code %d: %v: %s%s", code, err, out, errs)
		}
		if len(res.Missing) != 1 || res.Missing[0].Number != file.Number || res.Missing[0].Size != 12 ||
			res.Missing[0].SM3 != file.Document.SM3 {
			t.Errorf("%+v", res)
		}
		if out, _, code := s.output(t, "rebuild-store"); code != 3 || !strings.Contains(out, file.Number) ||
			!strings.Contains(out, "0 of 1 originals") {
			t.Errorf("again: exit code %d: %s", code, out)
		}
		srv = s.start(t)
		srv.demand(kept, proof.Genuine)
		srv.demand(file, proof.Genuine) // its proof does not need the original
		srv.notarize(digestRequest(newDigest(), "", "anchored"))
		srv.stop()
		out, _, code = s.output(t, "fsck", "--json")
		if code != 1 || !strings.Contains(out, "the original is missing") || strings.Count(out, `"what"`) != 1 ||
			!strings.Contains(out, `"document": 1`) {
			t.Errorf("fsck ends with %d: %s", code, out)
		}
		out, _, code = s.output(t, "fsck", "--max-findings", "1")
		if code != 1 || !strings.Contains(out, "1 findings (document 1). The check stopped there") {
			t.Errorf("fsck ends with %d: %s", code, out)
		}
		if len(s.args) > 0 {
			return
		}
		// The marker alone is lost: objects stay.
		fatalIfErr(t, os.Remove(filepath.Join(s.data, "objects", "STELE-OBJECTS")))
		s.fails(t, "stele rebuild-store", "serve", "--listen", "127.0.0.1:0")
		s.output(t, "rebuild-store")
		s.start(t).stop()
	})
}

// While the bucket is down records are answered all the same; that the database alone has them is said once,
// in the log and in /readyz, and the tail is made up for when the bucket is back.
func TestTailWhileTheBucketIsDown(t *testing.T) {
	t.Parallel()
	minio := storagetest.NewMinIO(t)
	s := onServers(t, storagetest.StartDurablePostgres(t), minio.Bucket(t, false))
	srv := s.start(t, "--log-level", "debug")
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	minio.Kill(t)
	var recs []record
	for range 3 {
		recs = append(recs, srv.notarize(digestRequest(newDigest(), "", "")))
	}
	if body := string(srv.get("/readyz").body); !strings.Contains(body, `"tail"`) {
		t.Errorf("%s", body)
	}
	minio.Start(t)
	eventually(t, "the tail is complete", func() bool {
		res := srv.get("/readyz")
		return res.status == http.StatusOK && !strings.Contains(string(res.body), `"tail"`)
	})
	if log := srv.log.String(); strings.Count(log, "not in the bucket's tail for now") != 1 ||
		!strings.Contains(log, "tail is complete again") {
		t.Errorf("said %d times", strings.Count(log, "not in the bucket's tail for now"))
	}
	for _, rec := range recs {
		srv.becomesGenuine(rec)
	}
	srv.stop()
	s.fsck(t)
}
