package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// namedCall is a method with an address, as the pages name calls; those below /api/v1 are often
	// written without it.
	namedCall = regexp.MustCompile("\\b(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) `?(/[a-z][^ `|)\",;]*)")
	// namedAddress is an address alone, in commands for instance.
	namedAddress = regexp.MustCompile("(/api/v1/[^ `|)\",;'<\n]*)")
	variable     = regexp.MustCompile(`\$\{?[A-Z]+\}?|\{[a-z]+\}`)
)

// shape makes one form of an address of the description and of a page.
func shape(address string) string {
	address, _, _ = strings.Cut(strings.TrimRight(address, ".:*"), "?")
	return variable.ReplaceAllString(strings.TrimSuffix(address, "/"), "{}")
}

// TestDocumentedCallsExist: every call and every address of this interface that a page names is in the
// description, with that method, which a test above compares with the routes.
func TestDocumentedCallsExist(t *testing.T) {
	res := httptest.NewRecorder()
	mount(t).ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(res.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	methods := map[string]map[string]json.RawMessage{}
	for path, ops := range doc.Paths {
		methods[shape(path)] = ops
	}
	pages, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	calls, addresses := 0, 0
	for _, page := range append(pages, "../../../README.md", "../../../README.zh-CN.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range namedCall.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[2], "…") {
				continue // a group of addresses
			}
			calls++
			ops := methods[shape(m[2])]
			if ops == nil {
				ops = methods["/api/v1"+shape(m[2])]
			}
			if _, there := ops[strings.ToLower(m[1])]; !there {
				t.Errorf("%s names %s %s, which is not in the description", page, m[1], m[2])
			}
		}
		for _, m := range namedAddress.FindAllStringSubmatch(string(text), -1) {
			at := shape(m[1])
			if strings.Contains(at, "…") || at == "/api/v1" || strings.HasSuffix(m[1], "/") ||
				strings.HasPrefix(at, "/api/v1/log/tile/") {
				continue // a group, a beginning, or a tile, whose name has slashes
			}
			addresses++
			if methods[at] == nil {
				t.Errorf("%s names %s, which is not in the description", page, m[1])
			}
		}
	}
	if calls < 30 || addresses < 60 {
		t.Errorf("only %d calls and %d addresses were found in the pages", calls, addresses)
	}
}
