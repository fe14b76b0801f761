package pki

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"pgregory.net/rapid"
)

func TestNewRoot(t *testing.T) {
	root := newRoot(t, 0)
	c, err := VerifyRoot(root.der)
	fatalIfErr(t, err)
	if c.Subject() != rootName || c.Issuer() != rootName || !c.IsCA() || !c.PublicKey().Equal(root.key.Public()) {
		t.Errorf("subject %+v, issuer %+v, CA %t", c.Subject(), c.Issuer(), c.IsCA())
	}
	if !c.NotBefore().Equal(day0) || !c.NotAfter().Equal(day1) || !bytes.Equal(c.DER(), root.der) {
		t.Errorf("validity %v to %v", c.NotBefore(), c.NotAfter())
	}
	x := c.extensions
	if x.usage != smx509.KeyUsageCertSign|smx509.KeyUsageCRLSign || x.pathLen != 0 || len(x.subjectKeyID) != 20 {
		t.Errorf("usage %b, path length %d, key id %x", x.usage, x.pathLen, x.subjectKeyID)
	}
	if c.Allows(Agency) || c.Allows(Notary) {
		t.Error("a root may sign documents")
	}
}

func TestIssue(t *testing.T) {
	root := newRoot(t, 0)
	for _, profile := range []Profile{Agency, Notary} {
		key := newKey(t)
		c, err := Parse(issue(t, root, profile, key))
		fatalIfErr(t, err)
		if c.Subject() != agencyName || c.Code() != agencyCode || c.Issuer() != rootName ||
			!c.PublicKey().Equal(key.Public()) {
			t.Errorf("%v: subject %+v, issuer %+v", profile, c.Subject(), c.Issuer())
		}
		rootCert, err := Parse(root.der)
		fatalIfErr(t, err)
		x := c.extensions
		id := rootCert.extensions.subjectKeyID
		if x.constrained || !bytes.Equal(x.authorityKeyID, id) || len(x.subjectKeyID) != 20 {
			t.Errorf("%v: constraints %t, AKI %x, SKI %x", profile, x.constrained, x.authorityKeyID, x.subjectKeyID)
		}
		if c.Allows(Agency) != (profile == Agency) || c.Allows(Notary) != (profile == Notary) {
			t.Errorf("%v: allowed as agency %t, as notary %t", profile, c.Allows(Agency), c.Allows(Notary))
		}
	}
}

func TestSerialNumbersAreUniqueAndPositive(t *testing.T) {
	root := newRoot(t, 0)
	key := newKey(t)
	seen := map[string]bool{}
	for range 64 {
		c, err := Parse(issue(t, root, Agency, key))
		fatalIfErr(t, err)
		n := c.serial
		if n.Sign() <= 0 || n.BitLen() > 128 || seen[c.SerialNumber()] {
			t.Fatalf("serial number %s", c.SerialNumber())
		}
		seen[c.SerialNumber()] = true
	}
}

// Whatever names are accepted come back unchanged and verify; province and locality may be
// the same word, names may have any script.
func TestIssueRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[\p{Han}A-Za-z0-9（）·&.,'\-]{1,20}`)
	rapid.Check(t, func(t *rapid.T) {
		place := text.Draw(t, "place")
		rootKey, key := newKey(t), newKey(t)
		subject := Name{Country: "CN", Province: place, Locality: place, Organization: text.Draw(t, "root"),
			CommonName: text.Draw(t, "cn") + "R"}
		from := day0.Add(time.Duration(rapid.Int64Range(-70, 70).Draw(t, "years")) * 365 * 24 * time.Hour)
		to := from.Add(time.Duration(rapid.Int64Range(1, 1<<31).Draw(t, "seconds")) * time.Second)
		root, err := NewRoot(RootRequest{Subject: subject, NotBefore: from, NotAfter: to}, rootKey)
		fatalIfErr(t, err)
		leafName := Name{Country: "CN", Province: place, Organization: text.Draw(t, "org"),
			CommonName: text.Draw(t, "leaf") + "L", Code: agencyCode}
		der, err := Issue(IssueRequest{Agency, leafName, from, to, key.Public()}, [][]byte{root}, rootKey)
		fatalIfErr(t, err)
		at := from.Add(time.Duration(rapid.Int64Range(0, int64(to.Sub(from))).Draw(t, "at")))
		c, err := VerifyChain([][]byte{der, root}, [][]byte{root}, at, Agency)
		fatalIfErr(t, err)
		if c.Subject() != leafName || c.Issuer() != subject {
			t.Fatalf("subject %+v, issuer %+v", c.Subject(), c.Issuer())
		}
	})
}

func TestNewRootRefuses(t *testing.T) {
	key := newKey(t)
	for name, change := range map[string]func(r *RootRequest){
		"no common name":     func(r *RootRequest) { r.Subject.CommonName = "" },
		"no organization":    func(r *RootRequest) { r.Subject.Organization = "" },
		"long country":       func(r *RootRequest) { r.Subject.Country = "CHN" },
		"small country":      func(r *RootRequest) { r.Subject.Country = "cn" },
		"control character":  func(r *RootRequest) { r.Subject.Organization = "机\n关" },
		"zero width space":   func(r *RootRequest) { r.Subject.Organization = "机\u200b关" },
		"space at the end":   func(r *RootRequest) { r.Subject.Organization = "机关 " },
		"no UTF-8":           func(r *RootRequest) { r.Subject.Organization = "\xff" },
		"long name":          func(r *RootRequest) { r.Subject.Organization = strings.Repeat("关", 65) },
		"lower-case code":    func(r *RootRequest) { r.Subject.Code = strings.ToLower(agencyCode) },
		"letter O in code":   func(r *RootRequest) { r.Subject.Code = "O" + agencyCode[1:] },
		"no end":             func(r *RootRequest) { r.NotAfter = time.Time{} },
		"empty validity":     func(r *RootRequest) { r.NotAfter = r.NotBefore.Add(999 * time.Millisecond) },
		"before 1950":        func(r *RootRequest) { r.NotBefore = time.Date(1949, 1, 1, 0, 0, 0, 0, time.UTC) },
		"after 9999":         func(r *RootRequest) { r.NotAfter = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"negative levels":    func(r *RootRequest) { r.Intermediates = -1 },
		"unreachable levels": func(r *RootRequest) { r.Intermediates = MaxChain - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			req := RootRequest{Subject: rootName, NotBefore: day0, NotAfter: day1}
			change(&req)
			if _, err := NewRoot(req, key); err == nil || errors.Is(err, errSelfCheck) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if _, err := NewRoot(RootRequest{Subject: rootName, NotBefore: day0, NotAfter: day1}, nil); err == nil {
		t.Error("no key: accepted")
	}
}

func TestIssueRefuses(t *testing.T) {
	root, key := newRoot(t, 0), newKey(t)
	leaf := issue(t, root, Agency, key)
	good := IssueRequest{Agency, agencyName, day0, day1, key.Public()}
	for name, c := range map[string]struct {
		change func(r *IssueRequest, root *authority)
	}{
		"no profile":             {func(r *IssueRequest, _ *authority) { r.Profile = 0 }},
		"no organization":        {func(r *IssueRequest, _ *authority) { r.Subject.Organization = "" }},
		"agency without code":    {func(r *IssueRequest, _ *authority) { r.Subject.Code = "" }},
		"short code":             {func(r *IssueRequest, _ *authority) { r.Subject.Code = agencyCode[1:] }},
		"no key":                 {func(r *IssueRequest, _ *authority) { r.PublicKey = nil }},
		"the root's key":         {func(r *IssueRequest, root *authority) { r.PublicKey = root.key.Public() }},
		"the root's name":        {func(r *IssueRequest, _ *authority) { r.Subject = rootName; r.Profile = Notary }},
		"before the root":        {func(r *IssueRequest, _ *authority) { r.NotBefore = day0.Add(-time.Second) }},
		"after the root":         {func(r *IssueRequest, _ *authority) { r.NotAfter = day1.Add(time.Second) }},
		"another private key":    {func(_ *IssueRequest, root *authority) { root.key = key }},
		"no private key":         {func(_ *IssueRequest, root *authority) { root.key = nil }},
		"an agency as authority": {func(_ *IssueRequest, root *authority) { *root = authority{key, leaf} }},
		"no certificate":         {func(_ *IssueRequest, root *authority) { root.der = nil }},
		"root with trailing byte": {func(_ *IssueRequest, root *authority) {
			root.der = append(bytes.Clone(root.der), 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			req, r := good, root
			c.change(&req, &r)
			if der, err := Issue(req, [][]byte{r.der}, r.key); err == nil || der != nil {
				t.Errorf("%s: accepted (%v)", name, err)
			}
		})
	}
}
