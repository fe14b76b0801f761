package class_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"stele/notary"
	"stele/notary/register/class"
)

func TestReadyMade(t *testing.T) {
	list := class.Ready()
	if len(list) != 6 || list[0].ID != class.General {
		t.Fatalf("%d classes, the first %q", len(list), list[0].ID)
	}
	for _, c := range list {
		s, err := class.ParseSchema(c.Schema)
		if err != nil {
			t.Fatal(c.ID, err)
		}
		for _, p := range s.Properties {
			if p.Title.Chinese == "" || p.Title.English == "" || p.Title.In("en") == p.Title.In("zh-CN") {
				t.Errorf("%s: the attribute %s has no name in both languages", c.ID, p.Name)
			}
		}
	}
}

func TestSchemaRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a list":                 `[]`,
		"nothing":                `{}`,
		"type of a list":         `{"type":"array"}`,
		"more after it":          `{"type":"object"} x`,
		"reference elsewhere":    `{"type":"object","$ref":"http://example.org/x"}`,
		"object in it":           `{"type":"object","properties":{"a":{"type":"object"}}}`,
		"reference to itself":    `{"type":"object","properties":{"a":{"type":"string","$ref":"#"}}}`,
		"attribute without type": `{"type":"object","properties":{"a":{}}}`,
		"unknown format":         `{"type":"object","properties":{"a":{"type":"string","format":"uri"}}}`,
		"reserved name":          `{"type":"object","properties":{"title":{"type":"string"}}}`,
		"name of the origin":     `{"type":"object","properties":{"originClerk":{"type":"string"}}}`,
		"name with a space":      `{"type":"object","properties":{"a b":{"type":"string"}}}`,
		"one name twice":         `{"type":"object","properties":{"a":{"type":"string"},"a":{"type":"string"}}}`,
		"required and absent":    `{"type":"object","properties":{},"required":["a"]}`,
		"malformed pattern":      `{"type":"object","properties":{"a":{"type":"string","pattern":"("}}}`,
		"list of integers":       `{"type":"object","properties":{"a":{"type":"integer","enum":[1]}}}`,
		"negative length":        `{"type":"object","properties":{"a":{"type":"string","minLength":-1}}}`,
		"integer of many lines":  `{"type":"object","properties":{"a":{"type":"integer","multiline":true}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := class.ParseSchema(json.RawMessage(text))
			var e *notary.Error
			if !errors.As(err, &e) || e.Field != "schema" {
				t.Errorf("%s: %v", text, err)
			}
		})
	}
}

// What is wrong with a schema is said in its own words, whichever program made it.
func TestSchemaWords(t *testing.T) {
	const draft = `"$schema":"https://json-schema.org/draft/2020-12/schema`
	for text, want := range map[string]string{
		`{` + draft + `","type":"object"}`:                                      "",
		`{` + draft + `#","type":"object"}`:                                     "",
		`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`: `says "http://json-schema.org/draft-07/schema#"`,
		`{"$schema":7,"type":"object"}`:                                         `"$schema" holds a JSON number`,
		`{"$id":"x","type":"object"}`:                                           `The word "$id" cannot be used here`,
		`[]`:                                                                    "is a JSON array",
		`true`:                                                                  "is a JSON bool",
		`{"type":["object","null"]}`:                                            `"type" holds a JSON array`,
		`{"type":"object","additionalProperties":{}}`: `"additionalProperties" holds a ` +
			`JSON object`,
		`{"type":"object","properties":{"a":true}}`:                         "holds a JSON bool",
		`{"type":"object","properties":{"a":{"type":"string","items":{}}}}`: `The word "items" cannot be used here`,
	} {
		t.Run(text, func(t *testing.T) {
			_, err := class.ParseSchema(json.RawMessage(text))
			switch {
			case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s: %v, want %q", text, err, want)
			case err != nil && (strings.Contains(err.Error(), "Go ") || strings.Contains(err.Error(), "json:")):
				t.Errorf("%s: not a sentence for people: %v", text, err)
			}
		})
	}
	s, err := class.ParseSchema(
		json.RawMessage(`{` + draft + `","type":"object","properties":{"a":{"type":"integer"}}}`))
	if err != nil || s.Check(map[string]string{"a": "1"}) != nil || s.Check(map[string]string{"a": "x"}) == nil {
		t.Errorf("a schema that says its kind does not check: %v", err)
	}
}

func TestSchemaOrder(t *testing.T) {
	s, err := class.ParseSchema(
		json.RawMessage(
			`{"properties":{"z":{"type":"string"},"a":{"type":"boolean"},"m":{"type":"string"}},"type":"object","required":["m"]}`))
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, p := range s.Properties {
		order = append(order, p.Name)
	}
	if strings.Join(order, " ") != "z a m" || s.Properties[0].Required || !s.Properties[2].Required || !s.Open {
		t.Errorf("%+v", s)
	}
}

func TestCheck(t *testing.T) {
	s, err := class.ParseSchema(
		json.RawMessage(`{"type":"object","additionalProperties":false,"required":["n"],"properties":{
		"n":{"type":"integer","minimum":1},"x":{"type":"number"},"b":{"type":"boolean"},"d":{"type":"string","format":"date"},"e":{"type":"string","enum":["甲","乙"]},"p":{"type":"string","pattern":"^[0-9]+$","maxLength":3}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, good := range map[string]map[string]string{
		"what is required": {"n": "1"},
		"everything":       {"n": "7", "x": "1.50", "b": "true", "d": "2026-02-28", "e": "甲", "p": "123"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.Check(good); err != nil {
				t.Error(good, err)
			}
		})
	}
	for field, bad := range map[string]map[string]string{
		"fields.n": {}, "fields.n ": {"n": "0"}, "fields.n  ": {"n": "01"}, "fields.n   ": {"n": "1.0"},
		"fields.n    ": {"n": ""}, "fields.x": {"n": "1", "x": "1e3"},
		"fields.b": {"n": "1", "b": "yes"}, "fields.d": {"n": "1", "d": "2026-02-30"}, "fields.e": {"n": "1", "e": "丙"},
		"fields.p":  {"n": "1", "p": "12a"},
		"fields.p ": {"n": "1", "p": "1234"}, "fields": {"n": "1", "other": "x"},
	} {
		t.Run(field, func(t *testing.T) {
			var e *notary.Error
			if err := s.Check(bad); !errors.As(err, &e) || e.Field != strings.TrimSpace(field) ||
				e.Code != notary.CodeInvalid {
				t.Errorf("%v: got %v, want an error about %s", bad, err, field)
			}
		})
	}
	open, err := class.ParseSchema(nil)
	if err != nil || open.Check(map[string]string{"anything": "goes"}) != nil {
		t.Error("a class without a schema takes any attributes:", err)
	}
}

func TestCheckClass(t *testing.T) {
	good := class.Ready()[1]
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for field, spoil := range map[string]func(*class.Class){
		"id": func(c *class.Class) { c.ID = "Big" }, "name": func(c *class.Class) { c.Name.English = "" },
		"name ":  func(c *class.Class) { c.Name.Chinese = "一\n二" },
		"print":  func(c *class.Class) { c.Print = []string{"nothing"} },
		"keep":   func(c *class.Class) { c.Keep, c.Stamp = false, json.RawMessage(`{}`) },
		"schema": func(c *class.Class) { c.Schema = json.RawMessage(`{`) },
	} {
		t.Run(field, func(t *testing.T) {
			c := good
			spoil(&c)
			var e *notary.Error
			if err := c.Check(); !errors.As(err, &e) || e.Field != strings.TrimSpace(field) {
				t.Errorf("%s: %v", field, err)
			}
		})
	}
}

func FuzzSchema(f *testing.F) {
	for _, c := range class.Ready() {
		f.Add([]byte(c.Schema), "amount", "1280.00")
	}
	f.Fuzz(func(t *testing.T, raw []byte, name, value string) {
		s, err := class.ParseSchema(raw)
		if err != nil {
			return
		}
		if first, second := s.Check(map[string]string{name: value}),
			s.Check(map[string]string{name: value}); (first == nil) != (second == nil) || first != nil &&
			first.Error() != second.Error() {
			t.Errorf("two answers: %v, %v", first, second)
		}
	})
}
