package certificate

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/signintech/gopdf"

	"stele/crypto/sm"
	"stele/notary/proof/carrier"
)

// assemble takes the objects that the PDF library wrote and writes them anew with the
// bundle attached, in the one spelling that verifiers read.
func assemble(pdf *gopdf.GoPdf, in Input) ([]byte, error) {
	objects, err := objectsOf(pdf)
	if err != nil {
		return nil, err
	}
	h := sm.NewHash()
	for _, o := range objects {
		h.Write(o)
	}
	h.Write(in.Bundle)
	info := information("存证证书 Certificate of Registration "+in.Record.Number, in.Report.Agency.Name,
		instant(in.Report.IssuedAt))
	// The first object is the catalog, which is written by the carrier.
	return carrier.Write(objects[1:], info, hex.EncodeToString(h.Sum(nil)[:16]), AttachmentName(in.Record.Number),
		in.Bundle)
}

// objectsOf returns what the PDF library wrote, object by object, from the catalog on.
func objectsOf(pdf *gopdf.GoPdf) ([][]byte, error) {
	raw, err := pdf.GetBytesPdfReturnErr()
	if err != nil {
		return nil, err
	}
	objects, err := split(raw)
	for i, o := range objects {
		objects[i] = mapToUnicode(o)
	}
	return objects, err
}

// split cuts what the PDF library wrote into its objects, by the table at its end.
func split(pdf []byte) ([][]byte, error) {
	errForm := errors.New("the PDF library wrote what is not expected")
	_, last, ok := bytes.Cut(pdf[max(0, len(pdf)-64):], []byte("startxref\n"))
	number, _, ok2 := bytes.Cut(last, []byte("\n"))
	end, err := strconv.Atoi(string(number))
	if !ok || !ok2 || err != nil || end > len(pdf) {
		return nil, errForm
	}
	lines := bytes.Split(pdf[end:], []byte("\n"))
	var offsets []int
	for _, l := range lines[min(len(lines), 3):] {
		at, err := strconv.Atoi(string(l[:min(len(l), 10)]))
		if err != nil || !bytes.HasSuffix(l, []byte(" n ")) || at >= end {
			break
		}
		offsets = append(offsets, at)
	}
	offsets = append(offsets, end)
	var objects [][]byte
	for i := range len(offsets) - 1 {
		o, ok := bytes.CutPrefix(pdf[offsets[i]:offsets[i+1]], []byte(strconv.Itoa(i+1)+" 0 obj\n"))
		o, ok2 := bytes.CutSuffix(o, []byte("endobj\n\n"))
		if !ok || !ok2 {
			return nil, errForm
		}
		objects = append(objects, bytes.TrimSuffix(o, []byte("\n")))
	}
	if len(objects) < 2 {
		return nil, errForm
	}
	return objects, nil
}

var mapping = regexp.MustCompile(`<([0-9A-F]{4})><[0-9A-F]{4}><([0-9A-F]{4,6})>\n`)

// mapToUnicode writes the table with which readers copy and search text. The library's has
// too many entries in a section, and breaks characters outside the basic plane, which are
// those of people's names.
func mapToUnicode(object []byte) []byte {
	if !bytes.Contains(object[:min(len(object), 200)], []byte("/CIDInit /ProcSet findresource begin")) {
		return object
	}
	var entries []string
	seen := map[string]bool{}
	for _, m := range mapping.FindAllSubmatch(object, -1) {
		glyph, char := string(m[1]), string(m[2])
		r, err := strconv.ParseUint(char, 16, 32)
		if err != nil || seen[glyph] { // two characters may share a glyph: the first stays
			continue
		}
		seen[glyph] = true
		entries = append(entries, "<"+glyph+"> <"+utf16Hex(string(rune(r)))+">\n")
	}
	var b strings.Builder
	b.WriteString("/CIDInit/ProcSet findresource begin\n12 dict " +
		"begin\nbegincmap\n/CIDSystemInfo<</Registry(Adobe)/Ordering(UCS)/Supplement 0>> def\n" +
		"/CMapName/Adobe-Identity-UCS def\n/CMapType 2 def\n1 begincodespacerange\n<0000><FFFF>\nendcodespacerange\n")
	const section = 100 // entries, by the specification
	for ; len(entries) > 0; entries = entries[min(len(entries), section):] {
		part := entries[:min(len(entries), section)]
		fmt.Fprintf(&b, "%d beginbfchar\n%sendbfchar\n", len(part), strings.Join(part, ""))
	}
	b.WriteString("endcmap\nCMapName currentdict/CMap defineresource pop\nend\nend")
	return fmt.Appendf(nil, "<</Length %d>>\nstream\n%s\nendstream", b.Len(), b.String())
}

func utf16Hex(s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, "%04X", u)
	}
	return b.String()
}

// information is the document information dictionary. Its date is handed in: that of the
// record, or of the verification.
func information(title, author string, at time.Time) string {
	date := at.UTC().Format("20060102150405")
	text := func(s string) string { return "<FEFF" + utf16Hex(s) + ">" }
	return "<</Title" + text(title) + "/Author" + text(author) + "/Creator(Stele)/Producer(Stele)/CreationDate(D:" +
		date + "Z)/ModDate(D:" + date + "Z)>>"
}
