package web_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"stele/notary/proof/prooftest"
)

type part struct {
	field, file string
	data        []byte
}

func form(t testing.TB, parts ...part) (contentType string, body *bytes.Buffer) {
	t.Helper()
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for _, p := range parts {
		var f io.Writer
		var err error
		if p.file == "" {
			f, err = w.CreateFormField(p.field)
		} else {
			f, err = w.CreateFormFile(p.field, p.file)
		}
		if err == nil {
			_, err = f.Write(p.data)
		}
		fatalIfErr(t, err)
	}
	fatalIfErr(t, w.Close())
	return w.FormDataContentType(), body
}

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func do(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := http.DefaultTransport.RoundTrip(req)
	fatalIfErr(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	fatalIfErr(t, err)
	return res, string(b)
}

func request(t testing.TB, method, url string, body io.Reader, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	fatalIfErr(t, err)
	req.Header.Set("Accept-Language", "en")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func (to *town) get(t testing.TB, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	return do(t, request(t, http.MethodGet, to.URL+path, nil, headers...))
}

func (to *town) post(t testing.TB, parts ...part) (*http.Response, string) {
	t.Helper()
	contentType, body := form(t, parts...)
	return do(t, request(t, http.MethodPost, to.URL+"/verify", body, "Content-Type", contentType))
}

func file(data []byte) part { return part{"file", "document.pdf", data} }

func bundle(data []byte) part { return part{"bundle", "proof.bundle.json", data} }

func TestUploadForm(t *testing.T) {
	to := newTown(t, roomy())
	foreign := prooftest.New(prooftest.Options{Seed: "elsewhere"})
	for name, c := range map[string]struct {
		parts   []part
		status  int
		verdict string
		says    string
	}{
		"genuine":    {[]part{file(docGenuine)}, 200, "genuine", "22 November 2026 at 14:28:42"},
		"pending":    {[]part{file(docPending)}, 200, "pending", "usually takes a few seconds"},
		"revoked":    {[]part{file(docRevoked)}, 200, "revoked", "不动产登记错误，依法撤销"},
		"superseded": {[]part{file(docSuperseded)}, 200, "superseded", to.numbers[string(docNewPlan)]},
		"unknown":    {[]part{file(docUnknown)}, 200, "not_found", "does not mean that the file is forged"},
		"received":   {[]part{file(docReceived)}, 200, "unverifiable", "being entered in the log"},
		"twice":      {[]part{file(docTwice)}, 200, "genuine", "Other records of the same file"},
		"bundle": {[]part{file(docGenuine), bundle(to.bundles[string(docGenuine)])}, 200, "genuine",
			"Not a byte has changed"},
		"bundle alone": {[]part{bundle(to.bundles[string(docGenuine)])}, 200, "unverifiable",
			"no file was compared"},
		"bundle, other file": {[]part{file(docUnknown), bundle(to.bundles[string(docGenuine)])}, 200, "altered",
			"may have been changed"},
		"old bundle, revoked": {[]part{file(docRevoked), bundle(to.bundles[string(docRevoked)])}, 200, "revoked",
			"revoked it. The revocation was in the log not later than"},
		"bad bundle": {[]part{file(docGenuine), bundle([]byte(`{"format":"stele/bundle/v1"}`))}, 200, "invalid",
			"The step “Proof bundle”"},
		"foreign bundle": {[]part{file(docGenuine), bundle(foreign.Notarize(docGenuine).Encode())}, 200,
			"unverifiable", "not known here"},
		"empty fields":  {[]part{{"file", "", nil}, {"bundle", "", nil}}, 422, "message", "No file was received"},
		"nothing":       {nil, 422, "message", "No file was received"},
		"unknown field": {[]part{{"evil", "", []byte("x")}}, 415, "message", "does not contain this page"},
		"by number": {[]part{{"number", "", []byte(to.numbers[string(docGenuine)])}, file(docGenuine)}, 200,
			"genuine", ""},
		"by number, other": {[]part{{"number", "", []byte(to.numbers[string(docGenuine)])}, file(docUnknown)}, 200,
			"altered", to.numbers[string(docGenuine)]},
		"by bad number": {[]part{{"number", "", []byte("1")}, file(docUnknown)}, 415, "message", ""},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := to.post(t, c.parts...)
			if res.StatusCode != c.status || verdictOf(body) != c.verdict || !strings.Contains(body, c.says) {
				t.Fatalf("status %d, verdict %q, want %d, %q and %q in:\n%s", res.StatusCode, verdictOf(body), c.status,
					c.verdict, c.says, body)
			}
		})
	}
}

func TestOutageIsNotForgery(t *testing.T) {
	to := newTown(t, roomy())
	to.store.down.Store(true)
	for name, answer := range map[string]func() (*http.Response, string){
		"upload": func() (*http.Response, string) { return to.post(t, file(docGenuine)) },
		"record": func() (*http.Response, string) { return to.get(t, "/r/"+to.numbers[string(docGenuine)]) },
	} {
		t.Run(name, func(t *testing.T) {
			res, body := answer()
			if res.StatusCode != http.StatusServiceUnavailable || verdictOf(body) != "unverifiable" ||
				res.Header.Get("Retry-After") == "" {
				t.Errorf("%s: status %d, verdict %q", name, res.StatusCode, verdictOf(body))
			}
			if strings.Contains(body, "secret") || strings.Contains(body, "10.1.2.3") {
				t.Errorf("%s: the page shows internal text", name)
			}
		})
	}
	// What does not need the store works on.
	if _, body := to.post(t, file(docGenuine), bundle(to.bundles[string(docGenuine)])); verdictOf(body) != "genuine" {
		t.Errorf("bundle: verdict %q", verdictOf(body))
	}
}

func TestRecord(t *testing.T) {
	to := newTown(t, roomy())
	number := to.numbers[string(docGenuine)]
	for name, c := range map[string]struct {
		path    string
		status  int
		verdict string
		says    string
		silent  string
	}{
		"number":     {"/r/" + number, 200, "valid", "江城市政务服务局", "不动产登记证明"},
		"with code":  {"/r/" + number + "?code=7k3m-9qrt", 200, "valid", "不动产登记证明.pdf", "is-no-such-text"},
		"wrong code": {"/r/" + number + "?code=00000000", 200, "valid", "does not match", "不动产登记证明"},
		"revoked": {"/r/" + to.numbers[string(docRevoked)], 200, "revoked", "revoked this certificate",
			"is-no-such-text"},
		"superseded": {"/r/" + to.numbers[string(docSuperseded)], 200, "superseded",
			"/r/" + to.numbers[string(docNewPlan)], "is-no-such-text"},
		"pending": {"/r/" + to.numbers[string(docPending)], 200, "pending", "is waiting to be anchored",
			"is-no-such-text"},
		"received": {"/r/" + to.numbers[string(docReceived)], 200, "pending", "entered in the log",
			"is-no-such-text"},
		"unknown":     {"/r/420100-2026-00099999-X", 404, "not_found", "There is no certificate", "upload"},
		"no number":   {"/r/12", 404, "message", "Page not found", "is-no-such-text"},
		"typed badly": {"/r?number=12", 422, "", "This is not a certificate number", "is-no-such-text"},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := to.get(t, c.path)
			if res.StatusCode != c.status || verdictOf(body) != c.verdict || !strings.Contains(body, c.says) ||
				strings.Contains(body, c.silent) {
				t.Fatalf("status %d, verdict %q, want %d, %q, %q and not %q in:\n%s", res.StatusCode, verdictOf(body),
					c.status, c.verdict, c.says, c.silent, body)
			}
		})
	}
	full := strings.NewReplacer("0", "０", "1", "１", "-", "").Replace(number)
	res, _ := to.get(t, "/r?number="+url.QueryEscape(" "+full))
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/r/"+number {
		t.Errorf("a number as people type it: status %d, location %q", res.StatusCode, res.Header.Get("Location"))
	}
}

func TestWrongCodesAreCounted(t *testing.T) {
	to := newTown(t, roomy())
	path := "/r/" + to.numbers[string(docGenuine)] + "?code="
	for range 10 {
		if _, body := to.get(t, path+"00000000"); !strings.Contains(body, "does not match") {
			t.Fatal("a wrong code is not refused")
		}
	}
	if _, body := to.get(t, path+code); !strings.Contains(body, "too many wrong codes") ||
		strings.Contains(body, "不动产登记证明.pdf") {
		t.Error("after ten wrong codes the right one still opens the attributes")
	}
}

func TestLimits(t *testing.T) {
	limits := roomy()
	limits.MaxUpload = 1000
	to := newTown(t, limits)
	if res, body := to.post(t, file(make([]byte, 1000))); res.StatusCode != http.StatusOK ||
		verdictOf(body) != "not_found" {
		t.Errorf("a file at the limit: status %d", res.StatusCode)
	}
	res, body := to.post(t, file(make([]byte, 1001)))
	if res.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "1000 bytes") ||
		!strings.Contains(body, "not saved") {
		t.Errorf("a file over the limit: status %d:\n%s", res.StatusCode, body)
	}
	if res, _ := to.post(t,
		part{"bundle", "b.json", make([]byte, 3<<20)}); res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a form that is too large: status %d", res.StatusCode)
	}
	limits = roomy()
	limits.ChecksPerMin = 2
	to = newTown(t, limits)
	for range 2 {
		to.get(t, "/r/420100-2026-00099999-X")
	}
	if res, body := to.post(t, file(docGenuine)); res.StatusCode != http.StatusTooManyRequests ||
		res.Header.Get("Retry-After") == "" || !strings.Contains(body, "Nothing was saved") {
		t.Errorf("over the rate: status %d", res.StatusCode)
	}
	if res, _ := to.get(t, "/"); res.StatusCode != http.StatusOK {
		t.Error("the start page is limited too")
	}
}

func TestLanguage(t *testing.T) {
	to := newTown(t, roomy())
	for header, want := range map[string]string{"": "zh-CN", "zh-TW,zh;q=0.8": "zh-CN", "en-GB": "en",
		"fr, en;q=0.5": "en", "ja": "zh-CN", ";;;": "zh-CN"} {
		t.Run(fmt.Sprintf("%q", header), func(t *testing.T) {
			res, body := to.get(t, "/", "Accept-Language", header)
			if res.Header.Get("Content-Language") != want || !strings.Contains(body, `<html lang="`+want+`">`) {
				t.Errorf("Accept-Language %q: %q, want %q", header, res.Header.Get("Content-Language"), want)
			}
		})
	}
	jar, err := cookiejar.New(nil)
	fatalIfErr(t, err)
	c := &http.Client{Jar: jar}
	for _, path := range []string{"/?lang=zh-CN", "/"} {
		res, err := c.Do(request(t, http.MethodGet, to.URL+path, nil))
		fatalIfErr(t, err)
		res.Body.Close()
		if res.Header.Get("Content-Language") != "zh-CN" {
			t.Errorf("%s: the language that was asked for is not kept", path)
		}
	}
	if _, body := to.get(t, "/r/"+to.numbers[string(docGenuine)]+"?code="+code); !strings.Contains(body,
		"?code="+code+"&amp;lang=zh-CN") {
		t.Error("the link to the other language loses the code")
	}
}
