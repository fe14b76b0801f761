package pki

import (
	"bytes"
	"errors"
	"testing"
)

// Run these with -fuzzminimizetime=1x: shrinking certificates byte by byte takes the whole
// time otherwise.

func FuzzParse(f *testing.F) {
	for _, name := range []string{"root", "agency", "notary", "foreign"} {
		for _, der := range fixture(f, name) {
			f.Add(der)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := Parse(der)
		if err != nil {
			if c != nil || !errors.Is(err, ErrMalformed) {
				t.Fatalf("%v", err)
			}
			return
		}
		if !bytes.Equal(c.DER(), der) || c.NotAfter().Before(c.NotBefore()) || c.SerialNumber() == "" {
			t.Fatalf("%x", der)
		}
		if c.IsCA() && (c.Allows(Agency) || c.Allows(Notary)) {
			t.Fatalf("an authority may sign: %x", der)
		}
		if again, err := DecodePEM(EncodePEM(der), 1); err != nil || !bytes.Equal(again[0], der) {
			t.Fatalf("PEM: %v", err)
		}
	})
}

// Nothing but the very bytes that were issued verifies under the pinned root: whatever the
// fuzzer makes of the other certificates of the chain, the outcome is an error.
func FuzzVerifyChain(f *testing.F) {
	root, leaf := fixture(f, "root")[0], fixture(f, "agency")[0]
	f.Add(leaf, root)
	f.Add(fixture(f, "notary")[0], root)
	f.Add(fixture(f, "foreign")[0], fixture(f, "foreign")[1])
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, chain := range [][][]byte{{first, second}, {first, root}, {leaf, second}, {first, second, root}} {
			c, err := VerifyChain(chain, [][]byte{root}, mid, Agency)
			genuine := len(chain) == 2 && bytes.Equal(chain[0], leaf) && bytes.Equal(chain[1], root)
			if (err == nil) != genuine || (c == nil) == genuine {
				t.Fatalf("%v for %x", err, chain)
			}
		}
	})
}

func FuzzDecodePEM(f *testing.F) {
	f.Add(EncodePEM([]byte("one"), []byte("two")))
	f.Fuzz(func(t *testing.T, text []byte) {
		ders, err := DecodePEM(text, MaxChain)
		if err == nil && !bytes.Equal(EncodePEM(ders...), text) {
			t.Fatalf("%q is not the one encoding", text)
		}
	})
}
