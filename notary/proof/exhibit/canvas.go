package exhibit

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"stele/notary/proof"
)

// canvas writes SVG. Heights count upward from the bottom; element turns them round.
type canvas struct{ marks []string }

// turned stands for a height in what is written, until the whole height is known.
type turned int

// Format implements [fmt.Formatter].
func (t turned) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "\x00%d\x00", int(t)) }

func (c *canvas) put(format string, args ...any) {
	c.marks = append(c.marks, fmt.Sprintf(format, args...))
}

// element is the finished picture. Nothing else in it can be a zero byte: see escape.
func (c *canvas) element(height int, title, description string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="proof-picture" viewBox="0 0 %d %d" role="img" `+
		`focusable="false"><title>%s</title><desc>%s</desc>`,
		width, height, escape(title), escape(description))
	for _, m := range c.marks {
		for i, part := range strings.Split(m, "\x00") {
			if y, err := strconv.Atoi(part); i%2 == 1 && err == nil {
				part = strconv.Itoa(height - y)
			}
			b.WriteString(part)
		}
	}
	b.WriteString("</svg>")
	return b.String()
}

// open begins a group that says what it is when the pointer rests on it.
func (c *canvas) open(status proof.Status, title string) {
	class := "pp-open"
	switch status {
	case proof.Passed:
		class = "pp-passed"
	case proof.Failed:
		class = "pp-failed"
	}
	if title == "" {
		c.put(`<g class="%s">`, class)
		return
	}
	c.put(`<g class="%s"><title>%s</title>`, class, escape(title))
}

func (c *canvas) close() { c.put("</g>") }

func (c *canvas) line(x1, y1, x2, y2 int) {
	c.put(`<path class="pp-line" d="M%d %dL%d %d"/>`, x1, turned(y1), x2, turned(y2))
}

// broken is a line with its middle missing and the ends bent apart.
func (c *canvas) broken(x, from, to int) {
	const bend, gap = 10, 5
	half := (from + to) / 2
	c.put(`<path class="pp-line" d="M%d %dV%dL%d %d"/>`, x, turned(from), turned(half-gap-bend/2), x-bend,
		turned(half-gap+bend/2))
	c.put(`<path class="pp-line" d="M%d %dV%dL%d %d"/>`, x, turned(to), turned(half+gap+bend/2), x+bend,
		turned(half+gap-bend/2))
}

// dots stand for what is left out.
func (c *canvas) dots(x, from, to int) {
	for i := 1; i <= 3; i++ {
		c.circle(x, from+(to-from)*i/4, 2, "pp-dot")
	}
}

func (c *canvas) box(x, y, w, h int) {
	c.put(`<rect class="pp-box" x="%d" y="%d" width="%d" height="%d" rx="4"/>`, x, turned(y+h), w, h)
}

// sheet is a page with a corner folded.
func (c *canvas) sheet(x, y, w, h int) {
	const corner = 14
	top := turned(y + h)
	c.put(`<path class="pp-box" d="M%d %dH%dL%d %dV%dH%dZ"/>`, x, top, x+w-corner, x+w, turned(y+h-corner), turned(y),
		x)
	c.put(`<path class="pp-fold" d="M%d %dV%dH%d"/>`, x+w-corner, top, turned(y+h-corner), x+w)
}

func (c *canvas) circle(x, y, r int, class string) {
	c.put(`<circle class="%s" cx="%d" cy="%d" r="%d"/>`, class, x, turned(y), r)
}

// square is a node; half is half of its side.
func (c *canvas) square(x, y, half int, class string) {
	c.put(`<rect class="pp-node %s" x="%d" y="%d" width="%d" height="%d"/>`, class, x-half, turned(y+half), 2*half,
		2*half)
}

func (c *canvas) cross(x, y, r int) {
	c.put(`<path class="pp-cross" d="M%d %dL%d %dM%d %dL%d %d"/>`, x-r, turned(y-r), x+r, turned(y+r), x-r, turned(y+r),
		x+r, turned(y-r))
}

// mark tells how a step ended by its shape: a tick, a cross, a question mark.
func (c *canvas) mark(x, y int, status proof.Status) {
	c.circle(x, y, 10, "pp-badge")
	switch status {
	case proof.Passed:
		c.put(`<path class="pp-tick" d="M%d %dL%d %dL%d %d"/>`, x-5, turned(y), x-1, turned(y-4), x+5, turned(y+4))
	case proof.Failed:
		c.cross(x, y, 4)
	default:
		c.put(`<path class="pp-tick" d="M%d %da3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.200M%d %dv.1"/>`, x-3,
			turned(y+2), x, turned(y-6))
	}
}

// text writes a line that takes no more room than there is; the title of its group has the
// whole of it.
func (c *canvas) text(x, y int, class, anchor, s string, room int) {
	letter := 15 // units that a wide letter takes
	if class == "pp-mono" || class == "pp-soft" {
		letter = 12
	}
	c.put(`<text class="pp-text %s" text-anchor="%s" x="%d" y="%d">%s</text>`, class, anchor, x, turned(y),
		escape(cut(s, letter, room)))
}

// cut shortens a text to what room there is for letters of this size; narrow ones take 0.6
// of it.
func cut(s string, letter, room int) string {
	room *= 10
	used, end := 0, 0
	for i, r := range s {
		w := letter * 10
		if r < 0x1100 {
			w = letter * 6
		}
		if used += w; used > room {
			return s[:end] + "…"
		}
		if used <= room-letter*10 { // the dots need room too
			end = i + utf8.RuneLen(r)
		}
	}
	return s
}

// escape makes a text fit for XML 1.0 (section 2.2): what cannot stand there at all becomes
// U+FFFD, so that a picture is drawn whatever a bundle says.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"':
			b.WriteString("&#34;")
		case r == '\'':
			b.WriteString("&#39;")
		case r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
