package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stele/crypto/pki"
	"stele/notary/proof"
	"stele/server/http/api"
)

// An agency that keeps its key: it makes one with OpenSSL, hands in a request, signs the
// statements that it is asked to, and its records are as good as any.
func TestKeyAtHome(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	s := site.start(t)
	home := t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", args...)
		cmd.Dir = home
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
	}
	openssl("genpkey", "-algorithm", "SM2", "-out", "key.pem")
	openssl("req", "-new", "-key", "key.pem", "-sm3", "-sigopt", "distid:1234567812345678", "-subj", "/CN=x", "-out",
		"request.pem")
	run := func(args ...string) string {
		t.Helper()
		out, errs, code := site.output(t, args...)
		if code != 0 {
			t.Fatalf("%v: %s", args, errs)
		}
		return out
	}
	const code = "91350100M000100Y43"
	csr := filepath.Join(home, "request.pem")
	run("agency", "add", "--code", code, "--name", "自持密钥机关", "--region", "350100", "--csr", csr)
	if _, _, exit := site.output(t, "agency", "renew", "--agency", code); exit == 0 {
		t.Error("renewed without a request")
	}
	run("agency", "renew", "--agency", code, "--csr", csr)
	var key struct{ Key string }
	fatalIfErr(t, json.Unmarshal([]byte(run("apikey", "add", "--agency", code, "--json")), &key))
	if r := s.call(as(key.Key, http.MethodPost, "/api/v1/records", `{"sm3":"`+newDigest()+
		`","size":1}`)); r.status != http.StatusConflict || !strings.Contains(string(r.body), "keeps its key") {
		t.Errorf("directly: %d %s", r.status, r.body)
	}

	signed := func(r response) string {
		t.Helper()
		var out struct{ Prepared api.Prepared }
		if r.json(t, &out); r.status != http.StatusCreated {
			t.Fatalf("%d %s", r.status, r.body)
		}
		fatalIfErr(t, os.WriteFile(filepath.Join(home, "statement.json"), out.Prepared.Statement, 0o600))
		openssl("pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-digest", "sm3", "-pkeyopt",
			"distid:1234567812345678", "-in", "statement.json", "-out", "sig.der")
		sig, err := os.ReadFile(filepath.Join(home, "sig.der"))
		fatalIfErr(t, err)
		path := "/api/v1/records/prepared/" + out.Prepared.ID
		if r := s.call(as(s.info.APIKey, http.MethodPost, path, `{"signature":"`+base64.StdEncoding.EncodeToString(sig)+
			`"}`)); r.status != http.StatusNotFound {
			t.Errorf("with another agency's key: %d", r.status)
		}
		if r := s.call(as(key.Key, http.MethodPost, path,
			`{"signature":"AAAA"}`)); r.status != http.StatusUnprocessableEntity {
			t.Errorf("a wrong signature: %d %s", r.status, r.body)
		}
		r = s.call(as(key.Key, http.MethodPost, path+"?wait=anchored",
			`{"signature":"`+base64.StdEncoding.EncodeToString(sig)+`"}`))
		if r.status != http.StatusCreated {
			t.Fatalf("%d %s", r.status, r.body)
		}
		return string(r.body)
	}
	file := fileRequest([]byte("%PDF-1.4 signed at home"), `{"title":"At home"}`, "")
	file.path = "/api/v1/records/prepare"
	file.header["Authorization"] = "Bearer " + key.Key
	var rec record
	fatalIfErr(t, json.Unmarshal([]byte(signed(s.call(file))), &rec))
	if r := s.verdictAs(key.Key, rec); r.Verdict != proof.Genuine || r.Agency.Name != "自持密钥机关" {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	signed(s.call(as(key.Key, http.MethodPost, "/api/v1/records/"+rec.Number+"/revoke/prepare", `{"reason":"试用"}`)))
	if r := s.verdictAs(key.Key, rec); r.Verdict != proof.Revoked {
		t.Errorf("%s: %s", r.Verdict, r.Summary)
	}
	s.stop()
	site.fsck(t)
}

// homeKeyFiles are an SM2 key at an agency's own place, with the request for its certificate.
type homeKeyFiles struct{ dir, name string }

func newHomeKey(t *testing.T, dir, name string) homeKeyFiles {
	t.Helper()
	k := homeKeyFiles{dir, name}
	k.openssl(t, "genpkey", "-algorithm", "SM2", "-out", name+".pem")
	k.openssl(t, "req", "-new", "-key", name+".pem", "-sm3", "-sigopt", "distid:1234567812345678", "-subj", "/CN=x",
		"-out", name+".csr")
	return k
}

func (k homeKeyFiles) openssl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = k.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v: %s", args, err, out)
	}
}

func (k homeKeyFiles) csr() string { return filepath.Join(k.dir, k.name+".csr") }

// completion is the request that brings the signature of a prepared statement.
func (k homeKeyFiles) completion(t *testing.T, key string, p api.Prepared) request {
	t.Helper()
	fatalIfErr(t, os.WriteFile(filepath.Join(k.dir, "statement"), p.Statement, 0o600))
	k.openssl(t, "pkeyutl", "-sign", "-inkey", k.name+".pem", "-rawin", "-digest", "sm3", "-pkeyopt",
		"distid:1234567812345678", "-in", "statement", "-out", "signature")
	sig := base64.StdEncoding.EncodeToString(must(os.ReadFile(filepath.Join(k.dir, "signature"))))
	return as(key, http.MethodPost, "/api/v1/records/prepared/"+p.ID+"?wait=anchored", `{"signature":"`+sig+`"}`)
}

// What an agency has signed at home counts no more once its key was replaced, and waits while it is
// suspended, on a server as well that has just prepared it under the former key.
func TestKeyAtHomeIsReplaced(t *testing.T) {
	t.Parallel()
	site := site{data: folder(t)}
	a := site.start(t)
	b := a.second(t)
	const code = "91350100M000100Y43"
	dir := t.TempDir()
	first, second := newHomeKey(t, dir, "first"), newHomeKey(t, dir, "second")
	site.succeeds(t, "agency", "add", "--code", code, "--name", "自持密钥机关", "--region", "350100", "--csr", first.csr())
	var key struct{ Key string }
	fatalIfErr(t, json.Unmarshal([]byte(site.succeeds(t, "apikey", "add", "--agency", code, "--json")), &key))
	prepare := func(s *server) (api.Prepared, string) {
		t.Helper()
		res := s.call(as(key.Key, http.MethodPost, "/api/v1/records/prepare", `{"sm3":"`+newDigest()+`","size":1}`))
		var out struct{ Prepared api.Prepared }
		if res.status != http.StatusCreated {
			return out.Prepared, s.refusalOf(res)
		}
		res.json(t, &out)
		return out.Prepared, ""
	}
	one, _ := prepare(b)
	completion := first.completion(t, key.Key, one)
	site.succeeds(t, "agency", "suspend", code)
	if got := b.refusal(completion); got != "403 agency_suspended" {
		t.Errorf("suspended: %s", got)
	}
	site.succeeds(t, "agency", "resume", code)
	if got := b.refusal(first.completion(t, key.Key, one)); got != "201" {
		t.Errorf("resumed: %s", got)
	}
	two, _ := prepare(b)
	site.fails(t, "rekey", "agency", "renew", "--agency", code, "--csr", second.csr())
	site.fails(t, "certificate request", "agency", "rekey", code)
	site.fails(t, "had before", "agency", "rekey", code, "--csr", first.csr())
	site.fails(t, "yet to come", "agency", "rekey", code, "--csr", second.csr(), "--since", "2099-01-01T00:00:00Z")
	site.succeeds(t, "agency", "rekey", code, "--csr", second.csr(), "--reason", "lost")
	for _, s := range []*server{a, b} {
		if got := s.refusal(first.completion(t, key.Key, two)); got != "409 conflict" {
			t.Errorf("signed with the former key: %s", got)
		}
		three, refused := prepare(s)
		if refused != "" {
			t.Fatal(refused)
		}
		res := s.call(second.completion(t, key.Key, three))
		if res.status != http.StatusCreated {
			t.Fatalf("signed with the new key: %d %s", res.status, res.body)
		}
		var rec record
		res.json(t, &rec)
		if r := s.verdictAs(key.Key, rec); r.Verdict != proof.Genuine {
			t.Errorf("%s: %s", r.Verdict, r.Summary)
		}
	}
	b.stop()
	a.stop()
	site.fsck(t)
}

// A renewed certificate stands in its file, where the runbook looks for its end, and in the next bundle.
func TestRenewedCertificateIsInItsFile(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}
	srv := s.start(t)
	files := must(filepath.Glob(filepath.Join(s.data, "keys", "agency-*.crt")))
	if len(files) != 1 {
		t.Fatalf("%v", files)
	}
	before := must(os.ReadFile(files[0]))
	srv.stop()
	s.succeeds(t, "agency", "renew", "--agency", demoCode)
	after := must(pki.DecodePEM(must(os.ReadFile(files[0])), pki.MaxChain))
	if former := must(pki.DecodePEM(before, pki.MaxChain)); bytes.Equal(former[0], after[0]) {
		t.Fatal("the file holds the former certificate")
	}
	srv = s.start(t)
	bundle := must(proof.ParseBundle(srv.bundle(srv.notarize(digestRequest(newDigest(), "", "anchored")))))
	if !bytes.Equal(bundle.Certificates[0], after[0]) {
		t.Error("the bundle has another certificate than the file")
	}
	srv.stop()
}
