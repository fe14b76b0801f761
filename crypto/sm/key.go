package sm

import (
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
)

// UserID is the default SM2 user identity of GM/T 0009 section 10. It enters every
// signature of Stele and is written into every proof.
const UserID = "1234567812345678"

// PublicKeySize is the length of an uncompressed SM2 point: 0x04, X, Y.
const PublicKeySize = 65

// ErrPublicKey reports bytes that are no uncompressed point on the SM2 curve.
var ErrPublicKey = errors.New("an SM2 public key must be a 65-byte uncompressed point on the curve")

// PublicKey verifies SM2 signatures. It is immutable and safe for concurrent use;
// the zero value verifies nothing.
type PublicKey struct {
	key   *ecdsa.PublicKey
	point [PublicKeySize]byte
	za    [DigestSize]byte // Z_A of GB/T 32918.2 section 5.5 for UserID
}

// ParsePublicKey reads an uncompressed SM2 point and checks that it is on the curve.
func ParsePublicKey(point []byte) (*PublicKey, error) {
	if len(point) != PublicKeySize || point[0] != 4 {
		return nil, ErrPublicKey
	}
	k, err := sm2.NewPublicKey(point)
	if err != nil {
		return nil, ErrPublicKey
	}
	return newPublicKey(k)
}

// PublicKeyOf wraps a key as it comes out of a certificate. It fails for keys on other curves.
func PublicKeyOf(k any) (*PublicKey, error) {
	e, ok := k.(*ecdsa.PublicKey)
	if !ok || !sm2.IsSM2PublicKey(e) {
		return nil, ErrPublicKey
	}
	return newPublicKey(e)
}

func newPublicKey(k *ecdsa.PublicKey) (*PublicKey, error) {
	p := &PublicKey{key: k}
	p.point[0] = 4
	// The standard library's encoder knows NIST's curves only, not this one.
	k.X.FillBytes(p.point[1:33]) //lint:ignore SA1019 see above
	k.Y.FillBytes(p.point[33:])  //lint:ignore SA1019 see above
	za, err := sm2.CalculateZA(k, []byte(UserID))
	if err != nil {
		return nil, ErrPublicKey
	}
	copy(p.za[:], za)
	return p, nil
}

// Bytes returns the 65-byte uncompressed point.
func (p *PublicKey) Bytes() []byte { return append([]byte(nil), p.point[:]...) }

// ECDSA returns the key in the form that certificate libraries take.
func (p *PublicKey) ECDSA() *ecdsa.PublicKey { return p.key }

// Equal reports whether both keys are the same point.
func (p *PublicKey) Equal(q *PublicKey) bool {
	return p != nil && q != nil && p.point == q.point
}

// MessageDigest is e = SM3(Z_A ‖ M), GB/T 32918.2 section 6.1 steps A1 and A2: what a key
// device signs that is given a digest instead of the message.
func (p *PublicKey) MessageDigest(message []byte) Digest { return Sum(p.za[:], message) }

// Verify reports whether sig is a valid SM2 signature over message under [UserID].
// Only the one minimal DER encoding of SEQUENCE{r, s} is accepted.
func (p *PublicKey) Verify(message, sig []byte) bool {
	if p == nil || p.key == nil || !canonicalSignature(sig) {
		return false
	}
	e := p.MessageDigest(message)
	return sm2.VerifyASN1(p.key, e[:], sig)
}

// PrivateKey signs. It is safe for concurrent use.
type PrivateKey struct {
	key *sm2.PrivateKey
	pub *PublicKey
}

// GenerateKey makes a key from the system's random source.
func GenerateKey() (*PrivateKey, error) {
	k, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate SM2 key: %w", err)
	}
	return PrivateKeyOf(k)
}

// NewPrivateKey takes a 32-byte big-endian scalar in [1, n-2].
func NewPrivateKey(scalar []byte) (*PrivateKey, error) {
	k, err := sm2.NewPrivateKey(scalar)
	if err != nil {
		return nil, fmt.Errorf("SM2 private key: %w", err)
	}
	return PrivateKeyOf(k)
}

// PrivateKeyOf wraps a key as it comes out of PKCS#8.
func PrivateKeyOf(k *sm2.PrivateKey) (*PrivateKey, error) {
	pub, err := newPublicKey(&k.PublicKey)
	if err != nil {
		return nil, err
	}
	// The public half of a stored key is not trusted: a wrong one would make every signature useless.
	check, err := sm2.NewPrivateKeyFromInt(k.D)
	if err != nil || !check.PublicKey.Equal(&k.PublicKey) {
		return nil, errors.New("SM2 private key: its public half does not belong to it")
	}
	return &PrivateKey{key: k, pub: pub}, nil
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return k.pub }

// SM2 returns the key in the form that certificate and PKCS#8 libraries take.
func (k *PrivateKey) SM2() *sm2.PrivateKey { return k.key }

// ErrSelfVerify means that a fresh signature did not verify: broken memory, a broken
// key device or a bug. The caller must stop; nothing of the signature may leave.
var ErrSelfVerify = errors.New("SM2: own signature does not verify")

// Sign signs message under [UserID] (GB/T 32918.2 section 6.1) and checks the signature
// before it returns it. The result is minimal DER, 70 to 72 bytes as a rule.
//
// The check uses the private scalar: [s]G + [r+s]P equals [s + (r+s)d]G, one fixed-base
// multiplication in place of a variable-base one, about a third of the time. It catches
// what the full verification would (a wrong r, s, nonce or encoding); that P = [d]G was
// established when the key was loaded.
func (k *PrivateKey) Sign(message []byte) ([]byte, error) {
	e := k.pub.MessageDigest(message)
	sig, err := sm2.SignASN1(rand.Reader, k.key, e[:], nil)
	if err != nil {
		return nil, fmt.Errorf("SM2 sign: %w", err)
	}
	if !k.selfVerify(e, sig) {
		return nil, ErrSelfVerify
	}
	return sig, nil
}

func (k *PrivateKey) selfVerify(e Digest, sig []byte) bool {
	r, s, ok := splitSignature(sig)
	if !ok {
		return false
	}
	curve := sm2.P256()
	n := curve.Params().N
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(n) >= 0 || s.Cmp(n) >= 0 {
		return false
	}
	t := new(big.Int).Add(r, s)
	t.Mod(t, n)
	if t.Sign() == 0 {
		return false
	}
	t.Mul(t, k.key.D)
	t.Add(t, s)
	t.Mod(t, n)
	var scalar [32]byte
	//lint:ignore SA1019 the library's only way to multiply the base point by a given scalar
	x, _ := curve.ScalarBaseMult(t.FillBytes(scalar[:]))
	x.Add(x, new(big.Int).SetBytes(e[:]))
	x.Mod(x, n)
	return x.Cmp(r) == 0
}
