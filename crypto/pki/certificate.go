package pki

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"stele/crypto/sm"
)

// Certificate is a parsed certificate. It is immutable and safe for concurrent use. That it
// parsed says nothing about who issued it: only [VerifyChain] does.
type Certificate struct {
	cert            *smx509.Certificate
	key             *sm.PublicKey
	subject, issuer Name
}

// Parse reads one DER certificate. It is stricter than X.509 libraries are used to be:
// nothing may follow the certificate or hide behind its signature, key and signature have
// one encoding each, and a critical extension that is not understood is refused (RFC 5280
// section 4.2). All errors wrap [ErrMalformed] and contain no text from the certificate.
func Parse(der []byte) (*Certificate, error) {
	c, err := parse(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return c, nil
}

func parse(der []byte) (*Certificate, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(der), MaxSize)
	}
	if err := checkStructure(der); err != nil {
		return nil, err
	}
	// The library keeps slices of its input.
	c, err := smx509.ParseCertificate(bytes.Clone(der))
	if err != nil {
		return nil, errors.New("the certificate's content does not parse")
	}
	key, err := sm.PublicKeyOf(c.PublicKey)
	if err != nil {
		return nil, err
	}
	// The library also reads explicit curve parameters; a key must have one encoding.
	if spki, err := smx509.MarshalPKIXPublicKey(key.ECDSA()); err != nil || !bytes.Equal(spki, c.RawSubjectPublicKeyInfo) {
		return nil, errors.New("the public key must name the SM2 curve and be an uncompressed point")
	}
	if err := checkExtensions(c); err != nil {
		return nil, err
	}
	if c.NotAfter.Before(c.NotBefore) {
		return nil, errors.New("the validity ends before it begins")
	}
	p := &Certificate{cert: c, key: key}
	if p.subject, err = readName(c.Subject.Names); err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	if p.issuer, err = readName(c.Issuer.Names); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	return p, nil
}

// The AlgorithmIdentifier content of SM2-with-SM3 (1.2.156.10197.1.501, GM/T 0006), without
// parameters as OpenSSL and we write it, and with NULL as some Chinese CAs do. Inner and outer
// identifier must be equal, so the choice is covered by the signature.
var (
	sm2WithSM3     = []byte{0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75}
	sm2WithSM3Null = append(bytes.Clone(sm2WithSM3), 0x05, 0x00)
)

// checkStructure walks the fields that the library skims over: it ignores what follows the
// last field of the outer sequence, which no signature covers.
func checkStructure(der []byte) error {
	in := cryptobyte.String(der)
	var cert, tbs, outerAlg, bits cryptobyte.String
	if !in.ReadASN1(&cert, cbasn1.SEQUENCE) || !in.Empty() {
		return errors.New("must be exactly one DER sequence")
	}
	if !cert.ReadASN1(&tbs, cbasn1.SEQUENCE) || !cert.ReadASN1(&outerAlg, cbasn1.SEQUENCE) ||
		!cert.ReadASN1(&bits, cbasn1.BIT_STRING) || !cert.Empty() {
		return errors.New("must have three fields: content, algorithm, signature")
	}
	if len(bits) == 0 || bits[0] != 0 || !sm.CanonicalSignature(bits[1:]) {
		return errors.New("the signature must be the one DER encoding of SEQUENCE{r, s}")
	}
	return checkContent(tbs, outerAlg)
}

// checkContent walks TBSCertificate (RFC 5280 section 4.1) of version 3, without the unique
// identifiers that section 4.1.2.8 forbids.
func checkContent(tbs, outerAlg cryptobyte.String) error {
	var explicit, alg, skip cryptobyte.String
	var version int
	serial := new(big.Int)
	if !tbs.ReadASN1(&explicit, cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!explicit.ReadASN1Integer(&version) || !explicit.Empty() || version != 2 {
		return errors.New("must be version 3")
	}
	// 20 octets is the limit of RFC 5280 section 4.1.2.2.
	if !tbs.ReadASN1Integer(serial) || serial.Sign() <= 0 || serial.BitLen() > 20*8-1 {
		return errors.New("the serial number must be positive and have at most 20 octets")
	}
	if !tbs.ReadASN1(&alg, cbasn1.SEQUENCE) || !bytes.Equal(alg, outerAlg) ||
		(!bytes.Equal(alg, sm2WithSM3) && !bytes.Equal(alg, sm2WithSM3Null)) {
		return errors.New("the signature algorithm must be SM2-with-SM3")
	}
	for _, field := range []string{"issuer", "validity", "subject", "public key"} {
		if !tbs.ReadASN1(&skip, cbasn1.SEQUENCE) {
			return fmt.Errorf("%s: not a sequence", field)
		}
	}
	if !tbs.ReadASN1(&skip, cbasn1.Tag(3).Constructed().ContextSpecific()) || !tbs.Empty() {
		return errors.New("extensions must follow the public key, and nothing after them")
	}
	return nil
}

var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidNameConstraints  = asn1.ObjectIdentifier{2, 5, 29, 30}
)

// checkExtensions refuses what VerifyChain would have to honour and does not: every critical
// extension but the two it evaluates, and name constraints even where a CA forgot to mark
// them critical.
func checkExtensions(c *smx509.Certificate) error {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidNameConstraints) {
			return errors.New("name constraints are not supported")
		}
		if e.Critical && !e.Id.Equal(oidKeyUsage) && !e.Id.Equal(oidBasicConstraints) {
			return fmt.Errorf("critical extension %v is not supported", e.Id)
		}
	}
	return nil
}

// readName takes the attributes that [Name] has and refuses a name that gives two values for
// one of them: two readers could disagree about whose certificate it is.
func readName(attributes []pkix.AttributeTypeAndValue) (Name, error) {
	if len(attributes) == 0 {
		return Name{}, errors.New("the name is empty")
	}
	var n Name
	fields := map[string]*string{
		"2.5.4.6": &n.Country, "2.5.4.8": &n.Province, "2.5.4.7": &n.Locality,
		"2.5.4.10": &n.Organization, "2.5.4.3": &n.CommonName, "2.5.4.5": &n.Code,
	}
	seen := map[string]bool{}
	for _, a := range attributes {
		oid := a.Type.String()
		field, known := fields[oid]
		if !known {
			continue
		}
		value, ok := a.Value.(string)
		if !ok || value == "" || seen[oid] {
			return Name{}, fmt.Errorf("attribute %s must be one non-empty string", oid)
		}
		seen[oid] = true
		*field = value
	}
	return n, nil
}

// validCode reports whether s has the form of a unified social credit code.
func validCode(s string) bool {
	return len(s) == codeLength && strings.Trim(s, codeAlphabet) == ""
}

// Subject returns whom the certificate is about. The text is as trustworthy as the issuer.
func (c *Certificate) Subject() Name { return c.subject }

// Issuer returns who issued it, as the certificate says.
func (c *Certificate) Issuer() Name { return c.issuer }

// Code returns the subject's unified social credit code, or "" if there is none of that form.
func (c *Certificate) Code() string {
	if !validCode(c.subject.Code) {
		return ""
	}
	return c.subject.Code
}

// NotBefore is the first second of validity, in UTC.
func (c *Certificate) NotBefore() time.Time { return c.cert.NotBefore.UTC() }

// NotAfter is the last second of validity, in UTC.
func (c *Certificate) NotAfter() time.Time { return c.cert.NotAfter.UTC() }

// PublicKey returns the subject's key.
func (c *Certificate) PublicKey() *sm.PublicKey { return c.key }

// Fingerprint returns the SM3 digest of the DER: what an entry of the log names a signer by.
func (c *Certificate) Fingerprint() sm.Digest { return sm.Sum(c.cert.Raw) }

// DER returns a copy of the bytes that were parsed.
func (c *Certificate) DER() []byte { return bytes.Clone(c.cert.Raw) }

// SerialNumber returns the serial number as lower-case hexadecimal digits without leading
// zeros; it is unique per issuer.
func (c *Certificate) SerialNumber() string { return c.cert.SerialNumber.Text(16) }

// IsCA reports whether the certificate may issue others.
func (c *Certificate) IsCA() bool {
	return c.cert.BasicConstraintsValid && c.cert.IsCA && c.cert.KeyUsage&smx509.KeyUsageCertSign != 0
}

// Allows reports whether the certificate has the usage and the name that profile asks for.
func (c *Certificate) Allows(profile Profile) bool { return c.checkProfile(profile) == nil }

// selfIssued reports whether subject and issuer are the same name.
func (c *Certificate) selfIssued() bool { return bytes.Equal(c.cert.RawSubject, c.cert.RawIssuer) }
