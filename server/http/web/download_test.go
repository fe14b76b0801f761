package web_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

const secretOfTheDeed = "不动产登记证明" // its title and file name

// What a holder takes away holds the bundle with its attributes, and proves itself.
func TestDownloads(t *testing.T) {
	to := newTown(t, roomy())
	number := to.numbers[string(docGenuine)]
	trust, err := proof.ParseTrust(to.trust)
	fatalIfErr(t, err)
	digest := sm.Sum(docGenuine)

	res, pdf := to.get(t, "/r/"+number+"/certificate?code=7k3m-9qrt")
	wantFile(t, res, "application/pdf", number+".pdf")
	_, inside, err := carrier.Extract([]byte(pdf))
	fatalIfErr(t, err)
	res, bundle := to.get(t, "/r/"+number+"/bundle?code="+code)
	wantFile(t, res, "application/json", number+".bundle.json")
	if !bytes.Equal(inside, []byte(bundle)) {
		t.Error("the certificate holds another bundle")
	}
	if r := proof.Verify(trust, &digest, []byte(bundle)); r.Verdict != proof.Genuine || r.Fields["title"] == "" {
		t.Errorf("%s, attributes %v", r.Verdict, r.Fields)
	}
	if _, again := to.get(t, "/r/"+number+"/certificate?code="+code, "Accept-Language", "zh-CN"); again != pdf {
		t.Error("two certificates of one record differ")
	}
	if !strings.Contains(pdf, publicURL+"/r/"+number+"?code="+code) {
		t.Error("the certificate does not lead to the record's page")
	}
	if res, body := do(t, request(t, http.MethodHead, to.URL+"/r/"+number+"/certificate?code="+code,
		nil)); res.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: status %d", res.StatusCode)
	}
	// What became of them is in the certificate.
	for name, doc := range map[string][]byte{"revoked": docRevoked, "superseded": docSuperseded} {
		t.Run(name, func(t *testing.T) {
			res, pdf := to.get(t, "/r/"+to.numbers[string(doc)]+"/certificate?code="+code)
			wantFile(t, res, "application/pdf", to.numbers[string(doc)]+".pdf")
			if text := pdfText(t, pdf); !strings.Contains(text, "本证书已被") {
				t.Error("a certificate that no longer stands does not say so")
			}
		})
	}
	_, page := to.get(t, "/r/"+number+"?code="+code)
	for _, link := range []string{"/r/" + number + "/certificate?code=" + code, "/r/" + number + "/bundle?code=" +
		code} {
		if !strings.Contains(page, `href="`+link+`"`) {
			t.Errorf("the record's page does not lead to %s", link)
		}
	}
	if _, page := to.get(t, "/r/"+number); strings.Contains(page, "/certificate") || strings.Contains(page, "/bundle") {
		t.Error("the page offers downloads without the code")
	}
}

func wantFile(t *testing.T, res *http.Response, mediaType, name string) {
	t.Helper()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != mediaType ||
		res.Header.Get("Content-Disposition") != `attachment; filename="`+name+`"` ||
		res.Header.Get("Cache-Control") != "private, no-store" ||
		res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%s: status %d, headers %v", name, res.StatusCode, res.Header)
	}
}

// A stranger learns from these addresses what the record's page says anyway: whether the
// number was given out. Nothing else differs.
func TestDownloadsNeedTheCode(t *testing.T) {
	to := newTown(t, roomy())
	number := to.numbers[string(docGenuine)]
	for _, what := range []string{"/certificate", "/bundle"} {
		for name, c := range map[string]struct {
			path   string
			status int
			says   string
		}{
			"no code":        {"/r/" + number + what, 403, "A code is required"},
			"empty code":     {"/r/" + number + what + "?code=", 403, "A code is required"},
			"wrong code":     {"/r/" + number + what + "?code=00000000", 403, "does not match"},
			"no such number": {"/r/420100-2026-00099999-X" + what + "?code=" + code, 404, "There is no certificate"},
			"no number":      {"/r/12" + what + "?code=" + code, 404, "Page not found"},
			"another's code": {"/r/" + number + what + "?code=AAAAAAAA", 403, "does not match"},
			"pending, opened": {"/r/" + to.numbers[string(docReceived)] + what + "?code=" + code, 409,
				"The registration is safe"},
		} {
			t.Run(name+" of "+what[1:], func(t *testing.T) {
				res, body := to.get(t, c.path)
				if res.StatusCode != c.status || !strings.Contains(body, c.says) ||
					!strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") ||
					res.Header.Get("Content-Disposition") != "" {
					t.Errorf("%s of %s: status %d in\n%s", name, what, res.StatusCode, body)
				}
				if strings.Contains(body, secretOfTheDeed) || !strings.Contains(c.path, code) &&
					strings.Contains(body, code) {
					t.Errorf("%s of %s gives something away", name, what)
				}
			})
		}
	}
	// A record that is logged but not anchored has a bundle, and no certificate yet.
	pending := "/r/" + to.numbers[string(docPending)]
	res, _ := to.get(t, pending+"/certificate?code="+code)
	if res.StatusCode != http.StatusConflict || res.Header.Get("Retry-After") == "" {
		t.Errorf("pending: status %d, %v", res.StatusCode, res.Header)
	}
	res, _ = to.get(t, pending+"/bundle?code="+code)
	wantFile(t, res, "application/json", to.numbers[string(docPending)]+".bundle.json")
	if _, page := to.get(t, pending+"?code="+code); strings.Contains(page, "/certificate") ||
		!strings.Contains(page, "/bundle?code=") {
		t.Error("the page of a pending record offers what there is not")
	}
}

// Codes guessed here count with those guessed on the record's page and in the API.
func TestGuessesAreCountedTogether(t *testing.T) {
	to := newTown(t, roomy())
	number := to.numbers[string(docGenuine)]
	for i, path := range []string{"/r/%/certificate?code=", "/r/%/bundle?code=", "/r/%?code=",
		"/api/v1/lookup?number=%&code=", "/r/%/bundle?code=", "/r/%/bundle?code=",
		"/r/%/bundle?code=", "/r/%/bundle?code=", "/r/%/bundle?code="} {
		if res, body := to.get(t, strings.Replace(path, "%", number, 1)+"00000000"); strings.Contains(body,
			"too many wrong codes") {
			t.Fatalf("guess %d is refused already: %d", i, res.StatusCode)
		}
	}
	// the tenth, by way of a report
	if res, _ := to.postReport(t, "number", number, "code", "00000000"); res.StatusCode != http.StatusOK {
		t.Errorf("report: status %d", res.StatusCode)
	}
	for _, what := range []string{"/certificate", "/bundle"} {
		t.Run(what[1:], func(t *testing.T) {
			res, body := to.get(t, "/r/"+number+what+"?code="+code)
			if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "3600" ||
				strings.Contains(body, secretOfTheDeed) {
				t.Errorf("%s after ten wrong codes: status %d, %v", what, res.StatusCode, res.Header)
			}
		})
	}
}

func TestDownloadsInAnOutage(t *testing.T) {
	to := newTown(t, roomy())
	to.store.down.Store(true)
	for _, what := range []string{"/certificate", "/bundle"} {
		t.Run(what[1:], func(t *testing.T) {
			res, body := to.get(t, "/r/"+to.numbers[string(docGenuine)]+what+"?code="+code)
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" ||
				strings.Contains(body, "secret") || !strings.Contains(body, "not available") {
				t.Errorf("%s: status %d, %v", what, res.StatusCode, res.Header)
			}
		})
	}
}

// Everything that costs something is counted by address; what is refused costs nothing.
func TestDownloadsAreLimited(t *testing.T) {
	limits := roomy()
	limits.ChecksPerMin = 3
	for name, ask := range map[string]func(to *town) *http.Response{
		"certificate": func(to *town) *http.Response {
			res, _ := to.get(t, "/r/"+to.numbers[string(docGenuine)]+"/certificate?code="+code)
			return res
		},
		"bundle": func(to *town) *http.Response {
			res, _ := to.get(t, "/r/"+to.numbers[string(docGenuine)]+"/bundle?code="+code)
			return res
		},
		"report": func(to *town) *http.Response {
			res, _ := to.postReport(t, "number", to.numbers[string(docGenuine)])
			return res
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := newTown(t, limits)
			for range 3 {
				if res := ask(to); res.StatusCode != http.StatusOK {
					t.Fatalf("%s: status %d", name, res.StatusCode)
				}
			}
			if res := ask(to); res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
				t.Errorf("%s over the rate: status %d", name, res.StatusCode)
			}
		})
	}
}
