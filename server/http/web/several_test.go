package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"stele/notary/proof/carrier"
	"stele/notary/proof/prooftest"
)

// certificateOf puts a bundle into the smallest certificate.
func certificateOf(t testing.TB, bundle []byte) []byte {
	t.Helper()
	pdf, err := carrier.Write([][]byte{[]byte("<</Type/Pages/Count 1/Kids[3 0 R]>>"),
		[]byte("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>")},
		"<</Producer(Stele)>>", strings.Repeat("0", 32), "420100-2026-00000018-9.bundle.json", bundle)
	fatalIfErr(t, err)
	return pdf
}

// rows are the lines of the list, each as verdict and name.
func (b *tab) rows() []string {
	b.T.Helper()
	b.Wait(`document.querySelector('#result .many')`)
	var rows []string
	b.Eval(`[...document.querySelectorAll('.many > li')].map((li) => li.className.slice(2) + ' ' + `+
		`li.querySelector('.name').textContent)`, &rows)
	return rows
}

// TestSeveralFiles takes every state at once: names lie on purpose, contents count.
func TestSeveralFiles(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{
		"genuine.pdf": docGenuine, "pending.pdf": docPending, "revoked.pdf": docRevoked,
		"superseded.pdf": docSuperseded, "unknown.pdf": docUnknown, "received.pdf": docReceived,
		"<img src=x onerror=alert(1)>.json": docTwice, "proof.txt": to.bundles[string(docGenuine)],
		"broken": []byte(strings.Replace(string(to.bundles[string(docRevoked)]), `"index":1`, `"index":0`, 1)),
	})
	want := []string{"invalid revoked.pdf", "superseded superseded.pdf", "not_found unknown.pdf",
		"unverifiable received.pdf", "pending pending.pdf", "genuine genuine.pdf",
		"genuine <img src=x onerror=alert(1)>.json"}
	parent := browser(t)
	for _, l := range []look{desktop, phone.In("en").InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.GoTo(to.URL + "/")
			b.Choose(path("genuine.pdf"), path("pending.pdf"), path("revoked.pdf"), path("superseded.pdf"),
				path("unknown.pdf"), path("received.pdf"),
				path("<img src=x onerror=alert(1)>.json"), path("proof.txt"), path("broken"))
			if got := b.rows(); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			b.Wait(`document.activeElement === document.querySelector('#result h1')`)
			if live := b.Text("#live"); live != b.Text("#result h1") || !strings.Contains(live, "7") {
				t.Errorf("announced %q", live)
			}
			b.Accessible("several")
			b.Fits("several")
			b.Shoot("several")
			// past the two buttons, onto the first line
			b.Run(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab),
				chromedp.KeyEvent(kb.Enter))
			b.Wait(`document.querySelector('.many > li .result .v-invalid')`)
			b.Accessible("several, one open")
			b.Fits("several, one open")
			b.Shoot("several open")
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			b.Wait(`document.querySelector('#result').hidden && document.activeElement.id === 'file'`)
		})
	}
}

// TestPairing: a proof belongs to the file whose digest it names, wherever it stands.
func TestPairing(t *testing.T) {
	to := newTown(t, roomy())
	genuine, revoked := to.bundles[string(docGenuine)], to.bundles[string(docRevoked)]
	resaved := append(certificateOf(t, genuine), "1 0 obj\n%%EOF\n"...)
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine, "revoked.pdf": docRevoked, "unknown.pdf": docUnknown,
		"genuine.json": genuine, "revoked.json": revoked,
		"certificate.pdf": certificateOf(t, genuine), "withdrawn certificate.pdf": certificateOf(t, revoked),
		"resaved.pdf":  resaved,
		"evidence.zip": packageOf(genuine, docGenuine), "bad.zip": append(packageOf(genuine, docGenuine), 0),
		"not text.json": append([]byte(`{"format":"stele/bundle/v1",`), 0xff)})
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	for _, c := range []struct {
		files string
		want  []string // rows, or one verdict
		says  string
	}{
		{"certificate.pdf", []string{"unverifiable"}, "证明成立"},
		{"withdrawn certificate.pdf", []string{"revoked"}, "依法撤销"},
		{"revoked.json", []string{"revoked"}, "依法撤销"},
		{"genuine.pdf|certificate.pdf", []string{"genuine"}, ""},
		{"unknown.pdf|certificate.pdf", []string{"altered"}, to.numbers[string(docGenuine)]},
		{"resaved.pdf", []string{"not_found"}, "经其他程序另存"},
		{"evidence.zip", []string{"genuine"}, "evidence.zip/original.pdf"},
		{"evidence.zip|certificate.pdf", []string{"genuine"}, ""},
		{"bad.zip", []string{"invalid"}, "举证材料包"},
		{"bad.zip|certificate.pdf", []string{"invalid bad.zip", "unverifiable certificate.pdf"}, ""},
		{"not text.json", []string{"invalid"}, ""},
		{"revoked.json|genuine.json|genuine.pdf", []string{"revoked revoked.json", "genuine genuine.pdf"}, ""},
		{"unknown.pdf|revoked.pdf|certificate.pdf|revoked.json",
			[]string{"revoked revoked.pdf", "not_found unknown.pdf", "unverifiable certificate.pdf"}, ""},
	} {
		t.Run(c.files, func(t *testing.T) {
			var chosen []string
			for n := range strings.SplitSeq(c.files, "|") {
				chosen = append(chosen, path(n))
			}
			b.Choose(chosen...)
			var got []string
			if len(c.want) == 1 {
				got = []string{b.Verdict()}
			} else {
				got = b.rows()
			}
			if says := b.Text("#result"); !slices.Equal(got, c.want) || !strings.Contains(says, c.says) {
				t.Errorf("%s: %q, want %q and %q in:\n%s", c.files, got, c.want, c.says, says)
			}
			b.Accessible(c.files)
			b.Shoot("pairing " + c.files)
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			b.Wait(`document.querySelector('#result').hidden`)
		})
	}
}

// TestTooMany: more files than are taken at a time are not begun with.
func TestTooMany(t *testing.T) {
	to := newTown(t, roomy())
	documents := map[string][]byte{}
	for i := range 51 {
		documents[fmt.Sprint(i, ".txt")] = fmt.Append(nil, i)
	}
	path := files(t, documents)
	b := open(t, browser(t), desktop.In("en"))
	b.GoTo(to.URL + "/")
	var all []string
	for name := range documents {
		all = append(all, path(name))
	}
	b.Choose(all...)
	b.Wait(`document.querySelector('#complaint').textContent.includes('51')`)
	b.Choose(all[:50]...)
	if rows := b.rows(); len(rows) != 50 {
		t.Errorf("%d rows", len(rows))
	}
}

// watched serves a town and keeps the paths that were asked for.
func watched(t testing.TB) (to *town, seen func() []string) {
	t.Helper()
	to = newTown(t, roomy())
	var mu sync.Mutex
	var paths []string
	inner := to.Config.Handler
	to.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.Method+" "+r.URL.Path)
		mu.Unlock()
		inner.ServeHTTP(w, r)
	})
	return to, func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := paths
		paths = nil
		return out
	}
}

// TestOwnTrust: with trust roots that the person brought, nothing is asked of the server.
func TestOwnTrust(t *testing.T) {
	to, seen := watched(t)
	elsewhere := prooftest.New(prooftest.Options{Seed: "elsewhere"})
	theirs := elsewhere.Notarize(docUnknown).Encode()
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine, "genuine.json": to.bundles[string(docGenuine)],
		"trust.json": to.trust, "pending.pdf": docPending, "pending.json": to.bundles[string(docPending)],
		"revoked.pdf": docRevoked, "revoked.json": to.bundles[string(docRevoked)],
		"other trust.json": elsewhere.Trust().Encode(), "letter.pdf": docUnknown, "letter.json": theirs,
		"bad trust.json": to.trust[:len(to.trust)-9]})
	for _, l := range []look{desktop, phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, browser(t), l)
			b.GoTo(to.URL + "/r/" + to.numbers[string(docPending)]) // a page that waits for events
			b.Choose(path("genuine.pdf"))
			b.Verdict() // so that the verifier is there
			seen()
			for _, c := range []struct{ files, verdict, says string }{
				{"other trust.json|letter.pdf|letter.json", "genuine", "trust.drop"},
				{"genuine.pdf|genuine.json", "unverifiable", "cause.unknown_root.reason"},
				{"trust.json|genuine.pdf|genuine.json", "genuine", "result.trust_own"},
				{"genuine.pdf", "unverifiable", "cause.no_bundle.reason"},
				{"pending.pdf|pending.json", "pending", ""},
				{"revoked.pdf|revoked.json", "genuine", ""}, // nobody was asked what became of it
			} {
				var chosen []string
				for n := range strings.SplitSeq(c.files, "|") {
					chosen = append(chosen, path(n))
				}
				b.Choose(chosen...)
				document, _, _ := strings.Cut(strings.Split(c.files, "|")[len(chosen)/2], ".")
				b.Wait(`!document.querySelector('#result').hidden && document.querySelector('#result ` +
					`.facts').textContent.includes('` + document + `.pdf')`)
				if got, says := b.Verdict(), b.Text("#result"); got != c.verdict || c.says != "trust.drop" &&
					!strings.Contains(says, b.textOf(c.says)) && c.says != "" {
					t.Errorf("%s: %s, want %s: %s", c.files, got, c.verdict, says)
				}
				b.Accessible("own trust, " + c.files)
				b.Fits("own trust, " + c.files)
				b.Shoot("own trust " + c.files)
			}
			if text := b.Text("#result"); !strings.Contains(text, b.textOf("result.trust_own")) ||
				strings.Contains(text, b.textOf("save.pdf")) {
				t.Errorf("a result with own trust roots says %s", text)
			}
			if asked := seen(); len(asked) > 0 {
				t.Errorf("with own trust roots the page asked for %q", asked)
			}
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			b.Accessible("own trust")
			b.Fits("own trust")
			b.Shoot("own trust")
			b.Choose(path("bad trust.json"))
			b.Wait(`document.querySelector('#complaint').textContent === ` + quote(t, b.textOf("trust.bad")))
			b.Run(chromedp.Click("#own-trust-drop", chromedp.ByQuery))
			b.Wait(`document.querySelector('#own-trust').hidden`)
			b.Choose(path("revoked.pdf"), path("revoked.json"))
			b.Wait(`document.querySelector('#result .v-altered, #result .v-revoked')`) // the service is asked again
			if len(seen()) == 0 {
				t.Error("after going back nothing is asked")
			}
		})
	}
}

func quote(t testing.TB, s string) string {
	t.Helper()
	q, err := json.Marshal(s)
	fatalIfErr(t, err)
	return string(q)
}

// TestHostileFiles: what looks like a proof and is not one costs no more than its size, and
// the page goes on working.
func TestHostileFiles(t *testing.T) {
	to := newTown(t, roomy())
	head := func(format string, size int, fill string) []byte {
		return []byte((`{"format":"stele/` + format + `/v1",` + strings.Repeat(fill, size/len(fill)+1))[:size])
	}
	certificate := certificateOf(t, to.bundles[string(docGenuine)])
	path := files(t, map[string][]byte{
		"deep.json": head("bundle", 1<<20, "["), "oversize.json": head("bundle", 1<<20+1, " "),
		"deep trust.json": head("trust", 4<<20, `{"a":`), "oversize trust.json": head("trust", 4<<20+1, " "),
		"cut.pdf": certificate[:len(certificate)-1], "padded.pdf": append(slices.Clone(certificate),
			make([]byte, 9<<20)...), "script.pdf": certificateOf(t, []byte(`{"format":"<script>alert(1)</script>"}`)),
		"genuine.pdf": docGenuine,
	})
	b := open(t, browser(t), desktop.In("en"))
	b.GoTo(to.URL + "/")
	for name, want := range map[string]string{"deep.json": "invalid", "oversize.json": "not_found",
		"oversize trust.json": "not_found", "cut.pdf": "not_found", "padded.pdf": "not_found",
		"script.pdf": "invalid"} {
		t.Run(name, func(t *testing.T) {
			b.Choose(path(name))
			if got := b.Verdict(); got != want {
				t.Errorf("%s: %s, want %s: %s", name, got, want, b.Text("#result"))
			}
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			b.Wait(`document.querySelector('#result').hidden`)
		})
	}
	b.Choose(path("deep trust.json"))
	b.Wait(`document.querySelector('#complaint').textContent === ` + quote(t, b.textOf("trust.bad")))
	b.Choose(path("genuine.pdf"))
	if got := b.Verdict(); got != "genuine" {
		t.Errorf("afterwards: %s", got)
	}
}
