package stamp

import (
	"stele/notary/office/stamp/pdf"
	"stele/notary/office/stamp/pdftext"
)

const pointsPerMM = 72 / 25.4

// frame converts between a page as it is shown (millimetres from the upper left corner,
// downwards) and the units of its content (upwards, perhaps turned).
type frame struct {
	box    pdf.Rect
	rotate int     // clockwise, when shown
	unit   float64 // units of the content in a millimetre
}

func frameOf(p pdf.Page) frame {
	return frame{box: p.Box, rotate: p.Rotate, unit: pointsPerMM / p.UserUnit}
}

// size is width and height as shown.
func (f frame) size() (w, h float64) {
	w, h = (f.box.X1-f.box.X0)/f.unit, (f.box.Y1-f.box.Y0)/f.unit
	if f.rotate == 90 || f.rotate == 270 {
		w, h = h, w
	}
	return w, h
}

// toContent converts a point as shown. A page that is turned clockwise by 90 degrees shows
// its content's lower left corner at the upper left.
func (f frame) toContent(x, y float64) (float64, float64) {
	x, y = x*f.unit, y*f.unit
	switch f.rotate {
	case 90:
		return f.box.X0 + y, f.box.Y0 + x
	case 180:
		return f.box.X1 - x, f.box.Y0 + y
	case 270:
		return f.box.X1 - y, f.box.Y1 - x
	}
	return f.box.X0 + x, f.box.Y1 - y
}

// toShown is the way back.
func (f frame) toShown(x, y float64) (float64, float64) {
	switch f.rotate {
	case 90:
		x, y = y-f.box.Y0, x-f.box.X0
	case 180:
		x, y = f.box.X1-x, y-f.box.Y0
	case 270:
		x, y = f.box.Y1-y, f.box.X1-x
	default:
		x, y = x-f.box.X0, f.box.Y1-y
	}
	return x / f.unit, y / f.unit
}

// matrix maps a drawing of 1 by 1, upwards from its lower left corner, to a rectangle as it
// is shown: the operands of the operator cm (ISO 32000-1, 8.3.4).
func (f frame) matrix(x, y, w, h float64) [6]float64 {
	ox, oy := f.toContent(x, y+h)
	rx, ry := f.toContent(x+w, y+h)
	ux, uy := f.toContent(x, y)
	return [6]float64{rx - ox, ry - oy, ux - ox, uy - oy, ox, oy}
}

// place is the upright rectangle around a box of the content, as shown.
func (f frame) place(b pdftext.Box) Place {
	var x0, y0, x1, y1 float64
	for i, c := range [4][2]float64{{b.X, b.Y}, {b.X + b.AX, b.Y + b.AY}, {b.X + b.UX, b.Y + b.UY},
		{b.X + b.AX + b.UX, b.Y + b.AY + b.UY}} {
		x, y := f.toShown(c[0], c[1])
		if i == 0 {
			x0, y0, x1, y1 = x, y, x, y
		}
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	return Place{X: x0, Y: y0, Width: x1 - x0, Height: y1 - y0}
}

// overlap reports whether two rectangles on a page have more in common than an edge.
func (p Place) overlap(q Place) bool {
	const touch = 0.01 // millimetres that rounding may cost
	return p.Page == q.Page && p.X+p.Width > q.X+touch && q.X+q.Width > p.X+touch && p.Y+p.Height > q.Y+touch &&
		q.Y+q.Height > p.Y+touch
}

// within reports whether a rectangle lies on a page of a size.
func (p Place) within(w, h float64) bool {
	const over = 0.01
	return p.X >= -over && p.Y >= -over && p.X+p.Width <= w+over && p.Y+p.Height <= h+over
}
