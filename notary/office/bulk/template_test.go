package bulk_test

import (
	"bytes"
	"slices"
	"testing"

	"stele/notary/office/bulk"
	"stele/notary/register/class"
)

// A template of each ready-made class can be read again; what its example says the class takes,
// and the example itself is never notarized.
func TestTemplates(t *testing.T) {
	o := newOffice(t)
	o.serve(o.jobs)
	for _, c := range class.Ready() {
		if c.AgencyID = o.Agency.ID; c.ID != "e-invoice" {
			fatalIfErr(t, o.classes.Put(t.Context(), c))
		}
		s, err := class.ParseSchema(c.Schema)
		fatalIfErr(t, err)
		tpl := bulk.Template{Sheet: "表", Explain: "说明", Heads: [3]string{"列", "必填", "说明"}, Rules: []string{"一", "二"}}
		for _, col := range bulk.Columns(s, false) {
			example := col.Example()
			if col.Name == bulk.ColumnTitle {
				example = bulk.ExampleTitles[0]
			} else if example == "" && col.RequiredIn() && col.Property.Pattern != "" {
				t.Errorf("%s: no example for %s", c.ID, col.Name)
			}
			tpl.Columns = append(tpl.Columns, bulk.TemplateColumn{Heading: col.Title.Chinese, Example: example,
				Needed: "是", Note: "…"})
		}
		for name, write := range map[string]func(*bytes.Buffer) error{
			"csv": func(b *bytes.Buffer) error { return tpl.WriteCSV(b) }, "xlsx": func(b *bytes.Buffer) error {
				return tpl.WriteWorkbook(b)
			}} {
			t.Run(c.ID+" "+name, func(t *testing.T) {
				var b bytes.Buffer
				fatalIfErr(t, write(&b))
				j := o.wait(o.add(c.ID, c.ID+name, b.Bytes()).ID, bulk.Checked)
				got := problems(o.rows(j))
				for _, col := range bulk.Columns(s, false) {
					code := got["2"+col.Name]
					delete(got, "2"+col.Name)
					if col.Name == bulk.ColumnTitle && code != bulk.CodeExample || col.Example() != "" && code != "" &&
						col.Name != bulk.ColumnTitle ||
						!slices.Contains([]bulk.Code{"", bulk.CodeExample, bulk.CodeMissing}, code) {
						t.Errorf("%s %s: the example of %s (%q) is %q", c.ID, name, col.Name, col.Example(), code)
					}
				}
				if len(got) != 0 {
					t.Errorf("%s: %v", c.ID, got)
				}
			})
		}
	}
}
