package bulk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

var errNoText = badTable(CodeUnreadable, "",
	"This is neither a workbook (XLSX) nor a table as text (CSV in UTF-8 or GB 18030).")

// decoded reads a file as UTF-8. Decoders put U+FFFD where bytes mean nothing.
func decoded(data []byte) io.Reader {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(data, []byte(mark)) {
			d := unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder()
			return transform.NewReader(bytes.NewReader(data), d)
		}
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if utf8.Valid(data) {
		return bytes.NewReader(data)
	}
	return transform.NewReader(bytes.NewReader(data), simplifiedchinese.GB18030.NewDecoder())
}

// peeked is how much of a text is looked at for its separator, in bytes.
const peeked = 64 << 10

// readText reads a CSV file.
func readText(ctx context.Context, data []byte, b *builder) error {
	in := bufio.NewReaderSize(decoded(data), peeked)
	head, err := in.Peek(peeked)
	if err != nil && !errors.Is(err, io.EOF) {
		return errNoText
	}
	comma, stated := separator(string(head))
	if stated > 0 {
		_, _ = in.Discard(stated) // its line stays, empty: lines are counted as a spreadsheet does
	}
	lines := &lineReader{in: in, comma: comma, line: 1, fresh: true}
	r := csv.NewReader(lines)
	r.Comma, r.FieldsPerRecord, r.ReuseRecord = comma, -1, true
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return whyText(err)
		}
		line, _ := r.FieldPos(0)
		row := raw{line: line, cells: make([]string, len(cells))}
		for i, c := range cells {
			row.cells[i] = unplain(c)
		}
		if err := b.add(row); err != nil {
			return err
		}
	}
}

// whyText is the error for the outside of a text that cannot be read.
func whyText(err error) error {
	var bad *TableError
	var at *csv.ParseError
	switch {
	case errors.As(err, &bad):
		return bad
	case errors.As(err, &at):
		return badTable(CodeQuotes, at.StartLine,
			"The table cannot be read at line %d: a quotation mark is not closed, or stands where none can.",
			at.StartLine)
	}
	return errNoText
}

// separator is what a text's cells are separated by. Excel's own mark says it in a first line ("sep=;"); stated is how
// many bytes of the text that is. Otherwise it is the one that the first line that has any has most of: titles above
// the header often have none.
func separator(text string) (comma rune, stated int) {
	line, _, _ := strings.Cut(strings.ReplaceAll(text[:min(len(text), 16)], "\r", "\n"), "\n")
	if s, ok := strings.CutPrefix(strings.ToLower(strings.Trim(line, `"`)), "sep="); ok {
		for _, c := range ",;\t|" {
			if s == string(c) || c == '\t' && s == `\t` {
				return c, len(line)
			}
		}
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' })
	for _, line := range lines[:min(len(lines), titleLines)] {
		best := ','
		for _, s := range ";\t" {
			if strings.Count(line, string(s)) > strings.Count(line, string(best)) {
				best = s
			}
		}
		if strings.ContainsRune(line, best) {
			return best, 0
		}
	}
	return ',', 0
}

// lineReader brings a text into the one form that encoding/csv reads: lines end in a line feed, a cell like ="0012" is
// quoted. It refuses what is no text, and cells and lines that are too long before all of one is in memory.
type lineReader struct {
	in     *bufio.Reader
	comma  rune
	out    []byte // read, and not given yet
	line   int    // 1 is the first
	length int    // bytes of the row
	cell   int    // bytes of the cell in quotation marks
	width  int    // cells of the row
	fresh  bool   // a cell begins
	state  byte   // what the next character stands in: 0 a plain cell, '"' one in quotation marks, '=' one like ="0012"
}

// Limits of a row of a CSV file. Spreadsheets write as many empty cells as a sheet has columns where one far to the
// right was formatted.
const (
	maxLine  = 2*maxColumns*maxCell + 64<<10 // bytes; quotation marks stand there twice
	maxWidth = 16_384                        // cells
)

func (l *lineReader) Read(p []byte) (int, error) {
	for len(l.out) == 0 {
		l.out = make([]byte, 0, 4096+utf8.UTFMax)
		for len(l.out) < 4096 {
			err := l.step()
			if errors.Is(err, io.EOF) && len(l.out) > 0 {
				break
			}
			if err != nil {
				return 0, err
			}
		}
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

// step reads a character.
func (l *lineReader) step() error {
	c, n, err := l.in.ReadRune()
	if err != nil {
		return err
	}
	if c == 0 || c == utf8.RuneError {
		return errNoText
	}
	l.length += n
	l.cell += n
	switch {
	case l.length > maxLine || l.state != 0 && l.cell > 2*maxCell:
		return badTable(CodeCell, l.line, "A cell of line %d is too long, or a quotation mark is not closed there.",
			l.line)
	case l.width > maxWidth:
		return badTable(CodeColumns, maxColumns, "The table has more than %d columns.", maxColumns)
	}
	if c == '\r' && l.next() == '\n' {
		return nil
	}
	if c == '\r' {
		c = '\n'
	}
	if c == '\n' {
		l.line++
	}
	if l.state != 0 {
		l.quoted(c)
		return nil
	}
	fresh := l.fresh
	l.fresh = false
	switch {
	case c == '\n':
		l.length, l.width, l.fresh = 0, 0, true
	case c == l.comma:
		l.width, l.fresh = l.width+1, true
	case fresh && c == '"':
		l.state, l.cell = '"', 0
	case fresh && c == '=' && l.next() == '"':
		_, _, _ = l.in.ReadRune()
		l.state, l.cell = '=', 0
		l.out = append(l.out, `"=""`...)
		return nil
	}
	l.out = utf8.AppendRune(l.out, c)
	return nil
}

// quoted takes a character between quotation marks.
func (l *lineReader) quoted(c rune) {
	switch {
	case c != '"':
		l.out = utf8.AppendRune(l.out, c)
	case l.next() == '"' && l.state == '"':
		_, _, _ = l.in.ReadRune()
		l.out = append(l.out, `""`...)
	case l.next() == '"':
		_, _, _ = l.in.ReadRune()
		l.out = append(l.out, `""""`...)
	case l.state == '"':
		l.state, l.out = 0, append(l.out, '"')
	default:
		l.state, l.out = 0, append(l.out, `"""`...)
	}
}

// next is the byte behind, or 0.
func (l *lineReader) next() byte {
	b, err := l.in.Peek(1)
	if err != nil {
		return 0
	}
	return b[0]
}
