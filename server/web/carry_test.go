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
	b.t.Helper()
	b.run(chromedp.Click("header a[hreflang]", chromedp.ByQuery), chromedp.WaitVisible(`html[lang="`+lang+`"]`, chromedp.ByQuery))
	b.wait(`document.querySelector('#check')?.dataset.mode === 'local'`)
	b.look.lang = lang
}

// TestLanguageKeepsResults changes the language of a result, of a list, and with trust roots
// of one's own.
func TestLanguageKeepsResults(t *testing.T) {
	to, seen := watched(t)
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine, "pending.pdf": docPending, "revoked.pdf": docRevoked, "genuine.json": to.bundles[string(docGenuine)], "trust.json": to.trust})
	b := open(t, browser(t), phone)
	t.Cleanup(func() { b.run(network.ClearBrowserCookies()) }) // the choice of language is one of all tabs
	b.goTo(to.URL + "/r/" + to.numbers[string(docRevoked)])
	b.choose(path("revoked.pdf"))
	b.verdict()
	seen()
	b.change("en")
	if got := b.verdict(); got != "revoked" || b.text("#result h1") != b.textOf("verdict.revoked.sentence") || !strings.Contains(b.text("#result"), "revoked.pdf") {
		t.Errorf("in English: %s: %s", got, b.text("#result"))
	}
	for _, s := range seen() {
		if strings.Contains(s, "lookup") {
			t.Error("the change of language asked the service about the file once more")
		}
	}
	b.wait(`document.activeElement === document.querySelector('#result h1')`)
	b.accessible("carried over")
	b.fits("carried over")
	b.shoot("carried over")
	b.goTo(to.URL + "/")
	b.wait(`document.querySelector('#result').hidden`) // it was carried once, to the same page
	b.choose(path("genuine.pdf"), path("pending.pdf"))
	rows := b.rows()
	b.run(chromedp.Click(".many > li:last-child summary", chromedp.ByQuery), chromedp.WaitVisible(".many > li:last-child .verdict", chromedp.ByQuery))
	b.change("zh-CN")
	if got := b.rows(); !slices.Equal(got, rows) || !strings.Contains(b.text("#result h1"), "共核验 2 份") {
		t.Errorf("the list is %q, was %q", got, rows)
	}
	b.wait(`document.querySelector('.many > li:last-child .result .verdict.v-genuine')`)
	to.advance(true) // and what waits still waits
	b.wait(`document.querySelectorAll('.many > .v-genuine').length === 2`)
	b.run(chromedp.Click("#result .actions button", chromedp.ByQuery))
	b.choose(path("trust.json"))
	b.wait(`!document.querySelector('#own-trust').hidden`)
	b.change("en")
	b.wait(`!document.querySelector('#own-trust').hidden`)
	b.choose(path("genuine.pdf"), path("genuine.json"))
	if got, says := b.verdict(), b.text("#result"); got != "genuine" || !strings.Contains(says, b.textOf("result.trust_own")) {
		t.Errorf("%s: %s", got, says)
	}
}
