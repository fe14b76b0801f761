package pki

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// testdata/bouncycastle.pem is what testdata/MakeChain.java printed with BouncyCastle 1.72: an
// agency's certificate with all that such authorities put into one (two attributes in a set,
// an address, basic constraints, purposes, an alternative name, issuer and serial number of the
// authority's key), a middle authority and a root.
func TestWeVerifyBouncyCastlesChain(t *testing.T) {
	chain := fixture(t, "bouncycastle")
	c, err := VerifyChain(chain, chain[2:], mid, Agency)
	fatalIfErr(t, err)
	if c.Code() != agencyCode || c.Subject().Organization != "测试机关" || c.Subject().CommonName != "测试机关" {
		t.Errorf("subject %+v", c.Subject())
	}
	_, err = VerifyRoot(chain[2])
	fatalIfErr(t, err)
	compareReaders(t, chain)
	dir := t.TempDir()
	for i, name := range []string{"agency.pem", "middle.pem", "root.pem"} {
		writeFile(t, dir, name, EncodePEM(chain[i]))
	}
	for child, issuer := range map[string]string{"agency.pem": "middle.pem", "middle.pem": "root.pem"} {
		t.Run(child, func(t *testing.T) {
			if out, err := opensslVerify(t, dir, issuer, child, mid); err != nil {
				t.Errorf("OpenSSL does not verify %s: %v: %s", child, err, out)
			}
		})
	}
}

// compareReaders has both readers read and verify a chain that another program made.
func compareReaders(t *testing.T, chain [][]byte) {
	t.Helper()
	var cases []profileCase
	for i := range chain {
		cases = append(cases, profileCase{Name: "certificate", Place: i, At: "2028-06-01T12:00:00.000Z", Chain: chain})
	}
	for i, f := range runSecondReader(t, cases) {
		if want := findingOf(t, cases[i]); !reflect.DeepEqual(f, want) || want.Outcome != "accepted" {
			t.Errorf("certificate %d: the second reader finds\n%+v %+v, this one\n%+v %+v", i, f, f.Read, want,
				want.Read)
		}
	}
}

// bouncyCastle runs a Java program of testdata with the library that testdata/bouncycastle.sha256 pins. What is missing
// fails the test: other programs in Java read our lists with this library.
func bouncyCastle(t *testing.T, program string, args ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: this needs Java and BouncyCastle, which make tools installs")
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Fatal("this test needs Java 11 or later with its compiler: run make tools, or install the package " +
			"default-jdk-headless")
	}
	pins, err := os.ReadFile(filepath.Join("testdata", "bouncycastle.sha256"))
	fatalIfErr(t, err)
	pin, name, ok := strings.Cut(strings.TrimSpace(string(pins)), "  ")
	if !ok {
		t.Fatalf("testdata/bouncycastle.sha256: a digest, two spaces and a file name are expected, got %q", pins)
	}
	jar := filepath.Join("..", "..", ".tools", "bouncycastle", name)
	library, err := os.ReadFile(jar)
	if err != nil {
		t.Fatalf("BouncyCastle is missing: run make tools (it needs Maven and a Maven repository): %v", err)
	}
	if found := fmt.Sprintf("%x", sha256.Sum256(library)); found != pin {
		t.Fatalf("%s has the SHA-256 %s, and %s is expected: run make tools", jar, found, pin)
	}
	var out, errs bytes.Buffer
	// One short run: the better of the two compilers would not pay.
	cmd := exec.Command("java", append([]string{"-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", jar,
		filepath.Join("testdata", program)}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", program, err, out.Bytes(), errs.Bytes())
	}
	return out.String()
}

// BouncyCastle reads our list as we do, and verifies the one that has the usual user id with the root's key; the other
// one, which is for OpenSSL, only with the empty user id.
func TestBouncyCastleReadsOurList(t *testing.T) {
	dir, root, other := t.TempDir(), newRoot(t, 0), newRoot(t, 0)
	var ended [][]byte
	for range 6 { // each reason twice
		ended = append(ended, issue(t, root, Agency, newKey(t)))
	}
	list := listOf(t, root, 1<<63+7, ended...)
	for name, der := range map[string][]byte{"root.der": root.der, "other.der": other.der, "bad.der": ended[0],
		"good.der": issue(t, root, Agency, newKey(t)), "standard.crl": list.Standard, "noid.crl": list.NoID} {
		writeFile(t, dir, name, der)
	}
	ours, err := ParseRevocationList(list, root.der)
	fatalIfErr(t, err)
	theirs := map[string]string{"keyCompromise": "KEY_COMPROMISE", "superseded": "SUPERSEDED",
		"cessationOfOperation": "CESSATION_OF_OPERATION"}
	var revoked []string
	for _, r := range ours.Revoked {
		revoked = append(revoked, fmt.Sprintf("revoked %s %s %s %s\n", r.Serial, r.At.Format(time.RFC3339),
			theirs[r.Reason], r.Since.Format(time.RFC3339)))
	}
	slices.Sort(revoked)
	want := `root: true
agency: true
agency, another root: false
list: true
list, by itself: true
list, empty user id: false
list, another root: false
list without id: false
list without id, by itself: false
list without id, empty user id: true
list, altered: false
issuer is root: true
number: ` + fmt.Sprint(ours.Number) + `
thisUpdate: ` + ours.ThisUpdate.Format(time.RFC3339) + `
nextUpdate: ` + ours.NextUpdate.Format(time.RFC3339) + `
` + strings.Join(revoked, "") + `bad is revoked: true
good is revoked: false
`
	if got := bouncyCastle(t, "ReadList.java", dir); got != want {
		t.Errorf("BouncyCastle finds\n%s\nwant\n%s", got, want)
	}
}
