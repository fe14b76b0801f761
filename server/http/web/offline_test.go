package web_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"stele/crypto/sm"
	"stele/notary/issue/evidence"
	"stele/notary/proof"
	"stele/notary/proof/prooftest"
	"stele/server/http/webtest"
)

// The page that is served is the one whose digests are published.
func TestOfflinePageIsServed(t *testing.T) {
	to := newTown(t, roomy())
	res, plain := to.get(t, "/verify.html", "Accept-Encoding", "identity")
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" ||
		res.Header.Get("Content-Disposition") != `inline; filename="verify.html"` {
		t.Fatalf("status %d, headers %v", res.StatusCode, res.Header)
	}
	sum := sha256.Sum256([]byte(plain))
	for path, want := range map[string]string{
		"/verify.html.sm3":    sm.Sum([]byte(plain)).String() + "  verify.html\n",
		"/verify.html.sha256": hex.EncodeToString(sum[:]) + "  verify.html\n",
	} {
		t.Run(path, func(t *testing.T) {
			res, got := to.get(t, path)
			if got != want || res.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		})
	}
	packed, body := to.get(t, "/verify.html", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(strings.NewReader(body))
	fatalIfErr(t, err)
	unpacked, err := io.ReadAll(z)
	if err != nil || string(unpacked) != plain || packed.Header.Get("ETag") == res.Header.Get("ETag") {
		t.Errorf("packed and unpacked differ (%v)", err)
	}
	if again, _ := to.get(t, "/verify.html", "Accept-Encoding", "gzip", "If-None-Match",
		packed.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("status %d for a known ETag", again.StatusCode)
	}
	if head, body := do(t, request(t, http.MethodHead, to.URL+"/verify.html", nil)); head.StatusCode != http.StatusOK ||
		body != "" {
		t.Errorf("HEAD: status %d", head.StatusCode)
	}
	if n := len(plain); n > 3_500_000 {
		t.Errorf("the page has %d bytes", n)
	}
	if n := len(body); n > 2_500_000 {
		t.Errorf("the page has %d bytes on the way", n)
	}
	if _, home := to.get(t, "/"); !strings.Contains(home, `href="/verify.html"`) ||
		!strings.Contains(strings.ReplaceAll(strings.ReplaceAll(home, "</span><wbr>", ""), "<span>", ""),
			sm.Sum([]byte(plain)).String()) {
		t.Error("the public page does not lead to it, or does not name its SM3")
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "connect-src 'none'", "form-action 'none'",
		"frame-ancestors 'none'", "script-src 'sha256-", "worker-src blob:"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe-inline") || strings.Contains(policy, "unsafe-eval'") &&
		!strings.Contains(policy, "'wasm-unsafe-eval'") {
		t.Errorf("policy %q", policy)
	}
}

// offlinePlace is a folder with verify.html in it and files to hand in.
func offlinePlace(t *testing.T, documents map[string][]byte) func(name string) string {
	t.Helper()
	documents["verify.html"] = verifyPage(t).Data
	return files(t, documents)
}

// openOffline opens a page from disk in a browser that is cut off from the network. Whatever
// it asks for beside itself fails the test.
func openOffline(t *testing.T, l look, path string) *tab {
	t.Helper()
	b := open(t, browser(t), l)
	var mu sync.Mutex
	var asked []string
	chromedp.ListenTarget(b.Ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, e.Request.URL)
		}
	})
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, url := range asked {
			if url != "file://"+path && !strings.HasPrefix(url, "blob:") && !strings.HasPrefix(url, "data:") {
				t.Errorf("the page asked for %s", url)
			}
		}
		if len(asked) == 0 {
			t.Error("no request was seen, not even for the page: the test does not watch")
		}
	})
	var agent string
	b.Eval(`navigator.userAgent`, &agent)
	b.Run(network.Enable(), network.OverrideNetworkState(true, 0, 0, 0),
		emulation.SetUserAgentOverride(agent).WithAcceptLanguage(l.Lang))
	b.Run(chromedp.Navigate("file://" + path))
	b.Wait(`document.querySelector('#unable').hidden`)
	return b
}

// needed are the kinds that the page still asks for.
func (b *tab) needed() string {
	b.T.Helper()
	var s string
	b.Eval(`[...document.querySelectorAll('#needs > li')].map((e) => e.className.slice(2)).join(' ')`, &s)
	return s
}

// TestOfflineVerdicts takes every verdict that evidence can have through the page, opened
// from disk, and compares its words with those of the upload form.
func TestOfflineVerdicts(t *testing.T) {
	to := newTown(t, roomy())
	to.store.down.Store(true) // so that the form, too, knows only what it is given
	documents, _ := cases(to)
	documents["trust.json"] = to.trust
	documents["stranger-trust.json"] = prooftest.New(prooftest.Options{Seed: "elsewhere"}).Trust().Encode()
	path := offlinePlace(t, documents)
	for _, l := range []look{desktop, phone.In("en"), desktop.In("en").InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			b := openOffline(t, l, path("verify.html"))
			if lang := b.Text("html"); lang == "" {
				t.Fatal("the page is empty")
			}
			b.Wait(`document.documentElement.lang === '` + l.Lang + `'`)
			b.Accessible("offline start")
			b.Fits("offline start")
			b.Shoot("offline start")
			for _, c := range []struct{ names, want string }{
				{"genuine.pdf genuine.json", "genuine"},
				{"not_found.pdf genuine.json", "altered"},
				{"pending.pdf pending.json", "pending"},
				// the bundle is older than the revocation, and nobody can be asked
				{"revoked.pdf revoked.json", "genuine"},
				{"genuine.pdf broken.json", "invalid"},
				{"genuine.pdf mangled.json", "invalid"},
				{"genuine.pdf foreign.json", "unverifiable"},
			} {
				t.Run(c.names, func(t *testing.T) {
					names := strings.Fields(c.names)
					b.Choose(path("trust.json"), path(names[0]), path(names[1]))
					if got := b.Verdict(); got != c.want {
						t.Errorf("%s: %s, want %s: %s", c.names, got, c.want, b.Text("#result"))
					}
					b.Wait(`document.activeElement === document.querySelector('#result h1')`)
					got := b.words(`document.querySelector('#result').cloneNode(true)`)
					if want := b.uploaded(to, documents, c.names); got != want {
						t.Errorf("%s: offline:\n%s\nby upload:\n%s", c.names, got, want)
					}
					if says := strings.Contains(b.Text("#result"),
						b.textOf("stands.unasked")); says != (c.want == "genuine" || c.want == "pending") {
						t.Errorf("%s: says that later changes are not known: %v", c.names, says)
					}
					var links int
					if b.Eval(`document.querySelectorAll('#result a:not([download])').length`, &links); links > 0 {
						t.Errorf("%s: the result has links, which lead nowhere", c.names)
					}
					if l.Width == desktop.Width {
						b.Accessible("offline " + c.names)
					}
					b.Fits("offline " + c.names)
					b.Shoot("offline " + strings.ReplaceAll(c.names, " ", "+"))
					b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
					b.Wait(`document.querySelector('#result').hidden && document.activeElement.id === 'file'`)
					if got := b.needed(); got != "given now later" { // the trust roots stay, and nothing else
						t.Errorf("%s: afterwards: %s", c.names, got)
					}
				})
			}
			b.Choose(path("stranger-trust.json"), path("genuine.pdf"), path("genuine.json"))
			if got := b.Verdict(); got != "unverifiable" {
				t.Errorf("foreign trust roots: %s", got)
			}
		})
	}
}

// TestOfflineStepByStep hands in one file after the other, by choosing and by dropping.
func TestOfflineStepByStep(t *testing.T) {
	to := newTown(t, roomy())
	path := offlinePlace(t, map[string][]byte{"trust.json": to.trust,
		"bad-trust.json": []byte(`{"format":"stele/trust/v1","roots":[]`), "deed.pdf": docGenuine,
		"bundle.json": to.bundles[string(docGenuine)], "other.pdf": docUnknown})
	for _, l := range []look{desktop, phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := openOffline(t, l, path("verify.html"))
			drop := func(files ...string) {
				data := &input.DragData{Items: []*input.DragDataItem{}, Files: files, DragOperationsMask: 1}
				for _, kind := range []input.DispatchDragEventType{input.DragEnter, input.DragOver, input.Drop} {
					b.Run(input.DispatchDragEvent(kind, 200, 300, data))
				}
			}
			if got := b.needed(); got != "now later later" {
				t.Errorf("at the start: %s", got)
			}
			b.Choose(path("deed.pdf"))
			b.Wait(`document.querySelectorAll('#needs .n-given').length === 1`)
			if got, live := b.needed(), b.Text("#live"); got != "now later given" ||
				live != b.textOf("offline.trust.missing") {
				t.Errorf("with the document: %s, announced %q", got, live)
			}
			b.Choose(path("bad-trust.json"))
			b.Wait(`!document.querySelector('#complaint').hidden`)
			b.Accessible("bad trust roots")
			b.Shoot("offline bad trust roots")
			drop(path("trust.json"))
			b.Wait(`document.querySelectorAll('#needs .n-given').length === 2 && ` +
				`document.querySelector('#complaint').hidden`)
			if text := strings.ReplaceAll(b.Text("#needs .n-given .hex"), "\n", ""); text != sm.Sum(to.trust).String() {
				t.Errorf("the SM3 of the trust roots is shown as %q", text)
			}
			b.Accessible("offline needs the bundle")
			b.Fits("offline needs the bundle")
			b.Shoot("offline needs the bundle")
			drop(path("bundle.json"))
			if got := b.Verdict(); got != "genuine" {
				t.Fatalf("%s: %s", got, b.Text("#result"))
			}
			// The other language says the same about the same files.
			for _, lang := range []string{map[string]string{"zh-CN": "en", "en": "zh-CN"}[l.Lang], l.Lang} {
				b.Run(chromedp.Click("#language", chromedp.ByQuery))
				sentence := (&tab{&webtest.Tab{T: t, Look: l.In(lang)}}).textOf("verdict.genuine.sentence")
				b.Wait(`document.documentElement.lang === '` + lang +
					`' && document.querySelector('#result h1')?.textContent === '` + sentence +
					`' && !document.querySelector('#result').hidden`)
				b.Shoot("offline result in " + lang)
			}
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			// Without the document, the proof alone.
			b.Choose(path("bundle.json"))
			b.Wait(`!document.querySelector('#proof-only').hidden`)
			b.Accessible("offline proof only")
			b.Fits("offline proof only")
			b.Shoot("offline proof only")
			b.Run(chromedp.Click("#proof-only", chromedp.ByQuery))
			if got, text := b.Verdict(), b.Text("#result"); got != "unverifiable" ||
				!strings.Contains(text, to.numbers[string(docGenuine)]) {
				t.Errorf("the proof alone: %s: %s", got, text)
			}
			var kept int
			if b.Eval(`localStorage.length + sessionStorage.length + document.cookie.length`, &kept); kept > 0 {
				t.Error("the page keeps something")
			}
			if version := b.Text("#version"); !strings.Contains(version, "v1.2.3-test") {
				t.Errorf("version: %q", version)
			}
		})
	}
}

func TestOfflineKeyboard(t *testing.T) {
	path := offlinePlace(t, map[string][]byte{})
	b := openOffline(t, desktop, path("verify.html"))
	var order []string
	for range 3 {
		b.Run(chromedp.KeyEvent(kb.Tab))
		var at string
		b.Eval(`document.activeElement.id || document.activeElement.className`, &at)
		order = append(order, at)
	}
	if got := strings.Join(order, " "); got != "skip language file" {
		t.Errorf("order of focus: %s", got)
	}
	b.Run(chromedp.Focus("#language", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
	b.Wait(`document.documentElement.lang === 'en'`)
}

// TestOfflineServed opens the page from the server, under the policy that it is sent with.
func TestOfflineServed(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{"trust.json": to.trust, "deed.pdf": docGenuine,
		"bundle.json": to.bundles[string(docGenuine)]})
	b := open(t, browser(t), desktop)
	b.Run(chromedp.Navigate(to.URL + "/verify.html"))
	b.Wait(`document.querySelector('#unable').hidden`)
	b.Choose(path("trust.json"), path("deed.pdf"), path("bundle.json"))
	if got := b.Verdict(); got != "genuine" {
		t.Errorf("%s: %s", got, b.Text("#result"))
	}
}

func TestOfflineCancel(t *testing.T) {
	to := newTown(t, roomy())
	path := offlinePlace(t, map[string][]byte{"trust.json": to.trust, "bundle.json": to.bundles[string(docGenuine)],
		"deed.pdf": docGenuine})
	big := filepath.Join(t.TempDir(), "big.bin")
	f, err := os.Create(big)
	fatalIfErr(t, err)
	fatalIfErr(t, f.Truncate(4<<30)) // a hole: it takes no room, and long enough to hash
	fatalIfErr(t, f.Close())
	b := openOffline(t, desktop, path("verify.html"))
	b.Choose(path("trust.json"), path("bundle.json"), big)
	b.Wait(`document.querySelector('#progress-bar').value > 0`)
	b.Shoot("offline hashing")
	b.Run(chromedp.Click("#cancel", chromedp.ByQuery))
	b.Wait(`document.querySelector('#progress').hidden && !document.querySelector('#complaint').hidden`)
	b.Choose(path("deed.pdf"))
	if got := b.Verdict(); got != "genuine" {
		t.Errorf("after cancelling: %s", got)
	}
}

// TestOfflineCertificate hands in certificates in place of bundles, and several documents.
func TestOfflineCertificate(t *testing.T) {
	to := newTown(t, roomy())
	path := offlinePlace(t, map[string][]byte{"trust.json": to.trust, "certificate.pdf": to.certificate(t, to.URL),
		"deed.pdf": docGenuine, "other.pdf": docUnknown})
	b := openOffline(t, desktop, path("verify.html"))
	b.Choose(path("certificate.pdf"), path("deed.pdf"), path("trust.json"))
	if got := b.Verdict(); got != "genuine" {
		t.Fatalf("%s: %s", got, b.Text("#result"))
	}
	b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
	b.Choose(path("certificate.pdf"), path("deed.pdf"), path("other.pdf"))
	b.Wait(`document.querySelectorAll('#result .many > li').length === 2`)
	b.Accessible("offline several")
	b.Shoot("offline several")
}

// TestOfflineFromEvidencePackage is a court's way: unpack, open the page that is inside, hand
// in what is beside it.
func TestOfflineFromEvidencePackage(t *testing.T) {
	to := newTown(t, roomy())
	trust, err := proof.ParseTrust(to.trust)
	fatalIfErr(t, err)
	digest, bundle := sm.Sum(docGenuine), to.bundles[string(docGenuine)]
	report := proof.Verify(trust, &digest, bundle)
	p, err := evidence.Prepare(evidence.Input{Bundle: bundle, Report: report, Certificate: to.certificate(t, to.URL),
		Trust: to.trust, VerifyPage: verifyPage(t).Data, Original: bytes.NewReader(docGenuine)})
	fatalIfErr(t, err)
	var b bytes.Buffer
	fatalIfErr(t, p.Write(&b))
	dir := t.TempDir()
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	fatalIfErr(t, err)
	fatalIfErr(t, os.CopyFS(dir, z))
	tab := openOffline(t, desktop, filepath.Join(dir, "verify.html"))
	tab.Choose(filepath.Join(dir, "trust.json"), filepath.Join(dir, "bundle.json"), filepath.Join(dir, "original.pdf"))
	if got := tab.Verdict(); got != "genuine" {
		t.Errorf("%s: %s", got, tab.Text("#result"))
	}
}
