// Package stamptest makes PDFs for tests: files that are made to cost whoever reads them as much
// as can be. Each is small beside what it asks for.
package stamptest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"strings"
)

// File writes a PDF of objects, the first of which is the catalog, with a plain table.
func File(objects ...string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
	table := put(&b, "%d 0 obj\n%s\nendobj\n", objects)
	return end(&b, table, len(objects)+1)
}

// put writes objects, each in a form that takes its number and it, and returns the table for [end].
func put(b *bytes.Buffer, form string, objects []string) string {
	var table strings.Builder
	table.WriteString("xref\n0 %d\n0000000000 65535 f \n")
	for i, o := range objects {
		fmt.Fprintf(&table, "%010d 00000 n \n", b.Len())
		fmt.Fprintf(b, form, i+1, o)
	}
	return table.String()
}

func end(b *bytes.Buffer, table string, size int) []byte {
	at := b.Len()
	fmt.Fprintf(b, table+"trailer\n<</Size %[1]d/Root 1 0 R>>\nstartxref\n%[2]d\n%%%%EOF\n", size, at)
	return b.Bytes()
}

// Stream is a stream object.
func Stream(dict, data string) string {
	return fmt.Sprintf("<<%s/Length %d>>\nstream\n%s\nendstream", dict, len(data), data)
}

// Flate is data packed, once or more often.
func Flate(data string, times int) string {
	for range times {
		var b bytes.Buffer
		w, _ := zlib.NewWriterLevel(&b, zlib.BestCompression) // the level is one
		_, _ = w.Write([]byte(data))                          // a buffer takes everything
		_ = w.Close()
		data = b.String()
	}
	return data
}

func packed(dict, data string) string { return Stream(dict+"/Filter/FlateDecode", Flate(data, 1)) }

// one is a file with one page of this content, these resources and these further objects, from 5 on.
func one(content, resources string, more ...string) []byte {
	return File(append([]string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<<" + resources + ">>>>", content},
		more...)...)
}

const helvetica = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"

// Bombs are the files by what they do.
func Bombs() map[string][]byte {
	const fonts = "/Font<</F 5 0 R>>"
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	return map[string][]byte{
		"lengths that lead to each other": chain(100_000, "/Length %d 0 R", ""),
		"filters that lead to each other": chain(100_000, "/Length 0/Filter %d 0 R", "endstream endobj\n"),
		"streams without an end":          endless(100_000),
		"one comment for all objects":     comment(4<<20, 100_000),
		"a table of a million":            million(),
		"content unpacks to 70 MB":        one(packed("", many(70<<18, "q 0 ")), ""),
		"content packed twice": one(Stream("/Filter[/FlateDecode/FlateDecode]", Flate(many(30<<20, "0"), 2)),
			""),
		"content packed and damaged": one(Stream("/Filter/FlateDecode", damaged(30<<20)), "/XObject<</X 4 0 R>>"),
		"drawings inside of drawings": one(Stream("", many(2000, "/X Do ")), "/XObject<</X 5 0 R>>",
			Stream("/Type/XObject/Subtype/Form/Resources<</XObject<</X 5 0 R>>>>", many(2000, "/X Do "))),
		"one drawing very often": one(Stream("", many(100_000, "/X Do ")), "/XObject<</X 5 0 R>>",
			packed("/Type/XObject/Subtype/Form", many(1<<20, "0 "))),
		"empty dictionaries": File("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
			"<</Type/Page/MediaBox[0 0 595 842]/Parent 2 0 R/Annots["+many(1<<20, "<</A 1>>")+"]>>"),
		"dictionaries in a stream": InStream(packed("/Type/ObjStm/N 1/First 4", "1 0 <</Pages["+many(4<<20, "<<>>")+
			"]>>")),
		"fonts of every character": one(Stream("", "BT "+numbered(200, "/F%d 9 Tf (x) Tj ")+"ET"),
			"/Font<<"+numbered(200, "/F%d <</Subtype/Type0/ToUnicode 5 0 R>>")+">>",
			packed("", "1 beginbfrange <0000> <ffff> <4e00> endbfrange")),
		"widths of every character": one(Stream("", "BT /F 9 Tf (x) Tj ET"), fonts,
			"<</Subtype/Type0/Encoding/Identity-H/DescendantFonts[<</W["+many(100_000, "0 65535 500 ")+"]>>]>>"),
		"characters without end": one(
			packed("", "BT /F 9 Tf "+many(1_000_000, "(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)Tj ")+"ET"), fonts, helvetica),
		"5000 pages of one content": pages(5000, packed("", "BT /F 9 Tf "+many(40_000, "(aaaaaaaaaaaaaaaa)Tj ")+"ET")),
		"a hundred thousand comments": File("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
			"<</Type/Page/MediaBox[0 0 595 842]/Parent 2 0 R/Annots["+
				many(100_000, "<</Subtype/Square/Rect[1 1 2 2]>>")+"]>>"),
		"areas with many corners": one(packed("", many(200, "500 50 m "+many(20_000, "400 50 l 500 150 l ")+"f ")), ""),
		"pictures of nothing": one(Stream("", many(500, "q 595 0 0 842 0 0 cm /X Do Q ")), "/XObject<</X 5 0 R>>",
			packed("/Type/XObject/Subtype/Image/Width 4000/Height 4000/BitsPerComponent 8/ColorSpace/DeviceGray",
				many(16<<20, "\x00"))),
		"a picture inside of the content": one(packed("", many(500_000, "BI ID EI_EI_EI_EI_EI_EI ")), ""),
		"strings without an end":          one(packed("", many(8<<20, "((((")), ""),
		"states without an end":           one(packed("", many(8<<20, "q ")), ""),
	}
}

func numbered(n int, form string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, form, i)
	}
	return b.String()
}

// damaged is data packed, with its end cut off and its sum wrong.
func damaged(n int) string {
	s := Flate(strings.Repeat("0", n), 1)
	return s[:len(s)-4] + "\x00\x00\x00\x00"
}

// chain is object streams of which each needs an object of the next to be read.
func chain(n int, entry, close string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.5\n")
	records := []byte{0, 0, 0, 0, 0, 0xff, 0xff}
	record := func(kind byte, where, which int) {
		records = append(records, kind)
		records = binary.BigEndian.AppendUint32(records, uint32(where))
		records = binary.BigEndian.AppendUint16(records, uint16(which))
	}
	for k := range n {
		at := b.Len()
		if k < n-1 {
			fmt.Fprintf(&b, "%d 0 obj<<"+entry+">>stream\n%s", 2*k+1, 2*(k+1)+2, close)
		} else {
			fmt.Fprintf(&b, "%d 0 obj<</N 0/First 0/Length 0>>stream\n\nendstream endobj\n", 2*k+1)
		}
		record(1, at, 0)
		record(2, 2*k+1, 0)
	}
	at := b.Len()
	record(1, at, 0)
	fmt.Fprintf(&b, "%d 0 obj%s\nendobj\nstartxref\n%d\n%%%%EOF\n", 2*n+1,
		packed(fmt.Sprintf("/Type/XRef/Size %d/W[1 4 2]/Root 2 0 R", 2*n+2), string(records)), at)
	return b.Bytes()
}

// endless is a page whose content is streams that all end where the last one does.
func endless(n int) []byte {
	contents := numbered(n, "%d 0 R ")
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
		"<</Type/Page/MediaBox[0 0 595 842]/Parent 2 0 R/Contents[" + contents + "]>>"}
	for range n {
		objects = append(objects, "<<>>stream\n")
	}
	return File(objects...)
}

// comment is a table that points at places in one long comment.
func comment(size, n int) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n")
	two := b.Len()
	b.WriteString("2 0 obj<</Type/Pages/Count 1/Kids[" + numbered(n, "%d 0 R ") + "]>>endobj\n%")
	from := b.Len()
	b.WriteString(strings.Repeat("x", size) + "\n")
	table := fmt.Sprintf("xref\n0 %d\n0000000000 65535 f \n%010d 00000 n \n%010d 00000 n \n", n, 9, two)
	var rows strings.Builder
	for i := range n - 3 {
		fmt.Fprintf(&rows, "%010d 00000 n \n", from+i%100)
	}
	return end(&b, strings.ReplaceAll(table+rows.String(), "%", "%%"), n)
}

// million is a table of objects that are not there, packed.
func million() []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.5\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n")
	at := b.Len()
	fmt.Fprintf(&b, "3 0 obj%s\nendobj\nstartxref\n%d\n%%%%EOF\n",
		packed("/Type/XRef/Size 1000000/W[1 2 1]/Root 1 0 R", strings.Repeat("\x01\x00\x09\x00", 1_000_000)), at)
	return b.Bytes()
}

// InStream is a file whose catalog lies in a stream of objects, which is given.
func InStream(stream string) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	at := b.Len()
	fmt.Fprintf(&b, "2 0 obj\n%s\nendobj\n", stream)
	table := b.Len()
	records := []byte{0, 0, 2, 2, 1, byte(at)} // kind, and stream or offset: free, in stream 2, plain
	fmt.Fprintf(&b, "3 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n",
		Stream("/Type/XRef/W[1 1 0]/Size 3/Root 1 0 R", string(records)), table)
	return b.Bytes()
}

// Pages is a file of pages with these attributes, of A4 if they do not say otherwise, that share one
// content, an object; its font F is Helvetica.
func Pages(content string, attributes ...string) []byte {
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "", content, helvetica}
	var kids []string
	for _, a := range attributes {
		objects = append(objects, "<</Type/Page/Parent 2 0 R/Contents 3 0 R/Resources<</Font<</F 4 0 R>>>>"+a+">>")
		kids = append(kids, fmt.Sprintf("%d 0 R", len(objects)))
	}
	objects[1] = fmt.Sprintf("<</Type/Pages/Count %d/Kids[%s]/MediaBox[0 0 595 842]>>", len(kids),
		strings.Join(kids, " "))
	return File(objects...)
}

func pages(n int, content string) []byte { return Pages(content, make([]string, n)...) }
