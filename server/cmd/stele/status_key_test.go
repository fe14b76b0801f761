package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
)

// verifierProgram is stele-verify.
func verifierProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stele-verify")
	out, err := exec.Command("go", "build", "-o", path, "stele/notary/cmd/stele-verify").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// statusBy waits until the newest status that a bundle shows is signed with this key of the log and has the record as
// ended, or not, and returns the bundle as `stele bundle --status` writes it. Until then the service has no fault.
func (s *server) statusBy(rec record, key string, ended bool) []byte {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "bundle.json")
	eventually(s.t, "the log says with "+key+" whether record "+rec.Number+" stands", func() bool {
		res := s.get("/api/v1/records/" + rec.ID + "/bundle?status=latest")
		if res.status == http.StatusConflict && strings.Contains(string(res.body), `"not_ready"`) {
			return false
		}
		if res.status != http.StatusOK {
			s.t.Fatalf("status %d: %s\n%s", res.status, res.body, s.log)
		}
		b := must(proof.ParseBundle(res.body))
		return b.Status.Key == key && (b.Status.Record.Value != "") == ended
	})
	s.desk(s.info.URL).run(0, "bundle", rec.Number, "--status", "-o", file, "--trust", s.info.Trust)
	return must(os.ReadFile(file))
}

// The log says with its new key what stands, after a change of the key. What it said with the former one still holds,
// for whoever has the trust roots of then or of now.
func TestStatusAfterALogKeyChange(t *testing.T) {
	t.Parallel()
	verifier := verifierProgram(t)
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		dir := t.TempDir()
		save := func(name string, data []byte) {
			t.Helper()
			fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
		s := site.start(t, "--status-pause", "1s")
		first := s.notarize(digestRequest(newDigest(), "", "anchored"))
		other := s.notarize(digestRequest(newDigest(), "", "anchored"))
		former, next := site.succeeds(t, "log-key"), site.succeeds(t, "log-key", "next")
		save("before.json", s.statusBy(first, former, false))
		save("then.json", must(os.ReadFile(s.info.Trust)))
		s.stop()
		site.succeeds(t, "log-key", "switch")

		s = site.start(t, "--status-pause", "1s")
		later := s.notarize(digestRequest(newDigest(), "", "anchored"))
		s.post("/api/v1/records/"+first.ID+"/revoke", `{"reason":"issued in error"}`, http.StatusOK)
		save("revoked.json", s.statusBy(first, next, true))
		save("other.json", s.statusBy(other, next, false))
		save("later.json", s.statusBy(later, next, false))
		save("now.json", must(os.ReadFile(s.info.Trust)))
		s.stop()
		if res := site.fsck(t); res.Statuses < 2 {
			t.Errorf("%d status statements", res.Statuses)
		}
		for name, c := range map[string]struct {
			rec  record
			want proof.Verdict
		}{
			"before.json":  {first, proof.Genuine}, // what was said then
			"revoked.json": {first, proof.Revoked},
			"other.json":   {other, proof.Genuine},
			"later.json":   {later, proof.Genuine},
		} {
			for _, trust := range []string{"now.json", "then.json"} {
				cmd := exec.Command(verifier, "--trust", trust, "--status-within", "1h", "--sm3",
					c.rec.Document.SM3, name)
				cmd.Dir = dir
				out, err := cmd.CombinedOutput() // an error for every verdict but genuine
				if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.want.Row().Exit ||
					!strings.Contains(string(out), "by the log's status on") {
					t.Errorf("%s with %s, want %s: %v\n%s", name, trust, c.want, err, out)
				}
			}
		}
	})
}

// A status that the former key signed and that no chain had vouched for when the key's time ended is of no use. The
// new key says it anew by itself: nobody has to wait for the next record, or for a day.
func TestStatusThatTheFormerKeyLeft(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t, "--status-pause", "1s")
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	s.statusBy(rec, site.succeeds(t, "log-key"), false)
	s.stop()
	s = site.start(t, "--status-pause", "1s", "--chain", "none")
	rec = s.notarize(digestRequest(newDigest(), "", "logged"))
	issued := time.Now()
	eventually(t, "a status statement is logged behind the record", func() bool {
		c := must(checkpoint.ParseUnsafe(s.get("/api/v1/log/checkpoint").body))
		return c.Size > rec.Index+1
	})
	s.stop()
	next := site.succeeds(t, "log-key", "next")
	site.succeeds(t, "log-key", "switch")
	// As if the servers had been stopped for longer than clocks may differ.
	end := issued.UTC().Truncate(time.Second).Add(time.Second)
	trust := filepath.Join(site.data, "trust.json")
	ends := regexp.MustCompile(`"notAfter":"[^"]*"`)
	text := must(os.ReadFile(trust))
	if len(ends.FindAll(text, -1)) != 1 {
		t.Fatalf("%s", text)
	}
	fatalIfErr(t, os.WriteFile(trust, ends.ReplaceAll(text, []byte(`"notAfter":"`+end.Format(time.RFC3339)+`"`)), 0o600))
	eventually(t, "the time of the former key is over", func() bool { return time.Now().After(end.Add(time.Second)) })

	s = site.start(t, "--status-pause", "1s")
	s.becomesGenuine(rec)
	s.statusBy(rec, next, false)
	s.stop()
	site.fsck(t)
}
