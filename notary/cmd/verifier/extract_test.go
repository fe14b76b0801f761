package verifier

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stele/notary/proof/prooftest/packages"
)

// contents are the names in a folder, hidden ones included.
func contents(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	fatalIfErr(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestExtract: what is written out is what was checked, where the document may be used.
func TestExtract(t *testing.T) {
	document := vector(t, "document.pdf")
	codes := map[string]int{"genuine.json": 0, "pending.json": 5, "revoked.json": 6, "superseded.json": 7}
	for name, code := range codes {
		bundle := vector(t, name)
		folder := filepath.Join(t.TempDir(), "new", "folder")
		whole := file(t, packageOf(packages.Good(bundle, document)...))
		r := verify(t, nil, "--trust", "trust.json", "--extract", folder, whole)
		says := "  written       " + filepath.Join(folder, "original.pdf") + "\n"
		if r.code != code || r.stderr != "" || !strings.Contains(r.stdout, says) {
			t.Errorf("%s: %d %s%s", name, r.code, r.stdout, r.stderr)
		}
		if got := contents(t, folder); !slices.Equal(got, []string{"bundle.json", "original.pdf"}) {
			t.Errorf("%s: %q", name, got)
		}
		for part, want := range map[string][]byte{"original.pdf": document, "bundle.json": bundle} {
			t.Run(part, func(t *testing.T) {
				if got, err := os.ReadFile(filepath.Join(folder, part)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %s differs: %v", name, part, err)
				}
			})
		}
	}
}

// TestExtractNothing: nothing is written where the document must not be used, and the verdict
// stands all the same.
func TestExtractNothing(t *testing.T) {
	document := vector(t, "document.pdf")
	genuine, invalid := vector(t, "genuine.json"), vector(t, "anchor-two-thirds.json")
	for what, tc := range map[string]struct {
		data []byte
		code int
		says string
	}{
		"altered":     {packageOf(packages.Good(genuine, document[1:])...), 1, "the verdict is altered"},
		"invalid":     {packageOf(packages.Good(invalid, document)...), 3, "the verdict is invalid"},
		"no original": {packageOf(entry{Name: "bundle.json", Data: genuine}), 4, "the verdict is unverifiable"},
		"a bundle":    {genuine, 2, "this is no evidence package"},
		"certificate": {certificateOf(t, genuine), 2, "this is no evidence package"},
		"a document":  {packages.Repacked(0, entry{Name: "a.txt"}), 2, "no evidence package"},
	} {
		t.Run(what, func(t *testing.T) {
			made, there := filepath.Join(t.TempDir(), "out"), t.TempDir()
			for _, folder := range []string{made, there} {
				r := verify(t, nil, "--quiet", "--trust", "trust.json", "--extract", folder, file(t, tc.data))
				if r.code != tc.code || !strings.Contains(r.stderr, tc.says) {
					t.Errorf("%s: %d %s%s", what, r.code, r.stdout, r.stderr)
				}
			}
			if _, err := os.Lstat(made); !os.IsNotExist(err) || len(contents(t, there)) > 0 {
				t.Errorf("%s: something is left: %v %q", what, err, contents(t, there))
			}
		})
	}
	whole := file(t, packageOf(packages.Good(genuine, document)...))
	for _, more := range [][]string{{whole, "document.pdf"}, {"--sm3", strings.Repeat("0", 64), whole}} {
		r := verify(t, nil, append([]string{"--trust", "trust.json", "--extract", t.TempDir()}, more...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, "give no other document") {
			t.Errorf("%q: %d %s", more, r.code, r.stderr)
		}
	}
}

// TestExtractWritesNothingOver: a file of either name stays as it is, also a link to nowhere,
// and no other file appears.
func TestExtractWritesNothingOver(t *testing.T) {
	whole := file(t, packageOf(packages.Good(vector(t, "genuine.json"), vector(t, "document.pdf"))...))
	for _, name := range []string{"original.pdf", "bundle.json"} {
		for what, put := range map[string]func(path string) error{
			"file":   func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
			"link":   func(path string) error { return os.Symlink("nowhere", path) },
			"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		} {
			t.Run(what, func(t *testing.T) {
				folder := t.TempDir()
				fatalIfErr(t, put(filepath.Join(folder, name)))
				r := verify(t, nil, "--trust", "trust.json", "--extract", folder, whole)
				if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, name+" is there already") {
					t.Errorf("%s, %s: %d %s%s", name, what, r.code, r.stdout, r.stderr)
				}
				if got := contents(t, folder); !slices.Equal(got, []string{name}) {
					t.Errorf("%s, %s: %q", name, what, got)
				}
			})
		}
	}
	taken := filepath.Join(t.TempDir(), "taken")
	fatalIfErr(t, os.WriteFile(taken, nil, 0o600))
	r := verify(t, nil, "--trust", "trust.json", "--extract", taken, whole)
	if r.code != exitUsage || !strings.Contains(r.stderr, "--extract: ") {
		t.Errorf("into a file: %d %s", r.code, r.stderr)
	}
}

// TestPlaceTakesNoName: between the first look and the last step somebody may have taken the name.
func TestPlaceTakesNoName(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "part"), filepath.Join(dir, "original.pdf")
	fatalIfErr(t, os.WriteFile(from, []byte("ours"), 0o600))
	fatalIfErr(t, os.WriteFile(to, []byte("theirs"), 0o600))
	if err := place(from, to); !os.IsExist(err) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != "theirs" {
		t.Errorf("%q %v", got, err)
	}
}

// TestExtractInterrupted: who stops it keeps nothing that looks finished.
func TestExtractInterrupted(t *testing.T) {
	whole := file(t, packageOf(packages.Good(vector(t, "genuine.json"), make([]byte, 4<<20))...))
	folder := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x, err := newExtraction(folder)
	fatalIfErr(t, err)
	_, err = openEvidence(ctx, whole, x, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "nothing was checked") {
		t.Error(err)
	}
	x.close()
	if got := contents(t, folder); len(got) > 0 {
		t.Errorf("%q", got)
	}
}
