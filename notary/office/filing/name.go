package filing

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"stele/notary"
)

// Bounds that a record sets, in bytes; see package intake.
const (
	maxFileName = 255
	maxTitle    = 300
)

// unnamed is a file whose name holds nothing that a record can have.
const unnamed = "document"

// fileNameOf makes a name that a record can have of what a file was called where it came from:
// without folders, without what cannot be printed or reorders text, and not too long; the
// ending stays.
func fileNameOf(s string) string {
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !notary.ValidRune(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
	if s == "" || s == "." || s == ".." {
		return unnamed
	}
	if len(s) <= maxFileName {
		return s
	}
	ending := path.Ext(s)
	if len(ending) > 16 {
		ending = ""
	}
	return strings.TrimSpace(cut(s, maxFileName-len(ending)) + ending)
}

// titleOf is what a document is called until its maker says better: the name of its file
// without the ending.
func titleOf(fileName string) string {
	title := strings.TrimSpace(strings.TrimSuffix(fileName, path.Ext(fileName)))
	if title == "" {
		title = fileName
	}
	return strings.TrimSpace(cut(title, maxTitle))
}

// cut shortens a text to so many bytes, between two characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
