package pki

import (
	"reflect"
	"testing"
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
