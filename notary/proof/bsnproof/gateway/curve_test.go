package gateway_test

import (
	"crypto/rand"
	"crypto/sha256"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"stele/notary/proof/bsnproof/gateway"
)

// TestK1AgainstLibrary compares the verification of secp256k1 macs with a library's, on sound
// signatures, changed ones and those of other keys.
func TestK1AgainstLibrary(t *testing.T) {
	for range 40 {
		key, err := gateway.GenerateKey(gateway.Secp256k1)
		if err != nil {
			t.Fatal(err)
		}
		der := key.Public().DER()
		pub, err := secp256k1.ParsePubKey(der[len(der)-65:])
		if err != nil {
			t.Fatal(err)
		}
		text := rand.Text()
		mac, err := key.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			changed, of := append([]byte(nil), mac...), text
			switch i {
			case 1:
				changed[len(changed)-1] ^= 1
			case 2:
				changed[10] ^= 0x40
			case 3:
				of += "x"
			}
			digest := sha256.Sum256([]byte(of))
			sig, err := ecdsa.ParseDERSignature(changed)
			want := err == nil && sig.Verify(digest[:], pub)
			if got := key.Public().Verify(of, changed); got != want || want != (i == 0) {
				t.Errorf("case %d: %t, the library says %t", i, got, want)
			}
		}
		der[len(der)-1] ^= 1
		if _, err := gateway.ParsePublicKey(der); err == nil {
			t.Error("a point off the curve is a key")
		}
	}
}
