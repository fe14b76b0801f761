package class_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"stele/notary"
	"stele/notary/register/class"
)

// What a pattern costs is bounded before it is compiled: a few kilobytes of text would otherwise
// be half a gigabyte of program, made anew every two seconds.
func TestLargePatterns(t *testing.T) {
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	one := func(pattern string) string { return `{"a":{"type":"string","pattern":` + quote(pattern) + `}}` }
	several := func(n int, pattern string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"a%d":{"type":"string","pattern":%s}`, i, quote(pattern)))
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	for name, c := range map[string]struct {
		properties string
		ok         bool
	}{
		"an identity number": {one(`^[1-9]\d{5}(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d{3}[\dXx]$`),
			true},
		"a long name":               {one(`^\p{Han}{2,200}$`), true},
		"many of usual size":        {several(40, `^[0-9A-HJ-NPQRTUWXY]{2}\d{6}[0-9A-HJ-NPQRTUWXY]{10}$`), true},
		"1,200 repetitions":         {one(strings.Repeat(`[^a]{1000}`, 1200)), false},
		"classes of many ranges":    {one(strings.Repeat(`\pL{1000}`, 300)), false},
		"nested":                    {one(`^(((a?){10}){10}){10}$`), false},
		"what is slow elsewhere":    {one(`^(x?){1000}x{1000}$`), false},
		"many large ones":           {several(40, `^.{500}$`), false},
		"at least":                  {one(`(ab?){999,}`), false},
		"two under one name":        {`{"a":{"type":"string","pattern":"(x?){1000}","pattern":"x"}}`, false},
		"two attributes of a name":  {`{"a":{"type":"string","pattern":"(x?){1000}"},"a":{"type":"string"}}`, false},
		"another spelling besides":  {`{"a":{"type":"string","pattern":"(x?){1000}","Pattern":"x"}}`, false},
		"no expression":             {one(`(`), false},
		"a look-behind, not of RE2": {one(`(?<=a)b`), false},
	} {
		t.Run(name, func(t *testing.T) {
			made := class.Class{ID: "permit", Name: class.Name{Chinese: "许可", English: "Permit"},
				Schema: json.RawMessage(`{"type":"object","properties":` + c.properties + `}`)}
			err := made.Check()
			var e *notary.Error
			if c.ok && err != nil || !c.ok && (!errors.As(err, &e) || e.Field != "schema") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	old := json.RawMessage(`{"type":"object","properties":` + one(`^.{1,1000}b{500}$`) + `}`)
	if _, err := class.ParseSchema(old); err != nil {
		t.Error("a class that is in use cannot be read any more:", err)
	}
}
