package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"stele/ui"
)

// patience is how long one thing may take in the browser before something is wrong, unless a
// test says otherwise.
const patience = 20 * time.Second

// chromium is one browser for all tests; each test opens tabs of it.
var chromium struct {
	once sync.Once
	ctx  context.Context
	stop context.CancelFunc
	err  error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
	os.Exit(status)
}

var errNoChromium = errors.New("the page's tests need Chromium and a Chinese font; install them with: make tools")

// browser returns the browser, started at the first call.
func browser(t testing.TB) context.Context {
	t.Helper()
	if assets, err := ui.LoadAssets(); err != nil || !assets.CanVerify() {
		t.Fatal("the browser's verifier is not built; run: make generate", err)
	}
	chromium.once.Do(func() { chromium.ctx, chromium.stop, chromium.err = startBrowser() })
	fatalIfErr(t, chromium.err)
	return chromium.ctx
}

// startBrowser starts one; more are its command line's, beside what every test needs.
func startBrowser(more ...chromedp.ExecAllocatorOption) (context.Context, context.CancelFunc, error) {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		return nil, nil, errNoChromium
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))
	options = append(options, more...)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	return ctx, func() { end(); stop() }, chromedp.Run(ctx)
}

// look is how a person sees the page.
type look struct {
	lang   string
	width  int64
	height int64
	dark   bool
	noJS   bool
}

var (
	desktop = look{lang: "zh-CN", width: 1366, height: 768}
	phone   = look{lang: "zh-CN", width: 390, height: 844}
)

func (l look) in(lang string) look { l.lang = lang; return l }

func (l look) inDark() look { l.dark = true; return l }

func (l look) withoutScripts() look { l.noJS = true; return l }

func (l look) String() string {
	name := fmt.Sprintf("%s-%d", l.lang, l.width)
	if l.dark {
		name += "-dark"
	}
	if l.noJS {
		name += "-nojs"
	}
	return name
}

// tab is an open page. Any fault that the browser reports fails the test.
type tab struct {
	t        testing.TB
	ctx      context.Context
	look     look
	patience time.Duration // how long one thing may take before something is wrong
}

func open(t testing.TB, parent context.Context, l look) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	fatalIfErr(t, chromedp.Run(ctx)) // the first call makes the tab, which lives as long as its context
	b := &tab{t: t, ctx: ctx, look: l, patience: patience}
	chromedp.ListenTarget(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("script fault: %s", e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			if strings.Contains(e.Entry.Text, "Content Security Policy") {
				t.Errorf("%s: %s", e.Entry.URL, e.Entry.Text)
			}
		}
	})
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	// A tab in the background draws nothing and moves no focus.
	b.run(page.BringToFront(), emulation.SetFocusEmulationEnabled(true), network.SetExtraHTTPHeaders(network.Headers{"Accept-Language": l.lang}),
		emulation.SetDeviceMetricsOverride(l.width, l.height, 1, l.width < 600), emulation.SetTouchEmulationEnabled(l.width < 600),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		emulation.SetScriptExecutionDisabled(l.noJS))
	return b
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, b.patience)
	defer cancel()
	fatalIfErr(b.t, chromedp.Run(ctx, actions...))
}

// goTo opens an address and waits until the page can work by itself.
func (b *tab) goTo(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url))
	if !b.look.noJS {
		b.wait(`document.querySelector('#check')?.dataset.mode !== 'upload'`)
	}
}

// wait waits until an expression holds, looking whenever the page changes.
func (b *tab) wait(expression string) {
	b.t.Helper()
	script := `new Promise((resolve) => {
		const holds = () => { if (!(` + expression + `)) return false; seen.disconnect(); resolve(true); return true; };
		const seen = new MutationObserver(holds);
		seen.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
		holds();
	})`
	ctx, cancel := context.WithTimeout(b.ctx, b.patience)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Evaluate(script, nil, awaited)); err != nil {
		b.t.Fatalf("waiting for %s: %v; the page says:\n%s", expression, err, b.text("main"))
	}
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

func (b *tab) eval(expression string, into any) {
	b.t.Helper()
	b.run(chromedp.Evaluate(expression, into, awaited))
}

// text is what a person reads in the first element of a selector.
func (b *tab) text(selector string) string {
	b.t.Helper()
	var s string
	b.eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &s)
	return s
}

// choose gives files to the form, as the file dialogue does.
func (b *tab) choose(files ...string) {
	b.t.Helper()
	b.run(chromedp.SetUploadFiles("#file", files, chromedp.ByQuery))
}

// verdict waits for a result and returns which one it is.
func (b *tab) verdict() string {
	b.t.Helper()
	b.wait(`!document.querySelector('#result').hidden && !document.querySelector('[data-waits]')`)
	var class string
	b.eval(`document.querySelector('#result .verdict').className`, &class)
	return strings.TrimPrefix(class, "verdict v-")
}

// shoot keeps a picture of the page where somebody asked for pictures to look at.
func (b *tab) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("STELE_TEST_PICTURES")
	if dir == "" {
		return
	}
	var png []byte
	b.run(page.BringToFront(), chromedp.FullScreenshot(&png, 100)) // another tab of the test may be in front
	fatalIfErr(b.t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s.png", name, b.look)), png, 0o644))
}

// accessible runs axe-core and fails on every serious finding.
func (b *tab) accessible(state string) {
	b.t.Helper()
	var loaded bool
	if b.eval(`'axe' in window`, &loaded); !loaded {
		axe, err := os.ReadFile("../../ui/testdata/axe.min.js")
		fatalIfErr(b.t, err)
		b.eval(string(axe)+";0", nil)
	}
	var out string
	b.eval(`axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((r) =>
		JSON.stringify(r.violations.map((v) => ({ id: v.id, impact: v.impact, nodes: v.nodes.map((n) => n.html + ' — ' + n.failureSummary) }))))`, &out)
	var found []struct {
		ID, Impact string
		Nodes      []string
	}
	fatalIfErr(b.t, json.Unmarshal([]byte(out), &found))
	for _, f := range found {
		if f.Impact == "serious" || f.Impact == "critical" {
			b.t.Errorf("%s, %s: %s (%s):\n%s", state, b.look, f.ID, f.Impact, strings.Join(f.Nodes, "\n"))
		} else {
			b.t.Logf("%s, %s: %s (%s): %s", state, b.look, f.ID, f.Impact, f.Nodes)
		}
	}
}

// fits fails when the page is wider than the screen, or a target is too small for a finger.
func (b *tab) fits(state string) {
	b.t.Helper()
	var width int64
	b.eval(`document.documentElement.scrollWidth`, &width)
	if width > b.look.width {
		b.t.Errorf("%s, %s: the page is %d px wide", state, b.look, width)
	}
	var small []string
	b.eval(`[...document.querySelectorAll('button, .button, input:not([type=hidden]), summary, .choose, header a, footer a')]
		.filter((e) => { const r = e.getBoundingClientRect(); return r.width > 1 && r.height > 1 && r.height < 43.9; })
		.map((e) => e.outerHTML.slice(0, 120))`, &small)
	if len(small) > 0 {
		b.t.Errorf("%s, %s: targets less than 44 px high: %s", state, b.look, small)
	}
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
