//go:build !js

package trustfile_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/notary/proof/trustfile"
)

var signedAt = time.Date(2026, 11, 29, 14, 3, 5, 999, time.FixedZone("", 8*3600))

func signer(t testing.TB, name string) *signednote.Signer {
	t.Helper()
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	s, err := signednote.NewSigner(name, key)
	fatalIfErr(t, err)
	return s
}

func TestSignAndCheck(t *testing.T) {
	key, other := signer(t, "province.example/trust"), signer(t, "province.example/trust")
	file := append(city("one", "42").Encode(), '\n')
	note, err := trustfile.Sign(file, key, signedAt)
	fatalIfErr(t, err)
	for _, f := range [][]byte{file, bytes.TrimSuffix(file, []byte("\n"))} { // the last line feed does not count
		want := time.Date(2026, 11, 29, 6, 3, 5, 0, time.UTC)
		if s, err := trustfile.Check(f, note, &key.Verifier); err != nil || s.At != want {
			t.Error(s, err)
		}
	}
	text := "stele/trust-signature/v1\n" + sm.Sum(file[:len(file)-1]).String() + "\n2026-11-29T06:03:05Z\n"
	if !strings.HasPrefix(string(note), text+"\n— province.example/trust ") {
		t.Errorf("%s", note)
	}
	_, err = trustfile.Check(city("one", "35").Encode(), note, &key.Verifier)
	says(t, err, trustfile.ErrSignature, "another file on 2026-11-29T06:03:05Z")
	_, err = trustfile.Check(append(file, '\n'), note, &key.Verifier)
	says(t, err, trustfile.ErrSignature, "another file")
	_, err = trustfile.Check(file, note, &other.Verifier)
	says(t, err, trustfile.ErrSignature, signednote.FormatKey(other.Name(), other.Key()))
	for i := range note {
		bad := bytes.Clone(note)
		bad[i] ^= 1
		if _, err := trustfile.Check(file, bad, &key.Verifier); !errors.Is(err, trustfile.ErrSignature) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	// A log's checkpoint is no signature of trust roots, whoever signed it.
	checkpoint, err := signednote.Sign("province.example/trust\n1\n"+strings.Repeat("A", 43)+"=\n", key)
	fatalIfErr(t, err)
	_, err = trustfile.Check(file, checkpoint, &key.Verifier)
	says(t, err, trustfile.ErrSignature, "no signature of trust roots")
}

// TestSignRefuses: nobody signs what no verifier takes, or what another program saved.
func TestSignRefuses(t *testing.T) {
	key, file := signer(t, "k"), city("one", "42").Encode()
	both := city("one", "42")
	both.Roots = append(both.Roots, prooftest.New(prooftest.Options{Seed: "two"}).Trust().Roots...)
	_, err := trustfile.Sign(both.Encode(), key, signedAt)
	says(t, err, proof.ErrUnscoped)
	_, err = trustfile.Sign(bytes.Replace(file, []byte(`,"`), []byte(",\r\n\""), 1), key, signedAt)
	says(t, err, nil, "saved the trust roots anew")
	_, err = trustfile.Sign([]byte("{}"), key, signedAt)
	says(t, err, proof.ErrTrust)
}

func TestSignatureText(t *testing.T) {
	good := trustfile.Signature{SM3: sm.Sum(nil), At: signedAt}.Text()
	if s, err := trustfile.ParseSignature(good); err != nil || s.Text() != good {
		t.Error(s, err)
	}
	hash := sm.Sum(nil).String()
	edit := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, bad := range []string{"", good[1:], good + "\n", good[:len(good)-1], edit(hash, strings.ToUpper(hash)),
		edit("Z\n", "+00:00\n"), edit("05Z", "05.0Z"), edit("2026", "0000"), edit("v1", "v2"), edit("\n", "\r\n"),
		edit("11-29", "13-29")} {
		if _, err := trustfile.ParseSignature(bad); !errors.Is(err, trustfile.ErrSignature) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzSignature: what is read is written again as it was.
func FuzzSignature(f *testing.F) {
	good := trustfile.Signature{SM3: sm.Sum(nil), At: signedAt}.Text()
	f.Add(good)
	f.Add(strings.Replace(good, "05Z", "60Z", 1))
	f.Add("stele/trust-signature/v1\n\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := trustfile.ParseSignature(text)
		if err == nil && s.Text() != text {
			t.Errorf("%q is read as %q", text, s.Text())
		}
	})
}

// TestSignatureByOpenSSL checks a signature as the procedure in docs/formats.md section 15 does,
// without this program.
func TestSignatureByOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("this test needs the openssl command, version 3.0 or later: install the package openssl")
	}
	text, err := os.ReadFile("../../../docs/formats.md")
	fatalIfErr(t, err)
	_, section, _ := strings.Cut(string(text), "\n## 15. ")
	_, rest, _ := strings.Cut(section, "\n```sh\n")
	script, _, ok := strings.Cut(rest, "\n```\n")
	if !ok {
		t.Fatal("section 15 has no block of commands")
	}
	key, other, dir := signer(t, "province.example/trust"), signer(t, "province.example/trust"), t.TempDir()
	file := append(city("one", "42").Encode(), '\n')
	note, err := trustfile.Sign(file, key, signedAt)
	fatalIfErr(t, err)
	run := func(key *signednote.Signer, file []byte) (string, error) {
		write := func(name string, data []byte) { fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), data, 0o600)) }
		write("trust.json", file)
		write("trust.json.sig", note)
		cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "KEY="+signednote.FormatKey(key.Name(), key.Key()))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(key, file); err != nil || !strings.Contains(out, "Signature Verified Successfully") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run(other, file); err == nil {
		t.Errorf("by another key: %s", out)
	}
	if out, err := run(key, city("one", "35").Encode()); err == nil {
		t.Errorf("another file: %s", out)
	}
}
