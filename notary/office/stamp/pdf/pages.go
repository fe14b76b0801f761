package pdf

import (
	"fmt"
	"math"
)

// Page is a leaf of the page tree with what it inherits (7.7.3).
type Page struct {
	Ref       Ref
	Dict      Dict // as it stands in the file
	Resources Dict
	Box       Rect    // what is shown of it: the crop box within the media box
	Rotate    int     // clockwise, when shown: 0, 90, 180 or 270
	UserUnit  float64 // points that one unit stands for
}

// Rect is a rectangle in units of a page.
type Rect struct{ X0, Y0, X1, Y1 float64 }

// inherited are the attributes that a node hands down to its children.
type inherited struct{ resources, mediaBox, cropBox, rotate Object }

// Pages returns all pages in order. A tree that holds a node twice is damaged: it may have no
// end, and a page that stands in two places cannot be stamped in one.
func (f *File) Pages() ([]Page, error) {
	var out []Page
	seen := map[int]bool{}
	var walk func(o Object, from inherited, depth int) error
	walk = func(o Object, from inherited, depth int) error {
		ref, isRef := o.(Ref)
		node := f.Dict(o)
		switch {
		case f.Err() != nil:
			return f.Err()
		case !isRef || node == nil || depth > maxNesting:
			return fmt.Errorf("%w: its tree of pages cannot be read", ErrDamaged)
		case seen[ref.Number]:
			return fmt.Errorf("%w: its tree of pages goes in a circle", ErrDamaged)
		}
		seen[ref.Number] = true
		for key, to := range map[Name]*Object{"Resources": &from.resources, "MediaBox": &from.mediaBox,
			"CropBox": &from.cropBox, "Rotate": &from.rotate} {
			if v := node[key]; v != nil {
				*to = v
			}
		}
		if node["Kids"] == nil {
			p, err := f.page(ref, node, from)
			if err == nil && len(out) == MaxPages {
				err = fmt.Errorf("%w: it has more than %d pages", ErrTooLarge, MaxPages)
			}
			out = append(out, p)
			return err
		}
		for _, kid := range f.Array(node["Kids"]) {
			if err := walk(kid, from, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(f.Catalog()["Pages"], inherited{}, 0); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: it has no pages", ErrDamaged)
	}
	return out, nil
}

func (f *File) page(ref Ref, d Dict, from inherited) (Page, error) {
	p := Page{Ref: ref, Dict: d, Resources: f.Dict(from.resources), UserUnit: 1}
	media, ok := f.box(from.mediaBox)
	if !ok {
		media = Rect{0, 0, 612, 792} // without one readers take a letter page
	}
	p.Box = media
	if crop, ok := f.box(from.cropBox); ok {
		cut := Rect{max(crop.X0, media.X0), max(crop.Y0, media.Y0), min(crop.X1, media.X1), min(crop.Y1, media.Y1)}
		if cut.X1 > cut.X0 && cut.Y1 > cut.Y0 {
			p.Box = cut
		}
	}
	if n, ok := f.Number(from.rotate); ok && math.Mod(n, 90) == 0 && math.Abs(n) < 1e6 {
		p.Rotate = (int(n)%360 + 360) % 360
	}
	if u, ok := f.Number(d["UserUnit"]); ok && u > 0 {
		p.UserUnit = u
	}
	const largest = 14400 // points: annex C.2; a page of five metres
	w, h := (p.Box.X1-p.Box.X0)*p.UserUnit, (p.Box.Y1-p.Box.Y0)*p.UserUnit
	if !(w >= 1 && h >= 1 && w <= largest && h <= largest) {
		return p, fmt.Errorf("%w: a page is %g by %g points", ErrDamaged, w, h)
	}
	return p, nil
}

// Rect reads a rectangle (7.9.5), whichever corners it names; false where it is none, or has no area.
func (f *File) Rect(o Object) (Rect, bool) {
	n := f.Numbers(o, 4)
	if n == nil {
		return Rect{}, false
	}
	r := Rect{min(n[0], n[2]), min(n[1], n[3]), max(n[0], n[2]), max(n[1], n[3])}
	return r, r.X1 > r.X0 && r.Y1 > r.Y0
}

// box reads a rectangle that a page can be.
func (f *File) box(o Object) (Rect, bool) {
	r, ok := f.Rect(o)
	return r, ok && r.X1 < 1e7 && r.X0 > -1e7 && r.Y1 < 1e7 && r.Y0 > -1e7
}

// Content returns the streams of a page's content, unpacked, with a line feed between them:
// an operator may end where a stream does, but no word goes on in the next (7.8.2).
func (f *File) Content(p Page) ([]byte, error) {
	streams := Array{p.Dict["Contents"]}
	if a := f.List(p.Dict["Contents"]); a != nil {
		streams = a
	}
	var out []byte
	for _, o := range streams {
		s, ok := f.Resolve(o).(*Stream)
		if !ok {
			continue
		}
		data, err := f.Unpack(s)
		if err != nil {
			return nil, err
		}
		out = append(append(out, data...), '\n')
	}
	return out, nil
}
