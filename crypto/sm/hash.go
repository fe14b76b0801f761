// Package sm is Stele's use of the national algorithms: SM3 digests (GB/T 32905)
// and SM2 signatures (GB/T 32918.2, profile GM/T 0009) on emmansun/gmsm.
//
// It knows no domain words and does no I/O, so that the verifier can be built for
// a browser. The cross-check against a second implementation lives in sm/selftest.
package sm

import (
	"encoding/hex"
	"errors"
	"hash"

	"github.com/emmansun/gmsm/sm3"
)

// DigestSize is the length of an SM3 digest in bytes.
const DigestSize = 32

// Digest is an SM3 digest. The zero value is not the digest of anything known.
type Digest [DigestSize]byte

// NewHash returns a streaming SM3 hash. It is not safe for concurrent use.
func NewHash() hash.Hash { return sm3.New() }

// Sum returns the SM3 digest of the concatenation of parts.
func Sum(parts ...[]byte) Digest {
	if len(parts) == 1 {
		return sm3.Sum(parts[0])
	}
	h := sm3.New()
	for _, p := range parts {
		h.Write(p)
	}
	var d Digest
	h.Sum(d[:0])
	return d
}

// String returns d as 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ErrDigest reports text that is not exactly 64 lower-case hexadecimal digits.
var ErrDigest = errors.New("an SM3 digest must be 64 lower-case hexadecimal digits")

// ParseDigest is the inverse of [Digest.String] and accepts nothing else.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*DigestSize {
		return d, ErrDigest
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return d, ErrDigest
		}
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return d, ErrDigest
	}
	return d, nil
}
