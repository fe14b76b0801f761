package stamp

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"stele/notary/office/stamp/pdf"
)

var frames = rapid.Custom(func(t *rapid.T) frame {
	x, y := rapid.Float64Range(-500, 500).Draw(t, "x"), rapid.Float64Range(-500, 500).Draw(t, "y")
	w, h := rapid.Float64Range(50, 3000).Draw(t, "w"), rapid.Float64Range(50, 3000).Draw(t, "h")
	return frameOf(pdf.Page{Box: pdf.Rect{X0: x, Y0: y, X1: x + w, Y1: y + h}, Rotate: 90 * rapid.IntRange(0, 3).Draw(t,
		"turn"), UserUnit: rapid.Float64Range(0.1, 10).Draw(t, "unit")})
})

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6*(1+math.Abs(a)) }

// Points of a page lie inside of its box and come back; a drawing keeps its shape and size and
// is not mirrored, whichever way the page is turned.
func TestFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := frames.Draw(t, "frame")
		w, h := f.size()
		x, y := rapid.Float64Range(0, 1).Draw(t, "part of the width")*w,
			rapid.Float64Range(0, 1).Draw(t, "part of the height")*h
		cx, cy := f.toContent(x, y)
		if bx, by := f.toShown(cx, cy); !near(bx, x) || !near(by, y) {
			t.Fatalf("%g %g came back as %g %g", x, y, bx, by)
		}
		if over := 1e-6; cx < f.box.X0-over || cx > f.box.X1+over || cy < f.box.Y0-over || cy > f.box.Y1+over {
			t.Fatalf("%g %g is %g %g in the content, outside of %+v", x, y, cx, cy, f.box)
		}
		m := f.matrix(x, y, 20, 10)
		if right, up := math.Hypot(m[0], m[1]), math.Hypot(m[2], m[3]); !near(right, 20*f.unit) ||
			!near(up, 10*f.unit) {
			t.Fatalf("20 by 10 mm became %g by %g", right/f.unit, up/f.unit)
		}
		if area := m[0]*m[3] - m[1]*m[2]; !near(area, 200*f.unit*f.unit) { // negative: mirrored
			t.Fatalf("an area of %g", area/f.unit/f.unit)
		}
		ox, oy := f.toShown(m[4], m[5])
		ux, uy := f.toShown(m[4]+m[2], m[5]+m[3])
		if !near(ox, x) || !near(oy, y+10) || !near(ux, x) || !near(uy, y) {
			t.Fatalf("the lower left corner is at %g %g, and upwards leads to %g %g", ox, oy, ux, uy)
		}
	})
}

// Groups hold every page once, in order, are as even as can be, and leave none alone.
func TestGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(MinGroup, 30).Draw(t, "most")
		pages := make([]int, rapid.IntRange(2, 200).Draw(t, "pages"))
		for i := range pages {
			pages[i] = i + 1
		}
		next, least, largest := 1, len(pages), 0
		for _, g := range groups(pages, most) {
			least, largest = min(least, len(g)), max(largest, len(g))
			for _, n := range g {
				if n != next {
					t.Fatalf("page %d where %d belongs", n, next)
				}
				next++
			}
		}
		if next != len(pages)+1 || least < 2 || largest > most || largest-least > 1 {
			t.Fatalf("%d of %d pages in groups of %d to %d, at most %d", next-1, len(pages), least, largest, most)
		}
	})
}
