package console_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stele/server/http/console"
)

// fieldNames are the names of all fields of the console's forms, and of what narrows its lists.
func fieldNames(t *testing.T) []string {
	t.Helper()
	names := map[string]bool{"before": true, "after": true, "page": true, "since": true, "q": true, "version": true}
	files, err := filepath.Glob("../../../ui/templates/console/*.html")
	fatalIfErr(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		fatalIfErr(t, err)
		for _, m := range regexp.MustCompile(`name="([a-z0-9_.]+)"`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	for _, n := range []string{"form", "once", "confirm"} {
		delete(names, n)
	}
	if len(names) < 30 {
		t.Fatalf("only %d names were found", len(names))
	}
	var out []string
	for n := range maps.Keys(names) {
		out = append(out, n)
	}
	return out
}

// Whatever a form or an address says, it is a refusal that tells what is wrong, and never our
// own failure: empty fields, numbers that are none, halves of JSON, bytes that are no text.
func TestHostileFields(t *testing.T) {
	o := openOffice(t, false)
	own := o.things(o.agency.ID)
	p := o.as("admin")
	clerk := o.as("clerk")
	names := fieldNames(t)
	for _, value := range []string{"", " ", "null", "{", "[]", `{"type":"object"} x`, "-1", "1e999", "NaN",
		"99999999999999999999999999", "0000-00-00", "yes", "\x00", "\xff", "a\u202eb", "../..", "%00",
		strings.Repeat("长",
			30)} {
		t.Run(fmt.Sprintf("%.20q", value), func(t *testing.T) {
			form := url.Values{}
			for _, n := range names {
				form.Set(n, value)
			}
			for _, rt := range console.Table() {
				path := strings.ReplaceAll(own.in(rt.Path), "{token}", "x")
				// Ending one's own session, or the thing that all other forms are about, would end the test.
				if rt.Act == "sign_out" || rt.Act == "session_end" || strings.HasPrefix(string(rt.Act), "passkey") ||
					rt.Open ||
					strings.HasSuffix(path, "/events") || strings.HasSuffix(path, "/delete") ||
					strings.HasSuffix(path, "/drop") {
					continue
				}
				for _, who := range []*person{p, clerk} {
					var a answer
					switch rt.Method {
					case http.MethodGet:
						a = who.get(path + "?" + form.Encode())
					case http.MethodPost:
						a = who.post(path, maps.Clone(form))
					default:
						continue
					}
					if a.status >= 500 {
						t.Errorf("%s %s with %.40q: %d", rt.Method, path, value, a.status)
					}
				}
			}
		})
	}
}

// A class without a schema, or with one that cannot be read, is refused with a reason.
func TestClassWithoutSchema(t *testing.T) {
	o := openOffice(t, false)
	p := o.as("admin")
	for _, schema := range []string{"", "   ", "null", "{", "[]", `"x"`, `{"type":"object"} x`, `{"type":"object"}{}`,
		`{"type":"array"}`, `{"type":"object","properties":{"a":{"type":"string","title":"a` + "\u202e" + `b"}}}`} {
		t.Run(fmt.Sprintf("%.60q", schema), func(t *testing.T) {
			a := p.post("/console/class-new", url.Values{"id": {"permit"}, "zh": {"许可"}, "en": {"Permit"},
				"keep": {"yes"}, "schema": {schema}})
			if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `aria-invalid="true"`) &&
				!strings.Contains(a.body, `id="problem"`) {
				t.Errorf("%q: %d", schema, a.status)
			}
		})
	}
	if a := p.post("/console/class-new", url.Values{"id": {"permit"}, "zh": {"许可"}, "en": {"Permit"}, "keep": {"yes"},
		"schema": {`{"type":"object","properties":{}}`}}); a.status != http.StatusSeeOther {
		t.Errorf("a class without attributes: %d", a.status)
	}
}

// No form of the console takes a text that makes what stands beside it read otherwise.
func TestTextsThatReorder(t *testing.T) {
	o := openOffice(t, false)
	own := o.things(o.agency.ID)
	admin, clerk, approver := o.as("admin"), o.as("clerk"), o.as("approver")
	record := o.notarize("一份文书").Number
	for _, bad := range []string{"甲\u202e乙", "甲\u2067乙", "甲\u200f乙", "甲\u061c乙", "甲\x1b乙", "甲\ufdd0乙"} {
		t.Run(fmt.Sprintf("%+q", bad), func(t *testing.T) {
			returned := url.Values{"remark": {bad}, "version": {"1"}}
			for name, c := range map[string]struct {
				who  *person
				path string
				form url.Values
			}{
				"key": {admin, "/console/keys", url.Values{"name": {bad}, "scope": {"read"}}},
				"user": {admin, "/console/users", url.Values{"login": {"someone.new"}, "name": {bad},
					"role": {"clerk"}}},
				"class": {admin, "/console/class-new", url.Values{"id": {"x"}, "zh": {bad}, "en": {"A"},
					"schema": {`{"type":"object"}`}}},
				"search": {admin, "/console/records/searches", url.Values{"name": {bad}, "saved": {bad}, "q": {"x"}}},
				"revoke": {clerk, "/console/records/" + record + "/revoke", url.Values{"reason": {bad}}},
				"bulk":   {approver, "/console/bulk/" + own["job"] + "/return", maps.Clone(returned)},
				"paper":  {approver, "/console/papers/" + own["paper"] + "/return", maps.Clone(returned)},
				"erase":  {admin, "/console/records/" + record + "/erase", url.Values{"reason": {bad}, "all": {"yes"}}},
			} {
				t.Run(name, func(t *testing.T) {
					if a := c.who.post(c.path, c.form); a.status != http.StatusUnprocessableEntity {
						t.Errorf("%s takes %q: %d", c.path, bad, a.status)
					}
				})
			}
		})
	}
}
