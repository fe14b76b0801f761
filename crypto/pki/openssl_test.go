package pki

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/pkcs8"

	"stele/crypto/sm"
)

const distid = "distid:" + sm.UserID

// opensslVerify checks one hop. OpenSSL 3.0 hands the user id to the lowest certificate
// only, so a longer path is checked hop by hop, each time with the issuer as the anchor.
func opensslVerify(t testing.TB, dir, issuer, child string, at time.Time) (string, error) {
	t.Helper()
	return openssl(t, dir, "verify", "-x509_strict", "-vfyopt", distid, "-partial_chain",
		"-attime", fmt.Sprint(at.Unix()), "-CAfile", issuer, child)
}

func TestOpenSSLReadsOurCertificates(t *testing.T) {
	dir := t.TempDir()
	root := newRoot(t, 0)
	writeFile(t, dir, "root.pem", EncodePEM(root.der))
	writeFile(t, dir, "agency.pem", EncodePEM(issue(t, root, Agency, newKey(t))))
	writeFile(t, dir, "notary.pem", EncodePEM(issue(t, root, Notary, newKey(t))))
	for name, wants := range map[string][]string{
		"root.pem": {"Signature Algorithm: SM2-with-SM3", "ASN1 OID: SM2", "CA:TRUE, pathlen:0",
			"Certificate Sign, CRL Sign",
			"X509v3 Subject Key Identifier", "O=福建省数字办, CN=存证根证书 G1"},
		"agency.pem": {"Digital Signature, Non Repudiation", "X509v3 Authority Key Identifier",
			"X509v3 Subject Key Identifier",
			"Subject: C=CN, O=福州市不动产登记中心, CN=福州市不动产登记中心, serialNumber=" + agencyCode},
		"notary.pem": {"Key Usage: critical\n                Digital Signature\n"},
	} {
		t.Run(name, func(t *testing.T) {
			text := mustOpenssl(t, dir, "x509", "-in", name, "-noout", "-text", "-nameopt",
				"oneline,-space_eq,-esc_msb,utf8")
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("%s: no %q in\n%s", name, want, text)
				}
			}
			if name != "root.pem" && strings.Contains(text, "Basic Constraints") {
				t.Errorf("%s has basic constraints", name)
			}
			// What OpenSSL writes, DecodePEM reads.
			mustOpenssl(t, dir, "x509", "-in", name, "-out", "again.pem")
			readPEM(t, dir, "again.pem")
		})
	}
}

func TestOpenSSLVerifiesOurChain(t *testing.T) {
	dir := t.TempDir()
	root := newRoot(t, 0)
	other := newRoot(t, 0)
	writeFile(t, dir, "root.pem", EncodePEM(root.der))
	writeFile(t, dir, "other.pem", EncodePEM(other.der))
	writeFile(t, dir, "agency.pem", EncodePEM(issue(t, root, Agency, newKey(t))))
	if out, err := opensslVerify(t, dir, "root.pem", "agency.pem", mid); err != nil {
		t.Errorf("agency: %v: %s", err, out)
	}
	// OpenSSL 3.0 cannot be told the user id for a root's own signature: as a message it can.
	f := fields(t, root.der)
	writeFile(t, dir, "content.der", f[0].FullBytes)
	writeFile(t, dir, "sig.der", f[2].Bytes[1:])
	mustOpenssl(t, dir, "pkeyutl", "-verify", "-certin", "-inkey", "root.pem", "-rawin", "-digest", "sm3", "-pkeyopt",
		distid,
		"-in", "content.der", "-sigfile", "sig.der")
	if out, err := opensslVerify(t, dir, "other.pem", "agency.pem", mid); err == nil {
		t.Errorf("under another root of the same name: %s", out)
	}
	if out, err := opensslVerify(t, dir, "root.pem", "agency.pem", day1.AddDate(1, 0, 0)); err == nil {
		t.Errorf("expired: %s", out)
	}
}

// The command of the design, word for word: a court checks a statement with stock OpenSSL.
func TestOpenSSLVerifiesAStatement(t *testing.T) {
	dir := t.TempDir()
	root, key := newRoot(t, 0), newKey(t)
	statement := []byte(`{"type":"stele/statement/v1","action":"issue","number":"350100-2026-00000001-X"}`)
	sig, err := key.Sign(statement)
	fatalIfErr(t, err)
	writeFile(t, dir, "signer.pem", EncodePEM(issue(t, root, Agency, key)))
	writeFile(t, dir, "statement.json", statement)
	writeFile(t, dir, "sig.der", sig)
	command := strings.Fields("pkeyutl -verify -certin -inkey signer.pem -rawin -digest sm3 -pkeyopt " +
		"distid:1234567812345678 -in statement.json -sigfile sig.der")
	if out := mustOpenssl(t, dir, command...); !strings.Contains(out, "Signature Verified Successfully") {
		t.Fatal(out)
	}
	writeFile(t, dir, "statement.json", append(statement, '\n'))
	if out, err := openssl(t, dir, command...); err == nil {
		t.Fatalf("another statement: %s", out)
	}
}

const opensslConfig = `
[req]
distinguished_name = dn
prompt = no
utf8 = yes
string_mask = utf8only
[dn]
C = CN
O = 测试机构
CN = ${ENV::STELE_TEST_CN}
serialNumber = 91350100M000100Y43
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[middle]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[agency]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature,nonRepudiation
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
keyUsage = critical,digitalSignature,nonRepudiation
extendedKeyUsage = serverAuth
`

// opensslChain makes root, middle and two leaves with the command line alone.
func opensslChain(t *testing.T, dir string) {
	t.Helper()
	writeFile(t, dir, "openssl.cnf", []byte(opensslConfig))
	for _, name := range []string{"root", "middle", "agency", "server"} {
		t.Setenv("STELE_TEST_CN", name)
		mustOpenssl(t, dir, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", name+".key")
		if name == "root" {
			mustOpenssl(t, dir, "req", "-new", "-x509", "-config", "openssl.cnf", "-extensions", "root", "-key",
				"root.key",
				"-sm3", "-sigopt", distid, "-days", "3650", "-out", "root.pem")
			continue
		}
		issuer := map[string]string{"middle": "root", "agency": "middle", "server": "middle"}[name]
		mustOpenssl(t, dir, "req", "-new", "-config", "openssl.cnf", "-key", name+".key", "-sm3", "-sigopt", distid,
			"-out", name+".csr")
		mustOpenssl(t, dir, "x509", "-req", "-in", name+".csr", "-vfyopt", distid, "-CA", issuer+".pem", "-CAkey",
			issuer+".key",
			"-sm3", "-sigopt", distid, "-days", "365", "-extfile", "openssl.cnf", "-extensions", name, "-out",
			name+".pem")
	}
}

func TestWeVerifyOpenSSLsChain(t *testing.T) {
	dir := t.TempDir()
	opensslChain(t, dir)
	root, middle, agency, server := readPEM(t, dir, "root.pem"), readPEM(t, dir, "middle.pem"),
		readPEM(t, dir, "agency.pem"), readPEM(t, dir, "server.pem")
	rootCert, err := VerifyRoot(root)
	fatalIfErr(t, err)
	at := rootCert.NotBefore().Add(time.Hour)
	c, err := VerifyChain([][]byte{agency, middle, root}, [][]byte{root}, at, Agency)
	fatalIfErr(t, err)
	if c.Code() != agencyCode || c.Subject().Organization != "测试机构" || c.Subject().CommonName != "agency" {
		t.Errorf("subject %+v", c.Subject())
	}
	made := profileCase{At: at.Format("2006-01-02T15:04:05.000Z"), Chain: [][]byte{agency, middle, root}}
	second := runSecondReader(t, []profileCase{made})
	if second[0].Outcome != "accepted" || !reflect.DeepEqual(second[0].Read, readBy(c)) {
		t.Errorf("the second reader finds %+v %+v, this one %+v", second[0], second[0].Read, readBy(c))
	}
	got, err := VerifyChain([][]byte{server, middle, root}, [][]byte{root}, at, Agency)
	wantError(t, got, err, ErrUsage)
	got, err = VerifyChain([][]byte{agency, root}, [][]byte{root}, at, Agency)
	wantError(t, got, err, ErrChain)
	for child, issuer := range map[string]string{"agency.pem": "middle.pem", "middle.pem": "root.pem"} {
		t.Run(child, func(t *testing.T) {
			if out, err := opensslVerify(t, dir, issuer, child, at); err != nil {
				t.Errorf("%s: %v: %s", child, err, out)
			}
		})
	}
	// Its fingerprint is ours.
	out := mustOpenssl(t, dir, "x509", "-in", "agency.pem", "-noout", "-fingerprint", "-sm3")
	_, hex, _ := strings.Cut(strings.TrimSpace(out), "=")
	if strings.ToLower(strings.ReplaceAll(hex, ":", "")) != c.Fingerprint().String() {
		t.Errorf("OpenSSL's fingerprint %s, ours %s", hex, c.Fingerprint())
	}
}

// A root of ours can issue for a key that OpenSSL made, and OpenSSL signs statements with it.
func TestOpenSSLSignsUnderOurRoot(t *testing.T) {
	dir := t.TempDir()
	mustOpenssl(t, dir, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", "key.pem")
	text, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	fatalIfErr(t, err)
	block, _ := pem.Decode(text)
	k, err := pkcs8.ParsePKCS8PrivateKeySM2(block.Bytes)
	fatalIfErr(t, err)
	key, err := sm.PrivateKeyOf(k)
	fatalIfErr(t, err)
	root := newRoot(t, 0)
	leaf := issue(t, root, Agency, key)
	writeFile(t, dir, "statement.json", []byte("{}"))
	mustOpenssl(t, dir, "pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-digest", "sm3", "-pkeyopt", distid,
		"-in", "statement.json", "-out", "sig.der")
	sig, err := os.ReadFile(filepath.Join(dir, "sig.der"))
	fatalIfErr(t, err)
	c, err := VerifyChain([][]byte{leaf, root.der}, [][]byte{root.der}, mid, Agency)
	fatalIfErr(t, err)
	if !c.PublicKey().Verify([]byte("{}"), sig) {
		t.Fatal("refused")
	}
}
