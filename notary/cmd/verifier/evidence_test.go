package verifier

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
	"stele/notary/proof/prooftest/packages"
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
	pdf, err := carrier.Write([][]byte{[]byte("<</Type/Pages/Count 1/Kids[3 0 R]>>"),
		[]byte("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>")},
		"<</Producer(Stele)>>", strings.Repeat("0", 32), "420100-2026-00000018-9.bundle.json", bundle)
	fatalIfErr(t, err)
	return pdf
}

// entry is a file in a package; the name may occur twice.
type entry = packages.File

// packageOf is a package as it is issued.
func packageOf(entries ...entry) []byte { return packages.Of(entries...) }

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
	for name, code := range map[string]int{"genuine.json": 0, "revoked.json": 6, "superseded.json": 7,
		"pending.json": 5, "anchor-two-thirds.json": 3} {
		t.Run(name, func(t *testing.T) {
			bundle := vector(t, name)
			want := verify(t, nil, "--json", "--trust", "trust.json", file(t, bundle), "document.pdf")
			if want.code != code {
				t.Fatalf("%s: %d", name, want.code)
			}
			whole := packageOf(packages.Good(bundle, document)...)
			for what, data := range map[string][]byte{"certificate": certificateOf(t, bundle), "package": whole} {
				got := verify(t, nil, "--json", "--trust", "trust.json", file(t, data), "document.pdf")
				if got.code != code || got.stdout != want.stdout || got.stderr != "" {
					t.Errorf("%s in a %s: %d %s%s", name, what, got.code, got.stdout, got.stderr)
				}
			}
			// The package has its document with it, unless another one is given.
			got := verify(t, nil, "--json", "--trust", "trust.json", file(t, whole))
			if got.code != code || got.stdout != want.stdout {
				t.Errorf("%s: a package alone: %d %s%s", name, got.code, got.stdout, got.stderr)
			}
		})
	}
}

func TestWhichDocument(t *testing.T) {
	bundle, document := vector(t, "genuine.json"), vector(t, "document.pdf")
	with := func(name string, data []byte) []byte {
		return packageOf(entry{Name: name, Data: data}, entry{Name: "bundle.json", Data: bundle})
	}
	checked := func(name string, data []byte) string {
		return fmt.Sprintf("  checked       %s in the package, SM3 %s, %d bytes\n", name, sm.Sum(data), len(data))
	}
	for what, tc := range map[string]struct {
		data []byte
		args []string
		code int
		says string
	}{
		"certificate alone":       {certificateOf(t, bundle), nil, 4, ""},
		"package without it":      {packageOf(entry{Name: "bundle.json", Data: bundle}), nil, 4, ""},
		"package":                 {with("original.pdf", document), nil, 0, checked("original.pdf", document)},
		"package and other file":  {with("original.pdf", document), []string{"empty.bin"}, 1, ""},
		"altered original":        {with("original.pdf", document[1:]), nil, 1, checked("original.pdf", document[1:])},
		"altered, and right file": {with("original.pdf", document[1:]), []string{"document.pdf"}, 0, ""},
		"without an extension":    {with("original", document), nil, 0, checked("original", document)},
	} {
		t.Run(what, func(t *testing.T) {
			r := verify(t, nil, append([]string{"--trust", "trust.json", file(t, tc.data)}, tc.args...)...)
			named := strings.Contains(r.stdout, "checked   ")
			if r.code != tc.code || !strings.Contains(r.stdout, tc.says) || named != (tc.says != "") || r.stderr != "" {
				t.Errorf("%s: %d %s%s", what, r.code, r.stdout, r.stderr)
			}
		})
	}
	// Trust roots in a package are not trust roots.
	forged := packageOf(packages.Good(bundle, document)...)
	if r := verify(t, nil, file(t, forged)); r.code != exitUsage || !strings.Contains(r.stderr, "--trust is missing") {
		t.Errorf("without trust roots: %d %s", r.code, r.stderr)
	}
}

// TestBadPackages: a package that is not as it was issued is invalid whatever is in it, and
// whichever document is given with it. The report names the file at fault.
func TestBadPackages(t *testing.T) {
	bad := packages.Bad(vector(t, "genuine.json"), vector(t, "document.pdf"))
	bad = append(bad, packages.Case{What: "bomb", Data: bomb(t, vector(t, "genuine.json")), Entry: "bundle.json"},
		packages.Case{What: "a byte in front",
			Data:  append([]byte("x"), packageOf(packages.Good(vector(t, "genuine.json"), nil)...)...),
			Entry: "bundle.json"})
	for _, c := range bad {
		name := file(t, c.Data)
		folder := filepath.Join(t.TempDir(), "out")
		for _, more := range [][]string{{name}, {name, "document.pdf"}, {"--extract", folder, name}} {
			r := verify(t, nil, append([]string{"--json", "--trust", "trust.json"}, more...)...)
			var report proof.Report
			fatalIfErr(t, json.Unmarshal([]byte(r.stdout), &report))
			step, _ := report.FailedStep()
			if r.code != 3 || report.Verdict != proof.Invalid || len(report.Steps) != 9 || report.Document != nil ||
				step.Name != proof.StepBundle || step.Reason != "package" ||
				!strings.Contains(report.Summary, step.Detail) {
				t.Errorf("%s: %d %s%s", c.What, r.code, r.stdout, r.stderr)
			}
			want := []proof.Comparison{{What: "entry", Value: c.Entry}}
			if c.Entry == "" {
				want = nil
			}
			if !slices.Equal(step.Compared, want) ||
				c.Entry != "" && !strings.Contains(step.Detail, fmt.Sprintf("%q", c.Entry)) {
				t.Errorf("%s: %+v, want %q", c.What, step, c.Entry)
			}
			if r.tooMuch(t, 64<<10) {
				t.Errorf("%s takes %d KiB", c.What, r.maxRSS)
			}
		}
		if _, err := os.Lstat(folder); !os.IsNotExist(err) {
			t.Errorf("%s: something was written: %v", c.What, err)
		}
	}
}

// bomb is a package whose bundle expands to many zeros.
func bomb(t testing.TB, bundle []byte) []byte {
	t.Helper()
	data := append(bytes.Clone(bundle), make([]byte, 64<<20)...)
	return packages.Repacked(zip.Deflate, entry{Name: "bundle.json", Data: data})
}

// hostileFiles are certificates and zip files of which nothing can be checked, each with what is said.
func hostileFiles(t testing.TB) map[string]struct {
	data []byte
	says string
} {
	bundle, document := vector(t, "genuine.json"), vector(t, "document.pdf")
	pdf := certificateOf(t, bundle)
	rewritten := bytes.Replace(pdf, []byte("%stele/certificate/v1\n"), nil, 1)
	large := append([]byte("%PDF-1.7"), make([]byte, carrier.MaxSize)...)
	office := packages.Repacked(zip.Deflate, entry{Name: "word/document.xml", Data: document})
	type file = struct {
		data []byte
		says string
	}
	return map[string]file{
		"cut certificate":       {pdf[:len(pdf)-10], "saved anew by another program"},
		"certificate updated":   {append(bytes.Clone(pdf), "%%EOF\n"...), "saved anew by another program"},
		"certificate rewritten": {rewritten, "saved anew by another program"},
		"any PDF":               {document, "is no certificate as it was issued"},
		"large PDF":             {large, "at most 8388608 bytes"},
		"four bytes":            {[]byte("PK\x03\x04"), "there is no bundle in it; " + orderHint},
		"any zip":               {office, "there is no bundle in it; " + orderHint},
		"empty zip":             {packages.Repacked(zip.Deflate), "there is no bundle in it"},
		"only an original":      {packageOf(entry{Name: "original.pdf", Data: document}), "there is no bundle in it"},
	}
}

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
	whole := packages.Repacked(zip.Store, entry{Name: "bundle.json", Data: vector(t, "genuine.json")})
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
	r := verify(t, nil, "--trust", "trust.json", name)
	if r.code != exitUsage || !strings.Contains(r.stderr, "no evidence package") || r.tooMuch(t, 48<<10) {
		t.Errorf("%d, %d KiB: %s", r.code, r.maxRSS, r.stderr)
	}
}

// FuzzEvidence: no file makes the reading of evidence panic, or deliver more than a bundle.
func FuzzEvidence(f *testing.F) {
	bundle := []byte(`{"format":"stele/bundle/v1"}`)
	f.Add(bundle)
	f.Add(certificateOf(f, bundle))
	f.Add(packageOf(packages.Good(bundle, []byte("x"))...))
	f.Add(packages.Repacked(zip.Deflate, entry{Name: "bundle.json", Data: bundle}))
	name := filepath.Join(f.TempDir(), "evidence")
	f.Fuzz(func(t *testing.T, data []byte) {
		fatalIfErr(t, os.WriteFile(name, data, 0o600))
		e, err := openEvidence(t.Context(), name, nil, io.Discard)
		if err == nil && len(e.bundle) > 1<<20+1 {
			t.Fatalf("%d bytes", len(e.bundle))
		}
	})
}
