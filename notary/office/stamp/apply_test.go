package stamp_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/pdfcpu/pdfcpu/pkg/api"

	"stele/notary/office/stamp"
)

// redness is the share of pixels in a rectangle, in millimetres, that have a seal's colour.
func redness(img image.Image, x, y, w, h float64) float64 {
	return share(img, x, y, w, h, func(r, g, b uint32) bool { return r > 0x8000 && r > g+0x4000 && r > b+0x4000 })
}

func darkness(img image.Image, x, y, w, h float64) float64 {
	return share(img, x, y, w, h, func(r, g, b uint32) bool { return max(r, g, b) < 0x6000 })
}

func share(img image.Image, x, y, w, h float64, is func(r, g, b uint32) bool) float64 {
	n, all := 0, 0
	for py := pixels(y); py < pixels(y+h); py++ {
		for px := pixels(x); px < pixels(x+w); px++ {
			r, g, b, _ := img.At(px, py).RGBA()
			if all++; is(r, g, b) {
				n++
			}
		}
	}
	return float64(n) / float64(max(all, 1))
}

func pixels(mm float64) int { return int(mm / 25.4 * dpi) }

// readQR reads the code that is shown at a place.
func readQR(img image.Image, p stamp.Place) (string, error) {
	cut := img.(interface {
		SubImage(image.Rectangle) image.Image
	}).SubImage(image.Rect(pixels(p.X), pixels(p.Y), pixels(p.X+p.Width), pixels(p.Y+p.Width)))
	bitmap, err := gozxing.NewBinaryBitmapFromImage(cut)
	if err != nil {
		return "", err
	}
	r, err := qrcode.NewQRCodeReader().Decode(bitmap,
		map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		return "", err
	}
	return r.GetText(), nil
}

// Whatever box, turn and unit a page has, marks stand upright where the plan says, in the
// size that it says, as another program shows the page; and the code can be read off it.
func TestMarksStandWhereTheyShould(t *testing.T) {
	const plan = `{"marks":[{"kind":"seal","pages":"all","anchor":{"at":{"x":12,"y":20}},"size":30},{"kind":"qr","pages":"all","anchor":{"corner":"bottom-right","x":8,"y":6}}]}`
	var attributes []string
	for _, box := range []string{"", "/MediaBox[-100 50 495 650]/CropBox[-50 100 400 600]",
		"/UserUnit 2/MediaBox[0 0 300 200]"} {
		for _, turn := range []int{0, 90, 180, 270} {
			attributes = append(attributes, fmt.Sprintf("%s/Rotate %d", box, turn))
		}
	}
	// The content leaves the graphics state in disorder.
	data := pagesOf("q 0.5 0 0 0.5 40 40 cm q 0 0 1 rg BT /F 20 Tf 100 700 Td (Left open) Tj ET", attributes...)
	out, placed := apply(t, data, plan, content(t))
	if !bytes.HasPrefix(out, data) {
		t.Error("the original is not the beginning of the stamped file")
	}
	fatalIfErr(t, api.Validate(bytes.NewReader(out), nil))
	for i, info := range open(t, data).Info().Pages {
		page, unit := attributes[i], 1
		if strings.Contains(page, "UserUnit") {
			unit = 2 // poppler shows a unit as a point
		}
		img := picture(t, "turned", out, i+1, dpi*unit)
		if w := float64(img.Bounds().Dx()) / dpi * 25.4; w < info.Width-0.5 || w > info.Width+0.5 {
			t.Errorf("%s: it is %.1f mm wide, said to be %.1f", page, w, info.Width)
		}
		for side, r := range map[string][4]float64{"left": {12, 33, 2, 4}, "right": {40, 33, 2, 4},
			"top": {25, 20, 4, 2}, "bottom": {25, 48, 4, 2}} {
			t.Run(side, func(t *testing.T) {
				if got := redness(img, r[0], r[1], r[2], r[3]); got < 0.3 {
					t.Errorf("%s: the %s of the seal's ring is not there: %.2f", page, side, got)
				}
			})
		}
		// The word above the middle of the demonstration seal, and nothing between it and the label.
		if word, blank := redness(img, 21, 27, 12, 5), redness(img, 21, 35, 12, 6); word < 0.1 || blank > 0.02 {
			t.Errorf("%s: the seal is not upright: %.2f above, %.2f below", page, word, blank)
		}
		if beside := redness(img, 43, 20, 10, 30); beside > 0 {
			t.Errorf("%s: red beside the seal", page)
		}
		if got, err := readQR(img, placed[len(attributes)+i].Place); err != nil || got != link {
			t.Errorf("%s: the code says %q, %v", page, got, err)
		}
	}
	text := string(poppler(t, out, "pdftotext"))
	if strings.Count(text, number) != len(attributes) || strings.Count(text, "演示印章") != len(attributes) {
		t.Errorf("the number, or the word for a demonstration, cannot be copied: %.300q", text)
	}
}

// A letter gets its seal by a keyword, a code, and a seal across its edges, whether its
// objects are plain or packed; text below the seal can still be read.
func TestLetter(t *testing.T) {
	const plan = `{"marks":[{"kind":"seal","pages":"last","anchor":{"keyword":"登记机关 (公章)","nth":-1}},{"kind":"qr","pages":"first","anchor":{"corner":"top-right","x":10,"y":10}},
		{"kind":"straddle","pages":"all","height":160}]}`
	const pages = 4
	data := letter(t, pages)
	c := content(t)
	for name, in := range map[string][]byte{"plain": data, "packed": packed(t, data)} {
		t.Run(name, func(t *testing.T) {
			out, placed := apply(t, in, plan, c)
			fatalIfErr(t, api.Validate(bytes.NewReader(out), nil))
			if again, _ := apply(t, in, plan, c); !bytes.Equal(out, again) {
				t.Errorf("%s: the same input gave other bytes", name)
			}
			seal := placed[0]
			var sheets []image.Image
			for n := range pages {
				sheets = append(sheets, picture(t, name, out, n+1, dpi))
			}
			img := sheets[pages-1]
			if red, dark := redness(img, seal.X, seal.Y, 42, 42), darkness(img, seal.X+12, seal.Y+18, 20,
				6); red < 0.05 ||
				dark < 0.1 || seal.Page != pages {
				t.Errorf("%s: on page %d at %.0f, %.0f: red %.2f, text below %.2f", name, seal.Page, seal.X, seal.Y,
					red,
					dark)
			}
			total := 0.0
			for n := range pages {
				img := sheets[n]
				const strip = 42.0 / pages
				total += redness(img, 210-strip, 139, strip, 42) * strip * 42
				if n == 0 {
					if got, err := readQR(img, placed[1].Place); err != nil || got != link {
						t.Errorf("%s: the code says %q, %v", name, got, err)
					}
				}
				// The ring is on the left of the first strip and on the right of the last.
				left, right := redness(img, 210-strip, 158, 1.5, 4), redness(img, 208.2, 158, 1.5, 4)
				if (left > 0.3) != (n == 0) || (right > 0.3) != (n == pages-1) {
					t.Errorf("%s: the strip on page %d is another one: %.2f at its left, %.2f at its right", name, n+1,
						left, right)
				}
				if beside := redness(img, 210-strip-3, 139, 2.5, 42); beside > 0 {
					t.Errorf("%s: a strip on page %d is too wide", name, n+1)
				}
			}
			if whole := redness(img, seal.X, seal.Y, 42, 42) * 42 * 42; total < whole*0.9 || total > whole*1.3 {
				t.Errorf("%s: strips have %.0f square millimetres of red together, a seal %.0f", name, total, whole)
			}
			if !strings.Contains(string(poppler(t, out, "pdftotext")), "4.18 本证书不证明文书所载内容属实") {
				t.Errorf("%s: the text cannot be copied any more", name)
			}
		})
	}
	// Stamped again, both stay: the second update lies behind the first.
	once, _ := apply(t, data, `{"marks":[{"kind":"qr","pages":"1","anchor":{"corner":"top-left"}}]}`, c)
	twice, _ := apply(t, once, `{"marks":[{"kind":"seal","pages":"1","anchor":{"corner":"bottom-left"}}]}`, c)
	if img := picture(t, "twice", twice, 1, dpi); redness(img, 0, 255, 42, 42) < 0.05 ||
		darkness(img, 2, 2, 21, 21) < 0.3 {
		t.Error("the second stamp replaced the first")
	}
	// A picture without transparency covers nothing either: white is no ink.
	opaque := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	draw.Draw(opaque, opaque.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(opaque, image.Rect(0, 0, 100, 10), image.NewUniform(color.NRGBA{200, 0, 0, 255}), image.Point{}, draw.Src)
	var scan bytes.Buffer
	fatalIfErr(t, png.Encode(&scan, opaque))
	covered, _ := apply(t, data, `{"marks":[{"kind":"seal","pages":"1","anchor":{"at":{"x":30,"y":50}}}]}`,
		stamp.Content{Seal: scan.Bytes()})
	before, after := picture(t, "bare", data, 1, dpi), picture(t, "opaque", covered, 1, dpi)
	if b, a := darkness(before, 30, 55, 42, 35), darkness(after, 30, 55, 42, 35); b < 0.05 || a < b*0.95 ||
		redness(after, 30, 50, 42, 4) < 0.5 {
		t.Errorf("%.3f of the text's ink is left of %.3f", a, b)
	}
}

// What must not be stamped is not.
func TestRefusedDocuments(t *testing.T) {
	c := content(t)
	plan := stamp.Plan{Marks: []stamp.Mark{{Kind: stamp.Seal, Pages: "1", Anchor: stamp.Anchor{Corner: stamp.TopLeft}}}}
	signed := open(t, file("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
		"<</Type/Sig/Filter/Adobe.PPKLite/ByteRange[0 100 200 300]/Contents<00>>>"))
	if _, _, err := signed.Apply(plan, c); !errors.Is(err, stamp.ErrSigned) || !signed.Info().Signed {
		t.Errorf("a signed file: %v", err)
	}
	d := open(t, pagesOf("", "", "/Annots[]"))
	if i := d.Info(); i.Signed || len(i.Pages) != 2 {
		t.Errorf("%+v", i)
	}
	if _, _, err := d.Apply(plan, stamp.Content{URL: link, Number: number}); !errors.Is(err, stamp.ErrNoSeal) {
		t.Errorf("without a seal: %v", err)
	}
	noted := pagesOf("", "/Annots[<</Type/Annot/Subtype/Square/Rect[10 10 50 50]/C[0 0 1]/AP<<>>>>]")
	if out, _, err := open(t, noted).Apply(plan, c); err != nil ||
		!bytes.Contains(out[len(noted):], []byte("/Subtype /Square")) {
		t.Errorf("a comment is gone: %v", err)
	}
	plan.Marks[0].Kind = stamp.QR
	for _, c := range []stamp.Content{{}, {URL: link}, {Number: number}, {URL: link, Number: strings.Repeat("1", 41)},
		{URL: strings.Repeat("x", 301), Number: number}} {
		if _, _, err := d.Apply(plan, c); !errors.Is(err, stamp.ErrNoQR) {
			t.Errorf("%.60v: %v", c, err)
		}
	}
}
