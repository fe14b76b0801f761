package web_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"stele/crypto/sm"
)

// hole is a file of zeros that takes no room, but long enough to hash.
func hole(t testing.TB, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hole.bin")
	f, err := os.Create(name)
	fatalIfErr(t, err)
	defer f.Close()
	fatalIfErr(t, f.Truncate(size))
	return name
}

// TestOver4GiB hashes a file to the end whose size does not fit into 32 bits.
func TestOver4GiB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const size = 4<<30 + 12345
	name := hole(t, size)
	digest := make(chan string, 1)
	go func() {
		defer close(digest)
		f, err := os.Open(name)
		if err != nil {
			return
		}
		defer f.Close()
		h := sm.NewHash()
		if _, err := io.CopyBuffer(struct{ io.Writer }{h}, f, make([]byte, 1<<20)); err == nil {
			digest <- sm.Digest(h.Sum(nil)).String()
		}
	}()
	to := newTown(t, roomy())
	b := open(t, browser(t), desktop.In("en"))
	b.GoTo(to.URL + "/")
	b.Choose(name)
	b.Patience = 5 * time.Minute
	if got := b.Verdict(); got != "not_found" {
		t.Errorf("%s: %s", got, b.Text("#result"))
	}
	var got string
	b.Eval(`document.querySelector('#result .hex').textContent`, &got)
	if want := <-digest; got != want {
		t.Errorf("the browser's digest is %s, Go's %s", got, want)
	}
}

// BenchmarkBrowser prints what Chromium makes of the page's verifier: how fast it hashes and
// how long a verification takes, the first one after the page has loaded and later ones.
func BenchmarkBrowser(b *testing.B) {
	const size = 1 << 30
	to := newTown(b, roomy())
	tab := open(b, browser(b), desktop)
	name := hole(b, size)
	input, err := json.Marshal(map[string]string{"trust": string(to.trust),
		"bundle": string(to.bundles[string(docGenuine)])})
	fatalIfErr(b, err)
	for b.Loop() {
		tab.GoTo(to.URL + "/")
		tab.Patience = 5 * time.Minute
		// a field that the page does not look at
		tab.Run(chromedp.SetUploadFiles("#bundle", []string{name}, chromedp.ByQuery))
		var got struct{ Hash, First, Later float64 }
		tab.Eval(fmt.Sprintf(`(async () => {
			const base = document.querySelector('script[type=module]').src;
			const { Engine } = await import(base.replace('main.js', 'engine.js'));
			const { wasm, loader, worker } = document.querySelector('#check').dataset;
			const absolute = (path) => new URL(path, location.href).href;
			const engine = new Engine({ worker, assets: { wasm: absolute(wasm), loader: absolute(loader) } });
			await engine.start();
			const { trust, bundle } = %s;
			const timed = async (work) => { const since = performance.now(); await work(); return performance.now() - since; };
			const verify = () => engine.verify(trust, null, bundle);
			const first = await timed(verify);
			const times = [];
			for (let i = 0; i < 200; i++) times.push(await timed(verify));
			const file = document.querySelector('#bundle').files[0];
			const hash = file.size / 1e3 / await timed(() => engine.hash(file));
			return { Hash: hash, First: first, Later: times.sort((a, b) => a - b)[100] };
		})()`, input), &got)
		b.ReportMetric(got.Hash, "hash-MB/s")
		b.ReportMetric(got.First, "first-verify-ms")
		b.ReportMetric(got.Later, "verify-ms")
	}
}
