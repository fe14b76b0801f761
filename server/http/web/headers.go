package web

import (
	"net/http"

	"stele/server/http/site"
	"stele/ui"
)

// policy lets a page load from its own server only, and run no script or style that stands
// in the page itself. The verifier is WebAssembly, which needs a word of its own.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// protect sets what every answer carries.
var protect = site.Protect(policy, "camera=(self), microphone=(), geolocation=(), payment=(), usb=()")

// texts returns the language of a request. Outside the pages' routes it is the first one.
func (w *Web) textsOf(r *http.Request) *ui.Catalogue {
	if c, ok := site.TextsOf(r); ok {
		return c
	}
	return w.texts.All()[0]
}
