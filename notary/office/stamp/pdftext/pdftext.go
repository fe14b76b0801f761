// Package pdftext finds out where the text of a page stands, by carrying out what its content
// says of positions and fonts, and nothing else. Section numbers are those of ISO 32000-1:2008.
//
// It knows the fonts and encodings that programs write today: simple fonts, composite ones
// with a table to Unicode, and the encodings for Chinese that are known by name. Text in
// another encoding, or drawn as a picture, cannot be read; then it says so.
package pdftext

import (
	"fmt"
	"math"

	"stele/notary/office/stamp/pdf"
)

// Limits of one page's text, beside the file's [pdf.Budget]. Real pages have some thousand characters.
const (
	maxGlyphs = 100_000
	maxForms  = 12 // drawings inside of drawings
	maxStates = 512
)

// Glyph is a character on a page, in units of the page. The advance leads to where the next
// one begins; up leads from the base line to the top of a line of this size.
type Glyph struct {
	Text     string
	X, Y     float64 // where it begins on the base line
	AX, AY   float64 // advance
	UX, UY   float64 // up
	Vertical bool    // the advance leads down, the position is the middle of the upper edge
}

// Page is what the content of a page says.
type Page struct {
	Glyphs  []Glyph
	Unknown int // characters in an encoding that is not known, or of a symbol font
}

// Reader reads the pages of one file. It is not safe for concurrent use.
type Reader struct {
	file   *pdf.File
	fonts  map[pdf.Ref]*font
	glyphs []Glyph // room for those of a page, used again for the next
}

// Unreadable reports whether what can be read of a page is not its text: more than a tenth
// of the characters are not known. A few are on many pages, as bullets and ticks.
func (p Page) Unreadable() bool { return p.Unknown*10 > p.Unknown+len(p.Glyphs) }

// NewReader returns a reader of a file's text.
func NewReader(f *pdf.File) *Reader {
	return &Reader{file: f, fonts: map[pdf.Ref]*font{}}
}

// Open counts the graphics states that a page's content opens and does not close. It reads
// operators and nothing else: a tenth of the work of [Reader.Read].
func (r *Reader) Open(p pdf.Page) (int, error) {
	content, err := r.file.Content(p)
	if err != nil {
		return 0, err
	}
	open := 0
	for l := pdf.NewLexer(content, r.file.Budget()); ; {
		o, more := l.Next()
		if !more {
			return open, r.file.Err()
		}
		switch o {
		case pdf.Keyword("ID"):
			l.SkipInlineImage()
		case pdf.Keyword("q"):
			open = min(open+1, maxStates)
		case pdf.Keyword("Q"):
			open = max(open-1, 0)
		}
	}
}

// Read carries out a page's content. A file that holds too much gives an error, and what
// cannot be understood is passed over. The page is good until the next is read.
func (r *Reader) Read(p pdf.Page) (Page, error) {
	content, err := r.file.Content(p)
	if err != nil {
		return Page{}, err
	}
	in := interpreter{Reader: r, state: state{ctm: identity, scale: 1}, page: Page{Glyphs: r.glyphs[:0]}}
	in.run(content, p.Resources, 0)
	r.glyphs = in.page.Glyphs
	if err := r.file.Err(); err != nil {
		return in.page, err
	}
	if in.shown > maxGlyphs {
		return in.page, fmt.Errorf("%w: a page has more than %d characters", pdf.ErrTooLarge, maxGlyphs)
	}
	return in.page, nil
}

// matrix is [a b c d e f] as in 8.3.4.
type matrix [6]float64

var identity = matrix{1, 0, 0, 1, 0, 0}

// mul is m followed by n.
func (m matrix) mul(n matrix) matrix {
	return matrix{m[0]*n[0] + m[1]*n[2], m[0]*n[1] + m[1]*n[3], m[2]*n[0] + m[3]*n[2], m[2]*n[1] + m[3]*n[3],
		m[4]*n[0] + m[5]*n[2] + n[4], m[4]*n[1] + m[5]*n[3] + n[5]}
}

func (m matrix) apply(x, y float64) (float64, float64) {
	return m[0]*x + m[2]*y + m[4], m[1]*x + m[3]*y + m[5]
}

// state is the part of the graphics state that concerns text (8.4.1, 9.3).
type state struct {
	ctm                       matrix
	font                      *font
	size, scale, rise         float64
	charSpace, wordSpace, led float64
	paint
}

type interpreter struct {
	*Reader
	state
	stack      []state
	text, line matrix
	page       Page
	canvas     *canvas // nil: areas do not matter
	shown      int     // characters
}

func (in *interpreter) run(content []byte, resources pdf.Dict, depth int) {
	l := pdf.NewLexer(content, in.file.Budget())
	const most = 64 // operands that are kept: no operator here has more than six
	var operands []pdf.Object
	for in.shown <= maxGlyphs {
		o, ok := l.Next()
		if !ok {
			return
		}
		op, isOp := o.(pdf.Keyword)
		if !isOp {
			if len(operands) < most {
				operands = append(operands, o)
			}
			continue
		}
		if op == "ID" {
			l.SkipInlineImage()
		}
		in.operator(op, operands, resources, depth)
		operands = operands[:0]
	}
}

// numbers are the operands, all numbers and exactly n of them; else nil.
func numbers(operands []pdf.Object, n int) []float64 {
	if len(operands) != n {
		return nil
	}
	out := make([]float64, n)
	for i, o := range operands {
		switch v := o.(type) {
		case int64:
			out[i] = float64(v)
		case float64:
			out[i] = v
		default:
			return nil
		}
	}
	return out
}

func (in *interpreter) operator(op pdf.Keyword, operands []pdf.Object, resources pdf.Dict, depth int) {
	switch op {
	case "q":
		if len(in.stack) < maxStates {
			in.stack = append(in.stack, in.state)
		}
	case "Q":
		if n := len(in.stack); n > 0 {
			in.state, in.stack = in.stack[n-1], in.stack[:n-1]
		}
	case "cm":
		if n := numbers(operands, 6); n != nil {
			in.ctm = matrix(n).mul(in.ctm)
		}
	case "BT":
		in.text, in.line = identity, identity
	case "Do":
		in.form(operands, resources, depth)
	case "gs":
		if len(operands) == 1 {
			name, _ := operands[0].(pdf.Name)
			in.graphicsState(in.file.Dict(in.file.Dict(resources["ExtGState"])[name]))
		}
	default:
		if in.canvas != nil {
			in.area(op, operands, resources)
			return
		}
		in.textState(op, operands, resources)
		in.position(op, operands)
		in.showing(op, operands)
	}
}

// graphicsState takes what matters here of an ExtGState dictionary (8.4.5).
func (in *interpreter) graphicsState(gs pdf.Dict) {
	if in.canvas != nil {
		in.transparency(gs)
		return
	}
	if a := in.file.Array(gs["Font"]); len(a) == 2 {
		in.font = in.loadFont(a[0])
		in.size, _ = in.file.Number(a[1])
	}
}

func (in *interpreter) textState(op pdf.Keyword, operands []pdf.Object, resources pdf.Dict) {
	if op == "Tf" && len(operands) == 2 {
		name, _ := operands[0].(pdf.Name)
		if n := numbers(operands[1:], 1); n != nil {
			in.font, in.size = in.loadFont(in.file.Dict(resources["Font"])[name]), n[0]
		}
		return
	}
	n := numbers(operands, 1)
	if n == nil {
		return
	}
	switch op {
	case "Tc":
		in.charSpace = n[0]
	case "Tw":
		in.wordSpace = n[0]
	case "Tz":
		in.scale = n[0] / 100
	case "TL":
		in.led = n[0]
	case "Ts":
		in.rise = n[0]
	}
}

func (in *interpreter) position(op pdf.Keyword, operands []pdf.Object) {
	switch op {
	case "Td", "TD":
		if n := numbers(operands, 2); n != nil {
			if op == "TD" {
				in.led = -n[1]
			}
			in.move(n[0], n[1])
		}
	case "Tm":
		if n := numbers(operands, 6); n != nil {
			in.text, in.line = matrix(n), matrix(n)
		}
	case "T*":
		in.move(0, -in.led)
	}
}

func (in *interpreter) move(x, y float64) {
	in.line = matrix{1, 0, 0, 1, x, y}.mul(in.line)
	in.text = in.line
}

func (in *interpreter) showing(op pdf.Keyword, operands []pdf.Object) {
	if len(operands) == 0 {
		return
	}
	last := operands[len(operands)-1]
	switch op {
	case `"`:
		if n := numbers(operands[:len(operands)-1], 2); n != nil {
			in.wordSpace, in.charSpace = n[0], n[1]
		}
		fallthrough
	case "'":
		in.move(0, -in.led)
		fallthrough
	case "Tj":
		if s, ok := last.(pdf.String); ok {
			in.show(string(s))
		}
	case "TJ":
		a, _ := last.(pdf.Array)
		for _, o := range a {
			if s, ok := o.(pdf.String); ok {
				in.show(string(s))
			} else if n := numbers([]pdf.Object{o}, 1); n != nil {
				in.advance(-n[0] / 1000 * in.size)
			}
		}
	}
}

// advance moves along the line by a distance in units of text space.
func (in *interpreter) advance(by float64) {
	x, y := by*in.scale, 0.0
	if in.font != nil && in.font.vertical {
		x, y = 0, by
	}
	in.text[4] += x*in.text[0] + y*in.text[2]
	in.text[5] += x*in.text[1] + y*in.text[3]
}

func (in *interpreter) show(s string) {
	for in.font != nil && len(s) > 0 && in.shown <= maxGlyphs {
		var c char
		c, s = in.font.next(s)
		width := c.advance * in.size
		in.put(c, width)
		if width += in.charSpace; c.space {
			width += in.wordSpace
		}
		in.advance(width)
	}
}

func (in *interpreter) put(c char, width float64) {
	const long = 8 // bytes: most texts of one code are one character
	n := 1 + len(c.text)/long
	in.shown += n
	in.file.Budget().Take(n)
	if c.text == "" || c.text == "\x00" || c.text == "\ufffd" {
		in.page.Unknown++
		return
	}
	to := in.text.mul(in.ctm)
	ax, ay := width*in.scale, 0.0
	if in.font.vertical {
		ax, ay = 0, width
	}
	g := Glyph{Text: c.text, Vertical: in.font.vertical}
	g.X, g.Y = to.apply(0, in.rise)
	g.AX, g.AY = ax*to[0]+ay*to[2], ax*to[1]+ay*to[3]
	g.UX, g.UY = in.size*to[2], in.size*to[3]
	const far = 1e6 // outside of any page; a number that is none is not below it either
	near := func(x, y float64) bool { return math.Abs(x)+math.Abs(y) < far }
	if !near(g.X, g.Y) || !near(g.AX, g.AY) || !near(g.UX, g.UY) {
		return
	}
	in.page.Glyphs = append(in.page.Glyphs, g)
}

// form draws a form (8.10): a content stream of its own, with its own resources.
func (in *interpreter) form(operands []pdf.Object, resources pdf.Dict, depth int) {
	if len(operands) != 1 || depth >= maxForms {
		return
	}
	name, _ := operands[0].(pdf.Name)
	s, ok := in.file.Resolve(in.file.Dict(resources["XObject"])[name]).(*pdf.Stream)
	if ok && in.canvas != nil && in.file.Name(s.Dict["Subtype"]) == "Image" {
		in.picture(s, resources)
		return
	}
	if !ok || in.file.Name(s.Dict["Subtype"]) != "Form" {
		return
	}
	content, err := in.file.Unpack(s)
	if err != nil {
		return
	}
	if own := in.file.Dict(s.Dict["Resources"]); own != nil {
		resources = own
	}
	saved, stack, text, line := in.state, in.stack, in.text, in.line
	in.stack = nil
	if m := in.file.Numbers(s.Dict["Matrix"], 6); m != nil {
		in.ctm = matrix(m).mul(in.ctm)
	}
	in.run(content, resources, depth+1)
	in.state, in.stack, in.text, in.line = saved, stack, text, line
}

func (r *Reader) loadFont(o pdf.Object) *font {
	ref, ok := o.(pdf.Ref)
	if !ok {
		if r.file.Dict(o) == nil {
			return nil
		}
		return loadFont(r.file, o)
	}
	f, ok := r.fonts[ref]
	if !ok {
		f = loadFont(r.file, o)
		r.fonts[ref] = f
	}
	return f
}
