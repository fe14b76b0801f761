package stamp

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"stele/notary/office/stamp/pdf"
)

// drawing is operators of a content stream.
type drawing struct{ bytes []byte }

// op writes an operator behind its operands, numbers with four digits behind the point: a
// ten-thousandth of a point cannot be seen.
func (d *drawing) op(name string, operands ...float64) {
	for _, v := range operands {
		d.bytes = strconv.AppendFloat(d.bytes, math.Round(v*1e4)/1e4, 'f', -1, 64)
		d.bytes = append(d.bytes, ' ')
	}
	d.bytes = append(append(d.bytes, name...), '\n')
}

// named writes an operator with a name before it.
func (d *drawing) named(name pdf.Name, op string) {
	d.bytes = append(pdf.Append(d.bytes, name), ' ')
	d.op(op)
}

// text shows a text with its beginning at a point.
func (d *drawing) text(font pdf.Name, size, x, y float64, codes pdf.String) {
	d.op("BT")
	d.bytes = append(pdf.Append(d.bytes, font), ' ')
	d.op("Tf", size)
	d.op("Td", x, y)
	d.bytes = append(pdf.Append(d.bytes, codes), " Tj\n"...)
	d.op("ET")
}

// Apply carries out a plan and returns the stamped file. The same document, plan and content
// give the same bytes: there is no clock in it. The document itself is the beginning of what
// is returned. A file that must not be stamped, a plan that cannot be carried out, and missing
// content give the errors of this package.
func (d *Document) Apply(plan Plan, c Content) (stamped []byte, placed []Placed, err error) {
	defer guard(&err)
	if d.info.Signed {
		return nil, nil, ErrSigned
	}
	if placed, err = d.Place(plan, c.URL); err != nil {
		return nil, nil, err
	}
	w := writer{u: d.file.NewUpdate(), file: d.file, forms: map[form]pdf.Ref{}}
	if err := w.addForms(placed, c); err != nil {
		return nil, nil, err
	}
	byPage := map[int][]Placed{}
	for _, p := range placed {
		byPage[p.Page] = append(byPage[p.Page], p)
	}
	for _, n := range slices.Sorted(maps.Keys(byPage)) {
		open, err := d.openStates(n - 1)
		if err != nil {
			return nil, nil, err
		}
		w.page(d.pages[n-1], open, byPage[n])
		if err := w.u.Err(); err != nil {
			return nil, nil, err
		}
	}
	if stamped, err = w.u.Bytes(); err != nil {
		return nil, nil, err
	}
	return stamped, placed, d.verify(stamped)
}

// verify reads what was written before anybody else does.
func (d *Document) verify(stamped []byte) error {
	again, err := pdf.Open(stamped)
	if err != nil {
		return fmt.Errorf("the stamped file cannot be read: %w", err)
	}
	pages, err := again.Pages()
	if err != nil {
		return fmt.Errorf("the stamped file cannot be read: %w", err)
	}
	if len(pages) != len(d.pages) || !bytes.HasPrefix(stamped, d.data) {
		return errors.New("the stamped file is not the document with marks")
	}
	for i, p := range pages {
		if p.Ref != d.pages[i].Ref || p.Box != d.pages[i].Box || p.Rotate != d.pages[i].Rotate {
			return fmt.Errorf("page %d of the stamped file is not the document's", i+1)
		}
	}
	return nil
}

// writer adds what was placed to a file.
type writer struct {
	u     *pdf.Update
	file  *pdf.File
	forms map[form]pdf.Ref
	open  pdf.Ref // the stream that saves the graphics state before a page's own content
}

// page adds marks to a page. Its own content goes between saving the graphics state and
// getting it back, as often as it left one open, so that marks stand where they should
// whatever the content did.
func (w *writer) page(p pdf.Page, open int, marks []Placed) {
	if w.open == (pdf.Ref{}) {
		w.open = w.u.AddStream(pdf.Dict{}, []byte("q\n"))
	}
	resources := pdf.Dict{}
	maps.Copy(resources, p.Resources)
	objects := pdf.Dict{}
	maps.Copy(objects, w.file.Dict(resources["XObject"]))
	resources["XObject"] = objects

	var b drawing
	for range open + 1 {
		b.op("Q")
	}
	b.op("/Artifact BMC") // for readers that read aloud: it is no part of the text (14.8.2.2)
	for _, m := range marks {
		name := freeName(objects)
		objects[name] = w.forms[formOf(m)]
		w.mark(&b, frameOf(p), m, name)
	}
	b.op("EMC")

	contents := pdf.Array{w.open}
	if a := w.file.Array(p.Dict["Contents"]); a != nil {
		contents = append(contents, a...)
	} else if p.Dict["Contents"] != nil {
		contents = append(contents, p.Dict["Contents"])
	}
	changed := pdf.Dict{}
	maps.Copy(changed, p.Dict)
	changed["Contents"] = append(contents, w.u.AddStream(pdf.Dict{}, b.bytes))
	changed["Resources"] = resources
	w.u.Replace(p.Ref, changed)
}

// freeName is one that a page's own content does not use.
func freeName(objects pdf.Dict) pdf.Name {
	for i := 1; ; i++ {
		name := pdf.Name("Stele" + strconv.Itoa(i))
		if _, taken := objects[name]; !taken {
			return name
		}
	}
}

// mark draws a form; of a straddle seal the strip that belongs to this page.
func (w *writer) mark(b *drawing, f frame, m Placed, name pdf.Name) {
	x, width := m.X, m.Width
	if m.Strips > 0 {
		x, width = m.X-float64(m.Strip-1)*m.Width, m.Width*float64(m.Strips)
	}
	to := f.matrix(x, m.Y, width, m.Height)
	b.op("q")
	b.op("cm", to[:]...)
	if m.Strips > 0 {
		b.op("re", float64(m.Strip-1)/float64(m.Strips), 0, 1/float64(m.Strips), 1)
		b.op("W")
		b.op("n")
	}
	b.named(name, "Do")
	b.op("Q")
}
