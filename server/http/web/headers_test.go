package web_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

func TestSecurityHeaders(t *testing.T) {
	to := newTown(t, roomy())
	_, home := to.get(t, "/")
	script := regexp.MustCompile(`/static/[^"]*main\.js`).FindString(home)
	worker := strings.Replace(script, "main.js", "worker.js", 1)
	for _, path := range []string{"/", "/r/" + to.numbers[string(docGenuine)], "/r/x",
		"/r/" + to.numbers[string(docGenuine)] + "/certificate?code=" + code, "/r/" + to.numbers[string(docGenuine)] +
			"/bundle", "/report", script, worker, "/static/no/such", "/favicon.ico"} {
		t.Run(path, func(t *testing.T) {
			res, _ := to.get(t, path)
			for header, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; " +
					"worker-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
					"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
				"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := res.Header.Get(header); got != want {
					t.Errorf("%s: %s is %q", path, header, got)
				}
			}
		})
	}
}

// TestNoInlineCode looks at pages as they are sent: no script, style or handler stands in
// them, and nothing is fetched from elsewhere.
func TestNoInlineCode(t *testing.T) {
	to := newTown(t, roomy())
	bad := regexp.MustCompile(
		`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script(?:[^>]*)>[^<]|(?:src|href|action)="(?:https?:)?//|<iframe|<object|<embed`)
	for _, path := range []string{"/", "/r?number=1", "/r/" + to.numbers[string(docGenuine)] + "?code=" + code,
		"/r/" + to.numbers[string(docRevoked)]} {
		t.Run(path, func(t *testing.T) {
			_, body := to.get(t, path)
			if found := bad.FindString(body); found != "" {
				t.Errorf("%s holds %q", path, found)
			}
		})
	}
	for name, doc := range map[string][]byte{"genuine": docGenuine, "twice": docTwice, "unknown": docUnknown} {
		t.Run(name, func(t *testing.T) {
			_, body := to.post(t, file(doc))
			if found := bad.FindString(body); found != "" {
				t.Errorf("a result holds %q", found)
			}
		})
	}
}

func TestHostileNamesStayText(t *testing.T) {
	to := newTown(t, roomy())
	_, body := to.post(t, part{"file", `<img src=x onerror=alert(1)>.pdf`, docUnknown})
	if strings.Contains(body, "<img") || !strings.Contains(body, "&lt;img") {
		t.Error("a file name is not escaped")
	}
	_, body = to.get(t, "/r?number=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
	if strings.Contains(body, "<script>") {
		t.Error("a typed number is not escaped")
	}
}

func TestOtherSitesCannotPost(t *testing.T) {
	to := newTown(t, roomy())
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
		t.Run(headers[0], func(t *testing.T) {
			contentType, body := form(t, file(docGenuine))
			res, text := do(t, request(t, http.MethodPost, to.URL+"/verify", body,
				append(headers, "Content-Type", contentType)...))
			if res.StatusCode != http.StatusForbidden || !strings.Contains(text, "another site") {
				t.Errorf("%v: status %d", headers, res.StatusCode)
			}
		})
	}
	contentType, body := form(t, file(docGenuine))
	res, _ := do(t, request(t, http.MethodPost, to.URL+"/verify", body, "Origin", to.URL, "Content-Type", contentType))
	if res.StatusCode != http.StatusOK {
		t.Errorf("our own form: status %d", res.StatusCode)
	}
}

func TestFiles(t *testing.T) {
	to := newTown(t, roomy())
	_, home := to.get(t, "/")
	addresses := regexp.MustCompile(`/static/[0-9a-f]{16}/[a-zA-Z0-9./_-]+`).FindAllString(home, -1)
	types := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
		".json": "application/json", ".svg": "image/svg+xml", ".wasm": "application/wasm"}
	seen := map[string]bool{}
	for _, a := range addresses {
		ext := a[strings.LastIndex(a, "."):]
		seen[ext] = true
		res, packed := to.get(t, a, "Accept-Encoding", "gzip")
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != types[ext] ||
			res.Header.Get("Content-Encoding") != "gzip" ||
			res.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
			res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: status %d, headers %v", a, res.StatusCode, res.Header)
		}
		_, plain := to.get(t, a, "Accept-Encoding", "identity")
		z, err := gzip.NewReader(strings.NewReader(packed))
		fatalIfErr(t, err)
		unpacked, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(unpacked, []byte(plain)) {
			t.Errorf("%s: packed and unpacked differ (%v)", a, err)
		}
		small, smallest := to.get(t, a, "Accept-Encoding", "gzip, deflate, br, zstd")
		if again, err := io.ReadAll(brotli.NewReader(strings.NewReader(smallest))); small.Header.Get(
			"Content-Encoding") != "br" || err != nil || string(again) != plain ||
			small.Header.Get("ETag") == res.Header.Get("ETag") {
			t.Errorf("%s in brotli: %v, %d bytes of %d", a, small.Header, len(again), len(plain))
		}
		if len(packed) > 1000 && len(smallest) >= len(packed) {
			t.Errorf("%s: brotli has %d bytes, gzip %d", a, len(smallest), len(packed))
		}
		for _, coding := range []string{"br", "gzip", "identity"} {
			head, body := do(t, request(t, http.MethodHead, to.URL+a, nil, "Accept-Encoding", coding))
			length := map[string]int{"br": len(smallest), "gzip": len(packed), "identity": len(plain)}[coding]
			if body != "" || head.ContentLength != int64(length) {
				t.Errorf("HEAD %s in %s: length %d, want %d", a, coding, head.ContentLength, length)
			}
		}
		if again, _ := to.get(t, a, "Accept-Encoding", "gzip", "If-None-Match",
			res.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: status %d for a known ETag", a, again.StatusCode)
		}
		old := strings.Replace(a, strings.Split(a, "/")[2], "0000000000000000", 1)
		if stale, _ := to.get(t, old); stale.StatusCode != http.StatusOK ||
			stale.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: an old address: status %d, %s", old, stale.StatusCode, stale.Header.Get("Cache-Control"))
		}
	}
	for ext := range types {
		if !seen[ext] {
			t.Errorf("the page refers to no %s (the verifier is built by: go generate ./ui)", ext)
		}
	}
	if res, _ := to.get(t, "/static/x/gen/.gitignore"); res.StatusCode != http.StatusNotFound {
		t.Error("hidden files are served")
	}
}

// What a client says it takes is what it gets; see RFC 9110, 12.5.3 and 12.4.2.
func TestCodings(t *testing.T) {
	to := newTown(t, roomy())
	_, home := to.get(t, "/")
	style := regexp.MustCompile(`/static/[^"]*page\.css`).FindString(home)
	for header, want := range map[string]string{
		"gzip, deflate, br, zstd": "br", "br;q=0.5, gzip": "gzip", "BR": "br", "*": "br", "br;q=0, *": "gzip",
		"gzip;q=0, br;q=0": "", "": "", "identity": "", "zstd": "",
		"identity, gzip;q=0.9": "", "gzip;q=0.001": "gzip", "gzip ; q=1.0": "gzip", "br;q=x, gzip;q=0.1": "gzip",
		"br;q=2": "", "br;q=-1": "", "br;q=NaN": "", "identity;q=0": "",
		"*;q=0": "", "gzip;q=0.5, identity;q=0.5": "gzip", ",,;,": "",
	} {
		t.Run(fmt.Sprintf("%q", header), func(t *testing.T) {
			res, _ := to.get(t, style, "Accept-Encoding", header)
			if got := res.Header.Get("Content-Encoding"); got != want || res.StatusCode != http.StatusOK ||
				res.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q: %q, want %q (status %d)", header, got, want, res.StatusCode)
			}
		})
	}
	for _, page := range []string{"/", "/r/" + to.numbers[string(docGenuine)] + "?code=" + code} {
		t.Run(page, func(t *testing.T) {
			if res, _ := to.get(t, page, "Accept-Encoding", "br, gzip"); res.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s is compressed", page)
			}
		})
	}
}

func TestHead(t *testing.T) {
	to := newTown(t, roomy())
	for _, path := range []string{"/", "/r/" + to.numbers[string(docGenuine)]} {
		t.Run(path, func(t *testing.T) {
			if res, body := do(t, request(t, http.MethodHead, to.URL+path, nil)); res.StatusCode != http.StatusOK ||
				body != "" {
				t.Errorf("HEAD %s: status %d", path, res.StatusCode)
			}
		})
	}
}
