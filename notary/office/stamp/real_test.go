package stamp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"reflect"
	"strings"
	"testing"

	"stele/notary/office/stamp"
)

const sealTopLeft = `{"marks":[{"kind":"seal","pages":"1","anchor":{"corner":"top-left","x":10,"y":10}}]}`

// Mail programs and gateways put bytes before the header of a PDF. Offsets count from the header
// (ISO 32000-2, 7.5.2), or from the first byte where the program that added them knew of it.
func TestBytesBeforeTheHeader(t *testing.T) {
	plain := pagesOf("BT /F 20 Tf 100 500 Td (Notice) Tj ET", "")
	counted := bytes.ReplaceAll(plain, []byte("%PDF-1.7\n"), []byte("JUNK JUNK\n%PDF-1.7\n"))
	shift := len(counted) - len(plain)
	// The offsets of a file whose first bytes are counted are larger by their number.
	at := bytes.LastIndex(counted, []byte("xref\n0"))
	head, tail := counted[:at], string(counted[at:])
	var moved strings.Builder
	for _, line := range strings.SplitAfter(tail, "\n") {
		var offset int
		if _, err := fmt.Sscanf(line, "%010d 00000 n", &offset); err == nil {
			line = fmt.Sprintf("%010d 00000 n \n", offset+shift)
		}
		moved.WriteString(line)
	}
	counted = append(bytes.Clone(head), strings.Replace(moved.String(), fmt.Sprintf("startxref\n%d", at-shift),
		fmt.Sprintf("startxref\n%d", at), 1)...)
	for what, data := range map[string][]byte{
		"a byte order mark":      append([]byte("\xef\xbb\xbf"), plain...),
		"a comment of 657 bytes": append([]byte("%"+strings.Repeat("x", 655)+"\n"), plain...),
		"nearly the last place":  append(bytes.Repeat([]byte(" "), 1000), plain...),
		"bytes that are counted": counted,
		"tables in streams":      append([]byte("\r\n\r\n"), packed(t, plain)...),
	} {
		t.Run(what, func(t *testing.T) {
			out, placed := apply(t, data, sealTopLeft, content(t))
			if !bytes.HasPrefix(out, data) {
				t.Errorf("%s: the original is not the beginning of the stamped file", what)
			}
			if text := poppler(t, out, "pdftotext"); !bytes.Contains(text, []byte("Notice")) {
				t.Errorf("%s: the text is gone: %q", what, text)
			}
			img, p := picture(t, "header", out, 1, dpi), placed[0]
			if redness(img, p.X, p.Y, p.Width, p.Height) < 0.05 {
				t.Errorf("%s: there is no seal", what)
			}
		})
	}
	if _, err := stamp.Open(append(bytes.Repeat([]byte(" "), 1020), plain...)); !errors.Is(err, stamp.ErrNotPDF) {
		t.Errorf("a header after 1024 bytes: %v", err)
	}
}

// Readers draw fields and comments on top of a page: a mark there would be hidden.
func TestMarksBelowAnnotations(t *testing.T) {
	// In points from the lower left corner; the seal of the plan is 10 mm from the upper left one.
	const there, elsewhere = "/Rect[100 700 200 780]", "/Rect[300 100 400 200]"
	for what, c := range map[string]struct {
		annotation string
		want       stamp.Problem
	}{
		"a text field":            {"/Subtype/Widget/FT/Tx" + there, stamp.BelowField},
		"corners the other way":   {"/Subtype/Widget/FT/Tx/Rect[200 780 100 700]", stamp.BelowField},
		"a comment":               {"/Subtype/FreeText" + there, stamp.BelowComment},
		"another program's stamp": {"/Subtype/Stamp" + there, stamp.BelowComment},
		"elsewhere":               {"/Subtype/Widget/FT/Tx" + elsewhere, ""},
		"a link":                  {"/Subtype/Link" + there, ""},
		"a comment's window":      {"/Subtype/Popup" + there, ""},
		"hidden":                  {"/Subtype/FreeText/F 2" + there, ""},
		"never shown":             {"/Subtype/FreeText/F 32" + there, ""},
		"printed":                 {"/Subtype/FreeText/F 4" + there, stamp.BelowComment},
		"of no size":              {"/Subtype/Widget/FT/Sig/Rect[100 700 100 700]", ""},
		"without a place":         {"/Subtype/FreeText/Rect[0 (a)]", ""},
	} {
		t.Run(what, func(t *testing.T) {
			v, err := stamp.Look(pagesOf("", "/Annots[<</Type/Annot"+c.annotation+">>]"), glance(t, sealTopLeft))
			fatalIfErr(t, err)
			var plan *stamp.PlanError
			if errors.As(v.Problem, &plan); c.want == "" && v.Problem != nil || c.want != "" &&
				(plan == nil || plan.Problem != c.want || plan.Page != 1) {
				t.Errorf("%s: %v", what, v.Problem)
			}
			if !bytes.Contains(v.Outline, []byte("outline-seal")) {
				t.Errorf("%s: the seal cannot be moved", what)
			}
			if shown := bytes.Contains(v.Outline, []byte("outline-above")); shown != (c.want != "" ||
				what == "elsewhere") {
				t.Errorf("%s: in the outline: %v", what, shown)
			}
		})
	}
	// On a page that is turned the field is where it is shown.
	turned := pagesOf("", "/Rotate 90/Annots[<</Type/Annot/Subtype/Widget/Rect[30 30 120 120]>>]")
	v, err := stamp.Look(turned, glance(t, sealTopLeft))
	fatalIfErr(t, err)
	if v.Problem == nil {
		t.Error("on a turned page the field was not seen")
	}
}

func glance(t testing.TB, plan string) stamp.Glance {
	t.Helper()
	p, err := stamp.ParsePlan([]byte(plan))
	fatalIfErr(t, err)
	return stamp.Glance{Plan: p, URL: link}
}

// The pages of a dynamic XFA form are made by the program that shows it: what is in the file says
// "please wait". A static one has its pages and fields in the file.
func TestDynamicForms(t *testing.T) {
	form := func(more string) []byte {
		return file("<</Type/Catalog/Pages 2 0 R"+more+">>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
			"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
			"<</T(a)/FT/Tx>>", stream("", "<xdp/>"))
	}
	for more, dynamic := range map[string]bool{
		"/AcroForm<</XFA 5 0 R/Fields[]>>":                          true,
		"/AcroForm<</XFA[(template) 5 0 R]>>":                       true,
		"/NeedsRendering true/AcroForm<</XFA 5 0 R/Fields[4 0 R]>>": true,
		"/AcroForm<</XFA 5 0 R/Fields[4 0 R]>>":                     false,
		"/AcroForm<</Fields[]>>":                                    false,
		"/NeedsRendering true":                                      false,
	} {
		t.Run(more, func(t *testing.T) {
			if _, err := stamp.Open(form(more)); errors.Is(err, stamp.ErrDynamicForm) != dynamic || !dynamic &&
				err != nil {
				t.Errorf("%s: %v", more, err)
			}
		})
	}
}

// A document of as many pages as may be, with as much text as real ones have, is stamped on all of
// them: tender files have hundreds of pages.
func TestManyPages(t *testing.T) {
	withoutRaceDetector(t)
	var text strings.Builder
	text.WriteString("BT /F 10 Tf 12 TL 50 780 Td ")
	for i := range 45 {
		fmt.Fprintf(&text, "(%d: the text of a tender file of many pages) Tj T* ", i)
	}
	const pages = 5000
	// A file whose pages do not share their text is larger: so is this one, by a picture that is not shown.
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "", stream("", text.String()+"ET"),
		"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
		stream("", strings.Repeat("\x00", 2<<20))}
	var kids strings.Builder
	for range pages {
		objects = append(objects, "<</Type/Page/Parent 2 0 R/Contents 3 0 R/Resources<</Font<</F 4 0 R>>>>>>")
		fmt.Fprintf(&kids, "%d 0 R ", len(objects))
	}
	objects[1] = fmt.Sprintf("<</Type/Pages/Count %d/Kids[%s]/MediaBox[0 0 595 842]>>", pages, kids.String())
	data := file(objects...)
	for _, plan := range []string{
		`{"marks":[{"kind":"straddle","pages":"all"}]}`,
		`{"marks":[{"kind":"seal","pages":"all","anchor":{"corner":"bottom-right","x":9,"y":9}},{"kind":"qr","pages":"all","anchor":{"corner":"bottom-left","x":9,"y":9}}]}`,
		`{"marks":[{"kind":"seal","pages":"all","anchor":{"keyword":"tender file","nth":-1,"y":30}}]}`,
	} {
		out, placed := apply(t, data, plan, content(t))
		if n := len(placed); n != pages && n != 2*pages && n != 1 || !bytes.HasPrefix(out, data) {
			t.Errorf("%s: %d marks", plan, n)
		}
	}
}

// A seal darkens the page as ink does: on a dark page it is not seen, and that is said.
func TestDarkPages(t *testing.T) {
	const across = "10 700 150 130 re f "
	black := func(size image.Rectangle, c color.Color) string {
		img := image.NewGray(size)
		draw.Draw(img, size, image.NewUniform(c), image.Point{}, draw.Src)
		var b bytes.Buffer
		fatalIfErr(t, jpeg.Encode(&b, img, nil))
		return b.String()
	}
	page := func(content, x string) []byte {
		return file("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
			"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</XObject<</X 5 0 "+
				"R>>/ExtGState<</G<</ca 0.2>>>>>>>>", stream("", content), x)
	}
	photo := func(c color.Color) string {
		return stream("/Type/XObject/Subtype/Image/Width 8/Height 8/ColorSpace/DeviceGray/BitsPerComponent "+
			"8/Filter/DCTDecode", black(image.Rect(0, 0, 8, 8), c))
	}
	bits := func(space, data string) string {
		return stream("/Type/XObject/Subtype/Image/Width 8/Height 1/BitsPerComponent 1/ColorSpace"+space, data)
	}
	const picture = "q 595 0 0 842 0 0 cm /X Do Q"
	for what, c := range map[string]struct {
		content, x string
		dark       bool
	}{
		"nothing":                   {"", "null", false},
		"an area in black":          {across, "null", true},
		"an area in dark blue":      {"0 0 0.5 rg " + across, "null", true},
		"an area in dark ink":       {"0.9 0.9 0.9 0.3 k " + across, "null", true},
		"an area in light grey":     {"0.9 g " + across, "null", false},
		"white on black":            {across + "1 g " + across, "null", false},
		"black elsewhere":           {"300 100 100 100 re f", "null", false},
		"a thin line of black":      {"10 750 150 5 re f", "null", false},
		"clipped away":              {"q 300 300 10 10 re W n " + across + "Q", "null", false},
		"see-through":               {"/G gs " + across, "null", false},
		"a path of curves":          {"10 700 m 10 1000 300 1000 300 700 c 300 500 10 500 10 700 c f", "null", true},
		"a hole, even and odd":      {"0 600 300 300 re 5 690 200 150 re f*", "null", false},
		"a turned area":             {"q 0 1 -1 0 595 0 cm 600 300 300 400 re f Q", "null", true},
		"a black photograph":        {picture, photo(color.Black), true},
		"a white photograph":        {picture, photo(color.White), false},
		"a black photograph beside": {"q 100 0 0 100 400 0 cm /X Do Q", photo(color.Black), false},
		"a black scan":              {picture, bits("/DeviceGray", "\x00"), true},
		"a white scan":              {picture, bits("/DeviceGray", "\xff"), false},
		"a palette":                 {picture, bits("[/Indexed/DeviceRGB 1<ffffff000000>]", "\xff"), true},
		"a drawing":                 {"/X Do", stream("/Type/XObject/Subtype/Form", across), true},
		"a scan that is not read": {picture, stream("/Type/XObject/Subtype/Image/Width 8/Height 8/BitsPerComponent "+
			"1/ColorSpace/DeviceGray/Filter/JBIG2Decode", "x"), false},
	} {
		t.Run(what, func(t *testing.T) {
			v, err := stamp.Look(page(c.content, c.x), glance(t, sealTopLeft))
			fatalIfErr(t, errors.Join(err, v.Problem))
			if v.Placed[0].OnDark != c.dark {
				t.Errorf("%s: dark %v", what, v.Placed[0].OnDark)
			}
		})
	}
}

// What a document or a plan is refused for stays the same in another process.
func TestRefusals(t *testing.T) {
	signed := file("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
		"<</Type/Sig/ByteRange[0 100 200 300]/Contents<00>>>")
	v, err := stamp.Look(signed, glance(t, sealTopLeft))
	if err != nil || !errors.Is(v.Problem, stamp.ErrSigned) {
		t.Errorf("the first look does not say that the file is signed: %v, %v", err, v.Problem)
	}
	for name, err := range map[string]error{"file_too_large": fmt.Errorf("%w: so", stamp.ErrTooLarge),
		"not_pdf": stamp.ErrNotPDF, "encrypted": stamp.ErrEncrypted,
		"signed": stamp.ErrSigned, "dynamic_form": stamp.ErrDynamicForm, "damaged": errors.Join(stamp.ErrDamaged),
		"no_qr": stamp.ErrNoQR, "no_seal": stamp.ErrNoSeal,
		"": &stamp.PlanError{Problem: stamp.Overlapping, Mark: 2, Page: 3, Detail: "there"}} {
		t.Run(name, func(t *testing.T) {
			text, jerr := json.Marshal(stamp.RefusalOf(err))
			fatalIfErr(t, jerr)
			var r *stamp.Refusal
			fatalIfErr(t, json.Unmarshal(text, &r))
			if r.Name != name || r.Err().Error() != err.Error() {
				t.Errorf("%q: %s", name, text)
			}
			var plan, again *stamp.PlanError
			if errors.As(err, &plan) && (!errors.As(r.Err(), &again) || !reflect.DeepEqual(plan, again)) {
				t.Errorf("%+v", again)
			}
			if name != "" && !errors.Is(err, errors.Unwrap(r.Err())) {
				t.Errorf("%q: %v", name, r.Err())
			}
		})
	}
	if stamp.RefusalOf(nil).Err() != nil {
		t.Error("no error became one")
	}
}
