package console_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/office/filing"
	"stele/notary/office/people"
	"stele/server/http/webtest"
	"stele/server/instance"
	"stele/server/remote/clamd/clamdtest"
	"stele/storage/storagetest"
)

// noise is a document that is like no other.
func noise(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32()), byte(rand.Uint32())})
	_, _ = r.Read(b) // never fails
	return b
}

func (o *office) write(dir, name string, content []byte) string {
	o.t.Helper()
	path := filepath.Join(dir, name)
	fatalIfErr(o.t, os.MkdirAll(filepath.Dir(path), 0o755))
	fatalIfErr(o.t, os.WriteFile(path, content, 0o644))
	return path
}

// papers are those of the office, by the digest of what was handed in: at most one each.
func (o *office) papers() map[sm.Digest]filing.Paper {
	o.t.Helper()
	list, err := o.in.Desk.List(o.t.Context(), filing.Query{AgencyID: o.agency.ID, Limit: 1000})
	fatalIfErr(o.t, err)
	out := map[sm.Digest]filing.Paper{}
	for _, p := range list {
		if _, twice := out[p.File.SM3]; twice {
			o.t.Errorf("two papers of %s", p.FileName)
		}
		out[p.File.SM3] = p
	}
	return out
}

// begun counts the uploads of a file that the trail knows.
func (o *office) begun(name string) int {
	o.t.Helper()
	events, err := o.people.AuditEvents(o.t.Context(), people.AuditFilter{AgencyID: o.agency.ID, Act: "upload_begin",
		Limit: 1000})
	fatalIfErr(o.t, err)
	n := 0
	for _, d := range events {
		if strings.Contains(d.Detail, "file="+name+";") {
			n++
		}
	}
	return n
}

// states waits until so many files of the list are in a state.
func (d *desk) states(state string, n int) {
	d.T.Helper()
	d.Wait(fmt.Sprintf(`document.querySelectorAll('#files [data-state="%s"]').length === %d`, state, n))
}

// act presses a button of the one row whose file has a name, by keyboard.
func (d *desk) act(name, act string) {
	d.T.Helper()
	d.Eval(fmt.Sprintf(`[...document.querySelectorAll('#files li')].find((l) => `+
		`l.querySelector('strong').textContent === %q).querySelector('[data-act=%s]').focus(); 0`, name, act), nil)
	d.Run(chromedp.KeyEvent(kb.Enter))
}

// A clerk's morning at the page where documents are handed in: thirty files over a line that
// is cut again and again, a folder, what is known already, a pause, a reload, a sign-in that
// is over, malware. One paper each, and nothing is sent twice.
func TestHandIn(t *testing.T) {
	scanner, stop := clamdtest.Start(t)
	o := openOfficeWith(t, instance.Config{Demo: true, Clamd: scanner})
	for i, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			wire, through := newLine(t, o)
			d := through.open(t, l)
			chromedp.ListenTarget(d.Ctx, func(ev any) { // leaving the page with work on it asks first
				if _, ok := ev.(*page.EventJavascriptDialogOpening); ok {
					go func() { _ = chromedp.Run(d.Ctx, page.HandleJavaScriptDialog(true)) }()
				}
			})
			d.Run(network.ClearBrowserCookies()) // all tabs have the same
			d.signIn("clerk")
			d.Wait(`document.querySelector('.numbers')`)
			d.at("/console/upload")
			d.good("upload")
			if i == 0 {
				d.thirty(wire)
				d.folder()
				d.pauses(wire)
				d.reloads(wire)
				d.cancels(wire)
			}
			d.knownOnes(i)
			d.malware(i)
			d.signedOut(i, wire)
		})
	}
	t.Run("without scripts", o.withoutScripts)
	stop()
	t.Run("without the scanner", o.withoutScanner)
}

func (d *desk) thirty(wire *line) {
	d.T.Helper()
	d.o.t = d.T
	dir := d.T.(*testing.T).TempDir()
	var paths []string
	var digests []sm.Digest
	for i := range 30 {
		content := noise(50_000 + 7001*i)
		if i == 7 {
			content = noise(12 << 20)
		}
		paths = append(paths, d.o.write(dir, fmt.Sprintf("关于第 %d 号事项的通知.pdf", i), content))
		digests = append(digests, sm.Sum(content))
	}
	wire.cutAt(300_000, 2_000_000, 6_000_000)
	d.Choose(paths...)
	d.Choose(paths[:3]...) // a second time: they are in the list already
	d.Wait(`!document.querySelector('#complaint').hidden`)
	d.states("done", 30)
	d.Wait(`!document.querySelector('#finished').hidden && document.querySelector('#live').textContent.includes('30')`)
	d.good("upload-done")
	got := d.o.papers()
	for i, digest := range digests {
		p, ok := got[digest]
		if title := fmt.Sprintf("关于第 %d 号事项的通知", i); !ok || p.Title != title || p.FileName != title+".pdf" ||
			p.Maker.Login != "clerk" || p.State != filing.Draft {
			d.T.Errorf("file %d: %t %+v", i, ok, p)
		}
	}
	if len(got) != 30 || len(wire.cuts) > 0 {
		d.T.Errorf("%d papers; %d cuts were not made", len(got), len(wire.cuts))
	}
}

// folder hands in a folder by the dialogue, and one that is dropped.
func (d *desk) folder() {
	d.T.Helper()
	before := len(d.o.papers())
	dir := d.T.(*testing.T).TempDir()
	for _, top := range []string{"甲", "乙"} {
		for _, name := range []string{"one.txt", "sub/two.txt", "sub/deep/three.txt", "sub/.DS_Store", "Thumbs.db"} {
			d.o.write(filepath.Join(dir, top), name, noise(500))
		}
	}
	d.at("/console/upload")
	d.Run(chromedp.SetUploadFiles("#folder", []string{filepath.Join(dir, "甲")}, chromedp.ByQuery))
	d.states("done", 3)
	var at struct{ X, Y float64 }
	d.Eval(`(() => { scrollTo(0, 0); const r = document.querySelector('.zone').getBoundingClientRect(); return { X: `+
		`r.x + 20, Y: r.y + 20 }; })()`, &at)
	data := &input.DragData{Items: []*input.DragDataItem{}, Files: []string{filepath.Join(dir, "乙")},
		DragOperationsMask: 1}
	d.Run(input.DispatchDragEvent(input.DragEnter, at.X, at.Y, data), input.DispatchDragEvent(input.DragOver, at.X,
		at.Y, data), input.DispatchDragEvent(input.Drop, at.X, at.Y, data))
	d.states("done", 6)
	if n := len(d.o.papers()) - before; n != 6 {
		d.T.Errorf("%d papers of two folders", n)
	}
}

// knownOnes hands in what is a record, and what is on the desk.
func (d *desk) knownOnes(i int) {
	d.T.Helper()
	dir := d.T.(*testing.T).TempDir()
	content := fmt.Sprint("登记过的文书 ", i)
	rec := d.o.notarize(content)
	registered, other := d.o.write(dir, "registered.txt", []byte(content)), d.o.write(dir, "other.txt", noise(1000))
	d.at("/console/upload")
	d.Choose(registered, other)
	d.states("done", 1)
	d.states("known", 1)
	d.says(rec.Number)
	d.good("upload-known")
	d.act("registered.txt", "skip")
	d.states("skipped", 1)
	d.at("/console/upload")
	d.Choose(registered, other) // the second one is a paper now
	d.states("known", 2)
	d.says("王经办")
	d.act("registered.txt", "anyway")
	d.states("done", 1)
	d.act("other.txt", "skip")
	d.states("skipped", 1)
	if _, ok := d.o.papers()[sm.Sum([]byte(content))]; !ok {
		d.T.Error("what was handed in all the same is no paper")
	}
}

func (d *desk) malware(i int) {
	d.T.Helper()
	before := len(d.o.papers())
	d.at("/console/upload")
	d.Choose(d.o.write(d.T.(*testing.T).TempDir(), "invoice.exe", []byte(fmt.Sprint(clamdtest.Infected, i))))
	d.states("refused", 1)
	d.says(clamdtest.Finding)
	d.good("upload-malware")
	d.act("invoice.exe", "remove")
	d.Wait(`document.querySelector('#handing').hidden`)
	if len(d.o.papers()) != before {
		d.T.Error("malware is on the desk")
	}
}

// once demands that a large file became a paper, of one upload that went on where it was.
func (d *desk) once(name string, digest sm.Digest) {
	d.T.Helper()
	if _, ok := d.o.papers()[digest]; !ok || d.o.begun(name) != 1 {
		d.T.Errorf("%s: a paper: %t; %d uploads began", name, ok, d.o.begun(name))
	}
}

// large writes a file that takes more than one part of an upload.
func (d *desk) large(name string) (path string, digest sm.Digest) {
	content := noise(10 << 20)
	return d.o.write(d.T.(*testing.T).TempDir(), name, content), sm.Sum(content)
}

func (d *desk) pauses(wire *line) {
	d.T.Helper()
	const name = "pause.bin"
	path, digest := d.large(name)
	d.at("/console/upload")
	wire.holdAfter(4 << 20)
	d.Choose(path)
	wire.held()
	d.states("sending", 1)
	d.good("upload-sending")
	d.act(name, "pause")
	d.states("paused", 1)
	wire.drop()
	d.act(name, "resume")
	d.states("done", 1)
	d.once(name, digest)
}

func (d *desk) reloads(wire *line) {
	d.T.Helper()
	const name = "reload.bin"
	path, digest := d.large(name)
	d.at("/console/upload")
	wire.holdAfter(4 << 20)
	d.Choose(path)
	wire.held()
	d.states("sending", 1)
	d.Run(chromedp.Reload())
	wire.drop()
	d.Wait(`document.querySelector('#hand-in').dataset.mode === 'local'`)
	d.Choose(path)
	d.states("done", 1)
	d.once(name, digest)
	d.at("/console/upload?class=general")
	d.back(`location.search === '' && document.querySelector('#hand-in')?.dataset.mode === 'local'`)
	d.Choose(path) // it is known as a paper
	d.states("known", 1)
}

// back presses the back button, and waits: the page may come out of the browser's memory, and
// then there is nothing that is loaded.
func (d *desk) back(until string) {
	d.T.Helper()
	d.Eval(`history.back(); 0`, nil)
	deadline := time.Now().Add(d.Patience)
	for there := false; !there; {
		// an error is that the page is leaving
		if err := chromedp.Run(d.Ctx, chromedp.Evaluate(until, &there)); time.Now().After(deadline) {
			d.T.Fatal("the back button leads nowhere", err)
		}
	}
}

func (d *desk) signedOut(i int, wire *line) {
	d.T.Helper()
	name := fmt.Sprintf("session%d.bin", i)
	path, digest := d.large(name)
	d.at("/console/upload")
	wire.holdAfter(4 << 20)
	d.Choose(path)
	wire.held()
	_, err := storagetest.Raw(d.T, d.o.in.Config.Database).ExecContext(d.T.Context(), `DELETE FROM sessions`)
	fatalIfErr(d.T, err)
	wire.release()
	d.states("held", 1)
	d.Wait(`!document.querySelector('#session').hidden`)
	d.good("upload-signed-out")
	d.Run(chromedp.Click("#session-go-on", chromedp.ByQuery))
	d.Wait(`document.querySelector('#session-said').textContent !== ''`)
	other := d.o.open(d.T.(*testing.T), d.Look)
	other.signIn("clerk")
	other.Wait(`document.querySelector('.numbers')`)
	fatalIfErr(d.T, chromedp.Cancel(other.Ctx))
	d.Run(page.BringToFront())
	d.Eval(`window.dispatchEvent(new Event('focus')); 0`, nil)
	d.states("done", 1)
	if _, ok := d.o.papers()[digest]; !ok || d.o.begun(name) != 1 {
		d.T.Errorf("a paper: %t; %d uploads began", ok, d.o.begun(name))
	}
}

func (d *desk) cancels(wire *line) {
	d.T.Helper()
	const name = "cancel.bin"
	path, _ := d.large(name)
	before := len(d.o.papers())
	d.at("/console/upload")
	wire.holdAfter(4 << 20)
	d.Choose(path)
	wire.held()
	d.states("sending", 1)
	var id string
	d.Eval(`JSON.parse(localStorage.getItem(Object.keys(localStorage).find((k) => k.includes('`+name+
		`')))).url.split('/').at(-1)`, &id)
	d.act(name, "cancel")
	wire.release()
	d.Wait(`document.querySelector('#handing').hidden`)
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if _, err := d.o.in.Uploads.Find(d.T.Context(), d.o.agency.ID, id); notary.CodeOf(err) == notary.CodeNotFound {
			break
		}
		if time.Now().After(deadline) {
			d.T.Fatal("what was given up stays at the service")
		}
	}
	if len(d.o.papers()) != before {
		d.T.Error("a paper was made of what was given up")
	}
}

// Without scripts one file at a time is handed in by a form, and malware is refused too.
func (o *office) withoutScripts(t *testing.T) {
	o.t = t
	before := len(o.papers())
	d := o.open(t, webtest.Phone.WithoutScripts())
	d.Run(network.ClearBrowserCookies())
	d.signIn("clerk")
	d.at("/console/upload")
	d.good("upload")
	infected := o.write(t.TempDir(), "bad.txt", []byte(clamdtest.Infected))
	d.Choose(infected)
	d.submit("#hand-in button")
	d.says(clamdtest.Finding)
	d.good("upload-malware")
	content := bytes.Repeat([]byte("公文"), 1000)
	d.Choose(o.write(t.TempDir(), "公文.txt", content))
	d.submit("#hand-in button")
	p, ok := o.papers()[sm.Sum(content)]
	if !ok || p.Title != "公文" {
		t.Fatalf("%t %+v", ok, p)
	}
	var address string
	d.Run(chromedp.ActionFunc(func(ctx context.Context) error { return chromedp.Location(&address).Do(ctx) }))
	if !strings.HasSuffix(address, "/console/papers/"+p.ID) {
		t.Errorf("the page afterwards is %s", address)
	}
	if len(o.papers()) != before+1 {
		t.Error("malware is on the desk")
	}
}

// A scanner that cannot be reached lets nothing through; the file waits, and can be taken later.
func (o *office) withoutScanner(t *testing.T) {
	o.t = t
	before := len(o.papers())
	p := o.as("clerk")
	id := p.send("a.txt", noise(100), 1)
	if a := p.asScript("/console/papers/take",
		url.Values{"upload": {id}, "class": {"general"}}); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	if up, err := o.in.Uploads.Find(t.Context(), o.agency.ID, id); err != nil || up.Offset != up.Size ||
		len(o.papers()) != before {
		t.Errorf("%+v %v", up, err)
	}
}
