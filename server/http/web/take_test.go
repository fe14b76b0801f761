package web_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	downloads "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"stele/server/http/webtest"
)

// TestTakeAway takes home what a record's page offers, as a person does: by clicking. The
// same without scripts, in both languages and sizes.
func TestTakeAway(t *testing.T) {
	to := newTown(t, roomy())
	number := to.numbers[string(docGenuine)]
	parent := browser(t)
	for _, l := range []look{desktop, phone.In("en"), phone.WithoutScripts(), desktop.In("en").WithoutScripts()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.GoTo(to.URL + "/r/" + number + "?code=" + code)
			look := func(state string) {
				if !l.NoJS { // what examines a page is a script
					b.Accessible(state)
					b.Fits(state)
				}
				b.Shoot("take away " + state)
			}
			look("record")
			if got := b.download(`.actions a[href*="/certificate"]`); got != number+".pdf" {
				t.Errorf("certificate: %q", got)
			}
			if got := b.download(`.actions a[href*="/bundle"]`); got != number+".bundle.json" {
				t.Errorf("bundle: %q", got)
			}
			if got := b.download(`form[action="/report"] button`); !strings.HasPrefix(got, number+"-report-2") ||
				!strings.HasSuffix(got, ".pdf") {
				t.Errorf("report: %q", got)
			}
			for name, path := range map[string]string{"wrong code": "/r/" + number + "/certificate?code=00000000",
				"pending": "/r/" + to.numbers[string(docPending)] + "/certificate?code=" + code} {
				b.Run(chromedp.Navigate(to.URL + path))
				look(name)
			}
		})
	}
}

// download clicks and returns the name under which the browser keeps what comes.
func (b *tab) download(selector string) string {
	b.T.Helper()
	dir := b.T.TempDir()
	done := make(chan string, 1)
	names := map[string]string{}
	listen, stop := context.WithTimeout(b.Ctx, webtest.Patience)
	defer stop()
	chromedp.ListenBrowser(listen, func(ev any) {
		switch e := ev.(type) {
		case *downloads.EventDownloadWillBegin:
			names[e.GUID] = e.SuggestedFilename
		case *downloads.EventDownloadProgress:
			if e.State == downloads.DownloadProgressStateCompleted {
				if data, err := os.ReadFile(filepath.Join(dir, e.GUID)); err == nil && len(data) > 0 {
					done <- names[e.GUID]
				}
			}
		}
	})
	c := chromedp.FromContext(b.Ctx)
	fatalIfErr(b.T, downloads.SetDownloadBehavior(downloads.SetDownloadBehaviorBehaviorAllowAndName).WithDownloadPath(
		dir).WithEventsEnabled(true).
		Do(cdp.WithExecutor(b.Ctx, c.Browser)))
	b.Run(chromedp.Click(selector, chromedp.ByQuery))
	select {
	case name := <-done:
		return name
	case <-listen.Done():
		b.T.Fatalf("nothing came for %s; the page says:\n%s", selector, b.Text("main"))
		return ""
	}
}
