package prooftest

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/pki"
	"stele/crypto/sm"
	"stele/notary"
)

// Authority is whoever signs certificates.
type Authority struct {
	Key Key
	DER []byte
}

// Validity of the certificates of a world.
var (
	RootNotBefore   = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	RootNotAfter    = time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC)
	AgencyNotBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	AgencyNotAfter  = time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)
)

// RootTemplate is a root as [pki.NewRoot] makes it; intermediates is how many levels of
// authorities may stand below it, -1 for no limit.
func RootTemplate(name string, intermediates int) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{Country: []string{"CN"}, Organization: []string{name}, CommonName: name + " G1"},
		NotBefore: RootNotBefore, NotAfter: RootNotAfter,
		KeyUsage:              smx509.KeyUsageCertSign | smx509.KeyUsageCRLSign,
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: intermediates, MaxPathLenZero: intermediates == 0,
	}
}

// AgencyTemplate is an agency's certificate as [pki.Issue] makes it.
func AgencyTemplate(code, name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{Country: []string{"CN"}, Organization: []string{name}, CommonName: name,
			SerialNumber: code},
		NotBefore: AgencyNotBefore, NotAfter: AgencyNotAfter,
		KeyUsage: smx509.KeyUsageDigitalSignature | smx509.KeyUsageContentCommitment,
	}
}

// Certify signs a template as it is, without any of pki's rules, so that tests can have bad
// certificates too. A nil issuer makes it self-signed. Serial number and key identifier
// follow from the key.
func Certify(template *x509.Certificate, subject Key, issuer *Authority) []byte {
	id := sm.Sum(subject.Public().Bytes())
	t := *template
	if t.SerialNumber == nil {
		t.SerialNumber = new(big.Int).SetBytes(id[:16])
	}
	t.SubjectKeyId = id[:20]
	parent, signer := &t, subject
	if issuer != nil {
		p, err := smx509.ParseCertificate(issuer.DER)
		must(err)
		parent, signer = p.ToX509(), issuer.Key
	}
	// The random source is not used: see certificateSigner.
	der, err := smx509.CreateCertificate(rand.Reader, &t, parent, subject.Public().ECDSA(), certificateSigner{signer})
	must(err)
	return der
}

func newRoot(label, name string, intermediates int) Authority {
	a := Authority{Key: NewKey(label)}
	a.DER = Certify(RootTemplate(name, intermediates), a.Key, nil)
	_, err := pki.VerifyRoot(a.DER)
	must(err)
	return a
}

// USCC completes 17 characters to a unified social credit code.
func USCC(body string) string {
	for _, c := range "0123456789ABCDEFGHJKLMNPQRTUWXY" {
		if code := body + string(c); notary.ValidUSCC(code) {
			return code
		}
	}
	panic("prooftest: no unified social credit code begins with " + body)
}
