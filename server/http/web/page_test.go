package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"stele/notary/proof/prooftest"
	"stele/notary/proof/prooftest/packages"
	"stele/ui"
)

// cases are the states that a person can get a file into, by name of the file chosen.
func cases(to *town) (documents map[string][]byte, verdicts map[string]string) {
	documents = map[string][]byte{
		"genuine.pdf": docGenuine, "pending.pdf": docPending, "revoked.pdf": docRevoked,
		"superseded.pdf": docSuperseded,
		"twice.pdf":      docTwice, "not_found.pdf": docUnknown, "not_ready.pdf": docReceived, "empty.pdf": nil,
		"genuine.json":  to.bundles[string(docGenuine)],
		"revoked.json":  to.bundles[string(docRevoked)],
		"pending.json":  to.bundles[string(docPending)],
		"broken.json":   bytes.Replace(to.bundles[string(docGenuine)], []byte(`"index":0`), []byte(`"index":1`), 1),
		"mangled.json":  to.bundles[string(docGenuine)][:200],
		"foreign.json":  prooftest.New(prooftest.Options{Seed: "elsewhere"}).Notarize(docGenuine).Encode(),
		"ordinary.json": []byte(`{"format":"something else"}`),
		"package.zip":   packageOf(to.bundles[string(docGenuine)], docGenuine),
		"bad.zip":       packages.Bad(to.bundles[string(docGenuine)], docGenuine)[0].Data,
	}
	verdicts = map[string]string{
		"genuine.pdf": "genuine", "pending.pdf": "pending", "revoked.pdf": "revoked", "superseded.pdf": "superseded",
		"twice.pdf": "genuine", "not_found.pdf": "not_found", "not_ready.pdf": "unverifiable", "empty.pdf": "not_found",
		"ordinary.json":              "not_found",
		"genuine.pdf genuine.json":   "genuine",
		"not_found.pdf genuine.json": "altered",
		"genuine.json":               "unverifiable",
		"revoked.pdf revoked.json":   "revoked",
		"genuine.pdf broken.json":    "invalid",
		"genuine.pdf mangled.json":   "invalid",
		"genuine.pdf foreign.json":   "unverifiable",
		"package.zip":                "genuine",
		"bad.zip":                    "invalid",
	}
	return documents, verdicts
}

// TestVerdicts takes every state through the browser in both languages and sizes and
// compares its words with those of the upload form. On the large screen, light and dark,
// each page is examined too; the small one has the same elements in the same order.
func TestVerdicts(t *testing.T) {
	to := newTown(t, roomy())
	documents, verdicts := cases(to)
	path := files(t, documents)
	parent := browser(t)
	for _, l := range []look{desktop, desktop.In("en").InDark(), phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.GoTo(to.URL + "/")
			b.Accessible("start")
			b.Fits("start")
			b.Shoot("start")
			for names, want := range verdicts {
				var chosen []string
				for _, n := range strings.Fields(names) {
					chosen = append(chosen, path(n))
				}
				b.Choose(chosen...)
				if got := b.Verdict(); got != want {
					t.Errorf("%s: %s, want %s: %s", names, got, want, b.Text("#result"))
				}
				b.Wait(`document.activeElement === document.querySelector('#result h1')`)
				if live := b.Text("#live"); live != b.Text("#result h1") {
					t.Errorf("%s: announced %q", names, live)
				}
				if got, want := b.words(`document.querySelector('#result').cloneNode(true)`),
					b.uploaded(to, documents, names); got != want {
					t.Errorf("%s: in the browser:\n%s\nby upload:\n%s", names, got, want)
				}
				b.Shoot(strings.ReplaceAll(names, " ", "+"))
				b.Eval(`document.querySelectorAll('#result details').forEach((d) => { d.open = true; })`, nil)
				if l.Width == desktop.Width {
					b.Accessible(names)
				}
				b.Fits(names)
				b.Shoot("open " + strings.ReplaceAll(names, " ", "+"))
				b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
				b.Wait(`document.querySelector('#result').hidden && document.activeElement.id === 'file'`)
			}
		})
	}
}

// uploaded is what the upload form answers to the same files, as a person reads it.
func (b *tab) uploaded(to *town, documents map[string][]byte, names string) string {
	b.T.Helper()
	var parts []part
	for _, n := range strings.Fields(names) {
		if strings.HasSuffix(n, ".json") && n != "ordinary.json" {
			parts = append(parts, part{"bundle", n, documents[n]})
		} else {
			parts = append(parts, part{"file", n, documents[n]})
		}
	}
	contentType, body := form(b.T, parts...)
	_, html := do(b.T, request(b.T, http.MethodPost, to.URL+"/verify", body, "Content-Type", contentType,
		"Accept-Language", b.Look.Lang))
	quoted, err := json.Marshal(html)
	fatalIfErr(b.T, err)
	return b.words(`new DOMParser().parseFromString(` + string(quoted) + `, 'text/html').querySelector('.result')`)
}

// words is a result as a person reads it, without what differs on purpose: who checked, the
// actions, and the buttons that copy.
func (b *tab) words(result string) string {
	b.T.Helper()
	var text string
	b.Eval(`(() => {
		const place = `+result+`;
		place.querySelectorAll('.actions, .note, .checked, .copy').forEach((e) => e.remove());
		place.querySelectorAll('details').forEach((d) => { d.open = true; });
		document.body.append(place);
		const text = place.innerText;
		place.remove();
		return text.replace(/\s*\n\s*/g, '\n').trim();
	})()`, &text)
	return text
}

func TestFileStaysOnTheDevice(t *testing.T) {
	to := newTown(t, roomy())
	var mu sync.Mutex
	var seen []string
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Method+" "+r.URL.Path)
		mu.Unlock()
		inner.ServeHTTP(w, r)
	})
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine})
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	b.Choose(path("genuine.pdf"))
	if got := b.Verdict(); got != "genuine" {
		t.Fatal(got)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, s := range seen {
		if !strings.HasPrefix(s, "GET ") {
			t.Errorf("the page sent %s", s)
		}
	}
}

func TestServiceDown(t *testing.T) {
	to := newTown(t, roomy())
	var fault atomic.Value
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/lookup" {
			fault.Load().(func(http.ResponseWriter))(w)
			return
		}
		inner.ServeHTTP(w, r)
	})
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine, "genuine.json": to.bundles[string(docGenuine)]})
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	for _, c := range []struct {
		name  string
		cause string // key of what the page says
		fault func(w http.ResponseWriter)
	}{
		{"unavailable", "service", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"rate limited", "busy", func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }},
		{"captive portal", "answer",
			func(w http.ResponseWriter) { _, _ = w.Write([]byte("<h1>Log in to the Wi-Fi</h1>")) }},
		{"no such address", "answer", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }},
		{"cut off", "network", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fault.Store(c.fault)
			b.Choose(path("genuine.pdf"))
			if got, says := b.Verdict(), b.Text("#result"); got != "unverifiable" ||
				!strings.Contains(says, b.textOf("cause."+c.cause+".reason")) {
				t.Errorf("%s: verdict %s: %s", c.name, got, says)
			}
			b.Accessible(c.name)
			b.Shoot("down " + c.name)
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			b.Choose(path("genuine.pdf"), path("genuine.json"))
			if got := b.Verdict(); got != "genuine" { // a bundle needs no service
				t.Errorf("%s: with a bundle: %s", c.name, got)
			}
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
		})
	}
}

// textOf is a text of the language in which the page is looked at.
func (b *tab) textOf(key string) string {
	b.T.Helper()
	cs, err := ui.LoadCatalogues()
	fatalIfErr(b.T, err)
	c, ok := cs.ByTag(b.Look.Lang)
	if !ok {
		b.T.Fatalf("no texts in %s", b.Look.Lang)
	}
	return c.Text(key)
}

// TestWrongAnswer has the service answer with another record's bundle: that says nothing
// about the file.
func TestWrongAnswer(t *testing.T) {
	to := newTown(t, roomy())
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/lookup" {
			r.URL.RawQuery = "number=" + to.numbers[string(docRevoked)]
		}
		inner.ServeHTTP(w, r)
	})
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine})
	b := open(t, browser(t), desktop)
	for _, address := range []string{"/", "/r/" + to.numbers[string(docGenuine)]} {
		t.Run(address, func(t *testing.T) {
			b.GoTo(to.URL + address)
			b.Choose(path("genuine.pdf"))
			if got := b.Verdict(); got != "unverifiable" {
				t.Errorf("%s: verdict %s: %s", address, got, b.Text("#result"))
			}
		})
	}
}

func TestRecordPage(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine, "other.pdf": docUnknown})
	parent := browser(t)
	for _, l := range []look{desktop.In("en"), phone.InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			for name, doc := range map[string][]byte{"valid": docGenuine, "revoked": docRevoked,
				"superseded": docSuperseded, "pending": docPending, "received": docReceived} {
				b.GoTo(to.URL + "/r/" + to.numbers[string(doc)])
				b.Accessible("record " + name)
				b.Fits("record " + name)
				b.Shoot("record " + name)
			}
			b.GoTo(to.URL + "/r/420100-2026-00099999-X")
			b.Accessible("no such record")
			b.Shoot("record none")
			b.GoTo(to.URL + "/r/" + to.numbers[string(docGenuine)] + "?code=" + code)
			b.Accessible("attributes")
			b.Fits("attributes")
			b.Shoot("record with code")
			b.Choose(path("other.pdf"))
			if got := b.Verdict(); got != "altered" {
				t.Errorf("another file: %s: %s", got, b.Text("#result"))
			}
			b.Shoot("record altered")
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			b.Choose(path("genuine.pdf"))
			b.Wait(`document.querySelector('#result .v-genuine')`)
			if text := b.Text("#result"); !strings.Contains(text, "不动产登记证明.pdf") {
				t.Errorf("the attributes that the code opens are not shown: %s", text)
			}
		})
	}
}

func TestWithoutScripts(t *testing.T) {
	to := newTown(t, roomy())
	documents, _ := cases(to)
	path := files(t, documents)
	parent := browser(t)
	for _, l := range []look{desktop.WithoutScripts(), phone.In("en").WithoutScripts()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.GoTo(to.URL + "/")
			b.Shoot("start")
			for _, verdict := range []string{"genuine", "revoked", "not_found"} {
				b.GoTo(to.URL + "/")
				b.Choose(path(verdict + ".pdf"))
				b.Run(chromedp.Click("button.primary", chromedp.ByQuery), chromedp.WaitVisible(".verdict.v-"+verdict,
					chromedp.ByQuery))
				b.Shoot("form " + verdict)
			}
			b.GoTo(to.URL + "/")
			b.Run(chromedp.SendKeys("#number", strings.ReplaceAll(to.numbers[string(docRevoked)], "-", " "),
				chromedp.ByQuery),
				chromedp.Click(".number button", chromedp.ByQuery), chromedp.WaitVisible(".verdict.v-revoked",
					chromedp.ByQuery))
		})
	}
}

// TestNoVerifier is a browser with scripts that cannot get the verifier: the page must stop
// promising that files stay on the device.
func TestNoVerifier(t *testing.T) {
	to := newTown(t, roomy())
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".wasm") {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		inner.ServeHTTP(w, r)
	})
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine})
	b := open(t, browser(t), desktop)
	b.Run(chromedp.Navigate(to.URL + "/"))
	// after a try
	b.Wait(`document.querySelector('#check').dataset.mode === 'upload' && document.querySelector('#file').multiple`)
	b.Accessible("no verifier")
	b.Choose(path("genuine.pdf"))
	b.Wait(`document.querySelector('#result .v-unverifiable') || document.querySelector('#file').files.length === 1`)
}

func TestCancel(t *testing.T) {
	to := newTown(t, roomy())
	big := filepath.Join(t.TempDir(), "big.bin")
	f, err := os.Create(big)
	fatalIfErr(t, err)
	fatalIfErr(t, f.Truncate(4<<30)) // a hole: it takes no room, and long enough to hash
	fatalIfErr(t, f.Close())
	b := open(t, browser(t), phone)
	b.GoTo(to.URL + "/")
	b.Choose(big)
	b.Wait(`document.querySelector('#progress-bar').value > 0 && ` +
		`document.querySelector('#progress-numbers').textContent.includes('4 GB')`)
	b.Accessible("hashing")
	b.Fits("hashing")
	b.Shoot("hashing")
	b.Run(chromedp.Click("#cancel", chromedp.ByQuery))
	b.Wait(`document.querySelector('#progress').hidden && !document.querySelector('#complaint').hidden`)
	b.Accessible("cancelled")
	b.Shoot("cancelled")
	if live := b.Text("#live"); !strings.Contains(live, "已取消") {
		t.Errorf("announced %q", live)
	}
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine}) // and the page still works
	b.Choose(path("genuine.pdf"))
	if got := b.Verdict(); got != "genuine" {
		t.Errorf("after cancelling: %s", got)
	}
}

func TestDrop(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine, "genuine.json": to.bundles[string(docGenuine)],
		"other.pdf": docUnknown})
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	drop := func(files ...string) {
		data := &input.DragData{Items: []*input.DragDataItem{}, Files: files, DragOperationsMask: 1}
		for _, kind := range []input.DispatchDragEventType{input.DragEnter, input.DragOver, input.Drop} {
			b.Run(input.DispatchDragEvent(kind, 600, 300, data))
		}
	}
	drop(path("genuine.pdf"), path("genuine.json"))
	if got := b.Verdict(); got != "genuine" {
		t.Errorf("a file and its bundle: %s", got)
	}
	b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
	drop(path("genuine.pdf"), path("other.pdf"))
	b.Wait(`document.querySelectorAll('.many > li').length === 2`)
	drop(t.TempDir())
	b.Wait(`!document.querySelector('#complaint').hidden && ` +
		`document.querySelector('#complaint').textContent.includes('文件夹')`)
}

func TestKeyboard(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine})
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	var order []string
	for range 6 {
		b.Run(chromedp.KeyEvent(kb.Tab))
		var at string
		b.Eval(`document.activeElement.id || document.activeElement.className || document.activeElement.lang || `+
			`document.activeElement.tagName.toLowerCase()`, &at)
		order = append(order, at)
	}
	if got := strings.Join(order, " "); got != "skip brand en file number button" {
		t.Errorf("order of focus: %s", got)
	}
	b.Choose(path("genuine.pdf")) // the dialogue itself is the browser's
	b.Verdict()
	var at string
	for at != "again" { // from the answer on to what comes next, with the steps on the way
		b.Run(chromedp.KeyEvent(kb.Tab))
		b.Eval(`document.activeElement.closest('.actions') ? 'again' : document.activeElement === document.body ? `+
			`'lost' : ''`, &at)
		if at == "lost" {
			t.Fatal("the focus leaves the page before the actions")
		}
	}
	b.Run(chromedp.KeyEvent(kb.Enter))
	b.Wait(`document.querySelector('#result').hidden && document.activeElement.id === 'file'`)
	b.Run(chromedp.SendKeys("#number", "1"+kb.Enter, chromedp.ByQuery),
		chromedp.WaitVisible("#number-bad", chromedp.ByQuery))
	b.Wait(`document.activeElement.id === 'number'`)
	b.Accessible("bad number")
	b.Shoot("bad number")
}

func TestPrint(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine})
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	b.Choose(path("genuine.pdf"))
	b.Verdict()
	var pdf []byte
	b.Run(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		pdf, _, err = page.PrintToPDF().Do(ctx)
		return err
	}))
	if !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		t.Error("no PDF")
	}
	if dir := os.Getenv("STELE_TEST_PICTURES"); dir != "" {
		fatalIfErr(t, os.WriteFile(filepath.Join(dir, "print.pdf"), pdf, 0o644))
	}
}

// TestTextsAgree compares the two halves of the catalogue, Go's and the scripts'.
func TestTextsAgree(t *testing.T) {
	to := newTown(t, roomy())
	catalogues, err := ui.LoadCatalogues()
	fatalIfErr(t, err)
	sizes := []uint64{0, 1, 1023, 1024, 1536, 10239, 10<<20 - 1, 10 << 20, 99<<20 + 999<<10, 100<<20 + 600<<10, 1 << 40,
		1<<53 - 1}
	times := []string{"2026-11-22T06:28:41.123Z", "2026-12-31T15:59:59.999Z", "2026-12-31T16:00:00.000Z",
		"2028-02-29T00:00:00.000Z", "no time"}
	parent := browser(t)
	for _, c := range catalogues.All() {
		var want []string
		for _, n := range sizes {
			want = append(want, c.Size(n))
		}
		for _, at := range times {
			want = append(want, c.Time(at))
		}
		b := open(t, parent, desktop.In(c.Tag))
		b.GoTo(to.URL + "/")
		input, err := json.Marshal(map[string]any{"sizes": sizes, "times": times})
		fatalIfErr(t, err)
		var got []string
		b.Eval(
			`import(document.querySelector('script[type=module]').src.replace('main.js', 'text.js')).then(async ({ Texts }) => {
			const t = await Texts.load(document.querySelector('#check').dataset.catalogue);
			const input = `+string(input)+`;
			return [...input.sizes.map((n) => t.size(n)), ...input.times.map((s) => t.time(s))];
		})`, &got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: in the browser %q, in Go %q", c.Tag, got, want)
		}
	}
}
