package bulk

import (
	"strings"
	"unicode/utf8"
)

// formula are the first characters by which a spreadsheet takes a text for a formula, or drops
// what is before one (OWASP, "CSV Injection").
const formula = "=+-@\t\r\n＝＋－＠"

// Plain keeps a spreadsheet from taking a text for a formula. [ReadTable] takes the mark off
// again: a table that was written here comes back as it was.
func Plain(s string) string {
	if s != "" && (strings.ContainsRune(formula, first(s)) || marked(s)) {
		return "'" + s
	}
	return s
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// marked reports whether a text looks like one that Plain made.
func marked(s string) bool {
	return len(s) > 1 && s[0] == '\'' && strings.ContainsRune(formula+"'", first(s[1:]))
}

// unplain reads a cell of a CSV file: without that mark, or as the text that spreadsheets write as ="0012" to keep
// its zeros.
func unplain(s string) string {
	if marked(s) {
		return s[1:]
	}
	if inner, ok := strings.CutPrefix(s, `="`); ok && strings.HasSuffix(inner, `"`) {
		inner = strings.ReplaceAll(inner[:len(inner)-1], `""`, "\x00")
		if !strings.Contains(inner, `"`) {
			return strings.ReplaceAll(inner, "\x00", `"`)
		}
	}
	return s
}
