package sqldb

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"stele/notary"
	"stele/notary/issue/archive"
)

// A text is looked for in the column of attributes as it is stored, with LIKE: there is no
// second copy of what may have to be erased, no cost when a record is received, and nothing
// that one of the two databases lacks. What LIKE finds is more than was meant (names of
// attributes, salts, characters that a wildcard stood for), so each row is compared again.

// searchPage is how many candidates are read at once, the first and the largest time.
const (
	searchPage    = 200
	maxSearchPage = 5000
)

// searchRecords lists the records that a filter with a text selects.
func (db *conn) searchRecords(ctx context.Context, f archive.Filter, wheres []where) ([]notary.Record, error) {
	out := []notary.Record{}
	before := int64(1<<63 - 1)
	for page := searchPage; ; page = min(2*page, maxSearchPage) {
		next := make([]where, len(wheres))
		for i, w := range wheres {
			next[i] = w.clone()
			next[i].and("idx < ?", before)
		}
		found, err := db.newest(ctx, next, page)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if before = int64(r.Index); f.Matches(r) {
				if out = append(out, r); len(out) == f.Limit {
					return out, nil
				}
			}
		}
		if len(found) < page {
			return out, nil
		}
	}
}

// textCondition adds what every record fulfils which has a text, unless that is empty, in one of some columns.
func (db *conn) textCondition(w *where, text string, columns ...string) {
	if text == "" {
		return
	}
	if !storable(text) {
		w.and("1 = 0")
		return
	}
	like := " LIKE ?" // SQLite's knows no case among the letters of ASCII
	if db.postgres {
		like = " ILIKE ?"
	}
	folded := archive.Fold(text)
	var parts []string
	var args []any
	for _, p := range slices.Compact([]string{pattern(folded, narrow), pattern(folded, wide),
		pattern(folded, wideCapital)}) {
		for _, column := range columns {
			parts, args = append(parts, column+like), append(args, p)
		}
	}
	w.and("("+strings.Join(parts, " OR ")+")", args...)
}

func narrow(r rune) rune { return r }

// wide is the full-width form of a character of ASCII.
func wide(r rune) rune {
	if r > ' ' && r <= '~' {
		return r + '！' - '!'
	}
	return r
}

func wideCapital(r rune) rune { return wide(unicode.ToUpper(r)) }

// pattern writes a folded text for LIKE in one width. What is no letter, digit or character is
// left open: it has other forms, or JSON writes it otherwise.
func pattern(folded string, width func(rune) rune) string {
	b := []rune{'%'}
	for _, r := range folded {
		switch {
		case unicode.Is(unicode.Han, r), r <= '~' && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			b = append(b, width(r))
		case b[len(b)-1] != '%':
			b = append(b, '%')
		}
	}
	if b[len(b)-1] != '%' {
		b = append(b, '%')
	}
	return string(b)
}
