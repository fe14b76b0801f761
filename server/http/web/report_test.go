package web_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stele/crypto/sm"
	"stele/notary/proof/carrier"
	"stele/notary/proof/prooftest"
	"stele/ui"
)

// postReport asks for a report; fields are names and values in turn.
func (to *town) postReport(t testing.TB, fields ...string) (*http.Response, string) {
	t.Helper()
	q := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		q.Add(fields[i], fields[i+1])
	}
	return do(t, request(t, http.MethodPost, to.URL+"/report", strings.NewReader(q.Encode()), "Content-Type",
		"application/x-www-form-urlencoded"))
}

// pdfText is what a person can copy out of the pages, without white space.
func pdfText(t testing.TB, pdf string) string {
	t.Helper()
	if _, err := exec.LookPath("pdftotext"); err != nil {
		t.Fatal("this test needs the pdftotext command: install the package poppler-utils")
	}
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "pdftotext", "-", "-")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(pdf), &out, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 { // a complaint is a fault of ours
		t.Fatalf("pdftotext: %v: %s", err, stderr.Bytes())
	}
	return strings.Join(strings.Fields(out.String()), "")
}

// keepPDF keeps a report and its pages as pictures where somebody asked for them.
func keepPDF(t testing.TB, name, pdf string) {
	t.Helper()
	dir := os.Getenv("STELE_TEST_PICTURES")
	if dir == "" {
		return
	}
	file := filepath.Join(dir, name+".pdf")
	fatalIfErr(t, os.WriteFile(file, []byte(pdf), 0o600))
	fatalIfErr(t, exec.CommandContext(t.Context(), "pdftoppm", "-r", "70", "-png", file,
		filepath.Join(dir, name)).Run())
}

// TestReports asks for a report on every verdict, in both languages.
func TestReports(t *testing.T) {
	to := newTown(t, roomy())
	texts, err := ui.LoadCatalogues()
	fatalIfErr(t, err)
	hex := func(doc []byte) string { return sm.Sum(doc).String() }
	broken := strings.Replace(string(to.bundles[string(docGenuine)]), `"index":0`, `"index":1`, 1)
	foreign := string(prooftest.New(prooftest.Options{Seed: "elsewhere"}).Notarize(docGenuine).Encode())
	number := func(doc []byte) string { return to.numbers[string(doc)] }
	for name, c := range map[string]struct {
		fields   []string
		sentence string // key of what it must say
		file     string // how its name begins
		says     []string
	}{
		"genuine": {[]string{"sm3", hex(docGenuine)}, "verdict.genuine.sentence", number(docGenuine),
			[]string{"江城市政务服务局", "91350100M000100Y43", "2026-11-22 06:28:4", hex(docGenuine)[:8]}},
		"genuine-code": {[]string{"sm3", hex(docGenuine), "number", number(docGenuine), "code", code},
			"verdict.genuine.sentence", number(docGenuine), []string{secretOfTheDeed}},
		// as above
		"genuine-bundle": {[]string{"sm3", hex(docGenuine), "bundle", string(to.bundles[string(docGenuine)])},
			"verdict.genuine.sentence", number(docGenuine), []string{secretOfTheDeed}},
		"twice":   {[]string{"sm3", hex(docTwice)}, "verdict.genuine.sentence", "", []string{"重复登记"}},
		"pending": {[]string{"sm3", hex(docPending)}, "verdict.pending.sentence", number(docPending), nil},
		"altered": {[]string{"sm3", hex(docUnknown), "number", number(docGenuine)}, "verdict.altered.sentence",
			number(docGenuine), nil},
		"revoked": {[]string{"sm3", hex(docRevoked)}, "verdict.revoked.sentence", number(docRevoked),
			[]string{"不动产登记错误，依法撤销"}},
		"old-bundle": {[]string{"sm3", hex(docRevoked), "bundle", string(to.bundles[string(docRevoked)])},
			"verdict.revoked.sentence", number(docRevoked), []string{"不动产登记错误，依法撤销"}},
		"superseded": {[]string{"sm3", hex(docSuperseded)}, "verdict.superseded.sentence", number(docSuperseded),
			[]string{number(docNewPlan), "界址调整，重新出图"}},
		"not_found": {[]string{"sm3", hex(docUnknown)}, "verdict.not_found.sentence", hex(docUnknown)[:8],
			[]string{hex(docUnknown)[8:16]}},
		"no-such-number": {[]string{"number", "420100-2026-00099999-X"}, "record.not_found", "420100-2026-00099999-X",
			nil},
		"invalid": {[]string{"sm3", hex(docGenuine), "bundle", broken}, "verdict.invalid.sentence",
			hex(docGenuine)[:8], nil},
		"no-bundle": {[]string{"sm3", hex(docGenuine), "bundle", "}{\x00\xff"}, "verdict.invalid.sentence",
			hex(docGenuine)[:8], nil},
		"unverifiable": {[]string{"sm3", hex(docGenuine), "bundle", foreign}, "verdict.unverifiable.sentence",
			hex(docGenuine)[:8], nil},
		// the bundle shows them
		"bundle-alone": {[]string{"bundle", string(to.bundles[string(docGenuine)])}, "cause.no_document.sentence",
			number(docGenuine), []string{secretOfTheDeed}},
		"valid": {[]string{"number", number(docGenuine)}, "record.valid", number(docGenuine), nil},
		"valid-code": {[]string{"number", number(docGenuine), "code", "7k3m 9qrt"}, "record.valid", number(docGenuine),
			[]string{secretOfTheDeed}},
		"received": {[]string{"number", number(docReceived)}, "record.not_ready", number(docReceived), nil},
	} {
		for _, l := range texts.All() {
			t.Run(name+"/"+l.Tag, func(t *testing.T) {
				res, pdf := to.postReport(t, append(c.fields, "lang", l.Tag)...)
				if !strings.HasPrefix(pdf, "%PDF") {
					t.Fatalf("status %d: %s", res.StatusCode, pdf)
				}
				keepPDF(t, "report-"+name+"-"+l.Tag, pdf)
				file := regexp.MustCompile(`^attachment; filename="` + c.file +
					`[0-9X-]*-report-\d{4}-\d\d-\d\d\.pdf"$`)
				if got := res.Header.Get("Content-Disposition"); res.StatusCode != http.StatusOK ||
					!file.MatchString(got) || res.Header.Get("Cache-Control") != "private, no-store" {
					t.Errorf("status %d, %q, headers %v", res.StatusCode, got, res.Header)
				}
				text := pdfText(t, pdf)
				trust := sm.Sum(to.trust).String()
				want := append([]string{l.Text(c.sentence, "number", numberOf(c.file)), l.Text("report.title"),
					l.Text("report.notice"), l.Text("report.shows"), l.Text("report.shows_not_text"),
					publicURL, "江城市数据局", trust[:8] + trust[8:16], l.Text("report.page", "page", "1", "pages", "")},
					c.says...)
				for _, s := range want {
					if s = strings.Join(strings.Fields(s), ""); !strings.Contains(text,
						strings.TrimSuffix(strings.TrimSuffix(s, "of"), "页")) {
						t.Errorf("does not say %q in\n%s", s, text)
					}
				}
				if open := regexp.MustCompile(`\[[a-z]+\.|\{[a-z]+\}|□`).FindString(text); open != "" {
					t.Errorf("%q in %s", open, text)
				}
				if _, _, err := carrier.Extract([]byte(pdf)); err == nil {
					t.Error("a verifier takes the report for a certificate")
				}
				if len(c.says) == 0 && strings.Contains(text, secretOfTheDeed) {
					t.Error("the report opens attributes without the code")
				}
			})
		}
	}
}

// numberOf is a file name's beginning where it is a certificate number.
func numberOf(file string) string {
	if len(file) < 20 {
		return ""
	}
	return file
}

// An outage is an answer too, and it is not "not found".
func TestReportInAnOutage(t *testing.T) {
	to := newTown(t, roomy())
	to.store.down.Store(true)
	for _, fields := range [][]string{{"sm3", sm.Sum(docGenuine).String()},
		{"number", to.numbers[string(docGenuine)]}} {
		t.Run(fields[0], func(t *testing.T) {
			res, pdf := to.postReport(t, fields...)
			if text := pdfText(t, pdf); res.StatusCode != http.StatusOK ||
				!strings.Contains(text, "Thiscouldnotbecheckednow") || strings.Contains(text, "10.1.2.3") {
				t.Errorf("status %d:\n%s", res.StatusCode, text)
			}
		})
	}
}

func TestReportsRefused(t *testing.T) {
	to := newTown(t, roomy())
	digest := sm.Sum(docGenuine).String()
	for name, c := range map[string]struct {
		contentType, body string
		status            int
		says              string
	}{
		"nothing": {"application/x-www-form-urlencoded", "", 422, "no result to report"},
		"empty fields": {"application/x-www-form-urlencoded", "sm3=&number=&code=&bundle=&lang=en", 422,
			"no result to report"},
		"bad digest":   {"application/x-www-form-urlencoded", "sm3=12", 422, "no result to report"},
		"bad number":   {"application/x-www-form-urlencoded", "number=12", 422, "no result to report"},
		"code alone":   {"application/x-www-form-urlencoded", "code=" + code, 422, "no result to report"},
		"twice":        {"application/x-www-form-urlencoded", "sm3=" + digest + "&sm3=" + digest, 415, "not contain"},
		"unknown":      {"application/x-www-form-urlencoded", "verdict=genuine&sm3=" + digest, 415, "not contain"},
		"bad encoding": {"application/x-www-form-urlencoded", "sm3=%zz", 415, "not contain"},
		"JSON":         {"application/json", `{"sm3":"` + digest + `"}`, 415, "not contain"},
		"no type":      {"", "sm3=" + digest, 415, "not contain"},
		"too large": {"application/x-www-form-urlencoded", "bundle=" + strings.Repeat("x", 3<<19), 413,
			"at most 1 MB"},
	} {
		t.Run(name, func(t *testing.T) {
			res, body := do(t, request(t, http.MethodPost, to.URL+"/report", strings.NewReader(c.body), "Content-Type",
				c.contentType))
			if res.StatusCode != c.status || !strings.Contains(body, c.says) || verdictOf(body) != "message" {
				t.Errorf("%s: status %d, want %d and %q in\n%s", name, res.StatusCode, c.status, c.says, body)
			}
		})
	}
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
		t.Run(headers[0], func(t *testing.T) {
			res, body := do(t, request(t, http.MethodPost, to.URL+"/report", strings.NewReader("sm3="+digest),
				append(headers, "Content-Type", "application/x-www-form-urlencoded")...))
			if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "another site") {
				t.Errorf("%v: status %d", headers, res.StatusCode)
			}
		})
	}
	res, _ := to.get(t, "/report")
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/" {
		t.Errorf("a report that is reloaded: status %d", res.StatusCode)
	}
}

// The form on a result's page asks for the same again.
func TestResultOffersAReport(t *testing.T) {
	to := newTown(t, roomy())
	hidden := regexp.MustCompile(`(?s)<form method="post" action="/report">(.*?)</form>`)
	input := regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)
	old := bundle(to.bundles[string(docRevoked)])
	for name, parts := range map[string][]part{"file": {file(docRevoked)}, "file and bundle": {file(docRevoked), old},
		"file and number": {file(docRevoked), {"number", "", []byte(to.numbers[string(docRevoked)])}}} {
		t.Run(name, func(t *testing.T) {
			_, page := to.post(t, parts...)
			var fields []string
			for _, m := range input.FindAllStringSubmatch(hidden.FindString(page), -1) {
				fields = append(fields, m[1], strings.NewReplacer("&#34;", `"`, "&#43;", "+", "&lt;", "<", "&amp;",
					"&").Replace(m[2]))
			}
			if res, pdf := to.postReport(t, fields...); res.StatusCode != http.StatusOK ||
				!strings.Contains(pdfText(t, pdf), "agencyhasrevokedit") {
				t.Errorf("%s: %q gives status %d", name, fields, res.StatusCode)
			}
		})
	}
}

// A bundle of a stranger's making may hold anything: the report stays in shape, and what is
// no text of ours steers nobody.
func TestReportOfAHostileBundle(t *testing.T) {
	to := newTown(t, roomy())
	w := prooftest.New(prooftest.Options{Seed: "elsewhere"})
	w.Agency = w.NewAgency(w.Agency.Code, strings.Repeat("长", 60)+"🙂")
	b := string(w.Notarize(docGenuine).Encode())
	for name, text := range map[string]string{"long names": b, "cut": b[:len(b)/2],
		"controls": strings.Repeat("\x1b[31m\u202e\x00", 2000), "deep": strings.Repeat("[", 100_000),
		"fields": fmt.Sprintf(`{"format":"stele/bundle/v1","fields":{%s}}`, strings.Repeat(`"x":"y",`, 20_000))} {
		t.Run(name, func(t *testing.T) {
			res, pdf := to.postReport(t, "sm3", sm.Sum(docGenuine).String(), "bundle", text, "lang", "en")
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%s: status %d: %s", name, res.StatusCode, pdf)
			}
			if s := pdfText(t, pdf); strings.Contains(s, "\u202e") || !strings.Contains(s, "Verificationreport") {
				t.Errorf("%s:\n%s", name, s)
			}
			keepPDF(t, "report-hostile-"+strings.ReplaceAll(name, " ", "-"), pdf)
		})
	}
}
