package pki

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"pgregory.net/rapid"

	"stele/crypto/sm"
)

func fatalIfErr(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t rapid.TB) *sm.PrivateKey {
	t.Helper()
	k, err := sm.GenerateKey()
	fatalIfErr(t, err)
	return k
}

const agencyCode = "91350100M000100Y43" // the example of GB 32100

var (
	day0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	day1 = time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	mid  = time.Date(2028, 6, 1, 12, 0, 0, 0, time.UTC)

	rootName   = Name{Country: "CN", Province: "福建省", Locality: "福州市", Organization: "福建省数字办", CommonName: "存证根证书 G1"}
	agencyName = Name{Country: "CN", Organization: "福州市不动产登记中心", CommonName: "福州市不动产登记中心", Code: agencyCode}
)

// authority is a root or an intermediate of a test.
type authority struct {
	key *sm.PrivateKey
	der []byte
}

func newRoot(t rapid.TB, intermediates int) authority {
	t.Helper()
	key := newKey(t)
	der, err := NewRoot(RootRequest{Subject: rootName, NotBefore: day0, NotAfter: day1, Intermediates: intermediates},
		key)
	fatalIfErr(t, err)
	return authority{key, der}
}

func issue(t rapid.TB, root authority, profile Profile, key *sm.PrivateKey) []byte {
	t.Helper()
	der, err := Issue(IssueRequest{Profile: profile, Subject: agencyName, NotBefore: day0, NotAfter: day1,
		PublicKey: key.Public()}, [][]byte{root.der}, root.key)
	fatalIfErr(t, err)
	return der
}

// leafTemplate and caTemplate are what a foreign authority might issue; tests change them.
func leafTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: day0, NotAfter: day1,
		Subject:  pkix.Name{Organization: []string{"测试机关"}, CommonName: "测试", SerialNumber: agencyCode},
		KeyUsage: smx509.KeyUsageDigitalSignature | smx509.KeyUsageContentCommitment,
	}
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(8), NotBefore: day0, NotAfter: day1,
		Subject:  pkix.Name{Organization: []string{"测试机构"}, CommonName: name},
		KeyUsage: smx509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: -1,
	}
}

// foreign signs a template under parent without any of this package's rules; a nil parent
// makes it self-signed.
func foreign(t rapid.TB, template *x509.Certificate, key *sm.PrivateKey, parent *authority) []byte {
	t.Helper()
	parentTemplate, signer := template, key
	if parent != nil {
		p, err := smx509.ParseCertificate(parent.der)
		fatalIfErr(t, err)
		parentTemplate, signer = p.ToX509(), parent.key
	}
	der, err := smx509.CreateCertificate(rand.Reader, template, parentTemplate, key.Public().ECDSA(), signer.SM2())
	fatalIfErr(t, err)
	return der
}

func foreignCA(t rapid.TB, template *x509.Certificate, parent *authority) authority {
	t.Helper()
	key := newKey(t)
	return authority{key, foreign(t, template, key, parent)}
}

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

func mustOpenssl(t rapid.TB, dir string, args ...string) string {
	t.Helper()
	out, err := openssl(t, dir, args...)
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, out)
	}
	return out
}

func writeFile(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

func readPEM(t testing.TB, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	fatalIfErr(t, err)
	ders, err := DecodePEM(text, 1)
	fatalIfErr(t, err)
	return ders[0]
}

// fixture reads certificates of testdata: the same bytes in every process, as fuzzing needs.
func fixture(t testing.TB, name string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".pem"))
	fatalIfErr(t, err)
	ders, err := DecodePEM(text, MaxChain)
	fatalIfErr(t, err)
	return ders
}
