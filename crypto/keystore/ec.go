package keystore

import (
	"bytes"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ecKey is an elliptic-curve key on a curve that this package does not calculate with: it
// keeps the bytes, and whoever uses the key checks that they are one.
type ecKey struct{ der, point []byte }

func (k ecKey) algorithm() string      { return "ec" }
func (k ecKey) public() []byte         { return k.point }
func (k ecKey) pkcs8() ([]byte, error) { return bytes.Clone(k.der), nil }

// oidSM2Curve is that of the one curve that this package does calculate with (GM/T 0006).
var oidSM2Curve = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}

// parseEC reads the frame of a PKCS#8 elliptic-curve key with its public half (RFC 5958,
// RFC 5915, RFC 5480), of another curve than SM2's. The result is independent of der, which
// callers wipe.
func parseEC(der []byte) (ecKey, bool) {
	in := cryptobyte.String(der)
	var info, algorithm cryptobyte.String
	var kind, curve asn1.ObjectIdentifier
	if !in.ReadASN1(&info, cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.INTEGER) ||
		!info.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&kind) || !algorithm.ReadASN1ObjectIdentifier(&curve) ||
		curve.Equal(oidSM2Curve) {
		return ecKey{}, false
	}
	point, ok := ecPoint(der)
	return ecKey{bytes.Clone(der), bytes.Clone(point)}, ok
}

// ecPoint returns the public half that stands in a PKCS#8 elliptic-curve key.
func ecPoint(der []byte) (point []byte, ok bool) {
	attributes, curve, public := contextTag(0), contextTag(0), contextTag(1)
	in := cryptobyte.String(der)
	var info, octets, fields, bits, skip cryptobyte.String
	ok = in.ReadASN1(&info, cbasn1.SEQUENCE) && in.Empty() && // PrivateKeyInfo
		info.ReadASN1(&skip, cbasn1.INTEGER) && info.ReadASN1(&skip, cbasn1.SEQUENCE) &&
		info.ReadASN1(&octets, cbasn1.OCTET_STRING) && info.SkipOptionalASN1(attributes) && info.Empty() &&
		octets.ReadASN1(&fields, cbasn1.SEQUENCE) && octets.Empty() && // ECPrivateKey
		fields.ReadASN1(&skip, cbasn1.INTEGER) && fields.ReadASN1(&skip, cbasn1.OCTET_STRING) &&
		fields.SkipOptionalASN1(curve) && fields.ReadASN1(&bits, public) && fields.Empty() &&
		bits.ReadASN1BitStringAsBytes(&point) && bits.Empty()
	return point, ok
}

// CreateEC is [Create] for an elliptic-curve key of any curve, as PKCS#8 with its public
// half: what another system demands that does not speak SM2.
func CreateEC(path string, pkcs8 []byte, passphrase Secret) error {
	key, err := parsePKCS8(pkcs8)
	if err != nil {
		return fmt.Errorf("create key %s: %w", path, err)
	}
	return create(path, key, passphrase, Iterations)
}

// LoadEC is [Load] for a key of [CreateEC]. The caller checks that scalar and curve are sound.
func LoadEC(path string, passphrase Secret) (pkcs8 []byte, err error) {
	key, err := load(path, passphrase)
	if err != nil {
		return nil, err
	}
	if _, ok := key.(ed25519Key); ok {
		return nil, fmt.Errorf("load key %s: %w: want an elliptic-curve key, found %s", path, ErrKeyType,
			key.algorithm())
	}
	return key.pkcs8()
}
