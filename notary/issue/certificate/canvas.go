package certificate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/signintech/gopdf"
	"github.com/skip2/go-qrcode"
)

// A4 in points.
const (
	pageWidth  = 595.28
	pageHeight = 841.89
)

type colour struct{ r, g, b uint8 }

// The colours of the pages' design tokens, as they print. Vermilion is the seal's alone, and
// that of a certificate that no longer stands.
var (
	ink       = colour{0x24, 0x21, 0x1c}
	inkSoft   = colour{0x5b, 0x55, 0x4a}
	line      = colour{0xc9, 0xc1, 0xb0}
	vermilion = colour{0xae, 0x37, 0x24}
	teal      = colour{0x0f, 0x5d, 0x62}
)

// style is how text looks. Sizes are in points.
type style struct {
	weight  weight
	size    float64
	colour  colour
	spacing float64 // between characters, in points
}

// canvas draws on the current page. Positions are in points from the upper left corner; y
// of text is its baseline. The first error is kept and everything after it does nothing.
type canvas struct {
	pdf    *gopdf.GoPdf
	fonts  *fonts
	err    error
	widths map[weight]map[rune]float64 // of one em; negative: the font lacks it
	lacks  []rune                      // characters that were replaced, in order, once each
}

func newCanvas(f *fonts) (*canvas, error) {
	c := &canvas{pdf: &gopdf.GoPdf{}, fonts: f, widths: map[weight]map[rune]float64{regular: {}, bold: {}}}
	c.pdf.Start(gopdf.Config{PageSize: gopdf.Rect{W: pageWidth, H: pageHeight}})
	for _, w := range []weight{regular, bold} {
		if err := c.pdf.AddTTFFontFromFontContainer(string(w), &f.container); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *canvas) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// em is the width of a character at size 1. Each one is looked up once.
func (c *canvas) em(w weight, r rune) float64 {
	if v, ok := c.widths[w][r]; ok {
		return v
	}
	v := -1.0
	if a, ok := c.fonts.advance(w, r); ok {
		v = float64(a) / 1000
	}
	c.widths[w][r] = v
	return v
}

func (c *canvas) runeWidth(st style, r rune) float64 {
	v := c.em(st.weight, r)
	if v < 0 {
		v = c.em(st.weight, replacement)
	}
	return v*st.size + st.spacing
}

func (c *canvas) width(st style, s string) float64 {
	total := 0.0
	for _, r := range s {
		total += c.runeWidth(st, r)
	}
	return total
}

// drawable replaces what the font lacks and remembers it.
func (c *canvas) drawable(w weight, s string) string {
	return strings.Map(func(r rune) rune {
		if c.em(w, r) >= 0 {
			return r
		}
		if !strings.ContainsRune(string(c.lacks), r) {
			c.lacks = append(c.lacks, r)
		}
		return replacement
	}, s)
}

func (c *canvas) text(x, y float64, st style, s string) {
	if c.err != nil || s == "" {
		return
	}
	c.pdf.SetTextColor(st.colour.r, st.colour.g, st.colour.b)
	err := errors.Join(c.pdf.SetFont(string(st.weight), "", st.size), c.pdf.SetCharSpacing(st.spacing))
	c.pdf.SetXY(x, y)
	if err = errors.Join(err, c.pdf.Text(c.drawable(st.weight, s))); err != nil {
		c.fail(fmt.Errorf("text: %w", err))
	}
}

func (c *canvas) centred(x, y float64, st style, s string) {
	c.text(x-(c.width(st, s)-st.spacing)/2, y, st, s)
}

func (c *canvas) right(x, y float64, st style, s string) { c.text(x-c.width(st, s), y, st, s) }

// lines draws lines of text one below the other and returns the baseline after the last.
func (c *canvas) lines(x, y, leading float64, st style, lines []string) float64 {
	for _, l := range lines {
		c.text(x, y, st, l)
		y += leading
	}
	return y
}

func (c *canvas) rule(x1, y1, x2, y2, width float64, col colour) {
	c.pdf.SetStrokeColor(col.r, col.g, col.b)
	c.pdf.SetLineWidth(width)
	c.pdf.Line(x1, y1, x2, y2)
}

func (c *canvas) frame(x, y, w, h, width float64, col colour) {
	c.pdf.SetStrokeColor(col.r, col.g, col.b)
	c.pdf.SetLineWidth(width)
	c.pdf.RectFromUpperLeftWithStyle(x, y, w, h, "D")
}

func (c *canvas) fill(x, y, w, h float64, col colour) {
	c.pdf.SetFillColor(col.r, col.g, col.b)
	c.pdf.RectFromUpperLeftWithStyle(x, y, w, h, "F")
}

// qr draws a QR code as rectangles: sharp at any size, and smaller than a picture.
func (c *canvas) qr(x, y, size float64, text string) {
	q, err := qrcode.New(text, qrcode.Medium)
	if err != nil {
		c.fail(fmt.Errorf("QR code: %w", err))
		return
	}
	q.DisableBorder = true
	rows := q.Bitmap()
	unit := size / float64(len(rows))
	const overlap = 0.04 // points, so that no hair line shows between rows
	for i, row := range rows {
		for j := 0; j < len(row); j++ {
			from := j
			for j < len(row) && row[j] {
				j++
			}
			if j > from {
				c.fill(x+float64(from)*unit, y+float64(i)*unit, float64(j-from)*unit, unit+overlap, colour{0, 0, 0})
			}
		}
	}
}

// picture draws a PNG into a square, keeping its proportions.
func (c *canvas) picture(x, y, size float64, data []byte) {
	if c.err != nil {
		return
	}
	img, err := decodeSeal(data)
	if err != nil {
		c.fail(err)
		return
	}
	encoded := data
	// one that NormalizeSeal returned is; encoding it anew takes longer than the rest of a certificate
	if !isUniform(data) {
		if encoded, err = uniform(img); err != nil {
			c.fail(fmt.Errorf("seal: %w", err))
			return
		}
	}
	holder, err := gopdf.ImageHolderByBytes(encoded)
	if err != nil {
		c.fail(fmt.Errorf("seal: %w", err))
		return
	}
	b := img.Bounds()
	scale := size / float64(max(b.Dx(), b.Dy()))
	w, h := float64(b.Dx())*scale, float64(b.Dy())*scale
	if err := c.pdf.ImageByHolder(holder, x+(size-w)/2, y+(size-h)/2, &gopdf.Rect{W: w, H: h}); err != nil {
		c.fail(fmt.Errorf("seal: %w", err))
	}
}
