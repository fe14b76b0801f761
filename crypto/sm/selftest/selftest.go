// Package selftest shows at the start of a program that its SM2 and SM3 are right:
// known answers of the standards, and a cross-check of the implementation that Stele
// uses (emmansun/gmsm, through crypto/sm) with one that shares no code with it
// (tjfoc/gmsm).
//
// A wrong digest or a wrong signature would be written into evidence that is meant to
// last for decades, so a program whose self-test fails must stop before it opens anything.
// Assembly picked for the processor at hand, a bad memory module and a miscompiled build
// are the causes that a test on the build machine cannot see.
package selftest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"

	tjsm2 "github.com/tjfoc/gmsm/sm2"
	tjsm3 "github.com/tjfoc/gmsm/sm3"

	"stele/crypto/sm"
)

// ErrFailed is in every error of [Run].
var ErrFailed = errors.New("SM2/SM3 self-test failed: do not use this program on this machine")

// Run does all checks, in a few milliseconds. It keeps no state and is safe for
// concurrent use. On an error the program must stop.
func Run() error {
	if err := run(current()); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil
}

// implementation names everything that the checks exercise, so that a test can break one
// function at a time and see that it is found out.
type implementation struct {
	digest func(message []byte) sm.Digest
	stream func(parts ...[]byte) sm.Digest
	newKey func(scalar []byte) (*sm.PrivateKey, error)
	sign   func(key *sm.PrivateKey, message []byte) ([]byte, error)
	verify func(key *sm.PublicKey, message, sig []byte) bool

	otherDigest func(message []byte) sm.Digest
	otherSign   func(key *tjsm2.PrivateKey, message []byte) ([]byte, error)
	otherVerify func(key *tjsm2.PublicKey, message, sig []byte) bool
}

func current() implementation {
	return implementation{
		digest: func(m []byte) sm.Digest { return sm.Sum(m) },
		stream: func(parts ...[]byte) (d sm.Digest) {
			h := sm.NewHash()
			for _, p := range parts {
				h.Write(p)
			}
			h.Sum(d[:0])
			return d
		},
		newKey:      sm.NewPrivateKey,
		sign:        (*sm.PrivateKey).Sign,
		verify:      (*sm.PublicKey).Verify,
		otherDigest: func(m []byte) sm.Digest { return sm.Digest(tjsm3.Sm3Sum(m)) },
		otherSign: func(k *tjsm2.PrivateKey, m []byte) ([]byte, error) {
			return k.Sign(rand.Reader, m, nil)
		},
		otherVerify: (*tjsm2.PublicKey).Verify,
	}
}

func run(im implementation) error {
	for _, check := range []func(implementation) error{checkDigests, checkDigestsAgree, checkVector,
		checkSignaturesAgree} {
		if err := check(im); err != nil {
			return err
		}
	}
	return nil
}

// sm3Vectors are the two examples of GB/T 32905-2016 appendix A and the empty message.
var sm3Vectors = []struct{ message, digest string }{
	{"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"},
	{strings.Repeat("abcd", 16), "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"},
	{"", "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b"},
}

func checkDigests(im implementation) error {
	for _, v := range sm3Vectors {
		m := []byte(v.message)
		if got := im.digest(m).String(); got != v.digest {
			return fmt.Errorf("SM3 of %q is %s, want %s", v.message, got, v.digest)
		}
		if got := im.stream(m).String(); got != v.digest {
			return fmt.Errorf("streamed SM3 of %q is %s, want %s", v.message, got, v.digest)
		}
	}
	return nil
}

// checkDigestsAgree walks over the lengths where padding and the multi-block code paths
// change: 55, 56 and 64 bytes, two blocks, and enough for vectorised message expansion.
func checkDigestsAgree(im implementation) error {
	message := make([]byte, 4097)
	for i := range message {
		message[i] = byte(i*7 + i>>8)
	}
	for _, n := range []int{1, 31, 55, 56, 63, 64, 65, 119, 120, 127, 128, 129, 255, 256, 257, 1000, 4097} {
		m := message[:n]
		want := im.otherDigest(m)
		if got := im.digest(m); got != want {
			return fmt.Errorf("the two implementations disagree on the SM3 of %d bytes: %s and %s", n, got, want)
		}
		if got := im.stream(m[:n/3], m[n/3:n/2], m[n/2:]); got != want {
			return fmt.Errorf("streamed SM3 of %d bytes is %s, want %s", n, got, want)
		}
	}
	return nil
}

// The signature example of GB/T 32918.5-2017 appendix A.2: the curve of the standard, the
// default user id. The key is published there and guards nothing.
const (
	vectorMessage = "message digest"
	vectorScalar  = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"
	vectorPoint   = "04" + "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020" +
		"ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
	vectorSignature = "3046" + "022100" + "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3" +
		"022100" + "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)

// checkVector finds a wrong scalar multiplication, a verification that refuses what is
// right, and (as bad) one that accepts what is wrong.
func checkVector(im implementation) error {
	key, err := im.newKey(mustHex(vectorScalar))
	if err != nil {
		return fmt.Errorf("SM2 key of the standard: %w", err)
	}
	if got := key.Public().Bytes(); !bytes.Equal(got, mustHex(vectorPoint)) {
		return fmt.Errorf("SM2 public key of the standard is %x, want %s", got, vectorPoint)
	}
	pub, other := key.Public(), otherKey()
	message, sig := []byte(vectorMessage), mustHex(vectorSignature)
	altered := append([]byte(nil), sig...)
	altered[20] ^= 1
	for _, v := range []struct {
		name         string
		message, sig []byte
		want         bool
	}{
		{"the signature of the standard", message, sig, true},
		{"the signature of the standard over another message", []byte("message digesu"), sig, false},
		{"an altered signature", message, altered, false},
	} {
		if im.verify(pub, v.message, v.sig) != v.want {
			return fmt.Errorf("SM2 verification of %s is %t, want %t", v.name, !v.want, v.want)
		}
	}
	// One acceptance is enough here: that the second implementation refuses is its own matter.
	if !im.otherVerify(&other.PublicKey, message, sig) {
		return errors.New("SM2: the second implementation refuses the signature of the standard")
	}
	return nil
}

func checkSignaturesAgree(im implementation) error {
	key, err := im.newKey(mustHex(vectorScalar))
	if err != nil {
		return fmt.Errorf("SM2 key of the standard: %w", err)
	}
	other := otherKey()
	message := []byte("Stele self-test: two implementations, one signature scheme")
	ours, err := im.sign(key, message)
	if err != nil {
		return fmt.Errorf("SM2: sign: %w", err)
	}
	if !im.otherVerify(&other.PublicKey, message, ours) {
		return errors.New("SM2: the second implementation refuses our signature")
	}
	theirs, err := im.otherSign(other, message)
	if err != nil {
		return fmt.Errorf("SM2: sign with the second implementation: %w", err)
	}
	if !im.verify(key.Public(), message, theirs) {
		return errors.New("SM2: we refuse the signature of the second implementation")
	}
	return nil
}

// otherKey is the key of the standard for the second implementation. Its point comes from
// the standard, not from the code under test.
func otherKey() *tjsm2.PrivateKey {
	point := mustHex(vectorPoint)
	k := new(tjsm2.PrivateKey)
	k.Curve = tjsm2.P256Sm2()
	k.X = new(big.Int).SetBytes(point[1:33])
	k.Y = new(big.Int).SetBytes(point[33:])
	k.D = new(big.Int).SetBytes(mustHex(vectorScalar))
	return k
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // only constants of this file come here
	}
	return b
}
