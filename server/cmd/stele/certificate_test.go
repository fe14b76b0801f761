package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

// offline runs stele verify on files, as a person does, and returns the exit code.
func (s *server) offline(args ...string) (int, string) {
	s.t.Helper()
	path, err := binary()
	fatalIfErr(s.t, err)
	var out bytes.Buffer
	cmd := exec.Command(path, append([]string{"verify", "--trust", s.info.Trust}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// fetch saves what a call answers under a name that does not say what it is.
func (s *server) fetch(dir, path, mediaType, disposition string) string {
	s.t.Helper()
	res := s.get(path)
	if res.status != http.StatusOK || res.header.Get("Content-Type") != mediaType ||
		res.header.Get("Content-Disposition") != `attachment; filename="`+disposition+`"` ||
		res.header.Get("Cache-Control") != "private, no-store" {
		s.t.Fatalf("%s: %d %v %.300s", path, res.status, res.header, res.body)
	}
	f, err := os.CreateTemp(dir, "fetched")
	fatalIfErr(s.t, err)
	_, err = f.Write(res.body)
	fatalIfErr(s.t, err)
	fatalIfErr(s.t, f.Close())
	return f.Name()
}

// TestCertificateAndEvidence: what a person takes away is checked with the trust roots alone.
func TestCertificateAndEvidence(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t), args: []string{"--public-url", "https://stele.example.gov.cn/"}}.start(t)
	dir := t.TempDir()
	document := []byte("an original that goes to court")
	file := filepath.Join(dir, "file")
	fatalIfErr(t, os.WriteFile(file, document, 0o600))
	req := fileRequest(document, `{"title":"判决书送达回证","filename":"送达回证.PDF"}`, "")
	req.path += "?wait=anchored"
	rec := s.notarize(req)
	base := "/api/v1/records/" + rec.Number
	s.demandVerifyPage(s.get(base + "/evidence").body)
	certificate := s.fetch(dir, base+"/certificate", "application/pdf", rec.Number+".pdf")
	pack := s.fetch(dir, base+"/evidence", "application/zip", rec.Number+".evidence.zip")

	pdf, err := os.ReadFile(certificate)
	fatalIfErr(t, err)
	if _, bundle, err := carrier.Extract(pdf); err != nil || !bytes.Equal(bundle, s.get(base+"/bundle").body) {
		t.Errorf("the certificate holds another bundle: %v", err)
	}
	if !bytes.Contains(pdf, []byte("https://stele.example.gov.cn/r/"+rec.Number+"?code="+rec.Code)) {
		t.Error("the certificate does not lead to the record's page")
	}
	for what, args := range map[string][]string{"certificate": {certificate, file}, "package": {pack},
		"package and file": {pack, file}} {
		t.Run(what, func(t *testing.T) {
			if code, out := s.offline(args...); code != 0 || !strings.Contains(out, "genuine: ") ||
				!strings.Contains(out, "判决书送达回证") {
				t.Errorf("%s: %d %s", what, code, out)
			}
		})
	}
	if code, out := s.offline(certificate, certificate); code != 1 {
		t.Errorf("another file: %d %s", code, out)
	}

	res := s.call(request{method: "POST", path: base + "/revoke",
		header: map[string]string{"Content-Type": "application/json"}, body: strings.NewReader(`{"reason":"送达有误"}`)})
	if res.status >= 300 {
		t.Fatalf("revoke: %d %s", res.status, res.body)
	}
	certificate = s.fetch(dir, base+"/certificate", "application/pdf", rec.Number+".pdf")
	pack = s.fetch(dir, base+"/evidence", "application/zip", rec.Number+".evidence.zip")
	for what, args := range map[string][]string{"revoked certificate": {certificate, file}, "revoked package": {pack}} {
		t.Run(what, func(t *testing.T) {
			if code, out := s.offline(args...); code != 6 || !strings.Contains(out, "送达有误") {
				t.Errorf("after the revocation: %d %s", code, out)
			}
		})
	}
	s.stop()
}

// demandVerifyPage compares the offline verifier in an evidence package with the one that is
// served, the digests that are published, and what the command writes.
func (s *server) demandVerifyPage(pack []byte) {
	s.t.Helper()
	page := s.get("/verify.html")
	if page.status != http.StatusOK {
		s.t.Fatalf("/verify.html: %d; where it is not built, run: make generate", page.status)
	}
	z, err := zip.NewReader(bytes.NewReader(pack), int64(len(pack)))
	fatalIfErr(s.t, err)
	packed, err := fs.ReadFile(z, "verify.html")
	fatalIfErr(s.t, err)
	served := page.body
	path, err := binary()
	fatalIfErr(s.t, err)
	written := filepath.Join(s.t.TempDir(), "verify.html")
	out, err := exec.Command(path, "verify-page", "--out", written).Output()
	fatalIfErr(s.t, err)
	data, err := os.ReadFile(written)
	fatalIfErr(s.t, err)
	if !bytes.Equal(packed, served) || !bytes.Equal(data, served) {
		s.t.Errorf("the offline verifier has %d bytes in the package, %d served, %d written", len(packed), len(served),
			len(data))
	}
	for _, digest := range []string{"sm3", "sha256"} {
		if line := string(s.get("/verify.html." + digest).body); !strings.Contains(string(out), line) {
			s.t.Errorf("published is %q, printed\n%s", line, out)
		}
	}
	if sum := sm.Sum(served).String(); !strings.Contains(string(out), sum+"  verify.html") {
		s.t.Errorf("SM3 is %s, printed\n%s", sum, out)
	}
}

// A record of a digest alone has a package too; the document is brought along.
func TestEvidenceWithoutOriginal(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	dir := t.TempDir()
	rec := s.notarize(digestRequest(newDigest(), "", "anchored"))
	pack := s.fetch(dir, "/api/v1/records/"+rec.ID+"/evidence", "application/zip", rec.Number+".evidence.zip")
	if code, out := s.offline("--sm3", rec.Document.SM3, pack); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := s.offline(pack); code != 4 || !strings.Contains(out, "no file was compared") {
		t.Errorf("without a file: %d %s", code, out)
	}
	for _, what := range []string{"/certificate", "/evidence"} {
		t.Run(what[1:], func(t *testing.T) {
			path := "/api/v1/records/" + rec.ID + what
			if res := s.call(request{method: "GET", path: path,
				header: map[string]string{"Authorization": ""}}); res.status != http.StatusUnauthorized {
				t.Errorf("%s without a key: %d", what, res.status)
			}
			if res := s.get("/api/v1/records/420100-2026-99999999-0" + what); res.status != http.StatusNotFound {
				t.Errorf("%s of no record: %d", what, res.status)
			}
		})
	}
	s.stop()
}

// Before it is anchored a record has no certificate, and the answer says when to ask again.
func TestNoCertificateBeforeTheAnchor(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t, "--chain", "none")
	rec := s.notarize(digestRequest(newDigest(), "", "logged"))
	s.demand(rec, proof.Pending)
	for _, what := range []string{"/certificate", "/evidence"} {
		t.Run(what[1:], func(t *testing.T) {
			res := s.get("/api/v1/records/" + rec.ID + what)
			var problem struct{ Code string }
			_ = json.Unmarshal(res.body, &problem)
			if res.status != http.StatusConflict || problem.Code != "not_ready" || res.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %v %s", what, res.status, res.header, res.body)
			}
		})
	}
	s.stop()
}

// A stored original that was changed does not go to a court: the answer breaks off.
func TestEvidenceOfAChangedOriginal(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t)}.start(t)
	req := fileRequest(bytes.Repeat([]byte("original "), 100_000), `{"title":"t"}`, "")
	req.path += "?wait=anchored"
	rec := s.notarize(req)
	var stored string
	fatalIfErr(t, filepath.WalkDir(filepath.Join(s.data, "objects"), func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(path, rec.ID) && !d.IsDir() {
			stored = path
		}
		return err
	}))
	content, err := os.ReadFile(stored)
	fatalIfErr(t, err)
	content[len(content)/2] ^= 1
	fatalIfErr(t, os.Chmod(stored, 0o600))
	fatalIfErr(t, os.WriteFile(stored, content, 0o600))
	res, err := s.try(context.Background(), request{method: "GET", path: "/api/v1/records/" + rec.ID + "/evidence"})
	if err == nil {
		t.Errorf("the answer looks whole: %d, %d bytes", res.status, len(res.body))
	}
	s.stop() // then all of the log is here
	if !strings.Contains(s.log.String(), "is not the document that was registered") {
		t.Errorf("nothing was logged (%v):\n%s", err, s.log)
	}
}
