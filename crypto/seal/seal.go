// Package seal encrypts short secrets that lie in a database: SM4-GCM (GB/T 32907, GB/T 36624)
// under a key that is derived, for one purpose, from a private key of the keystore. Whoever
// has the rows but neither key folder nor passphrase has nothing.
package seal

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm4"

	"stele/crypto/sm"
)

// ErrOpen means that a sealed text was changed, belongs to another place, or was sealed under
// another key; GCM does not tell which.
var ErrOpen = errors.New("the sealed text is damaged, or of another place or key")

// Box seals and opens. It is immutable and safe for concurrent use.
type Box struct{ aead cipher.AEAD }

// New derives a box's key from a private key by HKDF (RFC 5869) with SM3. The purpose keeps
// it apart from keys that are derived for anything else; the signatures that the private key
// makes say nothing about it.
func New(key *sm.PrivateKey, purpose string) (*Box, error) {
	scalar := key.SM2().D.FillBytes(make([]byte, 32))
	defer clear(scalar)
	secret, err := hkdf.Key(sm.NewHash, scalar, nil, purpose, sm4.BlockSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key for %s: %w", purpose, err)
	}
	defer clear(secret)
	block, err := sm4.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Box{aead}, nil
}

// Seal encrypts a secret for a place, such as a row's key: in any other place it does not
// open. The nonce of 12 random bytes comes first; a key must not seal more than 2^32 texts
// (NIST SP 800-38D section 8.3).
func (b *Box) Seal(place string, secret []byte) []byte {
	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(secret)+b.aead.Overhead())
	rand.Read(nonce) // never fails: the runtime aborts when the system has no randomness
	return b.aead.Seal(nonce, nonce, secret, []byte(place))
}

// Open returns the secret that was sealed for a place, or [ErrOpen].
func (b *Box) Open(place string, sealed []byte) ([]byte, error) {
	if len(sealed) < b.aead.NonceSize() {
		return nil, ErrOpen
	}
	n := b.aead.NonceSize()
	secret, err := b.aead.Open(nil, sealed[:n], sealed[n:], []byte(place))
	if err != nil {
		return nil, ErrOpen
	}
	return secret, nil
}
