package notary

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValidLine reports whether people may enter s where one line is wanted: 1 to max bytes without
// white space at its ends, each character a [ValidRune]. Every text of one line that comes in,
// by whatever way, is held to this; what is in the log already is verified by package statement,
// whose rule is frozen and lets more through.
func ValidLine(s string, max int) bool {
	return s != "" && strings.TrimSpace(s) == s && validText(s, max, "")
}

// ValidLines is the same for what may have several lines, or none: it also takes what ends lines and
// paragraphs, tabs, and white space at its ends.
func ValidLines(s string, max int) bool { return validText(s, max, "\n\r\t\u2028\u2029") }

func validText(s string, max int, besides string) bool {
	return len(s) <= max && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return !ValidRune(r) && !strings.ContainsRune(besides, r)
	})
}

// TextRule says in English what [ValidLine] refuses, for messages.
const TextRule = "no control characters, none that change the direction of writing, and no unknown ones"

// ValidRune reports whether a character may stand in a text that people enter. Refused are:
//
//   - control characters, line and paragraph separators, the byte order mark;
//   - what changes the direction of writing (Unicode Standard Annex #9, section 2, and the
//     deprecated U+206A to U+206F): a name could be made to read as another one;
//   - annotations (U+FFF9 to U+FFFB), and code points that are no characters.
//
// Private use is taken: names have rare characters that stand there in older systems. So are the
// planes of ideographs in full, since new ones come with each version of Unicode and this
// program's tables are of one.
func ValidRune(r rune) bool {
	switch {
	case r < 0x7f:
		return r >= ' '
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x206f, r == 0x200e, r == 0x200f, r == 0x061c, r == 0xfeff,
		r >= 0xfff9 && r <= 0xfffb:
		return false
	case r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef:
		return false // never characters
	case r >= 0x20000 && r <= 0x3ffff:
		return true
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Zs, unicode.Cf, unicode.Co)
}
