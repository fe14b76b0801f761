package console_test

import (
	"strings"
	"testing"
	"time"

	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/office/stamp"
	"stele/server/http/webtest"
)

// fox is Firefox at the console.
type fox struct {
	*webtest.Fox
	o *office
}

func (f fox) signIn(login string) {
	f.T.Helper()
	f.GoTo(f.o.URL + "/console")
	f.Fill("[name=login]", login)
	f.Fill("[name=password]", password)
	f.Click(".gate button")
	f.Wait(`!document.querySelector('.gate') && document.querySelector('.numbers, #live')`)
}

// good looks at a page, and keeps a picture of it where pictures are asked for.
func (f fox) good(name string) {
	f.T.Helper()
	f.Fits(name)
	f.Shoot("console-" + name)
}

// The way of a document in Firefox: handed in, described, stamped by mouse, registered, and on its
// record's page.
func TestFirefox(t *testing.T) {
	o := openOffice(t, false)
	picture, err := certificate.DemonstrationSeal(o.agency.Name)
	fatalIfErr(t, err)
	_, err = o.in.DB.Office.AddSeal(t.Context(), notary.Seal{ID: stamp.NewSealID(), AgencyID: o.agency.ID, Name: "公章",
		Owner: "办公室", PNG: picture, Demonstration: true, From: time.Now().Add(-time.Minute)}, true)
	fatalIfErr(t, err)
	dir := t.TempDir()
	f := fox{webtest.Firefox(t, webtest.Desktop), o}
	f.signIn("clerk")
	f.good("overview")
	f.GoTo(o.URL + "/console/upload")
	f.Keys("#file", o.write(dir, "捐赠收据.pdf", []byte(samplePDF(t)))+"\n"+o.write(dir, "附件.txt", noise(3<<20)))
	f.Wait(`document.querySelectorAll('#files [data-state="done"]').length === 2`)
	f.good("upload")

	f.GoTo(o.URL + "/console/papers")
	f.good("papers")
	f.Click(`main tbody a[href*="/console/papers/"]`)
	f.Wait(`document.querySelector('[name=title]')`)
	var at string
	for _, p := range o.papers() {
		if p.FileName == "捐赠收据.pdf" {
			at = o.URL + "/console/papers/" + p.ID
		}
	}
	f.GoTo(at)
	f.Fill("[name=title]", "江城慈善总会收据")
	f.Click("button[value=save]")
	f.Wait(`document.querySelector('.said, .notice, [name=title]').isConnected && ` +
		`document.querySelector('[name=title]').value === '江城慈善总会收据'`)
	f.good("paper")
	f.GoTo(at + "/marks")
	f.Wait(`document.querySelectorAll('svg.outline [data-mark]').length === 2`)
	f.Drag("svg.outline circle[data-mark]", -120, -80)
	f.Wait(`document.querySelector("[name='m1.anchor']").value === 'at' && ` +
		`Number(document.querySelector("[name='m1.x']").value) > 0`)
	f.good("marks")
	f.Click("button[value=stamp]")
	f.Wait(`document.querySelector('a[href$="?original"]')`)
	f.good("paper-stamped")
	f.Click("button[value=submit]")
	f.Wait(`location.pathname.startsWith('/console/records/') || document.querySelector('.p-waiting, .p-approved, ` +
		`.p-filed')`)
	f.good("paper-submitted")
	f.GoTo(o.URL + "/console/records")
	f.Wait(`document.querySelector('main').innerText.includes('江城慈善总会收据')`)
	f.Click("main tbody a")
	f.Wait(`document.querySelector('#share')`)
	if text := f.Text("main"); !strings.Contains(text, "江城慈善总会收据") {
		t.Errorf("the record's page says:\n%s", text)
	}
	f.good("record")
}
