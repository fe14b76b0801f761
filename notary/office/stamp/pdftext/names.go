package pdftext

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// glyphNames are names of characters in simple fonts (annex D) besides those that are the
// character itself, or its code.
var glyphNames = map[string]rune{"space": ' ', "exclam": '!', "quotedbl": '"', "numbersign": '#', "dollar": '$',
	"percent": '%', "ampersand": '&', "quotesingle": '\'',
	"parenleft": '(', "parenright": ')', "asterisk": '*', "plus": '+', "comma": ',', "hyphen": '-', "minus": '−',
	"period": '.', "slash": '/', "zero": '0', "one": '1', "two": '2',
	"three": '3', "four": '4', "five": '5', "six": '6', "seven": '7', "eight": '8', "nine": '9', "colon": ':',
	"semicolon": ';', "less": '<', "equal": '=', "greater": '>',
	"question": '?', "at": '@', "bracketleft": '[', "backslash": '\\', "bracketright": ']', "asciicircum": '^',
	"underscore": '_', "grave": '`', "braceleft": '{', "bar": '|',
	"braceright": '}', "asciitilde": '~', "bullet": '•', "endash": '–', "emdash": '—', "quoteleft": '‘',
	"quoteright": '’', "quotedblleft": '“', "quotedblright": '”',
	"ellipsis": '…', "section": '§', "copyright": '©', "registered": '®', "degree": '°', "plusminus": '±',
	"multiply": '×', "divide": '÷', "periodcentered": '·', "nbspace": ' '}

var ligatures = map[string]string{"fi": "fi", "fl": "fl", "ff": "ff", "ffi": "ffi", "ffl": "ffl"}

// glyphText is what a glyph's name stands for, or nothing. Part after a dot tells variants of
// a character apart.
func glyphText(name string) string {
	name, _, _ = strings.Cut(name, ".")
	if r, ok := glyphNames[name]; ok {
		return string(r)
	}
	if s, ok := ligatures[name]; ok {
		return s
	}
	if utf8.RuneCountInString(name) == 1 {
		return name
	}
	for _, prefix := range []string{"uni", "u"} {
		if digits, ok := strings.CutPrefix(name, prefix); ok && len(digits) >= 4 && len(digits) <= 6 {
			if r, err := strconv.ParseUint(digits, 16, 32); err == nil && utf8.ValidRune(rune(r)) {
				return string(rune(r))
			}
		}
	}
	return ""
}
