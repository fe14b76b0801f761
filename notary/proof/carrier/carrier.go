// Package carrier puts a bundle into a certificate's PDF, or with the document into an evidence
// package, and takes it out again.
//
// The bundle is an attachment as every PDF reader shows it (ISO 32000-1, 7.11.4), and a
// verifier reads it without a PDF library: [Write] has one spelling for a certificate, and
// [Extract] accepts that spelling and no other. It never searches, never follows a chain of
// references and never decompresses, so a hostile file costs no more than its own length.
// What is taken out is not trusted: it is a bundle to be verified like any other. Packages have
// one spelling as well: see [PackageWriter] and [ReadPackage].
//
// Nothing on the pages is vouched for by the bundle. Whoever has one certificate can draw
// another page around its attachment; facts are to be read from the verified bundle.
//
// The package is pure and builds for browsers.
package carrier

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits in bytes. A certificate has about 150 KB, its bundle and the agency's seal.
const (
	MaxSize   = 8 << 20
	MaxBundle = 1 << 20 // that of the format, see package proof
	maxName   = 64
	// maxObjects bounds the objects of a certificate: pages, fonts, pictures, some dozens.
	maxObjects = 4096
)

// Kind is what a file looks like from its first bytes.
type Kind int

// The kinds. Other may be a bundle: those are text.
const (
	Other Kind = iota
	PDF
	Zip
)

// Sniff tells the kind of a file from its beginning, four bytes of which are enough.
func Sniff(head []byte) Kind {
	switch {
	case bytes.HasPrefix(head, []byte("%PDF")):
		return PDF
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return Zip
	}
	return Other
}

// Errors of [Extract]. Their texts are for the person who holds the file.
var (
	// ErrForeign: a PDF, but none that Write made, nor anything that looks like one.
	ErrForeign = errors.New("this PDF is no certificate as it was issued: it may be the document itself, " +
		"or a certificate that another program saved anew (the attached bundle can be taken out with a PDF " +
		"reader then)")
	// ErrResaved: begins as a certificate does, or speaks of the attachment, and is not as it was issued.
	ErrResaved = errors.New("this certificate was saved anew by another program after it was issued, or cut off: " +
		"take the attached bundle out with a PDF reader, or use the certificate as it was issued")
	// ErrTooLarge: longer than any certificate.
	ErrTooLarge = fmt.Errorf("a certificate has at most %d bytes", MaxSize)
)

const (
	// The four bytes tell programs that the file is binary; the second comment that it is ours.
	head = "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n%stele/certificate/v1\n"
	tail = "\n%%EOF\n"
)

// The objects that Write adds, and the trailer. Verbs are filled in with decimal numbers
// and a name of [A-Za-z0-9.-]; everything else is literal, which is what makes reading easy.
const (
	catalogFormat = "1 0 obj\n<</Type/Catalog/Pages 2 0 " +
		"R/Lang(zh-CN)/PageMode/UseNone/ViewerPreferences<</DisplayDocTitle true>>" +
		"/Names<</EmbeddedFiles<</Names[(%[1]s) %[2]d 0 R]>>>>/AF[%[2]d 0 R]>>\nendobj\n"
	infoFormat = "%d 0 obj\n%s\nendobj\n"
	fileFormat = "%[1]d 0 obj\n<</Type/Filespec/F(%[2]s)/UF(%[2]s)/AFRelationship/Data/Desc(Evidence, format " +
		"stele/bundle/v1)/EF<</F %[3]d 0 R/UF %[3]d 0 R>>>>\nendobj\n"
	dataFormat = "%[1]d 0 obj\n<</Type/EmbeddedFile/Subtype/application#2Fjson/Params<</Size %[2]d>>/Length " +
		"%[2]d>>\nstream\n"
	dataEnd = "\nendstream\nendobj\n"

	xrefFormat    = "xref\n0 %d\n0000000000 65535 f \n"
	entryFormat   = "%010d 00000 n \n"
	entrySize     = 20
	trailerFormat = "trailer\n<</Size %d/Root 1 0 R/Info %d 0 R/ID[<%[3]s><%[3]s>]>>\nstartxref\n%[4]d"
)

// Write writes a certificate. objects are a PDF's objects from number 2 on, each without
// "n 0 obj" and "endobj"; number 2 is the page tree. info is the document information
// dictionary and id 32 hex digits that identify the file. The same input gives the same bytes.
func Write(objects [][]byte, info, id, name string, bundle []byte) ([]byte, error) {
	switch {
	case len(bundle) == 0 || len(bundle) > MaxBundle:
		return nil, fmt.Errorf("a bundle has 1 to %d bytes", MaxBundle)
	case !validName(name):
		return nil, fmt.Errorf("the attachment's name %q must have 1 to %d of A-Z, a-z, 0-9, dot and hyphen", name,
			maxName)
	case !validID(id):
		return nil, errors.New("the identifier must have 32 hexadecimal digits")
	case len(objects) == 0 || len(objects)+5 > maxObjects:
		return nil, fmt.Errorf("a certificate has 1 to %d objects", maxObjects-5)
	}
	l := layout{objects: len(objects) + 5, name: name, id: id}
	b := append(make([]byte, 0, len(bundle)+256<<10), head...)
	var offsets []int
	add := func(parts ...string) {
		offsets = append(offsets, len(b))
		for _, p := range parts {
			b = append(b, p...)
		}
	}
	add(l.catalog())
	for i, o := range objects {
		add(strconv.Itoa(i+2)+" 0 obj\n", string(o), "\nendobj\n")
	}
	add(fmt.Sprintf(infoFormat, l.objects-3, info))
	add(l.file())
	add(l.data(len(bundle)), string(bundle), dataEnd)
	xref := len(b)
	b = fmt.Appendf(b, xrefFormat, l.objects)
	for _, at := range offsets {
		b = fmt.Appendf(b, entryFormat, at)
	}
	b = append(b, l.trailer(xref)...)
	if len(b) > MaxSize {
		return nil, ErrTooLarge
	}
	return b, nil
}

// layout is what the spelling of a certificate depends on. The last three objects are the
// document information, the file specification and the attachment, in this order.
type layout struct {
	objects  int // as the trailer counts them: one more than the last number
	name, id string
}

func (l layout) catalog() string { return fmt.Sprintf(catalogFormat, l.name, l.objects-2) }
func (l layout) file() string {
	return fmt.Sprintf(fileFormat, l.objects-2, l.name, l.objects-1)
}
func (l layout) data(size int) string { return fmt.Sprintf(dataFormat, l.objects-1, size) }
func (l layout) trailer(xref int) string {
	return fmt.Sprintf(trailerFormat, l.objects, l.objects-3, l.id, xref) + tail
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") == "" &&
		!strings.HasPrefix(s, ".")
}

func validID(s string) bool { return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == "" }
