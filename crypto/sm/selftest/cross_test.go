package selftest

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"math/big"
	"testing"

	tjsm2 "github.com/tjfoc/gmsm/sm2"
	tjsm3 "github.com/tjfoc/gmsm/sm3"
	"pgregory.net/rapid"

	"stele/crypto/sm"
)

func fatalIfErr(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tjfocKey is the same private key for the second implementation, derived there.
func tjfocKey(k *sm.PrivateKey) *tjsm2.PrivateKey {
	d := k.SM2().D
	o := new(tjsm2.PrivateKey)
	o.Curve = tjsm2.P256Sm2()
	o.D = new(big.Int).Set(d)
	//lint:ignore SA1019 the second implementation is built on this interface
	o.X, o.Y = o.Curve.ScalarBaseMult(d.Bytes())
	return o
}

// scalars favours the ends of the range, where carries and short encodings live.
func scalars() *rapid.Generator[[]byte] {
	n := new(big.Int).SetBytes(mustHex("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123"))
	return rapid.Custom(func(t *rapid.T) []byte {
		var d *big.Int
		switch rapid.IntRange(0, 3).Draw(t, "range") {
		case 0: // small
			d = big.NewInt(rapid.Int64Range(1, 1<<20).Draw(t, "small"))
		case 1: // close to the order; n-1 is no SM2 key
			d = new(big.Int).Sub(n, big.NewInt(rapid.Int64Range(2, 1<<20).Draw(t, "below")))
		default:
			d = new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "scalar"))
			d.Mod(d, new(big.Int).Sub(n, big.NewInt(2)))
			d.Add(d, big.NewInt(1))
		}
		return d.FillBytes(make([]byte, 32))
	})
}

func TestDigestsAgreeWithTjfoc(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SliceOfN(rapid.Byte(), 0, 1<<12).Draw(t, "message")
		want := sm.Digest(tjsm3.Sm3Sum(m))
		if got := sm.Sum(m); got != want {
			t.Fatalf("one call: %s, want %s", got, want)
		}
		h := sm.NewHash()
		for rest := m; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			h.Write(rest[:n])
			rest = rest[n:]
		}
		if got := h.Sum(nil); !bytes.Equal(got, want[:]) {
			t.Fatalf("streamed: %x, want %s", got, want)
		}
	})
}

func TestSignaturesAgreeWithTjfoc(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, err := sm.NewPrivateKey(scalars().Draw(t, "scalar"))
		fatalIfErr(t, err)
		other := tjfocKey(key)
		point := append([]byte{4}, append(other.X.FillBytes(make([]byte, 32)),
			other.Y.FillBytes(make([]byte, 32))...)...)
		if !bytes.Equal(point, key.Public().Bytes()) {
			t.Fatalf("public keys differ: %x and %x", key.Public().Bytes(), point)
		}
		m := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		ours, err := key.Sign(m)
		fatalIfErr(t, err)
		if !other.PublicKey.Verify(m, ours) {
			t.Fatal("our signature is refused")
		}
		theirs, err := other.Sign(rand.Reader, m, nil)
		fatalIfErr(t, err)
		if !key.Public().Verify(m, theirs) {
			t.Fatal("we refuse a good signature")
		}
	})
}

// Both are strict about values (range, message, key). About encodings only we are, which
// sm's own tests show.
func TestBadSignaturesAreRefusedByBoth(t *testing.T) {
	key, err := sm.GenerateKey()
	fatalIfErr(t, err)
	stranger, err := sm.GenerateKey()
	fatalIfErr(t, err)
	n := key.SM2().Params().N
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		sig, err := key.Sign(m)
		fatalIfErr(t, err)
		var v struct{ R, S *big.Int }
		_, err = asn1.Unmarshal(sig, &v)
		fatalIfErr(t, err)
		signer := key
		switch rapid.SampledFrom([]string{"r", "s", "r+n", "s+n", "r=0", "s=0", "r=n", "s=n", "-r", "r+s=n", "message",
			"key"}).Draw(t, "fault") {
		case "r":
			v.R = new(big.Int).Xor(v.R, new(big.Int).Lsh(big.NewInt(1), uint(rapid.IntRange(0, 254).Draw(t, "bit"))))
		case "s":
			v.S = new(big.Int).Xor(v.S, new(big.Int).Lsh(big.NewInt(1), uint(rapid.IntRange(0, 254).Draw(t, "bit"))))
		case "r+n":
			v.R.Add(v.R, n)
		case "s+n":
			v.S.Add(v.S, n)
		case "r=0":
			v.R = new(big.Int)
		case "s=0":
			v.S = new(big.Int)
		case "r=n":
			v.R = n
		case "s=n":
			v.S = n
		case "-r":
			v.R.Neg(v.R)
		case "r+s=n":
			v.S.Sub(n, v.R)
		case "message":
			m = append(m, rapid.Byte().Draw(t, "extra"))
		case "key":
			signer = stranger
		}
		bad, err := asn1.Marshal(v)
		fatalIfErr(t, err)
		if signer.Public().Verify(m, bad) {
			t.Fatal("we accept it")
		}
		if tjfocKey(signer).PublicKey.Verify(m, bad) {
			t.Fatal("the second implementation accepts it")
		}
	})
}
