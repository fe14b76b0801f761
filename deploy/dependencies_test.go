package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// allowed are the licences that a module may have, with what no other of them says; but BSD-2-Clause,
// whose words all are in BSD-3-Clause, which comes before it.
var allowed = []struct {
	id   string
	says []string
}{
	{"Apache-2.0", []string{"apache license", "version 2.0"}},
	{"MPL-2.0", []string{"mozilla public license", "version 2.0"}},
	{"OFL-1.1", []string{"sil open font license version 1.1"}},
	{"BSD-3-Clause", []string{"redistribution and use in source and binary forms", "neither the name"}},
	{"BSD-2-Clause", []string{"redistribution and use in source and binary forms"}},
	{"ISC", []string{"permission to use, copy, modify, and distribute this software"}},
	{"MIT", []string{"permission is hereby granted, free of charge, to any person obtaining a copy"}},
}

var space = regexp.MustCompile(`[\s*>#]+`)

// licenceOf tells licences apart by their words: one, or several for parts of the module; empty where
// it is none of those allowed.
func licenceOf(text string) string {
	text = strings.ToLower(space.ReplaceAllString(text, " "))
	var found []string
	for _, l := range allowed {
		if slices.ContainsFunc(l.says, func(words string) bool { return !strings.Contains(text, words) }) ||
			l.id == "BSD-2-Clause" && slices.Contains(found, "BSD-3-Clause") {
			continue
		}
		found = append(found, l.id)
	}
	return strings.Join(found, " and ")
}

var tableHead = regexp.MustCompile(`^\| (module|package|tool) `)

// section are the rows of the table below a heading, or another line, of docs/dependencies.md, without
// its head.
func section(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+heading+"\n")
	if !found {
		t.Fatalf("docs/dependencies.md has no %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, line := range strings.Split(rest, "\n") {
		if !strings.HasPrefix(line, "| ") || tableHead.MatchString(line) {
			continue
		}
		var row []string
		for _, cell := range strings.Split(strings.Trim(line, "| "), " | ") {
			row = append(row, strings.Trim(cell, " `"))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		t.Fatalf("docs/dependencies.md has no table below %q", heading)
	}
	return rows
}

// maxAge is how old a module's last release may be without a reason.
const maxAge = 3 * 365 * 24 * time.Hour

// TestDependenciesAreListed: docs/dependencies.md has every direct requirement of go.mod at its
// version and no other, with a licence that is allowed and is the module's own, the date of that
// version, and a reason for what is old.
func TestDependenciesAreListed(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, r := range mod.Require {
		if !r.Indirect {
			want[r.Mod.Path] = r.Mod.Version
		}
	}
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]bool{}
	for _, row := range section(t, "## Old but kept") {
		kept[row[0]] = len(row) == 2 && len(row[1]) > 40 // a reason, not a word
	}
	const above = "modules and hashes, is in the bill of materials of each program ([below](#bill-of-materials))."
	for _, row := range section(t, above) {
		if len(row) != 7 || slices.Contains(row, "") {
			t.Errorf("a row is not complete: %q", row)
			continue
		}
		path, version, of, last, licence := row[0], row[1], row[2], row[3], row[4]
		if want[path] != version {
			t.Errorf("%s: listed at %s, in go.mod at %q", path, version, want[path])
			continue
		}
		delete(want, path)
		checkModule(t, strings.TrimSpace(string(cache)), path, version, of, licence)
		released, err := time.Parse(time.DateOnly, last)
		if err != nil || last < of {
			t.Errorf("%s: the last release is of %q, the one that is used of %q", path, last, of)
		}
		if old := time.Since(released) > maxAge; old != kept[path] {
			t.Errorf("%s: last release of %s; a reason why it stays: %t", path, last, kept[path])
		}
		delete(kept, path)
	}
	for path := range want {
		t.Errorf("%s is in go.mod and not in docs/dependencies.md", path)
	}
	for path := range kept {
		t.Errorf("%s is kept with a reason and not listed", path)
	}
}

// checkModule compares a row with what lies in the module cache.
func checkModule(t *testing.T, cache, path, version, of, licence string) {
	t.Helper()
	escaped, err1 := module.EscapePath(path)
	at, err2 := module.EscapeVersion(version)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	var files []string
	for _, name := range []string{"LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING"} {
		if f := filepath.Join(cache, escaped+"@"+at, name); exists(f) {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		t.Errorf("%s: no licence in the module cache; run go mod download", path)
		return
	}
	var texts strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts.Write(text)
	}
	if got := licenceOf(texts.String()); got != licence {
		t.Errorf("%s: listed as %s, its own file is %q", path, licence, got)
	}
	raw, err := os.ReadFile(filepath.Join(cache, "cache", "download", escaped, "@v", at+".info"))
	if err != nil {
		t.Errorf("%s: the cache does not say when %s was released; run go mod download: %v", path, version, err)
		return
	}
	var info struct{ Time time.Time }
	// A proxy may name the day of the commit or a later one, of the tag or of its own copy: none can
	// name an earlier one than the release that is listed.
	if err := json.Unmarshal(raw, &info); err != nil || info.Time.Format(time.DateOnly) < of {
		t.Errorf("%s: listed as of %s, the proxy has %s: %v", path, of, info.Time.Format(time.DateOnly), err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestFilesFromNPMAreListed: each file says itself which package and version it is, or the page beside
// it does, and no package of npm is installed from anywhere.
func TestFilesFromNPMAreListed(t *testing.T) {
	for _, row := range section(t, "## From npm") {
		text, err := os.ReadFile(filepath.Join("..", row[5]))
		if err != nil {
			t.Error(err)
			continue
		}
		text = text[:min(len(text), 4096)]
		if filepath.Ext(row[5]) == ".ttf" {
			if text, err = os.ReadFile(filepath.Join("..", filepath.Dir(row[5]), "README.md")); err != nil {
				t.Error(err)
			}
		}
		if !strings.Contains(string(text), row[1]) {
			t.Errorf("%s is listed at %s, and does not say so", row[5], row[1])
		}
		if !slices.ContainsFunc(allowed, func(l struct {
			id   string
			says []string
		}) bool {
			return l.id == row[4]
		}) {
			t.Errorf("%s: the licence %s is not allowed", row[0], row[4])
		}
	}
	found, err := exec.Command("git", "ls-files", "--", ":(top)*package.json", ":(top)*package-lock.json").Output()
	if err != nil || len(found) > 0 {
		t.Errorf("packages are installed from npm, and not listed: %s%v", found, err)
	}
}

// TestToolsAreListed: the versions that make tools installs are those that the page names.
func TestToolsAreListed(t *testing.T) {
	script, err := os.ReadFile("install-test-tools.sh")
	if err != nil {
		t.Fatal(err)
	}
	python, err := os.ReadFile("schemathesis.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range section(t, "## Tools") {
		if !strings.Contains(string(script), "@"+row[1]) && !strings.Contains(string(script), ":"+row[1]+"\n") &&
			!strings.Contains(string(python), strings.ToLower(row[0])+"=="+row[1]+"\n") {
			t.Errorf("%s is not installed at %s", row[0], row[1])
		}
	}
}
