package web

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"stele/ui"
)

// mountOffline serves verify.html, the verifier as one file to keep, and its digests in the
// form that sm3sum and sha256sum write and check.
func (w *Web) mountOffline(r chi.Router) {
	page := w.VerifyPage
	if page == nil {
		return
	}
	get(r, verifyPagePath, w.offlinePage)
	for ext, digest := range map[string]string{".sm3": page.SM3, ".sha256": page.SHA256} {
		text := digest + "  " + ui.VerifyPageName + "\n"
		get(r, verifyPagePath+ext, func(rw http.ResponseWriter, _ *http.Request) {
			h := rw.Header()
			h.Set("Content-Type", "text/plain; charset=utf-8")
			h.Set("Cache-Control", "no-cache")
			_, _ = io.WriteString(rw, text) // a client that left needs nothing more
		})
	}
}

const verifyPagePath = "/" + ui.VerifyPageName

// offlinePage serves the page under its own policy: its script stands in it. It may be kept,
// and is asked for again by its digest.
func (w *Web) offlinePage(rw http.ResponseWriter, r *http.Request) {
	page := w.VerifyPage
	h := rw.Header()
	h.Set("Content-Security-Policy", page.Policy+"; frame-ancestors 'none'")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Disposition", `inline; filename="`+ui.VerifyPageName+`"`)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	body, tag := page.Data, `"`+page.SM3+`"`
	if coding, data := negotiate(r.Header.Get("Accept-Encoding"),
		packed{"gzip", func() []byte { return page.Gzip }}); coding != "" {
		body, tag = data, `"`+page.SM3+"-"+coding+`"`
		h.Set("Content-Encoding", coding)
	}
	h.Set("ETag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		rw.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = rw.Write(body) // as above
	}
}
