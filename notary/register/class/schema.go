package class

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"stele/notary"
	"stele/notary/proof/statement"
)

// Property is one attribute as a form shows it.
type Property struct {
	Name     string
	Title    Name
	Hint     Name
	Type     string // string, integer, number or boolean
	Format   string // date, email or empty
	Enum     []string
	Pattern  string // empty for none
	Required bool
	Long     bool // more than a line
	Most     int  // characters; 0: what an attribute can have
}

// Schema is the schema of a class's attributes: a JSON Schema (draft 2020-12) of an object
// whose properties are single values, in the part of that language that a form can show:
//
//	$schema (of that draft), type, properties, required, additionalProperties (true or false)
//	and of a property: type (string, integer, number, boolean), title, titleEn, description, descriptionEn,
//	enum, format (date, email), pattern, minLength, maxLength, minimum, maximum, multiline
//
// title, description and multiline are for people. Nothing refers to anything outside.
type Schema struct {
	Properties []Property // in the order of the schema
	Open       bool       // there may be others beside them
	compiled   *jsonschema.Schema
}

// emptySchema is that of a class without attributes of its own, which takes any.
var emptySchema = json.RawMessage(`{"type":"object","properties":{},"additionalProperties":true}`)

type schemaFile struct {
	Dialect    string                  `json:"$schema"`
	Type       string                  `json:"type"`
	Properties map[string]propertyFile `json:"properties"`
	Required   []string                `json:"required"`
	Additional *bool                   `json:"additionalProperties"`
}

type propertyFile struct {
	Type          string   `json:"type"`
	Title         string   `json:"title"`
	TitleEn       string   `json:"titleEn"`
	Description   string   `json:"description"`
	DescriptionEn string   `json:"descriptionEn"`
	Enum          []any    `json:"enum"`
	Format        string   `json:"format"`
	Pattern       string   `json:"pattern"`
	MinLength     *int     `json:"minLength"`
	MaxLength     *int     `json:"maxLength"`
	Minimum       *float64 `json:"minimum"`
	Maximum       *float64 `json:"maximum"`
	Multiline     bool     `json:"multiline"`
}

// maxProperties leaves room for the attributes that every record has.
const maxProperties = 40

func badSchema(format string, args ...any) error {
	return notary.InvalidField("schema", "%s. Nothing was saved.", fmt.Sprintf(format, args...))
}

// ParseSchema reads a schema and refuses what a form could not show. An empty one takes any attributes.
func ParseSchema(raw json.RawMessage) (*Schema, error) {
	if t := bytes.TrimSpace(raw); len(t) == 0 || string(t) == "null" {
		raw = emptySchema
	}
	if len(raw) > maxSchema {
		return nil, badSchema("A schema has at most %d bytes", maxSchema)
	}
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return nil, badSchema("A schema is one JSON object in UTF-8, and nothing behind it")
	}
	var f schemaFile
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, unusable(err)
	}
	if f.Dialect != "" && strings.TrimSuffix(f.Dialect, "#") != draft {
		return nil, badSchema("A schema is one of %s, or says nothing of its kind; this one says %q",
			draft, shorten(f.Dialect))
	}
	names, err := propertyOrder(raw)
	if err != nil {
		return nil, badSchema("The properties cannot be read: %v", err)
	}
	if f.Type != "object" {
		return nil, badSchema(`A schema's "type" is "object"`)
	}
	if len(names) > maxProperties {
		return nil, badSchema("A class has at most %d attributes", maxProperties)
	}
	s := &Schema{Open: f.Additional == nil || *f.Additional}
	for _, name := range names {
		p, err := f.Properties[name].property(name)
		if err != nil {
			return nil, err
		}
		p.Required = slices.Contains(f.Required, name)
		s.Properties = append(s.Properties, p)
	}
	for _, name := range f.Required {
		if _, ok := f.Properties[name]; !ok {
			return nil, badSchema("%q is required and is no property", name)
		}
	}
	if s.compiled, err = compile(raw); err != nil {
		return nil, badSchema("The schema does not hold together: %v", shorten(err.Error()))
	}
	return s, nil
}

// draft is the kind of JSON Schema that a schema is of, and may say it is of ($schema): programs with
// which people write schemas put it there.
const draft = "https://json-schema.org/draft/2020-12/schema"

// unusable says what of a schema cannot be read, in words of the schema.
func unusable(err error) error {
	var held *json.UnmarshalTypeError
	if errors.As(err, &held) {
		if held.Field == "" {
			return badSchema("A schema is one JSON object; this is a JSON %s", held.Value)
		}
		return badSchema("%q holds a JSON %s, which it cannot hold here", shorten(held.Field), held.Value)
	}
	if word, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return badSchema("The word %s cannot be used here. Those of a schema are $schema, type, properties, "+
			"required and "+
			"additionalProperties (true or false); those of a property type, title, titleEn, description, "+
			"descriptionEn, enum, "+
			"format, pattern, minLength, maxLength, minimum, maximum and multiline", shorten(word))
	}
	return badSchema("This is no schema that can be used here: %v", shorten(err.Error()))
}

// shorten keeps a text on one line of a form.
func shorten(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return text
}

func (f propertyFile) property(name string) (Property, error) {
	p := Property{Name: name, Type: f.Type, Format: f.Format, Long: f.Multiline, Title: Name{f.Title, f.TitleEn},
		Hint: Name{f.Description, f.DescriptionEn}}
	switch {
	case !statement.ValidFieldName(name) || reserved(name):
		return p, badSchema("%q cannot name an attribute: use 1 to %d of a-z, A-Z, 0-9, _ and -, beginning with a "+
			"letter; title, fileName and names that begin with origin are taken", name, statement.MaxFieldName)
	case !slices.Contains([]string{"string", "integer", "number", "boolean"}, f.Type):
		return p, badSchema(`The attribute %q has a "type" of string, integer, number or boolean`, name)
	case f.Format != "" && (f.Type != "string" || f.Format != "date" && f.Format != "email"):
		return p, badSchema(`The attribute %q can have the format date or email, as a string`, name)
	case f.Multiline && f.Type != "string":
		return p, badSchema(`The attribute %q has more than a line and is no string`, name)
	}
	p.Pattern = f.Pattern
	if f.MaxLength != nil {
		p.Most = *f.MaxLength
	}
	for _, v := range f.Enum {
		text, ok := v.(string)
		if !ok || f.Type != "string" || text == "" {
			return p, badSchema("The attribute %q can be one of several texts, none of them empty", name)
		}
		p.Enum = append(p.Enum, text)
	}
	return p, nil
}

// reserved are the names of attributes that every record can have.
func reserved(name string) bool {
	return name == "title" || name == "fileName" || strings.HasPrefix(name, "origin")
}

// propertyOrder lists the properties as they stand in the text: a form shows them so.
func propertyOrder(raw []byte) ([]string, error) {
	_, parts, err := members(raw)
	if err != nil || parts["properties"] == nil {
		return nil, err
	}
	names, _, err := members(parts["properties"])
	return names, err
}

// members reads an object, its names in their order; none may be there twice.
func members(raw []byte) (names []string, parts map[string]json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, errors.New("no object")
	}
	parts = map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		name, _ := t.(string)
		if _, twice := parts[name]; twice {
			return nil, nil, fmt.Errorf("%q is there twice", name)
		}
		var part json.RawMessage
		if err := d.Decode(&part); err != nil {
			return nil, nil, err
		}
		parts[name], names = part, append(names, name)
	}
	return names, parts, nil
}

func compile(raw json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("class.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("class.json")
}

// Fault is what is wrong with one attribute.
type Fault struct {
	Name string // of the attribute; empty where it is about all of them
	Kind string // missing, type, or the schema's word that does not hold: enum, pattern, minLength…
	Want string // what was wanted, where that is short: the type, a limit, the texts to choose from
	Why  string // in English
}

// Faults are all that is wrong with attributes, by name and the same every time: one for each
// attribute.
func (s *Schema) Faults(fields map[string]string) []Fault {
	if s.Open && len(s.Properties) == 0 {
		return nil
	}
	var out []Fault
	values := make(map[string]any, len(fields))
	for name, text := range fields {
		i := slices.IndexFunc(s.Properties, func(p Property) bool { return p.Name == name })
		if i < 0 {
			values[name] = text
			continue
		}
		v, ok := s.Properties[i].value(text)
		if !ok {
			out = append(out, Fault{name, "type", s.Properties[i].Type, "it must be of the type " +
				s.Properties[i].Type})
		}
		values[name] = v
	}
	err := s.compiled.Validate(values)
	var wrong *jsonschema.ValidationError
	if errors.As(err, &wrong) {
		out = append(out, causes(wrong)...)
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b Fault) bool { return a.Name == b.Name })
}

// Check refuses attributes that are not as the schema says. The error names the first of them
// in its field, as "fields.name".
func (s *Schema) Check(fields map[string]string) error {
	faults := s.Faults(fields)
	if len(faults) == 0 {
		return nil
	}
	f := faults[0]
	if f.Name == "" {
		return notary.InvalidField("fields", "The attributes are not as the class wants them: %s. Nothing was saved.",
			f.Why)
	}
	return notary.InvalidField("fields."+f.Name,
		"The attribute %q is not as the class wants it: %s. Nothing was saved.", f.Name, f.Why)
}

// value reads a text as the type says, in one form only: a record's attributes are texts, and
// the same value must not have two.
func (p Property) value(text string) (any, bool) {
	switch p.Type {
	case "integer":
		n, err := strconv.ParseInt(text, 10, 64)
		return json.Number(text), err == nil && strconv.FormatInt(n, 10) == text
	case "number":
		var n json.Number
		err := json.Unmarshal([]byte(text), &n)
		return n, err == nil && n.String() == text && !strings.ContainsAny(text, "eE")
	case "boolean":
		return text == "true", text == "true" || text == "false"
	}
	return text, true
}

var english = message.NewPrinter(language.English)

// causes are the faults that a validation found.
func causes(e *jsonschema.ValidationError) (out []Fault) {
	if len(e.Causes) > 0 {
		for _, c := range e.Causes {
			out = append(out, causes(c)...)
		}
		return out
	}
	f := Fault{Why: shorten(e.ErrorKind.LocalizedString(english))}
	if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
		f.Kind = path[len(path)-1]
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			out = append(out, Fault{Name: name, Kind: "missing", Why: "it is missing"})
		}
		return out
	case *kind.Enum:
		texts := make([]string, len(k.Want))
		for i, v := range k.Want {
			texts[i] = fmt.Sprint(v)
		}
		f.Want = strings.Join(texts, ", ")
	case *kind.Format:
		f.Want = k.Want
	case *kind.MinLength:
		f.Want = strconv.Itoa(k.Want)
	case *kind.MaxLength:
		f.Want = strconv.Itoa(k.Want)
	case *kind.Minimum:
		f.Want = k.Want.RatString()
	case *kind.Maximum:
		f.Want = k.Want.RatString()
	}
	if len(e.InstanceLocation) > 0 {
		f.Name = e.InstanceLocation[0]
	}
	return []Fault{f}
}
