package bulk

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// Table is a table as it was handed in.
type Table struct {
	Header []string
	Rows   []TableRow
}

// TableRow is a row that is not empty. It has as many cells as the header.
type TableRow struct {
	Line  int // as a spreadsheet counts it
	Cells []string
}

// Limits of a table beside those that a deployment sets.
const (
	maxColumns  = 64
	maxCell     = 32 << 10 // bytes
	maxWorkbook = 64 << 20 // bytes of an XLSX file's parts, unpacked
)

// ReadTable reads a table of at most so many rows: XLSX (its first sheet), or CSV in UTF-8, with or without
// its mark, in UTF-16 with its mark, or in GB 18030, as spreadsheets in China write it; separated by commas, semicolons or tabs. It
// must fit into memory: the caller bounds it. Its errors are for the outside; the field says
// what is wrong, see [Code].
func ReadTable(data []byte, rows int) (Table, error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return readWorkbook(data, rows)
	case bytes.HasPrefix(data, []byte("\xd0\xcf\x11\xe0")):
		return Table{}, badTable(CodeOldWorkbook, "", "This is a workbook of the old form (XLS), or one with a password. Save it as XLSX or CSV without a password.")
	}
	text, err := decodeText(data)
	if err != nil {
		return Table{}, err
	}
	return readCSV(text, rows)
}

var errNoText = badTable(CodeUnreadable, "", "This is neither a workbook (XLSX) nor a table as text (CSV in UTF-8 or GB 18030).")

func decodeText(data []byte) (string, error) {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(data, []byte(mark)) {
			text, err := unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Bytes(data)
			return checkText(string(text), err)
		}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if utf8.Valid(data) {
		return checkText(string(data), nil)
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(data)
	return checkText(string(text), err)
}

// checkText refuses what is no text: decoders put U+FFFD where bytes mean nothing.
func checkText(text string, err error) (string, error) {
	if err != nil || strings.ContainsAny(text, "\x00\ufffd") {
		return "", errNoText
	}
	return text, nil
}

// separator is the one that the first line has most of.
func separator(text string) rune {
	line, _, _ := strings.Cut(text, "\n")
	best := ','
	for _, s := range []rune{';', '\t'} {
		if strings.Count(line, string(s)) > strings.Count(line, string(best)) {
			best = s
		}
	}
	return best
}

func readCSV(text string, rows int) (Table, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = separator(text), -1
	b := builder{most: rows}
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return b.finish()
		}
		if err != nil {
			var at *csv.ParseError
			errors.As(err, &at)
			line := 0
			if at != nil {
				line = at.Line
			}
			return Table{}, badTable(CodeQuotes, line, "The table cannot be read at line %d: a quotation mark is not closed, or stands where none can.", line)
		}
		line, _ := r.FieldPos(0)
		for i := range cells {
			cells[i] = unplain(cells[i])
		}
		if err := b.add(line, cells); err != nil {
			return Table{}, err
		}
	}
}

// readWorkbook reads the first sheet of an XLSX file, cells as a person sees them.
func readWorkbook(data []byte, rows int) (t Table, err error) {
	unreadable := badTable(CodeUnreadable, "", "The workbook cannot be read. Save it anew as XLSX, or as CSV.")
	if err := measureWorkbook(data); err != nil {
		return t, err
	}
	// The library panics on some damaged files; a table must not stop the service.
	defer func() {
		if v := recover(); v != nil {
			t, err = Table{}, fmt.Errorf("%w (panic: %v)", unreadable, v)
		}
	}()
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{UnzipSizeLimit: maxWorkbook, UnzipXMLSizeLimit: maxWorkbook, ShortDatePattern: "yyyy-mm-dd"})
	if err != nil {
		return t, unreadable
	}
	defer f.Close()
	sheets := f.GetSheetList()
	if len(sheets) == 0 {
		return t, unreadable
	}
	it, err := f.Rows(sheets[0])
	if err != nil {
		return t, unreadable
	}
	defer it.Close()
	b := builder{most: rows}
	for line := 1; it.Next(); line++ {
		// A row number can be anything in a hostile file; what is between counts as empty rows.
		if line > maxLines {
			return t, badTable(CodeTooMany, maxLines, "The table has more than %d lines.", maxLines)
		}
		cells, err := it.Columns()
		if err != nil {
			return t, unreadable
		}
		for i := range cells {
			if !utf8.ValidString(cells[i]) || strings.ContainsRune(cells[i], 0) {
				return t, unreadable
			}
		}
		if err := b.add(line, cells); err != nil {
			return t, err
		}
	}
	if it.Error() != nil {
		return t, unreadable
	}
	return b.finish()
}

// maxLines bounds how many lines a workbook is read, empty ones among them.
const maxLines = 100_000

// measureWorkbook unpacks a workbook to nowhere: the sizes that it states may be lies.
func measureWorkbook(data []byte) error {
	z, err := openZip(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return badTable(CodeUnreadable, "", "The workbook cannot be read. Save it anew as XLSX, or as CSV.")
	}
	left := int64(maxWorkbook)
	for _, f := range z.File {
		n, err := func() (int64, error) {
			r, err := f.Open()
			if err != nil {
				return 0, err
			}
			defer r.Close()
			return io.Copy(io.Discard, io.LimitReader(r, left+1))
		}()
		if left -= n; left < 0 {
			return badTable(CodeTooLarge, maxWorkbook>>20, "Unpacked, the workbook has more than %d bytes. Take pictures and other sheets out of it.", maxWorkbook)
		}
		if err != nil {
			return badTable(CodeUnreadable, "", "The workbook is damaged. Save it anew as XLSX, or as CSV.")
		}
	}
	return nil
}

// builder collects rows. Rows and columns without anything in them do not count.
type builder struct {
	t    Table
	most int
}

func (b *builder) add(line int, cells []string) error {
	empty := true
	for i, c := range cells {
		c = strings.Trim(c, " \t\r\n\u00a0\u3000")
		cells[i] = c
		empty = empty && c == ""
		if len(c) > maxCell {
			return badTable(CodeCell, line, "The cell %d of line %d has more than %d bytes.", i+1, line, maxCell)
		}
	}
	if empty {
		return nil
	}
	for len(cells) > 0 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	if b.t.Header == nil {
		if len(cells) > maxColumns {
			return badTable(CodeColumns, maxColumns, "The table has more than %d columns.", maxColumns)
		}
		b.t.Header = cells
		return nil
	}
	switch {
	case len(b.t.Rows) == b.most:
		return badTable(CodeTooMany, b.most, "A table has at most %d rows. Divide it.", b.most)
	case len(cells) > len(b.t.Header):
		return badTable(CodeRagged, line, "Line %d has more cells than the header.", line)
	}
	full := make([]string, len(b.t.Header))
	copy(full, cells)
	b.t.Rows = append(b.t.Rows, TableRow{line, full})
	return nil
}

func (b *builder) finish() (Table, error) {
	if len(b.t.Rows) == 0 {
		return Table{}, badTable(CodeEmpty, "", "The table has no rows below its header.")
	}
	return b.t, nil
}

// formula are the first characters by which a spreadsheet takes a text for a formula, or drops
// what is before one (OWASP, "CSV Injection").
const formula = "=+-@\t\r\n＝＋－＠"

// Plain keeps a spreadsheet from taking a text for a formula. [ReadTable] takes the mark off
// again: a table that was written here comes back as it was.
func Plain(s string) string {
	if s != "" && (strings.ContainsRune(formula, first(s)) || marked(s)) {
		return "'" + s
	}
	return s
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// marked reports whether a text looks like one that Plain made.
func marked(s string) bool {
	return len(s) > 1 && s[0] == '\'' && strings.ContainsRune(formula+"'", first(s[1:]))
}

func unplain(s string) string {
	if marked(s) {
		return s[1:]
	}
	return s
}
