package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/emmansun/gmsm/smx509"
)

var sentinels = []error{ErrMalformed, ErrChain, ErrSignature, ErrNotCA, ErrPathTooLong, ErrUsage, ErrNotYetValid,
	ErrExpired, ErrUnknownRoot, ErrArgument}

// wantError demands exactly one sentinel, so that a caller's switch has one answer.
func wantError(t *testing.T, c *Certificate, err, want error) {
	t.Helper()
	if want == nil {
		if err != nil || c == nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if c != nil {
		t.Error("a certificate came with the error")
	}
	for _, s := range sentinels {
		if errors.Is(err, s) != (s == want) {
			t.Errorf("error %v, want only %v", err, want)
		}
	}
}

func TestVerifyChain(t *testing.T) {
	root, stranger := newRoot(t, 0), newRoot(t, 0)
	key := newKey(t)
	agency, notary := issue(t, root, Agency, key), issue(t, root, Notary, key)
	otherRoot := newRoot(t, 0) // the same name, another key
	roots := [][]byte{stranger.der, root.der}
	flipped := bytes.Clone(agency)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		chain, roots [][]byte
		at           time.Time
		profile      Profile
		want         error
	}{
		"agency":             {[][]byte{agency, root.der}, roots, mid, Agency, nil},
		"notary":             {[][]byte{notary, root.der}, roots, mid, Notary, nil},
		"first second":       {[][]byte{agency, root.der}, roots, day0, Agency, nil},
		"end of last second": {[][]byte{agency, root.der}, roots, day1.Add(time.Second - 1), Agency, nil},
		"too early":          {[][]byte{agency, root.der}, roots, day0.Add(-1), Agency, ErrNotYetValid},
		"too late":           {[][]byte{agency, root.der}, roots, day1.Add(time.Second), Agency, ErrExpired},
		"agency as notary":   {[][]byte{agency, root.der}, roots, mid, Notary, ErrUsage},
		"notary as agency":   {[][]byte{notary, root.der}, roots, mid, Agency, ErrUsage},
		"root as agency":     {[][]byte{root.der, root.der}, roots, mid, Agency, ErrUsage},
		"no profile":         {[][]byte{agency, root.der}, roots, mid, 0, ErrArgument},
		"unknown profile":    {[][]byte{agency, root.der}, roots, mid, 9, ErrArgument},
		"no time":            {[][]byte{agency, root.der}, roots, time.Time{}, Agency, ErrArgument},
		"no roots":           {[][]byte{agency, root.der}, nil, mid, Agency, ErrUnknownRoot},
		"unknown root":       {[][]byte{agency, root.der}, [][]byte{stranger.der}, mid, Agency, ErrUnknownRoot},
		"unknown, expired":   {[][]byte{agency, root.der}, nil, day1.Add(time.Hour), Agency, ErrExpired},
		"signer as its root": {[][]byte{agency, root.der}, [][]byte{agency}, mid, Agency, ErrUnknownRoot},
		"cut root": {[][]byte{agency, root.der}, [][]byte{root.der[:len(root.der)-1]}, mid, Agency,
			ErrUnknownRoot},
		"same name, other key": {[][]byte{agency, otherRoot.der}, [][]byte{otherRoot.der}, mid, Agency, ErrChain},
		"empty":                {nil, roots, mid, Agency, ErrChain},
		"signer alone":         {[][]byte{agency}, roots, mid, Agency, ErrChain},
		"wrong order":          {[][]byte{root.der, agency}, roots, mid, Agency, ErrUsage},
		"root twice":           {[][]byte{agency, root.der, root.der}, roots, mid, Agency, ErrChain},
		"extra signer":         {[][]byte{agency, notary, root.der}, roots, mid, Agency, ErrChain},
		"too many": {[][]byte{agency, root.der, root.der, root.der, root.der}, roots, mid, Agency,
			ErrPathTooLong},
		"altered signature": {[][]byte{flipped, root.der}, roots, mid, Agency, ErrSignature},
		"trailing byte":     {[][]byte{append(bytes.Clone(agency), 0), root.der}, roots, mid, Agency, ErrMalformed},
		"rubbish":           {[][]byte{agency, []byte("root")}, roots, mid, Agency, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := VerifyChain(c.chain, c.roots, c.at, c.profile)
			wantError(t, got, err, c.want)
		})
	}
}

// What was issued once must verify for ever: these files are never made again.
func TestFixtures(t *testing.T) {
	root := fixture(t, "root")
	for name, profile := range map[string]Profile{"agency": Agency, "notary": Notary} {
		t.Run(name, func(t *testing.T) {
			c, err := VerifyChain(append(fixture(t, name), root...), root, mid, profile)
			wantError(t, c, err, nil)
		})
	}
	foreign := fixture(t, "foreign")
	c, err := VerifyChain(foreign, foreign[2:], mid, Agency)
	wantError(t, c, err, nil)
	c, err = VerifyChain(foreign, root, mid, Agency)
	wantError(t, c, err, ErrUnknownRoot)
}

var forDocuments = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 36}}

// A chain that another authority made, with intermediates; each row spoils one template.
func TestVerifyChainOfOthers(t *testing.T) {
	type templates struct{ leaf, low, high, root *x509.Certificate }
	for name, c := range map[string]struct {
		change func(c *templates)
		want   error
	}{
		"good": {func(*templates) {}, nil},
		"empty basic constraints": {func(c *templates) { c.leaf.BasicConstraintsValid = true; c.leaf.MaxPathLen = -1 },
			nil},
		"path lengths just right": {
			func(c *templates) { c.root.MaxPathLen = 2; c.high.MaxPathLen = 1; setZeroPath(c.low) }, nil},
		"any purpose": {
			func(c *templates) { c.leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, nil},
		"document signing":        {func(c *templates) { c.leaf.UnknownExtKeyUsage = forDocuments }, nil},
		"path length at root":     {func(c *templates) { c.root.MaxPathLen = 1 }, ErrPathTooLong},
		"path length in between":  {func(c *templates) { setZeroPath(c.high) }, ErrPathTooLong},
		"low is no CA":            {func(c *templates) { c.low.IsCA = false }, ErrNotCA},
		"high has no constraints": {func(c *templates) { c.high.BasicConstraintsValid = false }, ErrNotCA},
		"root may not certify":    {func(c *templates) { c.root.KeyUsage = smx509.KeyUsageCRLSign }, ErrNotCA},
		"low has no key usage":    {func(c *templates) { c.low.KeyUsage = 0 }, ErrNotCA},
		"low expired":             {func(c *templates) { c.low.NotAfter = mid.Add(-time.Hour) }, ErrExpired},
		"root not yet valid":      {func(c *templates) { c.root.NotBefore = mid.Add(time.Hour) }, ErrNotYetValid},
		"leaf without usage":      {func(c *templates) { c.leaf.KeyUsage = 0 }, ErrUsage},
		"leaf may encrypt": {func(c *templates) { c.leaf.KeyUsage |= smx509.KeyUsageKeyEncipherment },
			ErrUsage},
		"leaf may certify": {func(c *templates) { c.leaf.KeyUsage |= smx509.KeyUsageCertSign }, ErrUsage},
		"leaf is for servers": {
			func(c *templates) { c.leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, ErrUsage},
		"leaf without code":        {func(c *templates) { c.leaf.Subject.SerialNumber = "" }, ErrUsage},
		"leaf with another number": {func(c *templates) { c.leaf.Subject.SerialNumber = "12345" }, ErrUsage},
		"leaf is a CA": {func(c *templates) { c.leaf.BasicConstraintsValid = true; c.leaf.IsCA = true },
			ErrUsage},
		"leaf named like its CA": {func(c *templates) { c.low.Subject = c.leaf.Subject }, ErrChain},
		"low named like high":    {func(c *templates) { c.low.Subject = c.high.Subject }, ErrChain},
		"name constraints": {func(c *templates) {
			c.high.PermittedDNSDomains = []string{"gov.cn"}
		}, ErrMalformed},
		"critical name constraints": {func(c *templates) {
			c.high.PermittedDNSDomains = []string{"gov.cn"}
			c.high.PermittedDNSDomainsCritical = true
		}, ErrMalformed},
		"unknown critical extension": {func(c *templates) {
			c.low.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true,
				Value: []byte{5, 0}}}
		}, ErrMalformed},
		"unknown extension": {func(c *templates) {
			c.low.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := templates{leafTemplate(), caTemplate("low"), caTemplate("high"), caTemplate("root")}
			c.change(&x)
			root := foreignCA(t, x.root, nil)
			high := foreignCA(t, x.high, &root)
			low := foreignCA(t, x.low, &high)
			chain := [][]byte{foreign(t, x.leaf, newKey(t), &low), low.der, high.der, root.der}
			got, err := VerifyChain(chain, [][]byte{root.der}, mid, Agency)
			wantError(t, got, err, c.want)
			if c.want != nil {
				return
			}
			// A verifier may pin an authority in between instead: then the path ends there.
			got, err = VerifyChain(chain[:3], [][]byte{high.der}, mid, Agency)
			wantError(t, got, err, nil)
			got, err = VerifyChain(chain, [][]byte{high.der}, mid, Agency)
			wantError(t, got, err, ErrUnknownRoot)
			for _, bad := range [][][]byte{{chain[0], chain[2], chain[1], chain[3]}, {chain[0], chain[2], chain[3]},
				{chain[0], chain[3]}} {
				got, err = VerifyChain(bad, [][]byte{root.der}, mid, Agency)
				wantError(t, got, err, ErrChain)
			}
		})
	}
}

func setZeroPath(c *x509.Certificate) { c.MaxPathLen = 0; c.MaxPathLenZero = true }

// Names and key identifiers may match without the signature doing so.
func TestForgedIssuer(t *testing.T) {
	root := newRoot(t, 0)
	forger := authority{newKey(t), root.der}
	rootCert, err := Parse(root.der)
	fatalIfErr(t, err)
	template := leafTemplate()
	template.AuthorityKeyId = rootCert.extensions.subjectKeyID
	parent := caTemplate("")
	parent.RawSubject = rootCert.rawSubject
	parent.SubjectKeyId = rootCert.extensions.subjectKeyID
	forgedRoot := authority{forger.key, foreign(t, parent, forger.key, nil)}
	leaf := foreign(t, template, newKey(t), &forgedRoot)
	got, err := VerifyChain([][]byte{leaf, root.der}, [][]byte{root.der}, mid, Agency)
	wantError(t, got, err, ErrSignature)
	got, err = VerifyChain([][]byte{leaf, forgedRoot.der}, [][]byte{root.der}, mid, Agency)
	wantError(t, got, err, ErrUnknownRoot)
}

func TestVerifyRoot(t *testing.T) {
	root := newRoot(t, 0)
	leaf := issue(t, root, Agency, newKey(t))
	selfSigned := foreign(t, leafTemplate(), newKey(t), nil)
	forged := bytes.Clone(root.der)
	forged[len(forged)-1] ^= 1
	for name, c := range map[string]struct {
		der  []byte
		want error
	}{
		"root": {root.der, nil}, "leaf": {leaf, ErrChain}, "self-signed leaf": {selfSigned, ErrNotCA},
		"altered": {forged, ErrSignature}, "empty": {nil, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := VerifyRoot(c.der)
			wantError(t, got, err, c.want)
		})
	}
}

// The caller may reuse its buffers after the call.
func TestParseKeepsNothingOfItsInput(t *testing.T) {
	der := issue(t, newRoot(t, 0), Agency, newKey(t))
	buf := slices.Clone(der)
	c, err := Parse(buf)
	fatalIfErr(t, err)
	clear(buf)
	if !bytes.Equal(c.DER(), der) || c.Code() != agencyCode {
		t.Fatal("changed with the buffer")
	}
	clear(c.DER())
	if !bytes.Equal(c.DER(), der) {
		t.Fatal("DER hands out its own bytes")
	}
}

func BenchmarkParse(b *testing.B) {
	der := issue(b, newRoot(b, 0), Agency, newKey(b))
	for b.Loop() {
		if _, err := Parse(der); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyChain(b *testing.B) {
	root := newRoot(b, 0)
	chain := [][]byte{issue(b, root, Agency, newKey(b)), root.der}
	for b.Loop() {
		if _, err := VerifyChain(chain, [][]byte{root.der}, mid, Agency); err != nil {
			b.Fatal(err)
		}
	}
}
