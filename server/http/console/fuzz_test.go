package console_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"stele/server/http/console"
)

func FuzzPlace(f *testing.F) {
	f.Add("cre66i9s.ZXZ0XzE")
	f.Add("-1.")
	f.Fuzz(func(t *testing.T, text string) {
		again, ok := console.ReadPlace(text)
		if !ok {
			return
		}
		if third, ok := console.ReadPlace(again); !ok || third != again {
			t.Errorf("%q becomes %q, then %q", text, again, third)
		}
	})
}

func FuzzSearch(f *testing.F) {
	f.Add("政办〔2026〕7号", "general", "logged", "2026-11-22", "2026-11-23", "17")
	f.Fuzz(func(t *testing.T, text, class, state, from, to, before string) {
		filter, ok := console.ReadSearch(text, class, state, from, to, before)
		if !ok {
			return
		}
		if filter.AgencyID != "agency" || filter.Limit <= 0 || filter.Before != nil && before == "" && state == "" {
			t.Errorf("%+v", filter)
		}
		if !filter.From.IsZero() && from == "" || !filter.To.IsZero() && to == "" {
			t.Errorf("a time that nobody asked for: %+v", filter)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("name=x\x00\n\xff")
	f.Fuzz(func(t *testing.T, text string) {
		out := console.Printable(text, 100)
		if !utf8.ValidString(out) || len(out) > 103 ||
			strings.ContainsFunc(out, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q", out)
		}
	})
}
