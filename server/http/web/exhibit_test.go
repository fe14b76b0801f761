package web_test

import (
	"net/http"
	"strings"
	"testing"

	cdp "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"
)

// TestCopy copies values and commands, on pages of the server's and of the script's making.
func TestCopy(t *testing.T) {
	to := newTown(t, roomy())
	path := files(t, map[string][]byte{"genuine.pdf": docGenuine})
	b := open(t, browser(t), phone)
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		b.Run(cdp.SetPermission(&cdp.PermissionDescriptor{Name: name}, cdp.PermissionSettingGranted).WithOrigin(to.URL))
	}
	copied := func(place string) {
		t.Helper()
		for _, c := range []struct{ button, value string }{
			{".values .copy", ".values dd > :first-child"},
			{".part .values .copy", ".part .values pre"},
			{".commands .copy", ".commands pre"},
		} {
			t.Run(place+" "+c.button, func(t *testing.T) {
				var got, want, live string
				b.Eval(`document.querySelectorAll('`+place+` details').forEach((d) => { d.open = true; })`, nil)
				b.Run(chromedp.Click(place+" "+c.button, chromedp.ByQuery))
				b.Wait(`document.querySelectorAll('` + place +
					` .copy[aria-label^="已复制"]').length === 1 && document.querySelector('` + place + ` ` + c.button +
					`').textContent === '已复制'`)
				b.Eval(`navigator.clipboard.readText()`, &got)
				b.Eval(`document.querySelector('`+place+` `+c.value+`').textContent`, &want)
				if live = b.Text("#live"); got != want || len(got) < 64 || !strings.HasPrefix(live, "已复制：") {
					t.Errorf("%s: copied %q, want %q; announced %q", c.button, got, want, live)
				}
			})
		}
		b.Accessible("copied")
	}
	b.GoTo(to.URL + "/r/" + to.numbers[string(docGenuine)])
	b.Wait(`document.querySelector('#ask .copy')`)
	copied("#ask")
	b.GoTo(to.URL + "/")
	b.Choose(path("genuine.pdf"))
	b.Verdict()
	copied("#result")
}

// TestExhibitWithoutScripts: the server's page has the same picture and values, and no button
// that could do nothing. Without the code it has no attribute, nor the salt of one.
func TestExhibitWithoutScripts(t *testing.T) {
	to := newTown(t, roomy())
	page := func(query string) string {
		_, html := do(t, request(t, http.MethodGet, to.URL+"/r/"+to.numbers[string(docRevoked)]+query, nil))
		return html
	}
	html := page("")
	for _, want := range []string{`<svg xmlns="http://www.w3.org/2000/svg" class="proof-picture"`, "<desc>",
		"openssl pkeyutl -verify", "Later statement: ", "city-3", "sh -e &lt;&lt;"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(html, `class="copy"`) || strings.Contains(html, "style=") {
		t.Error("the page has buttons that do nothing, or styles of its own")
	}
	const title, salt = "不动产登记证明 &#34;A", "Salt of title"
	if strings.Contains(html, title) || strings.Contains(html, salt) {
		t.Error("the page shows attributes without the code")
	}
	if html = page("?code=" + code); !strings.Contains(html, title) || !strings.Contains(html, salt) {
		t.Error("the page with the code lacks the attributes")
	}
}
