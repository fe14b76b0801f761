package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/andybalholm/brotli"
)

// holds checks that both files hold the same contents.
func holds(t *testing.T, dir string, want []byte) {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join(dir, "x.gz"))
	fatalIfErr(t, err)
	z, err := gzip.NewReader(bytes.NewReader(packed))
	fatalIfErr(t, err)
	gz, err := io.ReadAll(z)
	fatalIfErr(t, err)
	packed, err = os.ReadFile(filepath.Join(dir, "x.br"))
	fatalIfErr(t, err)
	br, err := io.ReadAll(brotli.NewReader(bytes.NewReader(packed)))
	fatalIfErr(t, err)
	if !bytes.Equal(gz, want) || !bytes.Equal(br, want) {
		t.Errorf("gzip holds %q, brotli %q, want %q", gz, br, want)
	}
}

func TestPack(t *testing.T) {
	dir := t.TempDir()
	first, second := []byte("the first contents"), []byte("other contents")
	run := func(data []byte) {
		t.Helper()
		fatalIfErr(t, pack(dir, "x", data))
	}
	run(first)
	holds(t, dir, first)
	// The same contents are not packed again: what stands there stays, whatever it is.
	br := filepath.Join(dir, "x.br")
	fatalIfErr(t, os.WriteFile(br, []byte("a mark"), 0o600))
	run(first)
	if kept, _ := os.ReadFile(br); string(kept) != "a mark" {
		t.Error("the same contents were packed again")
	}
	run(second)
	holds(t, dir, second)
	for _, missing := range []string{"x.br", "x.gz", ".x.sha256"} {
		fatalIfErr(t, os.Remove(filepath.Join(dir, missing)))
		run(second)
		holds(t, dir, second)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
