package web_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"html"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"stele/notary/proof/prooftest"
	"stele/notary/proof/prooftest/packages"
)

// packageOf is an evidence package as it is issued.
func packageOf(bundle, document []byte) []byte {
	return packages.Of(packages.Good(bundle, document)...)
}

// TestPackageUploads: a package that is uploaded gives what its bundle and its original do; one
// that is not as it was issued is invalid, and the page names the file at fault.
func TestPackageUploads(t *testing.T) {
	to := newTown(t, roomy(), standingClock)
	genuine := to.bundles[string(docGenuine)]
	upload := func(data []byte, more ...part) string {
		_, body := to.post(t, append([]part{{"file", "evidence.zip", data}}, more...)...)
		return body
	}
	for what, c := range map[string]struct {
		bundle, document []byte
		verdict          string
	}{
		"genuine": {genuine, docGenuine, "genuine"},
		"altered": {genuine, docUnknown, "altered"},
		"revoked": {to.bundles[string(docRevoked)], docRevoked, "revoked"},
		"broken":  {genuine[:200], docGenuine, "invalid"},
		"pending": {to.bundles[string(docPending)], docPending, "pending"},
	} {
		t.Run(what, func(t *testing.T) {
			got := upload(packageOf(c.bundle, c.document))
			_, apart := to.post(t, part{"file", "original.pdf", c.document}, bundle(c.bundle))
			same := strings.ReplaceAll(got, "evidence.zip/original.pdf", "original.pdf") == apart
			if verdictOf(got) != c.verdict || !same {
				t.Errorf("%s:\n%s\napart\n%s", verdictOf(got), got, apart)
			}
		})
	}
	for _, c := range packages.Bad(genuine, docGenuine) {
		body := upload(c.Data)
		if verdictOf(body) != "invalid" || !strings.Contains(body, html.EscapeString(c.Entry)) ||
			strings.Contains(body, `action="/report"`) ||
			!strings.Contains(body, "If another program repacked it, unpack it") {
			t.Errorf("%s: %s, want %q: %s", c.What, verdictOf(body), c.Entry, body)
		}
	}
	alone := packages.Of(packages.File{Name: "bundle.json", Data: genuine})
	if body := upload(alone); verdictOf(body) != "unverifiable" || !strings.Contains(body, "no file was compared") {
		t.Errorf("without an original: %s", body)
	}
	beside := bundle(to.bundles[string(docRevoked)])
	if body := upload(packageOf(genuine, docGenuine), beside); verdictOf(body) != "altered" {
		t.Errorf("the bundle beside a package: %s", body)
	}
}

// TestZipDocuments: a zip file may be the document, whatever is in it.
func TestZipDocuments(t *testing.T) {
	to := newTown(t, roomy())
	elsewhere := prooftest.New(prooftest.Options{Seed: "elsewhere"})
	inner := packageOf(to.bundles[string(docGenuine)], docGenuine)
	path := map[string][]byte{"trust.json": elsewhere.Trust().Encode()}
	holding := func(method uint16, name string, data []byte) []byte {
		return packages.Repacked(method, packages.File{Name: name, Data: data})
	}
	zips := map[string][]byte{
		"office.docx": holding(zip.Deflate, "word/document.xml", []byte("<w:document/>")),
		"app.zip":     holding(zip.Deflate, "bundle.json", []byte(`{"name":"app"}`)),
		"case.zip":    holding(zip.Store, "package.zip", inner),
		"empty.zip":   packages.Repacked(zip.Store),
		"cut.zip":     holding(zip.Store, "a.txt", make([]byte, 3_000_000))[:2_000_000],
	}
	for name, data := range zips {
		if _, body := to.post(t, part{"file", name, data}); verdictOf(body) != "not_found" {
			t.Errorf("%s uploaded: %s", name, verdictOf(body))
		}
		path[name+".json"] = elsewhere.Notarize(data).Encode()
	}
	maps.Copy(path, zips)
	at := files(t, path)
	b := open(t, browser(t), desktop)
	b.GoTo(to.URL + "/")
	b.Choose(at("trust.json"))
	for name := range zips {
		t.Run(name, func(t *testing.T) {
			b.Choose(at(name), at(name+".json"))
			if got := b.Verdict(); got != "genuine" {
				t.Errorf("%s: %s: %s", name, got, b.Text("#result"))
			}
			b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
			b.Wait(`document.querySelector('#result').hidden`)
		})
	}
}

// TestPackagesOnThePage: the page opens packages, a large one as well, and says of them what it
// says of what is in them; of bad ones it names the file at fault. Nothing but digests is sent.
func TestPackagesOnThePage(t *testing.T) {
	to := newTown(t, roomy())
	genuine := to.bundles[string(docGenuine)]
	elsewhere := prooftest.New(prooftest.Options{Seed: "elsewhere"})
	large := make([]byte, 40<<20)
	rand.NewChaCha8([32]byte{1}).Read(large)
	bad := packages.Bad(genuine, docGenuine)
	documents := map[string][]byte{
		"package.zip":  packageOf(genuine, docGenuine),
		"altered.zip":  packageOf(genuine, docUnknown),
		"revoked.zip":  packageOf(to.bundles[string(docRevoked)], docRevoked),
		"alone.zip":    packages.Of(packages.File{Name: "bundle.json", Data: genuine}),
		"large.zip":    packageOf(elsewhere.Notarize(large).Encode(), large),
		"trust.json":   elsewhere.Trust().Encode(),
		"original.pdf": docGenuine, "bundle.json": genuine, "unknown.pdf": docUnknown,
	}
	for i, c := range bad {
		documents[fmt.Sprintf("bad-%d.zip", i)] = c.Data
	}
	path := files(t, documents)
	parent := browser(t)
	for _, l := range []look{desktop, phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, parent, l)
			b.GoTo(to.URL + "/")
			again := func() {
				b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
				b.Wait(`document.querySelector('#result').hidden`)
			}
			shown := func(names ...string) string {
				var chosen []string
				for _, n := range names {
					chosen = append(chosen, path(n))
				}
				b.Choose(chosen...)
				b.Verdict()
				b.Accessible(names[0])
				b.Fits(names[0])
				b.Shoot(names[0])
				text := b.words(`document.querySelector('#result').cloneNode(true)`)
				again()
				return text
			}
			apart := shown("original.pdf", "bundle.json")
			got := shown("package.zip")
			if strings.ReplaceAll(got, "package.zip/original.pdf", "original.pdf") != apart {
				t.Errorf("package:\n%s\napart:\n%s", got, apart)
			}
			for name, want := range map[string]string{
				"altered.zip": "altered", "revoked.zip": "revoked", "alone.zip": "unverifiable",
			} {
				t.Run(name, func(t *testing.T) {
					if b.Choose(path(name)); b.Verdict() != want {
						t.Errorf("%s: %s", name, b.Text("#result"))
					}
					again()
				})
			}
			for i, c := range bad {
				b.Choose(path(fmt.Sprintf("bad-%d.zip", i)))
				got, says := b.Verdict(), b.Text("#result")
				printable := strings.Contains(says, b.textOf("save.pdf"))
				if got != "invalid" || !strings.Contains(says, c.Entry) || printable {
					t.Errorf("%s: %s, want %q: %s", c.What, got, c.Entry, says)
				}
				if i%10 == 0 {
					want := b.uploaded(to, documents, fmt.Sprintf("bad-%d.zip", i))
					if text := b.words(`document.querySelector('#result').cloneNode(true)`); text != want {
						t.Errorf("%s:\n%s\nby upload:\n%s", c.What, text, want)
					}
				}
				again()
			}
			b.Choose(path("package.zip"), path("unknown.pdf"), path("bad-0.zip"), path("revoked.zip"))
			want := []string{"invalid bad-0.zip", "revoked revoked.zip/original.pdf", "not_found unknown.pdf",
				"genuine package.zip/original.pdf"}
			if got := b.rows(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q, want %q", got, want)
			}
			again()
			b.Choose(path("trust.json"), path("large.zip"))
			if got := b.Verdict(); got != "genuine" {
				t.Errorf("large: %s: %s", got, b.Text("#result"))
			}
		})
	}
}

// TestOfflinePackage: a package and trust roots are all that verify.html needs.
func TestOfflinePackage(t *testing.T) {
	to := newTown(t, roomy())
	genuine := to.bundles[string(docGenuine)]
	bad := packages.Bad(genuine, docGenuine)[0]
	path := offlinePlace(t, map[string][]byte{"trust.json": to.trust, "package.zip": packageOf(genuine, docGenuine),
		"bad.zip": bad.Data, "alone.zip": packages.Of(packages.File{Name: "bundle.json", Data: genuine})})
	b := openOffline(t, desktop, path("verify.html"))
	b.Choose(path("trust.json"))
	b.Wait(`document.querySelector('#needs .n-now')`)
	for _, c := range []struct{ name, verdict, says string }{
		{"package.zip", "genuine", "package.zip/original.pdf"}, {"bad.zip", "invalid", bad.Entry},
		{"alone.zip", "unverifiable", ""}, {"package.zip", "genuine", ""},
	} {
		b.Choose(path(c.name))
		if got, says := b.Verdict(), b.Text("#result"); got != c.verdict || !strings.Contains(says, c.says) {
			t.Errorf("%s: %s: %s", c.name, got, says)
		}
		b.Accessible("offline " + c.name)
		b.Shoot("offline " + c.name)
		b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
		b.Wait(`document.querySelector('#result').hidden`)
	}
}

// TestResavedCertificates: the page knows a certificate that another program saved anew in every
// form in which the command line knows it.
func TestResavedCertificates(t *testing.T) {
	to := newTown(t, roomy())
	issued := certificateOf(t, to.bundles[string(docGenuine)])
	const head = "%\xe2\xe3\xcf\xd3\n%stele/certificate/v1\n"
	path := files(t, map[string][]byte{
		"appended.pdf":  append(bytes.Clone(issued), "7 0 obj\n<<>>\nendobj\nstartxref\n0\n%%EOF\n"...),
		"rewritten.pdf": bytes.Replace(issued, []byte(head), []byte("%\xbf\xf7\xa2\xfe\n"), 1),
		"cut.pdf":       issued[:len(issued)-9],
		"genuine.pdf":   docGenuine, "genuine.json": to.bundles[string(docGenuine)], "unknown.pdf": docUnknown,
	})
	for _, l := range []look{desktop, desktop.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			b := open(t, browser(t), l)
			b.GoTo(to.URL + "/")
			for _, c := range []struct{ files, verdict string }{
				{"appended.pdf", "not_found"}, {"rewritten.pdf", "not_found"}, {"cut.pdf", "not_found"},
				{"rewritten.pdf|genuine.json", "altered"}, {"unknown.pdf", ""},
			} {
				t.Run(c.files, func(t *testing.T) {
					var chosen []string
					for n := range strings.SplitSeq(c.files, "|") {
						chosen = append(chosen, path(n))
					}
					b.Choose(chosen...)
					got, says := b.Verdict(), b.Text("#result")
					hinted := strings.Contains(says, b.textOf("hint.resaved"))
					if hinted != (c.verdict != "") || hinted && got != c.verdict {
						t.Errorf("%s: %s: %s", c.files, got, says)
					}
					b.Accessible(c.files)
					b.Run(chromedp.Click("#result .actions button", chromedp.ByQuery))
					b.Wait(`document.querySelector('#result').hidden`)
				})
			}
		})
	}
}
