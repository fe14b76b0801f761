package main

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/trustfile"
)

// authorities lists roots and authorities.
func (s site) authorities(t *testing.T) (out []listedAuthority) {
	t.Helper()
	fatalIfErr(t, json.Unmarshal([]byte(s.succeeds(t, "authority", "list", "--json")), &out))
	return out
}

// underRoot is where a root's files are on a machine of its own.
func (s site) underRoot(root, key string) []string { return []string{"--root", root, "--key", key} }

// A region's agencies get their certificates from an authority of its own, with the root key elsewhere; a compromised
// key is revoked with both issuers' lists.
func TestAuthorityOfARegion(t *testing.T) {
	t.Parallel()
	site := backends["sqlite+dir"](t)
	a := site.start(t, "--status-pause", "50ms")
	before := a.notarizeSoon(digestRequest(newDigest(), "", "anchored"))
	dir, keys := t.TempDir(), filepath.Join(site.data, "keys")
	request, made := filepath.Join(dir, "region.csr"), filepath.Join(dir, "region.pem")
	root, key := filepath.Join(keys, "root.crt"), filepath.Join(dir, "root.key")
	fatalIfErr(t, os.Rename(filepath.Join(keys, "root.key"), key))
	const region = demoRegion
	site.fails(t, "is no region", "authority", "add", "--region", "福建", "--name", "福建")
	site.fails(t, "root key is needed", "authority", "add", "--region", region[:4], "--name", "签发机构")
	site.succeeds(t, "authority", "add", "--region", region[:4], "--name", "签发机构", "--request", request)
	site.fails(t, "root key is needed", "agency", "renew", "--agency", demoCode) // nothing has changed yet
	sign := append([]string{"authority", "sign", request, "--name", "签发机构", "--out", made},
		site.underRoot(root, key)...)
	if out, err := site.atTheRoot(t, sign...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	site.fails(t, "no certificate of an authority", "authority", "accept", "--region", region[:4], root)
	site.succeeds(t, "authority", "accept", "--region", region[:4], made)
	site.succeeds(t, "authority", "accept", "--region", region[:4], made) // again
	site.succeeds(t, "agency", "renew", "--agency", demoCode)
	var after record
	eventually(t, "the new certificate signs", func() bool {
		after = a.notarizeSoon(digestRequest(newDigest(), "", "anchored"))
		return len(must(proof.ParseBundle(a.bundle(after))).Certificates) == 3
	})
	a.verdictNow(after, proof.Genuine)
	file := filepath.Join(dir, "after.json")
	fatalIfErr(t, os.WriteFile(file, a.bundle(after), 0o600))
	if code, out := a.offline("--sm3", after.Document.SM3, file); code != 0 {
		t.Errorf("%d: %s", code, out)
	}
	for _, l := range site.authorities(t) {
		if res := a.get("/api/v1/crl/" + l.SM3); res.status != http.StatusOK {
			t.Errorf("the list of %s: %d %s", l.Name, res.status, res.body)
		}
	}

	present := site.certificates(t, demoCode)
	first := filepath.Join(dir, "revoke.json")
	site.succeeds(t, "agency", "certificate", "revoke", demoCode, "--reason", "keyCompromise", "--certificate",
		present[len(present)-1].SM3, "--since", "2026-01-01T00:00:00Z", "--request", first)
	site.succeeds(t, "agency", "renew", "--agency", demoCode)                   // while the request is at the root
	for _, name := range []string{first, filepath.Join(dir, "revoke-2.json")} { // one for each issuer
		signed := name + ".signed"
		sign := append([]string{"agency", "certificate", "sign", name, "--out", signed}, site.underRoot(root, key)...)
		if out, err := site.atTheRoot(t, sign...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		site.succeeds(t, "agency", "certificate", "submit", signed)
	}
	for _, c := range site.certificates(t, demoCode) { // the renewed one as well
		if c.EndedAt == "" {
			t.Errorf("a certificate of the compromised key is open: %+v", c)
		}
	}
	for _, rec := range []record{before, after} {
		if r := a.verdictNow(rec, proof.Invalid); !r.CertificateRevoked() {
			t.Errorf("%s", r.JSON())
		}
	}
	site.succeeds(t, "agency", "certificate", "renew-list", "--issuer", site.authorities(t)[1].SM3)
	site.succeeds(t, "authority", "end", "--region", region[:4])
	site.fails(t, "there is no authority", "authority", "end", "--region", region[:4])
	site.fails(t, "root key is needed", "agency", "rekey", demoCode)
	ended := site.authorities(t)[1]
	if !ended.Former || !ended.Key {
		t.Errorf("%+v", ended)
	}
	site.succeeds(t, "agency", "certificate", "renew-list", "--issuer", ended.SM3)
	a.stop()
	site.fsck(t)
}

// The next root is believed by the word of the former: by the instance, and by who pinned the former one and takes the
// succession from the service. A switch that is interrupted anywhere goes on.
func TestRootSwitch(t *testing.T) {
	t.Parallel()
	site := backends["sqlite+dir"](t)
	a := site.start(t)
	before := a.notarizeSoon(digestRequest(newDigest(), "", "anchored"))
	pinned := filepath.Join(t.TempDir(), "pinned.json")
	fatalIfErr(t, os.WriteFile(pinned, must(os.ReadFile(a.info.Trust)), 0o600))
	dir, keys := t.TempDir(), filepath.Join(site.data, "keys")
	next, signed := filepath.Join(dir, "next.json"), filepath.Join(dir, "signed.json")
	root, key := filepath.Join(keys, "root.crt"), filepath.Join(dir, "root.key")
	fatalIfErr(t, os.Rename(filepath.Join(keys, "root.key"), key))
	site.fails(t, "would be nobody's", "root", "next", "--region", "99", "--out", next)
	site.succeeds(t, "root", "next", "--out", next)
	site.fails(t, "has not signed it yet", "root", "switch", next)
	sign := append([]string{"root", "sign", next, "--out", signed}, site.underRoot(root, key)...)
	if out, err := site.atTheRoot(t, sign...); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	site.fails(t, "a server of this instance runs", "root", "switch", signed)
	a.stop()
	fatalIfErr(t, os.Rename(key, filepath.Join(keys, "root.key")))
	was := t.TempDir()
	fatalIfErr(t, os.CopyFS(was, os.DirFS(site.data)))
	site.succeeds(t, "root", "switch", signed)
	site.interrupted(t, was, signed)

	a = site.start(t)
	site.succeeds(t, "agency", "renew", "--agency", demoCode)
	after := a.notarizeSoon(digestRequest(newDigest(), "", "anchored"))
	chain := must(proof.ParseBundle(a.bundle(after))).Certificates
	if sm.Sum(chain[1]).String() != site.authorities(t)[0].SM3 {
		t.Fatalf("the certificate is under the root %s", sm.Sum(chain[1]))
	}
	updated := filepath.Join(dir, "updated.json")
	if out, err := site.atTheRoot(t, "trust", "update", pinned, "--from", a.info.URL, "--out", updated); err != nil ||
		!strings.Contains(out, "Pinned a root") {
		t.Fatalf("%v: %s", err, out)
	}
	trusts := map[string]*proof.Trust{"the instance's": a.trust,
		"updated": must(proof.ParseTrust(must(os.ReadFile(updated))))}
	a.genuineFor(trusts, map[string][]byte{"before": a.bundle(before), "after": a.bundle(after)},
		map[string]record{"before": before, "after": after})
	old := must(proof.ParseTrust(must(os.ReadFile(pinned))))
	if r := proof.Verify(old, nil, a.bundle(after)); r.Verdict != proof.Unverifiable {
		t.Errorf("under the former root alone: %s", r.Verdict)
	}
	res := a.get("/api/v1/trust/successions.json")
	if list := must(trustfile.ParseSuccessions(res.body)); len(list) != 1 {
		t.Errorf("%d successions are published", len(list))
	}
	a.stop()
	site.fsck(t)
	site.fails(t, "does not speak for the agency", "agency", "add", "--code",
		prooftest.USCC("11110000MB1234567"), "--name", "外地", "--region", "110000")
}

// interrupted takes back the last steps of a switch, one more each time, as crashes leave them, and switches again.
func (s site) interrupted(t *testing.T, was, signed string) {
	t.Helper()
	final := s.files(t)
	back := func(name string) {
		fatalIfErr(t, os.WriteFile(filepath.Join(s.data, name), must(os.ReadFile(filepath.Join(was, name))), 0o600))
	}
	steps := []func(){
		func() { back("keys/root.key"); back("keys/root-next.key") },
		func() { back("keys/root.crt"); back("keys/root-next.crt") },
		func() { back("trust.json") },
		func() { fatalIfErr(t, os.Remove(filepath.Join(s.data, "successions.json"))) },
	}
	for n := range steps {
		for _, undo := range steps[:n+1] {
			undo()
		}
		if n == 1 { // certificate and key are one root's again: the former one still issues
			s.succeeds(t, "agency", "renew", "--agency", demoCode)
		} else if n == 0 {
			s.fails(t, "does not belong to the issuer", "agency", "renew", "--agency", demoCode)
		}
		s.succeeds(t, "root", "switch", signed)
		for name, digest := range s.files(t) {
			if final[name] != digest {
				t.Errorf("after %d steps were taken back: %s is another one", n+1, name)
			}
		}
	}
}

// files are the digests of the instance's roots and of what says who follows whom.
func (s site) files(t *testing.T) map[string]sm.Digest {
	t.Helper()
	out := map[string]sm.Digest{}
	fatalIfErr(t, filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err == nil && (strings.HasPrefix(name, "root") || slices.Contains([]string{"trust.json", "successions.json"},
			name)) {
			out[name] = sm.Sum(must(os.ReadFile(path)))
		}
		return err
	}))
	if _, err := pki.DecodePEM(must(os.ReadFile(filepath.Join(s.data, "keys", "root.crt"))), 1); err != nil {
		t.Error(err)
	}
	return out
}
