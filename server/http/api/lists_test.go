package api

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants are the values of the string constants of a package that have a type, or, where the
// type is empty, whose names begin with a prefix, as the source says: a new one is among them
// although no list in the program has it.
func constants(t *testing.T, folder, typeName, prefix string) (out []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				s := spec.(*ast.ValueSpec)
				has := ""
				if id, ok := s.Type.(*ast.Ident); ok {
					has = id.Name
				}
				if has != typeName || len(s.Values) != len(s.Names) {
					continue
				}
				for i, v := range s.Values {
					text, ok := v.(*ast.BasicLit)
					if ok && text.Kind == token.STRING && strings.HasPrefix(s.Names[i].Name, prefix) {
						value, _ := strconv.Unquote(text.Value)
						out = append(out, value)
					}
				}
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has no constants of the type %q with the prefix %q", folder, typeName, prefix)
	}
	return out
}

// enums are all lists of values in the description, by where they stand.
func enums(t *testing.T) map[string][]string {
	t.Helper()
	res := httptest.NewRecorder()
	mount(t).ServeHTTP(res, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(res.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if list, ok := v["enum"].([]any); ok {
				for _, one := range list {
					if one != nil { // that a member may be null is no value of it
						out[at] = append(out[at], fmt.Sprint(one))
					}
				}
			}
			for name, member := range v {
				switch name {
				case "properties", "items", "schema":
					walk(at, member)
				case "enum", "example", "examples":
				default:
					walk(strings.TrimPrefix(at+"."+name, "."), member)
				}
			}
		case []any:
			for i, one := range v {
				name := strconv.Itoa(i)
				if m, ok := one.(map[string]any); ok && m["name"] != nil {
					name = fmt.Sprint(m["name"])
				}
				walk(at+"."+name, one)
			}
		}
	}
	walk("", doc.Components.Schemas)
	for _, ops := range doc.Paths {
		for _, raw := range ops {
			var op map[string]any
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatal(err)
			}
			walk(fmt.Sprint(op["operationId"]), op)
		}
	}
	return out
}

// Every list of values in the description is exactly what the source defines, and every such list is
// looked at here: a value that is added to the source, or a list to the description, fails.
func TestListsAreTheSources(t *testing.T) {
	constant := func(folder, typeName, prefix string, without ...string) []string {
		return slices.DeleteFunc(constants(t, folder, typeName, prefix), func(v string) bool {
			return slices.Contains(without, v)
		})
	}
	state, standing := constant("notary", "State", ""), constant("notary", "Standing", "")
	kinds, asked := constant("notary/office/webhook", "Kind", ""), constant("notary/office/webhook", "Kind", "", "ping")
	scopes, status := constant("notary", "Scope", ""), constant("notary/office/webhook", "DeliveryStatus", "")
	verdicts, strengths := constant("notary/proof", "Verdict", ""), []string{"self-proving", "attested"}
	disabled := constant("notary/office/webhook", "", "Reason", "expired") // which is of an upload
	waits := slices.DeleteFunc(slices.Clone(state), func(s string) bool { return s == "received" })
	forms, tus := []string{"full", "thin"}, []string{"1.0.0"}
	want := map[string][]string{
		"Record.state": state, "EraseOutputBody.state": state,
		"Record.standing": standing, "EraseOutputBody.standing": standing,
		"list-records.parameters.standing": standing,
		"Problem.code":                     constant("notary", "Code", ""),
		"Key.scopes":                       scopes, "IssuedKey.scopes": scopes, "NewKey.scopes": scopes,
		"Webhook.events": asked, "NewWebhook.events": asked,
		"CreateWebhookInputBody.events": asked, "ChangeWebhookInputBody.events": asked,
		"Delivery.type": kinds, "FeedEvent.type": asked, "list-events.parameters.types": asked,
		"Delivery.status": status, "list-deliveries.parameters.status": status,
		"Webhook.disabledReason": disabled, "NewWebhook.disabledReason": disabled,
		// What its agency does it is not told of.
		"EndpointRef.reason": constant("notary/office/webhook", "", "Reason", "expired", "manual"),
		"UploadRef.reason":   constant("notary/office/webhook", "", "ReasonExpired"),
		"Webhook.payload":    forms, "NewWebhook.payload": forms,
		"CreateWebhookInputBody.payload": forms, "ChangeWebhookInputBody.payload": forms,
		"list-events.parameters.payload": forms,
		"Report.verdict":                 verdicts,
		"Step.step":                      constant("notary/proof", "StepName", ""),
		"Step.status":                    constant("notary/proof", "Status", ""),
		"Step.strength":                  strengths, "AnchorReport.strength": strengths,
		"Warning.code":            constant("notary/proof", "", "Warn"),
		"StandingReport.state":    append(constant("notary/proof", "", "Standing"), "revoked", "superseded"),
		"HealthOutputBody.status": {"ok", "degraded", "unavailable"},
		"override-upload.parameters.X-HTTP-Method-Override": {"PATCH", "DELETE"},
		"get-bundle.parameters.status":                      {"latest"},
		"get-certificate.parameters.status":                 {"latest"},
		"get-evidence.parameters.status":                    {"latest"},
		"get-revocation-list.parameters.userId":             {"standard", "empty"},
	}
	for _, op := range []string{"create-record", "create-records", "prepare-record", "sign-prepared", "revoke-record"} {
		want[op+".parameters.wait"] = waits
	}
	for _, op := range []string{"create-upload", "append-to-upload", "delete-upload", "override-upload"} {
		want[op+".parameters.Tus-Resumable"] = tus
	}
	got := enums(t)
	for _, at := range slices.Sorted(maps.Keys(got)) {
		list, known := want[at]
		if !known {
			t.Errorf("the list %s of the description is compared with nothing here: %q", at, got[at])
			continue
		}
		slices.Sort(list)
		if have := slices.Sorted(slices.Values(got[at])); !slices.Equal(have, list) {
			t.Errorf("%s: the description has %q, the source %q", at, have, list)
		}
		delete(want, at)
	}
	for at := range want {
		t.Errorf("the description has no list at %s", at)
	}
}
