package keystore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/asn1"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// iterationsOf is how many rounds of PBKDF2 an encrypted key has.
func iterationsOf(t *testing.T, text []byte) int {
	t.Helper()
	e, err := open(text)
	fatalIfErr(t, err)
	var p pbkdf2Params
	_, err = asn1.Unmarshal(e.params.KeyDerivationFunc.Parameters.FullBytes, &p)
	fatalIfErr(t, err)
	return p.Iterations
}

// A key under another passphrase is the same key, with the project's own rounds however few it had; done
// again it stays as it is, and a passphrase that opens nothing changes nothing.
func TestRewrap(t *testing.T) {
	from, to, wrong := secret(t, "former passphrase"), secret(t, "another passphrase"), secret(t, "a wrong passphrase")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	fatalIfErr(t, err)
	for _, key := range []privateKey{sm2Key{newKey(t)}, ed25519Key{ed}} {
		weak, err := encode(key, from, testIterations)
		fatalIfErr(t, err)
		text, changed, err := Rewrap(weak, from, to)
		if err != nil || !changed {
			t.Fatalf("%s: %t, %v", key.algorithm(), changed, err)
		}
		if n := iterationsOf(t, text); n != Iterations {
			t.Errorf("%s: %d rounds", key.algorithm(), n)
		}
		again, err := decode(text, to)
		if err != nil || !bytes.Equal(again.public(), key.public()) {
			t.Errorf("%s: %v", key.algorithm(), err)
		}
		if err := Check(text, from); !errors.Is(err, ErrPassphrase) {
			t.Errorf("the former passphrase: %v", err)
		}
		if same, changed, err := Rewrap(text, from, to); err != nil || changed || !bytes.Equal(same, text) {
			t.Errorf("done again: %t, %v", changed, err)
		}
		if _, _, err := Rewrap(weak, wrong, to); !errors.Is(err, ErrPassphrase) {
			t.Errorf("a wrong passphrase: %v", err)
		}
	}
}

// What was sealed as text is what a key file holds.
func TestSeal(t *testing.T) {
	pass := secret(t, "a passphrase of mine")
	key := newKey(t)
	text, err := Seal(key, pass)
	fatalIfErr(t, err)
	path := filepath.Join(t.TempDir(), "x.key")
	fatalIfErr(t, WriteSealed(path, text))
	if err := WriteSealed(path, text); !errors.Is(err, ErrExists) {
		t.Errorf("over a file: %v", err)
	}
	got, err := Load(path, pass)
	if err != nil || !got.Public().Equal(key.Public()) {
		t.Errorf("from the file: %v", err)
	}
	read, err := ReadSealed(path)
	if err != nil || !bytes.Equal(read, text) {
		t.Errorf("as it is: %v", err)
	}
	if got, err = Open(read, pass); err != nil || !got.Public().Equal(key.Public()) {
		t.Errorf("from the text: %v", err)
	}
	if err := WriteSealed(path+"2", []byte("no key")); !errors.Is(err, ErrDamaged) {
		t.Errorf("no key: %v", err)
	}
}

// A wrong passphrase is told with the file or variable that it came from.
func TestWrongPassphraseNamesItsSource(t *testing.T) {
	dir := t.TempDir()
	text, err := encode(sm2Key{newKey(t)}, secret(t, "the right passphrase"), testIterations)
	fatalIfErr(t, err)
	mustWrite(t, filepath.Join(dir, "x.key"), text, 0o600)
	file := filepath.Join(dir, "passphrase")
	mustWrite(t, file, []byte("a wrong passphrase\n"), 0o600)
	t.Setenv("STELE_TEST_PASSPHRASE", "a wrong passphrase")
	for _, c := range []struct{ file, env, names string }{{file, "", file},
		{"", "STELE_TEST_PASSPHRASE", "STELE_TEST_PASSPHRASE"}} {
		pass, err := Passphrase(c.file, c.env)
		fatalIfErr(t, err)
		if _, err := Load(filepath.Join(dir, "x.key"), pass); !errors.Is(err, ErrPassphrase) ||
			!strings.Contains(err.Error(), c.names) {
			t.Errorf("%v does not name %s", err, c.names)
		}
		if _, err := Open(text, pass); !errors.Is(err, ErrPassphrase) || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%v does not name %s", err, c.names)
		}
	}
}
