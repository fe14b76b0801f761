package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/server/client"
)

// settled asks for a record's bundle with its standing until that is a state, and verifies it.
func (s *server) settled(rec record, state string) (bundle []byte, report *proof.Report) {
	s.t.Helper()
	eventually(s.t, "the log says that record "+rec.Number+" is "+state, func() bool {
		res := s.get("/api/v1/records/" + rec.ID + "/bundle?status=latest")
		if res.status == http.StatusConflict && strings.Contains(string(res.body), `"not_ready"`) {
			return false
		}
		if res.status != http.StatusOK {
			s.t.Fatalf("status %d: %s", res.status, res.body)
		}
		d, err := sm.ParseDigest(rec.Document.SM3)
		fatalIfErr(s.t, err)
		bundle, report = res.body, proof.Verify(s.trust, &d, res.body)
		return report.Standing.State == state
	})
	return bundle, report
}

// papersShowStatus: certificate and evidence package are the same for everybody, and show as of when the record stands
// to who asks for that.
func (s *server) papersShowStatus(rec record) {
	s.t.Helper()
	for flag, path := range map[string]string{"--certificate": "/certificate", "--evidence": "/evidence"} {
		plain, again := s.get("/api/v1/records/"+rec.ID+path), s.get("/api/v1/records/"+rec.ID+path)
		if plain.status != http.StatusOK || !bytes.Equal(plain.body, again.body) {
			s.t.Errorf("%s: %d, twice the same: %v", path, plain.status, bytes.Equal(plain.body, again.body))
		}
		file := filepath.Join(s.t.TempDir(), "paper")
		get := s.command(s.t, "bundle", rec.Number, "--url", s.info.URL, flag, "--status", "-o", file)
		get.Args = get.Args[:len(get.Args)-2-len(s.args)] // it has no data folder
		get.Env = append(os.Environ(), "STELE_KEY="+s.info.APIKey)
		if out, err := get.CombinedOutput(); err != nil {
			s.t.Errorf("%s: %v: %s", flag, err, out)
			continue
		}
		if code, out := s.offline("--json", "--status-within", "1h", "--sm3", rec.Document.SM3, file); code != 0 ||
			!strings.Contains(out, `"asOf"`) {
			s.t.Errorf("%s: %d %s", flag, code, out)
		}
	}
}

// A bundle shows that its record stands, and after a revocation that it does not: offline, and by whoever holds
// it, without a key of the service.
func TestStatus(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		s := site.start(t, "--status-pause", "50ms")
		rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
		held, report := s.settled(rec, proof.StandingValid)
		if report.Verdict != proof.Genuine || report.Standing.AsOf == "" {
			t.Fatalf("%s, %+v", report.Verdict, report.Standing)
		}
		file := filepath.Join(t.TempDir(), "bundle.json")
		fatalIfErr(t, os.WriteFile(file, held, 0o600))
		cl := &client.Client{BaseURL: s.info.URL, Key: client.Key(s.info.APIKey), Trust: s.trust}
		if b, err := cl.BundleNow(t.Context(), rec.Number, nil); err != nil || b.Report.Standing.AsOf == "" {
			t.Error(err)
		}
		s.papersShowStatus(rec)
		_, err := cl.Revoke(t.Context(), rec.Number, "issued in error", "")
		fatalIfErr(t, err)
		s.settled(rec, string(proof.Revoked))

		// The holder of the old bundle asks again.
		refresh := site.command(t, "refresh", file, "--url", s.info.URL, "--trust", s.info.Trust)
		refresh.Args = refresh.Args[:len(refresh.Args)-2-len(site.args)] // it has no data folder
		out, err := refresh.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "issued in error") {
			t.Errorf("%v: %s", err, out)
		}
		fresh, err := os.ReadFile(file)
		fatalIfErr(t, err)
		d, err := sm.ParseDigest(rec.Document.SM3)
		fatalIfErr(t, err)
		if r := proof.Verify(s.trust, &d, fresh); r.Verdict != proof.Revoked || len(r.Fields) == 0 {
			t.Errorf("%s, %v", r.Verdict, r.Fields)
		}

		fatalIfErr(t, os.WriteFile(file, []byte("# no bundle"), 0o600))
		wrong := site.command(t, "refresh")
		wrong.Args = refresh.Args
		out, err = wrong.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "to be refreshed is no bundle") {
			t.Errorf("%v: %s", err, out)
		}

		// A server that was killed says it again after its start.
		s.kill()
		s = site.start(t, "--status-pause", "50ms")
		other := s.notarize(digestRequest(newDigest(), "", "anchored"))
		s.settled(other, proof.StandingValid)
		s.stop()
		if res := site.fsck(t); res.Statuses < 2 {
			t.Errorf("%d status statements", res.Statuses)
		}
	})
}
