package carrier_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"stele/notary/proof/carrier"
	"stele/notary/proof/prooftest/packages"
)

const someBundle = `{"format":"stele/bundle/v1","rest":"of it"}`

var someFiles = packages.Good([]byte(someBundle), []byte("%PDF-1.4 the document"))

// read reads a package and returns what was written of the original.
func read(data []byte) (*carrier.Package, string, error) {
	var b bytes.Buffer
	p, err := carrier.ReadPackage(bytes.NewReader(data), func(string) (io.Writer, error) { return &b, nil })
	return p, b.String(), err
}

func looks(t testing.TB, data []byte) bool {
	t.Helper()
	ok, err := carrier.LooksPacked(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// scanned is what an upload finds of the same bytes, which come in parts.
func scanned(data []byte, part int) bool {
	var scan carrier.PackageScan
	for rest := data; len(rest) > 0; rest = rest[min(part, len(rest)):] {
		scan.Write(rest[:min(part, len(rest))])
	}
	return scan.Looks()
}

func TestPackage(t *testing.T) {
	data := packages.Of(someFiles...)
	if !bytes.Equal(data, packages.Forge(someFiles...)) {
		t.Error("packages of earlier versions were written by the library, and these differ")
	}
	p, original, err := read(data)
	if err != nil || string(p.Bundle) != someBundle || p.Original != "original.pdf" ||
		original != "%PDF-1.4 the document" || p.Size != uint64(len(original)) {
		t.Fatalf("%+v %q %v", p, original, err)
	}
	if p, err := carrier.ReadPackage(bytes.NewReader(data), nil); err != nil || p.Original != "original.pdf" {
		t.Errorf("unread: %+v %v", p, err)
	}
	slow := iotest.OneByteReader(bytes.NewReader(data))
	if p, err := carrier.ReadPackage(slow, nil); err != nil || string(p.Bundle) != someBundle {
		t.Errorf("byte by byte: %+v %v", p, err)
	}
	alone := packages.Of(packages.File{Name: "bundle.json", Data: []byte(someBundle)})
	if p, _, err := read(alone); err != nil || p.Original != "" {
		t.Errorf("without an original: %+v %v", p, err)
	}
	for _, size := range []int{0, 1, 65534, 65535, 65536, 131070, 131071, 1 << 20} {
		files := []packages.File{{Name: "bundle.json", Data: []byte(someBundle)},
			{Name: "original", Data: make([]byte, size)}}
		data := packages.Of(files...)
		if !bytes.Equal(data, packages.Forge(files...)) {
			t.Errorf("%d bytes: the library writes something else", size)
		}
		if p, original, err := read(data); err != nil || p.Size != uint64(size) || len(original) != size {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// TestBadPackages: each is refused, with the file that is at fault, and none passes for a
// document that nobody knows.
func TestBadPackages(t *testing.T) {
	for _, c := range packages.Bad([]byte(someBundle), []byte("%PDF-1.4 the document")) {
		_, _, err := read(c.Data)
		var fault *carrier.PackageError
		if !errors.As(err, &fault) || fault.Entry != c.Entry {
			t.Errorf("%s: %v, want %q", c.What, err, c.Entry)
			continue
		}
		if c.Entry != "" && !strings.Contains(err.Error(), fmt.Sprintf("%q", c.Entry)) {
			t.Errorf("%s: %v does not name %q", c.What, err, c.Entry)
		}
		if !looks(t, c.Data) {
			t.Errorf("%s: does not look like a package", c.What)
		}
		for _, part := range []int{len(c.Data), 999, 1} {
			if !scanned(c.Data, part) && !fault.Looks {
				t.Errorf("%s: in parts of %d, does not look like a package", c.What, part)
			}
		}
	}
}

// TestEveryByteOfAPackageCounts: one that differs anywhere, or is cut off anywhere, is refused.
func TestEveryByteOfAPackageCounts(t *testing.T) {
	data := packages.Of(someFiles...)
	for n := range data {
		if _, _, err := read(data[:n]); err == nil {
			t.Fatalf("the first %d bytes are accepted", n)
		}
		for _, bit := range []byte{1, 0x20, 0x80} {
			bad := bytes.Clone(data)
			bad[n] ^= bit
			var fault *carrier.PackageError
			if _, _, err := read(bad); !errors.As(err, &fault) {
				t.Errorf("byte %d (%q) changed to %q: %v", n, data[n], bad[n], err)
			}
		}
	}
}

// TestNamesInPackages is the list of section 13 of docs/formats.md.
func TestNamesInPackages(t *testing.T) {
	good := `README.txt report.html report.json certificate.pdf trust.json algorithms.txt verify.html manifest.sm3
		original original.pdf original.a original.12345678
		statement.json signature.der signer.pem issuer-1.pem issuer-12.pem root.pem entry.bin
		inclusion/01.left inclusion/64.right checkpoint.txt checkpoint.der log.pem
		anchor-1/header.txt anchor-10/path/01.left anchor-1/path/02.right anchor-1/cosignature-0.der
		anchor-1/epoch-0/epoch.txt anchor-1/epoch-9007199254740991/validator-63.pem anchor-1/epoch-1/signature-0.der
		gateway-1/key.pem gateway-1/history.txt gateway-2/history.der gateway-1/block.txt gateway-1/ledger.der
		gateway-1/row.txt gateway-1/receipt.der
		standing/statement.json standing/anchor-1/epoch-0/epoch.txt standing/inclusion/01.left`
	for name := range strings.FieldsSeq(good) {
		data := packages.Of(packages.File{Name: "bundle.json", Data: []byte(someBundle)}, packages.File{Name: name})
		if _, _, err := read(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := `readme.txt README.TXT report.htm original. original.PDF original.123456789 original.tar.gz original-pdf
		originals .original issuer-.pem issuer-01.pem issuer-x.pem
		inclusion/1.left inclusion/001.left inclusion/01.up inclusion/01.left/x anchor-1/ anchor-/header.txt
		anchor-1/header.txt.exe anchor-1/epoch-00/epoch.txt
		anchor-1/epoch-12345678901234567/epoch.txt gateway-1/other.txt
		standing standing/bundle.json standing/original.pdf standing/standing/log.pem STANDING/log.pem x/bundle.json
		statement.json/ bundle.json. bundle.json::$DATA`
	for name := range strings.FieldsSeq(bad) {
		data := packages.Forge(packages.File{Name: "bundle.json", Data: []byte(someBundle)}, packages.File{Name: name})
		var fault *carrier.PackageError
		if _, _, err := read(data); !errors.As(err, &fault) || fault.Entry != name {
			t.Errorf("%s: %v", name, err)
		}
		w := carrier.NewPackageWriter(io.Discard, packages.At)
		if err := w.Add(name, func(io.Writer) error { return nil }); err == nil {
			t.Errorf("%s is written", name)
		}
	}
}

// Zip files that people have as documents are none of ours, whatever they hold.
func TestOtherZipFiles(t *testing.T) {
	inner := packages.Of(someFiles...)
	holding := func(method uint16, name, content string) []byte {
		return packages.Repacked(method, packages.File{Name: name, Data: []byte(content)})
	}
	for what, data := range map[string][]byte{
		"empty":               packages.Repacked(zip.Store),
		"office":              holding(zip.Deflate, "word/document.xml", "<w:document/>"),
		"a program's bundle":  holding(zip.Deflate, "bundle.json", `{"name":"app"}`),
		"no bundle":           packages.Of(packages.File{Name: "README.txt"}, packages.File{Name: "original.pdf"}),
		"a bundle in a zip":   holding(zip.Store, "a/bundle.json", someBundle),
		"a package in a zip":  holding(zip.Store, "case.zip", string(inner)),
		"four bytes":          []byte("PK\x03\x04"),
		"nothing":             nil,
		"headers all the way": bytes.Repeat([]byte("PK\x03\x04PK\x01\x02PK\x05\x06"), 3000),
		"no table":            append([]byte("PK\x05\x06"), make([]byte, 18)...),
		"table of nonsense":   append([]byte("PK\x03\x04PK\x05\x06"), bytes.Repeat([]byte{0xff}, 18)...),
	} {
		t.Run(what, func(t *testing.T) {
			if looks(t, data) || scanned(data, 7) || scanned(data, len(data)+1) {
				t.Errorf("%s looks like a package", what)
			}
			if _, _, err := read(data); err == nil {
				t.Errorf("%s is read", what)
			}
		})
	}
	if !looks(t, inner) || !scanned(inner, 100) {
		t.Error("a package does not look like one")
	}
}

// TestFailuresAreNoFaults: what cannot be read or written says nothing about the package.
func TestFailuresAreNoFaults(t *testing.T) {
	data := packages.Of(someFiles...)
	broken := errors.New("the disk is broken")
	var fault *carrier.PackageError
	for n := range data {
		r := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))
		if _, err := carrier.ReadPackage(r, nil); !errors.Is(err, broken) || errors.As(err, &fault) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	full := func(string) (io.Writer, error) { return nil, broken }
	if _, err := carrier.ReadPackage(bytes.NewReader(data), full); !errors.Is(err, broken) {
		t.Error(err)
	}
	w := carrier.NewPackageWriter(io.Discard, packages.At)
	if err := w.Add("original", func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := w.Close(); !errors.Is(err, broken) {
		t.Errorf("a package that failed is closed: %v", err)
	}
}

// TestHugeOriginals: sizes and places beyond 32 bits are written as the library does, and read.
func TestHugeOriginals(t *testing.T) {
	if testing.Short() {
		t.Skip("several gigabytes pass through")
	}
	for what, sizes := range map[string][2]int64{
		"place": {2 << 20, 1<<32 - 1<<20}, "stored size": {0, 1<<32 - 1<<18}, "both sizes": {0, 1<<32 + 5},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			huge := func(add func(name string, size int64) error) error {
				return errors.Join(add("README.txt", sizes[0]), add("bundle.json", 0), add("original", sizes[1]),
					add("manifest.sm3", 0))
			}
			pr, pw := io.Pipe()
			ours, theirs := crc32.NewIEEE(), crc32.NewIEEE()
			go func() {
				w := carrier.NewPackageWriter(io.MultiWriter(pw, ours), packages.At)
				err := huge(func(name string, size int64) error {
					return w.Add(name, func(w io.Writer) error { _, err := io.CopyN(w, zeros{}, size); return err })
				})
				pw.CloseWithError(errors.Join(err, w.Close()))
			}()
			p, err := carrier.ReadPackage(pr, nil)
			if err != nil || p.Size != uint64(sizes[1]) {
				t.Errorf("%+v %v", p, err)
			}
			packages.ForgeTo(theirs, func(create func(name string) io.Writer) error {
				return huge(func(name string, size int64) error {
					_, err := io.CopyN(create(name), zeros{}, size)
					return err
				})
			})
			if ours.Sum32() != theirs.Sum32() {
				t.Error("the library writes something else")
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestMutatedPackages: what is read after any damage is what the library finds by the table of
// contents, too: the two never read different files. Few get that far.
func TestMutatedPackages(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 2026))
	good := packages.Of(someFiles...)
	for range 20_000 {
		agrees(t, packages.Mutate(random, good))
	}
}

// agrees compares what is accepted with what the library finds in it.
func agrees(t *testing.T, data []byte) {
	t.Helper()
	p, original, err := read(data)
	if err != nil {
		return
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatalf("accepted, and the library says %v: %q", err, data)
	}
	found := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := found[strings.ToLower(f.Name)]; ok {
			t.Fatalf("%s is in it twice", f.Name)
		}
		found[strings.ToLower(f.Name)] = string(content)
	}
	if found["bundle.json"] != string(p.Bundle) || p.Original != "" && found[p.Original] != original {
		t.Fatalf("the library finds something else in %q", data)
	}
}

// FuzzPackage: nothing panics, and what is accepted is what the library finds.
func FuzzPackage(f *testing.F) {
	f.Add(packages.Of(someFiles...))
	f.Add(packages.Of(packages.File{Name: "bundle.json"}, packages.File{Name: "original"}))
	for _, c := range packages.Bad([]byte(someBundle), []byte("%PDF-1.4 the document")) {
		f.Add(c.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		agrees(t, data)
		looks(t, data)
		scanned(data, 100)
	})
}

func BenchmarkReadPackage(b *testing.B) {
	data := packages.Of(packages.File{Name: "bundle.json", Data: []byte(someBundle)},
		packages.File{Name: "original", Data: make([]byte, 64<<20)})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := carrier.ReadPackage(bytes.NewReader(data), nil); err != nil {
			b.Fatal(err)
		}
	}
}
