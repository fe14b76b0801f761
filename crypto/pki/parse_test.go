package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"go/parser"
	"go/token"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/smx509"
	"pgregory.net/rapid"

	"stele/crypto/sm"
)

// outer and content are the fields of a certificate as raw elements, to be put together wrongly.
func fields(t testing.TB, der []byte) []asn1.RawValue {
	t.Helper()
	var out []asn1.RawValue
	rest, err := asn1.Unmarshal(der, &out)
	fatalIfErr(t, err)
	if len(rest) != 0 {
		t.Fatal("trailing bytes")
	}
	return out
}

func sequence(t testing.TB, fields []asn1.RawValue) []byte {
	t.Helper()
	der, err := asn1.Marshal(fields)
	fatalIfErr(t, err)
	return der
}

func raw(der []byte) asn1.RawValue { return asn1.RawValue{FullBytes: der} }

func TestParseRefusesOtherEncodings(t *testing.T) {
	der := issue(t, newRoot(t, 0), Agency, newKey(t))
	null := raw([]byte{5, 0})
	sig := fields(t, der)[2].Bytes // 0 unused bits, then the signature
	var rs struct{ R, S *big.Int }
	_, err := asn1.Unmarshal(sig[1:], &rs)
	fatalIfErr(t, err)
	high, err := asn1.Marshal(struct{ R, S *big.Int }{rs.R,
		new(big.Int).Add(rs.S, new(big.Int).Lsh(big.NewInt(1), 300))})
	fatalIfErr(t, err)
	bits := func(content ...byte) asn1.RawValue {
		return raw(append([]byte{3, byte(len(content))}, content...))
	}
	outer := func(change func(f []asn1.RawValue) []asn1.RawValue) []byte {
		return sequence(t, change(fields(t, der)))
	}
	content := func(change func(f []asn1.RawValue) []asn1.RawValue) []byte {
		return outer(func(f []asn1.RawValue) []asn1.RawValue {
			f[0] = raw(sequence(t, change(fields(t, f[0].FullBytes))))
			return f
		})
	}
	if !bytes.Equal(content(func(f []asn1.RawValue) []asn1.RawValue { return f }), der) {
		t.Fatal("the test does not put certificates together again")
	}
	set := func(i int, v asn1.RawValue) func(f []asn1.RawValue) []asn1.RawValue {
		return func(f []asn1.RawValue) []asn1.RawValue { f[i] = v; return f }
	}
	for name, bad := range map[string][]byte{
		"empty":                   nil,
		"zeros":                   make([]byte, 64),
		"trailing byte":           append(bytes.Clone(der), 0),
		"cut":                     der[:len(der)-1],
		"too long":                append(bytes.Clone(der), make([]byte, MaxSize)...),
		"long form of length":     append([]byte{0x30, 0x83, 0}, der[2:]...),
		"fourth field":            outer(func(f []asn1.RawValue) []asn1.RawValue { return append(f, null) }),
		"no signature":            outer(func(f []asn1.RawValue) []asn1.RawValue { return f[:2] }),
		"empty signature":         outer(set(2, bits(0))),
		"unused bits":             outer(set(2, bits(append([]byte{1}, sig[1:]...)...))),
		"bytes after signature":   outer(set(2, bits(append(bytes.Clone(sig), 0)...))),
		"long signature":          outer(set(2, bits(append([]byte{0}, high...)...))),
		"signature is octets":     outer(set(2, raw(append([]byte{4, byte(len(sig))}, sig...)))),
		"outer algorithm differs": outer(set(1, raw([]byte{0x30, 2, 5, 0}))),
		"algorithm is null":       content(set(2, raw([]byte{0x30, 2, 5, 0}))),
		"version 1":               content(func(f []asn1.RawValue) []asn1.RawValue { return f[1:] }),
		"version 2":               content(set(0, raw([]byte{0xa0, 3, 2, 1, 1}))),
		"version twice":           content(set(0, raw([]byte{0xa0, 6, 2, 1, 2, 2, 1, 2}))),
		"serial 0":                content(set(1, raw([]byte{2, 1, 0}))),
		"serial negative":         content(set(1, raw([]byte{2, 1, 0x80}))),
		"serial of 21 octets":     content(set(1, raw(append([]byte{2, 21, 1}, make([]byte, 20)...)))),
		"empty issuer":            content(set(3, raw([]byte{0x30, 0}))),
		"empty subject":           content(set(5, raw([]byte{0x30, 0}))),
		"empty validity":          content(set(4, raw([]byte{0x30, 0}))),
		"no extensions":           content(func(f []asn1.RawValue) []asn1.RawValue { return f[:7] }),
		"field after extensions":  content(func(f []asn1.RawValue) []asn1.RawValue { return append(f, null) }),
		"unique id": content(func(f []asn1.RawValue) []asn1.RawValue {
			return append(f[:7:7], raw([]byte{0x81, 2, 0, 1}), f[7])
		}),
		"public key is no key":     content(set(6, raw([]byte{0x30, 0}))),
		"public key off the curve": content(set(6, raw(flip(fields(t, fields(t, der)[0].FullBytes)[6].FullBytes, -1)))),
		"compressed public key": content(
			set(6, raw(compressed(t, fields(t, fields(t, der)[0].FullBytes)[6].FullBytes)))),
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := Parse(bad); !errors.Is(err, ErrMalformed) || c != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[(i+len(b))%len(b)] ^= 1
	return b
}

// compressed rewrites a public key with the 33-byte form of its point.
func compressed(t testing.TB, spki []byte) []byte {
	t.Helper()
	f := fields(t, spki)
	point := f[1].Bytes[1:]
	bits := append([]byte{3, 34, 0, 2 + point[64]&1}, point[1:33]...)
	return sequence(t, []asn1.RawValue{f[0], raw(bits)})
}

func TestParseRefusesOtherAlgorithms(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatalIfErr(t, err)
	template := caTemplate("P-256")
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	fatalIfErr(t, err)
	if _, err := Parse(der); !errors.Is(err, ErrMalformed) {
		t.Errorf("ECDSA certificate: %v", err)
	}
	// A P-256 key under an SM2 signature.
	root := foreignCA(t, caTemplate("root"), nil)
	parent, err := smx509.ParseCertificate(root.der)
	fatalIfErr(t, err)
	der, err = smx509.CreateCertificate(rand.Reader, leafTemplate(), parent, key.Public(), root.key.SM2())
	fatalIfErr(t, err)
	if _, err := Parse(der); !errors.Is(err, ErrMalformed) {
		t.Errorf("P-256 key: %v", err)
	}
}

func TestParseRefusesAmbiguousNames(t *testing.T) {
	for name, extra := range map[string]pkix.AttributeTypeAndValue{
		"second code":         {Type: asn1.ObjectIdentifier{2, 5, 4, 5}, Value: "12350100MB0000000X"},
		"second organization": {Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "另一机关"},
		"second common name":  {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "另一机关"},
		"empty locality":      {Type: asn1.ObjectIdentifier{2, 5, 4, 7}, Value: ""},
	} {
		t.Run(name, func(t *testing.T) {
			template := leafTemplate()
			var names []pkix.AttributeTypeAndValue
			for _, set := range template.Subject.ToRDNSequence() {
				names = append(names, set...)
			}
			template.Subject = pkix.Name{ExtraNames: names}
			key := newKey(t)
			if _, err := Parse(foreign(t, template, key, nil)); err != nil {
				t.Fatalf("the test's own certificate: %v", err)
			}
			template.Subject.ExtraNames = append(template.Subject.ExtraNames, extra)
			if _, err := Parse(foreign(t, template, key, nil)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Text that strangers chose must not travel in errors into logs and pages.
func TestErrorsCarryNoTextOfTheCertificate(t *testing.T) {
	template := leafTemplate()
	template.Subject.Organization = []string{"EVIL", "EVIL"}
	_, err := Parse(foreign(t, template, newKey(t), nil))
	if err == nil || strings.Contains(err.Error(), "EVIL") {
		t.Fatalf("%v", err)
	}
}

// The NULL parameter that some authorities write behind the algorithm identifier.
func TestNullAlgorithmParameters(t *testing.T) {
	root := newRoot(t, 0)
	alg := raw(append([]byte{0x30, byte(len(sm2WithSM3Null))}, sm2WithSM3Null...))
	f := fields(t, issue(t, root, Agency, newKey(t)))
	content := fields(t, f[0].FullBytes)
	content[2] = alg
	tbs := sequence(t, content)
	sig, err := root.key.Sign(tbs)
	fatalIfErr(t, err)
	der := sequence(t, []asn1.RawValue{raw(tbs), alg, raw(append([]byte{3, byte(len(sig) + 1), 0}, sig...))})
	_, err = VerifyChain([][]byte{der, root.der}, [][]byte{root.der}, mid, Agency)
	fatalIfErr(t, err)
}

// One changed bit anywhere must not leave a chain that verifies.
func TestEveryBitCounts(t *testing.T) {
	root := newRoot(t, 0)
	leaf := issue(t, root, Agency, newKey(t))
	rapid.Check(t, func(t *rapid.T) {
		chain := [][]byte{bytes.Clone(leaf), bytes.Clone(root.der)}
		der := rapid.SampledFrom(chain).Draw(t, "certificate")
		der[rapid.IntRange(0, len(der)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if c, err := VerifyChain(chain, [][]byte{root.der}, mid, Agency); err == nil || c != nil {
			t.Fatal("accepted")
		}
	})
}

func TestPEM(t *testing.T) {
	root := newRoot(t, 0)
	leaf := issue(t, root, Agency, newKey(t))
	text := EncodePEM(leaf, root.der)
	ders, err := DecodePEM(text, 2)
	fatalIfErr(t, err)
	if len(ders) != 2 || !bytes.Equal(ders[0], leaf) || !bytes.Equal(ders[1], root.der) {
		t.Fatal("round trip")
	}
	for name, bad := range map[string]string{
		"empty":           "",
		"text before":     "subject=\n" + string(text),
		"text after":      string(text) + "\n",
		"text between":    string(EncodePEM(leaf)) + "\n" + string(EncodePEM(root.der)),
		"CRLF":            strings.ReplaceAll(string(text), "\n", "\r\n"),
		"no last newline": strings.TrimSuffix(string(text), "\n"),
		"cut":             string(text[:len(text)/2]),
		"other type":      strings.ReplaceAll(string(text), "CERTIFICATE", "X509 CRL"),
		"headers":         strings.Replace(string(text), "CERTIFICATE-----\n", "CERTIFICATE-----\nA: b\n\n", 1),
		"long lines":      strings.Replace(string(text), "\nM", "M", 1),
		"three":           string(text) + string(EncodePEM(leaf)),
		"huge":            strings.Repeat("\n", 1<<20) + string(text),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := DecodePEM([]byte(bad), 2); !errors.Is(err, ErrPEM) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	if _, err := DecodePEM(text, 0); !errors.Is(err, ErrPEM) {
		t.Errorf("limit 0: %v", err)
	}
	big := make([]byte, MaxSize)
	if ders, err := DecodePEM(EncodePEM(big), 1); err != nil || !bytes.Equal(ders[0], big) {
		t.Errorf("largest certificate: %v", err)
	}
}

func TestPEMRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 200), 1, MaxChain).Draw(t, "certificates")
		got, err := DecodePEM(EncodePEM(want...), MaxChain)
		fatalIfErr(t, err)
		if len(got) != len(want) {
			t.Fatalf("%d certificates, want %d", len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("certificate %d differs", i)
			}
		}
	})
}

func TestFingerprintIsSM3OfDER(t *testing.T) {
	der := newRoot(t, 0).der
	c, err := Parse(der)
	fatalIfErr(t, err)
	if c.Fingerprint() != sm.Sum(der) {
		t.Fatal(c.Fingerprint())
	}
}

// The package becomes part of the browser's verifier.
func TestImportsNoIO(t *testing.T) {
	files, err := filepath.Glob("*.go")
	fatalIfErr(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		fatalIfErr(t, err)
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			fatalIfErr(t, err)
			for _, banned := range []string{"net", "os", "io/fs", "crypto/tls", "database/sql", "log", "syscall"} {
				if path == banned || strings.HasPrefix(path, banned+"/") {
					t.Errorf("%s imports %s", name, path)
				}
			}
		}
	}
}
