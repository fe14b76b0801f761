package carrier_test

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

const (
	id   = "00112233445566778899aabbccddeeff"
	name = "420100-2026-00000017-0.bundle.json"
	page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>"
)

var objects = [][]byte{[]byte("<</Type/Pages/Count 1/Kids[3 0 R]>>"), []byte(page)}

func write(t testing.TB, bundle string) []byte {
	t.Helper()
	pdf, err := carrier.Write(objects, "<</Title(x)>>", id, name, []byte(bundle))
	if err != nil {
		t.Fatal(err)
	}
	return pdf
}

func TestRoundTrip(t *testing.T) {
	for _, bundle := range []string{"{}", `{"format":"stele/bundle/v1"}`,
		"endstream\nendobj\n%%EOF\nstartxref\n0\n%%EOF\n", strings.Repeat("x", proof.MaxBundleSize)} {
		pdf := write(t, bundle)
		gotName, got, err := carrier.Extract(pdf)
		if err != nil || gotName != name || string(got) != bundle {
			t.Errorf("%d bytes: %q, %d bytes, %v", len(bundle), gotName, len(got), err)
		}
		if again := write(t, bundle); !bytes.Equal(pdf, again) {
			t.Error("two writes differ")
		}
	}
}

func TestLimitIsTheBundles(t *testing.T) {
	if carrier.MaxBundle != proof.MaxBundleSize {
		t.Error("a bundle that may exist must fit")
	}
}

func TestWriteRefuses(t *testing.T) {
	for what, f := range map[string]func() ([]byte, error){
		"empty bundle": func() ([]byte, error) { return carrier.Write(objects, "", id, name, nil) },
		"large bundle": func() ([]byte, error) {
			return carrier.Write(objects, "", id, name, make([]byte, carrier.MaxBundle+1))
		},
		"name":        func() ([]byte, error) { return carrier.Write(objects, "", id, "a)b", []byte("{}")) },
		"hidden name": func() ([]byte, error) { return carrier.Write(objects, "", id, "..", []byte("{}")) },
		"id":          func() ([]byte, error) { return carrier.Write(objects, "", "0>", name, []byte("{}")) },
		"no objects":  func() ([]byte, error) { return carrier.Write(nil, "", id, name, []byte("{}")) },
		"many objects": func() ([]byte, error) {
			return carrier.Write(make([][]byte, 5000), "", id, name, []byte("{}"))
		},
		"large": func() ([]byte, error) {
			return carrier.Write([][]byte{make([]byte, carrier.MaxSize)}, "", id, name, []byte("{}"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			if b, err := f(); err == nil || b != nil {
				t.Errorf("%s was accepted", what)
			}
		})
	}
}

// Every certificate that is cut off anywhere, or has one byte changed outside the bundle, a
// page, or the information, is refused, and nothing panics.
func TestDamaged(t *testing.T) {
	pdf := write(t, "{}")
	for n := range len(pdf) {
		if _, _, err := carrier.Extract(pdf[:n]); err == nil {
			t.Fatalf("accepted the first %d bytes", n)
		}
	}
	free := []string{"2 0 obj\n<</Type/Pages/Count 1/Kids[3 0 R]>>\nendobj\n", "3 0 obj\n" + page + "\nendobj\n",
		"4 0 obj\n<</Title(x)>>\nendobj\n", "{}"}
	for n := range len(pdf) {
		for _, bit := range []byte{1, 0x20, 0x80} {
			bad := slices.Clone(pdf)
			bad[n] ^= bit
			gotName, _, err := carrier.Extract(bad)
			named := err == nil && gotName != name // the name, changed in one place, differs in the other
			inside := slices.ContainsFunc(free, func(s string) bool {
				at := strings.LastIndex(string(pdf), s)
				return n >= at && n < at+len(s)
			})
			// The identifier is free as well, as long as it is one.
			inside = inside || strings.Contains(string(pdf[max(0, n-80):n+1]), "/ID[")
			if (err == nil && !inside) || named {
				t.Errorf("byte %d (%q) changed to %q: accepted", n, pdf[n], bad[n])
			}
		}
	}
}

func TestForeignAndResaved(t *testing.T) {
	pdf := write(t, "{}")
	update := fmt.Sprintf("6 0 obj\n<</Type/EmbeddedFile/Length 2>>\nstream\n[]\nendstream\nendobj\nxref\n6 1\n%010d "+
		"00000 n \ntrailer\n<</Size 7/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(pdf), len(pdf)+70)
	for what, tc := range map[string]struct {
		pdf  []byte
		want error
	}{
		"nothing":      {nil, carrier.ErrForeign},
		"a document":   {[]byte("%PDF-1.7\n%\n%%EOF\n"), carrier.ErrForeign},
		"other head":   {bytes.Replace(pdf, []byte("1.7"), []byte("1.4"), 1), carrier.ErrResaved},
		"bytes before": {append([]byte("\n"), pdf...), carrier.ErrResaved},
		"rewritten":    {rewritten(pdf), carrier.ErrResaved},
		"in hex":       {compressedObjects(t, "/Desc<7374656C652F62756E646C652F7631>"), carrier.ErrResaved},
		"compressed":   {compressedObjects(t, "/Desc(Evidence, format stele/bundle/v1)"), carrier.ErrResaved},
		"other object": {compressedObjects(t, "/Type/Page"), carrier.ErrForeign},
		"damaged":      {compressedObjects(t, "/Type/Page")[:60], carrier.ErrForeign},
		"bytes after":  {append(slices.Clone(pdf), '\n'), carrier.ErrResaved},
		"an update":    {append(slices.Clone(pdf), update...), carrier.ErrResaved},
		"two in one":   {append(slices.Clone(pdf), pdf...), carrier.ErrResaved},
		"large":        {make([]byte, carrier.MaxSize+1), carrier.ErrTooLarge},
	} {
		t.Run(what, func(t *testing.T) {
			if _, _, err := carrier.Extract(tc.pdf); !errors.Is(err, tc.want) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

// rewritten is what qpdf makes of a certificate: another second line, other numbers of objects
// and another table.
func rewritten(pdf []byte) []byte {
	b := bytes.Replace(pdf, []byte("%\xe2\xe3\xcf\xd3\n%stele/certificate/v1\n"), []byte("%\xbf\xf7\xa2\xfe\n"), 1)
	return bytes.Replace(b, []byte("xref\n0 7"), []byte("xref\n0 07"), 1)
}

// compressedObjects is a PDF whose objects are in a compressed stream, as many programs save.
func compressedObjects(t testing.TB, objects string) []byte {
	t.Helper()
	b := bytes.NewBufferString("%PDF-1.7\n%\xbf\xf7\xa2\xfe\n1 0 obj\n<</Type/ObjStm/Filter/FlateDecode>>\nstream\r\n")
	z := zlib.NewWriter(b)
	if _, err := io.WriteString(z, objects); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\nendstream\nendobj\nstartxref\n0\n%%EOF\n")
	return b.Bytes()
}

// TestLookingIntoStreamsIsBounded: a PDF of bombs costs no more than the bound.
func TestLookingIntoStreamsIsBounded(t *testing.T) {
	bomb := compressedObjects(t, strings.Repeat("0", 16<<20))
	pdf := slices.Concat(bomb, bytes.Repeat(bomb, carrier.MaxSize/len(bomb)-1))
	if _, _, err := carrier.Extract(pdf); !errors.Is(err, carrier.ErrForeign) {
		t.Error(err)
	}
}

// A catalog with two attachments, or one that lies in a loop or a compressed stream, is
// none of ours.
func TestHostile(t *testing.T) {
	pdf := string(write(t, "{}"))
	for what, r := range map[string][2]string{
		"two attachments":     {"/Names[(" + name + ") 5 0 R]", "/Names[(" + name + ") 5 0 R(b) 5 0 R]"},
		"loop in the catalog": {") 5 0 R]>>>>", ") 1 0 R]>>>>"},
		"compressed":          {"/Length 2>>", "/Filter/FlateDecode/Length 2>>"},
		"long length":         {"/Length 2>>", "/Length 99999999999999999999>>"},
		"negative length":     {"/Length 2>>", "/Length -2>>"},
		"indirect length":     {"/Length 2>>", "/Length 5 0 R>>"},
		"many objects":        {"xref\n0 7", "xref\n0 4000000000"},
		"offset of itself":    {"startxref\n", "startxref\n0"},
	} {
		t.Run(what, func(t *testing.T) {
			bad := strings.Replace(pdf, r[0], r[1], 1)
			if bad == pdf {
				t.Fatalf("%s: nothing was replaced", what)
			}
			if _, _, err := carrier.Extract([]byte(bad)); !errors.Is(err, carrier.ErrResaved) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

func TestSniff(t *testing.T) {
	for head, want := range map[string]carrier.Kind{"%PDF-1.7": carrier.PDF, "PK\x03\x04": carrier.Zip,
		"PK\x05\x06": carrier.Zip, `{"format"`: carrier.Other, "": carrier.Other, "PK": carrier.Other} {
		t.Run(head, func(t *testing.T) {
			if got := carrier.Sniff([]byte(head)); got != want {
				t.Errorf("%q: %d", head, got)
			}
		})
	}
}

// FuzzExtract: what is accepted is what Write writes: the bundle is in it once, under the
// name, and all of the tail is spelled as it is there.
func FuzzExtract(f *testing.F) {
	f.Add(write(f, "{}"))
	f.Add(write(f, "%%EOF\n"))
	f.Add([]byte("%PDF-1.7\n"))
	f.Fuzz(func(t *testing.T, pdf []byte) {
		gotName, bundle, err := carrier.Extract(pdf)
		if err != nil {
			return
		}
		if len(bundle) == 0 || len(bundle) > carrier.MaxBundle || !bytes.Contains(pdf, bundle) {
			t.Fatalf("%d bytes of %d", len(bundle), len(pdf))
		}
		again, err := carrier.Write(objects, "", id, gotName, bundle)
		if err != nil {
			t.Fatal(err)
		}
		if n, b, err := carrier.Extract(again); err != nil || n != gotName || !bytes.Equal(b, bundle) {
			t.Fatalf("%q %v", n, err)
		}
	})
}

func BenchmarkExtract(b *testing.B) {
	pdf := write(b, strings.Repeat("x", 5000))
	for b.Loop() {
		if _, _, err := carrier.Extract(pdf); err != nil {
			b.Fatal(err)
		}
	}
}
