package pki

import (
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stele/crypto/sm"
)

var regionName = Name{Country: "CN", Organization: "福建省数字办", CommonName: "福州市签发机构"}

// newAuthority is an authority of a region below a root.
func newAuthority(t *testing.T, root authority) authority {
	t.Helper()
	key := newKey(t)
	der, err := NewAuthority(AuthorityRequest{Subject: regionName, NotBefore: day0, NotAfter: day1,
		PublicKey: key.Public()}, root.der, root.key)
	fatalIfErr(t, err)
	return authority{key, der}
}

// An authority issues for a root that allows one; its certificates and its revocation list hold for this program and
// for OpenSSL.
func TestAuthorityOfARegion(t *testing.T) {
	root := newRoot(t, 1)
	region := newAuthority(t, root)
	leaf, err := Issue(IssueRequest{Profile: Agency, Subject: agencyName, NotBefore: day0, NotAfter: day1,
		PublicKey: newKey(t).Public()}, [][]byte{region.der, root.der}, region.key)
	fatalIfErr(t, err)
	if _, err := VerifyChain([][]byte{leaf, region.der, root.der}, [][]byte{root.der}, mid, Agency); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"leaf.pem": EncodePEM(leaf), "root.pem": EncodePEM(root.der),
		"region.pem": EncodePEM(region.der), "revokes.pem": crlPEM(listOf(t, region, 2, leaf)),
		"empty.pem": crlPEM(listOf(t, region, 1)), "root-list.pem": crlPEM(listOf(t, root, 1))} {
		writeFile(t, dir, name, data)
	}
	// OpenSSL gives the user id to the last certificate alone, so it is asked about one after another.
	verify := func(issuer, child, list string) (string, error) {
		return openssl(t, dir, "verify", "-vfyopt", distid, "-attime", fmt.Sprint(mid.Unix()), "-partial_chain",
			"-CAfile", issuer, "-crl_check", "-CRLfile", list, child)
	}
	for list, steps := range map[string][2]string{"empty.pem": {"region.pem", "leaf.pem"},
		"root-list.pem": {"root.pem", "region.pem"}} {
		if out, err := verify(steps[0], steps[1], list); err != nil {
			t.Errorf("%s: %v: %s", steps[1], err, out)
		}
	}
	if out, err := verify("region.pem", "leaf.pem", "revokes.pem"); err == nil ||
		!strings.Contains(out, "certificate revoked") {
		t.Errorf("%v: %s", err, out)
	}
}

func crlPEM(l SignedList) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: l.NoID})
}

func TestAuthorityRefuses(t *testing.T) {
	root, closed, other := newRoot(t, 1), newRoot(t, 0), newRoot(t, 1)
	key := newKey(t)
	good := AuthorityRequest{Subject: regionName, NotBefore: day0, NotAfter: day1, PublicKey: key.Public()}
	for name, c := range map[string]struct {
		root   authority
		change func(*AuthorityRequest)
	}{
		"a root that allows none": {closed, func(*AuthorityRequest) {}},
		"another key":             {authority{other.key, root.der}, func(*AuthorityRequest) {}},
		"no root key":             {authority{nil, root.der}, func(*AuthorityRequest) {}},
		"no root":                 {authority{root.key, nil}, func(*AuthorityRequest) {}},
		"an authority as root":    {newAuthority(t, root), func(*AuthorityRequest) {}},
		"the root's key":          {root, func(r *AuthorityRequest) { r.PublicKey = root.key.Public() }},
		"no key":                  {root, func(r *AuthorityRequest) { r.PublicKey = nil }},
		"the root's name":         {root, func(r *AuthorityRequest) { r.Subject = rootName }},
		"no name":                 {root, func(r *AuthorityRequest) { r.Subject.CommonName = "" }},
		"longer than the root":    {root, func(r *AuthorityRequest) { r.NotAfter = day1.Add(time.Second) }},
	} {
		t.Run(name, func(t *testing.T) {
			req := good
			c.change(&req)
			if der, err := NewAuthority(req, c.root.der, c.root.key); err == nil || der != nil {
				t.Errorf("accepted: %v", err)
			}
		})
	}
	region := newAuthority(t, root)
	if _, err := VerifyAuthority(region.der, other.der); !errors.Is(err, ErrSignature) && !errors.Is(err, ErrChain) {
		t.Errorf("under another root: %v", err)
	}
	if _, err := VerifyAuthority(issue(t, root, Agency, key), root.der); !errors.Is(err, ErrNotCA) {
		t.Errorf("an agency's: %v", err)
	}
	if _, err := Issue(IssueRequest{Profile: Agency, Subject: agencyName, NotBefore: day0, NotAfter: day1,
		PublicKey: key.Public()}, [][]byte{region.der, other.der}, region.key); err == nil {
		t.Error("a certificate of an authority below another root")
	}
}

// A certificate request shows that its maker has the key.
func TestNewRequest(t *testing.T) {
	key := newKey(t)
	text, err := NewRequest(regionName, key)
	fatalIfErr(t, err)
	got, err := ParseRequest(text)
	fatalIfErr(t, err)
	if !got.Equal(key.Public()) {
		t.Error("another key")
	}
	if _, err := NewRequest(Name{}, &sm.PrivateKey{}); err == nil {
		t.Error("no name: accepted")
	}
}
