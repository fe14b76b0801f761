package web_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"stele/server/http/webtest"
)

func TestMain(m *testing.M) { webtest.Main(m) }

type look = webtest.Look

var desktop, phone = webtest.Desktop, webtest.Phone

// tab is an open page, with what this package's tests do on it.
type tab struct{ *webtest.Tab }

func browser(t testing.TB) context.Context { t.Helper(); return webtest.Browser(t) }

func open(t testing.TB, parent context.Context, l look) *tab {
	t.Helper()
	return &tab{webtest.Open(t, parent, l)}
}

// files writes documents to disk, for the file dialogue.
func files(t *testing.T, documents map[string][]byte) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range documents {
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	return func(name string) string { return filepath.Join(dir, name) }
}
