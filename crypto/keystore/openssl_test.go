package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/pkcs"
	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/sm"
)

// openssl runs the command line of OpenSSL in dir. Its absence fails the test: that a key
// can be read without us is a promise.
func openssl(t testing.TB, dir string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("these tests need the openssl command, version 3.0 or later: install the package openssl")
	}
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustOpenssl(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := openssl(t, dir, args...)
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
	return out
}

// mustEncode makes a key file whose header claims an iteration count that was not worked off.
func mustEncode(t testing.TB, iterations int) []byte {
	t.Helper()
	text, err := encode(sm2Key{newKey(t)}, secret(t, passphrase), 1)
	fatalIfErr(t, err)
	e, err := open(text)
	fatalIfErr(t, err)
	return claim(t, e, iterations)
}

func TestOpenSSLReadsOurKeys(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, filepath.Join(dir, "pass"), []byte(passphrase+"\n"), 0o600)
	mustWrite(t, filepath.Join(dir, "wrong"), []byte(passphrase+"!\n"), 0o600)
	pass, err := Passphrase(filepath.Join(dir, "pass"), "")
	fatalIfErr(t, err)
	key := newKey(t)
	fatalIfErr(t, Create(filepath.Join(dir, "key.pem"), key, pass))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	fatalIfErr(t, err)
	fatalIfErr(t, create(filepath.Join(dir, "ed.pem"), ed25519Key{edKey}, pass, testIterations))
	for name, public := range map[string]any{"key.pem": key.Public().ECDSA(), "ed.pem": edKey.Public()} {
		t.Run(name, func(t *testing.T) {
			want, err := smx509.MarshalPKIXPublicKey(public)
			fatalIfErr(t, err)
			out := mustOpenssl(t, dir, "pkey", "-in", name, "-passin", "file:pass", "-pubout")
			block, _ := pem.Decode([]byte(out))
			if block == nil || !bytes.Equal(block.Bytes, want) {
				t.Errorf("%s: another public key:\n%s", name, out)
			}
			if out, err := openssl(t, dir, "pkey", "-in", name, "-passin", "file:wrong", "-noout"); err == nil {
				t.Errorf("%s: opened with a wrong passphrase: %s", name, out)
			}
		})
	}
	// OpenSSL signs with it as it is.
	mustWrite(t, filepath.Join(dir, "m"), []byte("message"), 0o600)
	mustOpenssl(t, dir, "pkeyutl", "-sign", "-inkey", "key.pem", "-passin", "file:pass", "-rawin", "-digest", "sm3",
		"-pkeyopt", "distid:"+sm.UserID, "-in", "m", "-out", "sig")
	sig, err := os.ReadFile(filepath.Join(dir, "sig"))
	fatalIfErr(t, err)
	if !key.Public().Verify([]byte("message"), sig) {
		t.Error("its signature does not verify")
	}
	if out := mustOpenssl(t, dir, "asn1parse", "-in", "key.pem"); !strings.Contains(out, "PBKDF2") ||
		!strings.Contains(out, "hmacWithSHA256") || !strings.Contains(out, "aes-256-cbc") ||
		!strings.Contains(out, ":0927C0") {
		t.Errorf("not PBKDF2-HMAC-SHA256 with 600,000 rounds and AES-256-CBC:\n%s", out)
	}
}

func TestWeReadOpenSSLsKeys(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, filepath.Join(dir, "pass"), []byte(passphrase+"\n"), 0o600)
	pass := secret(t, passphrase)
	mustOpenssl(t, dir, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", "clear.pem")
	mustOpenssl(t, dir, "genpkey", "-algorithm", "ED25519", "-out", "clear-ed.pem")
	if _, err := Load(filepath.Join(dir, "clear.pem"), pass); !errors.Is(err, ErrUnencrypted) {
		t.Errorf("key in clear: %v", err)
	}
	public, _ := pem.Decode([]byte(mustOpenssl(t, dir, "pkey", "-in", "clear.pem", "-pubout")))
	edPublic, _ := pem.Decode([]byte(mustOpenssl(t, dir, "pkey", "-in", "clear-ed.pem", "-pubout")))
	for name, c := range map[string]struct {
		options string
		want    error
	}{
		"default":      {"", nil},
		"aes":          {"-v2 aes-256-cbc -v2prf hmacWithSHA256 -iter 10000", nil},
		"sha512":       {"-v2 aes-256-cbc -v2prf hmacWithSHA512", nil},
		"sm4":          {"-v2 sm4-cbc", nil},
		"scrypt":       {"-scrypt", nil},
		"scrypt16":     {"-scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 16", nil},
		"scrypt lanes": {"-scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 17", ErrUnsupported},
		"sha1":         {"-v2prf hmacWithSHA1", ErrUnsupported},
		"aes128":       {"-v2 aes-128-cbc", ErrUnsupported},
		"3des":         {"-v2 des3", ErrUnsupported},
		"pbes1":        {"-v1 PBE-SHA1-3DES", ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []string{"clear.pem", "clear-ed.pem"} {
				out := strings.ReplaceAll(name, " ", "-") + in
				mustOpenssl(t, dir, append([]string{"pkcs8", "-topk8", "-in", in, "-out", out, "-passout", "file:pass"},
					strings.Fields(c.options)...)...)
				fatalIfErr(t, os.Chmod(filepath.Join(dir, out), 0o600))
			}
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			key, err := Load(file+"clear.pem", pass)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			edKey, err := LoadEd25519(file+"clear-ed.pem", pass)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want != nil {
				return
			}
			if der, err := smx509.MarshalPKIXPublicKey(key.Public().ECDSA()); err != nil ||
				!bytes.Equal(der, public.Bytes) {
				t.Errorf("another key (%v)", err)
			}
			if der, err := smx509.MarshalPKIXPublicKey(edKey.Public()); err != nil ||
				!bytes.Equal(der, edPublic.Bytes) {
				t.Errorf("another Ed25519 key (%v)", err)
			}
			if _, err := Load(file+"clear.pem", secret(t, passphrase+"!")); !errors.Is(err, ErrPassphrase) {
				t.Errorf("wrong passphrase: %v", err)
			}
		})
	}
}

// The national combination that OpenSSL 3.0 cannot write, from the library that can.
func TestWeReadHMACSM3(t *testing.T) {
	key := newKey(t)
	plain, err := smx509.MarshalPKCS8PrivateKey(key.SM2())
	fatalIfErr(t, err)
	kdf := pkcs.NewPBKDF2Opts(pkcs.SM3, saltSize, testIterations)
	algorithm, data, err := pkcs.NewPBESEncrypter(pkcs.SM4CBC, kdf).Encrypt(rand.Reader, []byte(passphrase), plain)
	fatalIfErr(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: marshal(t, encryptedPrivateKeyInfo{*algorithm, data})})
	got, err := decode(text, secret(t, passphrase))
	fatalIfErr(t, err)
	if !bytes.Equal(got.public(), key.Public().Bytes()) {
		t.Fatal("another key")
	}
}
