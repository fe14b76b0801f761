package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/smx509"

	"stele/crypto/sm"
)

// maxRequest bounds a certificate request in bytes; a usual one has about 400.
const maxRequest = 16 << 10

// ErrRequest means that a certificate request was refused.
var ErrRequest = errors.New("certificate request refused")

// NewRequest makes a certificate request (PEM) for a key, which it is signed with.
func NewRequest(subject Name, key *sm.PrivateKey) ([]byte, error) {
	if err := subject.check(); err != nil {
		return nil, fmt.Errorf("new certificate request: %w", err)
	}
	der, err := smx509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject.pkix()},
		key.SM2())
	if err != nil {
		return nil, fmt.Errorf("new certificate request: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	if _, err := ParseRequest(text); err != nil {
		return nil, fmt.Errorf("new certificate request: %w: %w", errSelfCheck, err)
	}
	return text, nil
}

// ParseRequest returns the public key of a certificate request (PKCS #10, RFC 2986; PEM or
// DER) that is signed with its own SM2 key, which shows that whoever made it holds the key.
// Nothing else of it is used: names are decided by whoever issues.
func ParseRequest(data []byte) (*sm.PublicKey, error) {
	if len(data) > maxRequest {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrRequest, maxRequest)
	}
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" || len(block.Headers) > 0 {
			return nil, fmt.Errorf("%w: it is no CERTIFICATE REQUEST but another kind of PEM", ErrRequest)
		}
		if other, _ := pem.Decode(rest); other != nil {
			return nil, fmt.Errorf("%w: there is more than one", ErrRequest)
		}
		data = block.Bytes
	}
	r, err := smx509.ParseCertificateRequest(data)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be read", ErrRequest)
	}
	key, err := sm.PublicKeyOf(r.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: its key is no SM2 key", ErrRequest)
	}
	// The library's check takes the usual user id too; ours also demands the one encoding.
	if !key.Verify(r.RawTBSCertificateRequest, r.Signature) {
		return nil, fmt.Errorf("%w: it is not signed with its own key (SM2 with SM3 and user id 1234567812345678)",
			ErrRequest)
	}
	return key, nil
}
