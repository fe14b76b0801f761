package certificate

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// Measures of a demonstration seal in pixels: 40 mm at 300 dpi, round as agencies' seals are.
const (
	demoSeal      = 472
	demoRing      = 0.97 // outer radius, in halves of the picture
	demoRingInner = 0.915
	demoArc       = 0.80 // where the middle of the name's characters runs
	demoSpan      = 270  // degrees that a name takes at most
	demoStep      = 27   // degrees from one character to the next at most
)

// DemonstrationSeal draws the seal of an agency of a demo instance: round and red, its name
// along the edge, and the word for demonstration where a real one has its star. It is no
// seal of anybody, and the certificate says so across it. The same name gives the same bytes.
func DemonstrationSeal(name string) ([]byte, error) {
	f, err := sfnt.Parse(regularTTF)
	if err != nil {
		return nil, fmt.Errorf("demonstration seal: %w", err)
	}
	chars := []rune(clean(name))
	if len(chars) == 0 {
		return nil, errors.New("demonstration seal: an agency has a name")
	}
	d := sealDrawing{font: f, z: vector.NewRasterizer(demoSeal, demoSeal)}
	d.circle(demoRing, false)
	d.circle(demoRingInner, true)
	step := min(demoStep, demoSpan/float64(max(len(chars)-1, 1)))
	const half = demoSeal / 2
	size := min(58, step*math.Pi/180*demoArc*half*0.98)
	for i, r := range chars {
		angle := (float64(i) - float64(len(chars)-1)/2) * step * math.Pi / 180
		d.glyph(r, size, half+half*(demoArc-0.02)*math.Sin(angle), half-half*(demoArc-0.02)*math.Cos(angle), angle)
	}
	for i, r := range []rune("演示") {
		d.glyph(r, 62, half+(float64(i)-0.5)*76, half*0.7, 0) // above the middle, where name and day are printed
	}
	if d.err != nil {
		return nil, fmt.Errorf("demonstration seal: %w", d.err)
	}
	img := image.NewNRGBA(image.Rect(0, 0, demoSeal, demoSeal))
	d.z.Draw(img, img.Bounds(), image.NewUniform(color.NRGBA{0xc2, 0x22, 0x1a, 0xd8}), image.Point{})
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("demonstration seal: %w", err)
	}
	return NormalizeSeal(out.Bytes())
}

// sealDrawing collects outlines; what they enclose is filled at the end.
type sealDrawing struct {
	font *sfnt.Font
	buf  sfnt.Buffer
	z    *vector.Rasterizer
	err  error
}

// circle adds one around the middle. The other way round it cuts a hole.
func (d *sealDrawing) circle(radius float64, hole bool) {
	const half, corners = demoSeal / 2, 360
	for i := range corners {
		a := 2 * math.Pi * float64(i) / corners
		if hole {
			a = -a
		}
		x, y := float32(half+half*radius*math.Cos(a)), float32(half+half*radius*math.Sin(a))
		if i == 0 {
			d.z.MoveTo(x, y)
		} else {
			d.z.LineTo(x, y)
		}
	}
	d.z.ClosePath()
}

// glyph adds a character whose middle is at a point, turned clockwise by an angle. What the
// font lacks is left out.
func (d *sealDrawing) glyph(r rune, size, x, y, angle float64) {
	index, err := d.font.GlyphIndex(&d.buf, r)
	if err != nil || index == 0 {
		return
	}
	ppem := fixed.Int26_6(size * 64)
	segments, err := d.font.LoadGlyph(&d.buf, index, ppem, nil)
	if err != nil {
		d.err = err
		return
	}
	box := segments.Bounds()
	cx, cy := float64(box.Min.X+box.Max.X)/128, float64(box.Min.Y+box.Max.Y)/128
	sin, cos := math.Sincos(angle)
	at := func(p fixed.Point26_6) (float32, float32) {
		px, py := float64(p.X)/64-cx, float64(p.Y)/64-cy
		return float32(x + px*cos - py*sin), float32(y + px*sin + py*cos)
	}
	for _, s := range segments {
		ax, ay := at(s.Args[0])
		bx, by := at(s.Args[1])
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			d.z.MoveTo(ax, ay)
		case sfnt.SegmentOpLineTo:
			d.z.LineTo(ax, ay)
		case sfnt.SegmentOpQuadTo:
			d.z.QuadTo(ax, ay, bx, by)
		case sfnt.SegmentOpCubeTo:
			ex, ey := at(s.Args[2])
			d.z.CubeTo(ax, ay, bx, by, ex, ey)
		}
	}
	d.z.ClosePath()
}
