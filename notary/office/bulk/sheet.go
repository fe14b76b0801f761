package bulk

import (
	"cmp"
	"encoding/xml"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"
)

// columns are columns of a sheet, the first is 0; last is the last of them.
type columns struct{ first, last int }

// readSheet reads a sheet's cells, and then which of them are merged.
func (w *workbook) readSheet(s sheet, b *builder) error {
	p, err := w.open(s.part)
	if err != nil {
		return err
	}
	defer p.close()
	r := sheetReader{part: p, b: b}
	err = p.each(func(e xml.StartElement) error {
		switch name := e.Name.Local; {
		case p.depth != 3: // controls have places of their own with rows and columns
		case name == "col":
			return r.column(e)
		case name == "row":
			return r.row(e)
		case name == "mergeCell":
			return r.merged(attr(e, "ref"))
		}
		return nil
	})
	if err == nil {
		r.hiddenColumns()
	}
	return err
}

// sheetReader reads one sheet.
type sheetReader struct {
	*part
	b      *builder
	hidden []columns // that are hidden
	line   int       // of the row
	visits int       // cells that were looked at for merges
}

// column notes a hidden column.
func (r *sheetReader) column(e xml.StartElement) error {
	first, err1 := strconv.Atoi(attr(e, "min"))
	last, err2 := strconv.Atoi(attr(e, "max"))
	if err1 != nil || err2 != nil {
		return errWorkbook
	}
	hidden := truth(attr(e, "hidden")) || attr(e, "width") == "0"
	if hidden && first >= 1 && first <= maxColumns && len(r.hidden) < maxColumns {
		r.hidden = append(r.hidden, columns{first - 1, last - 1})
	}
	return nil
}

// hiddenColumns notes which columns of the table are hidden.
func (r *sheetReader) hiddenColumns() {
	n := Notice{Code: NoticeHiddenColumns}
	for i, heading := range r.b.heads {
		if heading != "" && slices.ContainsFunc(r.hidden, func(c columns) bool { return c.first <= i && i <= c.last }) {
			n.name(heading)
		}
	}
	if n.N > 0 {
		r.b.t.Notices = append(r.b.t.Notices, n)
	}
}

// row reads a row. Rows stand in their order: one file must not have two readings.
func (r *sheetReader) row(e xml.StartElement) error {
	line := r.line + 1
	if at := attr(e, "r"); at != "" {
		n, err := strconv.Atoi(at)
		if err != nil || n < line || n > excelize.TotalRows {
			return errWorkbook
		}
		line = n
	}
	r.line = line
	row := raw{line: line, hidden: truth(attr(e, "hidden")) || attr(e, "ht") == "0"}
	column := -1
	err := r.children(func(e xml.StartElement) (err error) {
		if e.Name.Local != "c" {
			_, err = r.text(none)
			return err
		}
		if column, err = r.place(e, column); err != nil {
			return err
		}
		return r.cell(e, column, &row)
	})
	if err != nil {
		return err
	}
	return r.b.add(row)
}

func none(string) bool { return false }

// place is the column that a cell stands in, behind that of the cell before.
func (r *sheetReader) place(e xml.StartElement, before int) (int, error) {
	at := attr(e, "r")
	if at == "" {
		return before + 1, nil
	}
	column, line, err := excelize.CellNameToCoordinates(at)
	if err != nil || column-1 <= before || line != r.line {
		return 0, errWorkbook
	}
	return column - 1, nil
}

// cell reads a cell into a row. One without a value counts for nothing, wherever it stands.
func (r *sheetReader) cell(e xml.StartElement, column int, row *raw) error {
	c := cellXML{kind: attr(e, "t"), style: attr(e, "s")}
	if err := r.parts(&c); err != nil {
		return err
	}
	text, code, err := r.w.value(&c)
	if err != nil || text == "" && code == "" {
		return err
	}
	if column >= maxColumns {
		if r.b.done {
			return ragged(column, r.line)
		}
		return badTable(CodeColumns, maxColumns, "The table has more than %d columns.", maxColumns)
	}
	for len(row.cells) <= column {
		row.cells = append(row.cells, "")
	}
	row.cells[column] = text
	if code != "" {
		row.faults = append(row.faults, fault{column, code})
	}
	return nil
}

// cellXML is a cell as it stands in a sheet (ECMA-376, part 1, 18.3.1.4).
type cellXML struct {
	kind, style string
	v, is       string
	formula     bool
}

func (r *sheetReader) parts(c *cellXML) error {
	return r.children(func(e xml.StartElement) (err error) {
		switch e.Name.Local {
		case "v":
			c.v, err = r.text(none)
		case "is":
			c.is, err = r.text(runs)
		default:
			c.formula = c.formula || e.Name.Local == "f"
			_, err = r.text(none)
		}
		return err
	})
}

// value is what a person sees in a cell; the code says that it is not what the cell means.
func (w *workbook) value(c *cellXML) (string, Code, error) {
	switch {
	case c.kind == "str" || c.kind == "inlineStr" || c.is != "":
		return cmp.Or(c.is, c.v), "", nil
	case c.v == "" && c.formula:
		return "#N/A", CodeNoValue, nil
	case c.v == "":
		return "", "", nil
	case c.kind == "s":
		text, err := w.texts.text(c.v)
		return text, "", err
	case c.kind == "b" && truth(c.v):
		return "TRUE", "", nil
	case c.kind == "b" && (c.v == "0" || c.v == "false"):
		return "FALSE", "", nil
	case c.kind == "e":
		return c.v, CodeErrorValue, nil
	case c.kind == "d":
		return isoDay(c.v), "", nil
	case c.kind == "" || c.kind == "n":
		return w.number(c.v, c.style)
	}
	return "", "", errWorkbook
}

// merged refuses cells of rows that are merged with the one above or before: only the first of them holds the value,
// and people see it in all of them.
func (r *sheetReader) merged(ref string) error {
	from, to, ok := strings.Cut(ref, ":")
	if !ok {
		return nil
	}
	left, top, err1 := excelize.CellNameToCoordinates(from)
	right, bottom, err2 := excelize.CellNameToCoordinates(to)
	if err := errors.Join(err1, err2); err != nil {
		return errWorkbook
	}
	rows, b := r.b.t.Rows, r.b
	i, whole := slices.BinarySearchFunc(rows, top, func(row TableRow, line int) int { return row.Line - line })
	for k := i; k < len(rows) && rows[k].Line <= bottom; k++ {
		for column := left - 1; column < min(right, len(b.columns)); column++ {
			if r.visits++; r.visits > maxVisits {
				return errLarge
			}
			if rows[k].Line == top && column == left-1 || b.columns[column] == "" {
				continue
			}
			// Downloaded and sent again it says what people saw, or is refused again: it is never left out.
			text := "#N/A"
			if whole && column == left-1 {
				text = rows[i].Cells[b.cellAt(column)]
			}
			b.left -= int64(len(text))
			rows[k].Cells[b.cellAt(column)] = text
			rows[k].wrong(b.columns[column], CodeMerged, ref)
		}
	}
	if b.left < 0 {
		return b.tooMuch()
	}
	return nil
}

// maxVisits is how many cells are looked at for merges: more than a table has.
const maxVisits = 2 << 20

// isoDay reads a day as ISO 8601 writes it, with or without a time.
func isoDay(s string) string {
	day, clock, _ := strings.Cut(s, "T")
	clock, _, _ = strings.Cut(strings.TrimSuffix(clock, "Z"), ".")
	if clock == "" || clock == "00:00:00" {
		return day
	}
	return day + " " + clock
}

// exact is the largest whole number, and cents the largest with a fraction, whose digits a spreadsheet keeps: it keeps
// 15 of them (a number with two decimals needs two).
const (
	exact = 1e15
	cents = 1e13
)

// parseNumber reads a number as it stands in a sheet.
func parseNumber(s string) (float64, error) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, errWorkbook
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, errWorkbook
	}
	return v, nil
}
