package keystore

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/emmansun/gmsm/pkcs"
)

var (
	oidPBKDF2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}     // RFC 8018 appendix A.2
	oidScrypt    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}  // RFC 7914 section 7
	oidAES256CBC = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42} // RFC 3565
	oidSM4CBC    = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 104, 2}     // GM/T 0006
	oidHMACSHA2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}         // hmacWithSHA256
	oidHMACSHA5  = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}        // hmacWithSHA512
	oidHMACSM3   = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 401, 2}     // GM/T 0006
)

const (
	// cbcBlock is the block and vector length in bytes of AES and SM4.
	cbcBlock = 16
	// maxIterations bounds PBKDF2: twenty times ours, some two seconds.
	maxIterations = 12_000_000
	// maxScryptMemory in bytes is OpenSSL's own bound, maxScryptLanes a second's work.
	maxScryptMemory = 32 << 20
	maxScryptLanes  = 16
)

// checkCost admits the encryptions named in the package comment, with parameters that can be
// worked off. The library would panic at a vector of the wrong length and run for as long as
// a damaged iteration count says.
func (e *envelope) checkCost() error {
	if !pkcs.IsPBES2(e.info.Algorithm) {
		return fmt.Errorf("%w: want PBES2", ErrUnsupported)
	}
	if rest, err := asn1.Unmarshal(e.info.Algorithm.Parameters.FullBytes, &e.params); err != nil || len(rest) != 0 {
		return fmt.Errorf("%w: PBES2 parameters", ErrDamaged)
	}
	scheme := e.params.EncryptionScheme
	if !scheme.Algorithm.Equal(oidAES256CBC) && !scheme.Algorithm.Equal(oidSM4CBC) {
		return fmt.Errorf("%w: want AES-256-CBC or SM4-CBC", ErrUnsupported)
	}
	var iv []byte
	if rest, err := asn1.Unmarshal(scheme.Parameters.FullBytes, &iv); err != nil || len(rest) != 0 ||
		len(iv) != cbcBlock {
		return fmt.Errorf("%w: initialization vector", ErrDamaged)
	}
	if len(e.info.Data) == 0 || len(e.info.Data)%cbcBlock != 0 {
		return fmt.Errorf("%w: the encrypted part is not whole", ErrDamaged)
	}
	switch kdf := e.params.KeyDerivationFunc; {
	case kdf.Algorithm.Equal(oidPBKDF2):
		return checkPBKDF2(kdf.Parameters.FullBytes)
	case kdf.Algorithm.Equal(oidScrypt):
		return checkScrypt(kdf.Parameters.FullBytes)
	}
	return fmt.Errorf("%w: want PBKDF2 or scrypt", ErrUnsupported)
}

// pbkdf2Params is PBKDF2-params of RFC 8018 appendix A.2 with the salt given.
type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"` // absent: SHA-1, refused
}

func checkPBKDF2(der []byte) error {
	var p pbkdf2Params
	if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) != 0 {
		return fmt.Errorf("%w: PBKDF2 parameters", ErrDamaged)
	}
	prf := p.PRF.Algorithm
	if !prf.Equal(oidHMACSHA2) && !prf.Equal(oidHMACSHA5) && !prf.Equal(oidHMACSM3) {
		return fmt.Errorf("%w: want HMAC with SHA-256, SHA-512 or SM3", ErrUnsupported)
	}
	if p.Iterations < 1 || p.Iterations > maxIterations {
		return fmt.Errorf("%w: %d iterations, the limit is %d", ErrUnsupported, p.Iterations, maxIterations)
	}
	return nil
}

func checkScrypt(der []byte) error {
	var p struct {
		Salt      []byte
		N, R, P   int
		KeyLength int `asn1:"optional"`
	}
	if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) != 0 {
		return fmt.Errorf("%w: scrypt parameters", ErrDamaged)
	}
	if p.N < 2 || p.N&(p.N-1) != 0 || p.R < 1 || p.P < 1 || p.N > maxScryptMemory/128 ||
		p.R > maxScryptMemory/128/p.N || p.P > maxScryptLanes {
		return fmt.Errorf("%w: scrypt with N=%d r=%d p=%d", ErrUnsupported, p.N, p.R, p.P)
	}
	return nil
}
