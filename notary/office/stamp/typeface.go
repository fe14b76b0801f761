package stamp

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"

	"stele/notary/issue/certificate"
	"stele/notary/office/stamp/pdf"
)

// typeface is a font of the few characters that marks show, drawn as outlines (a Type 3 font,
// ISO 32000-1, 9.6.5): nothing has to be there on the reader's side, as archives demand, and
// the text can still be found and copied.
type typeface struct {
	chars  []rune
	widths map[rune]float64 // thousandths
	ref    pdf.Ref
}

const fontName pdf.Name = "F" // in the resources of forms

// addTypeface adds a font of the characters of a text.
func addTypeface(u *pdf.Update, text string) (*typeface, error) {
	t := &typeface{widths: map[rune]float64{}}
	procs, differences, widths := pdf.Dict{}, pdf.Array{int64(1)}, pdf.Array{}
	var mapping strings.Builder
	for _, r := range text {
		if slices.Contains(t.chars, r) {
			continue
		}
		segments, advance, ok, err := certificate.Outline(r)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("the font has no %q", r)
		}
		t.chars, t.widths[r] = append(t.chars, r), advance
		name := pdf.Name(fmt.Sprintf("c%d", len(t.chars)))
		procs[name] = u.AddStream(pdf.Dict{}, charProc(advance, segments))
		differences, widths = append(differences, name), append(widths, advance)
		fmt.Fprintf(&mapping, "<%02x> <", len(t.chars))
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&mapping, "%04x", unit)
		}
		mapping.WriteString(">\n")
	}
	program := fmt.Sprintf("/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /Stele "+
		"def\n/CMapType 2 def\n1 begincodespacerange\n<00> <ff>\nendcodespacerange\n"+
		"%d beginbfchar\n%sendbfchar\nendcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n", len(t.chars),
		mapping.String())
	t.ref = u.Add(pdf.Dict{"Type": pdf.Name("Font"), "Subtype": pdf.Name("Type3"),
		"FontBBox": numbers(0, -300, 1000, 1000), "FontMatrix": numbers(0.001, 0, 0, 0.001, 0, 0),
		"CharProcs": procs, "Encoding": pdf.Dict{"Type": pdf.Name("Encoding"), "Differences": differences},
		"FirstChar": int64(1), "LastChar": int64(len(t.chars)),
		"Widths": widths, "Resources": pdf.Dict{}, "ToUnicode": u.AddStream(pdf.Dict{}, []byte(program))})
	return t, nil
}

// encode returns the codes of a text. The first character's is 1.
func (t *typeface) encode(s string) pdf.String {
	var out []byte
	for _, r := range s {
		out = append(out, byte(slices.Index(t.chars, r)+1))
	}
	return pdf.String(out)
}

// width is how long a text is at size 1.
func (t *typeface) width(s string) float64 {
	total := 0.0
	for _, r := range s {
		total += t.widths[r] / 1000
	}
	return total
}

// charProc draws one character, in whatever colour the text has.
func charProc(width float64, segments sfnt.Segments) []byte {
	box := segments.Bounds()
	var b drawing
	b.op("d1", width, 0, coordinate(box.Min.X), -coordinate(box.Max.Y), coordinate(box.Max.X), -coordinate(box.Min.Y))
	var x, y float64
	for _, s := range segments {
		var p [6]float64
		for i, a := range s.Args {
			p[2*i], p[2*i+1] = coordinate(a.X), -coordinate(a.Y)
		}
		switch s.Op {
		case sfnt.SegmentOpMoveTo:
			b.op("m", p[0], p[1])
			x, y = p[0], p[1]
		case sfnt.SegmentOpLineTo:
			b.op("l", p[0], p[1])
			x, y = p[0], p[1]
		case sfnt.SegmentOpQuadTo: // a cubic curve of the same shape
			b.op("c", x+(p[0]-x)*2/3, y+(p[1]-y)*2/3, p[2]+(p[0]-p[2])*2/3, p[3]+(p[1]-p[3])*2/3, p[2], p[3])
			x, y = p[2], p[3]
		case sfnt.SegmentOpCubeTo:
			b.op("c", p[:]...)
			x, y = p[4], p[5]
		}
	}
	b.op("f")
	return b.bytes
}

func coordinate(v fixed.Int26_6) float64 { return float64(v) / 64 }
