package pdftext

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"stele/notary/office/stamp/pdf"
)

// Box is a rectangle on a page that may be turned: a corner and the two sides from there.
type Box struct{ X, Y, AX, AY, UX, UY float64 }

// How much of a line's height stands below and above the base line.
const below, above = 0.2, 0.88

// Box is the rectangle around a character; false for one that is not seen.
func (g Glyph) Box() (Box, bool) {
	p, ok := place(g)
	if !ok || strings.TrimSpace(g.Text) == "" {
		return Box{}, false
	}
	return Line{glyphs: []placed{p}}.around(0, 0), true
}

// Line is characters that stand one behind the other, in reading order.
type Line struct {
	glyphs []placed
}

// placed is a glyph with where it stands along its line and across it.
type placed struct {
	Glyph
	angle            int // of the direction of writing in degrees
	along, across    float64
	length, size     float64
	directionX, dirY float64
}

func place(g Glyph) (placed, bool) {
	p := placed{Glyph: g, length: math.Hypot(g.AX, g.AY), size: math.Hypot(g.UX, g.UY)}
	if p.size == 0 {
		return p, false
	}
	if p.length == 0 { // a mark above another character: along the line as this font has it
		p.directionX, p.dirY = g.UY/p.size, -g.UX/p.size
	} else {
		p.directionX, p.dirY = g.AX/p.length, g.AY/p.length
	}
	p.angle = (int(math.Round(math.Atan2(p.dirY, p.directionX)*180/math.Pi)) + 360) % 360
	p.along = g.X*p.directionX + g.Y*p.dirY
	p.across = -g.X*p.dirY + g.Y*p.directionX
	return p, true
}

// Lines puts the characters of a page in order: by where they stand, for the order in which a
// program drew them may be another.
func Lines(glyphs []Glyph) []Line {
	all := make([]placed, 0, len(glyphs))
	for _, g := range glyphs {
		if p, ok := place(g); ok {
			all = append(all, p)
		}
	}
	// First by direction and from the top down; then each band of one height along the line.
	all = inOrder(all, func(a, b *placed) int {
		return cmp.Or(cmp.Compare(a.angle, b.angle), cmp.Compare(b.across, a.across))
	})
	var out []Line
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[j].angle == all[i].angle && all[i].across-all[j].across < 0.4*max(all[i].size,
			all[j].size) {
			j++
		}
		out = appendLines(out, all[i:j])
		i = j
	}
	return out
}

// appendLines cuts a band where it has wide gaps, as between columns.
// inOrder sorts characters; equal ones keep their order. They are large: what is moved is their
// addresses.
func inOrder(all []placed, compare func(a, b *placed) int) []placed {
	at := make([]*placed, len(all))
	for i := range all {
		at[i] = &all[i]
	}
	slices.SortStableFunc(at, compare)
	out := make([]placed, len(all))
	for i, p := range at {
		out[i] = *p
	}
	return out
}

func appendLines(out []Line, band []placed) []Line {
	band = inOrder(band, func(a, b *placed) int { return cmp.Compare(a.along, b.along) })
	const gap = 6 // heights of a line: characters of a heading are spaced by less
	start := 0
	for i := 1; i <= len(band); i++ {
		if i < len(band) && band[i].along-(band[i-1].along+band[i-1].length) < gap*max(band[i].size, band[i-1].size) {
			continue
		}
		out = append(out, Line{glyphs: withoutDoubles(band[start:i])})
		start = i
	}
	return out
}

// withoutDoubles drops characters that were drawn twice at one place to look bold. It moves those
// that stay to the front of the line.
func withoutDoubles(line []placed) []placed {
	out := line[:0]
	for _, g := range line {
		if n := len(out); n > 0 && out[n-1].Text == g.Text && g.along-out[n-1].along < 0.25*g.size &&
			strings.TrimSpace(g.Text) != "" {
			continue
		}
		out = append(out, g)
	}
	return out
}

// Box is the rectangle around a line without the blanks at its ends; false when there is
// nothing else.
func (l Line) Box() (Box, bool) {
	first, last := -1, -1
	for i, g := range l.glyphs {
		if strings.TrimSpace(g.Text) != "" {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return Box{}, false
	}
	return l.around(first, last), true
}

func (l Line) around(first, last int) Box {
	a, b := l.glyphs[first], l.glyphs[last]
	size := 0.0
	for _, g := range l.glyphs[first : last+1] {
		size = max(size, g.size)
	}
	length := b.along + b.length - a.along
	box := Box{AX: a.directionX * length, AY: a.dirY * length}
	upX, upY := -a.dirY*size, a.directionX*size
	if a.Vertical { // the line's middle is where its characters stand
		box.X, box.Y, box.UX, box.UY = a.X-upX/2, a.Y-upY/2, upX, upY
		return box
	}
	box.X, box.Y = a.X-upX*below, a.Y-upY*below
	box.UX, box.UY = upX*(below+above), upY*(below+above)
	return box
}

// fold makes texts comparable: forms of one character are one, white space is nothing.
func fold(s string) []rune {
	return []rune(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKC.String(s)))
}

// holds reports whether all characters of a text occur, wherever: most pages have not even those,
// and need not be put in order.
func holds(glyphs []Glyph, text []rune) bool {
	missing := map[rune]bool{}
	for _, r := range text {
		missing[r] = true
	}
	seen := map[string]bool{}
	for _, g := range glyphs {
		if seen[g.Text] {
			continue
		}
		seen[g.Text] = true
		for _, r := range fold(g.Text) {
			delete(missing, r)
		}
		if len(missing) == 0 {
			return true
		}
	}
	return false
}

// inOrderSteps is what putting characters in order costs, in steps. An honest page has some thousand: it
// is the others that pay what it takes.
func inOrderSteps(glyphs int) int {
	const many, perGlyph = 5000, 8
	return glyphs + perGlyph*max(0, glyphs-many)
}

// Find returns where a text stands among the characters of a page, from the first line to the
// last. White space, the width of characters and upper or lower case make no difference.
func Find(glyphs []Glyph, text string, budget *pdf.Budget) []Box {
	want := fold(text)
	if len(want) == 0 || !holds(glyphs, want) || !budget.Take(inOrderSteps(len(glyphs))) {
		return nil
	}
	lines := Lines(glyphs)
	var out []Box
	folded := map[string][]rune{}
	for _, l := range lines {
		var have []rune
		var from []int // the glyph that each character comes from
		for i, g := range l.glyphs {
			runes, known := folded[g.Text]
			if !known {
				runes = fold(g.Text)
				folded[g.Text] = runes
			}
			for _, r := range runes {
				have, from = append(have, r), append(from, i)
			}
		}
		for i := 0; i+len(want) <= len(have); {
			if slices.Equal(have[i:i+len(want)], want) {
				out = append(out, l.around(from[i], from[i+len(want)-1]))
				i += len(want)
			} else {
				i++
			}
		}
	}
	return out
}
