package canonical

import (
	"encoding/json"
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
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
