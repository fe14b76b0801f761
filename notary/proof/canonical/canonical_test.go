package canonical

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestStringsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		var got string
		if err := json.Unmarshal(AppendString(nil, s), &got); err != nil || got != s {
			t.Fatalf("%q became %q: %v", s, got, err)
		}
	})
}

func TestEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"a\"b\\c":         `"a\"b\\c"`,
		"\b\t\n\f\r\x01":  `"\b\t\n\f\r\u0001"`,
		"<&>\u2028碑/\x7f": "\"<&>\u2028碑/\x7f\"",
	} {
		t.Run(in, func(t *testing.T) {
			if got := string(AppendString(nil, in)); got != want {
				t.Errorf("%q: %s, want %s", in, got, want)
			}
		})
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for text, ok := range map[string]bool{
		nested(MaxDepth):     true,
		nested(MaxDepth + 1): false,
		strings.Repeat(`{"":[`, MaxDepth/2) + strings.Repeat("]}", MaxDepth/2):             true,
		`[` + strings.Repeat(`{"":[`, MaxDepth/2) + strings.Repeat("]}", MaxDepth/2) + `]`: false,
		`["` + nested(MaxDepth) + `"]`:                true,
		`["\"` + nested(MaxDepth) + `"]`:              true,
		`["\\",` + nested(MaxDepth) + `]`:             false,
		`[` + strings.Repeat(`[],`, MaxDepth) + `[]]`: true,
	} {
		t.Run(text, func(t *testing.T) {
			var v any
			if err := Decode([]byte(text), 1<<20, &v); (err == nil) != ok {
				t.Errorf("%s: %v", text, err)
			}
		})
	}
}
