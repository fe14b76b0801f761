package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stele/ui/fill"
)

// TestSameSourcesSameBytes builds everything once more, with other settings of the
// environment, and compares it with what is there to be embedded: that is up to date, and
// the same sources give the same bytes. What differs between working copies, their place and
// the state of version control, is looked for in the products.
func TestSameSourcesSameBytes(t *testing.T) {
	root, err := goTool("list", "-m", "-f", "{{.Dir}}", "stele")
	fatalIfErr(t, err)
	stamps := "GOFLAGS=-buildvcs=false"
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil { // not where the sources came as an archive
		stamps = "GOFLAGS=-buildvcs=true"
	}
	first, second := filepath.Join(root, "ui", "static", "gen"), filepath.Join(t.TempDir(), "elsewhere")
	cmd := exec.CommandContext(t.Context(), "go", "run", "./ui/build", second)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "LANG=zh_CN.UTF-8", "TZ=Asia/Shanghai", "GOMAXPROCS=1", stamps)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{loaderFile, verifierFile + ".gz", verifierFile + ".br", scanFile + ".gz",
		scanFile + ".br", pageFile + ".gz"} {
		a, err := os.ReadFile(filepath.Join(first, name))
		if err != nil {
			t.Fatalf("%v; run: make generate", err)
		}
		b, err := os.ReadFile(filepath.Join(second, name))
		fatalIfErr(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs from what is embedded: run make generate; if it still does, it differs from one "+
				"build to the next", name)
		}
	}
	for _, name := range []string{verifierFile, scanFile} {
		text := unpacked(t, filepath.Join(second, name+".gz"))
		for _, bad := range []string{root, "vcs.revision", "vcs.modified"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds %q", name, bad)
			}
		}
	}
	verifier, err := os.ReadFile(filepath.Join(first, verifierFile+".gz"))
	fatalIfErr(t, err)
	page, ok := fill.WithVerifier([]byte(unpacked(t, filepath.Join(first, pageFile+".gz"))), verifier)
	if !ok {
		t.Error("the page has no place for the verifier")
	}
	demandSelfContained(t, string(page))
}

func unpacked(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	fatalIfErr(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	fatalIfErr(t, err)
	data, err := io.ReadAll(z)
	fatalIfErr(t, err)
	return string(data)
}

// demandSelfContained reads the offline page as text: it names nothing that would be fetched,
// and no address of the service.
func demandSelfContained(t *testing.T, page string) {
	t.Helper()
	for _, bad := range []string{"/api/v1", "/static/", "sourceMappingURL", "EventSource(", "XMLHttpRequest",
		"sendBeacon"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if found := regexp.MustCompile(`(?i:src|href|action)="[^#d"][^"]*"|@import|\burl\(`).FindString(page); found != "" {
		t.Errorf("the page refers to %q", found)
	}
}

func TestInlineTextsStayInside(t *testing.T) {
	for text, fine := range map[string]bool{"a < b": true, `"<\/script>"`: true, "x</SCRIPT >": false,
		"<!-- x": false} {
		t.Run(text, func(t *testing.T) {
			if err := endsElement(text, "</script"); (err == nil) != fine {
				t.Errorf("%s: %v", text, err)
			}
		})
	}
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
