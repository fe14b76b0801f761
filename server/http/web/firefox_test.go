package web_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/server/http/webtest"
)

// The public page and the offline page work in Firefox as well: every verdict, by the verifier in
// the page.
func TestFirefox(t *testing.T) {
	to := newTown(t, roomy())
	documents, verdicts := cases(to)
	path := files(t, documents)
	f := webtest.Firefox(t, desktop)
	f.GoTo(to.URL + "/")
	f.Wait(`document.querySelector('#check')?.dataset.mode !== 'upload'`)
	f.Fits("start")
	f.Shoot("start")
	verdict := func() (class string) {
		t.Helper()
		f.Wait(`!document.querySelector('#result').hidden && !document.querySelector('[data-waits]')`)
		f.Eval(`document.querySelector('#result .verdict').className`, &class)
		return strings.TrimPrefix(class, "verdict v-")
	}
	for names, want := range verdicts {
		var chosen []string
		for _, n := range strings.Fields(names) {
			chosen = append(chosen, path(n))
		}
		f.Keys("#file", strings.Join(chosen, "\n"))
		if got := verdict(); got != want {
			t.Errorf("%s: %s, want %s: %s", names, got, want, f.Text("#result"))
		}
		f.Fits(names)
		f.Shoot(strings.ReplaceAll(names, " ", "+"))
		f.Eval(`document.querySelector('#result .actions button').click()`, nil)
		f.Wait(`document.querySelector('#result').hidden && document.querySelector('#file').value === ''`)
	}

	dir := t.TempDir()
	res, page := to.get(t, "/verify.html", "Accept-Encoding", "identity")
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	fatalIfErr(t, os.WriteFile(filepath.Join(dir, "verify.html"), []byte(page), 0o644))
	fatalIfErr(t, os.WriteFile(filepath.Join(dir, "trust.json"), to.trust, 0o644))
	f.GoTo("file://" + filepath.Join(dir, "verify.html"))
	f.Wait(`document.querySelector('#unable').hidden`)
	f.Keys("#file", strings.Join([]string{path("genuine.pdf"), path("genuine.json"), filepath.Join(dir, "trust.json")},
		"\n"))
	if got := verdict(); got != "genuine" {
		t.Errorf("offline: %s: %s", got, f.Text("#result"))
	}
	f.Shoot("offline")
}
