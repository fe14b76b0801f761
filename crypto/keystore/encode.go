package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/emmansun/gmsm/pkcs"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"stele/crypto/sm"
)

// privateKey is one of the two kinds of key.
type privateKey interface {
	algorithm() string
	public() []byte
	pkcs8() ([]byte, error)
}

type sm2Key struct{ *sm.PrivateKey }

func (k sm2Key) algorithm() string      { return "sm2" }
func (k sm2Key) public() []byte         { return k.Public().Bytes() }
func (k sm2Key) pkcs8() ([]byte, error) { return smx509.MarshalPKCS8PrivateKey(k.SM2()) }

type ed25519Key struct{ ed25519.PrivateKey }

func (k ed25519Key) algorithm() string      { return "ed25519" }
func (k ed25519Key) public() []byte         { return k.PrivateKey[ed25519.SeedSize:] }
func (k ed25519Key) pkcs8() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k.PrivateKey) }

const (
	pemType  = "ENCRYPTED PRIVATE KEY" // RFC 7468 section 11
	saltSize = 16                      // bytes, NIST SP 800-132 section 5.1
)

// encryptedPrivateKeyInfo is EncryptedPrivateKeyInfo of RFC 5958 section 3.
type encryptedPrivateKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

func encode(key privateKey, passphrase Secret, iterations int) ([]byte, error) {
	if passphrase.IsZero() {
		return nil, ErrNoPassphrase
	}
	plain, err := key.pkcs8()
	if err != nil {
		return nil, fmt.Errorf("encode PKCS#8: %w", err)
	}
	defer clear(plain)
	kdf := pkcs.NewPBKDF2Opts(pkcs.SHA256, saltSize, iterations)
	algorithm, data, err := pkcs.NewPBESEncrypter(pkcs.AES256CBC, kdf).Encrypt(rand.Reader, passphrase.reveal(), plain)
	if err != nil {
		return nil, errors.New("encrypt PKCS#8")
	}
	der, err := asn1.Marshal(encryptedPrivateKeyInfo{*algorithm, data})
	if err != nil {
		return nil, fmt.Errorf("encode PKCS#8: %w", err)
	}
	return append([]byte(note(key, der)), pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})...), nil
}

// note is the explanatory text before the block (RFC 7468 section 2): which key this is, and
// the digest that tells a damaged file from a wrong passphrase. It guards against accidents,
// not against someone who can write the file: such a one could as well replace the key.
func note(key privateKey, der []byte) string {
	return noteText(key.algorithm(), hex.EncodeToString(key.public()), sm.Sum(der).String())
}

func noteText(algorithm, public, digest string) string {
	return "algorithm: " + algorithm + "\npublic key: " + public + "\nsm3 of the DER: " + digest + "\n"
}

// envelope is a key file before decryption.
type envelope struct {
	der    []byte
	info   encryptedPrivateKeyInfo
	params pkcs.PBES2Params
	note   string // "" in files of other programs
}

func decode(text []byte, passphrase Secret) (privateKey, error) {
	if passphrase.IsZero() {
		return nil, ErrNoPassphrase
	}
	e, err := open(text)
	if err != nil {
		return nil, err
	}
	return e.decrypt(passphrase)
}

// open reads the file's outer layers and checks everything that can be checked without the
// passphrase, above all what the library would choke on or grind for hours at.
func open(text []byte) (*envelope, error) {
	if len(text) > MaxFileSize {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrDamaged, MaxFileSize)
	}
	before, _, found := bytes.Cut(text, []byte("-----BEGIN "))
	block, rest := pem.Decode(text[len(before):])
	switch {
	case !found || block == nil:
		return nil, fmt.Errorf("%w: no whole PEM block", ErrDamaged)
	case len(block.Headers) != 0: // the encryption of old "EC PRIVATE KEY" files: MD5, one round
		return nil, fmt.Errorf("%w: want PKCS#8", ErrUnsupported)
	case strings.HasSuffix(block.Type, "PRIVATE KEY") && block.Type != pemType:
		return nil, ErrUnencrypted
	case block.Type != pemType:
		return nil, fmt.Errorf("%w: no private key", ErrDamaged)
	case len(bytes.TrimSpace(rest)) != 0:
		return nil, fmt.Errorf("%w: something follows the key", ErrDamaged)
	}
	e := &envelope{der: block.Bytes, note: string(before)}
	if err := e.checkNote(); err != nil {
		return nil, err
	}
	if rest, err := asn1.Unmarshal(e.der, &e.info); err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("%w: not an encrypted PKCS#8 key", ErrDamaged)
	}
	return e, e.checkCost()
}

// checkNote demands our three lines or nothing before the block.
func (e *envelope) checkNote() error {
	if e.note == "" {
		return nil
	}
	digest := sm.Sum(e.der).String()
	rest, ok1 := strings.CutPrefix(e.note, "algorithm: ")
	algorithm, rest, ok2 := strings.Cut(rest, "\npublic key: ")
	public, _, ok3 := strings.Cut(rest, "\n")
	if !ok1 || !ok2 || !ok3 || e.note != noteText(algorithm, public, digest) {
		return fmt.Errorf("%w: its contents do not match the digest in front of them", ErrDamaged)
	}
	return nil
}

// decrypt removes the encryption. A wrong passphrase shows as bad padding or, once in 256
// times, as rubbish behind good padding.
func (e *envelope) decrypt(passphrase Secret) (privateKey, error) {
	wrong := ErrPassphrase
	if e.note == "" {
		wrong = fmt.Errorf("%w, or the encrypted part of the file is damaged", ErrPassphrase)
	}
	plain, _, err := e.params.Decrypt(passphrase.reveal(), e.info.Data)
	if err != nil {
		return nil, wrong
	}
	defer clear(plain)
	// Whole and well-formed DER of this size is no accident: from here the passphrase was right.
	var outer asn1.RawValue
	if rest, err := asn1.Unmarshal(plain, &outer); err != nil || len(rest) != 0 {
		return nil, wrong
	}
	key, err := parsePKCS8(plain)
	if err != nil {
		return nil, err
	}
	if e.note != "" && e.note != note(key, e.der) {
		return nil, fmt.Errorf("%w: the public key in front of it is another", ErrDamaged)
	}
	return key, nil
}

func parsePKCS8(der []byte) (privateKey, error) {
	parsed, err := smx509.ParsePKCS8PrivateKey(der)
	if key, ok := parseEC(der); ok {
		return key, nil
	}
	if err != nil {
		// The library's text may quote what it read.
		return nil, fmt.Errorf("%w: the decrypted content is no key that is known here", ErrDamaged)
	}
	switch k := parsed.(type) {
	case *sm2.PrivateKey:
		key, err := sm.PrivateKeyOf(k)
		if err != nil || !publicHalfMatches(der, key) {
			return nil, fmt.Errorf("%w: no SM2 key with its public half", ErrDamaged)
		}
		return sm2Key{key}, nil
	case ed25519.PrivateKey:
		return ed25519Key{k}, nil
	}
	return nil, fmt.Errorf("%w: neither an elliptic-curve key nor Ed25519", ErrKeyType)
}

// publicHalfMatches demands the public key inside a PKCS#8 SM2 key (RFC 5915 section 3) and
// that it follows from the scalar. The library looks at the scalar only, and encryption that
// does not authenticate lets damage to it pass as another, valid key. OpenSSL, Java and we
// write the public key; a key without it can be converted with "openssl pkey".
func publicHalfMatches(der []byte, key *sm.PrivateKey) bool {
	point, ok := ecPoint(der)
	return ok && bytes.Equal(point, key.Public().Bytes())
}

func contextTag(n uint8) cbasn1.Tag { return cbasn1.Tag(n).Constructed().ContextSpecific() }
