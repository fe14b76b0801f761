package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/sm"
)

// RootRequest describes a self-signed root.
type RootRequest struct {
	Subject             Name // CommonName and Organization are required
	NotBefore, NotAfter time.Time
	// Intermediates is how many levels of authorities may stand between this root and a
	// signer; 0 for a root that issues agency and notary certificates itself.
	Intermediates int
}

// AuthorityRequest describes the certificate of an authority that stands between a root and signers.
type AuthorityRequest struct {
	Subject             Name      // CommonName and Organization are required
	NotBefore, NotAfter time.Time // within the root's validity; to the second
	PublicKey           *sm.PublicKey
}

// IssueRequest describes the certificate of a signer.
type IssueRequest struct {
	Profile Profile
	// Subject needs an Organization and, for an agency, a Code; the CommonName defaults to
	// the Organization.
	Subject             Name
	NotBefore, NotAfter time.Time // within the issuer's validity; to the second
	PublicKey           *sm.PublicKey
}

var errSelfCheck = errors.New("the new certificate does not hold what it was made for")

// NewRoot makes a self-signed root certificate and returns its DER. The key usage is
// keyCertSign and cRLSign. The result has been checked with [VerifyRoot].
func NewRoot(req RootRequest, key *sm.PrivateKey) ([]byte, error) {
	if key == nil {
		return nil, errors.New("new root: no private key")
	}
	if req.Subject.CommonName == "" || req.Intermediates < 0 || req.Intermediates > MaxChain-2 {
		return nil, fmt.Errorf("new root: want a common name and 0 to %d intermediates", MaxChain-2)
	}
	t, err := template(req.Subject, req.NotBefore, req.NotAfter, key.Public())
	if err != nil {
		return nil, fmt.Errorf("new root: %w", err)
	}
	t.KeyUsage = smx509.KeyUsageCertSign | smx509.KeyUsageCRLSign
	t.BasicConstraintsValid = true
	t.IsCA = true
	t.MaxPathLen = req.Intermediates
	t.MaxPathLenZero = req.Intermediates == 0
	der, err := smx509.CreateCertificate(rand.Reader, t, t, key.Public().ECDSA(), key.SM2())
	if err != nil {
		return nil, fmt.Errorf("new root: %w", err)
	}
	c, err := VerifyRoot(der)
	if err != nil {
		return nil, fmt.Errorf("new root: %w: %w", errSelfCheck, err)
	}
	if c.subject != req.Subject || !c.key.Equal(key.Public()) {
		return nil, fmt.Errorf("new root: %w", errSelfCheck)
	}
	return der, nil
}

// NewAuthority makes the certificate of an authority under a root, which issues certificates of signers and no
// other authorities (path length 0), and returns its DER. It needs an Organization and a CommonName that is not the
// root's. The result has been checked as [Issue]'s is.
func NewAuthority(req AuthorityRequest, root []byte, rootKey *sm.PrivateKey) ([]byte, error) {
	issuer, err := VerifyRoot(root)
	switch {
	case err != nil:
		return nil, fmt.Errorf("new authority: root: %w", err)
	case issuer.extensions.pathLen == 0:
		return nil, fmt.Errorf("new authority: %w: the root allows no authorities below itself", ErrPathTooLong)
	case rootKey == nil || !issuer.key.Equal(rootKey.Public()):
		return nil, errors.New("new authority: the root's private key does not belong to the root certificate")
	case req.PublicKey == nil || req.PublicKey.Equal(issuer.key):
		return nil, errors.New("new authority: a public key is needed that is not the root's")
	case req.Subject.CommonName == "" || req.Subject == issuer.subject:
		return nil, errors.New("new authority: want a common name, and a subject that is not the root's")
	}
	t, err := template(req.Subject, req.NotBefore, req.NotAfter, req.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("new authority: %w", err)
	}
	t.KeyUsage = smx509.KeyUsageCertSign | smx509.KeyUsageCRLSign
	t.BasicConstraintsValid, t.IsCA, t.MaxPathLenZero = true, true, true
	der, err := under(issuer, t, req.PublicKey, rootKey)
	if err != nil {
		return nil, fmt.Errorf("new authority: %w", err)
	}
	c, err := VerifyAuthority(der, root)
	if err == nil && (c.subject != req.Subject || !c.key.Equal(req.PublicKey)) {
		err = errSelfCheck
	}
	if err != nil {
		return nil, fmt.Errorf("new authority: %w", err)
	}
	return der, nil
}

// VerifyAuthority checks that a certificate is that of an authority right under a root, which may issue
// certificates of signers. It does not look at the clock.
func VerifyAuthority(der, root []byte) (*Certificate, error) {
	above, err := VerifyRoot(root)
	if err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	c, err := Parse(der)
	switch {
	case err != nil:
		return nil, err
	case !c.IsCA():
		return nil, ErrNotCA
	}
	return c, c.checkIssuedBy(above, 1)
}

// Issue makes the certificate of an agency or a notary under an authority, which is the first of the chain, the root
// being its last, and returns its DER.
//
// It has no basicConstraints at all: some national implementations refuse the empty sequence
// that stands for "no authority". The result has been checked with [VerifyChain] for the
// first and the last second of its validity.
func Issue(req IssueRequest, chain [][]byte, key *sm.PrivateKey) ([]byte, error) {
	if len(chain) == 0 {
		return nil, errors.New("issue certificate: no authority")
	}
	if _, err := VerifyRoot(chain[len(chain)-1]); err != nil {
		return nil, fmt.Errorf("issue certificate: root: %w", err)
	}
	issuer, err := Parse(chain[0])
	if err != nil {
		return nil, fmt.Errorf("issue certificate: authority: %w", err)
	}
	if err := req.check(issuer, key); err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	if req.Subject.CommonName == "" {
		req.Subject.CommonName = req.Subject.Organization
	}
	t, err := template(req.Subject, req.NotBefore, req.NotAfter, req.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	t.KeyUsage = req.Profile.keyUsage()
	der, err := under(issuer, t, req.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	whole := append([][]byte{der}, chain...)
	for _, at := range []time.Time{t.NotBefore, t.NotAfter} {
		c, err := VerifyChain(whole, chain[len(chain)-1:], at, req.Profile)
		if err != nil {
			return nil, fmt.Errorf("issue certificate: %w: %w", errSelfCheck, err)
		}
		if c.subject != req.Subject || !c.key.Equal(req.PublicKey) {
			return nil, fmt.Errorf("issue certificate: %w", errSelfCheck)
		}
	}
	return der, nil
}

// under signs a certificate, which must not outlive its issuer's.
func under(issuer *Certificate, t *x509.Certificate, of *sm.PublicKey, key *sm.PrivateKey) ([]byte, error) {
	if t.NotBefore.Before(issuer.NotBefore()) || t.NotAfter.After(issuer.NotAfter()) {
		return nil, errors.New("it would be valid when its issuer is not")
	}
	parent := &x509.Certificate{RawSubject: issuer.rawSubject, SubjectKeyId: issuer.extensions.subjectKeyID}
	return smx509.CreateCertificate(rand.Reader, t, parent, of.ECDSA(), key.SM2())
}

func (req *IssueRequest) check(issuer *Certificate, key *sm.PrivateKey) error {
	switch {
	case req.Profile.keyUsage() == 0:
		return fmt.Errorf("unknown %v", req.Profile)
	case key == nil || !issuer.key.Equal(key.Public()):
		return errors.New("the private key does not belong to the issuer's certificate")
	case req.PublicKey == nil:
		return errors.New("no public key")
	case req.PublicKey.Equal(issuer.key):
		return errors.New("a signer must not use the issuer's key")
	case req.Subject.Organization == "":
		return errors.New("no organization name")
	case req.Profile == Agency && req.Subject.Code == "":
		return errors.New("an agency needs its unified social credit code")
	}
	return nil
}

// template fills what all certificates have in common.
func template(subject Name, notBefore, notAfter time.Time, key *sm.PublicKey) (*x509.Certificate, error) {
	if err := subject.check(); err != nil {
		return nil, err
	}
	notBefore, notAfter = notBefore.UTC().Truncate(time.Second), notAfter.UTC().Truncate(time.Second)
	// Before 1950 UTCTime wraps around; after 9999 GeneralizedTime has no digits left.
	if notBefore.Year() < 1950 || notAfter.Year() > 9999 || !notBefore.Before(notAfter) {
		return nil, errors.New("the validity must begin before it ends, between 1950 and 9999")
	}
	var serial [16]byte // 128 random bits: unique without a register
	if _, err := rand.Read(serial[:]); err != nil {
		return nil, fmt.Errorf("serial number: %w", err)
	}
	number := new(big.Int).SetBytes(serial[:])
	if number.Sign() == 0 {
		return nil, errors.New("serial number: the random source returns zeros")
	}
	return &x509.Certificate{
		SerialNumber: number,
		Subject:      subject.pkix(),
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		SubjectKeyId: keyID(key),
	}, nil
}

// keyID is the first 160 bits of the SM3 digest of the point: RFC 7093 section 2 method 1
// with SM3 in place of SHA-256.
func keyID(key *sm.PublicKey) []byte {
	d := sm.Sum(key.Bytes())
	return bytes.Clone(d[:20])
}

// nameLimit is ub-organization-name and ub-common-name of RFC 5280 appendix A.1, in characters.
const nameLimit = 64

// check refuses what would make a name that readers see differently from what is stored.
func (n Name) check() error {
	if n.Organization == "" {
		return errors.New("no organization name")
	}
	if len(n.Country) != 0 && (len(n.Country) != 2 || !upper(n.Country[0]) || !upper(n.Country[1])) {
		return errors.New("the country must be two capital letters")
	}
	if n.Code != "" && !validCode(n.Code) {
		return errors.New("a unified social credit code has 18 digits and capital letters without I, O, S, V and Z")
	}
	for _, s := range []string{n.Province, n.Locality, n.Organization, n.CommonName} {
		if !utf8.ValidString(s) || utf8.RuneCountInString(s) > nameLimit {
			return fmt.Errorf("a name must be valid UTF-8 of at most %d characters", nameLimit)
		}
		for i, r := range s {
			if !unicode.IsPrint(r) || r == ' ' && (i == 0 || i == len(s)-1) {
				return errors.New("a name must be printable and have no space at its ends")
			}
		}
	}
	return nil
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }

func (n Name) pkix() pkix.Name {
	one := func(value string) []string {
		if value == "" {
			return nil
		}
		return []string{value}
	}
	return pkix.Name{
		Country: one(n.Country), Province: one(n.Province), Locality: one(n.Locality),
		Organization: one(n.Organization), CommonName: n.CommonName, SerialNumber: n.Code,
	}
}
