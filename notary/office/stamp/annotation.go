package stamp

import "stele/notary/office/stamp/pdftext"

// annotation is something that readers draw on top of a page: a form field, a comment, a stamp
// of another program (ISO 32000-1, 12.5). Marks belong to the page and would be below it.
type annotation struct {
	Place
	Field bool // of a form
}

// Flags of an annotation (12.5.3, table 165).
const (
	flagHidden = 1 << 1
	flagNoView = 1 << 5
)

// annotations are those of a page, by its index, that can cover what stands below them: links
// and windows of comments are not drawn on the page.
func (d *Document) annotations(index int) ([]annotation, error) {
	if a, ok := d.above[index]; ok {
		return a, nil
	}
	var out []annotation
	f := frameOf(d.pages[index])
	for _, o := range d.file.List(d.pages[index].Dict["Annots"]) {
		a := d.file.Once(o)
		subtype := d.file.Name(a["Subtype"])
		flags, _ := d.file.Number(a["F"])
		if a == nil || subtype == "Link" || subtype == "Popup" || int(flags)&(flagHidden|flagNoView) != 0 {
			continue
		}
		r, ok := d.file.Rect(a["Rect"]) // an invisible signature field has no area
		if !ok || !d.file.Budget().Hold(annotationWeight) {
			continue
		}
		p := f.place(pdftext.Box{X: r.X0, Y: r.Y0, AX: r.X1 - r.X0, UY: r.Y1 - r.Y0})
		p.Page = index + 1
		out = append(out, annotation{Place: p, Field: subtype == "Widget"})
	}
	d.above[index] = out
	return out, d.file.Err()
}

// annotationWeight is the bytes of one in memory.
const annotationWeight = 64
