package stamp

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"

	"stele/notary/office/stamp/pdf"
)

// form is a drawing that pages share (ISO 32000-1, 8.10). Each fills a square of 1 by 1 and
// is stretched to its place.
type form struct {
	qr    bool
	width float64 // of a QR code: its caption keeps its height, so each size is a form of its own
}

func formOf(p Placed) form {
	if p.Kind == QR {
		return form{qr: true, width: p.Width}
	}
	return form{}
}

// What a seal bears across it that binds nobody: the first as on certificates.
const (
	demoText    = "演示印章 DEMO"
	previewText = "预览无效 PREVIEW"
)

// paleness is what remains of a seal's ink in a preview, in 256 parts: a strip of a straddle
// seal is too narrow for words.
const paleness = 90

func (c Content) label() string {
	switch {
	case c.Preview:
		return previewText
	case c.Demonstration:
		return demoText
	}
	return ""
}

// vermilion is the colour of seals, as the certificate prints it.
var vermilion = [3]float64{0xae / 255.0, 0x37 / 255.0, 0x24 / 255.0}

// addForms adds what the marks show, each form once.
func (w *writer) addForms(placed []Placed, c Content) error {
	var face *typeface
	for _, p := range placed {
		f := formOf(p)
		if _, ok := w.forms[f]; ok {
			continue
		}
		if !f.qr && len(c.Seal) == 0 {
			return ErrNoSeal
		}
		if n := len([]rune(c.Number)); f.qr && (n == 0 || n > maxNumber) {
			return ErrNoQR
		}
		if text := c.Number + c.label(); face == nil && text != "" {
			var err error
			if face, err = addTypeface(w.u, text); err != nil {
				return err
			}
		}
		var err error
		if f.qr {
			w.forms[f], err = w.qrForm(p, c, face)
		} else {
			w.forms[f], err = w.sealForm(c, face)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func numbers(v ...float64) pdf.Array {
	out := make(pdf.Array, len(v))
	for i := range v {
		out[i] = v[i]
	}
	return out
}

func (w *writer) addForm(width, height float64, resources pdf.Dict, b drawing) pdf.Ref {
	return w.u.AddStream(pdf.Dict{"Type": pdf.Name("XObject"), "Subtype": pdf.Name("Form"),
		"BBox":   numbers(0, 0, width, height),
		"Matrix": numbers(1/width, 0, 0, 1/height, 0, 0), "Resources": resources}, b.bytes)
}

// qrForm draws modules as rectangles on white, and the number below. Its units are
// millimetres.
func (w *writer) qrForm(p Placed, c Content, face *typeface) (pdf.Ref, error) {
	rows, err := code(c.URL)
	if err != nil {
		return pdf.Ref{}, err
	}
	var b drawing
	b.op("g", 1)
	b.op("re", 0, 0, p.Width, p.Height)
	b.op("f")
	b.op("g", 0)
	module := p.Width / float64(len(rows)+2*quiet)
	for i, row := range rows {
		for j := 0; j < len(row); j++ {
			from := j
			for j < len(row) && row[j] {
				j++
			}
			if j > from {
				// A little higher than a module, so that no hair line shows between rows.
				b.op("re", float64(from+quiet)*module, p.Height-float64(i+quiet+1)*module, float64(j-from)*module,
					module*1.02)
			}
		}
	}
	b.op("f")
	const largest = 3.2 // millimetres: nine points
	size := min(largest, p.Width*0.94/face.width(c.Number))
	b.text(fontName, size, (p.Width-size*face.width(c.Number))/2, 1.2, face.encode(c.Number))
	return w.addForm(p.Width, p.Height, pdf.Dict{"Font": pdf.Dict{fontName: face.ref}}, b), nil
}

// Where the words across a seal stand, in parts of its size.
const (
	labelX, labelY          = 0.2, 0.124
	labelWidth, labelHeight = 0.6, 0.115
	labelText               = 0.07
)

// sealForm draws the picture of the seal so that what lies below shines through, as ink does:
// the picture darkens the page and covers nothing (blend mode Multiply, 11.3.5.2).
func (w *writer) sealForm(c Content, face *typeface) (pdf.Ref, error) {
	img, err := png.Decode(bytes.NewReader(c.Seal))
	if err != nil {
		return pdf.Ref{}, fmt.Errorf("the seal's picture: %w", err)
	}
	bounds := img.Bounds()
	side := float64(max(bounds.Dx(), bounds.Dy()))
	wide, high := float64(bounds.Dx())/side, float64(bounds.Dy())/side
	picture := image.NewNRGBA(image.Rect(0, 0, bounds.Dx(), bounds.Dy()))
	draw.Draw(picture, picture.Bounds(), img, bounds.Min, draw.Src)
	if c.Preview {
		for i := 3; i < len(picture.Pix); i += 4 {
			picture.Pix[i] = byte(int(picture.Pix[i]) * paleness >> 8)
		}
	}
	label := c.label()
	if label != "" {
		toX := func(x float64) int { return int((x - (1-wide)/2) * side) }
		toY := func(y float64) int { return int((1 - (1-high)/2 - y) * side) }
		cut := image.Rect(toX(labelX), toY(labelY+labelHeight), toX(labelX+labelWidth), toY(labelY))
		draw.Draw(picture, cut, image.Transparent, image.Point{}, draw.Src)
	}

	var b drawing
	const multiply pdf.Name = "M"
	b.named(multiply, "gs")
	b.op("q")
	b.op("cm", wide, 0, 0, high, (1-wide)/2, (1-high)/2)
	b.named("I", "Do")
	b.op("Q")
	resources := pdf.Dict{"XObject": pdf.Dict{"I": w.addPicture(picture)},
		"ExtGState": pdf.Dict{multiply: pdf.Dict{"Type": pdf.Name("ExtGState"), "BM": pdf.Name("Multiply")}}}
	if label != "" {
		b.op("RG", vermilion[:]...)
		b.op("rg", vermilion[:]...)
		b.op("w", 0.005)
		b.op("re", labelX, labelY, labelWidth, labelHeight)
		b.op("S")
		size := min(labelText, labelWidth*0.94/face.width(label))
		b.text(fontName, size, 0.5-size*face.width(label)/2, labelY+(labelHeight-size*0.72)/2, face.encode(label))
		resources["Font"] = pdf.Dict{fontName: face.ref}
	}
	return w.addForm(1, 1, resources, b), nil
}

// addPicture writes colours and transparency apart, as PDF keeps them (8.9, 11.6.5.3).
func (w *writer) addPicture(img *image.NRGBA) pdf.Ref {
	b := img.Bounds()
	colours := make([]byte, 0, b.Dx()*b.Dy()*3)
	opacity := make([]byte, 0, b.Dx()*b.Dy())
	for y := range b.Dy() {
		for x := range b.Dx() {
			c := img.NRGBAAt(x, y)
			if c.A == 0 {
				c = color.NRGBA{R: 255, G: 255, B: 255} // what cannot be seen packs better when it is all alike
			}
			colours, opacity = append(colours, c.R, c.G, c.B), append(opacity, c.A)
		}
	}
	dict := func(space pdf.Name) pdf.Dict {
		return pdf.Dict{"Type": pdf.Name("XObject"), "Subtype": pdf.Name("Image"), "Width": int64(b.Dx()),
			"Height": int64(b.Dy()), "ColorSpace": space, "BitsPerComponent": int64(8)}
	}
	d := dict("DeviceRGB")
	d["SMask"] = w.u.AddStream(dict("DeviceGray"), opacity)
	return w.u.AddStream(d, colours)
}
