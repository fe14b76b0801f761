package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// apiDocs is the API's description, prepared for a page. The page shows what /openapi.json
// says, in the language in which that is written.
type apiDocs struct {
	Title, Version, About string
	Groups                []apiGroup
	Schemas               []apiSchema
}

type apiGroup struct {
	Name string
	Ops  []apiOp
}

type apiOp struct {
	ID, Method, Path, Summary string
	About                     []string // paragraphs
	Private                   bool
	Params                    []apiField
	Bodies                    []apiBody
	Answers                   []apiAnswer
	Curl                      string
}

// apiField is a parameter, or a member of an object.
type apiField struct {
	Name, Where, Type, About string
	Required                 bool
	Schema                   string // name of the schema that describes it, if there is one
}

type apiBody struct {
	Media, Schema, Example string
	Fields                 []apiField
}

type apiAnswer struct {
	Status, About, Schema, Example string
}

type apiSchema struct {
	Name   string
	Fields []apiField
}

// What is read of a description (OpenAPI 3.1).
type (
	openAPI struct {
		Info       struct{ Title, Version, Description string }
		Paths      map[string]map[string]openAPIOp
		Components struct{ Schemas map[string]openAPISchema }
	}
	openAPIOp struct {
		OperationID, Summary, Description string
		Tags                              []string
		Security                          []map[string][]string
		Parameters                        []struct {
			Name, In, Description string
			Required              bool
			Schema                openAPISchema
		}
		RequestBody struct{ Content map[string]openAPIMedia }
		Responses   map[string]struct {
			Description string
			Content     map[string]openAPIMedia
		}
	}
	openAPIMedia struct {
		Schema  openAPISchema
		Example json.RawMessage
	}
	openAPISchema struct {
		Ref                  string `json:"$ref"`
		Type                 any    // a name, or a list with null
		Format, Description  string
		ContentEncoding      string
		Enum                 []any
		Properties           map[string]openAPISchema
		Required             []string
		Items                *openAPISchema
		AdditionalProperties any
	}
)

func parseAPIDocs(data []byte, publicURL string) (*apiDocs, error) {
	var doc openAPI
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("the API's description: %w", err)
	}
	out := &apiDocs{Title: doc.Info.Title, Version: doc.Info.Version, About: doc.Info.Description}
	groups := map[string][]apiOp{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			name := "other"
			if len(op.Tags) > 0 {
				name = op.Tags[0]
			}
			groups[name] = append(groups[name], op.page(method, path, publicURL))
		}
	}
	order := []string{"records", "keys at home", "uploads", "public", "log", "keys", "webhooks"}
	rank := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	for name, ops := range groups {
		slices.SortFunc(ops,
			func(a, b apiOp) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
		out.Groups = append(out.Groups, apiGroup{name, ops})
	}
	slices.SortFunc(out.Groups, func(a, b apiGroup) int {
		return cmp.Or(cmp.Compare(rank(a.Name), rank(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		if fields := doc.Components.Schemas[name].fields(); len(fields) > 0 {
			out.Schemas = append(out.Schemas, apiSchema{name, fields})
		}
	}
	return out, nil
}

func (op openAPIOp) page(method, path, publicURL string) apiOp {
	out := apiOp{ID: op.OperationID, Method: strings.ToUpper(method), Path: path, Summary: op.Summary,
		Private: len(op.Security) > 0}
	for p := range strings.SplitSeq(op.Description, "\n\n") {
		if p = strings.TrimSpace(p); p != "" {
			out.About = append(out.About, p)
		}
	}
	for _, p := range op.Parameters {
		out.Params = append(out.Params, apiField{Name: p.Name, Where: p.In, Type: p.Schema.typeName(),
			About: p.Description, Required: p.Required})
	}
	for _, media := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
		m := op.RequestBody.Content[media]
		b := apiBody{Media: media, Schema: m.Schema.refName(), Example: m.example()}
		if b.Schema == "" {
			b.Fields = m.Schema.fields()
		}
		out.Bodies = append(out.Bodies, b)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		a := apiAnswer{Status: status, About: r.Description}
		for _, media := range slices.Sorted(maps.Keys(r.Content)) {
			a.Schema, a.Example = cmp.Or(a.Schema, r.Content[media].Schema.refName()),
				cmp.Or(a.Example, r.Content[media].example())
		}
		out.Answers = append(out.Answers, a)
	}
	out.Curl = out.curl(publicURL)
	return out
}

// curl is a command that makes the call with the example, ready to be pasted where $KEY is set.
func (op apiOp) curl(publicURL string) string {
	path := strings.NewReplacer("{id}", "420100-2026-00000017-0").Replace(op.Path)
	json := slices.ContainsFunc(op.Bodies, func(b apiBody) bool {
		return b.Media == "application/json" && b.Example != ""
	})
	method := "-X " + op.Method + " "
	if op.Method == http.MethodGet || op.Method == http.MethodPost && json { // what curl does without being told
		method = ""
	}
	parts := []string{"curl -s " + method + "'" + publicURL + path + "'"}
	if op.Private {
		parts = append(parts, `-H "Authorization: Bearer $KEY"`)
	}
	if json {
		parts = append(parts, "-H 'Content-Type: application/json' -d @request.json")
	}
	return strings.Join(parts, " \\\n  ")
}

func (m openAPIMedia) example() string {
	if len(m.Example) == 0 {
		return ""
	}
	var v any
	if json.Unmarshal(m.Example, &v) != nil {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSpace(b.String())
}

func (s openAPISchema) refName() string {
	_, name, _ := strings.Cut(s.Ref, "#/components/schemas/")
	return name
}

func (s openAPISchema) typeName() string {
	name := ""
	switch t := s.Type.(type) {
	case string:
		name = t
	case []any:
		for _, one := range t {
			if one != "null" {
				name = fmt.Sprint(one)
			}
		}
	}
	switch {
	case s.Ref != "":
		return s.refName()
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		return strings.Join(values, " | ")
	case name == "array" && s.Items != nil:
		return "list of " + s.Items.typeName()
	case s.ContentEncoding != "":
		return name + ", " + s.ContentEncoding
	case s.Format != "":
		return name + ", " + s.Format
	}
	return name
}

func (s openAPISchema) fields() []apiField {
	out := make([]apiField, 0, len(s.Properties))
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		f := apiField{Name: name, Type: p.typeName(), About: p.Description, Required: slices.Contains(s.Required, name),
			Schema: p.refName()}
		if p.Items != nil && f.Schema == "" {
			f.Schema = p.Items.refName()
		}
		out = append(out, f)
	}
	return out
}

func (w *Web) apiDocs(rw http.ResponseWriter, r *http.Request) {
	w.show(rw, r, http.StatusOK, "apidocs", w.textsOf(r).Text("apidocs.title"), w.docs)
}
