package bulk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/simplifiedchinese"

	"stele/notary/office/bulk"
	"stele/notary/register/class"
)

const (
	spreadsheetML = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" ` +
		`xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`
	relationships = `http://schemas.openxmlformats.org/officeDocument/2006/relationships/`
)

// book is a workbook written by hand, for what no library writes: sheets, and other parts instead of those that are
// made.
func book(t testing.TB, sheets []string, more ...entry) []byte {
	t.Helper()
	var list, rels strings.Builder
	for i := range sheets {
		fmt.Fprintf(&list, `<sheet name="S%d" sheetId="%d" r:id="r%d"/>`, i+1, i+1, i+1)
		fmt.Fprintf(&rels, `<Relationship Id="r%d" Type="%sworksheet" Target="worksheets/sheet%d.xml"/>`, i+1,
			relationships, i+1)
	}
	parts := []entry{
		{name: "[Content_Types].xml", text: "<Types/>"},
		{name: "_rels/.rels", text: `<Relationships><Relationship Id="r" Type="` + relationships +
			`officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		{name: "xl/workbook.xml", text: `<workbook ` + spreadsheetML + `><sheets>` + list.String() +
			`</sheets></workbook>`},
		{name: "xl/_rels/workbook.xml.rels", text: `<Relationships>` + rels.String() + `<Relationship Id="s" Type="` +
			relationships + `sharedStrings" Target="/xl/sharedStrings.xml"/>` +
			`<Relationship Id="t" Type="` + relationships + `styles" Target="styles.xml"/></Relationships>`},
	}
	for i, s := range sheets {
		parts = append(parts, entry{name: fmt.Sprintf("xl/worksheets/sheet%d.xml", i+1), text: s})
	}
	return zipOf(t, append(slices.DeleteFunc(parts, func(p entry) bool {
		return slices.ContainsFunc(more, func(e entry) bool { return e.name == p.name })
	}), more...)...)
}

// sheetOf is a sheet of rows; what stands before and behind them comes with them.
func sheetOf(before, rows, behind string) string {
	return `<?xml version="1.0"?><worksheet ` + spreadsheetML + `>` + before + `<sheetData>` + rows + `</sheetData>` +
		behind + `</worksheet>`
}

// textRow is a row of texts in place.
func textRow(line int, attrs string, cells ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<row r="%d" %s>`, line, attrs)
	for _, c := range cells {
		fmt.Fprintf(&b, `<c t="inlineStr"><is><t>%s</t></is></c>`, c)
	}
	return b.String() + `</row>`
}

// generalReading reads a table of the class that every agency has; invoiceReading one of e-invoices.
func reading(t testing.TB, id string) bulk.Reading {
	t.Helper()
	for _, c := range class.Ready() {
		if c.ID == id {
			return bulk.Reading{Rows: 10_000, Schema: c.Schema}
		}
	}
	t.Fatal("there is no class ", id)
	return bulk.Reading{}
}

// cellsOf are a table's rows, without what else there is to say.
func cellsOf(table bulk.Table) (out [][]string) {
	for _, r := range table.Rows {
		out = append(out, r.Cells)
	}
	return out
}

// faults are the cells whose value is not in the file: where, and why.
func faults(table bulk.Table) map[string]bulk.Code {
	out := map[string]bulk.Code{}
	for _, r := range table.Rows {
		for _, p := range r.Problems {
			out[p.Detail+" "+p.Column] = p.Code
		}
	}
	return out
}

// What people do not see of a workbook is said, and a sheet that they do not see is not read.
func TestHidden(t *testing.T) {
	head := textRow(1, "", "标题", "文件名", "业务编号")
	sheet := func(title string) string { return sheetOf("", head+textRow(2, "", title, "a.pdf"), "") }
	list := func(states ...string) entry {
		var b strings.Builder
		for i, s := range states {
			fmt.Fprintf(&b, `<sheet name="表%d" sheetId="%d" state="%s" r:id="r%d"/>`, i+1, i+1, s, i+1)
		}
		return entry{name: "xl/workbook.xml", text: `<workbook ` + spreadsheetML + `><sheets>` + b.String() +
			`</sheets></workbook>`}
	}
	n := func(code bulk.NoticeCode, names ...string) bulk.Notice {
		return bulk.Notice{Code: code, N: len(names), Names: names}
	}
	lines := func(code bulk.NoticeCode, l ...int) bulk.Notice { return bulk.Notice{Code: code, N: len(l), Lines: l} }
	empty := sheetOf("", `<row r="1"><c r="A1" s="3"/></row>`, "")
	for name, c := range map[string]struct {
		data []byte
		want string // title of the first row
		say  []bulk.Notice
	}{
		"the first sheet is hidden": {book(t, []string{sheet("旧"), sheet("本次")}, list("hidden", "visible")), "本次",
			[]bulk.Notice{n(bulk.NoticeSheet, "表2"), n(bulk.NoticeHiddenSheets, "表1")}},
		"very hidden": {book(t, []string{sheet("旧"), sheet("本次")}, list("veryHidden", "")), "本次",
			[]bulk.Notice{n(bulk.NoticeSheet, "表2"), n(bulk.NoticeHiddenSheets, "表1")}},
		"hidden and empty":    {book(t, []string{empty, sheet("本次")}, list("hidden", "visible")), "本次", nil},
		"hidden and damaged":  {book(t, []string{"<", sheet("本次")}, list("hidden", "visible")), "本次", nil},
		"an empty one before": {book(t, []string{empty, sheet("本次"), empty}), "本次", nil},
		"two of them": {book(t, []string{sheet("一"), sheet("二")}), "一", []bulk.Notice{n(bulk.NoticeSheet, "S1"),
			n(bulk.NoticeOtherSheets, "S2")}},
		"a filter": {
			book(t, []string{sheetOf("", head+textRow(2, "", "见", "a")+textRow(3, `hidden="1"`, "不见", "b")+
				`<row r="9" hidden="1"/>`, "")}), "见", []bulk.Notice{lines(bulk.NoticeHiddenRows, 3)}},
		"no height": {
			book(t, []string{sheetOf("", textRow(1, `ht="0"`, "标题", "文件名")+textRow(5, `ht="0" customHeight="1"`, "不见",
				"b"), "")}), "不见", []bulk.Notice{lines(bulk.NoticeHiddenRows, 1, 5)}},
		"columns": {
			book(t, []string{sheetOf(`<cols><col min="2" max="2" width="9"/><col min="3" max="9" hidden="1"/></cols>`,
				head+textRow(2, "", "见", "a", "暗"), "")}), "见", []bulk.Notice{n(bulk.NoticeHiddenColumns, "业务编号")}},
		"empty ones": {
			book(t, []string{sheetOf(`<cols><col min="4" max="16384" hidden="1"/></cols>`,
				head+textRow(2, "", "见", "a"), "")}), "见", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bulk.ReadTable(t.Context(), c.data, reading(t, "general"))
			if err != nil || len(got.Rows) == 0 || got.Rows[0].Cells[0] != c.want ||
				!reflect.DeepEqual(got.Notices, c.say) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			// What a reading gives goes to another process as it is.
			text, err := json.Marshal(got)
			fatalIfErr(t, err)
			var again bulk.Table
			if fatalIfErr(t, json.Unmarshal(text, &again)); !reflect.DeepEqual(again, got) {
				t.Errorf("%s: %s", name, text)
			}
		})
	}
	_, err := bulk.ReadTable(t.Context(), book(t, []string{sheet("旧"), empty}, list("hidden", "visible")),
		reading(t, "general"))
	wantField(t, err, "table.hidden")
	_, err = bulk.ReadTable(t.Context(), book(t, []string{empty, empty}), reading(t, "general"))
	wantField(t, err, "table.empty")
}

// A spreadsheet keeps 15 digits of a number, whatever its format shows: what lost digits is an error, and stays one
// when the row is downloaded and sent again. What a cell holds as a text, or a small number, is read.
func TestDigits(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	whole, err := f.NewStyle(&excelize.Style{NumFmt: 1})
	fatalIfErr(t, err)
	money, err := f.NewStyle(&excelize.Style{NumFmt: 4})
	fatalIfErr(t, err)
	text, err := f.NewStyle(&excelize.Style{NumFmt: 49})
	fatalIfErr(t, err)
	science, err := f.NewStyle(&excelize.Style{NumFmt: 11})
	fatalIfErr(t, err)
	fatalIfErr(t, f.SetSheetRow("Sheet1", "A1", &[]any{"x"}))
	want := [][]string{}
	wrong := map[string]bulk.Code{}
	for i, c := range []struct {
		value string
		style int
		want  string
		code  bulk.Code
	}{
		{"2.53120000001234E+19", whole, "2.53120000001234E+19", bulk.CodeDigits},
		{"2.53120000001234E+19", 0, "2.53120000001234E+19", bulk.CodeDigits},
		{"110101199003070000", text, "1.1010119900307E+17", bulk.CodeDigits},
		{"-1000000000000000", 0, "-1E+15", bulk.CodeDigits},
		{"999999999999999", whole, "999999999999999", ""},
		{"110101199003", 0, "110101199003", ""},
		{"110101199003", science, "110101199003", ""}, // shown as 1.10E+11
		{"0.30000000000000004", 0, "0.3", ""},
		{"1280.5000000000018", money, "1,280.50", ""},
		{"1280.505", 0, "1280.505", ""},
		{"12345678901234.56", money, "1.234567890123456E+13", bulk.CodeDigits},
		{"9999999999999.99", money, "9,999,999,999,999.99", ""},
		{"-0", 0, "0", ""},
	} {
		cell := fmt.Sprint("A", i+2)
		fatalIfErr(t, f.SetCellDefault("Sheet1", cell, c.value))
		fatalIfErr(t, f.SetCellStyle("Sheet1", cell, cell, c.style))
		if want = append(want, []string{c.want}); c.code != "" {
			wrong[cell+" x"] = c.code
		}
	}
	fatalIfErr(t, f.SetCellStr("Sheet1", "A20", "25312000000012345678"))
	want = append(want, []string{"25312000000012345678"})
	var b bytes.Buffer
	fatalIfErr(t, f.Write(&b))
	got, err := readTable(b.Bytes(), 99)
	if err != nil || !reflect.DeepEqual(cellsOf(got), want) || !reflect.DeepEqual(faults(got), wrong) {
		t.Errorf("%q %v, %v\nwant %q %v", cellsOf(got), faults(got), err, want, wrong)
	}
	var again [][]string
	for _, r := range append([][]string{{"x"}}, cellsOf(got)...) {
		again = append(again, []string{bulk.Plain(r[0])})
	}
	back, err := readTable(tableOf(again...), 99)
	if err != nil || len(faults(back)) != len(wrong) {
		t.Errorf("downloaded and sent again: %v, %v", faults(back), err)
	}
}

// Days are read from what a cell holds, not from how a spreadsheet in some country shows it.
func TestDays(t *testing.T) {
	numFmts := `<numFmts><numFmt numFmtId="164" formatCode="yyyy/m/d;@"/><numFmt numFmtId="165" ` +
		`formatCode="yyyy&quot;年&quot;m&quot;月&quot;d&quot;日&quot;"/>` +
		`<numFmt numFmtId="166" formatCode="yyyy\-mm\-dd\ hh:mm:ss"/><numFmt numFmtId="167" ` +
		`formatCode="[$-409]d-mmm-yy;@"/><numFmt numFmtId="168" formatCode="yyyy"/>` +
		`<numFmt numFmtId="169" formatCode="[Red]#,##0.00&quot; d m&quot;"/><numFmt numFmtId="170" ` +
		`formatCode="00000"/></numFmts>`
	ids := []int{0, 14, 22, 31, 58, 164, 165, 166, 167, 168, 169, 170, 9, 20}
	var xf strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&xf, `<xf numFmtId="%d"/>`, id)
	}
	styles := entry{name: "xl/styles.xml", text: `<styleSheet ` + spreadsheetML + `>` + numFmts +
		`<cellStyleXfs><xf numFmtId="9"/></cellStyleXfs><cellXfs>` + xf.String() +
		`</cellXfs><cellStyles><xf numFmtId="9"/></cellStyles></styleSheet>`}
	cell := func(style int, v string) string { return fmt.Sprintf(`<c s="%d"><v>%s</v></c>`, style, v) }
	sheet := func(rows ...string) string {
		text := textRow(1, "", "x", "y")
		for i, r := range rows {
			text += fmt.Sprintf(`<row r="%d">%s</row>`, i+2, r)
		}
		return sheetOf("", text, "")
	}
	const at = "46027.3793055556" // 2026-01-05 09:06:12
	data := book(t, []string{sheet(cell(1, at)+cell(2, at), cell(3, at)+cell(4, at), cell(5, at)+cell(6, at),
		cell(7, at)+cell(8, at), cell(9, at)+cell(10, "1280.5"), cell(11, "42")+cell(12, "0.125"),
		cell(13, "0.3793")+`<c t="d"><v>2026-01-05T00:00:00</v></c>`,
		`<c t="d"><v>2026-01-05T09:06:12.000Z</v></c><c t="b"><v>1</v></c>`, cell(1, "-1")+cell(1, "60"),
		cell(5, "2958465")+cell(5, "2958466"), cell(1, "0.5")+cell(1, "59"))}, styles)
	got, err := readTable(data, 99)
	want := [][]string{{"2026-01-05", "2026-01-05 09:06:12"}, {"2026-01-05", "2026-01-05"},
		{"2026-01-05", "2026-01-05"}, {"2026-01-05 09:06:12", "2026-01-05"}, {"2026", "1,280.50 d m"}, {"00042", "13%"},
		{"09:06", "2026-01-05"}, {"2026-01-05 09:06:12", "TRUE"}, {"-1", "60"}, {"9999-12-31", "2958466"},
		{"0.5", "1900-02-28"}}
	wrong := map[string]bulk.Code{"A10 x": bulk.CodeNoDay, "B10 y": bulk.CodeNoDay, "B11 y": bulk.CodeNoDay,
		"A12 x": bulk.CodeNoDay}
	if err != nil || !reflect.DeepEqual(cellsOf(got), want) || !reflect.DeepEqual(faults(got), wrong) {
		t.Errorf("%q %v, %v\nwant %q", cellsOf(got), faults(got), err, want)
	}
	old := entry{name: "xl/workbook.xml", text: `<workbook ` + spreadsheetML +
		`><workbookPr date1904="1"/><sheets><sheet name="S" r:id="r1"/></sheets></workbook>`}
	got, err = readTable(book(t, []string{sheet(cell(1, "44565") + cell(9, "44565"))}, styles, old), 9)
	if err != nil || got.Rows[0].Cells[0] != "2026-01-05" || got.Rows[0].Cells[1] != "2026" {
		t.Errorf("since 1904: %q, %v", cellsOf(got), err)
	}
	// Excel writes more about the workbook behind its sheets, in elements of the same name. A length of time begins on
	// no day.
	extended := entry{name: old.name, text: strings.Replace(old.text, "</sheets>",
		`</sheets><extLst><ext uri="{1}"><x15:workbookPr `+
			`xmlns:x15="http://schemas.microsoft.com/office/spreadsheetml/2010/11/main" `+
			`chartTrackingRefBase="1"/></ext></extLst>`, 1)}
	styles.text = strings.Replace(styles.text, "</cellXfs>", `<xf numFmtId="46"/></cellXfs>`, 1)
	length := strconv.Itoa(len(ids))
	got, err = readTable(book(t, []string{sheet(cell(1, "44565") + `<c s="` + length + `"><v>10.632060185</v></c>`)},
		styles, extended), 9)
	if err != nil || got.Rows[0].Cells[0] != "2026-01-05" || got.Rows[0].Cells[1] != "255:10:10" {
		t.Errorf("since 1904, with extensions: %q, %v", cellsOf(got), err)
	}
}

// What stands in a cell and is no value is an error of its row, and texts are what people see of them.
func TestCells(t *testing.T) {
	cells := []struct{ xml, want string }{
		{`<c r="A2" t="e"><v>#REF!</v></c>`, "#REF!"},
		{`<c r="A3" t="inlineStr"><is><t>#N/A</t></is></c>`, "#N/A"},
		{`<c r="A4"><f>B1+1</f><v/></c>`, "#N/A"},
		{`<c r="A5"><f>B1+1</f></c>`, "#N/A"},
		{`<c r="A6" t="str"><f>""</f><v></v></c>`, ""},
		{`<c r="A7" t="str"><f>"a"</f><v>甲</v></c>`, "甲"},
		{`<c r="A8" t="s"><v>1</v></c>`, "富文本"},
		{`<c r="A9" t="s"><v>0</v></c>`, "一行\n二行"},
		{`<c r="A10" t="inlineStr"><is><r><t>甲</t></r><r><rPr><b/></rPr><t xml:space="preserve"> 乙</t></r><rPh ` +
			`sb="0" eb="1"><t>jia</t></rPh></is></c>`, "甲 乙"},
		{`<c r="A11" t="b"><v>0</v></c>`, "FALSE"},
		{`<c r="A12" t="s"><v>2</v></c>`, ""},
		{`<c r="A13" t="n"><f>1+1</f><v>2</v></c>`, "2"},
		{`<c r="A14" t="inlineStr"><is><t>########</t></is></c>`, "########"},
		{`<c r="A15" t="b"><v>true</v></c>`, "TRUE"},
		{`<c r="A16" t="inlineStr"><v>乙</v></c>`, "乙"},
		{`<c r="A17" t="b"><f>B1=1</f></c>`, "#N/A"},
	}
	rows, want := textRow(1, "", "x", "y"), [][]string{}
	for i, c := range cells {
		rows += fmt.Sprintf(`<row r="%d">%s<c r="B%d" t="inlineStr"><is><t>+</t></is></c><c r="XFD%d" s="1"/></row>`,
			i+2, c.xml, i+2, i+2)
		want = append(want, []string{c.want, "+"})
	}
	texts := entry{name: "xl/sharedStrings.xml",
		text: `<x:sst xmlns:x="http://schemas.openxmlformats.org/spreadsheetml/2006/main" count="3"><x:si><x:t>一行_x000D_
二行</x:t></x:si><x:si><x:r><x:t>富</x:t></x:r><x:r><x:t>文本</x:t></x:r><x:rPh sb="0" eb="1"><x:t>fu</x:t></x:rPh><x:phoneticPr fontId="1"/></x:si><x:si/></x:sst>`}
	got, err := readTable(book(t, []string{sheetOf("", rows, "")}, texts), 99)
	want[7][0] = "一行\r\n二行"
	wrong := map[string]bulk.Code{"A2 x": bulk.CodeErrorValue, "A3 x": bulk.CodeErrorValue, "A4 x": bulk.CodeNoValue,
		"A5 x": bulk.CodeNoValue, "A14 x": bulk.CodeErrorValue, "A17 x": bulk.CodeNoValue}
	if err != nil || !reflect.DeepEqual(cellsOf(got), want) || !reflect.DeepEqual(faults(got), wrong) {
		t.Errorf("%q %v, %v\nwant %q", cellsOf(got), faults(got), err, want)
	}
	for _, c := range []string{`<c t="s"><v>9</v></c>`, `<c t="s"><v>-1</v></c>`, `<c t="x"><v>1</v></c>`,
		`<c t="b"><v>maybe</v></c>`, `<c><v>0x1p9</v></c>`, `<c><v>NaN</v></c>`, `<c><v>1e999</v></c>`,
		`<c r="B2"/><c r="A2"/>`, `<c r="A7"/>`, `<c r="A2"`, `<c><v>1</c>`, `<c><v>&x;</v></c>`} {
		t.Run(c, func(t *testing.T) {
			data := book(t, []string{sheetOf("", textRow(1, "", "x")+`<row r="2">`+c+`</row>`, "")}, texts)
			_, err := readTable(data, 9)
			wantField(t, err, "table.unreadable")
		})
	}
	for _, more := range []string{`<row r="1"/>`, `<row r="1048577"/>`, `<row r="x"/>`} {
		t.Run(more, func(t *testing.T) {
			_, err := readTable(book(t, []string{sheetOf("", textRow(2, "", "x")+more, "")}), 9)
			wantField(t, err, "table.unreadable")
		})
	}
}

// A workbook is read in the forms that programs write it in: prefixes, the strict namespaces, absolute targets, other
// encodings, marks before the text.
func TestWorkbookForms(t *testing.T) {
	const strict = "http://purl.oclc.org/ooxml/officeDocument/relationships/"
	gbk, err := simplifiedchinese.GB18030.NewEncoder().String(
		`<?xml version="1.0" encoding="gb2312"?><worksheet><sheetData>` + textRow(1, "", "标题", "文件名") +
			textRow(2, "", "甲", "a") + `</sheetData></worksheet>`)
	fatalIfErr(t, err)
	plain := sheetOf("", textRow(1, "", "标题", "文件名")+textRow(2, "", "甲", "a"),
		`<controls><anchor><col>0</col><row>x</row></anchor></controls>`)
	for name, data := range map[string][]byte{
		"GB 2312": book(t, []string{gbk}),
		"a mark":  book(t, []string{"\ufeff" + plain}),
		"strict": book(t, []string{plain},
			entry{name: "_rels/.rels", text: `<Relationships><Relationship Id="r" Type="` + strict +
				`officeDocument" Target="/xl/workbook.xml"/></Relationships>`},
			entry{name: "xl/_rels/workbook.xml.rels", text: `<Relationships><Relationship Id="r1" Type="` + strict +
				`worksheet" Target="/xl/worksheets/sheet1.xml"/></Relationships>`}),
		"elsewhere": book(t, nil, entry{name: "_rels/.rels", text: `<Relationships><Relationship Id="r" Type="` +
			strict + `officeDocument" Target="book/main.xml"/></Relationships>`},
			entry{name: "book/main.xml", text: `<x:workbook xmlns:x="http://purl.oclc.org/ooxml/spreadsheetml/main" ` +
				`xmlns:r="x"><x:sheets><x:sheet name="a" r:id="q"/></x:sheets></x:workbook>`},
			entry{name: "book/_rels/main.xml.rels", text: `<Relationships><Relationship Id="q" Type="` + strict +
				`worksheet" Target="../s.xml"/></Relationships>`}, entry{name: "s.xml", text: plain}),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bulk.ReadTable(t.Context(), data, reading(t, "general"))
			if err != nil || !reflect.DeepEqual(cellsOf(got), [][]string{{"甲", "a"}}) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
}

// Amounts are written as their formats show them, and read again as numbers.
func TestMoneyFormats(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	fatalIfErr(t, f.SetSheetRow("Sheet1", "A1", &[]any{"x"}))
	want := [][]string{}
	for i, c := range []struct{ code, want string }{
		{`#,##0.00`, "1,280.50"}, {`_(* #,##0.00_);_(* \(#,##0.00\);_(* "-"??_);_(@_)`, "1,280.50"},
		{`_ ¥* #,##0.00_ ;_ ¥* \-#,##0.00_ ;_ ¥* "-"??_ ;_ @_ `, "¥1,280.50"},
		{`¥#,##0.00;[Red]¥-#,##0.00`, "¥1,280.50"},
		{`#,##0.00"元"`, "1,280.50元"}, {`0.00_ `, "1280.50"}, {`0`, "1281"}, {`General`, "1280.5"}, {`G/通用格式`, "1280.5"},
		{`G/通用格式"元"`, "1280.5"}, {`0.00E+00`, "1280.5"}, {`# ?/?`, "1280.5"}, {`"第"0000000"号"`, "第0001281号"},
	} {
		cell := fmt.Sprint("A", i+2)
		style, err := f.NewStyle(&excelize.Style{CustomNumFmt: &c.code})
		fatalIfErr(t, err)
		fatalIfErr(t, f.SetCellDefault("Sheet1", cell, "1280.5"))
		fatalIfErr(t, f.SetCellStyle("Sheet1", cell, cell, style))
		want = append(want, []string{c.want})
	}
	var b bytes.Buffer
	fatalIfErr(t, f.Write(&b))
	got, err := readTable(b.Bytes(), 99)
	if err != nil || !reflect.DeepEqual(cellsOf(got), want) {
		t.Errorf("%q, %v\nwant %q", cellsOf(got), err, want)
	}
}

// Merged cells hold one value, people see it in all of them: rows below the first are errors.
func TestMerged(t *testing.T) {
	rows := textRow(1, "", "标题", "文件名", "业务编号", "错误说明") + textRow(2, "", "一", "a", "七", "x") + textRow(3, "", "二", "b",
		"") + textRow(4, "", "三", "", "八")
	got, err := bulk.ReadTable(t.Context(), book(t, []string{sheetOf("", rows, `<mergeCells><mergeCell `+
		`ref="C2:C3"/><mergeCell ref="A4:B4"/><mergeCell ref="D2:D4"/><mergeCell ref="A9:XFD1048576"/></mergeCells>`)}),
		reading(t, "general"))
	want := map[string]bulk.Code{"C2:C3 reference": bulk.CodeMerged, "A4:B4 file": bulk.CodeMerged}
	if err != nil || !reflect.DeepEqual(faults(got), want) || got.Rows[1].Cells[2] != "七" ||
		got.Rows[2].Cells[1] != "#N/A" {
		t.Errorf("%q %v, %v", cellsOf(got), faults(got), err)
	}
}

// One formatted cell far below, or far to the right, is no row and no column.
func TestStrayFormat(t *testing.T) {
	f := excelize.NewFile()
	defer f.Close()
	fatalIfErr(t, f.SetSheetRow("Sheet1", "A1", &[]any{"标题", "文件名"}))
	fatalIfErr(t, f.SetSheetRow("Sheet1", "A2", &[]any{"唯一一行", "a"}))
	bold, err := f.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}})
	fatalIfErr(t, err)
	fatalIfErr(t, f.SetCellStyle("Sheet1", "XFD2", "XFD2", bold))
	fatalIfErr(t, f.SetColStyle("Sheet1", "A:XFD", bold))
	var b bytes.Buffer
	fatalIfErr(t, f.Write(&b))
	below := sheetOf("", textRow(1, "", "标题", "文件名")+textRow(2, "", "唯一一行", "a")+
		`<row r="1048576"><c r="A1048576" s="1"/></row>`, "")
	for name, data := range map[string][]byte{"to the right": b.Bytes(), "below": book(t, []string{below})} {
		t.Run(name, func(t *testing.T) {
			if got, err := bulk.ReadTable(t.Context(), data, reading(t, "general")); err != nil ||
				len(got.Rows) != 1 || len(got.Header) != 2 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// A title above the header is passed over, and said.
func TestTitleLines(t *testing.T) {
	for name, data := range map[string][]byte{
		"XLSX": workbook(t, []any{"2026年1月 登记表"}, []any{"填表人：王"}, nil, []any{"标题", "文件名"}, []any{"甲", "a"}),
		"CSV":  []byte("2026年1月 登记表,\r\n填表人：王,\r\n\r\n标题,文件名\r\n甲,a\r\n"),
		"bare": []byte("2026年1月 登记表\n填表人：王\n\n标题;文件名\n甲;a\n"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := bulk.ReadTable(t.Context(), data, reading(t, "general"))
			if err != nil || len(got.Rows) != 1 || got.Rows[0].Line != 5 || len(got.Notices) != 1 ||
				got.Notices[0].Code != bulk.NoticeHeader || got.Notices[0].Lines[0] != 4 {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		})
	}
	for text, field := range map[string]string{
		"登记表\n名单\n甲,a\n": "table.no_header", "登记表,,\n标题,文件名,颜色\n甲,a,红\n": "table.unknown_column",
		strings.Repeat("一,二\n", 12) + "标题,文件名\n甲,a\n": "table.no_header",
		"标题,文件名\n甲,a,红\n":                             "table.ragged", "标题,文件名,,业务编号\n甲,a,红,1\n": "table.ragged",
		"标题,文件名,标 题\n甲,a,b\n": "table.twice", "标题,业务编号\n甲,a\n": "table.no_document",
	} {
		t.Run(fmt.Sprintf("%.20q", text), func(t *testing.T) {
			_, err := bulk.ReadTable(t.Context(), []byte(text), reading(t, "general"))
			wantField(t, err, field)
		})
	}
	got, err := bulk.ReadTable(t.Context(), []byte("\"标\n题\",错误说明,,文件名,\n甲,错,,a,,,\n"), reading(t, "general"))
	if err != nil || !reflect.DeepEqual(cellsOf(got), [][]string{{"甲", "a"}}) || len(got.Header) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Files of other forms are refused with what to do.
func TestOtherForms(t *testing.T) {
	wide := func(s string) string { return strings.Join(strings.Split(s, ""), "\x00") + "\x00" }
	for name, c := range map[string]struct{ data, field, detail string }{
		"XLS":      {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + wide("Workbook"), "table.old_workbook", ""},
		"password": {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + wide("EncryptedPackage"), "table.locked_workbook", ""},
		"2003 in UTF-16": {
			utf16le(`<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>`),
			"table.other_form", "XML 2003"},
		"SYLK": {"ID;PWXL;N;E\r\nC;Y1;X1;K\"title\"\r\nE\r\n", "table.other_form", "SYLK"},
		"2003": {`<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook ` +
			`xmlns="urn:schemas-microsoft-com:office:spreadsheet"/>`, "table.other_form", "XML 2003"},
		"HTML": {"\ufeff\r\n<html " +
			"xmlns:x=\"urn:schemas-microsoft-com:office:excel\"><table><tr><td>标题</td></tr></table></html>",
			"table.other_form", "HTML"},
		"table": {"<TABLE><TR><TD>a,b</TD></TR></TABLE>", "table.other_form", "HTML"},
		"ODS": {string(zipOf(t, entry{name: "mimetype", text: "application/vnd.oasis.opendocument.spreadsheet"},
			entry{name: "content.xml", text: "<x/>"})), "table.other_form", "ODS"},
		"XLSB": {string(zipOf(t, entry{name: "xl/workbook.bin", text: "x"})), "table.other_form", "XLSB"},
		"DOCX": {string(zipOf(t, entry{name: "word/document.xml", text: "<x/>"})), "table.other_form", "DOCX"},
		"ZIP":  {string(zipOf(t, entry{name: "一.pdf", text: "x"})), "table.other_form", "ZIP"},
		"PDF":  {"%PDF-1.7\n", "table.other_form", "PDF"},
		"a part": {string(book(t, []string{"<x/>"}, entry{name: "XL/Workbook.xml", text: "<x/>"})), "table.unreadable",
			""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readTable([]byte(c.data), 9)
			wantField(t, err, c.field)
			var e *bulk.TableError
			if !errors.As(err, &e) || e.Detail != c.detail {
				t.Errorf("%s: %+v", name, e)
				return
			}
			var again bulk.TableError // from another process
			text, jerr := json.Marshal(e)
			if fatalIfErr(t, errors.Join(jerr, json.Unmarshal(text, &again))); again != *e {
				t.Errorf("%s comes back as %+v", text, again)
			}
		})
	}
}

// Reading ends when whoever wanted it has left.
func TestReadTableEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, data := range map[string][]byte{"CSV": []byte("a\n1\n"),
		"XLSX": book(t, []string{sheetOf("", strings.Repeat("<row/>", 5000), "")})} {
		t.Run(name, func(t *testing.T) {
			if _, err := bulk.ReadTable(ctx, data, bulk.Reading{Rows: 9}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// utf16le is an ASCII text in UTF-16 with its mark.
func utf16le(s string) string {
	return "\xff\xfe" + strings.Join(strings.Split(s, ""), "\x00") + "\x00"
}
