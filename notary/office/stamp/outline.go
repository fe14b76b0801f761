package stamp

import (
	"bytes"
	"fmt"
	"math"

	"stele/notary/office/stamp/pdftext"
)

// Outline draws a page, from 1, as an SVG whose unit is the millimetre: its edge, where lines
// of text, fields and comments stand, and those of the placed marks that are on it. It is what marks are dragged
// over; what a page really looks like the stamped file shows. Nothing in it comes from the
// file but numbers. Marks carry their number in the plan as data-mark.
func (d *Document) Outline(page int, placed []Placed) ([]byte, error) {
	if page < 1 || page > len(d.pages) {
		return nil, &PlanError{Problem: BadPages, Page: page, Detail: fmt.Sprintf("the document has %d pages",
			len(d.pages))}
	}
	t, err := d.pageText(page - 1)
	if err != nil {
		return nil, err
	}
	info := d.info.Pages[page-1]
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="outline" viewBox="0 0 %s %s" width="%[1]smm" `+
		`height="%[2]smm">`, mm(info.Width), mm(info.Height))
	fmt.Fprintf(&b, `<rect class="outline-page" width="%s" height="%s" fill="#fff" stroke="#999" stroke-width="0.3"/>`,
		mm(info.Width), mm(info.Height))
	if path := d.linesPath(page-1, pdftext.Lines(t.glyphs)); path != "" {
		fmt.Fprintf(&b, `<path class="outline-text" fill="#ccc" d="%s"/>`, path)
	}
	above, err := d.annotations(page - 1)
	if err != nil {
		return nil, err
	}
	for _, a := range above[:min(len(above), maxOutlineLines)] {
		fmt.Fprintf(&b, `<rect class="outline-above" x="%s" y="%s" width="%s" height="%s" `+
			`fill="#9db4c8" fill-opacity="0.4" stroke="#5b7690" stroke-width="0.3"/>`,
			mm(a.X), mm(a.Y), mm(a.Width), mm(a.Height))
	}
	for _, p := range placed {
		if p.Page == page {
			p.draw(&b)
		}
	}
	b.WriteString("</svg>")
	return b.Bytes(), nil
}

func mm(v float64) string { return fmt.Sprintf("%g", math.Round(v*100)/100) }

// maxOutlineLines keeps the picture of a page small, whatever is on it.
const maxOutlineLines = 2000

// linesPath is the rectangles around lines; those that lie off the page are left out.
func (d *Document) linesPath(index int, lines []pdftext.Line) string {
	f := frameOf(d.pages[index])
	w, h := f.size()
	var b bytes.Buffer
	for _, l := range lines[:min(len(lines), maxOutlineLines)] {
		box, ok := l.Box()
		if !ok {
			continue
		}
		p := f.place(box)
		if x, y := max(p.X, 0), max(p.Y, 0); x < w && y < h && p.X+p.Width > 0 && p.Y+p.Height > 0 {
			fmt.Fprintf(&b, "M%s %sH%sV%sH%sZ", mm(x), mm(y), mm(min(p.X+p.Width, w)), mm(min(p.Y+p.Height, h)), mm(x))
		}
	}
	return b.String()
}

func (p Placed) draw(b *bytes.Buffer) {
	switch p.Kind {
	case Seal:
		fmt.Fprintf(b, `<circle class="outline-seal" data-mark="%d" cx="%s" cy="%s" r="%s" fill="#ae3724" `+
			`fill-opacity="0.15" stroke="#ae3724" stroke-width="0.8"/>`,
			p.Mark, mm(p.X+p.Width/2), mm(p.Y+p.Height/2), mm(p.Width/2))
	default:
		class, colour := "outline-straddle", "#ae3724"
		if p.Kind == QR {
			class, colour = "outline-qr", "#24211c"
		}
		fmt.Fprintf(b, `<rect class="%s" data-mark="%d" x="%s" y="%s" width="%s" height="%s" fill="%s" `+
			`fill-opacity="0.15" stroke="%[7]s" stroke-width="0.5"/>`,
			class, p.Mark, mm(p.X), mm(p.Y), mm(p.Width), mm(p.Height), colour)
	}
}
