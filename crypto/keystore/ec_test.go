package keystore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"path/filepath"
	"testing"
)

// A key of another curve comes back as it was, and passes for none of the other kinds.
func TestECKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := NewSecret([]byte("a passphrase for tests"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "app.key")
	if err := CreateEC(path, der, pass); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadEC(path, pass); err != nil || !bytes.Equal(got, der) {
		t.Errorf("%x came back, %v", got, err)
	}
	if _, err := Load(path, pass); !errors.Is(err, ErrKeyType) {
		t.Errorf("as SM2: %v", err)
	}
	if err := CreateEC(path+"2", der[:len(der)-1], pass); err == nil {
		t.Error("a damaged key was written")
	}
}
