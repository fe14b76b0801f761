package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"stele/crypto/seal"
	"stele/crypto/sm"
)

func box(t *testing.T, scalar byte, purpose string) *seal.Box {
	t.Helper()
	key, err := sm.NewPrivateKey(bytes.Repeat([]byte{scalar}, 32))
	if err != nil {
		t.Fatal(err)
	}
	b, err := seal.New(key, purpose)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A sealed text opens in its place, under its key and purpose, unchanged; else not at all.
func TestBox(t *testing.T) {
	b, secret := box(t, 1, "test"), []byte("a secret of some length")
	sealed := b.Seal("place", secret)
	if again := b.Seal("place", secret); bytes.Equal(sealed, again) {
		t.Error("two seals of one secret are the same")
	}
	if bytes.Contains(sealed, secret[:8]) {
		t.Error("the secret shows")
	}
	got, err := box(t, 1, "test").Open("place", sealed) // another box of the same key
	if err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("got %q, %v", got, err)
	}
	refuse := func(name string, b *seal.Box, place string, text []byte) {
		t.Helper()
		if got, err := b.Open(place, text); !errors.Is(err, seal.ErrOpen) || got != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	refuse("another place", b, "other", sealed)
	refuse("another key", box(t, 2, "test"), "place", sealed)
	refuse("another purpose", box(t, 1, "other"), "place", sealed)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refuse("a changed byte", b, "place", changed)
		refuse("a shorter text", b, "place", sealed[:i])
	}
}
