//go:build !js

// The browser's verifier is tested from outside, in node: what a page would see.
package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
	"stele/notary/proof/exhibit"
	"stele/notary/proof/prooftest/packages"
	"stele/notary/proof/prooftest/vectors"
	"stele/ui/fill"
	"stele/ui/words"
)

const (
	vectorsDir = "../../notary/proof/testdata/vectors"
	textsFile  = "../locales/zh-CN.json"
)

// answers runs the driver on the vectors and a folder of packages, and returns a function that reads its next line.
func answers(t *testing.T, packed string) func(v any) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("this test needs the node command, version 18 or later: install the package nodejs")
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	fatalIfErr(t, err)
	program := filepath.Join(t.TempDir(), "stele-verify.wasm")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build for js/wasm: %v\n%s", err, out)
	}
	if info, err := os.Stat(program); err == nil {
		t.Logf("the program has %.2f MB", float64(info.Size())/1e6)
	}
	var stderr bytes.Buffer
	loader := filepath.Join(strings.TrimSpace(string(goroot)), "lib", "wasm", "wasm_exec.js")
	run := exec.CommandContext(t.Context(), "node", "testdata/driver.js", loader, program, vectorsDir, textsFile,
		packed)
	run.Stderr = &stderr
	out, err := run.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.Bytes())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 8<<20)
	return func(v any) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the driver stopped early\n%s", stderr.Bytes())
		}
		fatalIfErr(t, json.Unmarshal(lines.Bytes(), v))
	}
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestInNode(t *testing.T) {
	good, bad := somePackages(t)
	packed := t.TempDir()
	for name, data := range good {
		fatalIfErr(t, os.WriteFile(filepath.Join(packed, name), data, 0o600))
	}
	for _, c := range bad {
		fatalIfErr(t, os.WriteFile(filepath.Join(packed, c.What), c.Data, 0o600))
	}
	next := answers(t, packed)
	var ready map[string]bool
	if next(&ready); !ready["ready"] {
		t.Fatal("steleReady was not called")
	}
	var speed map[string]float64
	if next(&speed); speed["fast"] != 1 {
		t.Error("the hash does not run on the kernel")
	}
	t.Logf("hash %.0f MB/s, verify %.1f ms at first, %.1f ms later", speed["hashMBps"], speed["verifyFirstMs"],
		speed["verifyLaterMs"])
	checkHashes(t, next)
	checkMisuse(t, next)

	set, err := vectors.Load(vectorsDir)
	fatalIfErr(t, err)
	var reports []*proof.Report
	for _, v := range set.Index.Vectors {
		var got struct{ Name, Report, Words, Exhibit string }
		next(&got)
		want, err := set.Report(v)
		fatalIfErr(t, err)
		if got.Name != v.Name || got.Report != string(want.JSON()) {
			t.Errorf("%s: the reports differ\nwasm   %s\nnative %s", v.Name, got.Report, want.JSON())
		}
		reports = append(reports, want)
		if said := wordsOf(t, want, len(reports)%2 == 0); got.Words != said {
			t.Errorf("%s: the words differ\nwasm   %s\nnative %s", v.Name, got.Words, said)
		}
		if page := exhibitOf(t, want, set.Files[v.Trust], set.Files[v.Bundle]); got.Exhibit != page {
			t.Errorf("%s: the exhibits differ\nwasm   %s\nnative %s", v.Name, got.Exhibit, page)
		}
	}
	var order []proof.Place
	if next(&order); !slices.Equal(order, proof.Rank(reports)) {
		t.Error("the browser ranks the reports of all vectors in another order")
	}
	checkPackages(t, next, len(good)+len(bad), good, bad)
}

// wordsOf is what the driver asks for: a report twice, with all that may be known besides.
func wordsOf(t *testing.T, r *proof.Report, alone bool) string {
	t.Helper()
	text, err := os.ReadFile(textsFile)
	fatalIfErr(t, err)
	texts := map[string]string{}
	fatalIfErr(t, json.Unmarshal(text, &texts))
	f := words.Finding{Report: r, Stands: true}
	if r.Verdict == proof.Unverifiable {
		f.Why = r.Cause()
	}
	out, err := json.Marshal(words.PutHere(words.New("zh-CN", texts), []words.Finding{f, f}, words.About{
		File: &words.File{Name: "a file", Size: 5}, At: "2026-11-30T00:00:00Z",
		Trust: &words.Trust{SM3: "00", Own: true},
		Hint:  "resaved", Alone: alone}))
	fatalIfErr(t, err)
	return string(out)
}

// somePackages are packages with originals of many sizes, since the hash works in blocks, and
// all that are not as they were issued.
func somePackages(t *testing.T) (map[string][]byte, []packages.Case) {
	t.Helper()
	bundle, err := os.ReadFile(filepath.Join(vectorsDir, "genuine.json"))
	fatalIfErr(t, err)
	document, err := os.ReadFile(filepath.Join(vectorsDir, "document.pdf"))
	fatalIfErr(t, err)
	good := map[string][]byte{"no original": packages.Of(packages.File{Name: "bundle.json", Data: bundle})}
	for _, size := range []int{0, 1, 63, 64, 65, 65_535, 65_536, 300_000, 9_000_000} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7)
		}
		good[fmt.Sprint(size)] = packages.Of(packages.Good(bundle, data)...)
	}
	return good, packages.Bad(bundle, document)
}

// checkPackages: the browser takes out of packages what the command line does, and says the same
// of those that are not as they were issued.
func checkPackages(t *testing.T, next func(any), count int, good map[string][]byte, bad []packages.Case) {
	t.Helper()
	type original struct {
		Name string
		Size uint64
		SM3  string
	}
	for range count {
		var got struct {
			Name, Report, Bundle string
			Looks, Told          bool
			Original             *original
		}
		next(&got)
		data := good[got.Name]
		if i := slices.IndexFunc(bad, func(c packages.Case) bool { return c.What == got.Name }); i >= 0 {
			data = bad[i].Data
		}
		h := sm.NewHash()
		p, err := carrier.ReadPackage(bytes.NewReader(data), func(string) (io.Writer, error) { return h, nil })
		if fault := (*carrier.PackageError)(nil); errors.As(err, &fault) {
			want := string(proof.BadPackage(fault.Entry, fault.Error()).JSON())
			if got.Report != want || got.Bundle != "" || !got.Looks {
				t.Errorf("%s: %+v, want %s", got.Name, got, want)
			}
			continue
		}
		fatalIfErr(t, err)
		if got.Report != "" || got.Bundle != string(p.Bundle) || !got.Looks || !got.Told {
			t.Errorf("%s: %+v", got.Name, got)
		}
		want := original{p.Original, p.Size, sm.Digest(h.Sum(nil)).String()}
		if (got.Original == nil) != (p.Original == "") || got.Original != nil && *got.Original != want {
			t.Errorf("%s: %+v, want %+v", got.Name, got.Original, want)
		}
	}
	for range 5 {
		var got map[string]any
		if next(&got); got["looks"] != nil || got["found"] != nil {
			t.Errorf("what cannot be read: %v", got)
		}
	}
}

// exhibitOf is what the server shows of the same bundle.
func exhibitOf(t *testing.T, r *proof.Report, trust, bundle []byte) string {
	t.Helper()
	data, err := os.ReadFile(textsFile)
	fatalIfErr(t, err)
	var texts map[string]string
	fatalIfErr(t, json.Unmarshal(data, &texts))
	roots, err := proof.ParseTrust(trust)
	if err == nil {
		if page, err := exhibit.Show(r, roots, bundle, func(key string, pairs ...string) string {
			return fill.Places(texts[key], pairs...)
		}); err == nil {
			return string(page.JSON())
		}
	}
	return `{"picture":"","points":[],"parts":[]}`
}

// TestSelfTestIsTheVector also reads the program's sources, which the go command does not
// know to be this test's: a change to them must not find an old result in its cache.
func TestSelfTestIsTheVector(t *testing.T) {
	for own, vector := range map[string]string{"trust.json": "trust-solo.json", "bundle.json": "genuine-solo.json",
		"document.pdf": "document.pdf"} {
		t.Run(own, func(t *testing.T) {
			a, err := os.ReadFile(filepath.Join("selftest", own))
			fatalIfErr(t, err)
			b, err := os.ReadFile(filepath.Join(vectorsDir, vector))
			fatalIfErr(t, err)
			if !bytes.Equal(a, b) {
				t.Errorf("selftest/%s is not %s: copy it", own, vector)
			}
		})
	}
	for _, source := range []string{"main.go", "hash.go", "kernel/kernel.go", "exhibit.go", "package.go", "rank.go",
		"words.go",
		"selftest.go",
		"testdata/driver.js"} {
		if _, err := os.ReadFile(source); err != nil {
			t.Error(err)
		}
	}
}

func checkHashes(t *testing.T, next func(any)) {
	for size := -1; size < 3_000_000; {
		var got struct {
			Size         int
			Whole, Parts string
		}
		next(&got)
		size = got.Size
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i*7 + i>>8)
		}
		if want := sm.Sum(data).String(); got.Whole != want || got.Parts != want {
			t.Errorf("%d bytes: whole %s, in parts %s, want %s", size, got.Whole, got.Parts, want)
		}
	}
}

func checkMisuse(t *testing.T, next func(any)) {
	var got map[string]any
	next(&got)
	for name, want := range map[string]any{"updateUnknown": false, "updateText": false, "updateNothing": false,
		"updateHandle": false, "discarded": true, "discardedTwice": false,
		"digestUnknown": nil, "digestNothing": nil, "first": true, "second": nil} {
		t.Run(name, func(t *testing.T) {
			if v, there := got[name]; !there || v != want {
				t.Errorf("%s: %v, want %v", name, v, want)
			}
		})
	}
	for range 7 {
		var r proof.Report
		if next(&r); r.Verdict != proof.Unverifiable || r.Steps == nil || len(r.Steps) != 0 ||
			!strings.HasPrefix(r.Summary, "This could not be checked now: ") {
			t.Errorf("arguments that cannot be used: %s", r.JSON())
		}
	}
	for range 8 {
		var page exhibit.Page
		if next(&page); page.Picture != "" || page.Parts == nil || len(page.Parts) != 0 {
			t.Errorf("arguments that cannot be used: %s", page.JSON())
		}
	}
	var ranked []any
	if next(&ranked); len(ranked) != 5 || slices.ContainsFunc(ranked, func(v any) bool { return v != nil }) {
		t.Errorf("reports that cannot be ranked: %v", ranked)
	}
	var said []any
	if next(&said); len(said) != 7 || slices.ContainsFunc(said, func(v any) bool { return v != nil }) {
		t.Errorf("findings that cannot be put into words: %v", said)
	}
	var oversize, text proof.Report
	if next(&oversize); oversize.Verdict != proof.Invalid ||
		!strings.Contains(oversize.Summary, "at most 1048576 bytes") {
		t.Errorf("oversize bundle: %s", oversize.JSON())
	}
	if next(&text); text.Verdict != proof.Unverifiable || text.Number == "" {
		t.Errorf("bundle as text: %s", text.JSON())
	}
}
