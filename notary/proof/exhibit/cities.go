package exhibit

import (
	"strconv"

	"stele/notary/proof"
)

// How the cities are laid out: on plain lines with their names above them, or, where names are
// long, on one line upward with their names beside it.
const (
	cityRise  = 46
	cityRow   = 30
	cityDot   = 7
	cityMax   = 12 // drawn; the list below the picture has all
	cityWide  = 8  // units that a letter of a name takes at most
	cityInset = 28
)

// cities draws the validators of a block: full dots for those that cosigned, empty rings for
// those that did not.
func (d *drawing) cities(left int, a *anchored) {
	shown := a.validators[:min(len(a.validators), cityMax)]
	centre := (left + width - margin) / 2
	if columns := columnsFor(shown, width-left-margin); columns > 0 {
		d.cityGrid(left, columns, shown)
	} else {
		d.cityColumn(left, centre, shown)
	}
	signed := len(a.names(true))
	counts := []string{"signed", strconv.Itoa(signed), "absent", strconv.Itoa(len(a.validators) - signed)}
	summary := d.words("picture.cosigned", counts...)
	if hidden := len(a.validators) - len(shown); hidden > 0 {
		summary = d.words("picture.cosigned_more", append(counts, "n", strconv.Itoa(hidden))...)
	}
	d.canvas.text(centre, d.y, "pp-soft", "middle", summary, width-left-margin)
	d.y += 18
}

// columnsFor is how many cities stand side by side so that each one's name has room, or none.
func columnsFor(cities []validator, room int) int {
	longest := 0
	for _, v := range cities {
		longest = max(longest, len(v.name)) // names are ASCII
	}
	choices := []int{4, 2}
	if len(cities) <= 4 {
		choices = []int{len(cities), 2}
	}
	for _, n := range choices {
		if n > 0 && longest*cityWide <= room/n-8 {
			return n
		}
	}
	return 0
}

func (d *drawing) cityGrid(left, columns int, cities []validator) {
	c := &d.canvas
	centre := (left + width - margin) / 2
	cell := (width - left - margin) / columns
	at := func(i int) int { return left + cell*(i%columns) + cell/2 }
	for first := 0; first < len(cities); first += columns {
		row := cities[first:min(first+columns, len(cities))]
		y := d.y + cityRow
		c.open(proof.Passed, "")
		c.line(centre, d.y, centre, y)
		c.line(min(at(0), centre), y, max(at(len(row)-1), centre), y)
		c.close()
		for i, v := range row {
			d.city(v, at(i), y, at(i), y+14, "middle", cell-4)
		}
		d.y = y
		if first+columns < len(cities) {
			d.y += cityRise - cityRow
			c.open(proof.Passed, "")
			c.line(centre, y, centre, d.y)
			c.close()
		}
	}
	d.y += 34
}

func (d *drawing) cityColumn(left, centre int, cities []validator) {
	c := &d.canvas
	x := left + cityInset
	c.open(proof.Passed, "")
	c.line(x, d.y, x, d.y+cityRow*len(cities))
	c.close()
	for _, v := range cities {
		d.y += cityRow
		d.city(v, x, d.y, x+18, d.y-4, "start", width-margin-x-18)
	}
	d.y += 22
}

func (d *drawing) city(v validator, x, y, nameX, nameY int, anchor string, room int) {
	key, class := "picture.city_absent", "pp-ring"
	if v.signed {
		key, class = "picture.city", "pp-dot"
	}
	c := &d.canvas
	c.open(proof.Passed, d.words(key, "name", v.name))
	c.circle(x, y, cityDot, class)
	c.text(nameX, nameY, "pp-mono", anchor, v.name, room)
	c.close()
}
