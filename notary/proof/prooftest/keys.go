package prooftest

import (
	"crypto"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"stele/crypto/sm"
)

// Key is an SM2 key that is derived from a label and signs a message with the same bytes
// every time. Whoever knows the label knows the key: it is for tests only.
type Key struct {
	*sm.PrivateKey
	scalar *big.Int
}

// NewKey derives a key from a label.
func NewKey(label string) Key {
	n := sm2.P256().Params().N
	limit := new(big.Int).Sub(n, big.NewInt(2)) // scalars are 1 to n-2
	d := sm.Sum([]byte("stele prooftest key\n"), []byte(label))
	scalar := new(big.Int).SetBytes(d[:])
	scalar.Mod(scalar, limit).Add(scalar, big.NewInt(1))
	var b [32]byte
	k, err := sm.NewPrivateKey(scalar.FillBytes(b[:]))
	must(err)
	return Key{PrivateKey: k, scalar: scalar}
}

// Sign signs under the user id of GM/T 0009. It shadows the randomized signature of
// [sm.PrivateKey] so that vectors come out the same whenever they are made again.
func (k Key) Sign(message []byte) []byte {
	sig := k.SignAs(sm.UserID, message)
	if !k.Public().Verify(message, sig) {
		panic("prooftest: own signature does not verify")
	}
	return sig
}

// SignAs signs under any user id: SM2 of GB/T 32918.2 section 6.1 with a nonce that is
// derived from key and message (the idea of RFC 6979, not its construction).
func (k Key) SignAs(userID string, message []byte) []byte {
	za, err := sm2.CalculateZA(k.Public().ECDSA(), []byte(userID))
	must(err)
	digest := sm.Sum(za, message)
	e := new(big.Int).SetBytes(digest[:])
	n := sm2.P256().Params().N
	for counter := uint32(0); ; counter++ {
		nonce := sm.Sum([]byte("stele prooftest nonce\n"), k.scalar.Bytes(), digest[:],
			binary.BigEndian.AppendUint32(nil, counter))
		t := new(big.Int).SetBytes(nonce[:])
		t.Mod(t, n)
		point, err := sm.NewPrivateKey(t.FillBytes(make([]byte, 32)))
		if err != nil {
			continue // zero or n-1
		}
		r := new(big.Int).SetBytes(point.Public().Bytes()[1:33])
		r.Add(r, e).Mod(r, n)
		if r.Sign() == 0 || new(big.Int).Add(r, t).Cmp(n) == 0 {
			continue
		}
		// s = (1+d)^-1 (t - r d)
		s := new(big.Int).Mul(r, k.scalar)
		s.Sub(t, s)
		s.Mul(s, new(big.Int).ModInverse(new(big.Int).Add(k.scalar, big.NewInt(1)), n))
		s.Mod(s, n)
		if s.Sign() != 0 {
			return derSignature(r, s)
		}
	}
}

func derSignature(r, s *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	return b.BytesOrPanic()
}

// certificateSigner lets the certificate library sign with a [Key].
type certificateSigner struct{ key Key }

var _ crypto.Signer = certificateSigner{}

func (s certificateSigner) Public() crypto.PublicKey { return s.key.Public().ECDSA() }

// Sign gets the whole content, not a digest: the library leaves Z_A to the signer.
func (s certificateSigner) Sign(_ io.Reader, content []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(content), nil
}

// newConsensusKey derives an Ed25519 key from a label.
func newConsensusKey(label string) ed25519.PrivateKey {
	seed := sm.Sum([]byte("stele prooftest consensus key\n"), []byte(label))
	return ed25519.NewKeyFromSeed(seed[:])
}

// must panics: nothing in this package can fail but by a mistake in it.
func must(err error) {
	if err != nil {
		panic("prooftest: " + err.Error())
	}
}
