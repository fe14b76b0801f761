package stamp

import (
	"errors"
	"fmt"
	"math"

	"github.com/skip2/go-qrcode"
)

// Placed is a mark on a page, or a strip of one.
type Placed struct {
	Place
	Mark       int  `json:"mark"` // of the plan, from 1
	Kind       Kind `json:"kind"`
	Strip      int  `json:"strip,omitempty"`      // of a straddle seal: which one of Strips, from 1, left to right
	Strips     int  `json:"strips,omitempty"`     //
	CoversText bool `json:"coversText,omitempty"` // a QR code stands on text, which cannot be read any more
	OnDark     bool `json:"onDark,omitempty"`     // of a [View]: a seal stands on what is too dark for it to be seen
}

// Content is what marks show. It is the same for all marks of a plan.
type Content struct {
	Seal          []byte // PNG, as certificate.NormalizeSeal returns it; not needed by a plan without one
	Demonstration bool   // the seal was made without the key of a licensed authority: it is marked
	Preview       bool   // nothing is final: the seal is pale, and marked
	URL           string // behind the QR code
	Number        string // below it
}

const (
	maxURL    = 300 // bytes; longer ones make the code too fine to be read off paper
	maxNumber = 40  // characters below a QR code
	quiet     = 4   // modules around a QR code that stay white (ISO/IEC 18004, 5.3.8)
	caption   = 3.0 // millimetres below a QR code for its number
)

// Errors of what marks are to show.
var (
	ErrNoSeal = errors.New("the plan has a seal, and no picture of one was given")
	ErrNoQR   = errors.New("the plan has a QR code, and no address or number was given, or one that is too long")
)

// Place says where the marks of a plan come to stand in this document, in the order of the
// plan. A plan that cannot be carried out gives a [*PlanError]. url is what the QR code is
// to hold: how fine it becomes depends on that.
func (d *Document) Place(plan Plan, url string) ([]Placed, error) {
	if err := plan.Check(); err != nil {
		return nil, err
	}
	var out []Placed
	for i, m := range plan.Marks {
		pages, bad := m.Pages.list(len(d.pages))
		var placed []Placed
		var err error
		switch {
		case bad != nil:
			err = bad
		case m.Kind == Straddle:
			placed, err = d.straddle(m, pages)
		default:
			placed, err = d.marks(m, pages, url)
		}
		var p *PlanError
		if errors.As(err, &p) {
			p.Mark = i + 1
		}
		if err != nil {
			return nil, err
		}
		for j := range placed {
			placed[j].Mark, placed[j].Kind = i+1, m.Kind
		}
		out = append(out, placed...)
	}
	return out, d.compare(out)
}

// compare refuses marks that stand on each other, beside the page, or below what readers draw
// on top of it, and notes QR codes that stand on text.
func (d *Document) compare(all []Placed) error {
	byPage := map[int][]Placed{}
	for i, p := range all {
		info := d.info.Pages[p.Page-1]
		if !p.within(info.Width, info.Height) {
			return &PlanError{Problem: OutsidePage, Mark: p.Mark, Page: p.Page,
				Detail: fmt.Sprintf(
					"it would reach beyond the page of %.0f by %.0f mm: it is %.1f by %.1f mm from %.1f, %.1f",
					info.Width, info.Height, p.Width, p.Height, p.X, p.Y)}
		}
		for _, q := range byPage[p.Page] {
			if p.overlap(q.Place) {
				return &PlanError{Problem: Overlapping, Mark: p.Mark, Page: p.Page,
					Detail: fmt.Sprintf("it would stand on mark %d", q.Mark)}
			}
		}
		byPage[p.Page] = append(byPage[p.Page], p)
		if err := d.uncovered(p); err != nil {
			return err
		}
		if p.Kind == QR {
			var err error
			if all[i].CoversText, err = d.coversText(p.Place); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxShaded is how many marks of a plan are looked at for what is below them.
const maxShaded = 100

// shadeMarks notes seals that stand on what is dark. It is for whoever looks, and is not asked when a
// document is stamped: pictures are unpacked for it.
func (d *Document) shadeMarks(placed []Placed) {
	for i, p := range placed[:min(len(placed), maxShaded)] {
		placed[i].OnDark = p.Kind != QR && d.onDark(p.Place)
	}
}

// onDark reports whether most of what a seal is to stand on is dark: a seal darkens a page as ink
// does, and is not seen there. Where it cannot be told, nothing is said.
func (d *Document) onDark(p Place) bool {
	const side, dark = 7, 0.4
	f := frameOf(d.pages[p.Page-1])
	at := make([][2]float64, 0, side*side)
	for i := range side * side {
		x, y := f.toContent(p.X+p.Width*(float64(i%side)+0.5)/side, p.Y+p.Height*(float64(i/side)+0.5)/side)
		at = append(at, [2]float64{x, y})
	}
	light, err := d.shade.Shade(d.pages[p.Page-1], at)
	n := 0
	for _, l := range light {
		if l < dark { // not where it is unknown
			n++
		}
	}
	return err == nil && 2*n > len(at)
}

// uncovered refuses a mark that an annotation would be drawn over.
func (d *Document) uncovered(p Placed) error {
	above, err := d.annotations(p.Page - 1)
	if err != nil {
		return err
	}
	for _, a := range above {
		switch {
		case !a.overlap(p.Place):
		case a.Field:
			return below(p, BelowField, "a field of a form")
		default:
			return below(p, BelowComment, "a comment or a stamp of another program")
		}
	}
	return nil
}

func below(p Placed, problem Problem, what string) error {
	return &PlanError{Problem: problem, Mark: p.Mark, Page: p.Page,
		Detail: what + " stands there and would be drawn over it; move the mark, or print the document to a new PDF"}
}

func (d *Document) coversText(p Place) (bool, error) {
	t, err := d.pageText(p.Page - 1)
	if err != nil {
		return false, err
	}
	f := frameOf(d.pages[p.Page-1])
	ax, ay := f.toContent(p.X, p.Y)
	bx, by := f.toContent(p.X+p.Width, p.Y+p.Height)
	for _, g := range t.glyphs {
		reach := math.Abs(g.AX) + math.Abs(g.AY) + math.Abs(g.UX) + math.Abs(g.UY)
		if g.X < min(ax, bx)-reach || g.X > max(ax, bx)+reach || g.Y < min(ay, by)-reach || g.Y > max(ay, by)+reach {
			continue // most are, and need not be measured
		}
		if b, ok := g.Box(); ok {
			at := f.place(b)
			if at.Page = p.Page; at.overlap(p) {
				return true, nil
			}
		}
	}
	return false, nil
}

// marks places a seal or a QR code on each page; by a keyword, on the page where that is.
func (d *Document) marks(m Mark, pages []int, url string) ([]Placed, error) {
	w := m.size()
	h := w
	if m.Kind == QR {
		modules, err := modulesOf(url)
		if err != nil {
			return nil, err
		}
		if module := w / float64(modules+2*quiet); module < MinModule {
			return nil, &PlanError{Problem: TooSmall,
				Detail: fmt.Sprintf("for this address a QR code is at least %.0f mm wide",
					math.Ceil(MinModule*float64(modules+2*quiet)))}
		}
		h += caption
	}
	if m.Anchor.Keyword != "" {
		at, err := d.keyword(m.Anchor, pages)
		if err != nil {
			return nil, err
		}
		at.X, at.Y = at.X+at.Width/2-w/2+m.Anchor.X, at.Y+at.Height/2-h/2+m.Anchor.Y
		at.Width, at.Height = w, h
		return []Placed{{Place: at}}, nil
	}
	out := make([]Placed, 0, len(pages))
	for _, n := range pages {
		info := d.info.Pages[n-1]
		p := Place{Page: n, Width: w, Height: h, X: m.Anchor.X, Y: m.Anchor.Y}
		switch m.Anchor.Corner {
		case TopRight:
			p.X = info.Width - w - m.Anchor.X
		case BottomLeft:
			p.Y = info.Height - h - m.Anchor.Y
		case BottomRight:
			p.X, p.Y = info.Width-w-m.Anchor.X, info.Height-h-m.Anchor.Y
		}
		if m.Anchor.At != nil {
			p.X, p.Y = m.Anchor.At.X, m.Anchor.At.Y
		}
		out = append(out, Placed{Place: p})
	}
	return out, nil
}

// keyword finds the one occurrence that an anchor means.
func (d *Document) keyword(a Anchor, pages []int) (Place, error) {
	var found []Place
	unsure := 0
	for _, n := range pages {
		here, readable, err := d.findOn(n-1, a.Keyword)
		if err != nil {
			return Place{}, err
		}
		if found = append(found, here...); !readable && unsure == 0 {
			unsure = n
		}
	}
	nth := a.Nth
	switch {
	case nth == 0:
		nth = 1
	case nth < 0:
		nth = len(found) + 1 + nth
	}
	if nth >= 1 && nth <= len(found) {
		return found[nth-1], nil
	}
	if unsure > 0 {
		return Place{}, &PlanError{Problem: KeywordUnsure, Page: unsure,
			Detail: fmt.Sprintf("%q was found %d times, and the text of this page cannot be read: it may be a scan",
				a.Keyword, len(found))}
	}
	return Place{}, &PlanError{Problem: KeywordMissing, Detail: fmt.Sprintf("%q stands there %d times", a.Keyword,
		len(found))}
}

// straddle places the strips: page after page from left to right, as the seal lies across the
// edges of sheets that are fanned out.
func (d *Document) straddle(m Mark, pages []int) ([]Placed, error) {
	if m.OddOnly {
		fronts := pages[:0:0]
		for _, n := range pages {
			if n%2 == 1 {
				fronts = append(fronts, n)
			}
		}
		pages = fronts
	}
	if len(pages) < 2 {
		return nil, &PlanError{Problem: StraddleTooFew,
			Detail: fmt.Sprintf("a straddle seal goes across at least two pages, and here is %d", len(pages))}
	}
	most := m.Group
	if most == 0 {
		most = DefaultGroup
	}
	size := m.size()
	var out []Placed
	for _, group := range groups(pages, most) {
		width := size / float64(len(group))
		if width < MinStrip {
			return nil, &PlanError{Problem: StraddleTooThin, Page: group[0],
				Detail: fmt.Sprintf(
					"%d strips of %.1f mm: at least %g mm are needed, so at most %d pages share this seal", len(group),
					width, MinStrip, int(size/MinStrip))}
		}
		for i, n := range group {
			info := d.info.Pages[n-1]
			middle := m.Height
			if middle == 0 {
				middle = info.Height / 2
			}
			out = append(out, Placed{Place: Place{Page: n, X: info.Width - width, Y: middle - size/2, Width: width,
				Height: size}, Strip: i + 1, Strips: len(group)})
		}
	}
	return out, nil
}

// groups cuts pages into runs of at most so many, as even as can be: with at least MinGroup to
// a run none is left alone.
func groups(pages []int, most int) [][]int {
	n := (len(pages) + most - 1) / most
	out := make([][]int, 0, n)
	for i := range n {
		out = append(out, pages[i*len(pages)/n:(i+1)*len(pages)/n])
	}
	return out
}

// modulesOf is how many modules wide the QR code of an address is.
func modulesOf(url string) (int, error) {
	q, err := code(url)
	if err != nil {
		return 0, err
	}
	return len(q), nil
}

// code is the QR code of an address without its quiet zone: rows of modules, true is dark.
func code(url string) ([][]bool, error) {
	if url == "" || len(url) > maxURL {
		return nil, ErrNoQR
	}
	q, err := qrcode.New(url, qrcode.Medium)
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	q.DisableBorder = true
	return q.Bitmap(), nil
}
