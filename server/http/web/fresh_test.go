package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stele/notary/proof"
	"stele/notary/proof/statement"
)

// A bundle of before says nothing of whether its record stands. The page asks the service, says as of when it stands,
// and offers the bundle with that, in which the holder's attributes are. An older status, or a record of another
// number, takes nothing away from what the holder has.
func TestBundleBecomesFresh(t *testing.T) {
	to := newTown(t, roomy())
	vector := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("../../../notary/proof/testdata/vectors", name))
		fatalIfErr(t, err)
		return b
	}
	read := func(data []byte) *proof.Bundle {
		b, err := proof.ParseBundle(data)
		fatalIfErr(t, err)
		return b
	}
	fresh := vector("status-valid.json")
	held, bare := read(fresh), read(fresh)
	held.Status, bare.Fields = nil, nil
	said, err := statement.Parse(held.Statement)
	fatalIfErr(t, err)

	target, err := url.Parse(to.URL)
	fatalIfErr(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	answer := bare.Encode()
	site := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/trust.json":
			_, _ = rw.Write(vector("trust.json"))
		case "/api/v1/lookup":
			_ = json.NewEncoder(rw).Encode(map[string]any{"matches": []any{map[string]any{"bundle": string(answer),
				"record": map[string]string{"number": said.Number, "standing": "valid"}}}})
		default:
			proxy.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(site.Close)

	for _, l := range []look{desktop, phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, browser(t), l)
			given := files(t, map[string][]byte{"held.json": held.Encode(), "fresh.json": fresh,
				"document.pdf": vector("document.pdf")})
			saved := func(name string) (out string) {
				b.GoTo(site.URL + "/")
				b.Eval(`window.kept = []; window.was = URL.createObjectURL; URL.createObjectURL = (blob) => {
					blob.text().then((text) => window.kept.push(text)); return window.was.call(URL, blob); }; 0`, nil)
				b.Choose(given(name), given("document.pdf"))
				if v := b.Verdict(); v != string(proof.Genuine) {
					t.Fatalf("%s: %s", name, v)
				}
				b.Wait(`document.querySelector('a[download$=".bundle.json"]') && window.kept.length > 0`)
				b.Eval(`window.kept.at(-1)`, &out)
				return out
			}
			asOf := map[string]string{"zh-CN": "效力状态的时点", "en": "Status as of"}[l.Lang]
			answer = bare.Encode()
			if got := saved("held.json"); got != string(fresh) {
				t.Errorf("the bundle to keep is not the fresh one with the holder's attributes: %.300s", got)
			}
			if !strings.Contains(b.Text("main"), asOf) {
				t.Errorf("the page does not say as of when:\n%s", b.Text("main"))
			}
			b.Accessible("fresh")
			b.Fits("fresh")
			b.Shoot("bundle-fresh")
			without := read(answer)
			without.Status = nil
			answer = without.Encode()
			b.GoTo(site.URL + "/")
			b.Choose(given("fresh.json"), given("document.pdf"))
			if v := b.Verdict(); v != string(proof.Genuine) || !strings.Contains(b.Text("main"), "2026") {
				t.Errorf("%s", v)
			}
		})
	}
}
