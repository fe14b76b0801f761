package console_test

import (
	"testing"
	"time"

	"stele/notary"
	"stele/notary/issue/certificate"
	"stele/notary/office/filing"
	"stele/notary/office/stamp"
	"stele/notary/office/stamp/stamptest"
	"stele/server/http/webtest"
	"stele/ui"
)

// onePage is a PDF of a page of A4.
func onePage(content, more string) string {
	return string(stamptest.File("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R"+more+">>", stamptest.Stream("", content)))
}

// What a clerk meets with files that are not as they should be: marks that a form field would hide,
// a dark page, a signature, a file that is not what its name says, one that is empty.
func TestOddFiles(t *testing.T) {
	o := openOffice(t, false)
	picture, err := certificate.DemonstrationSeal(o.agency.Name)
	fatalIfErr(t, err)
	_, err = o.in.DB.Office.AddSeal(t.Context(), notary.Seal{ID: stamp.NewSealID(), AgencyID: o.agency.ID, Name: "公章",
		Owner: "办公室", PNG: picture,
		Demonstration: true, From: time.Now().Add(-time.Minute)}, true)
	fatalIfErr(t, err)
	for _, l := range []webtest.Look{webtest.Desktop, webtest.Phone.In("en")} {
		t.Run(l.String(), func(t *testing.T) {
			o.t = t
			d := o.open(t, l)
			d.signIn("clerk")
			at := func(name, text string) filing.Paper { return o.paper(o.agency.ID, o.user("clerk"), name, text) }
			look := func(name, text, says string) {
				t.Helper()
				d.at("/console/papers/" + at(name, text).ID + "/marks")
				d.says(d.text(says))
				d.good("marks-" + says[len("console."):])
			}
			look("表单.pdf", onePage("", "/Annots[<</Type/Annot/Subtype/Widget/FT/Tx/Rect[420 100 500 180]>>]"),
				"console.stamp.below_field")
			look("深色.pdf", onePage("380 60 180 180 re f", ""), "console.marks.dark")
			look("已签.pdf", onePage("", "")+"\n% /ByteRange [0 1 2 3]", "console.stamp.signed")

			p := at("通知.pdf", "PK\x03\x04\x14\x00\x00\x00 a zip that is called a PDF")
			d.at("/console/papers/" + p.ID)
			d.Wait(`document.querySelector('#doubt') && document.querySelector('[name=sure]').required`)
			d.good("paper-doubt")
			d.Eval(`document.querySelector('[name=sure]').required = false, 0`, nil) // as a program would
			d.submit("button[value=submit]")
			d.Wait(`document.querySelector('[name=sure][aria-invalid=true]')`)
			d.says(d.text("console.wrong.sure"))
			d.Eval(`document.querySelector('[name=sure]').click(), 0`, nil)
			d.submit("button[value=submit]")
			d.Wait(`location.pathname.startsWith('/console/records/')`)

			d.at("/console/papers/" + at("空.pdf", "").ID)
			d.says(d.text("console.paper.doubt.empty"))
			d.submit("header form button")
		})
	}
}

// text is a text of the pages in the language of the tab.
func (d *desk) text(key string) string {
	d.T.Helper()
	catalogues, err := ui.LoadCatalogues()
	fatalIfErr(d.T, err)
	c, known := catalogues.ByTag(d.Look.Lang)
	if !known || !c.Has(key) {
		d.T.Fatalf("there is no text %s in %s", key, d.Look.Lang)
	}
	return c.Text(key)
}
