// Package site is what the public page and the console have in common: the headers of every
// answer, the language that a page is written in, and the addresses of files.
package site

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"stele/ui"
)

// AssetFolder is where files are served from: /static/<hash>/<name>.
const AssetFolder = "/static/"

// Protect sets what every answer carries, with a Content-Security-Policy. The worker of the
// public page runs under the policy of its own script's answer, so files carry it too.
//
// The referrer goes to our own pages only: the address of a record may hold its code. It is
// not dropped altogether, because then browsers send "Origin: null" with our own form.
func Protect(policy, permissions string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", policy)
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "same-origin")
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("Permissions-Policy", permissions)
			next.ServeHTTP(w, r)
		})
	}
}

type textsKey struct{}

const (
	languageCookie = "lang"
	languageYear   = 365 * 24 * time.Hour
)

// Language decides in which language a page is written: what the address asks for, and
// remember that; else what was asked for before; else what the browser prefers.
func Language(texts *ui.Catalogues) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Vary", "Accept-Language")
			w.Header().Add("Vary", "Cookie")
			c, asked := texts.ByTag(r.URL.Query().Get("lang"))
			if asked {
				http.SetCookie(w, &http.Cookie{Name: languageCookie, Value: c.Tag, Path: "/",
					MaxAge:   int(languageYear.Seconds()),
					HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
			} else if cookie, err := r.Cookie(languageCookie); err == nil {
				c, asked = texts.ByTag(cookie.Value)
			}
			if !asked {
				c = texts.Match(r.Header.Get("Accept-Language"))
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), textsKey{}, c)))
		})
	}
}

// TextsOf returns the language of a request. Outside of [Language] there is none.
func TextsOf(r *http.Request) (*ui.Catalogue, bool) {
	c, ok := r.Context().Value(textsKey{}).(*ui.Catalogue)
	return c, ok
}

// LanguageLink leads to the same page in another language.
type LanguageLink struct{ Tag, Name, Href string }

// OtherLanguages are those that a page is not written in. The answer to a form has no address
// of its own: from there they lead to start.
func OtherLanguages(texts *ui.Catalogues, own *ui.Catalogue, r *http.Request, start string) []LanguageLink {
	var out []LanguageLink
	for _, c := range texts.All() {
		if c != own {
			out = append(out, LanguageLink{Tag: c.Tag, Name: c.Text("lang.own_name"),
				Href: inLanguage(r, c.Tag, start)})
		}
	}
	return out
}

func inLanguage(r *http.Request, tag, start string) string {
	u := url.URL{Path: start, RawQuery: "lang=" + tag}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		q := r.URL.Query()
		q.Set("lang", tag)
		u.Path, u.RawQuery = r.URL.Path, q.Encode()
	}
	return u.RequestURI()
}

// Groups breaks a digest for the eye; a page shows the parts without white space between
// them, so that it is copied whole.
func Groups(s string) []string {
	var out []string
	for len(s) > 8 {
		out, s = append(out, s[:8]), s[8:]
	}
	return append(out, s)
}
