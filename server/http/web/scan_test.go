package web_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	permission "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/skip2/go-qrcode"

	"stele/server/http/webtest"
)

// printed is the first page of a certificate as it lies on a table.
func printed(t *testing.T, pdf []byte) image.Image {
	t.Helper()
	if _, err := exec.LookPath("pdftoppm"); err != nil {
		t.Fatal("this test needs the pdftoppm command: install the package poppler-utils")
	}
	name := filepath.Join(t.TempDir(), "certificate.pdf")
	fatalIfErr(t, os.WriteFile(name, pdf, 0o600))
	out, err := exec.CommandContext(t.Context(), "pdftoppm", "-r", "150", "-png", "-f", "1", "-l", "1", "-singlefile",
		name).Output()
	fatalIfErr(t, err)
	page, err := png.Decode(bytes.NewReader(out))
	fatalIfErr(t, err)
	return page
}

// upperHalf is what a lens sees of a page that is held before it, in a size that cameras have.
func upperHalf(page image.Image) image.Image {
	seen := image.NewRGBA(image.Rect(0, 0, 1280, 960))
	draw.Draw(seen, seen.Rect, image.NewUniform(color.Gray{120}), image.Point{}, draw.Src)
	draw.Draw(seen, image.Rect(20, 0, 1260, 960), page, image.Point{}, draw.Src)
	return seen
}

func coded(t *testing.T, text string) image.Image {
	t.Helper()
	q, err := qrcode.New(text, qrcode.Medium)
	fatalIfErr(t, err)
	table := image.NewRGBA(image.Rect(0, 0, 640, 480))
	draw.Draw(table, table.Rect, image.NewUniform(color.Gray{210}), image.Point{}, draw.Src)
	draw.Draw(table, image.Rect(200, 120, 440, 360), q.Image(240), image.Point{}, draw.Src)
	return table
}

// film writes a picture as a film of one frame, which Chromium's false camera shows again and
// again: YUV4MPEG2, one byte of brightness a pixel, then the two colours at half the size.
func film(t *testing.T, picture image.Image) string {
	t.Helper()
	size := picture.Bounds().Size()
	var b bytes.Buffer
	fmt.Fprintf(&b, "YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420\nFRAME\n", size.X, size.Y)
	for y := range size.Y {
		for x := range size.X {
			b.WriteByte(color.GrayModel.Convert(picture.At(x, y)).(color.Gray).Y)
		}
	}
	b.Write(bytes.Repeat([]byte{128}, 2*((size.X+1)/2)*((size.Y+1)/2)))
	name := filepath.Join(t.TempDir(), "camera.y4m")
	fatalIfErr(t, os.WriteFile(name, b.Bytes(), 0o600))
	return name
}

// withCamera starts a browser before whose camera a picture lies. Whoever looks at the page
// has allowed the camera.
func withCamera(t *testing.T, picture image.Image) context.Context {
	t.Helper()
	return newBrowser(t, chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-file-for-fake-video-capture",
			film(t, picture)))
}

func newBrowser(t *testing.T, options ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	ctx, stop, err := webtest.Start(options...)
	fatalIfErr(t, err)
	t.Cleanup(stop)
	return ctx
}

// startScanning opens the page and the panel in it.
func (b *tab) startScanning(to *town) {
	b.T.Helper()
	b.GoTo(to.URL + "/")
	b.Wait(`!document.querySelector('#scan').hidden`)
	b.Run(chromedp.Click("#scan", chromedp.ByQuery))
	b.Wait(`document.querySelector('dialog.scan')?.open`)
}

// says waits until the panel says a text.
func (b *tab) says(key string, pairs ...string) {
	b.T.Helper()
	b.Wait(fmt.Sprintf(`document.querySelector('dialog.scan [role=status]')?.textContent === %q`,
		strings.NewReplacer(pairs...).Replace(b.textOf(key))))
}

// opened waits for the record of the genuine document with the attributes that its code opens.
func (b *tab) opened(to *town) {
	b.T.Helper()
	number := to.numbers[string(docGenuine)]
	b.Run(chromedp.WaitVisible(".result .over", chromedp.ByQuery))
	var at string
	if b.Eval(`location.pathname + location.search`, &at); at != "/r/"+number+"?code="+code {
		b.T.Errorf("the page is %s", at)
	}
	if text := b.Text("main"); !strings.Contains(text, number) || !strings.Contains(text, "不动产登记证明.pdf") {
		b.T.Errorf("the record with its attributes is not shown:\n%s", text)
	}
}

// TestScan holds a printed certificate before the camera.
func TestScan(t *testing.T) {
	to := newTown(t, roomy())
	parent := withCamera(t, upperHalf(printed(t, to.certificate(t, to.URL))))
	for _, l := range []look{phone, desktop.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.startScanning(to)
			b.opened(to)
		})
	}
}

// TestScanForeign holds codes before the camera that lead elsewhere: the page stays, and says
// where they lead.
func TestScanForeign(t *testing.T) {
	to := newTown(t, roomy())
	number := to.numbers[string(docGenuine)]
	own := strings.TrimPrefix(to.URL, "http://")
	for name, c := range map[string]struct{ text, host string }{
		"another host":   {"https://elsewhere.example/r/" + number, "elsewhere.example"},
		"with a user":    {strings.Replace(to.URL, "127.", "user@127.", 1) + "/", own},
		"another page":   {to.URL + "/r/../verify?number=" + number, own},
		"no web address": {"javascript:alert(1)//" + to.URL + "/r/" + number, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, withCamera(t, coded(t, c.text)), phone.In("en"))
			b.startScanning(to)
			if c.host == "" {
				b.says("scan.foreign_text")
			} else {
				b.says("scan.foreign", "{host}", c.host)
			}
			b.Accessible("foreign code")
			b.Fits("foreign code")
			b.Shoot("scan foreign")
			b.Run(chromedp.KeyEvent(kb.Escape))
			b.Wait(`!document.querySelector('dialog') && document.activeElement.id === 'scan'`)
			var at string
			if b.Eval(`location.href`, &at); at != to.URL+"/" {
				t.Errorf("%s: the page went to %s", c.text, at)
			}
		})
	}
}

// TestScannedText is about which texts lead anywhere, and where.
func TestScannedText(t *testing.T) {
	to := newTown(t, roomy())
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	var script string
	b.Eval(`document.querySelector('script[src*="main.js"]').src.replace('main.js', 'scan.js')`, &script)
	for text, want := range map[string]string{
		"https://s.example/r/420100-2026-00000018-9":                         "/r/420100-2026-00000018-9",
		"https://s.example/r/420100-2026-00000018-9?code=7KQ2M9XD":           "/r/420100-2026-00000018-9?code=7KQ2M9XD",
		"HTTPS://S.EXAMPLE:443/r/420100-2026-00000018-X?code=7kq2m9xd&x=1#y": "/r/420100-2026-00000018-X?code=7kq2m9xd",
		"https://s.example/r/420100-2026-00000018-9?code=%22%3E%3Cscript%3E": "/r/420100-2026-00000018-9",
		"https://s.example/r/420100-2026-00000018-9?lang=en":                 "/r/420100-2026-00000018-9",
		"http://s.example/r/420100-2026-00000018-9":                          "", // another origin
		"https://s.example:8443/r/420100-2026-00000018-9":                    "",
		"https://s.example.evil.example/r/420100-2026-00000018-9":            "",
		"https://s.example@evil.example/r/420100-2026-00000018-9":            "",
		"https://evil.example/r/420100-2026-00000018-9#https://s.example":    "",
		"https://s.example/r/../logout":                                      "",
		"https://s.example/r/420100-2026-00000018-9/events":                  "",
		"https://s.example//evil.example/r/420100-2026-00000018-9":           "",
		"https://s.example/":                                        "",
		"javascript:location='https://evil.example'":                "",
		"blob:https://s.example/r/420100-2026-00000018-9":           "",
		"data:text/html,https://s.example/r/420100-2026-00000018-9": "",
		"/r/420100-2026-00000018-9":                                 "",
		"420100-2026-00000018-9":                                    "",
		"":                                                          "",
	} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			var got string
			if b.Eval(fmt.Sprintf(`import(%q).then(({ recordPath }) => recordPath(%q, 'https://s.example'))`,
				script, text), &got); got != want {
				t.Errorf("%q leads to %q, want %q", text, got, want)
			}
		})
	}
}

// TestScanLooking is a camera with nothing before it.
func TestScanLooking(t *testing.T) {
	to := newTown(t, roomy())
	empty := image.NewGray(image.Rect(0, 0, 640, 480))
	draw.Draw(empty, empty.Rect, image.NewUniform(color.Gray{160}), image.Point{}, draw.Src)
	parent := withCamera(t, empty)
	for _, l := range []look{phone, desktop.In("en").InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.GoTo(to.URL + "/")
			b.Wait(`!document.querySelector('#scan').hidden`)
			var early []string
			b.Eval(`performance.getEntriesByType('resource').map((e) => e.name).filter((n) => `+
				`/scan\.(js|wasm)/.test(n))`, &early)
			if len(early) > 0 {
				t.Errorf("fetched before anybody scans: %v", early)
			}
			b.Run(chromedp.Focus("#scan", chromedp.ByQuery), chromedp.KeyEvent(kb.Enter))
			b.says("scan.looking")
			b.Wait(`document.activeElement.textContent === '` + b.textOf("scan.cancel") + `'`)
			b.Accessible("scanning")
			b.Fits("scanning")
			b.Shoot("scan looking")
			b.Eval(`window.track = document.querySelector('dialog video').srcObject.getTracks()[0].readyState; `+
				`window.ended = document.querySelector('dialog video').srcObject`, nil)
			b.Run(chromedp.KeyEvent(kb.Enter)) // on "cancel"
			b.Wait(`!document.querySelector('dialog')`)
			var state []string
			if b.Eval(`[window.track, window.ended.getTracks()[0].readyState, document.activeElement.id]`,
				&state); strings.Join(state, " ") != "live ended scan" {
				t.Errorf("before, after cancelling, focus: %s", state)
			}
		})
	}
}

// TestScanDenied is a person who does not let the page use the camera.
func TestScanDenied(t *testing.T) {
	to := newTown(t, roomy())
	parent := newBrowser(t, chromedp.Flag("use-fake-device-for-media-stream", true))
	fatalIfErr(t, chromedp.Run(parent, chromedp.ActionFunc(func(ctx context.Context) error {
		return permission.SetPermission(&permission.PermissionDescriptor{Name: "camera"},
			permission.PermissionSettingDenied).WithOrigin(to.URL).Do(
			cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser))
	})))
	for _, l := range []look{phone, desktop.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.startScanning(to)
			b.says("scan.denied")
			b.Accessible("denied")
			b.Fits("denied")
			b.Shoot("scan denied")
		})
	}
}

// TestScanPhoto is a machine without a camera, and photos of codes.
func TestScanPhoto(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{
		"photo.png": pictureOf(t, printed(t, to.certificate(t, to.URL))),
		"empty.png": pictureOf(t, image.NewGray(image.Rect(0, 0, 300, 200))),
		"no.png":    []byte("this is no picture"), "foreign.png": pictureOf(t, coded(t, "https://elsewhere.example/"))})
	for _, l := range []look{phone, desktop.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, browser(t), l)
			b.startScanning(to)
			b.says("scan.no_camera")
			b.Accessible("no camera")
			b.Fits("no camera")
			b.Shoot("scan no camera")
			for _, c := range []struct{ file, says string }{{"empty.png", "scan.nothing"}, {"no.png", "scan.bad_photo"},
				{"foreign.png", "scan.foreign"}} {
				b.Run(chromedp.SetUploadFiles("#scan-photo", []string{path(c.file)}, chromedp.ByQuery))
				b.says(c.says, "{host}", "elsewhere.example")
			}
			b.Run(chromedp.SetUploadFiles("#scan-photo", []string{path("photo.png")}, chromedp.ByQuery))
			b.opened(to)
		})
	}
}

// TestScanInsecure is a page that came over a connection on which browsers give no camera.
func TestScanInsecure(t *testing.T) {
	to := newTown(t, roomy())
	b := open(t, newBrowser(t, chromedp.Flag("host-resolver-rules", "MAP stele.example 127.0.0.1")), phone)
	to.URL = strings.Replace(to.URL, "127.0.0.1", "stele.example", 1)
	b.startScanning(to)
	b.says("scan.insecure")
	b.Shoot("scan insecure")
}

// TestScanNotFetched is a connection that breaks before the reader of codes is there.
func TestScanNotFetched(t *testing.T) {
	to := newTown(t, roomy())
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "scan.wasm") {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		inner.ServeHTTP(w, r)
	})
	b := open(t, withCamera(t, coded(t, "a code")), phone)
	b.startScanning(to)
	b.says("scan.failed")
}

func pictureOf(t *testing.T, picture image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	fatalIfErr(t, png.Encode(&b, picture))
	return b.Bytes()
}
