package stamp_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"golang.org/x/text/encoding/simplifiedchinese"

	"stele/notary/office/stamp"
)

// withFonts is a page of 210 by 297 mm with a content and fonts F1, F2, …, as many as there
// are, and the objects after them.
func withFonts(content string, fonts []string, more ...string) []byte {
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>", "", stream("", content)}
	resources := ""
	for i := range fonts {
		resources += fmt.Sprintf("/F%d %d 0 R", i+1, 5+i)
	}
	objects[2] = fmt.Sprintf("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 "+
		"R/Resources<</Font<<%s>>/XObject<</X %d 0 R>>>>>>", resources, 5+len(fonts))
	return file(append(append(objects, fonts...), more...)...)
}

func type0(encoding, rest string) string {
	return "<</Type/Font/Subtype/Type0/BaseFont/SimSun/Encoding/" + encoding +
		"/DescendantFonts[<</Type/Font/Subtype/CIDFontType0/DW 1000>>]" + rest + ">>"
}

func gbk(t testing.TB, s string) string {
	t.Helper()
	b, err := simplifiedchinese.GBK.NewEncoder().String(s)
	fatalIfErr(t, err)
	return fmt.Sprintf("<%x>", b)
}

// Text is found where it is drawn, in each of the ways in which programs write it.
func TestFind(t *testing.T) {
	const cmap = "begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange 1 beginbfrange <0001> <0003> " +
		"<76d6> endbfrange 2 beginbfchar <0010> <76d6> <0011> <7ae0> endbfchar 1 beginbfrange <0020> <0021> [<76d6> " +
		"<7ae0>] endbfrange endcmap"
	const mixed = "begincmap 2 begincodespacerange <00> <7f> <8000> <ffff> endcodespacerange 1 begincidrange <8000> " +
		"<80ff> 1 endcidrange endcmap"
	mapped := func(s string) string { return stream("", s) }
	identity := type0("Identity-H", "/ToUnicode 6 0 R")
	const helvetica = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
	for what, c := range map[string]struct {
		data    []byte
		keyword string
		x, y    float64 // points: the left end of the base line
		width   float64
	}{
		"one string": {withFonts("BT /F1 10 Tf 100 700 Td (Put the Seal here) Tj ET", []string{helvetica}), "seal",
			134.5, 700, 20.01},
		"own widths": {withFonts("BT /F1 10 Tf 100 700 Td (ab) Tj ET",
			[]string{"<</Type/Font/Subtype/TrueType/FirstChar 97/Widths[300 700]>>"}), "B", 103, 700, 7},
		"letter by letter": {withFonts("BT /F1 10 Tf 1 0 0 1 120 700 Tm (l) Tj 1 0 0 1 100 700 Tm (S) Tj 1 0 0 1 114 "+
			"700 Tm (a) Tj 1 0 0 1 108 700 Tm (e) Tj ET", []string{helvetica}),
			"Seal", 100, 700, 22.22},
		"kerned and spaced": {withFonts("BT /F1 10 Tf 2 Tc 1 0 0 1 100 700 Tm [(Se) -1000 (al)] TJ ET",
			[]string{helvetica}), "Seal", 100, 700, 36.01},
		"next lines": {
			withFonts("BT /F1 10 Tf 14 TL 100 700 Td (x) Tj T* (y) ' 1 0 (z) \" 5 -6 TD (Seal) Tj T* ET",
				[]string{helvetica}), "Seal", 105, 652, 20.01},
		"turned": {withFonts("q 0 1 -1 0 300 100 cm BT /F1 10 Tf 0 0 Td (Seal) Tj ET Q",
			[]string{helvetica}), "Seal", 300, 100, 20.01},
		"in a form": {withFonts("q 2 0 0 2 10 10 cm /X Do Q", []string{helvetica},
			stream("/Subtype/Form/Matrix[1 0 0 1 5 5]", "BT /F1 10 Tf 20 30 Td (Seal) Tj ET")), "Seal", 60, 80, 40.02},
		"named glyphs": {withFonts("BT /F1 10 Tf 100 700 Td (\001\002\003) Tj ET",
			[]string{"<</Type/Font/Subtype/Type1/FirstChar 1/Widths[500 500 " +
				"1000]/Encoding<</Differences[1/S/e.alt/uni7AE0]>>>>"}), "se章", 100, 700, 20},
		"Type 3": {withFonts("BT /F1 1 Tf 100 700 Td (A) Tj ET",
			[]string{"<</Type/Font/Subtype/Type3/FontMatrix[0.1 0 0 0.1 0 0]/FirstChar " +
				"65/Widths[50]/Encoding<</Differences[65/A]>>/CharProcs<<>>>>"}), "a", 100, 700, 5},
		"to Unicode, a range": {withFonts("BT /F1 10 Tf 100 700 Td <0001> Tj ET", []string{identity, mapped(cmap)}),
			"盖", 100, 700, 10},
		"to Unicode, chars": {withFonts("BT /F1 10 Tf 100 700 Td <00100011> Tj ET", []string{identity, mapped(cmap)}),
			"盖章", 100, 700, 20},
		"to Unicode, a list": {withFonts("BT /F1 10 Tf 100 700 Td <0020> Tj 3 0 Td <0021> Tj ET",
			[]string{identity, mapped(cmap)}), "盖 章", 100, 700, 13},
		"GBK": {withFonts("BT /F1 10 Tf 100 700 Td "+gbk(t, "1请盖章")+" Tj ET", []string{type0("GBK-EUC-H", "")}),
			"盖章", 115, 700, 20},
		"UCS-2": {withFonts("BT /F1 10 Tf 100 700 Td <8bf776d67ae0> Tj ET", []string{type0("UniGB-UCS2-H", "")}),
			"盖章", 110, 700, 20},
		"wide digits": {withFonts("BT /F1 10 Tf 100 700 Td <ff12ff10> Tj ET", []string{type0("UniGB-UTF16-H", "")}),
			"20", 100, 700, 20},
		"an encoding of its own": {withFonts("BT /F1 10 Tf 100 700 Td <418011> Tj ET",
			[]string{"<</Type/Font/Subtype/Type0/Encoding 7 0 R/ToUnicode 6 0 R/DescendantFonts[<</DW " +
				"400/W[18[600]]>>]>>",
				mapped("beginbfchar <41> <76d6> <8011> <7ae0> endbfchar"), stream("/CMapName/Own", mixed)}), "章", 104,
			700, 6},
		"drawn twice": {withFonts("BT /F1 10 Tf 100 700 Td (Seal) Tj 0.3 0 Td (Seal) Tj ET",
			[]string{helvetica}), "Seal", 100, 700, 20.01},
		"after a bad picture": {withFonts("BI /W 1 /H 1 ID \x01(EI x EI BT /F1 10 Tf 100 700 Td (Seal) Tj ET",
			[]string{helvetica}), "Seal", 100, 700, 20.01},
	} {
		t.Run(what, func(t *testing.T) {
			found, unreadable, err := open(t, c.data).Find(c.keyword)
			if err != nil || len(found) != 1 || len(unreadable) != 0 {
				t.Errorf("%s: %+v, %v, %v", what, found, unreadable, err)
				return
			}
			const point = 25.4 / 72
			p := found[0]
			x, y, w := p.X/point, 842-(p.Y+p.Height)/point, p.Width/point
			if what == "turned" { // it runs upwards, with the base line at the right
				x, y, w = (p.X+p.Width)/point, 842-(p.Y+p.Height)/point, p.Height/point
			}
			if size := max(c.width/2, 10); math.Abs(x-c.x) > 0.3*size || math.Abs(y-c.y) > 0.3*size ||
				math.Abs(w-c.width) > 0.2 {
				t.Errorf("%s: at %.1f, %.1f, %.2f wide; want %.1f, %.1f, %.2f", what, x, y, w, c.x, c.y, c.width)
			}
		})
	}
}

// Vertical writing is found from the top down; the second of several is the one further down,
// wherever it stands in the content.
func TestFindOrder(t *testing.T) {
	d := open(t, withFonts("BT /F1 10 Tf 1 0 0 1 300 700 Tm <76d67ae0> Tj ET", []string{type0("UniGB-UCS2-V", "")}))
	found, _, err := d.Find("盖章")
	if err != nil || len(found) != 1 || math.Abs(found[0].Height-20*25.4/72) > 0.1 ||
		math.Abs(found[0].X+found[0].Width/2-300*25.4/72) > 0.1 || math.Abs(found[0].Y-142*25.4/72) > 0.1 {
		t.Errorf("%+v %v", found, err)
	}
	d = open(t, pagesOf("BT /F 10 Tf 1 0 0 1 50 100 Tm (Seal) Tj 1 0 0 1 50 700 Tm (Seal) Tj 1 0 0 1 400 700.5 Tm "+
		"(Seal) Tj ET", ""))
	found, _, err = d.Find("seal")
	if err != nil || len(found) != 3 || found[0].Y > found[2].Y || found[0].X > found[1].X {
		t.Errorf("%+v %v", found, err)
	}
}

// Text whose encoding nobody knows is not taken for other text, and a page of it says so.
func TestUnreadableText(t *testing.T) {
	d := open(t, withFonts("BT /F1 10 Tf 100 700 Td <00010002> Tj ET", []string{type0("Identity-H", "")}))
	found, unreadable, err := d.Find("x")
	if err != nil || len(found) != 0 || len(unreadable) != 1 {
		t.Errorf("%v %v %v", found, unreadable, err)
	}
	_, err = d.Place(
		stamp.Plan{Marks: []stamp.Mark{{Kind: stamp.Seal, Pages: "all", Anchor: stamp.Anchor{Keyword: "x"}}}}, "")
	var bad *stamp.PlanError
	if !errors.As(err, &bad) || bad.Problem != stamp.KeywordUnsure || bad.Page != 1 {
		t.Errorf("%v", err)
	}
	for _, keyword := range []string{"", string(make([]rune, stamp.MaxKeyword+1))} {
		if _, _, err := d.Find(keyword); err == nil {
			t.Errorf("%q was looked for", keyword)
		}
	}
}
