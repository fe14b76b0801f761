package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// People at an unknown address get a page in their language, programs a problem document.
func TestUnknownAddresses(t *testing.T) {
	t.Parallel()
	s := site{data: folder(t), args: []string{"--operator", "江城市数据局 <b>"}}.start(t)
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct {
		method, path, accept, language string
		status                         int
		mediaType, says                string
	}{
		{"GET", "/nothing/here", browser, "en", 404, "text/html; charset=utf-8", "Page not found."},
		{"GET", "/nothing/here", browser, "zh-CN", 404, "text/html; charset=utf-8", "页面不存在。"},
		{"GET", "/nothing/here", "*/*", "en", 404, "application/problem+json", `"code":"not_found"`},
		{"GET", "/nothing/here", "", "en", 404, "application/problem+json", `"code":"not_found"`},
		{"GET", "/nothing/here", "application/json", "en", 404, "application/problem+json", `"code":"not_found"`},
		{"GET", "/api/v1/nothing", browser, "en", 404, "application/problem+json", `"code":"not_found"`},
		{"GET", "/apis", browser, "en", 404, "text/html; charset=utf-8", "Page not found."},
		{"DELETE", "/verify", browser, "en", 405, "text/html; charset=utf-8", "does not accept"},
		{"DELETE", "/verify", "*/*", "en", 405, "application/problem+json", "does not accept that method"},
		{"DELETE", "/api/v1/lookup", browser, "en", 405, "application/problem+json", "does not accept that method"},
	} {
		t.Run(fmt.Sprintf("%s %s for %.12q in %s", c.method, c.path, c.accept, c.language), func(t *testing.T) {
			res := s.call(request{method: c.method, path: c.path, header: map[string]string{"Accept": c.accept,
				"Accept-Language": c.language, "Authorization": ""}})
			if res.status != c.status || res.header.Get("Content-Type") != c.mediaType ||
				!strings.Contains(string(res.body), c.says) ||
				!strings.Contains(strings.Join(res.header.Values("Vary"), ","), "Accept") ||
				res.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s for %q: %d %v %.300s", c.method, c.path, c.accept, res.status, res.header, res.body)
			}
			if c.mediaType[:9] == "text/html" && (res.header.Get("Content-Language") != c.language ||
				!strings.Contains(res.header.Get("Content-Security-Policy"), "form-action 'self'")) {
				t.Errorf("%s: headers %v", c.path, res.header)
			}
		})
	}
	if res := s.get("/"); res.status != http.StatusOK || !strings.Contains(string(res.body), "江城市数据局 &lt;b&gt;") {
		t.Errorf("the operator is not named: %d %s", res.status, res.body)
	}
	out, _, code := site{data: s.data}.output(t, "config", "--operator", "江城市数据局")
	if code != 0 || !strings.Contains(out, "operator: 江城市数据局") {
		t.Errorf("%d %s", code, out)
	}
	s.stop()
}

// A seal is on the certificates of the records that come after it, and on no others, whatever
// is done later: a certificate is the same every time it is fetched.
func TestSealLife(t *testing.T) {
	t.Parallel()
	data := folder(t)
	s := site{data: data}.start(t)
	certificate := func(rec record) []byte {
		t.Helper()
		res := s.get("/api/v1/records/" + rec.ID + "/certificate")
		if res.status != http.StatusOK {
			t.Fatalf("%d %s", res.status, res.body)
		}
		if page := s.get("/r/" + rec.Number + "/certificate?code=" + rec.Code); !bytes.Equal(page.body, res.body) {
			t.Errorf("the page's certificate is not the API's: %d, %d bytes", page.status, len(page.body))
		}
		return res.body
	}
	notarize := func() record { return s.notarize(digestRequest(newDigest(), "", "anchored")) }
	seal := func(args ...string) (string, int) {
		out, errs, code := site{data: data}.output(t, append([]string{"agency", "seal", args[0], demoCode},
			args[1:]...)...)
		return out + errs, code
	}
	img := image.NewNRGBA(image.Rect(0, 0, 200, 200))
	for i := range 200 {
		img.Set(i, i, color.NRGBA{200, 0, 0, 255})
	}
	var b bytes.Buffer
	fatalIfErr(t, png.Encode(&b, img))
	file := filepath.Join(t.TempDir(), "seal.png")
	fatalIfErr(t, os.WriteFile(file, b.Bytes(), 0o600))

	drawn := notarize() // under the demo's own seal
	first := certificate(drawn)
	if out, code := seal("add", "--image", file, "--no-demonstration", "--owner", "李明"); code != 0 ||
		!strings.Contains(out, "has a seal, 公章") ||
		!strings.Contains(out, "It is on certificates of records issued from") {
		t.Fatalf("%d %s", code, out)
	}
	licensed := notarize()
	second := certificate(licensed)
	if out, code := seal("show", "--none"); code != 0 || !strings.Contains(out, "No seal is on certificates") {
		t.Fatalf("%d %s", code, out)
	}
	bare := notarize()
	third := certificate(bare)
	if out, code := seal("add", "--image", file, "--name", "业务专用章", "--until", "2099-01-01T00:00:00Z",
		"--no-certificates"); code != 0 || !strings.Contains(out, "has a demonstration seal") ||
		strings.Contains(out, "on certificates") {
		t.Fatalf("%d %s", code, out)
	}
	for _, c := range []struct {
		rec      record
		pdf      []byte
		pictures int
	}{{drawn, first, 2}, {licensed, second, 2}, {bare, third, 0}} { // a picture and its transparency
		if again := certificate(c.rec); !bytes.Equal(again, c.pdf) {
			t.Error("a certificate changed with the agency's seal")
		}
		if n := bytes.Count(c.pdf, []byte("/Subtype /Image")); n != c.pictures {
			t.Errorf("%d pictures, want %d", n, c.pictures)
		}
	}
	out, code := seal("list", "--json")
	var seals []sealJSON
	if err := json.Unmarshal([]byte(out), &seals); err != nil || code != 0 || len(seals) != 3 ||
		seals[0].Name != "业务专用章" || seals[0].State != "valid" || seals[0].Until != "2099-01-01T00:00:00Z" ||
		seals[1].Owner != "李明" || seals[1].Demonstration || seals[2].State != "ended" || !seals[2].Demonstration {
		t.Fatalf("%d %v %s", code, err, out)
	}
	if out, code := seal("show", seals[1].ID); code != 0 || !strings.Contains(out, "The seal is on certificates") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := seal("end", seals[1].ID); code != 0 || !strings.Contains(out, "was ended at") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := seal("list"); code != 0 || strings.Contains(out, "on-certificates") ||
		strings.Count(out, "  ended  ") != 2 {
		t.Errorf("%d %s", code, out)
	}
	if out, code := seal("list", "--uses"); code != 0 || out != "" {
		t.Errorf("%d %s", code, out)
	}
	for what, args := range map[string][]string{"no file": {"add", "--image", file + "x"}, "neither": {"add"},
		"no PNG": {"add", "--image", s.info.Trust}, "no such seal": {"show", "x"}, "nothing to show": {"show"},
		"both": {"show", "x", "--none"}, "none to end": {"end", "x"}, "ended before": {"end", seals[1].ID},
		"over before it begins": {"add", "--image", file, "--until", "2020-01-01T00:00:00Z"},
		"a name of two lines":   {"add", "--image", file, "--name", "a\nb"}} {
		t.Run(what, func(t *testing.T) {
			if out, code := seal(args...); code == 0 || out == "" {
				t.Errorf("%s: %d %s", what, code, out)
			}
		})
	}
	s.stop()
}
