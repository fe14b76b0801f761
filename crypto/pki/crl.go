package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/sm"
)

// MaxRevocationList is the longest certificate revocation list in bytes that is read: some 50,000 certificates.
const MaxRevocationList = 4 << 20

// RevocationList is what a certificate revocation list of version 2 says (RFC 5280 section 5). Times are in whole
// seconds.
type RevocationList struct {
	Number                 uint64 // grows with each list of an issuer (section 5.2.3)
	ThisUpdate, NextUpdate time.Time
	Revoked                []Revoked
}

// Revoked is an entry of a list (RFC 5280 section 5.3).
type Revoked struct {
	Serial string    // as [Certificate.SerialNumber] has it
	At     time.Time // when it was revoked
	Reason string    // keyCompromise, superseded or cessationOfOperation
	Since  time.Time // the invalidity date; not after At
}

// reasonCodes are those of RFC 5280 section 5.3.1 for which an agency's certificate is revoked.
var reasonCodes = map[string]int{"keyCompromise": 1, "superseded": 4, "cessationOfOperation": 5}

// ErrRevocationList is wrapped by every error about a list that was read.
var ErrRevocationList = errors.New("not an acceptable certificate revocation list")

var oidInvalidityDate = asn1.ObjectIdentifier{2, 5, 29, 24}

// SignedList is a list in two signatures of its issuer, both DER.
type SignedList struct {
	// Standard is signed with the usual user id, 1234567812345678 (GM/T 0009), as certificates are.
	Standard []byte
	// NoID is signed with the empty user id. The command "openssl verify -crl_check" can be told the id of
	// certificates and not that of lists, for which it takes the empty one.
	NoID []byte
}

// listIssuer is the authority that signs a list: a root, or one that stands below it.
func listIssuer(der []byte) (*Certificate, error) {
	c, err := Parse(der)
	if err == nil && !c.IsCA() {
		err = ErrNotCA
	}
	if err != nil {
		return nil, fmt.Errorf("the issuer of the list: %w", err)
	}
	return c, nil
}

// NewRevocationList makes a list, signed with the key of an authority, whose certificate is given in DER. The result
// has been checked with [ParseRevocationList].
func NewRevocationList(l RevocationList, authority []byte, key *sm.PrivateKey) (out SignedList, err error) {
	issuer, err := listIssuer(authority)
	if err != nil {
		return out, fmt.Errorf("new revocation list: %w", err)
	}
	if key == nil || !issuer.key.Equal(key.Public()) {
		return out, errors.New("new revocation list: the private key does not belong to the issuer's certificate")
	}
	t := &x509.RevocationList{Number: new(big.Int).SetUint64(l.Number), ThisUpdate: l.ThisUpdate,
		NextUpdate: l.NextUpdate}
	for _, r := range l.Revoked {
		e, err := r.entry()
		if err != nil {
			return out, fmt.Errorf("new revocation list: certificate %s: %w", r.Serial, err)
		}
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, e)
	}
	parent, err := smx509.ParseCertificate(authority)
	if err != nil {
		return out, fmt.Errorf("new revocation list: the issuer: %w", err)
	}
	out.Standard, err = smx509.CreateRevocationList(rand.Reader, t, parent, key.SM2())
	if err != nil {
		return out, fmt.Errorf("new revocation list: %w", err)
	}
	if out.NoID, err = signNoID(out.Standard, key); err != nil {
		return out, fmt.Errorf("new revocation list: %w", err)
	}
	again, err := ParseRevocationList(out, authority)
	if err != nil {
		return out, fmt.Errorf("new revocation list: %w", err)
	}
	if !again.Equal(l) {
		return out, errors.New("new revocation list: it does not hold what it was made for")
	}
	return out, nil
}

// digestNoID is what is signed with the empty user id: SM3(Z ‖ message), with Z of GB/T 32918.2 section 5.5.
func digestNoID(message []byte, key *sm.PublicKey) ([]byte, error) {
	z, err := sm2.CalculateZA(key.ECDSA(), nil)
	d := sm.Sum(z, message)
	return d[:], err
}

// certificateList is RFC 5280 section 5.1.1.
type certificateList struct {
	Content, Algorithm asn1.RawValue
	Signature          asn1.BitString
}

// signNoID signs what a list says anew.
func signNoID(list []byte, key *sm.PrivateKey) ([]byte, error) {
	var parts certificateList
	if _, err := asn1.Unmarshal(list, &parts); err != nil {
		return nil, err
	}
	digest, err := digestNoID(parts.Content.FullBytes, key.Public())
	if err != nil {
		return nil, err
	}
	signature, err := sm2.SignASN1(rand.Reader, key.SM2(), digest, nil)
	if err != nil {
		return nil, err
	}
	parts.Signature = asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	return asn1.Marshal(parts)
}

// Equal reports whether two lists say the same.
func (l RevocationList) Equal(other RevocationList) bool {
	return l.Number == other.Number && l.ThisUpdate.Equal(other.ThisUpdate) && l.NextUpdate.Equal(other.NextUpdate) &&
		slices.EqualFunc(l.Revoked, other.Revoked, Revoked.Equal)
}

// Equal reports whether two entries say the same.
func (r Revoked) Equal(other Revoked) bool {
	return r.Serial == other.Serial && r.At.Equal(other.At) && r.Reason == other.Reason && r.Since.Equal(other.Since)
}

func (r Revoked) entry() (x509.RevocationListEntry, error) {
	serial, ok := new(big.Int).SetString(r.Serial, 16)
	code := reasonCodes[r.Reason]
	if !ok || serial.Sign() <= 0 || code == 0 || r.Since.After(r.At) {
		return x509.RevocationListEntry{}, errors.New("a serial number, one of the three reasons, and an invalidity " +
			"date that is not after the revocation are expected")
	}
	date, err := asn1.MarshalWithParams(r.Since.UTC(), "generalized")
	return x509.RevocationListEntry{SerialNumber: serial, RevocationTime: r.At.UTC(), ReasonCode: code,
		ExtraExtensions: []pkix.Extension{{Id: oidInvalidityDate, Value: date}}}, err
}

// ParseRevocationList reads a list of the form that [NewRevocationList] makes, and checks that the authority's key
// signed it, in both ways. Errors wrap [ErrRevocationList].
func ParseRevocationList(signed SignedList, authority []byte) (RevocationList, error) {
	issuer, err := listIssuer(authority)
	if err != nil {
		return RevocationList{}, err
	}
	l, content, err := parseList(signed.Standard, issuer)
	if err != nil {
		return l, err
	}
	var parts certificateList
	rest, err := asn1.Unmarshal(signed.NoID, &parts)
	digest, err2 := digestNoID(content, issuer.key)
	if err != nil || err2 != nil || len(rest) > 0 || !bytes.Equal(parts.Content.FullBytes, content) ||
		!sm2.VerifyASN1(issuer.key.ECDSA(), digest, parts.Signature.RightAlign()) {
		return l, fmt.Errorf("%w: the one with the empty user id says something else, or its signature does not verify",
			ErrRevocationList)
	}
	return l, nil
}

// parseList reads a list in its standard signature, and returns also what is signed.
func parseList(der []byte, issuer *Certificate) (l RevocationList, content []byte, err error) {
	if len(der) > MaxRevocationList {
		return l, nil, fmt.Errorf("%w: it has more than %d bytes", ErrRevocationList, MaxRevocationList)
	}
	raw, err := smx509.ParseRevocationList(der)
	switch {
	case err != nil:
		return l, nil, fmt.Errorf("%w: it cannot be read", ErrRevocationList)
	case !bytes.Equal(raw.Raw, der):
		return l, nil, fmt.Errorf("%w: something follows it", ErrRevocationList)
	case !bytes.Equal(raw.RawIssuer, issuer.rawSubject) ||
		!bytes.Equal(raw.AuthorityKeyId, issuer.extensions.subjectKeyID):
		return l, nil, fmt.Errorf("%w: it is another issuer's", ErrRevocationList)
	case !issuer.key.Verify(raw.RawTBSRevocationList, raw.Signature):
		return l, nil, fmt.Errorf("%w: the issuer's signature does not verify", ErrRevocationList)
	case raw.Number == nil || !raw.Number.IsUint64() || len(raw.Extensions) != 2 || raw.NextUpdate.IsZero():
		return l, nil, fmt.Errorf("%w: a number, the key identifier, a next update, and nothing else are expected",
			ErrRevocationList)
	}
	l.Number, l.ThisUpdate, l.NextUpdate = raw.Number.Uint64(), raw.ThisUpdate.UTC(), raw.NextUpdate.UTC()
	for _, e := range raw.RevokedCertificateEntries {
		r, err := readRevoked(e)
		if err != nil {
			return l, nil, fmt.Errorf("%w: certificate %x: %w", ErrRevocationList, e.SerialNumber, err)
		}
		l.Revoked = append(l.Revoked, r)
	}
	return l, raw.RawTBSRevocationList, nil
}

func readRevoked(e x509.RevocationListEntry) (Revoked, error) {
	r := Revoked{Serial: e.SerialNumber.Text(16), At: e.RevocationTime.UTC()}
	for reason, code := range reasonCodes {
		if code == e.ReasonCode {
			r.Reason = reason
		}
	}
	for _, x := range e.Extensions {
		if !x.Id.Equal(oidInvalidityDate) {
			continue
		}
		if rest, err := asn1.UnmarshalWithParams(x.Value, &r.Since, "generalized"); err != nil || len(rest) > 0 {
			return r, errors.New("its invalidity date cannot be read")
		}
		r.Since = r.Since.UTC()
	}
	if r.Reason == "" || r.Since.IsZero() || len(e.Extensions) != 2 || e.SerialNumber.Sign() <= 0 {
		return r, errors.New("a reason, an invalidity date, and nothing else are expected")
	}
	return r, nil
}
