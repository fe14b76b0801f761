package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// ownKeys are the calls that a key can end itself with; they come last, with a key of their own.
var ownKeys = []string{"revoke-key", "rotate-key"}

// TestSchemathesis calls everything that /openapi.json describes with what the description allows
// and with what it does not, thousands of times: no answer is the server's fault, each has a status,
// a content type, headers and a body that are described, what is out of form is refused, an address
// names the methods that it takes, and nothing private is answered without a key. Then the instance
// is looked over as a whole. What is decided about the checks stands in testdata/schemathesis.
func TestSchemathesis(t *testing.T) {
	t.Parallel()
	program, err := filepath.Abs(filepath.Join(root, ".tools", "schemathesis", "bin", "schemathesis"))
	fatalIfErr(t, err)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("Schemathesis is missing: run make tools (Python 3.10 or later, and a package index): %v", err)
	}
	site := site{data: t.TempDir()}
	s := site.start(t, "--log-level", "info", "--max-batch", "100", "--max-public-upload", "100000")
	for _, title := range []string{"一号", "二号"} { // something to find
		s.notarize(fileRequest([]byte(title), fmt.Sprintf(`{"title":%q}`, title), ""))
	}
	// It takes a quarter of a minute on a quiet machine and twenty times as long on a busy one; the limit ends a hang.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	run := func(key string, args ...string) {
		t.Helper()
		at := t.TempDir()
		settings, err := filepath.Abs(filepath.Join("testdata", "schemathesis"))
		fatalIfErr(t, err)
		args = append([]string{"--config-file", filepath.Join(settings, "schemathesis.toml"),
			"run", s.info.URL + "/openapi.json",
			"--header", "Authorization: Bearer " + key, "--seed", "20261129",
			"--generation-database", "none", "--no-color"}, args...)
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir = at
		cmd.Env = append(os.Environ(), "SCHEMATHESIS_HOOKS=hooks", "PYTHONPATH="+settings, "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
			t.Fatalf("schemathesis: %v\n%s", err, out)
		}
		if err != nil || ctx.Err() != nil {
			t.Errorf("schemathesis: %v %v\n%s\n%s", err, ctx.Err(), out, s.log)
		}
		t.Logf("%s", summary(string(out)))
	}
	var rest, own []string
	for _, id := range ownKeys {
		rest, own = append(rest, "--exclude-operation-id", id), append(own, "--include-operation-id", id)
	}
	run(s.info.APIKey, rest...)
	var made struct{ Key string }
	s.call(request{method: http.MethodPost, path: "/api/v1/keys",
		header: map[string]string{"Content-Type": "application/json"},
		body:   strings.NewReader(`{"name":"another","scopes":["read","keys"]}`)}).json(t, &made)
	run(made.Key, own...)

	if n := strings.Count(s.log.String(), "level=ERROR"); n > 0 {
		t.Errorf("%d errors in the server's log:\n%s", n, s.log)
	}
	s.stop()
	if res := site.fsck(t); len(res.Findings) != 0 || res.Records < 2 {
		t.Errorf("after the run: %+v", res)
	}
}

// summary is the end of what Schemathesis prints.
func summary(out string) string {
	if i := strings.Index(out, "= SUMMARY ="); i >= 0 {
		return regexp.MustCompile(`(?m)^\s*$\n`).ReplaceAllString(out[i:], "")
	}
	return out
}

// TestMethodsAreNamed: every 405 says which methods there are.
func TestMethodsAreNamed(t *testing.T) {
	s := site{data: t.TempDir()}.start(t)
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	s.get("/openapi.json").json(t, &doc)
	for path, ops := range doc.Paths {
		at := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(path, "x")
		res := s.call(request{method: "TRACE", path: at})
		if res.status != http.StatusMethodNotAllowed {
			t.Errorf("TRACE %s: %d", at, res.status)
			continue
		}
		for method := range ops {
			if !strings.Contains(strings.Join(res.header.Values("Allow"), ","), strings.ToUpper(method)) {
				t.Errorf("TRACE %s allows %q, and there is %s", at, res.header.Values("Allow"), method)
			}
		}
	}
	page := s.call(request{method: http.MethodDelete, path: "/chain", header: map[string]string{"Accept": "text/html"}})
	if page.status != http.StatusMethodNotAllowed || page.header.Get("Allow") == "" {
		t.Errorf("a page: %d %q", page.status, page.header.Values("Allow"))
	}
}
