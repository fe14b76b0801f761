package certificate

import (
	"strings"
	"unicode"
)

// clean makes a value of somebody's choice fit for a line of print: no controls, nothing
// that turns the direction of what follows, nothing invisible.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return replacement
		}
		return r
	}, strings.TrimSpace(s))
}

// Characters that must not begin, or end, a line of Chinese.
const (
	notFirst = "，。、；：！？）》】」』’”…％,.;:!?)]}%"
	notLast  = "（《【「『‘“([{"
)

// wrap breaks text into at most max lines of a width; what does not fit ends with an
// ellipsis. Chinese breaks between any two characters, other writing at spaces and
// hyphens, and what has neither wherever the line is full.
func (c *canvas) wrap(st style, s string, width float64, max int) []string {
	runes := []rune(clean(s))
	var lines []string
	for start := 0; start < len(runes); {
		end, used := start, 0.0
		for end < len(runes) {
			w := c.runeWidth(st, runes[end])
			if used+w > width {
				break
			}
			used += w
			end++
		}
		if end == start { // narrower than one character: never, but always move on
			end++
		}
		if end < len(runes) {
			if len(lines) == max-1 {
				return append(lines, c.shorten(st, runes[start:end], width))
			}
			end = breakBefore(runes, start, end)
		}
		lines = append(lines, strings.TrimSpace(string(runes[start:end])))
		for start = end; start < len(runes) && runes[start] == ' '; {
			start++
		}
	}
	return lines
}

// shorten makes room for an ellipsis at the end of a line.
func (c *canvas) shorten(st style, l []rune, width float64) string {
	for len(l) > 0 && c.width(st, string(l)+"…") > width {
		l = l[:len(l)-1]
	}
	return string(l) + "…"
}

// breakBefore finds the best place to break at or before end, at most half a line back: at
// a space or beside Chinese, else after a hyphen or a slash within a word.
func breakBefore(runes []rune, start, end int) int {
	within := 0
	for at := end; at > start+(end-start)/2; at-- {
		before, after := runes[at-1], runes[at]
		switch {
		case strings.ContainsRune(notFirst, after) || strings.ContainsRune(notLast, before):
		case before == ' ' || after == ' ' || wide(before) || wide(after):
			return at
		case within == 0 && (before == '-' || before == '/'):
			within = at
		}
	}
	if within > 0 {
		return within
	}
	return end
}

// wide tells characters that stand by themselves, as Chinese does.
func wide(r rune) bool { return r >= 0x2e80 }
