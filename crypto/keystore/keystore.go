// Package keystore keeps private keys at rest: one key in one file, PKCS#8 encrypted with a
// passphrase (RFC 5958, RFC 8018 PBES2), in PEM that OpenSSL 3.0 reads and writes:
//
//	openssl pkey -in notary.key -passin file:passphrase -noout -text
//
// Keys are SM2 (what signs evidence), Ed25519 (the chain's transport), and those of other
// curves that another system demands. What [Load]
// returns signs in memory; a key device would be another type with the same two methods,
// Public and Sign, and its users declare the interface.
//
// # Encryption
//
// AES-256-CBC under PBKDF2-HMAC-SHA256 with [Iterations] rounds. PBKDF2 rather than scrypt
// because everything that may have to read a key in ten years (OpenSSL, Java, key devices'
// import tools) reads it, and because OpenSSL refuses scrypt above 32 MiB, which takes away
// most of scrypt's advantage. Load also reads scrypt, SM4-CBC and HMAC-SM3, for keys that
// were made under another policy.
//
// PBES2 does not authenticate: a wrong passphrase and a damaged file look alike. Therefore
// the text before the PEM block, which PEM readers ignore, holds the public key and a digest
// of the block. With it the two are told apart, and an operator sees which key a file holds.
//
// # Files
//
// A key file is created complete or not at all, never replaced, and readable by its owner
// only; a file with wider permissions is refused, as it must be taken for leaked. Nothing is
// logged, and errors name paths but never contents. Go cannot promise that a secret leaves
// memory; core dumps and swap are the operator's to switch off.
package keystore

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"stele/crypto/sm"
)

// MaxFileSize is the longest key or passphrase file in bytes that is read.
const MaxFileSize = 16 << 10

// The errors of this package, always wrapped with the path.
var (
	// ErrMissing: no such file. It also matches fs.ErrNotExist.
	ErrMissing = fs.ErrNotExist
	// ErrExists: Create does not overwrite. It also matches fs.ErrExist.
	ErrExists = fmt.Errorf("the file exists already and is not overwritten: %w", fs.ErrExist)
	// ErrPermissions: others than the owner may read or write the file.
	ErrPermissions = errors.New(
		"the file must be a regular file with permissions 0600 or 0400: treat its contents as leaked")
	// ErrDamaged: the file is not what Create or OpenSSL wrote, and no passphrase will help.
	ErrDamaged = errors.New("the file is damaged")
	// ErrPassphrase: the passphrase is wrong. For files of other programs, which carry no
	// digest, it may also be that the encrypted part is damaged; the text says so.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrUnencrypted: the key lies in clear.
	ErrUnencrypted = errors.New("the private key is not encrypted: treat it as leaked")
	// ErrUnsupported: an encryption that is weak, unknown, or absurdly expensive.
	ErrUnsupported = errors.New("the key file's encryption is not supported")
	// ErrKeyType: a sound key of another kind.
	ErrKeyType = errors.New("the file holds a key of another type")
)

// Create encrypts an SM2 key with the passphrase and writes it to path with permissions
// 0600, durably: when it returns nil, file and folder entry have been synced. It fails with
// [ErrExists] rather than overwrite. On an error no new file is at path (but there may be
// a leftover path+".tmp-…" after a crash; it can be deleted). It takes about 0.2 s, because
// it decrypts what it wrote before it lets go of the key.
func Create(path string, key *sm.PrivateKey, passphrase Secret) error {
	if key == nil {
		return fmt.Errorf("create key %s: no key", path)
	}
	return create(path, sm2Key{key}, passphrase, Iterations)
}

// CreateEd25519 is [Create] for an Ed25519 key.
func CreateEd25519(path string, key ed25519.PrivateKey, passphrase Secret) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("create key %s: no Ed25519 key", path)
	}
	return create(path, ed25519Key{key}, passphrase, Iterations)
}

// Load reads an SM2 key. The file may come from [Create] or from OpenSSL. It takes about
// 0.1 s for files of Create. It is safe for concurrent use.
func Load(path string, passphrase Secret) (*sm.PrivateKey, error) {
	key, err := load(path, passphrase)
	if err != nil {
		return nil, err
	}
	k, ok := key.(sm2Key)
	if !ok {
		return nil, fmt.Errorf("load key %s: %w: want SM2, found %s", path, ErrKeyType, key.algorithm())
	}
	return k.PrivateKey, nil
}

// LoadEd25519 is [Load] for an Ed25519 key. PKCS#8 carries no public half of these, so damage
// to a file of another program may go unnoticed; files of [CreateEd25519] have the digest.
func LoadEd25519(path string, passphrase Secret) (ed25519.PrivateKey, error) {
	key, err := load(path, passphrase)
	if err != nil {
		return nil, err
	}
	k, ok := key.(ed25519Key)
	if !ok {
		return nil, fmt.Errorf("load key %s: %w: want Ed25519, found %s", path, ErrKeyType, key.algorithm())
	}
	return k.PrivateKey, nil
}

func create(path string, key privateKey, passphrase Secret, iterations int) error {
	text, err := encodeChecked(key, passphrase, iterations)
	if err != nil {
		return fmt.Errorf("create key %s: %w", path, err)
	}
	if err := writeNew(path, text); err != nil {
		return fmt.Errorf("create key %s: %w", path, err)
	}
	return nil
}

func load(path string, passphrase Secret) (privateKey, error) {
	text, err := readPrivate(path, 0)
	if err != nil {
		return nil, fmt.Errorf("load key %s: %w", path, err)
	}
	key, err := decode(text, passphrase)
	if err != nil {
		return nil, fmt.Errorf("load key %s: %w", path, passphrase.explain(err))
	}
	return key, nil
}

// readPrivate reads a file that only its owner may touch; others are permissions that it may
// have besides. They are checked on the opened file, so that a swap between check and read
// changes nothing.
func readPrivate(path string, others fs.FileMode) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, errors.Unwrap(err) // the caller's message has the path
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&^(0o600|others) != 0 {
		return nil, fmt.Errorf("%w (it is %v)", ErrPermissions, info.Mode())
	}
	if info.Size() > MaxFileSize {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrDamaged, info.Size(), MaxFileSize)
	}
	text := make([]byte, info.Size())
	n, err := f.ReadAt(text, 0)
	if n < len(text) {
		return nil, fmt.Errorf("read: %w", err)
	}
	return text, nil
}
