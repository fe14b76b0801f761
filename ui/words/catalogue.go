package words

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"stele/ui/fill"
)

// Beijing is the time that people read. China has had no summer time since 1991, so a fixed
// offset is right for every time a record can have, and needs no time zone database.
var Beijing = time.FixedZone("Asia/Shanghai", 8*60*60)

// Catalogue is every text of one language, by keys that are named after what they mean. It
// is immutable.
type Catalogue struct {
	Tag   string // BCP 47
	texts map[string]string
}

// New makes a catalogue of the texts of a language.
func New(tag string, texts map[string]string) *Catalogue { return &Catalogue{tag, texts} }

// Has reports whether there is a text of this key.
func (c *Catalogue) Has(key string) bool {
	_, ok := c.texts[key]
	return ok
}

// Keys returns all keys in order.
func (c *Catalogue) Keys() []string { return slices.Sorted(maps.Keys(c.texts)) }

// First returns the first of the keys that has a text, or the last one.
func (c *Catalogue) First(keys ...string) string {
	for _, k := range keys {
		if c.Has(k) {
			return k
		}
	}
	return keys[len(keys)-1]
}

// Text returns a text with its {places} filled from pairs of name and value. An unknown key
// comes out in brackets, so that a page never fails for a word; a test finds it first.
func (c *Catalogue) Text(key string, pairs ...string) string {
	text, ok := c.texts[key]
	if !ok {
		return "[" + key + "]"
	}
	return fill.Places(text, pairs...)
}

// Time writes a time of a report (RFC 3339) as people in China read it, or returns what it
// cannot read.
func (c *Catalogue) Time(rfc3339 string) string {
	t, err := time.Parse(time.RFC3339, rfc3339)
	if err != nil {
		return rfc3339
	}
	t = t.In(Beijing)
	return c.Text("time.full", "y", strconv.Itoa(t.Year()), "month", c.Text("month."+strconv.Itoa(int(t.Month()))),
		"d", strconv.Itoa(t.Day()), "hms", t.Format("15:04:05"))
}

// Size writes a number of bytes with at most one decimal, rounded down so that a file is
// never said to be done before it is.
func (c *Catalogue) Size(n uint64) string {
	if n < 1024 {
		return c.Text("size.bytes", "n", strconv.FormatUint(n, 10))
	}
	unit, units := uint64(1024), []string{"KB", "MB", "GB", "TB", "PB", "EB"}
	for len(units) > 1 && n/unit >= 1024 {
		unit, units = unit*1024, units[1:]
	}
	whole, tenth := n/unit, n%unit*10/unit
	if tenth == 0 || whole >= 100 {
		return strconv.FormatUint(whole, 10) + " " + units[0]
	}
	return fmt.Sprintf("%d.%d %s", whole, tenth, units[0])
}
