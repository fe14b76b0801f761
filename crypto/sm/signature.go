package sm

import (
	"bytes"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// MaxSignatureSize is the longest DER encoding of an SM2 signature.
const MaxSignatureSize = 72

// splitSignature reads SEQUENCE{r INTEGER, s INTEGER} (GM/T 0009 section 7.3).
func splitSignature(sig []byte) (r, s *big.Int, ok bool) {
	if len(sig) > MaxSignatureSize {
		return nil, nil, false
	}
	in := cryptobyte.String(sig)
	var seq cryptobyte.String
	r, s = new(big.Int), new(big.Int)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1Integer(r) || !seq.ReadASN1Integer(s) || !seq.Empty() {
		return nil, nil, false
	}
	return r, s, true
}

// canonicalSignature reports whether sig is the one encoding of its value: a second
// encoding would give the same statement a second entry hash.
func canonicalSignature(sig []byte) bool {
	r, s, ok := splitSignature(sig)
	if !ok || r.Sign() <= 0 || s.Sign() <= 0 {
		return false
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	out, err := b.Bytes()
	return err == nil && bytes.Equal(out, sig)
}

// CanonicalSignature reports whether sig has the form that [PublicKey.Verify] demands,
// without verifying it.
func CanonicalSignature(sig []byte) bool { return canonicalSignature(sig) }
