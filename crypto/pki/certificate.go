package pki

import (
	"bytes"
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
	raw, content, signature []byte // content is the part that is signed, tag and length included
	serial                  *big.Int
	rawIssuer, rawSubject   []byte
	issuer, subject         Name
	notBefore, notAfter     time.Time
	key                     *sm.PublicKey
	extensions              extensions
}

// Parse reads one DER certificate of the profile in docs/formats.md section 7. It walks every
// field itself, because certificate libraries differ in what they forgive, and a certificate
// must not be good for one program and bad for another: nothing may follow the certificate or
// hide behind its signature, whatever is looked at has one encoding (X.690 section 10 and 11),
// and a critical extension that is not understood is refused (RFC 5280 section 4.2). All
// errors wrap [ErrMalformed] and contain no text from the certificate.
func Parse(der []byte) (*Certificate, error) {
	c, err := parse(bytes.Clone(der)) // the certificate keeps slices of what it read
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return c, nil
}

func parse(der []byte) (*Certificate, error) {
	if len(der) > MaxSize {
		return nil, fmt.Errorf("%d bytes, the limit is %d", len(der), MaxSize)
	}
	in := cryptobyte.String(der)
	var cert, tbs, alg, bits cryptobyte.String
	if !in.ReadASN1(&cert, cbasn1.SEQUENCE) || !in.Empty() {
		return nil, errors.New("must be exactly one DER sequence")
	}
	if !cert.ReadASN1Element(&tbs, cbasn1.SEQUENCE) || !cert.ReadASN1(&alg, cbasn1.SEQUENCE) ||
		!cert.ReadASN1(&bits, cbasn1.BIT_STRING) || !cert.Empty() {
		return nil, errors.New("must have three fields: content, algorithm, signature")
	}
	if len(bits) == 0 || bits[0] != 0 || !sm.CanonicalSignature(bits[1:]) {
		return nil, errors.New("the signature must be the one DER encoding of SEQUENCE{r, s}")
	}
	c := &Certificate{raw: der, content: tbs, signature: bits[1:]}
	if err := c.readContent(tbs, alg); err != nil {
		return nil, err
	}
	return c, nil
}

// The AlgorithmIdentifier content of SM2-with-SM3 (1.2.156.10197.1.501, GM/T 0006), without
// parameters as OpenSSL and we write it, and with NULL as some Chinese CAs do. Inner and outer
// identifier must be equal, so the choice is covered by the signature.
var (
	sm2WithSM3     = []byte{0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75}
	sm2WithSM3Null = append(bytes.Clone(sm2WithSM3), 0x05, 0x00)
)

// readContent walks TBSCertificate (RFC 5280 section 4.1) of version 3, without the unique
// identifiers that section 4.1.2.8 forbids.
func (c *Certificate) readContent(element, outerAlg cryptobyte.String) error {
	var tbs, explicit, alg, issuer, validity, subject, key cryptobyte.String
	var version int64
	c.serial = new(big.Int)
	if !element.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1(&explicit, cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!explicit.ReadASN1Integer(&version) || !explicit.Empty() || version != 2 {
		return errors.New("must be version 3")
	}
	// 20 octets is the limit of RFC 5280 section 4.1.2.2.
	if !tbs.ReadASN1Integer(c.serial) || c.serial.Sign() <= 0 || c.serial.BitLen() > 20*8-1 {
		return errors.New("the serial number must be positive and have at most 20 octets")
	}
	if !tbs.ReadASN1(&alg, cbasn1.SEQUENCE) || !bytes.Equal(alg, outerAlg) ||
		(!bytes.Equal(alg, sm2WithSM3) && !bytes.Equal(alg, sm2WithSM3Null)) {
		return errors.New("the signature algorithm must be SM2-with-SM3")
	}
	if !tbs.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !tbs.ReadASN1(&validity, cbasn1.SEQUENCE) ||
		!tbs.ReadASN1Element(&subject, cbasn1.SEQUENCE) || !tbs.ReadASN1Element(&key, cbasn1.SEQUENCE) {
		return errors.New("issuer, validity, subject and public key must be sequences")
	}
	if !tbs.ReadASN1(&explicit, cbasn1.Tag(3).Constructed().ContextSpecific()) || !tbs.Empty() {
		return errors.New("extensions must follow the public key, and nothing after them")
	}
	c.rawIssuer, c.rawSubject = issuer, subject
	if err := c.readNames(issuer, subject); err != nil {
		return err
	}
	if err := c.readValidity(validity); err != nil {
		return err
	}
	if err := c.readKey(key); err != nil {
		return err
	}
	var err error
	c.extensions, err = readExtensions(explicit)
	return err
}

func (c *Certificate) readNames(issuer, subject cryptobyte.String) (err error) {
	var rdns cryptobyte.String
	issuer.ReadASN1(&rdns, cbasn1.SEQUENCE) // both have been read as sequences
	if c.issuer, err = readName(rdns); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	subject.ReadASN1(&rdns, cbasn1.SEQUENCE)
	if c.subject, err = readName(rdns); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	return nil
}

// readValidity reads RFC 5280 section 4.1.2.5.
func (c *Certificate) readValidity(validity cryptobyte.String) error {
	var ok [2]bool
	c.notBefore, ok[0] = readTime(&validity)
	c.notAfter, ok[1] = readTime(&validity)
	switch {
	case !ok[0] || !ok[1] || !validity.Empty():
		return errors.New("the validity must be two times to the second in UTC, of the years 1950 to 9999")
	case c.notAfter.Before(c.notBefore):
		return errors.New("the validity ends before it begins")
	}
	return nil
}

// readTime reads a UTCTime of the years 1950 to 2049 or a GeneralizedTime, in the forms of
// RFC 5280 section 4.1.2.5. Writers must use the former up to 2049; readers take either, since
// both can be read in one way only.
func readTime(in *cryptobyte.String) (time.Time, bool) {
	var value cryptobyte.String
	var tag cbasn1.Tag
	if !in.ReadAnyASN1(&value, &tag) || tag != cbasn1.UTCTime && tag != cbasn1.GeneralizedTime {
		return time.Time{}, false
	}
	text := string(value)
	switch {
	case tag == cbasn1.UTCTime && text < "50":
		text = "20" + text
	case tag == cbasn1.UTCTime:
		text = "19" + text
	}
	const layout = "20060102150405Z"
	t, err := time.Parse(layout, text)
	// Written again it must be the same: the standard library is generous with fractions.
	return t, err == nil && t.Format(layout) == text && t.Year() >= 1950
}

// spkiPrefix is a SubjectPublicKeyInfo on the SM2 curve up to its point: a key has one
// encoding, named curve and uncompressed point.
var spkiPrefix = []byte{
	0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d, 0x03, 0x42, 0x00,
}

func (c *Certificate) readKey(spki []byte) error {
	point, ok := bytes.CutPrefix(spki, spkiPrefix)
	if !ok {
		return errors.New("the public key must name the SM2 curve and be an uncompressed point")
	}
	var err error
	c.key, err = sm.ParsePublicKey(point)
	return err
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
func (c *Certificate) NotBefore() time.Time { return c.notBefore }

// NotAfter is the last second of validity, in UTC.
func (c *Certificate) NotAfter() time.Time { return c.notAfter }

// PublicKey returns the subject's key.
func (c *Certificate) PublicKey() *sm.PublicKey { return c.key }

// Fingerprint returns the SM3 digest of the DER: what an entry of the log names a signer by.
func (c *Certificate) Fingerprint() sm.Digest { return sm.Sum(c.raw) }

// DER returns a copy of the bytes that were parsed.
func (c *Certificate) DER() []byte { return bytes.Clone(c.raw) }

// SerialNumber returns the serial number as lower-case hexadecimal digits without leading
// zeros; it is unique per issuer.
func (c *Certificate) SerialNumber() string { return c.serial.Text(16) }

// IsCA reports whether the certificate may issue others.
func (c *Certificate) IsCA() bool {
	return c.extensions.authority && c.extensions.usage&smx509.KeyUsageCertSign != 0
}

// Allows reports whether the certificate has the usage and the name that profile asks for.
func (c *Certificate) Allows(profile Profile) bool { return c.checkProfile(profile) == nil }

// selfIssued reports whether subject and issuer are the same name.
func (c *Certificate) selfIssued() bool { return bytes.Equal(c.rawSubject, c.rawIssuer) }
