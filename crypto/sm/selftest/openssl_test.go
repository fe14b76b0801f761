package selftest

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/smx509"
	"pgregory.net/rapid"

	"stele/crypto/sm"
)

// openssl runs the command line of OpenSSL in dir. Its absence fails the test: this is the
// implementation with which a court would check, so it may not go unchecked by chance.
func openssl(t rapid.TB, dir string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("these tests need the openssl command, version 3.0 or later: install the package openssl")
	}
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func writeFile(t rapid.TB, dir, name string, data []byte) {
	t.Helper()
	fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

func writeKeys(t rapid.TB, dir string, key *sm.PrivateKey) {
	t.Helper()
	priv, err := smx509.MarshalPKCS8PrivateKey(key.SM2())
	fatalIfErr(t, err)
	pub, err := smx509.MarshalPKIXPublicKey(key.Public().ECDSA())
	fatalIfErr(t, err)
	writeFile(t, dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv}))
	writeFile(t, dir, "pub.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}

// One process takes many files: the property holds over all of them at the price of one start.
func TestDigestsAgreeWithOpenSSL(t *testing.T) {
	dir := t.TempDir()
	messages := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 3000), 200, 200).Example(1)
	args := []string{"dgst", "-sm3", "-r"}
	for i, m := range messages {
		name := fmt.Sprintf("m%03d", i)
		writeFile(t, dir, name, m)
		args = append(args, name)
	}
	out, err := openssl(t, dir, args...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(messages) {
		t.Fatalf("%d digests of %d messages", len(lines), len(messages))
	}
	for i, m := range messages {
		got, _, _ := strings.Cut(lines[i], " ")
		if want := sm.Sum(m).String(); got != want {
			t.Errorf("message %d of %d bytes: OpenSSL says %s, we say %s", i, len(m), got, want)
		}
	}
}

func TestSignaturesAgreeWithOpenSSL(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		key, err := sm.NewPrivateKey(scalars().Draw(t, "scalar"))
		fatalIfErr(t, err)
		writeKeys(t, dir, key)
		// pkeyutl -rawin refuses an empty file.
		m := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "message")
		sig, err := key.Sign(m)
		fatalIfErr(t, err)
		writeFile(t, dir, "m", m)
		writeFile(t, dir, "sig", sig)
		if out, err := opensslVerify(t, dir); err != nil {
			t.Fatalf("OpenSSL refuses our signature: %v: %s", err, out)
		}
		out, err := openssl(t, dir, "pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-digest", "sm3",
			"-pkeyopt", "distid:"+sm.UserID, "-in", "m", "-out", "theirs")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		theirs, err := os.ReadFile(filepath.Join(dir, "theirs"))
		fatalIfErr(t, err)
		if !key.Public().Verify(m, theirs) {
			t.Fatalf("we refuse OpenSSL's signature %x", theirs)
		}
	})
}

func TestBadSignaturesAreRefusedByOpenSSL(t *testing.T) {
	dir := t.TempDir()
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	writeKeys(t, dir, key)
	m := []byte("what was signed")
	sig, err := key.Sign(m)
	fatalIfErr(t, err)
	for name, c := range map[string]struct{ m, sig []byte }{
		"other message":   {[]byte("what was signed?"), sig},
		"altered r":       {m, flipped(sig, 20)},
		"altered s":       {m, flipped(sig, len(sig)-1)},
		"cut":             {m, sig[:len(sig)-1]},
		"another message": {bytes.ToUpper(m), sig},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, dir, "m", c.m)
			writeFile(t, dir, "sig", c.sig)
			if out, err := opensslVerify(t, dir); err == nil {
				t.Fatalf("OpenSSL accepts it: %s", out)
			}
			if key.Public().Verify(c.m, c.sig) {
				t.Fatal("we accept it")
			}
		})
	}
}

func opensslVerify(t rapid.TB, dir string) (string, error) {
	return openssl(t, dir, "pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin", "-digest", "sm3",
		"-pkeyopt", "distid:"+sm.UserID, "-in", "m", "-sigfile", "sig")
}

func flipped(b []byte, i int) []byte {
	b = append([]byte(nil), b...)
	b[i] ^= 1
	return b
}
