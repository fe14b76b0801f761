package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/server/http/webtest"
)

// saver has the tab save what it downloads. The function that it returns does something and
// waits for a file that is saved then.
func (b *tab) saver() func(act ...chromedp.Action) (name string, data []byte) {
	b.T.Helper()
	dir := b.T.TempDir()
	done := make(chan string, 8)
	chromedp.ListenBrowser(b.Ctx, func(ev any) {
		if e, ok := ev.(*cdpbrowser.EventDownloadProgress); ok && e.State == cdpbrowser.DownloadProgressStateCompleted {
			done <- e.GUID
		}
	})
	b.Run(chromedp.ActionFunc(func(ctx context.Context) error {
		c := chromedp.FromContext(ctx)
		return cdpbrowser.SetDownloadBehavior(cdpbrowser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(
			dir).WithEventsEnabled(true).Do(cdp.WithExecutor(ctx, c.Browser))
	}))
	return func(act ...chromedp.Action) (string, []byte) {
		b.T.Helper()
		b.Run(act...)
		select {
		case <-done:
		case <-time.After(webtest.Patience):
			b.T.Fatal("nothing was saved")
		}
		saved, err := filepath.Glob(filepath.Join(dir, "*"))
		fatalIfErr(b.T, err)
		if len(saved) != 1 {
			b.T.Fatalf("saved were %q", saved)
		}
		data, err := os.ReadFile(saved[0])
		fatalIfErr(b.T, err)
		fatalIfErr(b.T, os.Remove(saved[0]))
		return filepath.Base(saved[0]), data
	}
}

// press finds a button by its words.
func (b *tab) press(key string) chromedp.Action {
	b.T.Helper()
	return chromedp.Evaluate(
		`[...document.querySelectorAll('#result button, #result a')].find((e) => e.textContent === `+
			quote(b.T, b.textOf(key))+`).click()`, nil)
}

func TestSaveJSON(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{"契约.pdf": docGenuine, "unknown.pdf": docUnknown})
	b := open(t, browser(t), desktop)
	save := b.saver()
	b.GoTo(to.URL + "/")
	b.Choose(path("契约.pdf"))
	if got := b.Verdict(); got != "genuine" {
		t.Fatal(got, b.Text("#result"))
	}
	number := to.numbers[string(docGenuine)]
	name, data := save(b.press("save.json"))
	var got struct {
		Format, CheckedAt, CheckedBy, Trust, Bundle string
		File                                        struct {
			Name, SM3 string
			Size      int
		}
		Report json.RawMessage
	}
	fatalIfErr(t, json.Unmarshal(data, &got))
	digest, trust := sm.Sum(docGenuine), sm.Sum(to.trust)
	if name != number+".report.json" || got.Format != "stele/verification/v1" || got.CheckedBy != "browser" ||
		got.Trust != trust.String() || got.File.Name != "契约.pdf" ||
		got.File.Size != len(docGenuine) || got.File.SM3 != digest.String() {
		t.Errorf("%s: %s", name, data)
	}
	if at, err := time.Parse(time.RFC3339, got.CheckedAt); err != nil || time.Since(at) > time.Hour {
		t.Errorf("checked at %q", got.CheckedAt)
	}
	roots, err := proof.ParseTrust(to.trust)
	fatalIfErr(t, err)
	if want := proof.VerifyFile(roots, &proof.File{SM3: digest, Size: int64(len(docGenuine))},
		[]byte(got.Bundle)).JSON(); string(want) != string(got.Report) {
		t.Errorf("the report is\n%s\nand should be\n%s", got.Report, want)
	}
	if name, data := save(b.press("result.save_bundle")); name != number+".bundle.json" || string(data) != got.Bundle {
		t.Errorf("%s: %s", name, data)
	}
	b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
	b.Choose(path("unknown.pdf"))
	b.Verdict()
	if name, data := save(b.press("save.json")); name != sm.Sum(docUnknown).String()[:16]+".report.json" ||
		!strings.Contains(string(data), `"report":`+string(proof.Missing().JSON())) ||
		strings.Contains(string(data), "bundle\"") {
		t.Errorf("%s: %s", name, data)
	}
}

// TestSavePDF looks at what the page sends for a report as a PDF: digest and proof, never
// the file nor its name, and nothing before the person asks for it.
func TestSavePDF(t *testing.T) {
	to := newTown(t, roomy())
	forms := make(chan url.Values, 1)
	status := http.StatusOK
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/report" {
			inner.ServeHTTP(w, r)
			return
		}
		if r.Method != http.MethodPost || r.Header.Get("Sec-Fetch-Site") != "same-origin" || r.ParseForm() != nil {
			status = http.StatusBadRequest
		}
		forms <- r.PostForm
		w.Header().Set("Content-Type", "application/pdf")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("%PDF-1.7 of the report"))
	})
	path := files(t, map[string][]byte{"secret name.pdf": docGenuine})
	b := open(t, browser(t), phone.In("en"))
	save := b.saver()
	number := to.numbers[string(docGenuine)]
	for address, want := range map[string]url.Values{"/": {"lang": {"en"}}, "/r/" + number + "?code=" +
		code: {"lang": {"en"}, "number": {number}, "code": {code}}} {
		t.Run(address, func(t *testing.T) {
			b.GoTo(to.URL + address)
			b.Choose(path("secret name.pdf"))
			b.Verdict()
			if len(forms) > 0 {
				t.Fatal("the page sent the form unasked")
			}
			if name, data := save(b.press("save.pdf")); name != number+".report.pdf" ||
				string(data) != "%PDF-1.7 of the report" {
				t.Errorf("%s: %s", name, data)
			}
			got := <-forms
			report := proof.Verify(mustTrust(t, to), nil, []byte(got.Get("bundle")))
			if report.Number != number || got.Get("sm3") != sm.Sum(docGenuine).String() {
				t.Errorf("the form is %v", got)
			}
			got.Del("bundle")
			got.Del("sm3")
			if got.Encode() != want.Encode() {
				t.Errorf("%s: beside digest and bundle the form has %v, want %v", address, got, want)
			}
			b.Wait(`document.querySelector('#live').textContent === ` + quote(t, b.textOf("save.pdf_done")))
		})
	}
	for failure, key := range map[int]string{http.StatusTooManyRequests: "save.pdf_busy",
		http.StatusNotFound: "save.pdf_failed", http.StatusServiceUnavailable: "save.pdf_failed"} {
		t.Run(http.StatusText(failure), func(t *testing.T) {
			status = failure
			b.Run(b.press("save.pdf"))
			<-forms
			b.Wait(`document.querySelector('#result .sent').textContent === ` + quote(t, b.textOf(key)))
			if got := b.Verdict(); got != "genuine" {
				t.Errorf("after a failure the result is %s", got)
			}
		})
	}
	b.Accessible("report failed")
	b.Fits("report failed")
	b.Shoot("report failed")
}

func mustTrust(t testing.TB, to *town) *proof.Trust {
	t.Helper()
	roots, err := proof.ParseTrust(to.trust)
	fatalIfErr(t, err)
	return roots
}

// TestReportForm: the upload form's result has the same form, filled by the server.
func TestReportForm(t *testing.T) {
	to := newTown(t, roomy())
	field := regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)
	for name, c := range map[string]struct {
		parts  []part
		form   bool
		bundle bool
	}{
		"genuine":   {[]part{file(docGenuine)}, true, false},
		"handed in": {[]part{file(docGenuine), bundle(to.bundles[string(docGenuine)])}, true, true},
		"not found": {[]part{file(docUnknown)}, true, false},
		"received":  {[]part{file(docReceived)}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, body := to.post(t, c.parts...)
			got := map[string]string{}
			for _, m := range field.FindAllStringSubmatch(body, -1) {
				got[m[1]] = m[2]
			}
			if has := strings.Contains(body, `action="/report"`); has != c.form {
				t.Errorf("%s: a form: %v", name, has)
				return
			}
			if c.form && (got["sm3"] != sm.Sum(c.parts[0].data).String() || got["lang"] != "en" ||
				(got["bundle"] != "") != c.bundle || strings.Contains(got["bundle"], "document.pdf")) {
				t.Errorf("%s: the form is %v", name, got)
			}
		})
	}
}
