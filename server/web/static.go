package web

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
)

// assetFolder is where files are served from: /static/<hash>/<name>.
const assetFolder = "/static/"

// asset serves a file. Its address holds its hash, so it may be kept for ever; under an old
// hash, which a page from before an update asks for, the present file is served but not kept.
func (w *Web) asset(rw http.ResponseWriter, r *http.Request) {
	hash, name, _ := strings.Cut(chi.URLParam(r, "*"), "/")
	a, ok := w.assets.Asset(name)
	if !ok {
		http.NotFound(rw, r)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", a.Type)
	h.Set("Cache-Control", "no-cache")
	if hash == a.Hash {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	h.Set("Vary", "Accept-Encoding")
	packed := acceptsGzip(r.Header.Get("Accept-Encoding"))
	tag := `"` + a.Hash + `"`
	if packed {
		tag = `"` + a.Hash + `-gzip"`
	}
	h.Set("ETag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		rw.WriteHeader(http.StatusNotModified)
		return
	}
	if packed {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(a.Gzip)))
		if r.Method != http.MethodHead {
			_, _ = rw.Write(a.Gzip) // a browser that left needs nothing more
		}
		return
	}
	h.Set("Content-Length", strconv.FormatInt(a.Size, 10))
	if r.Method == http.MethodHead {
		return
	}
	plain, err := a.Open()
	if err == nil {
		_, err = io.Copy(rw, plain)
	}
	if err != nil {
		w.Log.DebugContext(r.Context(), "sending a file broke off", "name", name, "error", err)
	}
}

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, q, _ := strings.Cut(part, ";")
		if c := strings.TrimSpace(coding); c == "gzip" || c == "*" {
			return strings.ReplaceAll(q, " ", "") != "q=0"
		}
	}
	return false
}
