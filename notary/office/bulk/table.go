package bulk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"stele/notary/register/class"
)

// Table is a table as it was handed in. All of it can be written as JSON.
type Table struct {
	Header  []string   `json:"header"`
	Rows    []TableRow `json:"rows"`
	Notices []Notice   `json:"notices,omitempty"` // what whoever hands it in should know
}

// TableRow is a row that is not empty. It has as many cells as the header.
type TableRow struct {
	Line     int       `json:"line"` // as a spreadsheet counts it
	Cells    []string  `json:"cells"`
	Problems []Problem `json:"problems,omitempty"` // cells whose value is not in the file, see [CodeDigits]
}

// Reading is how a table is to be read. All of it can be written as JSON.
type Reading struct {
	Rows   int             `json:"rows"`             // at most
	Bytes  int64           `json:"bytes"`            // of all cells together, at most; 0: [MaxText]
	Schema json.RawMessage `json:"schema,omitempty"` // of the class whose columns the table has; none: any columns
}

// Limits of a table beside those that a deployment sets.
const (
	maxColumns = 64
	maxCell    = 32 << 10 // bytes

	// MaxText bounds the bytes of all cells together: as many as the largest CSV file has. A workbook of a few
	// kilobytes refers to one long text from every cell; each time counts.
	MaxText = 16 << 20
)

// ReadTable reads a table: XLSX (its first visible sheet that holds something), or CSV in UTF-8, with or without
// its mark, in UTF-16 with its mark, or in GB 18030, as spreadsheets in China write it; separated by commas,
// semicolons or tabs. The file must fit into memory: the caller bounds it. Beside it, reading takes less than
// 128 MiB whatever the file holds, and ends with ctx. The header is checked against the class before any row is kept.
//
// It has no effects, and its input and its answer can be written as JSON. Its errors are for the outside, see
// [TableError], but for that of ctx.
func ReadTable(ctx context.Context, data []byte, r Reading) (Table, error) {
	b, err := newBuilder(r)
	if err != nil {
		return Table{}, err
	}
	if form := foreign(data); form != "" {
		return Table{}, otherForm(form)
	}
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		err = readWorkbook(ctx, data, b)
	case bytes.HasPrefix(data, []byte(compound)) && bytes.Contains(data, wide("EncryptedPackage")):
		err = badTable(CodeLockedWorkbook, "", "The workbook has a password. Save it without one.")
	case bytes.HasPrefix(data, []byte(compound)):
		err = badTable(CodeOldWorkbook, "",
			"This is a workbook of the old form (XLS, or ET of WPS). Save it as XLSX or CSV.")
	default:
		err = readText(ctx, data, b)
	}
	if err != nil {
		return Table{}, err
	}
	return b.finish()
}

func otherForm(form string) error {
	return badTable(CodeOtherForm, form,
		"This is a file of the form %s. Open it with a spreadsheet, save it as XLSX or CSV, and send that.", form)
}

// compound begins a file of the Compound File Binary Format (MS-CFB 2.2): XLS, ET, and XLSX with a password.
const compound = "\xd0\xcf\x11\xe0"

// wide is a text as names in a compound file are written.
func wide(s string) []byte {
	out := make([]byte, 0, 2*len(s))
	for _, c := range []byte(s) {
		out = append(out, c, 0)
	}
	return out
}

// foreign names the form of a file that people take for a table and that is not read here; empty for others. What
// programs save as "XLS" is often a web page.
func foreign(data []byte) string {
	head := data[:min(len(data), 4096)]
	if bytes.HasPrefix(head, []byte("PK\x03\x04")) {
		if bytes.Contains(head, []byte("application/vnd.oasis.opendocument")) {
			return "ODS"
		}
		return ""
	}
	if bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) {
		head = bytes.ReplaceAll(head[2:], []byte{0}, nil) // what these forms begin with is ASCII
	}
	text := strings.ToLower(string(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")))
	for _, f := range []struct{ begins, has, form string }{
		{"%pdf-", "", "PDF"},
		{"{\\rtf", "", "RTF"},
		{"<?xml", "urn:schemas-microsoft-com:office:spreadsheet", "XML 2003"},
		{"<?xml", "<html", "HTML"},
		{"<?xml", "", "XML"},
		{"<!doctype html", "", "HTML"},
		{"<html", "", "HTML"},
		{"<head", "", "HTML"},
		{"<meta", "", "HTML"},
		{"<style", "", "HTML"},
		{"<table", "", "HTML"},
		{"mime-version:", "", "MHT"},
		{"id;p", "", "SYLK"},
	} {
		if strings.HasPrefix(text, f.begins) && strings.Contains(text, f.has) {
			return f.form
		}
	}
	return ""
}

// TableError is why a table cannot be used at all. It is an error for the outside; code and detail are for a text in
// the person's own language. It can be written as JSON, and read again.
type TableError struct {
	Problem
	Message string `json:"message"`
}

// Error implements error.
func (e *TableError) Error() string { return e.Message }

// Unwrap returns the error for the outside; its field is "table." and the code.
func (e *TableError) Unwrap() error { return outside(e) }

// ErrTableCosts is of a table that takes too much time or memory to read, and ErrTableBreaks of one that
// whatever read it did not survive.
var (
	ErrTableCosts = badTable(CodeTooLarge, MaxText>>20,
		"Reading the table takes too much time or memory. Copy its values into a new workbook, or save it as CSV.")
	ErrTableBreaks = badTable(CodeUnreadable, "", "The table cannot be read. Save it anew as XLSX, or as CSV.")
)

func badTable(code Code, detail any, format string, args ...any) error {
	return &TableError{Problem{Code: code, Detail: fmt.Sprint(detail)}, fmt.Sprintf(format, args...)}
}

// parseColumns reads the class that a table is read for.
func parseColumns(raw json.RawMessage) (*class.Schema, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	s, err := class.ParseSchema(raw)
	if err != nil {
		return nil, errors.Join(errors.New("the schema to read a table by"), err)
	}
	return s, nil
}
