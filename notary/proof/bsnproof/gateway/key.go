package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"stele/crypto/sm"
)

// Algorithm is how macs are made. Each application of BSN has one.
type Algorithm string

// The algorithms. Under SM2 the string is hashed with SM3, and the 32 bytes are the message
// that is signed with the user id of GM/T 0009, which hashes a second time; under the two
// others SHA-256 of the string is signed, with the smaller of the two possible s.
const (
	SM2       Algorithm = "sm2"
	Secp256r1 Algorithm = "secp256r1"
	Secp256k1 Algorithm = "secp256k1"
)

// ErrKey reports a key that is none, or on no curve that gateways use.
var ErrKey = errors.New("no key for a gateway's macs")

// MaxMac is the longest mac in bytes, before base64.
const MaxMac = 72

// PublicKey verifies macs. It is immutable.
type PublicKey struct {
	algorithm Algorithm
	point     []byte // uncompressed
	sm2       *sm.PublicKey
	ecdsa     *point // on the curve of an ECDSA algorithm
}

var (
	oidECPublicKey = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1} // RFC 5480 section 2.1.1
	curves         = map[Algorithm]asn1.ObjectIdentifier{
		SM2:       {1, 2, 156, 10197, 1, 301},  // GM/T 0006
		Secp256r1: {1, 2, 840, 10045, 3, 1, 7}, // RFC 5480 section 2.1.1.1
		Secp256k1: {1, 3, 132, 0, 10},          // SEC 2 section A.2.1
	}
)

// algorithmIdentifier is that of RFC 5480 for a named curve.
type algorithmIdentifier struct {
	Algorithm asn1.ObjectIdentifier
	Curve     asn1.ObjectIdentifier
}

func (a algorithmIdentifier) name() (Algorithm, bool) {
	for name, oid := range curves {
		if a.Algorithm.Equal(oidECPublicKey) && a.Curve.Equal(oid) {
			return name, true
		}
	}
	return "", false
}

type subjectPublicKeyInfo struct {
	Algorithm algorithmIdentifier
	Key       asn1.BitString
}

// ParsePublicKey reads a SubjectPublicKeyInfo (RFC 5280) in its one DER spelling, with an
// uncompressed point. The curve says which algorithm it is for.
func ParsePublicKey(der []byte) (*PublicKey, error) {
	var info subjectPublicKeyInfo
	rest, err := asn1.Unmarshal(der, &info)
	if err != nil || len(rest) != 0 || info.Key.BitLength%8 != 0 {
		return nil, fmt.Errorf("%w: no SubjectPublicKeyInfo", ErrKey)
	}
	algorithm, ok := info.Algorithm.name()
	if !ok {
		return nil, fmt.Errorf("%w: neither on the SM2 curve nor on secp256r1 or secp256k1", ErrKey)
	}
	k, err := publicKey(algorithm, info.Key.Bytes)
	if err == nil && !bytes.Equal(k.DER(), der) {
		err = fmt.Errorf("%w: not in its one DER spelling", ErrKey)
	}
	return k, err
}

// ParsePublicKeyPEM reads a "PUBLIC KEY" block, as the portal hands it out.
func ParsePublicKeyPEM(text []byte) (*PublicKey, error) {
	block, rest := pem.Decode(bytes.TrimSpace(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("%w: one PEM block PUBLIC KEY is expected", ErrKey)
	}
	return ParsePublicKey(block.Bytes)
}

// publicKey takes an uncompressed point and checks that it is on the curve.
func publicKey(algorithm Algorithm, point []byte) (*PublicKey, error) {
	k := &PublicKey{algorithm: algorithm, point: bytes.Clone(point)}
	err := fmt.Errorf("no uncompressed point")
	if len(point) == 65 && point[0] == 4 {
		switch algorithm {
		case SM2:
			k.sm2, err = sm.ParsePublicKey(point)
		case Secp256r1:
			k.ecdsa, err = r1.parse(point)
		case Secp256k1:
			k.ecdsa, err = k1.parse(point)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	return k, nil
}

// Algorithm is the one that the key's curve is for.
func (k *PublicKey) Algorithm() Algorithm { return k.algorithm }

// DER is the key as SubjectPublicKeyInfo.
func (k *PublicKey) DER() []byte {
	der, err := asn1.Marshal(subjectPublicKeyInfo{algorithmIdentifier{oidECPublicKey, curves[k.algorithm]},
		asn1.BitString{Bytes: k.point, BitLength: 8 * len(k.point)}})
	if err != nil {
		panic(err) // fixed shapes always marshal
	}
	return der
}

// PEM is the key as the portal takes it.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.DER()})
}

// Equal reports whether both are the same key.
func (k *PublicKey) Equal(o *PublicKey) bool {
	return k.algorithm == o.algorithm && bytes.Equal(k.point, o.point)
}

// Verify reports whether mac is a DER signature over the string. One encoding is accepted
// and, for the ECDSA curves, one of the two equivalent s: the smaller.
func (k *PublicKey) Verify(text string, mac []byte) bool {
	if len(mac) > MaxMac {
		return false
	}
	switch k.algorithm {
	case SM2:
		digest := sm.Sum([]byte(text))
		return k.sm2.Verify(digest[:], mac)
	case Secp256r1:
		digest := sha256.Sum256([]byte(text))
		sig, ok := parseSignature(mac)
		return ok && r1.verify(*k.ecdsa, digest[:], sig)
	case Secp256k1:
		digest := sha256.Sum256([]byte(text))
		sig, ok := parseSignature(mac)
		return ok && k1.verify(*k.ecdsa, digest[:], sig)
	}
	return false
}

type derSignature struct{ R, S *big.Int }

// parseSignature reads the one DER spelling of a signature.
func parseSignature(der []byte) (sig derSignature, ok bool) {
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil || len(rest) != 0 {
		return sig, false
	}
	again, err := asn1.Marshal(sig)
	return sig, err == nil && bytes.Equal(again, der)
}
