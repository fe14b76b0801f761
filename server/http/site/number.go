package site

import "strings"

// NormalizeNumber forgives full-width digits, other dashes, spaces and missing hyphens.
func NormalizeNumber(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c >= '！' && c <= '～' { // full-width forms of ASCII
			c -= '！' - '!'
		}
		if c >= '0' && c <= '9' || c == 'x' || c == 'X' {
			b.WriteRune(c)
		}
	}
	d := strings.ToUpper(b.String())
	if len(d) != 19 {
		return s
	}
	return d[:6] + "-" + d[6:10] + "-" + d[10:18] + "-" + d[18:]
}
