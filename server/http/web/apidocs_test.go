package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestAPIReference: the reference shows every operation, works by links alone, and is read
// on a phone and by a screen reader.
func TestAPIReference(t *testing.T) {
	to := newTown(t, roomy())
	_, body := do(t, request(t, http.MethodGet, to.URL+"/openapi.json", nil))
	ids := strings.Count(body, `"operationId"`)
	parent := browser(t)
	for _, l := range []look{desktop, phone.In("en").InDark()} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.Run(chromedp.Navigate(to.URL + "/docs/api"))
			var shown, dead int
			b.Eval(`document.querySelectorAll('.op[id]:not([id^=schema-])').length`, &shown)
			if shown != ids || ids < 20 {
				t.Errorf("%d operations of %d", shown, ids)
			}
			b.Eval(`[...document.querySelectorAll('main a[href^="#"]')].filter((a) => `+
				`!document.getElementById(decodeURIComponent(a.hash.slice(1)))).length`, &dead)
			if dead > 0 {
				t.Errorf("%d links lead nowhere", dead)
			}
			if text := b.Text("#create-record"); !strings.Contains(text, publicURL+"/api/v1/records") ||
				!strings.Contains(text, `"sm3": "946ec7d1`) {
				t.Errorf("no command or example: %s", text)
			}
			b.Accessible("API reference")
			b.Fits("API reference")
			b.Shoot("API reference")
		})
	}
}
