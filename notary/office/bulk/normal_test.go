package bulk_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"stele/crypto/sm"
	"stele/notary/office/bulk"
	"stele/notary/register/class"
)

// What is meant is read where it is clear, the row holds what will be registered, and nothing is guessed.
func TestNormalForms(t *testing.T) {
	o := newOffice(t)
	o.serve(o.jobs)
	numbers := class.Class{ID: "numbers", AgencyID: o.Agency.ID, Name: class.Name{Chinese: "数", English: "Numbers"},
		Print: []string{},
		Schema: json.RawMessage(
			`{"type":"object","properties":{"n":{"type":"integer"},"x":{"type":"number"},"d":{"type":"string","format":"date"},"a":{"type":"string","pattern":"^(0|[1-9][0-9]{0,11})\\.[0-9]{2}$"},"p":{"type":"string","pattern":"^[0-9]{4,20}$"}}}`)}
	fatalIfErr(t, o.classes.Put(t.Context(), numbers))
	cases := []struct{ column, cell, want string }{
		{"size", "1,024", "1024"}, {"size", "１０２４", "1024"}, {"size", "1,02", ""}, {"size", "1 KB", ""},
		{"size", "5.0", "5"}, {"size", "10,24", ""},
		{"n", "12,345", "12345"}, {"n", "－５", "-5"}, {"n", "−5", "-5"}, {"n", "5.00", "5"}, {"n", "5.5", ""},
		{"n", "+7", "7"}, {"n", "1,2", ""}, {"n", "007", ""}, {"n", "1.23E+05", ""}, {"n", "(5)", ""},
		{"x", "1,280.50", "1280.50"}, {"x", "1.280,50", ""}, {"x", "1,28", ""}, {"x", "12.50%", ""},
		{"x", "'1280.5", "1280.5"}, {"x", "￥1,280.50", "1280.50"}, {"x", "$5", ""},
		{"d", "2026-01-05 09:06:12", "2026-01-05"}, {"d", "2026/1/5 9:06", "2026-01-05"},
		{"d", "2026-01-05T23:30:00+08:00", "2026-01-05"}, {"d", "2026-01-05T23:30:00Z", ""},
		{"d", "２０２６－０１－０５", "2026-01-05"},
		{"d", "2026年1月5日9时6分", "2026-01-05"}, {"d", "2026年1月5日 09:06:12", "2026-01-05"},
		{"d", "20260105090612", "2026-01-05"}, {"d", "2026-01-05 09:06:12.0", "2026-01-05"},
		{"d", "2026-01-05 3:04 PM", "2026-01-05"},
		{"d", "01/05/2026", ""}, {"d", "26-1-5", ""}, {"d", "2026-02-30 09:06:12", ""}, {"d", "2026-01-05 25:00", ""},
		{"d", "2026-01-05 x", ""}, {"d", "2026-01", ""}, {"d", "日", ""}, {"d", "T", ""},
		{"a", "1,280.50", "1280.50"}, {"a", "1280", "1280.00"}, {"a", "1280.5", "1280.50"},
		{"a", "¥ 1,280.5", "1280.50"}, {"a", "１２８０．５０元", "1280.50"}, {"a", "人民币1280.50元", "1280.50"},
		{"a", "1.280,50", ""},
		{"a", "1280.505", ""}, {"a", "$1,280.50", ""}, {"a", "1,28", ""}, {"a", "约1280", ""}, {"a", "-5", ""},
		{"p", "１２３４５", "12345"}, {"p", "'0012", "0012"}, {"p", "12 345", ""}, {"p", "1234.5", ""}, {"p", "1", ""},
	}
	table := [][]string{{"标题", "SM3摘要", "文件大小", "n", "x", "d", "a", "p"}}
	for i, c := range cases {
		row := []string{"题", sm.Sum([]byte{byte(i)}).String(), "1", "", "", "", "", ""}
		for k, name := range []string{"", "", "size", "n", "x", "d", "a", "p"} {
			if name == c.column {
				row[k] = c.cell
			}
		}
		table = append(table, row)
	}
	rows := o.rows(o.wait(o.add("numbers", "f", tableOf(table...)).ID, bulk.Checked))
	for i, c := range cases {
		t.Run(fmt.Sprintf("%s %q", c.column, c.cell), func(t *testing.T) {
			it := rows[i].Item
			if rows[i].Cells[0] != "题" || (rows[i].State == bulk.Refused) != (c.want == "") {
				t.Errorf("%s %q: %+v", c.column, c.cell, rows[i].Problems)
			}
			if got := it.Fields[c.column]; c.want != "" && c.column != "size" && got != c.want {
				t.Errorf("%s %q is read as %q, want %q", c.column, c.cell, got, c.want)
			}
			if c.want == "" && c.column != "size" && c.column != "n" && it.Fields[c.column] != c.cell {
				t.Errorf("%s %q is refused and shown as %q", c.column, c.cell, it.Fields[c.column])
			}
		})
	}
}
