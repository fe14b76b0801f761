package bulk_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"stele/notary/office/bulk"
)

// maxHeap is what reading a table may take beside its file, in bytes: what [bulk.ReadTable] promises.
const maxHeap = 128 << 20

// peak runs a function and returns the most that was on the heap meanwhile beside what was there before, in bytes. It
// looks every millisecond: what a reader gathers stays for longer.
func peak(fn func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return most - before
		case <-tick.C:
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
}

func repeat(n int, line func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(line(i))
	}
	return b.String()
}

// shared is a workbook of rows that refer to one long text from every cell.
func shared(t testing.TB, rows, columns, size int, head ...string) []byte {
	texts := "<sst><si><t>" + strings.Repeat("A", size) + "</t></si></sst>"
	body := textRow(1, "", head...) +
		repeat(rows, func(i int) string {
			return "<row>" + strings.Repeat(`<c t="s"><v>0</v></c>`, columns) + "</row>"
		})
	return book(t, []string{sheetOf("", body, "")}, entry{name: "xl/sharedStrings.xml", text: texts})
}

// Files that are made to cost much are refused, or read, within the memory that reading may take. Each is what costs
// one part of a reader most.
func TestBombs(t *testing.T) {
	if raceDetector {
		t.Skip("one goroutine reads files to their limits: make alone runs this without the race detector, " +
			"which takes ten times as long")
	}
	head := textRow(1, "", "标题", "文件名")
	good := sheetOf("", head+textRow(2, "", "甲", "a"), "")
	many := entry{name: "xl/styles.xml", text: `<styleSheet><numFmts>` + repeat(65_000, func(i int) string {
		return fmt.Sprintf(`<numFmt numFmtId="%d" formatCode="0&quot;x%d&quot;"/>`, i+164, i)
	}) +
		`</numFmts><cellXfs>` +
		repeat(65_000, func(i int) string { return fmt.Sprintf(`<xf numFmtId="%d"/>`, i+164) }) +
		`</cellXfs></styleSheet>`}
	sst := func(text string) entry { return entry{name: "xl/sharedStrings.xml", text: text} }
	gbk, err := simplifiedchinese.GB18030.NewEncoder().String(strings.Repeat("标题和文件名,\n", 1<<20))
	fatalIfErr(t, err)
	for name, c := range map[string]struct {
		data  func() []byte
		field string // empty: it is read
	}{
		"one text from every cell": {func() []byte { return shared(t, 4000, 13, 32_000, "标题", "文件名") }, "table.ragged"},
		"and all of them columns": {func() []byte { return shared(t, 1500, 3, 32_000, "标题", "文件名", "业务编号") },
			"table.too_much"},
		"of no class": {func() []byte { return shared(t, 4000, 60, 32_000, "title", "sm3", "size", "x0") },
			"table.unknown_column"},
		"empty shared strings": {
			func() []byte { return book(t, []string{good}, sst("<sst>"+strings.Repeat("<si/>", 12<<20)+"</sst>")) },
			"table.too_large"},
		"short ones": {func() []byte {
			return book(t, []string{good}, sst("<sst>"+strings.Repeat("<si><t>x</t></si>", 3<<20)+"</sst>"))
		}, "table.too_large"},
		"long ones": {func() []byte {
			return book(t, []string{good},
				sst("<sst>"+strings.Repeat("<si><t>"+strings.Repeat("x", 30_000)+"</t></si>", 2000)+"</sst>"))
		}, "table.too_large"},
		"one text": {func() []byte {
			return book(t, []string{good}, sst("<sst><si><t>"+strings.Repeat("x", 60<<20)+"</t></si></sst>"))
		}, "table.unreadable"},
		"a text in pieces": {func() []byte {
			return book(t, []string{good},
				sst("<sst><si>"+strings.Repeat("<t>"+strings.Repeat("x", 1000)+"</t>", 50_000)+"</si></sst>"))
		}, ""},
		"one attribute": {
			func() []byte { return book(t, []string{good}, sst(`<sst x="`+strings.Repeat("x", 60<<20)+`"/>`)) },
			"table.unreadable"},
		"many attributes": {func() []byte {
			return book(t, []string{good},
				sst(`<sst `+repeat(1<<20, func(i int) string { return fmt.Sprintf("a%d='' ", i) })+`/>`))
		}, "table.unreadable"},
		"one comment": {func() []byte {
			return book(t, []string{good}, sst("<sst><!--"+strings.Repeat("<", 60<<20)+"--></sst>"))
		}, "table.unreadable"},
		"deep nesting": {func() []byte { return book(t, []string{strings.Repeat("<a>", 15<<20)}) }, "table.unreadable"},
		"entities": {func() []byte {
			return book(t, []string{`<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>` + good})
		}, "table.unreadable"},
		"zeros": {func() []byte {
			return book(t, []string{good}, entry{name: "xl/sharedStrings.xml", zeros: 65 << 20})
		}, "table.unreadable"},
		"blanks": {func() []byte {
			return book(t, []string{good}, sst("<sst>"+strings.Repeat(strings.Repeat(" ", 1<<16)+"<si/>", 1100)+
				"</sst>"))
		}, "table.too_large"},
		"many sheets": {func() []byte { return book(t, make([]string, 2000)) }, "table.unreadable"},
		"many sheets of empty cells": {func() []byte {
			return book(t,
				append([]string{good},
					strings.Split(strings.Repeat(sheetOf("", strings.Repeat("<row/>", 1<<16), "")+"|", 40),
						"|")[:40]...))
		}, ""},
		"many parts":   {func() []byte { return manyParts(t, good, 10_000) }, ""},
		"more parts":   {func() []byte { return manyParts(t, good, 100_000) }, "table.unreadable"},
		"many formats": {func() []byte { return book(t, []string{good}, many) }, ""},
		"many formats that are used": {func() []byte {
			return book(t,
				[]string{sheetOf("",
					head+repeat(9000,
						func(i int) string { return fmt.Sprintf(`<row><c s="%d"><v>1</v></c></row>`, i) }), "")}, many)
		}, "table.too_large"},
		"many merged cells": {func() []byte {
			return book(t, []string{sheetOf("", head+repeat(9000, func(int) string { return textRow(0, "", "a", "b") }),
				"<mergeCells>"+strings.Repeat(`<mergeCell ref="A1:XFD1048576"/>`, 1<<19)+"</mergeCells>")})
		}, "table.unreadable"},
		"many merged cells in order": {func() []byte {
			return book(t, []string{sheetOf("", head+strings.Repeat(`<row><c t="b"><v>1</v></c></row>`, 9000),
				"<mergeCells>"+strings.Repeat(`<mergeCell ref="A1:XFD1048576"/>`, 1<<19)+"</mergeCells>")})
		}, "table.too_large"},
		"as many empty rows as a sheet has": {func() []byte {
			return book(t, []string{sheetOf("", head+textRow(2, "", "甲", "a")+strings.Repeat("<row/>", 1<<20-2), "")})
		}, ""},
		"rows far apart": {func() []byte {
			return book(t,
				[]string{sheetOf("", head+repeat(9000, func(i int) string { return textRow(100*i+2, "", "甲", "a") }),
					"")})
		}, ""},
		"a formatted cell at the end of rows": {func() []byte {
			return book(t,
				[]string{sheetOf("",
					head+repeat(9000,
						func(i int) string {
							return fmt.Sprintf(`<row><c t="b"><v>1</v></c><c r="XFD%d"/></row>`, i+2)
						}), "")})
		}, ""},
		"a value at the end of rows": {func() []byte {
			return book(t,
				[]string{sheetOf("", head+`<row r="2"><c t="b"><v>1</v></c><c r="XFD2" t="b"><v>1</v></c></row>`, "")})
		}, "table.ragged"},
		"a full table": {func() []byte {
			return book(t, []string{sheetOf("", head+repeat(9998, func(int) string {
				return "<row>" + strings.Repeat(`<c s="1" t="n"><v>123456.25</v></c>`, 2) + strings.Repeat(`<c s="3"/>`,
					62) + "</row>"
			}), "")})
		}, ""},
		"empty cells": {func() []byte {
			return book(t, []string{sheetOf("", head+"<row>"+strings.Repeat("<c/>", 3<<20)+"</row>", "")})
		}, "table.too_large"},
		"one quotation mark": {func() []byte { return []byte("\"" + strings.Repeat("a", 16<<20)) }, "table.cell"},
		"quotation marks":    {func() []byte { return []byte(strings.Repeat("\"", 16<<20)) }, "table.cell"},
		"line feeds":         {func() []byte { return []byte(strings.Repeat("\n", 16<<20)) }, "table.empty"},
		"carriage returns":   {func() []byte { return []byte(strings.Repeat("\r", 16<<20)) }, "table.empty"},
		"commas":             {func() []byte { return []byte(strings.Repeat(",", 16<<20)) }, "table.columns"},
		"lines of commas": {
			func() []byte { return []byte(strings.Repeat(strings.Repeat(",", 16_000)+"\n", 1000)) }, "table.empty"},
		"one line": {func() []byte { return []byte(strings.Repeat("a", 16<<20)) }, "table.cell"},
		"GB 18030": {func() []byte { return []byte(gbk) }, "table.no_header"},
		"GB 18030 without an end": {func() []byte { return []byte(strings.ReplaceAll(gbk, "\n", "")) },
			"table.columns"},
		"UTF-16": {func() []byte {
			return append([]byte("\xff\xfe"), bytes.Repeat([]byte("a\x00,\x00\n\x00"), 2<<20)...)
		}, "table.no_header"},
		"a full CSV": {func() []byte {
			return []byte("标题,文件名\n" + strings.Repeat(strings.Repeat("a", 1500)+",b\n", 10_000))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			data := c.data()
			var err error
			from := time.Now()
			heap := peak(func() { _, err = bulk.ReadTable(t.Context(), data, reading(t, "general")) })
			if heap > maxHeap {
				t.Errorf("%s: %d MiB", name, heap>>20)
			}
			var e *bulk.TableError
			if got := err != nil; got && !errors.As(err, &e) || got != (c.field != "") || got &&
				"table."+string(e.Code) != c.field {
				t.Errorf("%s: %v, want %q", name, err, c.field)
			}
			t.Logf("%-36s %7d KiB: %4d MiB, %5d ms", name, len(data)>>10, heap>>20, time.Since(from).Milliseconds())
			runtime.KeepAlive(data)
		})
	}
	// A part that states fewer bytes than it has is damaged.
	zero := book(t, []string{good}, entry{name: "xl/sharedStrings.xml", zeros: 65 << 20})
	_, err = readTable(lie(t, zero, 65<<20), 9)
	wantField(t, err, "table.unreadable")
}

func manyParts(t testing.TB, sheet string, n int) []byte {
	more := make([]entry, n)
	for i := range more {
		more[i] = entry{name: fmt.Sprint("xl/media/", i)}
	}
	return book(t, []string{sheet}, more...)
}
