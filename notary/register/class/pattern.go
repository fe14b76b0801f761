package class

import (
	"encoding/json"
	"regexp/syntax"
)

// Patterns are written by an agency's admin and tried on everything that its clerks and systems
// hand in. They are compiled to programs (RE2), whose matching takes their size times the length of
// a text: never more than that, but a few bytes can make a program of millions of steps, since
// (x{1000}y{1000}) is written out. A pattern that people can read is far from these limits.
const (
	maxPattern  = 1000 // steps of one pattern; a text of a few thousand characters takes tens of milliseconds
	maxPatterns = 4000 // of all patterns of a class: about half a megabyte as long as it is in use
)

// checkPatterns refuses a schema whose patterns are too large, before anything is compiled. What is
// no schema at all is left to [ParseSchema], but not what has two patterns under one name.
func checkPatterns(raw json.RawMessage) error {
	_, parts, err := members(raw)
	if err != nil || parts["properties"] == nil {
		return nil
	}
	names, properties, err := members(parts["properties"])
	if err != nil {
		return badSchema("The properties cannot be read: %v", shorten(err.Error()))
	}
	total := 0
	for _, name := range names {
		_, words, err := members(properties[name])
		if err != nil {
			return badSchema("The attribute %q cannot be read: %v", name, shorten(err.Error()))
		}
		var pattern string
		if words["pattern"] == nil || json.Unmarshal(words["pattern"], &pattern) != nil {
			continue
		}
		tree, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return badSchema("The pattern of the attribute %q is none: %v", name, shorten(err.Error()))
		}
		n := steps(tree)
		if total += n; n > maxPattern || total > maxPatterns {
			return badSchema("The pattern of the attribute %q is too large: with repetitions written out, "+
				"one has at most %d characters and classes, all of them %d", name, maxPattern, maxPatterns)
		}
	}
	return nil
}

// steps is about how many steps the program of an expression has: its parts, repetitions written
// out. Package syntax has seen to it that the number is no larger than some millions.
func steps(e *syntax.Regexp) int {
	n := 1
	switch e.Op {
	case syntax.OpLiteral:
		return len(e.Rune)
	case syntax.OpRepeat:
		times := e.Max
		if times < 0 { // at least so often
			times = e.Min + 1
		}
		return n + max(times, 1)*steps(e.Sub[0])
	}
	for _, part := range e.Sub {
		n += steps(part)
	}
	return n
}
