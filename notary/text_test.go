package notary_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"stele/notary"
	"stele/notary/proof/statement"
)

func TestValidRune(t *testing.T) {
	for _, r := range []rune{' ', 'a', '中', 'é', '、', '\u3000', '\u200d', '\u200c', '😀', '\U000E0100', '\uE000',
		0x2EBF0, 0x3347A, 0x9FFC, '€'} {
		if !notary.ValidRune(r) {
			t.Errorf("%U is refused", r)
		}
	}
	for _, r := range []rune{0, '\n', '\t', 0x1b, 0x7f, 0x85, 0x9f, 0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a,
		0x202e, 0x2066, 0x2069, 0x206a, 0xfeff, 0xfff9, 0xfdd0, 0xfffe, 0x1ffff, 0x10ffff, 0x378, 0xd800, -1,
		0x110000} {
		if notary.ValidRune(r) {
			t.Errorf("%U is taken", r)
		}
	}
	// Every control of direction that the standard names, whatever version it is.
	for r := range unicode.MaxRune {
		if unicode.Is(unicode.Bidi_Control, r) && notary.ValidRune(r) {
			t.Errorf("%U is taken", r)
		}
	}
}

// What may come in fits into a statement: the rule for what comes in is the stricter one.
func TestValidLineFitsStatements(t *testing.T) {
	for r := range unicode.MaxRune + 1 {
		s := fmt.Sprintf("a%cb", r)
		if notary.ValidLine(s, 10) && !statement.ValidText(s, 10) {
			t.Errorf("%U may come in and fits into no statement", r)
		}
	}
	for s, line := range map[string]bool{"": false, "a": true, " a": false, "a\u3000": false, "a b": true,
		"a\nb": false, "\xff": false, strings.Repeat("a", 11): false, "三字文": true} {
		t.Run(s, func(t *testing.T) {
			if notary.ValidLine(s, 10) != line {
				t.Errorf("%q", s)
			}
		})
	}
	for s, ok := range map[string]bool{"": true, "a\r\n\tb ": true, "a\x00": false, "a\u202eb": false, "\xff": false,
		strings.Repeat("a", 11): false} {
		t.Run(s, func(t *testing.T) {
			if notary.ValidLines(s, 10) != ok {
				t.Errorf("%q", s)
			}
		})
	}
}
