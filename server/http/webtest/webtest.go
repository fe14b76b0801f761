// Package webtest is a real browser for tests of pages: Chromium, seen through chromedp, with
// the looks that people have, and what every page is examined for.
package webtest

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

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"stele/ui"
)

// Patience is how long one thing may take in the browser before something is wrong, unless a
// test says otherwise.
const Patience = time.Minute

// chromium is one browser for all tests; each test opens tabs of it.
var chromium struct {
	once sync.Once
	ctx  context.Context
	stop context.CancelFunc
	err  error
}

// Main runs a package's tests and stops the browser after them. What the pages embed must have been
// built: that is said once, not by each test in its own way.
func Main(m *testing.M) {
	if assets, err := ui.LoadAssets(); err != nil || !assets.CanVerify() {
		fmt.Fprintln(os.Stderr, "the browser's verifier is not built; run: make generate", err)
		os.Exit(1)
	}
	status := m.Run()
	if chromium.stop != nil {
		chromium.stop()
	}
	os.Exit(status)
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needsBrowser skips a test in the quick tier (go test -short): it says so by name.
func needsBrowser(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no browsers are started")
	}
}

var errNoChromium = errors.New("the page's tests need Chromium and a Chinese font; install them with: make tools")

// Browser returns the browser, started at the first call.
func Browser(t testing.TB) context.Context {
	t.Helper()
	needsBrowser(t)
	chromium.once.Do(func() { chromium.ctx, chromium.stop, chromium.err = Start() })
	fatalIfErr(t, chromium.err)
	return chromium.ctx
}

// Start starts one; more are its command line's, beside what every test needs.
func Start(more ...chromedp.ExecAllocatorOption) (context.Context, context.CancelFunc, error) {
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
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true))
	options = append(options, more...)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(allocator)
	return ctx, func() { end(); stop() }, chromedp.Run(ctx)
}

// Look is how a person sees the page.
type Look struct {
	Lang   string
	Width  int64
	Height int64
	Dark   bool
	NoJS   bool
}

// Looks that pages must be good in.
var (
	Desktop = Look{Lang: "zh-CN", Width: 1366, Height: 768}
	Phone   = Look{Lang: "zh-CN", Width: 390, Height: 844}
)

// In is the same in another language.
func (l Look) In(lang string) Look { l.Lang = lang; return l }

// InDark is the same with the dark theme.
func (l Look) InDark() Look { l.Dark = true; return l }

// WithoutScripts is the same in a browser that runs none.
func (l Look) WithoutScripts() Look { l.NoJS = true; return l }

// String names pictures and subtests.
func (l Look) String() string {
	name := fmt.Sprintf("%s-%d", l.Lang, l.Width)
	if l.Dark {
		name += "-dark"
	}
	if l.NoJS {
		name += "-nojs"
	}
	return name
}

// Tab is an open page. Any fault that the browser reports fails the test.
type Tab struct {
	T        testing.TB
	Ctx      context.Context
	Look     Look
	Patience time.Duration // how long one thing may take before something is wrong
}

// Open opens a tab.
func Open(t testing.TB, parent context.Context, l Look) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	fatalIfErr(t, chromedp.Run(ctx)) // the first call makes the tab, which lives as long as its context
	b := &Tab{T: t, Ctx: ctx, Look: l, Patience: Patience}
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
	if l.Dark {
		scheme = "dark"
	}
	// A tab in the background draws nothing and moves no focus.
	b.Run(page.BringToFront(), emulation.SetFocusEmulationEnabled(true),
		network.SetExtraHTTPHeaders(network.Headers{"Accept-Language": l.Lang}),
		emulation.SetDeviceMetricsOverride(l.Width, l.Height, 1, l.Width < 600),
		emulation.SetTouchEmulationEnabled(l.Width < 600),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}}),
		emulation.SetScriptExecutionDisabled(l.NoJS))
	return b
}

// Run does something in the tab.
func (b *Tab) Run(actions ...chromedp.Action) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, b.Patience)
	defer cancel()
	fatalIfErr(b.T, chromedp.Run(ctx, actions...))
}

// GoTo opens an address and waits until the page can work by itself.
func (b *Tab) GoTo(url string) {
	b.T.Helper()
	b.Run(chromedp.Navigate(url))
	if !b.Look.NoJS {
		b.Wait(`document.querySelector('#check')?.dataset.mode !== 'upload'`)
	}
}

// Wait waits until an expression holds, looking whenever the page changes.
func (b *Tab) Wait(expression string) {
	b.T.Helper()
	script := `new Promise((resolve) => {
		const holds = () => { if (!(` + expression + `)) return false; seen.disconnect(); resolve(true); return true; };
		const seen = new MutationObserver(holds);
		seen.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
		holds();
	})`
	ctx, cancel := context.WithTimeout(b.Ctx, b.Patience)
	defer cancel()
	for {
		err := chromedp.Run(ctx, chromedp.Evaluate(script, nil, awaited))
		if err == nil {
			return
		}
		if !gone(err) || ctx.Err() != nil {
			b.T.Fatalf("waiting for %s: %v; the page says:\n%s", expression, err, b.Text("main"))
		}
	}
}

// gone says whether the page that was looked at made way for another one meanwhile: what is awaited may be there.
func gone(err error) bool {
	var fault *cdproto.Error
	return errors.As(err, &fault) && (strings.Contains(fault.Message, "navigated or closed") ||
		strings.Contains(fault.Message, "context was destroyed"))
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// Eval evaluates an expression, and waits for it where it is a promise.
func (b *Tab) Eval(expression string, into any) {
	b.T.Helper()
	b.Run(chromedp.Evaluate(expression, into, awaited))
}

// Text is what a person reads in the first element of a selector.
func (b *Tab) Text(selector string) string {
	b.T.Helper()
	var s string
	b.Eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &s)
	return s
}

// Choose gives files to the form, as the file dialogue does.
func (b *Tab) Choose(files ...string) {
	b.T.Helper()
	b.Run(chromedp.SetUploadFiles("#file", files, chromedp.ByQuery))
}

// Verdict waits for a result and returns which one it is.
func (b *Tab) Verdict() string {
	b.T.Helper()
	b.Wait(`!document.querySelector('#result').hidden && !document.querySelector('[data-waits]')`)
	var class string
	b.Eval(`document.querySelector('#result .verdict').className`, &class)
	return strings.TrimPrefix(class, "verdict v-")
}

// Shoot keeps a picture of the page where somebody asked for pictures to look at.
func (b *Tab) Shoot(name string) {
	b.T.Helper()
	dir := os.Getenv("STELE_TEST_PICTURES")
	if dir == "" {
		return
	}
	var png []byte
	b.Run(page.BringToFront(), chromedp.FullScreenshot(&png, 100)) // another tab of the test may be in front
	fatalIfErr(b.T, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s.png", name, b.Look)), png, 0o644))
}

// Accessible runs axe-core and fails on every serious finding.
func (b *Tab) Accessible(state string) {
	b.T.Helper()
	var loaded bool
	if b.Eval(`'axe' in window`, &loaded); !loaded {
		axe, err := os.ReadFile("../../../ui/testdata/axe.min.js") // from server/http/*, whose tests run here
		fatalIfErr(b.T, err)
		b.Eval(string(axe)+";0", nil)
	}
	var out string
	b.Eval(
		`axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((r) =>
		JSON.stringify(r.violations.map((v) => ({ id: v.id, impact: v.impact, nodes: v.nodes.map((n) => n.html + ' — ' + n.failureSummary) }))))`, &out)
	var found []struct {
		ID, Impact string
		Nodes      []string
	}
	fatalIfErr(b.T, json.Unmarshal([]byte(out), &found))
	for _, f := range found {
		if f.Impact == "serious" || f.Impact == "critical" {
			b.T.Errorf("%s, %s: %s (%s):\n%s", state, b.Look, f.ID, f.Impact, strings.Join(f.Nodes, "\n"))
		} else {
			b.T.Logf("%s, %s: %s (%s): %s", state, b.Look, f.ID, f.Impact, f.Nodes)
		}
	}
}

// Fits fails when the page is wider than the screen, or a target is too small for a finger.
func (b *Tab) Fits(state string) {
	b.T.Helper()
	var width int64
	b.Eval(`document.documentElement.scrollWidth`, &width)
	if width > b.Look.Width {
		b.T.Errorf("%s, %s: the page is %d px wide", state, b.Look, width)
	}
	var small []string
	b.Eval(
		`[...document.querySelectorAll('button, .button, input:not([type=hidden]), summary, .choose, header a, footer a')]
		.filter((e) => { const r = (e.closest('label.tick') ?? e).getBoundingClientRect(); // a click on the label does as well
			 return r.width > 1 && r.height > 1 && r.height < 43.9; })
		.map((e) => e.outerHTML.slice(0, 120))`, &small)
	if len(small) > 0 {
		b.T.Errorf("%s, %s: targets less than 44 px high: %s", state, b.Look, small)
	}
}
