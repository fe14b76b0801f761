package status

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/canonical"
	"stele/notary/proof/statement"
)

// RevocationType is the value of the first key of a certificate's revocation.
const RevocationType = "stele/certificate-revocation/v1"

// MaxRevocation is the longest revocation of a certificate in bytes.
const MaxRevocation = 1 << 10

// Reasons for which a certificate is revoked: those of RFC 5280 section 5.3.1 that an agency's can have.
const (
	KeyCompromise        = "keyCompromise"
	Superseded           = "superseded"
	CessationOfOperation = "cessationOfOperation"
)

// Reasons lists them.
func Reasons() []string { return []string{KeyCompromise, Superseded, CessationOfOperation} }

// ErrRevocation is wrapped by every error about the form of a certificate's revocation.
var ErrRevocation = errors.New("malformed revocation of a certificate")

// CertificateRevocation is what the root above an agency's certificate says of it, as an entry of the log: what was
// signed with it and not anchored before Since does not count.
type CertificateRevocation struct {
	Certificate sm.Digest // of the certificate's DER
	Agency      string    // credit code
	Reason      string    // one of [Reasons]
	Since       time.Time // UTC, whole seconds, years 2000 to 9999, not after IssuedAt
	IssuedAt    time.Time // the same
}

// Encode returns the bytes that the root signs, or an error that names the first thing out of form.
func (r CertificateRevocation) Encode() ([]byte, error) {
	switch {
	case !notary.ValidUSCC(r.Agency):
		return nil, fmt.Errorf("%w: agency must be a unified social credit code with a valid check character",
			ErrRevocation)
	case !slices.Contains(Reasons(), r.Reason):
		return nil, fmt.Errorf("%w: reason must be one of %q", ErrRevocation, Reasons())
	case !wholeSecond(r.Since) || !wholeSecond(r.IssuedAt) || r.Since.After(r.IssuedAt):
		return nil, fmt.Errorf("%w: since and issuedAt must be UTC in whole seconds, and since not the later one",
			ErrRevocation)
	}
	b := []byte(`{"type":"` + RevocationType + `","certificate":"` + r.Certificate.String() + `","agency":`)
	b = canonical.AppendString(b, r.Agency)
	b = append(b, `,"reason":"`+r.Reason+`","since":"`...)
	b = r.Since.AppendFormat(b, sinceLayout)
	b = append(b, `","issuedAt":"`...)
	b = r.IssuedAt.AppendFormat(b, sinceLayout)
	return append(b, `"}`...), nil
}

func wholeSecond(t time.Time) bool {
	return t.Location() == time.UTC && t.Equal(t.Truncate(time.Second)) && t.Year() >= 2000 && t.Year() <= 9999
}

// ParseCertificateRevocation is the inverse of [CertificateRevocation.Encode] and accepts no other spelling.
func ParseCertificateRevocation(data []byte) (CertificateRevocation, error) {
	var w struct {
		Type        string `json:"type"`
		Certificate string `json:"certificate"`
		Agency      string `json:"agency"`
		Reason      string `json:"reason"`
		Since       string `json:"since"`
		IssuedAt    string `json:"issuedAt"`
	}
	if err := canonical.Decode(data, MaxRevocation, &w); err != nil {
		return CertificateRevocation{}, fmt.Errorf("%w: %v", ErrRevocation, err)
	}
	if w.Type != RevocationType {
		return CertificateRevocation{}, fmt.Errorf("%w: type must be %q", ErrRevocation, RevocationType)
	}
	certificate, err := sm.ParseDigest(w.Certificate)
	since, err2 := time.Parse(sinceLayout, w.Since)
	issued, err3 := time.Parse(sinceLayout, w.IssuedAt)
	if err := errors.Join(err, err2, err3); err != nil {
		return CertificateRevocation{}, fmt.Errorf("%w: certificate, since or issuedAt: %v", ErrRevocation, err)
	}
	r := CertificateRevocation{Certificate: certificate, Agency: w.Agency, Reason: w.Reason, Since: since,
		IssuedAt: issued}
	again, err := r.Encode()
	if err != nil {
		return CertificateRevocation{}, err
	}
	if err := canonical.Check(data, again); err != nil {
		return CertificateRevocation{}, fmt.Errorf("%w: %v", ErrRevocation, err)
	}
	return r, nil
}

// IsRevocation reports whether an entry's statement begins as a certificate's revocation does.
func IsRevocation(text []byte) bool {
	return bytes.HasPrefix(text, []byte(`{"type":"`+RevocationType+`"`))
}

// OfNoRecord reports whether an entry's statement begins as one that belongs to no record and that no agency
// signs: a status statement or a certificate's revocation.
func OfNoRecord(text []byte) bool { return Is(text) || IsRevocation(text) }

// RevocationEntry is the log entry of a revocation. It names the certificate of the root that signed, in DER.
func RevocationEntry(text, signature, root []byte) statement.Entry {
	return statement.Entry{Statement: text, Signature: signature, Certificate: sm.Sum(root)}
}

// VerifyRevocation checks that an entry is the revocation of a certificate that one of these roots signed, which are
// certificates in DER. That it is the root above the certificate is [CertificateRevocation.SignedBy]'s to say.
func VerifyRevocation(e statement.Entry, roots [][]byte) (CertificateRevocation, error) {
	r, err := ParseCertificateRevocation(e.Statement)
	if err != nil {
		return r, err
	}
	for _, der := range roots {
		if sm.Sum(der) == e.Certificate {
			return r, signedBy(e.Statement, e.Signature, der)
		}
	}
	return r, errors.New("the revocation is signed with the key of a root that is not known here")
}

// SignedBy checks that a revocation speaks of the first certificate of a chain, which the root of the chain signed.
func (r CertificateRevocation) SignedBy(text, signature []byte, chain [][]byte) error {
	if len(chain) < 2 || sm.Sum(chain[0]) != r.Certificate {
		return errors.New("the revocation is of another certificate")
	}
	return signedBy(text, signature, chain[len(chain)-1])
}

func signedBy(text, signature, root []byte) error {
	c, err := pki.Parse(root)
	switch {
	case err != nil:
		return fmt.Errorf("the root's certificate: %w", err)
	case !c.PublicKey().Verify(text, signature):
		return errors.New("the root's signature over the revocation does not verify")
	}
	return nil
}

// Judge checks entries of no record: Keys are those of the log with this origin, Roots are certificates in DER.
type Judge struct {
	Origin string
	Keys   []*signednote.Verifier
	Roots  [][]byte
}

// Verify checks that an entry of no record was signed by who may say it.
func (j Judge) Verify(e statement.Entry) error {
	if IsRevocation(e.Statement) {
		_, err := VerifyRevocation(e, j.Roots)
		return err
	}
	_, err := VerifyEntry(e, j.Origin, j.Keys)
	return err
}
