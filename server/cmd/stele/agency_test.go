package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/crypto/keystore"
	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/storage/storagetest"
)

// second starts another server of the same instance, with the same data folder and no chain.
func (s *server) second(t *testing.T) *server {
	t.Helper()
	srv := &server{site: s.site, t: t, log: &lockedBuffer{}, done: make(chan struct{}), trust: s.trust, info: s.info}
	srv.cmd = s.command(t, "serve", "--chain", "none", "--listen", "127.0.0.1:0", "--lookups-per-minute", "1000000",
		"--log-format", "json")
	srv.cmd.Stderr = srv.log
	fatalIfErr(t, srv.cmd.Start())
	go func() { _ = srv.cmd.Wait(); close(srv.done) }()
	t.Cleanup(srv.kill)
	// a log has no channel to wait on
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		for _, line := range strings.Split(srv.log.String(), "\n") {
			var l struct{ Msg, Address string }
			if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "listening" {
				srv.info.URL = "http://" + l.Address
				return srv
			}
		}
		select {
		case <-srv.done:
			t.Fatalf("the server ended at its start:\n%s", srv.log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server did not come up:\n%s", srv.log)
		}
	}
}

// signerOf is the certificate that a record's bundle was signed with, and the agency's name in it.
func (s *server) signerOf(rec record) (sm.Digest, string) {
	s.t.Helper()
	b := must(proof.ParseBundle(s.bundle(rec)))
	return sm.Sum(b.Certificates[0]), must(pki.Parse(b.Certificates[0])).Subject().Organization
}

// writers notarize at servers without a pause, until stop; what was answered 201 is theirs.
type writers struct {
	mu       sync.Mutex
	wg       sync.WaitGroup
	quit     chan struct{}
	answered []written // guarded by mu
	refused  map[string]int
}

type written struct {
	rec    record
	server *server
	asked  time.Time // when the request was sent
}

func startWriters(t *testing.T, servers ...*server) *writers {
	w := &writers{quit: make(chan struct{}), refused: map[string]int{}}
	for _, s := range servers {
		for range 3 {
			w.wg.Go(func() {
				for {
					select {
					case <-w.quit:
						return
					default:
					}
					asked := time.Now()
					res, err := s.try(t.Context(), digestRequest(newDigest(), "", ""))
					if err != nil {
						t.Errorf("notarize: %v", err)
						return
					}
					w.note(s, asked, res)
				}
			})
		}
	}
	return w
}

func (w *writers) note(s *server, asked time.Time, res response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if res.status != http.StatusCreated {
		var p struct{ Code string }
		_ = json.Unmarshal(res.body, &p)
		w.refused[fmt.Sprintf("%d %s", res.status, p.Code)]++
		return
	}
	var rec record
	if json.Unmarshal(res.body, &rec) == nil {
		w.answered = append(w.answered, written{rec, s, asked})
	}
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.answered)
}

// more waits until the servers have answered n more.
func (w *writers) more(t *testing.T, n int) {
	t.Helper()
	want := w.count() + n
	// between two looks
	for deadline := time.Now().Add(time.Minute); w.count() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d records; refused: %v", w.count(), want, w.refused)
		}
	}
}

func (w *writers) stop() { close(w.quit); w.wg.Wait() }

// An agency gets another key while two servers sign in its name: from the moment at which the command
// has returned neither of them uses the former certificate, and nobody is refused for it. The same for a
// new name.
func TestRekeyUnderLoad(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		a := site.start(t)
		b := a.second(t)
		former, _ := a.signerOf(a.notarize(digestRequest(newDigest(), "", "logged")))
		w := startWriters(t, a, b)
		w.more(t, 20)
		site.succeeds(t, "agency", "rekey", demoCode, "--reason", "leaked")
		rekeyed := time.Now()
		w.more(t, 20)
		site.succeeds(t, "agency", "rename", demoCode, "--name", "新名称机关")
		renamed := time.Now()
		w.more(t, 20)
		w.stop()
		if len(w.refused) != 0 {
			t.Errorf("refused: %v", w.refused)
		}
		last := a.notarize(digestRequest(newDigest(), "", "anchored"))
		eventually(t, "answers call it by its new name", func() bool {
			return strings.Contains(string(a.get("/api/v1/records/"+last.ID).body), "新名称机关")
		})
		seen := map[string]int{}
		for _, r := range append(w.answered, written{last, a, time.Now()}) {
			cert, name := a.signerOf(r.rec)
			if r.asked.After(rekeyed) && cert == former {
				t.Fatalf("record %s, asked for %s after the rekey, has the former certificate", r.rec.Number,
					r.asked.Sub(rekeyed))
			}
			if r.asked.After(renamed) && name != "新名称机关" {
				t.Fatalf("record %s, asked for %s after the renaming, names %s", r.rec.Number, r.asked.Sub(renamed),
					name)
			}
			seen[name]++
			if v := a.verdict(r.rec); v.Verdict != proof.Genuine || v.Agency.Name != name {
				t.Fatalf("record %s of %s: %s: %s", r.rec.Number, name, v.Verdict, v.Summary)
			}
		}
		if len(seen) != 2 {
			t.Errorf("names in certificates: %v", seen)
		}
		b.stop()
		a.stop()
		site.fsck(t)
	})
}

// refusal is the status and the code of a problem; of a success it is "201".
func (s *server) refusal(r request) string {
	s.t.Helper()
	return s.refusalOf(s.call(r))
}

func (s *server) refusalOf(res response) string {
	s.t.Helper()
	if res.status == http.StatusCreated {
		return "201"
	}
	return fmt.Sprintf("%d %s", res.status, res.problem(s.t))
}

// A suspended agency signs nothing on either server, from the moment at which the command has returned,
// and goes on when it is resumed; a closed one never does, and its keys end. What it has stays there.
func TestSuspendAndClose(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		const code = "91350100M000100Y43"
		a := site.start(t)
		site.succeeds(t, "agency", "add", "--code", code, "--name", "甲局", "--region", "350100")
		var key struct{ ID, Key string }
		fatalIfErr(t, json.Unmarshal([]byte(site.succeeds(t, "apikey", "add", "--agency", code, "--json")), &key))
		a.info.APIKey = key.Key
		b := a.second(t)
		w := startWriters(t, a, b) // b has no key file of the agency, and needs none
		w.more(t, 10)
		site.succeeds(t, "agency", "suspend", code, "--reason", "under inquiry")
		suspended := time.Now()
		for _, s := range []*server{a, b} {
			rec := w.answered[0].rec
			for what, r := range map[string]request{
				"digest": digestRequest(newDigest(), "", ""), "file": fileRequest([]byte("%PDF-1.4 x"), `{"title":"x"}`,
					""),
				"revocation": as(key.Key, http.MethodPost, "/api/v1/records/"+rec.Number+"/revoke", `{"reason":"x"}`),
			} {
				if got := s.refusal(r); got != "403 agency_suspended" {
					t.Errorf("%s: %s", what, got)
				}
			}
			batch := s.call(as(key.Key, http.MethodPost, "/api/v1/records/batch", `{"records":[{"sm3":"`+newDigest()+
				`","size":1}]}`))
			if !strings.Contains(string(batch.body), "agency_suspended") {
				t.Errorf("batch: %d %s", batch.status, batch.body)
			}
			if res := s.get("/api/v1/records/" + rec.ID); res.status != http.StatusOK {
				t.Errorf("reading: %d", res.status)
			}
		}
		w.stop()
		for _, r := range w.answered {
			if r.asked.After(suspended) {
				t.Fatalf("record %s was asked for after the suspension", r.rec.Number)
			}
		}
		for got := range w.refused {
			if got != "403 agency_suspended" {
				t.Errorf("refused: %v", w.refused)
			}
		}
		site.succeeds(t, "agency", "resume", code)
		rec := a.notarizeSoon(digestRequest(newDigest(), "", "anchored"))
		site.fails(t, "--confirm "+code, "agency", "close", code)
		if out := site.succeeds(t, "agency", "close", code, "--confirm", code); !strings.Contains(out, "closed") {
			t.Error(out)
		}
		for _, s := range []*server{a, b} {
			// keys are believed for two seconds
			for deadline := time.Now().Add(2 * time.Minute); s.get("/api/v1/records/"+
				rec.ID).status != http.StatusUnauthorized; time.Sleep(20 * time.Millisecond) {
				if got := s.refusal(digestRequest(newDigest(), "", "")); got != "403 agency_closed" &&
					got != "401 unauthorized" {
					t.Fatal(got)
				}
				if time.Now().After(deadline) {
					t.Fatal("the key of a closed agency works")
				}
			}
			if res := s.get("/api/v1/lookup?number=" + rec.Number + "&code=" + rec.Code); res.status != http.StatusOK &&
				res.status != http.StatusNotFound {
				t.Errorf("public lookup: %d %s", res.status, res.body)
			}
		}
		site.fails(t, "closed", "apikey", "add", "--agency", code)
		site.fails(t, "closed", "user", "add", "wang", "--agency", code, "--name", "王", "--role", "clerk")
		site.fails(t, "closed", "agency", "resume", code)
		site.fails(t, "closed", "agency", "rekey", code)
		site.fails(t, "closed", "agency", "renew", "--agency", code)
		if out := site.succeeds(t, "agency", "list", "--expires", "--json"); !strings.Contains(out,
			`"state": "closed"`) || !strings.Contains(out, `"daysLeft": 18`) {
			t.Error(out)
		}
		b.stop()
		a.stop()
		site.fsck(t)
	})
}

// notarizeSoon notarizes once a server knows that an agency was resumed.
func (s *server) notarizeSoon(r request) record {
	s.t.Helper()
	// a signer is believed for two seconds
	for deadline := time.Now().Add(2 * time.Minute); s.refusal(digestRequest(newDigest(), "",
		"")) != "201"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the agency was resumed and is refused")
		}
	}
	return s.notarize(r)
}

// Keys of an instance from before keys were in the database come from their files; then the file is
// not needed any more. A key that is nowhere is told in /readyz with the agency's name, and comes back
// from an exported file.
func TestAgencyKeysInTheDatabase(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}
	srv := s.start(t)
	if files := must(filepath.Glob(filepath.Join(s.data, "keys", "agency-*.key"))); len(files) != 0 {
		t.Errorf("a new agency's key lies in %v", files)
	}
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	saved := filepath.Join(t.TempDir(), "agency.key")
	s.succeeds(t, "agency", "export-key", demoCode, saved)
	s.fails(t, "exists", "agency", "export-key", demoCode, saved)
	if mode := must(os.Stat(saved)).Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %v", mode)
	}
	srv.stop()
	s.sql(t, `DELETE FROM agency_keys`)
	srv = s.start(t)
	srv.readyzSays("agencies", demoName, demoCode, "key")
	if got := srv.refusal(digestRequest(newDigest(), "", "")); got != "503 unavailable" {
		t.Errorf("without a key: %s", got)
	}
	s.fails(t, "another key", "agency", "import-key", demoCode, filepath.Join(s.data, "keys", "root.key"))
	s.succeeds(t, "agency", "import-key", demoCode, saved)
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.stop()
	// As an older instance was: the key in its file alone. A start takes it over, once.
	s.sql(t, `DELETE FROM agency_keys`)
	id := s.agencyID(t)
	file := filepath.Join(s.data, "keys", "agency-"+id+".key")
	fatalIfErr(t, os.Rename(saved, file))
	srv = s.start(t)
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.kill()
	fatalIfErr(t, os.Remove(file))
	srv = s.start(t)
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.stop()
	s.fsck(t)
}

func (s site) agencyID(t *testing.T) string {
	t.Helper()
	var list []struct{ ID string }
	fatalIfErr(t, json.Unmarshal([]byte(s.succeeds(t, "agency", "list", "--json")), &list))
	return list[0].ID
}

// sql changes rows as no command does.
func (s site) sql(t *testing.T, query string, args ...any) {
	t.Helper()
	storagetest.MustExec(t, storagetest.Raw(t, "sqlite:"+filepath.Join(s.data, "stele.db")), 1, query, args...)
}

// readyzSays waits until a check of /readyz does not hold and names all of these, while the service is up.
func (s *server) readyzSays(check string, words ...string) {
	s.t.Helper()
	var last string
	// between two questions
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		res := s.get("/readyz")
		var ready struct {
			Status string
			Checks []struct {
				Name, Detail string
				OK           bool
			}
		}
		res.json(s.t, &ready)
		for _, c := range ready.Checks {
			if c.Name != check {
				continue
			}
			last = fmt.Sprintf("%s %v %s", ready.Status, c.OK, c.Detail)
			all := !c.OK && res.status == http.StatusOK && ready.Status == "degraded"
			for _, w := range words {
				all = all && strings.Contains(c.Detail, w)
			}
			if all {
				return
			}
		}
	}
	s.t.Errorf("/readyz says of %s: %s", check, last)
}

// certify gives the demo agency a certificate that ends then, as no command does, and returns its fingerprint.
func (s site) certify(t *testing.T, notAfter time.Time) sm.Digest {
	t.Helper()
	keys := filepath.Join(s.data, "keys")
	pass := must(keystore.Passphrase(filepath.Join(keys, "passphrase"), ""))
	db := storagetest.Raw(t, "sqlite:"+filepath.Join(s.data, "stele.db"))
	var present struct {
		ID    string `db:"agency_id"`
		Chain string `db:"chain"`
	}
	fatalIfErr(t, db.Get(&present, `SELECT agency_id, chain FROM certificates ORDER BY created_at DESC LIMIT 1`))
	chain := must(pki.DecodePEM([]byte(present.Chain), pki.MaxChain))
	former := must(pki.Parse(chain[0]))
	cert := must(pki.Issue(pki.IssueRequest{Profile: pki.Agency, Subject: former.Subject(),
		NotBefore: former.NotBefore(), NotAfter: notAfter, PublicKey: former.PublicKey()},
		chain[1:], must(keystore.Load(filepath.Join(keys, "root.key"), pass))))
	fp := sm.Sum(cert)
	s.sql(t, `INSERT INTO certificates (fingerprint, agency_id, chain, created_at) VALUES ($1, $2, $3, $4)`, fp[:],
		present.ID,
		string(pki.EncodePEM(cert, chain[1])), time.Now().UnixMicro())
	return fp
}

// The end of a certificate is told from 90 days before on, in /readyz, in the log and in the list; once
// it has come, clients learn that it has, and a renewal helps without a restart.
func TestCertificateExpires(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}
	srv := s.start(t)
	srv.notarize(digestRequest(newDigest(), "", ""))
	srv.stop()
	s.certify(t, time.Now().Add(12*24*time.Hour+time.Hour).UTC().Truncate(time.Second))
	if out := s.succeeds(t, "agency", "list", "--expires", "--json"); !strings.Contains(out, `"daysLeft": 12`) {
		t.Error(out)
	}
	srv = s.start(t)
	srv.readyzSays("agencies", demoName, demoCode, "ends in 12 days")
	if log := srv.log.String(); strings.Count(log, "certificate ends in 12 days") != 1 ||
		!strings.Contains(log, "WARN") {
		t.Error(log)
	}
	srv.notarize(digestRequest(newDigest(), "", ""))
	// it has begun five minutes before the first one
	s.certify(t, time.Now().UTC().Truncate(time.Second))
	// a signer is believed for two seconds
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		res := srv.call(digestRequest(newDigest(), "", ""))
		if res.status == http.StatusServiceUnavailable && res.problem(t) == "certificate_expired" &&
			strings.Contains(string(res.body), "renews it") && res.header.Get("Retry-After") == "600" {
			break
		}
		if res.status != http.StatusCreated || time.Now().After(deadline) {
			t.Fatalf("with an expired certificate: %d %s", res.status, res.body)
		}
	}
	srv.kill()
	srv = s.start(t)
	srv.readyzSays("agencies", demoName, demoCode, "ended on")
	s.succeeds(t, "agency", "renew", "--agency", demoCode)
	// as above
	for deadline := time.Now().Add(2 * time.Minute); srv.refusal(digestRequest(newDigest(), "",
		"")) != "201"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a renewed certificate is not taken up")
		}
	}
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.stop()
	s.fsck(t)
}

// All keys come under another passphrase, whatever was left by a run that was interrupted; a start with
// the former one is refused and names where it came from.
func TestRewrapKeys(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}
	srv := s.start(t)
	rec := srv.notarize(digestRequest(newDigest(), "", "anchored"))
	keys := filepath.Join(s.data, "keys")
	other, configured := filepath.Join(t.TempDir(), "new"), filepath.Join(keys, "passphrase")
	fatalIfErr(t, os.WriteFile(other, []byte("another passphrase\n"), 0o600))
	s.fails(t, "runs", "keys", "rewrap", "--new", other)
	srv.stop()
	wrong := filepath.Join(t.TempDir(), "wrong")
	fatalIfErr(t, os.WriteFile(wrong, []byte("a wrong passphrase\n"), 0o600))
	s.fails(t, wrong, "keys", "rewrap", "--old", wrong, "--new", other)
	before := map[string][]byte{}
	for _, f := range must(filepath.Glob(filepath.Join(keys, "*.key"))) {
		before[f] = must(os.ReadFile(f))
	}
	s.succeeds(t, "keys", "rewrap", "--new", other)
	s.fails(t, configured, "serve", "--listen", "127.0.0.1:0")
	// What a crash leaves: all but the first file and the database under the former passphrase.
	for f, text := range before {
		if filepath.Base(f) != "log.key" {
			fatalIfErr(t, os.WriteFile(f, text, 0o600))
		}
	}
	s.fails(t, configured, "serve", "--listen", "127.0.0.1:0")
	s.fails(t, other, "serve", "--listen", "127.0.0.1:0", "--passphrase-file", other)
	s.succeeds(t, "keys", "rewrap", "--new", other)
	if out := s.succeeds(t, "keys", "rewrap", "--new", other); !strings.Contains(out,
		fmt.Sprintf("%d were before", len(before)+1)) {
		t.Error(out)
	}
	openssl := must(os.ReadFile(filepath.Join(keys, "log.key")))
	if !strings.Contains(string(openssl), "ENCRYPTED PRIVATE KEY") {
		t.Error("log.key is no encrypted key")
	}
	fatalIfErr(t, os.Rename(other, configured))
	srv = s.start(t)
	srv.notarize(digestRequest(newDigest(), "", "anchored"))
	srv.demand(rec, proof.Genuine)
	srv.stop()
	s.succeeds(t, "agency", "renew", "--agency", demoCode) // the root's key opens, too
	s.fsck(t)
}
