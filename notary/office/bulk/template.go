package bulk

import (
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/xuri/excelize/v2"

	"stele/crypto/sm"
)

// Template is a table that people fill in. Its texts are in their language.
type Template struct {
	Sheet   string // name of the sheet with the table
	Explain string // name of the sheet that explains
	Heads   [3]string
	Columns []TemplateColumn
	Rules   []string
}

// TemplateColumn is a column of a template.
type TemplateColumn struct {
	Heading string
	Example string
	Needed  string // whether it must be filled in, in words
	Note    string
}

// WriteCSV writes a template as text in UTF-8, with the mark by which spreadsheets know it.
func (t Template) WriteCSV(w io.Writer) error {
	if _, err := io.WriteString(w, "\xef\xbb\xbf"); err != nil {
		return err
	}
	head, example := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i], example[i] = Plain(c.Heading), Plain(c.Example)
	}
	return csv.NewWriter(w).WriteAll([][]string{head, example})
}

// WriteWorkbook writes a template as XLSX. All cells are texts: a spreadsheet would shorten
// long numbers and turn days into numbers.
func (t Template) WriteWorkbook(w io.Writer) (err error) {
	f := excelize.NewFile()
	defer f.Close()
	must := func(e error) {
		if err == nil {
			err = e
		}
	}
	must(f.SetSheetName("Sheet1", t.Sheet))
	_, e := f.NewSheet(t.Explain)
	must(e)
	text, e := f.NewStyle(&excelize.Style{NumFmt: 49}) // "@"
	must(e)
	bold, e := f.NewStyle(&excelize.Style{NumFmt: 49, Font: &excelize.Font{Bold: true}})
	must(e)
	wrap, e := f.NewStyle(&excelize.Style{Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"}})
	must(e)
	set := func(sheet string, column, row int, v string, style int) {
		cell, e := excelize.CoordinatesToCellName(column, row)
		must(e)
		must(f.SetCellStr(sheet, cell, v))
		must(f.SetCellStyle(sheet, cell, cell, style))
	}
	last, e := excelize.ColumnNumberToName(max(1, len(t.Columns)))
	must(e)
	must(f.SetColStyle(t.Sheet, "A:"+last, text))
	must(f.SetColWidth(t.Sheet, "A", last, 22))
	must(f.SetPanes(t.Sheet, &excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}))
	for i, head := range t.Heads {
		set(t.Explain, i+1, 1, head, bold)
	}
	for i, c := range t.Columns {
		set(t.Sheet, i+1, 1, c.Heading, bold)
		set(t.Sheet, i+1, 2, c.Example, text)
		set(t.Explain, 1, i+2, c.Heading, wrap)
		set(t.Explain, 2, i+2, c.Needed, wrap)
		set(t.Explain, 3, i+2, c.Note, wrap)
	}
	for i, rule := range t.Rules {
		set(t.Explain, 1, len(t.Columns)+3+i, rule, text)
	}
	must(f.SetColWidth(t.Explain, "A", "B", 22))
	must(f.SetColWidth(t.Explain, "C", "C", 70))
	if err != nil {
		return fmt.Errorf("make a template: %w", err)
	}
	return f.Write(w)
}

// Example is what a cell of a column can hold, empty where none is known.
func (c Column) Example() string {
	switch c.Name {
	case ColumnFile:
		return "2026/001.pdf"
	case ColumnSM3:
		return sm.Sum([]byte("abc")).String()
	case ColumnSize:
		return "3"
	case ColumnMediaType:
		return "application/pdf"
	}
	p := c.Property
	switch {
	case p == nil:
		return ""
	case len(p.Enum) > 0:
		return p.Enum[0]
	case p.Format == "date":
		return "2026-11-22"
	case p.Format == "email":
		return "name@example.com"
	case p.Type == "boolean":
		return "true"
	case p.Type == "integer" || p.Type == "number":
		return "1"
	case p.Pattern != "":
		return example(p.Pattern)
	}
	return ""
}

// example makes a short text that a pattern takes, or none.
func example(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	write(&b, re)
	if ok, err := regexp.MatchString(pattern, b.String()); err != nil || !ok {
		return ""
	}
	return b.String()
}

func write(b *strings.Builder, re *syntax.Regexp) {
	if b.Len() > 64 {
		return // too long to be a help
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		if len(re.Rune) > 1 { // pairs of first and last; the last of the first pair is seldom a zero
			b.WriteRune(re.Rune[1])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpRepeat:
		for range re.Min {
			write(b, re.Sub[0])
		}
	case syntax.OpPlus, syntax.OpCapture, syntax.OpAlternate:
		write(b, re.Sub[0])
	case syntax.OpConcat:
		for _, s := range re.Sub {
			write(b, s)
		}
	}
}
