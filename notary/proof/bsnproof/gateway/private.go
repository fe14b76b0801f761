//go:build !js

package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"stele/crypto/sm"
)

// PrivateKey makes macs. It is immutable. Browsers only verify: the libraries that sign would
// add half a megabyte to what they load.
type PrivateKey struct {
	public *PublicKey
	scalar []byte // 32 bytes, big endian
	sm2    *sm.PrivateKey
	r1     *ecdsa.PrivateKey
	k1     *secp256k1.PrivateKey
}

// GenerateKey makes a key. Its y coordinate never begins with a zero byte: old builds of the
// library that gateways use hash such SM2 keys wrongly, and would refuse each of its macs.
func GenerateKey(algorithm Algorithm) (*PrivateKey, error) {
	for {
		scalar := make([]byte, 32)
		if _, err := rand.Read(scalar); err != nil {
			return nil, err
		}
		if _, ok := curves[algorithm]; !ok {
			return nil, fmt.Errorf("%w: unknown algorithm %q", ErrKey, algorithm)
		}
		if k, err := NewPrivateKey(algorithm, scalar); err == nil && k.public.point[33] != 0 {
			return k, nil // an error is a scalar out of range: the next one is in it
		}
	}
}

// NewPrivateKey makes a key of its scalar: 32 bytes, big endian, from 1 to the curve's order
// less 1 (less 2 under SM2).
func NewPrivateKey(algorithm Algorithm, scalar []byte) (*PrivateKey, error) {
	k := &PrivateKey{scalar: scalar}
	var point []byte
	var err error
	switch algorithm {
	case SM2:
		if k.sm2, err = sm.NewPrivateKey(scalar); err == nil {
			point = k.sm2.Public().Bytes()
		}
	case Secp256r1:
		if k.r1, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			point, err = k.r1.PublicKey.Bytes()
		}
	case Secp256k1:
		var s secp256k1.ModNScalar
		if overflow := s.SetByteSlice(scalar); overflow || s.IsZero() {
			return nil, fmt.Errorf("%w: the scalar is out of range", ErrKey)
		}
		k.k1 = secp256k1.NewPrivateKey(&s)
		point = k.k1.PubKey().SerializeUncompressed()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the scalar is out of range", ErrKey)
	}
	k.public, err = publicKey(algorithm, point)
	return k, err
}

// pkcs8 is PrivateKeyInfo of RFC 5958 section 2 around ECPrivateKey of RFC 5915 section 3.
type pkcs8 struct {
	Version   int
	Algorithm algorithmIdentifier
	Key       []byte
}

type ecPrivateKey struct {
	Version int
	Scalar  []byte
	Public  asn1.BitString `asn1:"optional,explicit,tag:1"`
}

// PKCS8 is the key in clear, for package keystore to encrypt.
func (k *PrivateKey) PKCS8() ([]byte, error) {
	p := k.public
	inner, err := asn1.Marshal(ecPrivateKey{1, k.scalar, asn1.BitString{Bytes: p.point, BitLength: 8 * len(p.point)}})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(pkcs8{0, algorithmIdentifier{oidECPublicKey, curves[p.algorithm]}, inner})
}

// ParsePrivateKey reads what [PrivateKey.PKCS8] wrote, or another program's like it. An
// error never quotes what was read.
func ParsePrivateKey(der []byte) (*PrivateKey, error) {
	var outer pkcs8
	var inner struct {
		Version int
		Scalar  []byte
		Curve   asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
		Public  asn1.BitString        `asn1:"optional,explicit,tag:1"`
	}
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("%w: no PKCS#8", ErrKey)
	}
	algorithm, ok := outer.Algorithm.name()
	if rest, err := asn1.Unmarshal(outer.Key, &inner); err != nil || len(rest) != 0 || !ok || len(inner.Scalar) > 32 {
		return nil, fmt.Errorf("%w: no elliptic-curve key on a curve that gateways use", ErrKey)
	}
	return NewPrivateKey(algorithm, new(big.Int).SetBytes(inner.Scalar).FillBytes(make([]byte, 32)))
}

// Public is the public half.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// Sign makes the mac over a string: a DER signature, see [Algorithm]. Under the ECDSA curves the
// same string gets the same mac every time (RFC 6979).
func (k *PrivateKey) Sign(text string) ([]byte, error) {
	if k.sm2 != nil {
		digest := sm.Sum([]byte(text))
		return k.sm2.Sign(digest[:])
	}
	digest := sha256.Sum256([]byte(text))
	if k.k1 != nil {
		return k1ecdsa.Sign(k.k1, digest[:]).Serialize(), nil
	}
	der, err := k.r1.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var sig derSignature
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, err
	}
	if sig.S.Cmp(r1.half) > 0 {
		sig.S.Sub(r1.n, sig.S)
	}
	return asn1.Marshal(sig)
}
