package bulk

import (
	"encoding/xml"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"
)

// Limits of number formats.
const (
	maxFormats = 65_490 // that cells can have (ECMA-376 leaves it open; Excel's limit)
	maxCode    = 1024   // bytes of a format's code
	maxUsed    = 1000   // formats that cells of one sheet have
)

// formats are how cells write their numbers.
type formats struct {
	since1904 bool
	styles    []int                   // number formats of cells' styles
	codes     map[int]string          // of formats that the workbook defines
	kinds     map[int]kind            // of formats that have been looked at
	cells     map[int]string          // where the library writes a number in a format
	books     map[bool]*excelize.File // by since1904: one sheet each that holds one number for each format that is used
}

// kind is what is done with a number in a format.
type kind int

const (
	plain   kind = iota // all its digits: the format shows fewer, or none of its own
	day                 // as a day
	instant             // as a day with a time
	shaped              // as the format says
)

// readStyles reads the number formats, and which style has which.
func (w *workbook) readStyles(name string) error {
	w.codes, w.kinds, w.cells, w.books = map[int]string{}, map[int]kind{}, map[int]string{}, map[bool]*excelize.File{}
	inCells := 0 // depth at which the styles of cells stand
	return w.eachIn(name, func(p *part, e xml.StartElement) error {
		if p.depth <= inCells {
			inCells = 0
		}
		switch e.Name.Local {
		case "numFmt":
			id, err := strconv.Atoi(attr(e, "numFmtId"))
			// Chinese programs write the word that people see there in place of the one in the standard.
			code := strings.ReplaceAll(attr(e, "formatCode"), "G/通用格式", "General")
			if err != nil || len(w.codes) > maxFormats {
				return errWorkbook
			}
			if len(code) > maxCode {
				code = "" // as if it were none
			}
			if w.styles == nil { // others stand in styles for conditions, with numbers of their own
				w.codes[id] = strings.Clone(code)
			}
		case "cellXfs":
			inCells, w.styles = p.depth, []int{}
		case "xf":
			if inCells == 0 {
				return nil
			}
			id, err := strconv.Atoi(attr(e, "numFmtId"))
			if err != nil {
				id = 0
			}
			if w.styles = append(w.styles, id); len(w.styles) > maxFormats {
				return errWorkbook
			}
		}
		return nil
	})
}

func (f *formats) close() {
	for _, book := range f.books {
		_ = book.Close()
	}
}

// number writes a number as a person sees it. A spreadsheet keeps 15 digits of a number: of longer ones the rest is
// lost, whatever the format shows. The text is one then that is refused again when it comes back.
func (f *formats) number(text, style string) (string, Code, error) {
	v, err := parseNumber(text)
	if err != nil {
		return "", "", err
	}
	id := 0
	if n, err := strconv.Atoi(style); err == nil && n >= 0 && n < len(f.styles) {
		id = f.styles[n]
	}
	k, known := f.kinds[id]
	if !known {
		if len(f.kinds) >= maxUsed {
			return "", "", errLarge
		}
		k = f.kind(id)
		f.kinds[id] = k
	}
	if k == day || k == instant {
		return f.day(v, k)
	}
	if math.Abs(v) >= exact || v != math.Trunc(v) && math.Abs(v) >= cents {
		return strconv.FormatFloat(v, 'E', -1, 64), CodeDigits, nil
	}
	digits := digits15(v)
	if k == shaped {
		digits, err = f.shape(digits, id)
	}
	return digits, "", err
}

// digits15 writes a number with the 15 digits that a spreadsheet shows of it at most: 0.1+0.2 is 0.3.
func digits15(v float64) string {
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'E', 14, 64), 64)
	if err != nil || short == 0 {
		return "0"
	}
	return strconv.FormatFloat(short, 'f', -1, 64)
}

// lastDay is 9999-12-31, the last day that a spreadsheet knows.
const lastDay = 2_958_466

func (f *formats) day(v float64, k kind) (string, Code, error) {
	end := float64(lastDay)
	if f.since1904 {
		end -= 1462
	}
	if v < 0 || v >= end {
		return strconv.FormatFloat(v, 'f', -1, 64), CodeNoDay, nil
	}
	if !f.since1904 && (v < 1 || v >= 60 && v < 61) {
		return strconv.FormatFloat(v, 'f', -1, 64), CodeNoDay, nil // day 0, and the 29th of February 1900
	}
	t, err := excelize.ExcelDateToTime(v, f.since1904)
	if err != nil {
		return "", "", errWorkbook
	}
	if t = t.Round(time.Second); k == instant {
		return t.Format(time.DateTime), "", nil
	}
	return t.Format(time.DateOnly), "", nil
}

// builtIn are formats without a code of their own (ECMA-376, part 1, 18.8.30), as they are in China. Others are
// written as the library does.
var builtIn = map[int]kind{0: plain, 11: plain, 12: plain, 13: plain, 14: day, 15: day, 16: day, 22: instant,
	28: day, 29: day, 30: day, 31: day, 48: plain, 49: plain, 51: day, 53: day, 54: day, 58: day}

// kind finds out what is done with numbers in a format.
func (f *formats) kind(id int) kind {
	code, own := f.codes[id]
	if !own {
		k, ok := builtIn[id]
		if !ok {
			return shaped
		}
		return k
	}
	c := bare(code)
	has := func(letters string) bool { return strings.ContainsAny(c, letters) }
	switch {
	case c == "" || c == "@" || c == "general" && !strings.Contains(code, `"`):
		return plain
	case strings.Contains(c, "e+") || strings.Contains(c, "e-") || strings.Contains(c, "?/") ||
		strings.Contains(c, "#/"):
		return plain // it shows fewer digits, or a fraction
	case has("d") && strings.Contains(c, "m") && has("h"):
		return instant
	case has("d") && strings.Contains(c, "m") && !has("0#"):
		return day
	}
	return shaped
}

// bare is the first section of a format's code without texts, colours and conditions, in lower case.
func bare(code string) string {
	var b strings.Builder
	for i := 0; i < len(code); i++ {
		switch c := code[i]; c {
		case '"':
			end := strings.IndexByte(code[i+1:], '"')
			if end < 0 {
				return b.String()
			}
			i += end + 1
		case '[':
			end := strings.IndexByte(code[i:], ']')
			if end < 0 {
				return b.String()
			}
			i += end
		case '\\', '_', '*':
			i++
		case ';':
			return strings.ToLower(b.String())
		case ' ':
		default:
			b.WriteByte(c)
		}
	}
	return strings.ToLower(b.String())
}

// elapsed are formats of a length of time, which does not begin on any day; one of them has no code of its own.
var elapsed = regexp.MustCompile(`(?i)\[(h+|m+|s+)\]`)

const elapsedHours = 46 // [h]:mm:ss (ECMA-376, part 1, 18.8.30)

// shape has the library write a number in a format.
func (f *formats) shape(digits string, id int) (string, error) {
	const sheet = "Sheet1"
	since1904 := f.since1904 && !elapsed.MatchString(f.codes[id]) && id != elapsedHours
	book := f.books[since1904]
	if book == nil {
		book = excelize.NewFile(excelize.Options{ShortDatePattern: "yyyy-mm-dd", CultureInfo: excelize.CultureNameZhCN})
		f.books[since1904] = book
		if err := book.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &since1904}); err != nil {
			return "", errWorkbook
		}
	}
	cell, ok := f.cells[id]
	if !ok {
		cell = cellName(0, len(f.cells)+1)
		f.cells[id] = cell
		style := excelize.Style{NumFmt: id}
		if code, own := f.codes[id]; own {
			style = excelize.Style{CustomNumFmt: &code}
		}
		s, err := book.NewStyle(&style)
		if err != nil {
			return digits, nil // as if it had none
		}
		if err := book.SetCellStyle(sheet, cell, cell, s); err != nil {
			return "", errWorkbook
		}
	}
	if err := book.SetCellDefault(sheet, cell, digits); err != nil {
		return "", errWorkbook
	}
	text, err := book.GetCellValue(sheet, cell)
	if err != nil {
		return "", errWorkbook
	}
	return strings.TrimSpace(text), nil
}
