package web_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// change presses the link to the other language and waits for the page in it.
func (b *tab) change(lang string) {
	b.T.Helper()
	b.Run(chromedp.Click("header a[hreflang]", chromedp.ByQuery), chromedp.WaitVisible(`html[lang="`+lang+`"]`,
		chromedp.ByQuery))
	b.Wait(`document.querySelector('#check')?.dataset.mode === 'local'`)
	b.Look.Lang = lang
}

// TestLanguageKeepsResults changes the language of a result, of a list, and with trust roots
// of one's own.
func TestLanguageKeepsResults(t *testing.T) {
	to, seen := watched(t)
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine, "pending.pdf": docPending, "revoked.pdf": docRevoked,
		"genuine.json": to.bundles[string(docGenuine)], "trust.json": to.trust})
	b := open(t, browser(t), phone)
	t.Cleanup(func() { b.Run(network.ClearBrowserCookies()) }) // the choice of language is one of all tabs
	b.GoTo(to.URL + "/r/" + to.numbers[string(docRevoked)])
	b.Choose(path("revoked.pdf"))
	b.Verdict()
	seen()
	b.change("en")
	if got := b.Verdict(); got != "revoked" || b.Text("#result h1") != b.textOf("verdict.revoked.sentence") ||
		!strings.Contains(b.Text("#result"), "revoked.pdf") {
		t.Errorf("in English: %s: %s", got, b.Text("#result"))
	}
	for _, s := range seen() {
		if strings.Contains(s, "lookup") {
			t.Error("the change of language asked the service about the file once more")
		}
	}
	b.Wait(`document.activeElement === document.querySelector('#result h1')`)
	b.Accessible("carried over")
	b.Fits("carried over")
	b.Shoot("carried over")
	b.GoTo(to.URL + "/")
	b.Wait(`document.querySelector('#result').hidden`) // it was carried once, to the same page
	b.Choose(path("genuine.pdf"), path("pending.pdf"))
	rows := b.rows()
	b.Run(chromedp.Click(".many > li:last-child summary", chromedp.ByQuery),
		chromedp.WaitVisible(".many > li:last-child .verdict", chromedp.ByQuery))
	b.change("zh-CN")
	if got := b.rows(); !slices.Equal(got, rows) || !strings.Contains(b.Text("#result h1"), "共核验 2 份") {
		t.Errorf("the list is %q, was %q", got, rows)
	}
	b.Wait(`document.querySelector('.many > li:last-child .result .verdict.v-genuine')`)
	to.advance(true) // and what waits still waits
	b.Wait(`document.querySelectorAll('.many > .v-genuine').length === 2`)
	b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
	b.Choose(path("trust.json"))
	b.Wait(`!document.querySelector('#own-trust').hidden`)
	b.change("en")
	b.Wait(`!document.querySelector('#own-trust').hidden`)
	b.Choose(path("genuine.pdf"), path("genuine.json"))
	if got, says := b.Verdict(), b.Text("#result"); got != "genuine" ||
		!strings.Contains(says, b.textOf("result.trust_own")) {
		t.Errorf("%s: %s", got, says)
	}
}
