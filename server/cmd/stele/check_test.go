package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof/prooftest"
)

// TestCheck takes answers of a service that may lie: what it says counts only as far as the
// trust roots at hand confirm it. What a file with several records is, tests server/http/web.
func TestCheck(t *testing.T) {
	t.Parallel()
	w, stranger := prooftest.New(prooftest.Options{}), prooftest.New(prooftest.Options{Seed: "elsewhere"})
	doc := []byte("a deed")
	genuine, other := string(w.Notarize(doc).Encode()), string(w.Notarize([]byte("a letter")).Encode())
	dir := t.TempDir()
	trust, file := filepath.Join(dir, "trust.json"), filepath.Join(dir, "deed.pdf")
	fatalIfErr(t, os.WriteFile(trust, w.Trust().Encode(), 0o644))
	fatalIfErr(t, os.WriteFile(file, doc, 0o644))
	for name, c := range map[string]struct {
		status  int
		bundles []string
		code    int
		says    []string
	}{
		"genuine":   {200, []string{genuine}, 0, []string{"genuine: ", "\n  number "}},
		"no record": {200, nil, 8, []string{"not_found: "}},
		"not in the log yet": {200, []string{""}, 4,
			[]string{"not in the log yet", "says nothing about the file"}},
		"a record of another file": {200, []string{other}, 4, []string{"another document"}},
		"a record of another service": {200, []string{string(stranger.Notarize(doc).Encode())}, 4,
			[]string{"trust roots"}},
		"no evidence": {200, []string{"{}"}, 3, []string{"invalid: "}},
		"several": {200, []string{"", genuine, "{}"}, 0, []string{"genuine: ",
			"more records of this file:\n\n  unverifiable", "\n  invalid "}},
		"refused": {422, nil, 4, []string{"unverifiable: "}},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				digest := r.URL.Query().Get("sm3")
				if r.URL.Path != "/api/v1/lookup" || digest != sm.Sum(doc).String() ||
					r.Header.Get("Authorization") != "" {
					t.Errorf("asked for %s with %v", r.URL, r.Header)
				}
				matches := []map[string]string{}
				for _, b := range c.bundles {
					matches = append(matches, map[string]string{"bundle": b})
				}
				rw.WriteHeader(c.status)
				fatalIfErr(t, json.NewEncoder(rw).Encode(map[string]any{"matches": matches}))
			}))
			defer s.Close()
			code, out := runCheck(t, "--url", s.URL, "--trust", trust, file)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, out)
			}
			for _, says := range c.says {
				if !strings.Contains(out, says) {
					t.Errorf("%q is not in %s", says, out)
				}
			}
		})
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	code, out := runCheck(t, "--url", gone.URL, "--trust", trust, "--attempts", "1", file)
	if code != 4 || !strings.Contains(out, "cannot be reached") {
		t.Errorf("out of reach: %d %s", code, out)
	}
	for name, args := range map[string][]string{
		"no file": {"--trust", trust}, "file and digest": {"--trust", trust, "--sm3", sm.Sum(doc).String(), file},
		"no trust roots": {"--trust", file, file}, "no such file": {"--trust", trust, file + "x"},
		"no digest": {"--trust", trust, "--sm3", "12"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, out := runCheck(t, append(args, "--url", gone.URL)...); code != exitUsage {
				t.Errorf("%s: %d %s", name, code, out)
			}
		})
	}
}

// runCheck runs the command and returns its exit code and all that it printed.
func runCheck(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := run(t.Context(), append([]string{"check"}, args...), strings.NewReader(""), &out, &out)
	return code, out.String()
}
