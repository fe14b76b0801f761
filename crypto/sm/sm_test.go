package sm

import (
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustKey(t testing.TB) *PrivateKey {
	t.Helper()
	k, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// GB/T 32905-2016 appendix A.
func TestSM3Vectors(t *testing.T) {
	for in, want := range map[string]string{
		"abc":                      "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
		strings.Repeat("abcd", 16): "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
		"":                         "1ab21d8355cfa17f8e61194831e81a8f22bec8c728fefb747ed035eb5082aa2b",
	} {
		t.Run(in, func(t *testing.T) {
			if got := Sum([]byte(in)).String(); got != want {
				t.Errorf("SM3(%q) = %s, want %s", in, got, want)
			}
		})
	}
}

func TestSumOfPartsIsSumOfWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "parts")
		var whole []byte
		for _, p := range parts {
			whole = append(whole, p...)
		}
		if Sum(parts...) != Sum(whole) {
			t.Fatal("differs")
		}
	})
}

func TestParseDigest(t *testing.T) {
	d := Sum([]byte("x"))
	if got, err := ParseDigest(d.String()); err != nil || got != d {
		t.Fatal(got, err)
	}
	for _, bad := range []string{"", "00", strings.ToUpper(d.String()), d.String() + "0", strings.Repeat("g", 64)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestSignVerify(t *testing.T) {
	k := mustKey(t)
	rapid.Check(t, func(t *rapid.T) {
		msg := rapid.SliceOf(rapid.Byte()).Draw(t, "msg")
		sig, err := k.Sign(msg)
		if err != nil {
			t.Fatal(err)
		}
		if !k.Public().Verify(msg, sig) {
			t.Fatal("fresh signature refused")
		}
		i := rapid.IntRange(0, len(sig)-1).Draw(t, "i")
		bad := append([]byte(nil), sig...)
		bad[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if k.Public().Verify(msg, bad) {
			t.Fatal("changed signature accepted")
		}
		if k.Public().Verify(append(msg, 0), sig) {
			t.Fatal("other message accepted")
		}
	})
}

// The private-scalar check must agree with the public verification in both directions.
func TestSelfVerifyAgreesWithVerify(t *testing.T) {
	k, other := mustKey(t), mustKey(t)
	msg := []byte("m")
	sig, err := k.Sign(msg)
	if err != nil {
		t.Fatal(err)
	}
	if k.selfVerify(k.pub.MessageDigest([]byte("n")), sig) {
		t.Error("signature over another message passed the self check")
	}
	foreign, err := other.Sign(msg)
	if err != nil {
		t.Fatal(err)
	}
	if k.selfVerify(k.pub.MessageDigest(msg), foreign) {
		t.Error("another key's signature passed the self check")
	}
}

func TestOnlyOneEncodingVerifies(t *testing.T) {
	k := mustKey(t)
	msg := []byte("one encoding")
	sig, err := k.Sign(msg)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &rs); err != nil {
		t.Fatal(err)
	}
	n := k.key.Params().N
	high, err := asn1.Marshal(struct{ R, S *big.Int }{rs.R, new(big.Int).Add(rs.S, n)})
	if err != nil {
		t.Fatal(err)
	}
	padded := append([]byte{sig[0], sig[1] + 1, 2, sig[3] + 1, 0}, sig[4:]...)
	for name, bad := range map[string][]byte{
		"trailing byte": append(append([]byte(nil), sig...), 0), "s plus n": high, "padded integer": padded,
		"empty": nil,
	} {
		t.Run(name, func(t *testing.T) {
			if k.Public().Verify(msg, bad) {
				t.Errorf("%s accepted", name)
			}
		})
	}
}

func TestPublicKeyMustBeOnCurve(t *testing.T) {
	p := mustKey(t).Public().Bytes()
	if _, err := ParsePublicKey(p); err != nil {
		t.Fatal(err)
	}
	p[40] ^= 1
	for _, bad := range [][]byte{nil, p, p[:64], make([]byte, 65)} {
		if _, err := ParsePublicKey(bad); err == nil {
			t.Errorf("accepted %x", bad)
		}
	}
}

func FuzzCanonicalSignature(f *testing.F) {
	k := mustKey(f)
	sig, err := k.Sign([]byte("seed"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sig)
	f.Fuzz(func(t *testing.T, b []byte) {
		if !CanonicalSignature(b) {
			return
		}
		r, s, _ := splitSignature(b)
		again, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x is not the one encoding", b)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	k := mustKey(b)
	for b.Loop() {
		if _, err := k.Sign([]byte("message")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	k := mustKey(b)
	sig, err := k.Sign([]byte("message"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !k.Public().Verify([]byte("message"), sig) {
			b.Fatal("refused")
		}
	}
}
