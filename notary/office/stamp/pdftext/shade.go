package pdftext

import (
	"math"

	"stele/notary/office/stamp/pdf"
)

// unknown is the lightness of what is not understood: patterns, colours of spot inks, pictures in
// forms that are not read here.
var unknown = math.NaN()

// Shade says how light a page is at points, given in units of the page: 0 is black, 1 is white or
// nothing drawn at all, and not a number where it cannot be told. It follows areas that are filled
// and pictures; text, lines and gradual colours it leaves out. It is for a warning, not for a proof.
func (r *Reader) Shade(p pdf.Page, at [][2]float64) ([]float64, error) {
	content, err := r.file.Content(p)
	if err != nil {
		return nil, err
	}
	c := &canvas{at: at, light: make([]float64, len(at))}
	for i := range c.light {
		c.light[i] = 1
	}
	in := interpreter{Reader: r, state: state{ctm: identity, scale: 1}, canvas: c}
	in.run(content, p.Resources, 0)
	return c.light, r.file.Err()
}

// canvas is the points of a page that are looked at, and the path that is being made.
type canvas struct {
	at    [][2]float64
	light []float64
	path  [][2]float64 // in units of the page; each subpath ends where the next begins
	from  []int        // where subpaths begin
	clip  string       // the operator that makes the path a limit of what follows, until it is painted
}

// paint is the part of the graphics state that concerns areas.
type paint struct {
	fill       float64 // lightness of areas
	colours    int     // components of its colour space: 1, 3 or 4; 0: of another kind
	painted    bool    // the two above are set; else black, in grey
	seeThrough bool    // areas are drawn so thin, or through a mask, that what is below counts
	hidden     []bool  // points that are clipped away; nil: none
}

// area carries out an operator of paths, colours and painting (8.5, 8.6).
func (in *interpreter) area(op pdf.Keyword, operands []pdf.Object, resources pdf.Dict) {
	c := in.canvas
	switch op {
	case "m", "l", "c", "v", "y", "re", "h":
		in.construct(op, operands)
	case "f", "F", "f*", "B", "B*", "b", "b*":
		if !in.seeThrough {
			in.cover(op == "f*" || op == "B*" || op == "b*", in.lightness())
		}
		in.endPath()
	case "S", "s", "n":
		in.endPath()
	case "W", "W*":
		c.clip = string(op)
	case "sh":
		in.eachVisible(func(i int) { c.light[i] = unknown })
	case "g", "rg", "k", "sc", "scn", "cs":
		in.colour(op, operands, resources)
	}
}

func (in *interpreter) lightness() float64 {
	if !in.painted {
		return 0
	}
	return in.fill
}

func (in *interpreter) colour(op pdf.Keyword, operands []pdf.Object, resources pdf.Dict) {
	switch op {
	case "g", "rg", "k":
		in.colours = map[pdf.Keyword]int{"g": 1, "rg": 3, "k": 4}[op]
	case "cs":
		if len(operands) == 1 {
			in.colours, in.fill, in.painted = in.components(operands[0], resources), 0, true
			if in.colours == 0 {
				in.fill = unknown
			}
		}
		return
	default: // sc, scn: without a colour space of its own it is grey
		if !in.painted {
			in.colours = 1
		}
	}
	in.painted, in.fill = true, unknown
	if n := numbers(operands, in.colours); in.colours > 0 && n != nil {
		in.fill = lightness(n)
	}
}

// components is how many numbers a colour of a colour space has: 1, 3 or 4; 0 for spaces whose
// numbers say nothing of lightness by themselves.
func (in *interpreter) components(space pdf.Object, resources pdf.Dict) int {
	o := in.file.Resolve(space)
	if name, ok := o.(pdf.Name); ok {
		switch name {
		case "DeviceGray", "G", "CalGray":
			return 1
		case "DeviceRGB", "RGB", "CalRGB":
			return 3
		case "DeviceCMYK", "CMYK":
			return 4
		}
		if o = in.file.Resolve(in.file.Dict(resources["ColorSpace"])[name]); o == nil {
			return 0
		}
	}
	a, _ := o.(pdf.Array)
	if len(a) == 0 {
		return 0
	}
	switch in.file.Name(a[0]) {
	case "CalGray", "DeviceGray":
		return 1
	case "CalRGB", "DeviceRGB":
		return 3
	case "DeviceCMYK":
		return 4
	case "ICCBased":
		if len(a) > 1 {
			n, _ := in.file.Number(in.file.Dict(a[1])["N"])
			return map[float64]int{1: 1, 3: 3, 4: 4}[n]
		}
	}
	return 0
}

// lightness of a colour in grey, RGB or CMYK, each from 0 to 1 (10.3.2 to 10.3.4).
func lightness(n []float64) float64 {
	switch len(n) {
	case 1:
		return n[0]
	case 3:
		return 0.3*n[0] + 0.59*n[1] + 0.11*n[2]
	case 4:
		return 1 - min(1, 0.3*n[0]+0.59*n[1]+0.11*n[2]+n[3])
	}
	return unknown
}

// construct adds to the path, in units of the page.
func (in *interpreter) construct(op pdf.Keyword, operands []pdf.Object) {
	const most = 1 << 16 // points of a path; a finer one is no area of one colour
	c := in.canvas
	count := map[pdf.Keyword]int{"m": 2, "l": 2, "c": 6, "v": 4, "y": 4, "re": 4}[op]
	n := numbers(operands, count)
	if n == nil || len(c.path) > most {
		return
	}
	to := func(x, y float64) { x, y = in.ctm.apply(x, y); c.path = append(c.path, [2]float64{x, y}) }
	if op == "m" || op == "re" || len(c.from) == 0 {
		c.from = append(c.from, len(c.path))
	}
	switch op {
	case "m", "l":
		to(n[0], n[1])
	case "re":
		to(n[0], n[1])
		to(n[0]+n[2], n[1])
		to(n[0]+n[2], n[1]+n[3])
		to(n[0], n[1]+n[3])
	case "c", "v", "y":
		in.curve(op, n)
	}
}

// curve adds a Bézier curve as straight pieces.
func (in *interpreter) curve(op pdf.Keyword, n []float64) {
	c := in.canvas
	if len(c.path) == 0 {
		return
	}
	p := [4][2]float64{c.path[len(c.path)-1]}
	for i := range n[:len(n)/2] {
		x, y := in.ctm.apply(n[2*i], n[2*i+1])
		p[i+1] = [2]float64{x, y}
	}
	switch op {
	case "v": // the first control point is where the curve begins
		p = [4][2]float64{p[0], p[0], p[1], p[2]}
	case "y": // the second is where it ends
		p[3] = p[2]
	}
	const pieces = 8
	for i := 1; i <= pieces; i++ {
		t := float64(i) / pieces
		u := 1 - t
		var q [2]float64
		for k := range q {
			q[k] = u*u*u*p[0][k] + 3*u*u*t*p[1][k] + 3*u*t*t*p[2][k] + t*t*t*p[3][k]
		}
		c.path = append(c.path, q)
	}
}

// endPath forgets the path, after it has become a limit of what is drawn if that was asked for.
func (in *interpreter) endPath() {
	c := in.canvas
	if c.clip != "" {
		hidden := make([]bool, len(c.at))
		for i := range c.at {
			hidden[i] = in.hidden != nil && in.hidden[i] || !c.inside(c.at[i], c.clip == "W*")
		}
		in.file.Budget().Take(len(c.at) + len(c.at)*len(c.path)/edgesPerStep)
		in.hidden, c.clip = hidden, ""
	}
	c.path, c.from = c.path[:0], c.from[:0]
}

// cover gives the points inside of the path a lightness.
func (in *interpreter) cover(evenOdd bool, light float64) {
	c := in.canvas
	if !c.near() {
		return
	}
	in.file.Budget().Take(len(c.at) + len(c.at)*len(c.path)/edgesPerStep)
	in.eachVisible(func(i int) {
		if c.inside(c.at[i], evenOdd) {
			c.light[i] = light
		}
	})
}

// edgesPerStep is how many edges are compared with a point in one step of the budget.
const edgesPerStep = 16

func (in *interpreter) eachVisible(do func(i int)) {
	for i := range in.canvas.at {
		if in.hidden == nil || !in.hidden[i] {
			do(i)
		}
	}
}

// near reports whether the path's bounds hold any of the points: most do not.
func (c *canvas) near() bool {
	x0, y0, x1, y1 := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, p := range c.path {
		x0, y0, x1, y1 = min(x0, p[0]), min(y0, p[1]), max(x1, p[0]), max(y1, p[1])
	}
	for _, p := range c.at {
		if p[0] >= x0 && p[0] <= x1 && p[1] >= y0 && p[1] <= y1 {
			return true
		}
	}
	return false
}

// inside reports whether a point is in the path, by either rule (8.5.3.3).
func (c *canvas) inside(p [2]float64, evenOdd bool) bool {
	winding, crossings := 0, 0
	for s, from := range c.from {
		end := len(c.path)
		if s+1 < len(c.from) {
			end = c.from[s+1]
		}
		for i := from; i < end; i++ {
			a, b := c.path[i], c.path[from] // subpaths are closed when they are filled
			if i+1 < end {
				b = c.path[i+1]
			}
			if (a[1] <= p[1]) == (b[1] <= p[1]) {
				continue
			}
			if x := a[0] + (p[1]-a[1])/(b[1]-a[1])*(b[0]-a[0]); x <= p[0] {
				continue
			}
			crossings++
			if winding++; a[1] > b[1] {
				winding -= 2
			}
		}
	}
	if evenOdd {
		return crossings%2 == 1
	}
	return winding != 0
}

// transparency reads what an ExtGState dictionary says of areas (11.6.4.4, 11.6.5.2).
func (in *interpreter) transparency(gs pdf.Dict) {
	const faint = 0.6
	if ca, ok := in.file.Number(gs["ca"]); ok {
		in.seeThrough = ca < faint
	}
	if mask := in.file.Dict(gs["SMask"]); mask != nil {
		in.seeThrough = true
	}
}
