package web

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"
)

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
	coding, data := negotiate(r.Header.Get("Accept-Encoding"), packed{"br", a.Brotli},
		packed{"gzip", func() []byte { return a.Gzip }})
	tag := `"` + a.Hash + `"`
	if coding != "" {
		tag = `"` + a.Hash + "-" + coding + `"` // other bytes, so another tag
	}
	h.Set("ETag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		rw.WriteHeader(http.StatusNotModified)
		return
	}
	if coding != "" {
		h.Set("Content-Encoding", coding)
		h.Set("Content-Length", strconv.Itoa(len(data)))
		if r.Method != http.MethodHead {
			_, _ = rw.Write(data) // a browser that left needs nothing more
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

// packed is a coding of a file: what it is called, and the bytes, if there are any.
type packed struct {
	name string
	data func() []byte
}

// negotiate chooses the coding of a file by what the client prefers (RFC 9110, 12.5.3), the
// smallest one where it has no preference. An empty coding is the file as it is, which is
// also what a client gets that says it takes nothing at all: that serves it better than 406.
//
// Only files are compressed, never pages: a page may hold a certificate's code and attributes
// beside what the address brought along, and the size of such a page, compressed, tells
// something of the secret to whoever can choose the rest (the BREACH attack). Pages are small.
func negotiate(header string, offered ...packed) (coding string, data []byte) {
	quality := acceptable(header)
	best := 0.0
	for _, c := range offered {
		if q := quality(c.name); q > best {
			if d := c.data(); len(d) > 0 {
				best, coding, data = q, c.name, d
			}
		}
	}
	if quality("identity") > best {
		return "", nil
	}
	return coding, data
}

// acceptable reads an Accept-Encoding header and returns the weight of each coding. What is
// not named is not wanted, but for identity, which is taken where nothing else is.
func acceptable(header string) func(coding string) float64 {
	weights := map[string]float64{}
	for part := range strings.SplitSeq(header, ",") {
		coding, parameter, _ := strings.Cut(part, ";")
		q := 1.0
		if name, value, ok := strings.Cut(parameter, "="); ok && strings.EqualFold(strings.TrimSpace(name), "q") {
			var err error
			if q, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
		}
		if coding = strings.ToLower(strings.TrimSpace(coding)); coding != "" {
			weights[coding] = q
		}
	}
	return func(coding string) float64 {
		if q, ok := weights[coding]; ok {
			return q
		}
		if q, ok := weights["*"]; ok && coding != "identity" {
			return q
		}
		return 0
	}
}
