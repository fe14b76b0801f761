package keystore

import (
	"errors"
	"fmt"

	"stele/crypto/sm"
)

// Seal encrypts an SM2 key with the passphrase into the text that [Create] would write to a file,
// for a key that is kept elsewhere. It takes about 0.2 s, because it decrypts what it made before it lets
// go of the key.
func Seal(key *sm.PrivateKey, passphrase Secret) ([]byte, error) {
	if key == nil {
		return nil, errors.New("seal a key: there is none")
	}
	text, err := encodeChecked(sm2Key{key}, passphrase, Iterations)
	if err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	return text, nil
}

// Open decrypts an SM2 key that [Seal] made, or that stands in a key file. It takes about 0.1 s. It is
// safe for concurrent use.
func Open(text []byte, passphrase Secret) (*sm.PrivateKey, error) {
	key, err := decode(text, passphrase)
	if err != nil {
		return nil, passphrase.explain(err)
	}
	k, ok := key.(sm2Key)
	if !ok {
		return nil, fmt.Errorf("%w: want SM2, found %s", ErrKeyType, key.algorithm())
	}
	return k.PrivateKey, nil
}

// ReadSealed reads the encrypted text of a key file, which must be closed to others, without opening it.
func ReadSealed(path string) ([]byte, error) {
	text, err := readPrivate(path, 0)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return text, nil
}

// WriteSealed writes an encrypted key to a new file, with the care of [Create]. What is no encrypted
// key is refused.
func WriteSealed(path string, text []byte) error {
	if _, err := open(text); err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	if err := writeNew(path, text); err != nil {
		return fmt.Errorf("key file %s: %w", path, err)
	}
	return nil
}

// Rewrap encrypts a key of any kind anew under another passphrase, with [Iterations] rounds whatever
// it had before. A key that to opens already is returned as it is, with false, so that an
// interrupted change can be done again. [ErrPassphrase] means that neither opens it.
func Rewrap(text []byte, from, to Secret) (sealed []byte, changed bool, err error) {
	if _, err := decode(text, to); err == nil {
		return text, false, nil
	} else if !errors.Is(err, ErrPassphrase) {
		return nil, false, err
	}
	key, err := decode(text, from)
	if err != nil {
		return nil, false, err
	}
	sealed, err = encodeChecked(key, to, Iterations)
	return sealed, true, err
}

// Check reports whether the passphrase opens an encrypted key of any kind.
func Check(text []byte, passphrase Secret) error {
	_, err := decode(text, passphrase)
	return passphrase.explain(err)
}

// encodeChecked encrypts a key and reads back what it made.
func encodeChecked(key privateKey, passphrase Secret, iterations int) ([]byte, error) {
	text, err := encode(key, passphrase, iterations)
	if err != nil {
		return nil, err
	}
	again, err := decode(text, passphrase)
	if err != nil {
		return nil, fmt.Errorf("cannot read back what was encrypted: %w", err)
	}
	if again.algorithm() != key.algorithm() || string(again.public()) != string(key.public()) {
		return nil, errors.New("another key came back from encryption")
	}
	return text, nil
}
