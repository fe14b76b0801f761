package main

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/crypto/pki"
	"stele/notary/proof"
	"stele/notary/proof/statement"
)

// atTheRoot runs a command that has no data folder, on a machine that has only the passphrase.
func (s site) atTheRoot(t *testing.T, verb ...string) (string, error) {
	t.Helper()
	cmd := s.command(t, verb...)
	cmd.Args = cmd.Args[:len(cmd.Args)-2-len(s.args)]
	cmd.Env = append(os.Environ(), "STELE_PASSPHRASE_FILE="+filepath.Join(s.data, "keys", "passphrase"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// certificates lists those of an agency.
func (s site) certificates(t *testing.T, code string) (out []listedCertificate) {
	t.Helper()
	fatalIfErr(t, json.Unmarshal([]byte(s.succeeds(t, "agency", "certificate", "list", code, "--json")), &out))
	return out
}

// verdictNow is the report on a record's bundle with the log's newest status.
func (s *server) verdictNow(rec record, want proof.Verdict) (report *proof.Report) {
	s.t.Helper()
	eventually(s.t, "record "+rec.Number+" is "+string(want), func() bool {
		res := s.get("/api/v1/records/" + rec.ID + "/bundle?status=latest")
		if res.status != http.StatusOK {
			return false
		}
		b := must(proof.ParseBundle(res.body))
		said := must(statement.Parse(b.Statement))
		report = proof.Verify(s.trust, &said.Document.SM3, res.body)
		return report.Verdict == want && b.Status != nil
	})
	return report
}

// TestRevokeCertificate: a root that is kept elsewhere revokes an agency's certificate. Nothing is signed with it any
// more, on no server; what was anchored before stays genuine, and what was not is invalid.
func TestRevokeCertificate(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, site site) {
		t.Parallel()
		const code = "91350100M000100Y43"
		a := site.start(t, "--status-pause", "50ms")
		site.succeeds(t, "agency", "add", "--code", code, "--name", "甲局", "--region", "350100")
		var key struct{ Key string }
		fatalIfErr(t, json.Unmarshal([]byte(site.succeeds(t, "apikey", "add", "--agency", code, "--json")), &key))
		a.info.APIKey = key.Key
		b := a.second(t)
		before := a.notarize(digestRequest(newDigest(), "", "anchored"))
		b.notarize(digestRequest(newDigest(), "", ""))

		dir, keys := t.TempDir(), filepath.Join(site.data, "keys")
		request, signed := filepath.Join(dir, "request.json"), filepath.Join(dir, "signed.json")
		rootKey, away := filepath.Join(keys, "root.key"), filepath.Join(dir, "root.key")
		fatalIfErr(t, os.Rename(rootKey, away))
		site.fails(t, "root key is needed", "agency", "certificate", "revoke", code, "--reason", "superseded")
		anchored := must(time.Parse(time.RFC3339, a.verdict(before).AnchoredAt))
		eventually(t, "the second after the anchor",
			func() bool { return time.Now().Truncate(time.Second).After(anchored) })
		site.succeeds(t, "agency", "certificate", "revoke", code, "--reason", "keyCompromise", "--request", request)
		site.fails(t, "no request for", "agency", "certificate", "submit", filepath.Join(keys, "root.crt"))
		site.fails(t, "does not verify", "agency", "certificate", "submit", request)
		out, err := site.atTheRoot(t, "agency", "certificate", "sign", request)
		if err != nil || !strings.Contains(out, "甲局") || !strings.Contains(out, "keyCompromise") {
			t.Fatalf("%v: %s", err, out)
		}
		if out, err := site.atTheRoot(t, "agency", "certificate", "sign", request, "--out", signed, "--key", away,
			"--root",
			filepath.Join(keys, "root.crt")); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := a.refusal(digestRequest(newDigest(), "", "")); got != "201" {
			t.Errorf("a request that is not submitted: %s", got)
		}
		site.succeeds(t, "agency", "certificate", "submit", signed)
		for _, s := range []*server{a, b} {
			if got := s.refusal(digestRequest(newDigest(), "", "")); got != "503 certificate_expired" {
				t.Errorf("after the revocation: %s", got)
			}
		}
		site.fails(t, "revoked already", "agency", "certificate", "revoke", code, "--reason", "superseded")
		site.fails(t, "newer revocation list", "agency", "certificate", "submit", signed)
		if r := a.verdictNow(before, proof.Genuine); len(r.Warnings) == 0 {
			t.Errorf("no warning of the revocation: %s", r.JSON())
		}
		old := site.certificates(t, code)
		if len(old) != 1 || old[0].Revoked != "keyCompromise" || old[0].Ended != "leaked" {
			t.Errorf("%+v", old)
		}
		a.listRefuses(t, dir, before)

		// With another key the agency goes on, until that one turns out to have leaked as well, an hour ago.
		fatalIfErr(t, os.Rename(away, rootKey))
		site.succeeds(t, "agency", "rekey", code, "--reason", "leaked")
		after := a.notarizeSoon(digestRequest(newDigest(), "", "anchored"))
		a.verdictNow(after, proof.Genuine)
		site.fails(t, "which certificate", "agency", "certificate", "revoke", code, "--reason", "superseded")
		site.succeeds(t, "agency", "certificate", "revoke", code, "--reason", "keyCompromise", "--since",
			time.Now().Add(-time.Hour).Format(time.RFC3339), "--certificate", site.certificates(t, code)[0].SM3)
		if r := a.verdictNow(after, proof.Invalid); !r.CertificateRevoked() {
			t.Errorf("%s", r.JSON())
		}
		if res := a.get("/api/v1/records/" + after.ID + "/certificate"); res.status != http.StatusConflict {
			t.Errorf("a certificate of it: %d %s", res.status, res.body)
		}
		a.verdictNow(before, proof.Genuine)
		site.succeeds(t, "agency", "certificate", "renew-list")
		b.stop()
		a.kill()
		a = site.start(t, "--status-pause", "50ms")
		a.info.APIKey = key.Key
		a.verdictNow(after, proof.Invalid)
		a.stop()
		site.fsck(t)
	})
}

// listRefuses: OpenSSL refuses the signer's certificate of a record by the list that the service publishes.
func (s *server) listRefuses(t *testing.T, dir string, rec record) {
	t.Helper()
	b := must(proof.ParseBundle(s.bundle(rec)))
	res := s.get("/api/v1/crl/root?userId=empty")
	if res.status != http.StatusOK || res.header.Get("Content-Type") != "application/pkix-crl" {
		t.Fatalf("%d %s", res.status, res.body)
	}
	for name, data := range map[string][]byte{"leaf.pem": pki.EncodePEM(b.Certificates[0]),
		"root.pem": pki.EncodePEM(b.Certificates[1]),
		"list.pem": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: res.body})} {
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	check := exec.Command("openssl", "verify", "-vfyopt", "distid:1234567812345678", "-CAfile", "root.pem",
		"-crl_check",
		"-CRLfile", "list.pem", "leaf.pem")
	check.Dir = dir
	if out, err := check.CombinedOutput(); err == nil || !strings.Contains(string(out), "certificate revoked") {
		t.Errorf("%v: %s", err, out)
	}
	for path, want := range map[string]int{"/api/v1/crl/" + strings.Repeat("0", 64): http.StatusNotFound,
		"/api/v1/crl/x": http.StatusUnprocessableEntity, "/api/v1/crl/root?userId=x": http.StatusUnprocessableEntity} {
		if res := s.get(path); res.status != want {
			t.Errorf("%s: %d %s", path, res.status, res.body)
		}
	}
}

// TestRevocationOutlivesTheDatabase: a database that is older than a revocation gets it back from the tail, and signs
// nothing with the certificate.
func TestRevocationOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	for name, open := range copiedBackends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			srv := s.start(t)
			srv.notarize(digestRequest(newDigest(), "", "anchored"))
			srv.stop()
			s.keep()
			s.succeeds(t, "agency", "certificate", "revoke", demoCode, "--reason", "keyCompromise")
			s.restore()
			s.fails(t, "stele recover-tail", "serve", "--listen", "127.0.0.1:0", "--chain", "none")
			if res := s.recovered(t, 0); res.To != res.From+1 {
				t.Errorf("%+v", res)
			}
			if list := s.certificates(t, demoCode); len(list) != 1 || list[0].Revoked != "keyCompromise" ||
				list[0].EndedAt == "" {
				t.Errorf("%+v", list)
			}
			srv = s.start(t)
			if got := srv.refusal(digestRequest(newDigest(), "", "")); got != "503 certificate_expired" {
				t.Errorf("after the recovery: %s", got)
			}
			srv.stop()
			s.fsck(t)
		})
	}
}
