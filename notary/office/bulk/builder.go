package bulk

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"

	"stele/notary/register/class"
)

// builder collects rows. Rows and columns without anything in them do not count.
type builder struct {
	most    int
	bytes   int64 // that all cells may have together
	left    int64 // of those
	schema  *class.Schema
	known   map[string]Column
	pending []raw    // rows before it is clear which of them is the header
	columns []string // names of the columns, by position in the file; empty for those that are left out
	heads   []string // headings, by position in the file
	t       Table
	hidden  Notice // rows
	done    bool   // the header is known
}

// raw is a row of a file with what is wrong with its cells.
type raw struct {
	line   int
	hidden bool
	cells  []string
	faults []fault // in the order of the columns
}

// fault is a cell whose value is not in the file.
type fault struct {
	column int // 0 is the first
	code   Code
}

// titleLines is in how many of the first lines that are not empty the column names are looked for: a title, the name of
// an office and a day often stand above them.
const titleLines = 10

func newBuilder(r Reading) (*builder, error) {
	s, err := parseColumns(r.Schema)
	if err != nil {
		return nil, err
	}
	b := &builder{most: r.Rows, bytes: r.Bytes, schema: s, hidden: Notice{Code: NoticeHiddenRows}}
	if b.bytes <= 0 {
		b.bytes = MaxText
	}
	b.left = b.bytes
	if s != nil {
		b.known = headings(s)
	}
	return b, nil
}

// errorValues are what spreadsheets write where a formula has no value, or a column is too narrow for a
// day; shortened are numbers that one has shortened. Both are texts in a CSV file.
var (
	errorValues = regexp.MustCompile(`^(#(N/A|REF!|VALUE!|DIV/0!|NAME\?|NULL!|NUM!|SPILL!|CALC!|FIELD!|BLOCKED!|` +
		`CONNECT!|UNKNOWN!|BUSY!|GETTING_DATA)|#{3,}|Err:5[0-9]{2})$`)
	shortened = regexp.MustCompile(`^[-+]?[0-9](\.[0-9]+)?E[-+][0-9]{2,3}$`)
)

// add takes a row in. It may keep row.cells.
func (b *builder) add(row raw) error {
	last := -1
	for i, c := range row.cells {
		c = strings.Trim(c, " \t\r\n\u00a0\u3000")
		row.cells[i] = c
		if len(c) > maxCell {
			return badTable(CodeCell, row.line, "The cell %s has more than %d bytes.", cellName(i, row.line), maxCell)
		}
		if c != "" {
			last = i
			b.left -= int64(len(c))
		}
	}
	if n := len(row.faults); n > 0 {
		last = max(last, row.faults[n-1].column)
	}
	if last < 0 {
		return nil
	}
	if b.left < 0 {
		return b.tooMuch()
	}
	row.cells = append(row.cells[:min(len(row.cells), last+1)], make([]string, max(0, last+1-len(row.cells)))...)
	if b.done {
		return b.keep(row)
	}
	if len(row.cells) > maxColumns {
		return badTable(CodeColumns, maxColumns, "The table has more than %d columns.", maxColumns)
	}
	b.pending = append(b.pending, row)
	switch {
	case b.schema == nil || b.score(row.cells) > 1: // one cell of a title may be a name by chance
		return b.settle(len(b.pending) - 1)
	case len(b.pending) == titleLines:
		return b.choose()
	}
	return nil
}

func (b *builder) tooMuch() error {
	return badTable(CodeTooMuch, b.bytes>>20, "The cells of the table have more than %d bytes together. Divide it.",
		b.bytes)
}

// score is how many of a row's cells are names of columns.
func (b *builder) score(cells []string) (n int) {
	for _, c := range cells {
		if _, ok := b.known[fold(c)]; ok {
			n++
		}
	}
	return n
}

// choose takes, of rows none of which names two columns, the first that names one: its error says what is missing.
func (b *builder) choose() error {
	at := slices.IndexFunc(b.pending, func(row raw) bool { return b.score(row.cells) > 0 })
	if at < 0 {
		return badTable(CodeNoHeader, titleLines, "None of the first %d lines names the columns of the class.",
			titleLines)
	}
	return b.settle(at)
}

// settle takes one of the first rows for the header, and keeps those below it.
func (b *builder) settle(at int) error {
	if err := b.header(b.pending[at]); err != nil {
		return err
	}
	if at > 0 {
		b.t.Notices = append(b.t.Notices, Notice{Code: NoticeHeader, N: 1, Lines: []int{b.pending[at].line}})
	}
	rows := b.pending[at+1:]
	b.pending, b.done = nil, true
	for _, row := range rows {
		if err := b.keep(row); err != nil {
			return err
		}
	}
	return nil
}

// header takes a row for the header.
func (b *builder) header(row raw) error {
	if b.schema != nil {
		means := slices.DeleteFunc(slices.Clone(row.cells), func(h string) bool { return h == "" || saysErrors(h) })
		if _, err := arrange(means, b.schema); err != nil {
			return err
		}
	}
	b.t.Header = []string{}
	for _, heading := range row.cells {
		name := heading
		if c, ok := b.known[fold(heading)]; ok {
			name = c.Name
		}
		if saysErrors(heading) {
			name = ""
		}
		if b.columns, b.heads = append(b.columns, name), append(b.heads, heading); name != "" {
			b.t.Header = append(b.t.Header, heading)
		}
	}
	if row.hidden {
		b.hidden.line(row.line)
	}
	return nil
}

// keep adds a row below the header.
func (b *builder) keep(row raw) error {
	if len(b.t.Rows) == b.most {
		return badTable(CodeTooMany, b.most, "A table has at most %d rows. Divide it.", b.most)
	}
	out := TableRow{Line: row.line, Cells: make([]string, 0, len(b.t.Header))}
	for i, name := range b.columns {
		if name != "" {
			text := ""
			if i < len(row.cells) {
				text = row.cells[i]
			}
			out.Cells = append(out.Cells, text)
		}
	}
	for i, text := range row.cells {
		if text != "" && (i >= len(b.heads) || b.heads[i] == "") {
			return ragged(i, row.line)
		}
	}
	for i, text := range row.cells {
		switch {
		case errorValues.MatchString(text):
			row.faults = append(row.faults, fault{i, CodeErrorValue})
		case shortened.MatchString(text):
			row.faults = append(row.faults, fault{i, CodeDigits})
		}
	}
	for _, f := range row.faults {
		out.wrong(b.columnAt(f.column), f.code, cellName(f.column, row.line))
	}
	if row.hidden {
		b.hidden.line(row.line)
	}
	b.t.Rows = append(b.t.Rows, out)
	return nil
}

// ragged is the error of a cell in a column without a name.
func ragged(column, line int) error {
	at := cellName(column, line)
	return badTable(CodeRagged, at, "The cell %s holds something, and its column has no name in the header.", at)
}

func (b *builder) columnAt(i int) string {
	if i < len(b.columns) {
		return b.columns[i]
	}
	return ""
}

// cellAt is where a column of the file stands in the rows that are kept.
func (b *builder) cellAt(column int) (n int) {
	for _, name := range b.columns[:column] {
		if name != "" {
			n++
		}
	}
	return n
}

// wrong notes what is wrong with a cell, if nothing is yet, and it counts.
func (r *TableRow) wrong(column string, code Code, at string) {
	if column != "" && !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Column == column }) {
		r.Problems = append(r.Problems, Problem{column, code, at})
	}
}

func (b *builder) finish() (Table, error) {
	if len(b.pending) > 0 {
		if err := b.choose(); err != nil {
			return Table{}, err
		}
	}
	if len(b.t.Rows) == 0 {
		return Table{}, badTable(CodeEmpty, "", "The table has no rows below its header.")
	}
	if b.hidden.N > 0 {
		b.t.Notices = append(b.t.Notices, b.hidden)
	}
	return b.t, nil
}

// cellName is how a spreadsheet names a cell; column 0 is the first.
func cellName(column, line int) string {
	name, err := excelize.CoordinatesToCellName(column+1, line)
	if err != nil {
		return strconv.Itoa(line) // a CSV file has more lines than a sheet
	}
	return name
}
