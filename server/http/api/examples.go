package api

import (
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// exampleValues are what the members of an example hold, by name: an invented record whose
// parts belong together as far as that can be.
var exampleValues = map[string]any{
	"id": "01a2047f-1f9f-7c43-8cbb-eb28c83f9e03", "number": "420100-2026-00000017-0", "code": "7K3M9QRT",
	"class": "decision", "title": "Decision 17", "filename": "decision-17.pdf",
	"reference": "case 2026-17", "sm3": "946ec7d18b682e6ad62ec3e1ca068d9770a61f47233963bfb780812e58c9bb56",
	"size": 2803, "mediaType": "application/pdf", "reason": "Issued by mistake.",
	"region": "420100", "index": 17, "state": "anchored", "standing": "valid", "userId": "1234567812345678",
	"digest": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
	"url":    "https://agency.example.gov.cn/stele", "events": []any{"record.anchored", "record.revoked"},
	"scopes": []any{"read", "write"}, "networks": []any{"203.0.113.0/24"}, "bundle": `{"format":"stele/bundle/v1",…}`,
	"statement": "eyJ0eXBlIjoic3RlbGUvc3RhdGVtZW50L3YxIiwi…", "signature": "MEUCIQDenfwcNd4U5P+T…",
	"detail": "Without a file the document's SM3 digest is needed.", "field": "sm3",
	"type":           "/docs/errors#invalid_request",
	"idempotencyKey": "decision-2026-17", "cursor": "AAAAAAAAABE", "next": "AAAAAAAAABE",
}

// addExamples gives every JSON body in the description an example, made of its schema, so
// that whoever reads it sees what goes over the wire.
func addExamples(doc *huma.OpenAPI) {
	add := func(content map[string]*huma.MediaType) {
		if m := content["application/json"]; m != nil && m.Schema != nil && m.Example == nil {
			if e := example(doc.Components.Schemas, "", m.Schema, 0); e != nil {
				m.Example = e
			}
		}
	}
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if op == nil {
				continue
			}
			if op.RequestBody != nil {
				add(op.RequestBody.Content)
			}
			for _, r := range op.Responses {
				add(r.Content)
			}
		}
	}
}

// example makes a value of a schema; nil where the schema says nothing. Depth bounds what
// refers to itself.
func example(schemas huma.Registry, name string, s *huma.Schema, depth int) any {
	const deepest = 6
	if s.Ref != "" {
		s = schemas.SchemaFromRef(s.Ref)
	}
	switch {
	case s == nil || depth > deepest:
		return nil
	case len(s.Examples) > 0:
		return s.Examples[0]
	case len(s.Enum) > 0:
		if v, ok := exampleValues[name]; ok && slices.Contains(s.Enum, v) {
			return v
		}
		return s.Enum[0]
	}
	switch s.Type {
	case huma.TypeObject:
		return exampleObject(schemas, s, depth)
	case huma.TypeArray:
		if s.Items == nil {
			return []any{}
		}
		if v, ok := exampleValues[name].([]any); ok && s.Items.Type == huma.TypeString {
			return v
		}
		return []any{example(schemas, strings.TrimSuffix(name, "s"), s.Items, depth+1)}
	case huma.TypeBoolean:
		return true
	case huma.TypeInteger, huma.TypeNumber:
		if v, ok := exampleValues[name].(int); ok {
			return v
		}
		return 1
	case huma.TypeString:
		return exampleText(name, s)
	}
	return nil
}

func exampleObject(schemas huma.Registry, s *huma.Schema, depth int) any {
	out := map[string]any{}
	for name, p := range s.Properties {
		// What only a failure has would contradict the rest.
		if name == "problem" || name == "errors" || strings.HasPrefix(name, "disabled") ||
			strings.HasPrefix(name, "revoked") || name == "standingAt" || name == "supersededBy" ||
			name == "supersedes" {
			continue
		}
		if v := example(schemas, name, p, depth+1); v != nil {
			out[name] = v
		}
	}
	if len(s.Properties) == 0 {
		if values, ok := s.AdditionalProperties.(*huma.Schema); ok && values != nil {
			out["caseNumber"] = example(schemas, "reference", values, depth+1)
		}
	}
	return out
}

func exampleText(name string, s *huma.Schema) any {
	if v, ok := exampleValues[name].(string); ok {
		return v
	}
	switch s.Format {
	case "date-time":
		return "2026-11-22T06:28:41.123Z"
	case "uuid":
		return exampleValues["id"]
	case "uri":
		return exampleValues["url"]
	}
	if name == "name" {
		return "江城市政务服务局"
	}
	return "…"
}
