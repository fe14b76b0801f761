package verifier

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/notary/proof/carrier"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorsDir, name))
	fatalIfErr(t, err)
	return b
}

// certificateOf puts a bundle into the smallest certificate.
func certificateOf(t testing.TB, bundle []byte) []byte {
	t.Helper()
	pdf, err := carrier.Write([][]byte{[]byte("<</Type/Pages/Count 1/Kids[3 0 R]>>"), []byte("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>")},
		"<</Producer(Stele)>>", strings.Repeat("0", 32), "420100-2026-00000018-9.bundle.json", bundle)
	fatalIfErr(t, err)
	return pdf
}

// entry is a file in a package; the name may occur twice.
type entry struct {
	name string
	data []byte
}

func packageOf(t testing.TB, method uint16, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.CreateHeader(&zip.FileHeader{Name: e.name, Method: method})
		fatalIfErr(t, err)
		_, err = f.Write(e.data)
		fatalIfErr(t, err)
	}
	fatalIfErr(t, w.Close())
	return b.Bytes()
}

// file writes bytes under a name that says nothing of what they are.
func file(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "evidence.bin")
	fatalIfErr(t, os.WriteFile(name, data, 0o600))
	return name
}

// TestCarriers: bundle, certificate and evidence package give the same report, byte for byte.
func TestCarriers(t *testing.T) {
	document := vector(t, "document.pdf")
	for name, code := range map[string]int{"genuine.json": 0, "revoked.json": 6, "superseded.json": 7, "pending.json": 5, "anchor-two-thirds.json": 3} {
		bundle := vector(t, name)
		want := verify(t, nil, "--json", "--trust", "trust.json", file(t, bundle), "document.pdf")
		if want.code != code {
			t.Fatalf("%s: %d", name, want.code)
		}
		parts := []entry{{"README.txt", []byte("read me")}, {"bundle.json", bundle}, {"trust.json", []byte("{}")}, {"original.pdf", document}}
		for what, data := range map[string][]byte{"certificate": certificateOf(t, bundle), "package": packageOf(t, zip.Deflate, parts...), "stored package": packageOf(t, zip.Store, parts...)} {
			if got := verify(t, nil, "--json", "--trust", "trust.json", file(t, data), "document.pdf"); got.code != code || got.stdout != want.stdout || got.stderr != "" {
				t.Errorf("%s in a %s: %d %s%s", name, what, got.code, got.stdout, got.stderr)
			}
		}
		// The package has its document with it, unless another one is given.
		if got := verify(t, nil, "--json", "--trust", "trust.json", file(t, packageOf(t, zip.Deflate, parts...))); got.code != code || got.stdout != want.stdout {
			t.Errorf("%s: a package alone: %d %s%s", name, got.code, got.stdout, got.stderr)
		}
	}
}

func TestWhichDocument(t *testing.T) {
	bundle, document := vector(t, "genuine.json"), vector(t, "document.pdf")
	whole := packageOf(t, zip.Deflate, entry{"original.pdf", document}, entry{"bundle.json", bundle})
	for what, tc := range map[string]struct {
		data []byte
		args []string
		code int
		says string // on the standard error
	}{
		"certificate alone":       {certificateOf(t, bundle), nil, 4, ""},
		"package without it":      {packageOf(t, zip.Deflate, entry{"bundle.json", bundle}), nil, 4, ""},
		"package":                 {whole, nil, 0, "the document is original.pdf inside "},
		"package and other file":  {whole, []string{"empty.bin"}, 1, ""},
		"altered original":        {packageOf(t, zip.Deflate, entry{"original.pdf", document[1:]}, entry{"bundle.json", bundle}), nil, 1, "the document is"},
		"altered, and right file": {packageOf(t, zip.Deflate, entry{"original.pdf", document[1:]}, entry{"bundle.json", bundle}), []string{"document.pdf"}, 0, ""},
		"without an extension":    {packageOf(t, zip.Store, entry{"original", document}, entry{"bundle.json", bundle}), nil, 0, "original inside"},
		"in a folder":             {packageOf(t, zip.Store, entry{"x/original.pdf", document}, entry{"bundle.json", bundle}), nil, 4, ""},
	} {
		r := verify(t, nil, append([]string{"--trust", "trust.json", file(t, tc.data)}, tc.args...)...)
		if r.code != tc.code || !strings.Contains(r.stderr, tc.says) || tc.says == "" && r.stderr != "" {
			t.Errorf("%s: %d %s%s", what, r.code, r.stdout, r.stderr)
		}
	}
	// Trust roots in a package are not trust roots.
	forged := packageOf(t, zip.Deflate, entry{"bundle.json", bundle}, entry{"trust.json", vector(t, "trust.json")}, entry{"original.pdf", document})
	if r := verify(t, nil, file(t, forged)); r.code != exitUsage || !strings.Contains(r.stderr, "--trust is missing") {
		t.Errorf("without trust roots: %d %s", r.code, r.stderr)
	}
}

// hostileFiles are certificates and packages that must be refused, each with what is said.
func hostileFiles(t testing.TB) map[string]struct {
	data []byte
	says string
} {
	bundle, document := vector(t, "genuine.json"), vector(t, "document.pdf")
	whole := packageOf(t, zip.Deflate, entry{"bundle.json", bundle}, entry{"original.pdf", document})
	pdf := certificateOf(t, bundle)
	edit := func(data []byte, f func(b []byte)) []byte { b := bytes.Clone(data); f(b); return b }
	end := func(b []byte) []byte { return b[len(b)-22:] }
	many := make([]entry, maxEntries+1)
	type file = struct {
		data []byte
		says string
	}
	return map[string]file{
		"cut certificate":     {pdf[:len(pdf)-10], "cut off or saved again"},
		"certificate updated": {append(bytes.Clone(pdf), "%%EOF\n"...), "cut off or saved again"},
		"any PDF":             {document, "is no certificate as it was issued"},
		"large PDF":           {append([]byte("%PDF-1.7"), make([]byte, carrier.MaxSize)...), "at most 8388608 bytes"},
		"cut package":         {whole[:len(whole)-10], "table of contents"},
		"four bytes":          {[]byte("PK\x03\x04"), "table of contents"},
		"package, comment":    {append(edit(whole, func(b []byte) { end(b)[20] = 1 }), 'x'), "table of contents"},
		"any zip":             {packageOf(t, zip.Deflate, entry{"word/document.xml", document}), "there is no bundle.json in it; " + orderHint},
		"empty zip":           {packageOf(t, zip.Deflate), "there is no bundle.json in it"},
		"two bundles":         {packageOf(t, zip.Store, entry{"bundle.json", bundle}, entry{"bundle.json", bundle}), `"bundle.json" and "bundle.json" are both in it`},
		"two originals":       {packageOf(t, zip.Store, entry{"bundle.json", bundle}, entry{"original", nil}, entry{"original.pdf", document}), "are both in it"},
		"many files":          {packageOf(t, zip.Store, many...), "table of contents"},
		"claims many":         {edit(whole, func(b []byte) { binary.LittleEndian.PutUint16(end(b)[10:], 0xfffe) }), "table of contents"},
		"claims fewer":        {edit(whole, func(b []byte) { binary.LittleEndian.PutUint16(end(b)[10:], 1) }), "table of contents"},
		"directory is large":  {edit(whole, func(b []byte) { binary.LittleEndian.PutUint32(end(b)[12:], 1<<30) }), "table of contents"},
		"encrypted":           {edit(whole, func(b []byte) { b[bytes.LastIndex(b, []byte("PK\x01\x02"))+8] |= 1 }), "is encrypted"},
		"spoilt bundle":       {edit(whole, func(b []byte) { b[60] ^= 0xff }), "the package is damaged: bundle.json"},
		"bomb for a bundle":   {bomb(t, "bundle.json", 64<<20), "expands beyond measure"},
		"bomb for a document": {packageWith(t, bundle, 64<<20, 0), "expands beyond measure"},
		"lies about its size": {packageWith(t, bundle, 64<<20, 1<<20), "read after 1048576 bytes: zip: not a valid zip file"},
	}
}

// bomb is a package whose one file expands to zeros.
func bomb(t testing.TB, name string, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(name)
	fatalIfErr(t, err)
	_, err = io.CopyN(f, zeros{}, size)
	fatalIfErr(t, err)
	fatalIfErr(t, w.Close())
	return b.Bytes()
}

// packageWith holds an original that expands to a size, and announces another one, or none.
func packageWith(t testing.TB, bundle []byte, size int64, announced uint64) []byte {
	t.Helper()
	var content bytes.Buffer
	c, err := flate.NewWriter(&content, flate.BestSpeed)
	fatalIfErr(t, err)
	_, err = io.CopyN(c, zeros{}, size)
	fatalIfErr(t, err)
	fatalIfErr(t, c.Close())
	if announced == 0 {
		announced = uint64(size)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("bundle.json")
	fatalIfErr(t, err)
	_, err = f.Write(bundle)
	fatalIfErr(t, err)
	f, err = w.CreateRaw(&zip.FileHeader{Name: "original.pdf", Method: zip.Deflate, CompressedSize64: uint64(content.Len()), UncompressedSize64: announced})
	fatalIfErr(t, err)
	_, err = f.Write(content.Bytes())
	fatalIfErr(t, err)
	fatalIfErr(t, w.Close())
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestHostileCarriers: each says what is wrong, checks nothing and stays small.
func TestHostileCarriers(t *testing.T) {
	for what, h := range hostileFiles(t) {
		r := verify(t, nil, "--trust", "trust.json", file(t, h.data))
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, h.says) {
			t.Errorf("%s: %d %q %q, want %q", what, r.code, r.stdout, r.stderr, h.says)
		}
		if r.tooMuch(t, 64<<10) {
			t.Errorf("%s takes %d KiB", what, r.maxRSS)
		}
	}
}

// A file of many gigabytes that says that it has as many entries as would fit.
func TestLargeTableOfContents(t *testing.T) {
	whole := packageOf(t, zip.Store, entry{"bundle.json", vector(t, "genuine.json")})
	name := file(t, whole)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	fatalIfErr(t, err)
	defer f.Close()
	const size = 8 << 30 // sparse
	end64 := make([]byte, 56+20+22)
	copy(end64, "PK\x06\x06")
	binary.LittleEndian.PutUint64(end64[4:], 44)
	binary.LittleEndian.PutUint64(end64[24:], 1<<27)
	binary.LittleEndian.PutUint64(end64[32:], 1<<27)
	binary.LittleEndian.PutUint64(end64[40:], 1<<32)
	copy(end64[56:], "PK\x06\x07")
	binary.LittleEndian.PutUint64(end64[64:], size-98)
	copy(end64[76:], "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00")
	_, err = f.WriteAt(end64, size-98)
	fatalIfErr(t, err)
	if r := verify(t, nil, "--trust", "trust.json", name); r.code != exitUsage || !strings.Contains(r.stderr, "table of contents") || r.tooMuch(t, 48<<10) {
		t.Errorf("%d, %d KiB: %s", r.code, r.maxRSS, r.stderr)
	}
}

// FuzzEvidence: no file makes the reading of evidence panic, or deliver more than a bundle.
func FuzzEvidence(f *testing.F) {
	bundle := []byte(`{"format":"stele/bundle/v1"}`)
	f.Add(bundle)
	f.Add(certificateOf(f, bundle))
	f.Add(packageOf(f, zip.Store, entry{"bundle.json", bundle}, entry{"original", nil}))
	f.Add(packageOf(f, zip.Deflate, entry{"bundle.json", bundle}, entry{"original.pdf", []byte("x")}))
	name := filepath.Join(f.TempDir(), "evidence")
	f.Fuzz(func(t *testing.T, data []byte) {
		fatalIfErr(t, os.WriteFile(name, data, 0o600))
		e, err := openEvidence(name)
		if err != nil {
			return
		}
		defer e.close()
		if len(e.bundle) > 1<<20+1 {
			t.Fatalf("%d bytes", len(e.bundle))
		}
		if e.original != nil {
			_, _ = hashEntry(t.Context(), e.original, io.Discard)
		}
	})
}
