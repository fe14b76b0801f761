package certificate

import "github.com/signintech/gopdf"

// stroke is a line through points on a square of 48 by 48; y grows downwards.
type stroke struct {
	points []float64 // x, y, x, y, …
	closed bool
	heavy  bool
	dashed bool
	filled bool // with the stroke's colour
	cut    bool // in white, on something filled
}

// sign is what stands beside a verdict. Each has a shape of its own, the same as on the
// page (part_icons.html), so that it can be told without its colour.
type sign struct {
	colour  colour
	strokes []stroke
}

func box(x, y, w, h float64) []float64 { return []float64{x, y, x + w, y, x + w, y + h, x, y + h} }

var signs = map[string]sign{
	"genuine": {vermilion, []stroke{{points: box(5, 5, 38, 38), closed: true, filled: true},
		{points: box(9.5, 9.5, 29, 29), closed: true, cut: true},
		{points: []float64{16, 24.5, 22, 30.5, 33, 18}, heavy: true, cut: true}}},
	"valid": {teal, []stroke{{points: box(6, 6, 36, 36), closed: true}, {points: []float64{16, 24.5, 22, 30.5, 33, 18},
		heavy: true}}},
	"pending": {teal, []stroke{{points: []float64{12, 6, 36, 6}}, {points: []float64{12, 42, 36, 42}},
		{points: []float64{15, 6, 15, 13, 24, 24, 15, 35, 15, 42}},
		{points: []float64{33, 6, 33, 13, 24, 24, 33, 35, 33, 42}}, {points: []float64{19.5, 38, 28.5, 38},
			heavy: true}}},
	"altered": {ink, []stroke{{points: []float64{22, 7, 6, 7, 6, 40, 19, 40, 22, 31, 17, 26, 23, 18}, closed: true},
		{points: []float64{28, 8, 42, 8, 42, 41, 26, 41, 29, 32, 24, 27, 30, 19}, closed: true}}},
	"revoked": {vermilion, []stroke{{points: box(8, 8, 32, 32), closed: true},
		{points: box(14, 14, 20, 20), closed: true},
		{points: []float64{4, 4, 44, 44}, heavy: true}, {points: []float64{44, 4, 4, 44}, heavy: true}}},
	"superseded": {ink, []stroke{{points: []float64{14, 30, 6, 30, 6, 6, 30, 6, 30, 14}, dashed: true},
		{points: box(16, 16, 26, 26), closed: true}, {points: box(21, 21, 16, 16), closed: true}}},
	"not_found": {inkSoft, []stroke{{points: box(7, 7, 34, 34), closed: true, dashed: true}}},
	"invalid": {vermilion, []stroke{{points: []float64{19, 17, 26, 10, 33, 9, 38, 14, 38, 20, 31, 28}},
		{points: []float64{29, 31, 22, 38, 15, 39, 10, 34, 10, 28, 17, 20}},
		{points: []float64{27, 20, 23.5, 23, 26.5, 25.5, 22.5, 29}, heavy: true}, {points: []float64{14, 9, 16, 13}},
		{points: []float64{8, 15, 12, 16.5}}, {points: []float64{34, 39, 32, 35}},
		{points: []float64{40, 33, 36, 31.5}}}},
	"unverifiable": {inkSoft,
		[]stroke{{points: []float64{14, 38, 8, 36, 5, 30, 7, 23, 12.5, 20, 15, 13, 22, 9, 30, 11, 35.7, 18, 41, 20,
			43.5, 27, 41, 35, 35, 38}, closed: true},
			{points: []float64{20, 23, 22, 20.5, 25.5, 20.5, 27.5, 23, 26, 27, 24, 29, 24, 31}, heavy: true},
			{points: []float64{24, 33.6, 24, 35}, heavy: true}}},

	"passed": {teal, []stroke{{points: []float64{10, 25, 19, 34, 38, 14}, heavy: true}}},
	"failed": {vermilion, []stroke{{points: []float64{12, 12, 36, 36}, heavy: true},
		{points: []float64{36, 12, 12, 36}, heavy: true}}},
	"skipped": {inkSoft, []stroke{{points: []float64{12, 24, 36, 24}, heavy: true}}},
	"not_checked": {inkSoft, []stroke{{points: []float64{17, 19, 20, 13, 27, 13, 31, 19, 27, 25, 24, 28, 24, 31},
		heavy: true}, {points: []float64{24, 36, 24, 39}, heavy: true}}},
}

// sign draws the sign of a verdict or of a step's status into a square, and nothing for a
// name that it does not know.
func (c *canvas) sign(name string, x, y, size float64) {
	s := signs[name]
	unit := size / 48
	for _, st := range s.strokes {
		col, width := s.colour, 2.6
		if st.heavy {
			width = 4.2
		}
		if st.cut {
			col = colour{255, 255, 255}
		}
		var points []gopdf.Point
		for i := 0; i+1 < len(st.points); i += 2 {
			points = append(points, gopdf.Point{X: x + st.points[i]*unit, Y: y + st.points[i+1]*unit})
		}
		if !st.closed { // back the way it came: the library joins the corners of closed figures only
			for i := len(points) - 2; i > 0; i-- {
				points = append(points, points[i])
			}
		}
		if st.dashed {
			c.pdf.SetCustomLineType([]float64{5.5 * unit, 3.5 * unit}, 0)
		}
		if st.filled {
			c.pdf.SetFillColor(col.r, col.g, col.b)
			c.pdf.Polygon(points, "F")
		} else {
			c.pdf.SetStrokeColor(col.r, col.g, col.b)
			c.pdf.SetLineWidth(width * unit)
			c.pdf.Polygon(points, "D")
		}
		if st.dashed {
			c.pdf.SetLineType("solid")
		}
	}
}
