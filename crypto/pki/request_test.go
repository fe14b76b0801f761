package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/sm"
)

func request(t testing.TB) ([]byte, *sm.PrivateKey) {
	t.Helper()
	key, err := sm.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := smx509.CreateCertificateRequest(rand.Reader,
		&x509.CertificateRequest{Subject: pkix.Name{CommonName: "anybody"}}, key.SM2())
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func TestParseRequest(t *testing.T) {
	der, key := request(t)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	for what, data := range map[string][]byte{"DER": der, "PEM": text} {
		t.Run(what, func(t *testing.T) {
			if got, err := ParseRequest(data); err != nil || !got.Equal(key.Public()) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	forged := bytes.Clone(der)
	forged[bytes.Index(der, []byte("anybody"))] ^= 1
	for what, data := range map[string][]byte{"empty": nil, "changed": forged, "cut": der[:len(der)-1],
		"two": append(bytes.Clone(text), text...), "more": append(bytes.Clone(der), 0),
		"certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"large":       make([]byte, maxRequest+1)} {
		t.Run(what, func(t *testing.T) {
			if _, err := ParseRequest(data); !errors.Is(err, ErrRequest) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

// A request as an agency makes it with OpenSSL.
func TestParseOpenSSLsRequest(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("this test needs the openssl command, version 3.0 or later: install the package openssl")
	}
	dir := t.TempDir()
	key, csr := filepath.Join(dir, "key.pem"), filepath.Join(dir, "request.pem")
	for _, args := range [][]string{{"genpkey", "-algorithm", "SM2", "-out", key},
		{"req", "-new", "-key", key, "-sm3", "-sigopt", "distid:1234567812345678", "-subj", "/CN=agency", "-out",
			csr}} {
		if out, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	data, err := os.ReadFile(csr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRequest(data); err != nil {
		t.Error(err)
	}
}

func FuzzParseRequest(f *testing.F) {
	der, _ := request(f)
	f.Add(der)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if key, err := ParseRequest(data); (key == nil) != (err != nil) {
			t.Error("neither a key nor an error")
		}
	})
}
