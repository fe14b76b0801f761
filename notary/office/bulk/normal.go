package bulk

import (
	"regexp"
	"strings"
	"time"

	"golang.org/x/text/width"

	"stele/notary/register/class"
)

// dayForms are how spreadsheets and people write a day, and what follows where a time stands behind it.
var (
	dayForms   = []string{"2006-1-2", "2006/1/2", "2006.1.2", "2006年1月2日", "20060102", "20060102150405"}
	clockForms = []string{"15:04:05", "15:04", "15:04:05Z07:00", "15时4分5秒", "15时4分", "3:04:05 PM", "3:04 PM"}
)

// china is the time that a day with a time is in. A time of another zone may be in another day there.
const china = 8 * 60 * 60 // seconds east of UTC

// readDay reads a day, with or without a time.
func readDay(s string) (string, bool) {
	for _, form := range dayForms {
		if day, err := time.Parse(form, s); err == nil {
			return day.Format(time.DateOnly), true
		}
	}
	at := strings.IndexAny(s, " T")
	if i := strings.Index(s, "日"); at < 0 && i >= 0 {
		at = i + len("日")
	}
	if at < 0 || at == len(s) {
		return "", false
	}
	day, ok := readDay(s[:at])
	if !ok {
		return "", false
	}
	clock := strings.TrimLeft(s[at:], "T ")
	for _, form := range clockForms {
		t, err := time.Parse(form, clock)
		if err != nil {
			continue
		}
		if _, east := t.Zone(); strings.Contains(form, "Z07:00") && east != china {
			return "", false
		}
		return day, true
	}
	return "", false
}

// truths are how people write what is so, and what is not.
var truths = map[string]string{"true": "true", "yes": "true", "是": "true", "√": "true", "1": "true",
	"false": "false", "no": "false", "否": "false", "×": "false", "0": "false"}

var (
	// grouped are thousands with commas between them, and nothing else: 1.280,50 could be anything.
	grouped = regexp.MustCompile(`^-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?$`)
	number  = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)
	// yuan are what stands before or behind an amount here. Those of other currencies say something else.
	yuan = regexp.MustCompile(`^(?:(?:人民币|CNY|RMB|¥|￥) ?)?(-?[0-9].*?)(?: ?(?:元|CNY|RMB))?$`)
)

// narrow brings full-width digits, signs and blanks, and the signs that look like a minus, into one form. A mark by
// which a spreadsheet takes a number for a text is left out.
func narrow(s string) string {
	s = strings.NewReplacer("−", "-", "–", "-", "﹣", "-", "\u00a0", " ", "\u3000", " ").Replace(width.Fold.String(s))
	if rest, ok := strings.CutPrefix(s, "'"); ok && rest != "" && strings.Trim(rest, "0123456789-., ") == "" {
		s = rest
	}
	return strings.TrimSpace(s)
}

// plainNumber is a number without a currency and without marks between thousands; ok is false where it is none, or
// could be two.
func plainNumber(s string) (out string, ok bool) {
	s = narrow(s)
	if m := yuan.FindStringSubmatch(s); m != nil {
		s = m[1]
	}
	s = strings.TrimPrefix(s, "+")
	if grouped.MatchString(s) {
		s = strings.ReplaceAll(s, ",", "")
	}
	return s, number.MatchString(s)
}

// wholeNumber is a whole number as it is read here, or the text as it was.
func wholeNumber(s string) string {
	n, ok := plainNumber(s)
	if !ok {
		return s
	}
	if whole, fraction, found := strings.Cut(n, "."); found && strings.Trim(fraction, "0") == "" {
		return whole
	}
	return n
}

// normalForm brings a cell into the form that the class wants, where it is clear what is meant. The row shows what
// came of it.
func (c *checker) normalForm(p *class.Property, cell string) string {
	switch {
	case p.Format == "date":
		if day, ok := readDay(narrow(cell)); ok {
			return day
		}
	case p.Type == "boolean":
		if v, ok := truths[strings.ToLower(cell)]; ok {
			return v
		}
	case p.Type == "integer":
		return wholeNumber(cell)
	case p.Type == "number":
		if n, ok := plainNumber(cell); ok {
			return n
		}
	case p.Pattern != "" && !p.Long:
		return c.inPattern(p, cell)
	case len(p.Enum) == 0 && !p.Long:
		return strings.Join(strings.Fields(cell), " ") // no line breaks
	}
	return cell
}

// inPattern brings a cell into the form of a pattern: as it is, without full-width characters, or as a number. Where
// the class wants two decimals and no fewer, 1280 and 1280.5 have them.
func (c *checker) inPattern(p *class.Property, cell string) string {
	cell = strings.Join(strings.Fields(cell), " ")
	if c.takes(p, cell) {
		return cell
	}
	if s := narrow(cell); c.takes(p, s) {
		return s
	}
	n, ok := plainNumber(cell)
	if !ok {
		return cell
	}
	if c.takes(p, n) {
		return n
	}
	if c.takes(p, "1.00") && !c.takes(p, "1.0") && !c.takes(p, "1") {
		whole, fraction, _ := strings.Cut(n, ".")
		if n = whole + "." + (fraction + "00")[:max(2, len(fraction))]; c.takes(p, n) {
			return n
		}
	}
	return cell
}

// takes reports whether a value is one that the class takes for an attribute.
func (c *checker) takes(p *class.Property, value string) bool {
	for _, f := range c.schema.Faults(map[string]string{p.Name: value}) {
		if f.Name == p.Name {
			return false
		}
	}
	return true
}
