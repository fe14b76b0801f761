package web

import (
	"context"
	"net/http"
	"time"

	"stele/ui"
)

// policy lets a page load from its own server only, and run no script or style that stands
// in the page itself. The verifier is WebAssembly, which needs a word of its own.
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// protect sets what every answer carries. The worker runs under the policy of its own
// script's answer, so files carry it too.
//
// The referrer goes to our own pages only: the address of a record may hold its code. It is
// not dropped altogether, because then browsers send "Origin: null" with our own form.
func protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(self), microphone=(), geolocation=(), payment=(), usb=()")
		next.ServeHTTP(w, r)
	})
}

type textsKey struct{}

const (
	languageCookie = "lang"
	languageYear   = 365 * 24 * time.Hour
)

// language decides in which language a page is written: what the address asks for, and
// remember that; else what was asked for before; else what the browser prefers.
func (w *Web) language(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Add("Vary", "Accept-Language")
		rw.Header().Add("Vary", "Cookie")
		texts, asked := w.texts.ByTag(r.URL.Query().Get("lang"))
		if asked {
			http.SetCookie(rw, &http.Cookie{Name: languageCookie, Value: texts.Tag, Path: "/", MaxAge: int(languageYear.Seconds()),
				HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
		} else if c, err := r.Cookie(languageCookie); err == nil {
			texts, asked = w.texts.ByTag(c.Value)
		}
		if !asked {
			texts = w.texts.Match(r.Header.Get("Accept-Language"))
		}
		next.ServeHTTP(rw, r.WithContext(context.WithValue(r.Context(), textsKey{}, texts)))
	})
}

// texts returns the language of a request. Outside the pages' routes it is the first one.
func (w *Web) textsOf(r *http.Request) *ui.Catalogue {
	if c, ok := r.Context().Value(textsKey{}).(*ui.Catalogue); ok {
		return c
	}
	return w.texts.All()[0]
}
