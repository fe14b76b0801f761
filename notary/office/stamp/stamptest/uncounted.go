package stamptest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
)

// Uncounted are files that each repeat one thing whose cost is not in what is read of it, but in what
// is done with it: lists and texts that are gone through again, filters that give nothing, order.
func Uncounted() map[string][]byte {
	const fonts = "/Font<</F 5 0 R>>"
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	const pixel = "/Type/XObject/Subtype/Image/Width 1/Height 1"
	const onePicture = "q 595 0 0 842 0 0 cm /X Do Q "
	return map[string][]byte{
		"differences that are gone through again": one(packed("", "BT "+many(2000, "/F 9 Tf (x) Tj ")+"ET"),
			"/Font<</F<</Subtype/Type1/Encoding<</Differences 5 0 R>>>>>>", "["+many(150_000, "0/uni4e00 ")+"]"),
		"a picture with a long palette": one(packed("", many(20_000, onePicture)), "/XObject<</X 5 0 R>>",
			Stream(pixel+"/BitsPerComponent 8/ColorSpace[/Indexed/DeviceRGB 255 6 0 R]", "x"), "("+many(8<<20, "x")+
				")"),
		"a photograph that begins without an end": one(packed("", many(20_000, onePicture)), "/XObject<</X 5 0 R>>",
			Stream(pixel+"/Filter/DCTDecode", "\xff\xd8"+many(8<<20, "\xff"))),
		"filters that give nothing": one(packed("", many(2000, "/X Do ")), "/XObject<</X 5 0 R>>",
			Stream("/Type/XObject/Subtype/Form/Filter/ASCIIHexDecode", many(8<<20, " ")+">")),
		"blocks that hold nothing": one(packed("", many(2000, "/X Do ")), "/XObject<</X 5 0 R>>",
			Stream("/Type/XObject/Subtype/Form/Filter/FlateDecode", empty(2<<20))),
		"one empty stream a million times": File("<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
			"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents["+many(400_000, "4 0 R ")+"]>>",
			packed("", "")),
		"contents of a million": listed("/Contents 3 0 R"),
		"comments of a million": listed("/Annots 3 0 R"),
		"characters that are long texts": one(packed("", "BT /F 9 Tf "+many(1000, "<"+many(90, "0041")+">Tj ")+"ET"),
			fonts,
			"<</Subtype/Type0/Encoding/Identity-H/ToUnicode 6 0 R>>",
			packed("", "1 beginbfrange <0000> <ffff> <"+many(8000, "FDFA")+"0061> endbfrange")),
		"characters of an encoding that are not there": characters(60, 100_000),
		"a text to put in order": pages(300, "%"+many(3<<20, "x")+"\n"+packed("", "BT /F 9 Tf "+
			numbered(3000, "1 0 0 1 %d 1 Tm (babababababababababababababababa)Tj ")+"ET")),
		"objects before one comment": inOneLine(50_000, 4<<20),
		"streams before one blank":   blank(20_000, 8<<20),
	}
}

// empty is a stream of blocks that hold nothing, each with tables of its own.
func empty(n int) string {
	var b bytes.Buffer
	b.WriteString("\x78\x9c")
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is one
	for b.Len() < n {
		_ = w.Flush()
	}
	_ = w.Close()
	return b.String() + "\x00\x00\x00\x01"
}

// listed is a file of pages that share one list of nothing.
func listed(entry string) []byte {
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "", "[" + strings.Repeat("9 ", 500_000) + "]"}
	var kids strings.Builder
	for range 5000 {
		objects = append(objects, "<</Type/Page/Parent 2 0 R"+entry+">>")
		fmt.Fprintf(&kids, "%d 0 R ", len(objects))
	}
	objects[1] = fmt.Sprintf("<</Type/Pages/Count 5000/Kids[%s]/MediaBox[0 0 595 842]>>", kids.String())
	return File(objects...)
}

// characters are pages of ever other codes of GB 18030.
func characters(pages, each int) []byte {
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "", "<</Subtype/Type0/Encoding/GBK-EUC-H>>"}
	var kids strings.Builder
	code := 0
	for range pages {
		var s strings.Builder
		s.WriteString("BT /F 9 Tf <")
		for range each {
			fmt.Fprintf(&s, "%02x%02x%04x", 0x81+code>>16%126, 0x30+code>>20%10, code&0xffff)
			code++
		}
		objects = append(objects, packed("", s.String()+">Tj ET"),
			fmt.Sprintf("<</Type/Page/Parent 2 0 R/Contents %d 0 R/Resources<</Font<</F 3 0 R>>>>>>",
				len(objects)+1))
		fmt.Fprintf(&kids, "%d 0 R ", len(objects))
	}
	objects[1] = fmt.Sprintf("<</Type/Pages/Count %d/Kids[%s]/MediaBox[0 0 595 842]>>", pages, kids.String())
	return File(objects...)
}

// inOneLine is a page with comments that are objects in one line, which a comment ends.
func inOneLine(n, size int) []byte {
	var b, table strings.Builder
	fmt.Fprintf(&table, "xref\n0 %d\n0000000000 65535 f \n", n+4)
	begin := func() { fmt.Fprintf(&table, "%010d 00000 n \n", b.Len()) }
	b.WriteString("%PDF-1.7\n")
	begin()
	b.WriteString("1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n")
	begin()
	b.WriteString("2 0 obj<</Type/Pages/Count 1/Kids[3 0 R]>>endobj\n")
	begin()
	b.WriteString("3 0 obj<</Type/Page/MediaBox[0 0 595 842]/Parent 2 0 R/Annots[")
	for i := range n {
		fmt.Fprintf(&b, "%d 0 R ", i+4)
	}
	b.WriteString("]>>endobj\n")
	for i := range n {
		begin()
		fmt.Fprintf(&b, "%d 0 obj<<>>%%", i+4)
	}
	b.WriteString(strings.Repeat("x", size) + "\n")
	out := bytes.NewBufferString(b.String())
	return end(out, strings.ReplaceAll(table.String(), "%", "%%"), n+4)
}

// blank is streams whose lengths end where a long blank begins.
func blank(n, size int) []byte {
	objects := []string{"<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[3 0 R]>>",
		"<</Type/Page/MediaBox[0 0 595 842]/Parent 2 0 R/Annots[" + numbered(n, "%d 0 R ") + "]>>"}
	// Each record has the same size, so that it is known how far it is to the blank.
	const record = len("00000 0 obj\n<</Length 000000000>>stream\n\nendobj\n")
	for i := range n {
		far := (n-i-1)*record + len("\nendobj\n")
		objects = append(objects, fmt.Sprintf("<</Length %09d>>stream\n", far))
	}
	return spaced(objects, size)
}

func spaced(objects []string, size int) []byte {
	var b bytes.Buffer
	b.WriteString("%PDF-1.7\n")
	table := put(&b, "%05d 0 obj\n%s\nendobj\n", objects)
	b.WriteString(strings.Repeat(" ", size) + "endstream\n")
	return end(&b, table, len(objects)+1)
}
