package keystore

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/emmansun/gmsm/pkcs"
)

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	fatalIfErr(t, err)
	return der
}

// claim rewrites the iteration count in the header of e.
func claim(t testing.TB, e *envelope, iterations int) []byte {
	t.Helper()
	var p pbkdf2Params
	_, err := asn1.Unmarshal(e.params.KeyDerivationFunc.Parameters.FullBytes, &p)
	fatalIfErr(t, err)
	p.Iterations = iterations
	e.params.KeyDerivationFunc.Parameters.FullBytes = marshal(t, p)
	e.info.Algorithm.Parameters.FullBytes = marshal(t, e.params)
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: marshal(t, e.info)})
}

// cheap reports whether the key derivation of e costs next to nothing, so that the fuzzer
// spends its time on the parsers.
func cheap(e *envelope) bool {
	var p pbkdf2Params
	_, err := asn1.Unmarshal(e.params.KeyDerivationFunc.Parameters.FullBytes, &p)
	return err == nil && e.params.KeyDerivationFunc.Algorithm.Equal(oidPBKDF2) && p.Iterations <= 64
}

// Nothing panics, and what is read is written again as the same key.
func FuzzKeyFile(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.pem"))
	fatalIfErr(f, err)
	if len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		fatalIfErr(f, err)
		f.Add(text)
	}
	pass := secret(f, passphrase)
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := open(text)
		if err != nil || !cheap(e) {
			return
		}
		key, err := e.decrypt(pass)
		if err != nil {
			if key != nil {
				t.Fatal("a key came with an error")
			}
			return
		}
		again, err := encode(key, pass, 1)
		fatalIfErr(t, err)
		same, err := decode(again, pass)
		fatalIfErr(t, err)
		if !bytes.Equal(same.public(), key.public()) {
			t.Fatal("another key")
		}
	})
}

// What comes out of decryption is as hostile as the file, should someone know the passphrase.
func FuzzPKCS8(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.pem"))
	fatalIfErr(f, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		fatalIfErr(f, err)
		e, err := open(text)
		fatalIfErr(f, err)
		plain, _, err := e.params.Decrypt([]byte(passphrase), e.info.Data)
		fatalIfErr(f, err)
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := parsePKCS8(der)
		if err != nil {
			return
		}
		out, err := key.pkcs8()
		fatalIfErr(t, err)
		again, err := parsePKCS8(out)
		fatalIfErr(t, err)
		if !bytes.Equal(again.public(), key.public()) {
			t.Fatal("another key")
		}
	})
}

// The seeds are files as they were written once: they must stay readable. Their keys guard nothing.
func TestOldFiles(t *testing.T) {
	for _, name := range []string{"sm2", "ed25519", "bare-sm4-hmacsm3"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".pem"))
		fatalIfErr(t, err)
		key, err := decode(text, secret(t, passphrase))
		fatalIfErr(t, err)
		if e, err := open(text); err != nil || !pkcs.IsPBES2(e.info.Algorithm) {
			t.Errorf("%s: %v", name, err)
		}
		if len(key.public()) == 0 {
			t.Errorf("%s: no key", name)
		}
	}
}
