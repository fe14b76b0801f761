package bulk_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"

	"stele/notary"
	"stele/notary/office/bulk"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantField(t *testing.T, err error, want string) {
	t.Helper()
	var field string
	var e *notary.Error
	if errors.As(err, &e) {
		field = e.Field
	}
	if field != want {
		t.Errorf("got %v (about %q), want an error about %q", err, field, want)
	}
}

// readTable reads a table of any columns.
func readTable(data []byte, rows int) (bulk.Table, error) {
	return bulk.ReadTable(context.Background(), data, bulk.Reading{Rows: rows})
}

// workbook makes an XLSX file of cells.
func workbook(t testing.TB, rows ...[]any) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for i, r := range rows {
		fatalIfErr(t, f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &r))
	}
	var b bytes.Buffer
	fatalIfErr(t, f.Write(&b))
	return b.Bytes()
}

// One table, as the programs of an office write it: all of them mean the same.
func TestReadTable(t *testing.T) {
	const text = "标题,文件名,业务编号\r\n关于办公时间的通知,一.pdf,\r\n,,\r\n\"有,逗号\n和换行\",二.pdf,〔2026〕7号\r\n"
	want := bulk.Table{Header: []string{"标题", "文件名", "业务编号"},
		Rows: []bulk.TableRow{{Line: 2, Cells: []string{"关于办公时间的通知", "一.pdf", ""}},
			{Line: 4, Cells: []string{"有,逗号\n和换行", "二.pdf", "〔2026〕7号"}}}}
	gbk, err := simplifiedchinese.GB18030.NewEncoder().String(text)
	fatalIfErr(t, err)
	wide, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(
		strings.ReplaceAll(text, "标题,文件名,业务编号", "标题\t文件名\t业务编号"))
	fatalIfErr(t, err)
	wide2, err := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(text)
	fatalIfErr(t, err)
	for name, data := range map[string]string{"UTF-8": text, "with a mark": "\xef\xbb\xbf" + text, "GB 18030": gbk,
		"UTF-16": wide2,
		"XLSX": string(workbook(t, []any{"标题", " 文件名 ", "业务编号"}, []any{"关于办公时间的通知", "一.pdf"}, nil,
			[]any{"有,逗号\n和换行", "二.pdf", "〔2026〕7号"}))} {
		t.Run(name, func(t *testing.T) {
			got, err := readTable([]byte(data), 2)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			_, err = readTable([]byte(data), 1)
			wantField(t, err, "table.too_many")
		})
	}
	if got, err := readTable([]byte(wide[:len(wide)/2*2]), 9); err == nil && len(got.Header) != 3 {
		t.Error("tabs are not seen:", got.Header)
	}
	for data, code := range map[string]string{"": "empty", "a,b\n": "empty", "a,b\n1,2,3\n": "ragged",
		"a,b\n\"1,2\n": "quotes", "a\x00b\n1\n": "unreadable", "\xff\xff\xff": "unreadable",
		"\xd0\xcf\x11\xe0\xa1\xb1": "old_workbook", "PK\x03\x04 is no zip": "unreadable", strings.Repeat("a,", 64) +
			"b\n1\n": "columns", "a\n" + strings.Repeat("x", 40<<10): "cell"} {
		t.Run(fmt.Sprintf("%.20q", data), func(t *testing.T) {
			_, err := readTable([]byte(data), 9)
			wantField(t, err, "table."+code)
		})
	}
}

// A table that was written for a spreadsheet holds no formula, and comes back as it was.
func TestPlainComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := rapid.SliceOfN(
			rapid.OneOf(rapid.SampledFrom([]string{"=1+1", "+1", "-1", "@x", "'=x", "''", "'", "'a",
				"=HYPERLINK(\"http://x\")"}), rapid.StringMatching(`[a-z'=+,"]{1,6}`)), 3, 3).Draw(t, "cells")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		_ = w.Write([]string{"a", "b", "c"})
		out := make([]string, 3)
		for i, c := range cells {
			if out[i] = bulk.Plain(c); strings.ContainsAny(out[i][:1], "=+-@\t\r") {
				t.Fatalf("%q would be a formula", out[i])
			}
		}
		_ = w.Write(out)
		w.Flush()
		got, err := readTable(b.Bytes(), 1)
		if err != nil || !slices.Equal(got.Rows[0].Cells, cells) {
			t.Fatalf("%q came back as %+v, %v", cells, got.Rows, err)
		}
	})
}

func FuzzReadTable(f *testing.F) {
	f.Add([]byte("标题,文件名\n甲,a.pdf\n"))
	f.Add([]byte("\xef\xbb\xbfa;b\r\n'=1;\"x\"\"y\"\r\n"))
	f.Add([]byte("\xb1\xea\xcc\xe2,file\n1,2\n"))
	f.Add([]byte("\xff\xfea\x00\t\x00b\x00\n\x001\x00\n\x00"))
	f.Add(workbook(f, []any{"标题", "size"}, []any{"=1+1", 17}))
	f.Add([]byte("sep=;\r标题;文件名\r甲;=\"0012\"\r"))
	f.Add(book(f,
		[]string{sheetOf(`<cols><col min="1" max="2" hidden="1"/></cols>`, textRow(1, "", "标题", "文件名")+
			`<row r="3" hidden="1"><c s="1"><v>46027.3</v></c><c t="s"><v>0</v></c></row>`,
			`<mergeCells><mergeCell ref="A2:B3"/></mergeCells>`)},
		entry{name: "xl/sharedStrings.xml", text: `<sst><si><r><t>_x000D_</t></r></si></sst>`},
		entry{name: "xl/styles.xml", text: `<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy/m/d ` +
			`h:mm"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="164"/></cellXfs></styleSheet>`}))
	general := reading(f, "general")
	general.Rows = 50
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, r := range []bulk.Reading{{Rows: 50}, general} {
			fuzzReadTable(t, data, r)
		}
	})
}

func fuzzReadTable(t *testing.T, data []byte, r bulk.Reading) {
	got, err := bulk.ReadTable(t.Context(), data, r)
	if err != nil {
		var bad *bulk.TableError
		if notary.CodeOf(err) != notary.CodeInvalid || !errors.As(err, &bad) ||
			!slices.Contains(bulk.TableCodes, bad.Code) {
			t.Errorf("%v is not for the outside", err)
		}
		return
	}
	if len(got.Rows) == 0 || len(got.Rows) > 50 {
		t.Errorf("%d rows", len(got.Rows))
	}
	line := 0
	for _, r := range got.Rows {
		if len(r.Cells) != len(got.Header) || r.Line <= line {
			t.Errorf("%+v below %q", r, got.Header)
		}
		line = r.Line
	}
	text, err := json.Marshal(got)
	fatalIfErr(t, err)
	var again bulk.Table
	if fatalIfErr(t, json.Unmarshal(text, &again)); !reflect.DeepEqual(again, got) {
		t.Errorf("%+v comes back as %+v", got, again)
	}
}
