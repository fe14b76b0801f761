// Package stamp puts an agency's seal and a QR code on the pages of a PDF.
//
// What is stamped is written behind the file (an incremental update): the original stays in
// it byte for byte, as its beginning. A picture of a seal proves nothing, whoever put it
// there; what counts is the agency's signature on the digest of the stamped file.
//
// Lengths are in millimetres on paper. Positions are measured from the upper left corner of a
// page as it is shown, that is turned as the file says and cut to what it says is shown.
package stamp

import (
	"errors"
	"fmt"

	"stele/notary/office/stamp/pdf"
	"stele/notary/office/stamp/pdftext"
)

// Why a PDF cannot be stamped. Errors wrap one of these.
var (
	ErrNotPDF    = pdf.ErrNotPDF
	ErrDamaged   = pdf.ErrDamaged  // a reader that repairs it can save it anew
	ErrTooLarge  = pdf.ErrTooLarge // bytes, pages or objects over a limit
	ErrEncrypted = pdf.ErrEncrypted
	// ErrSigned: it bears a digital signature, which would no longer hold.
	ErrSigned = errors.New("the PDF is digitally signed: stamping it would break the signature")
	// ErrDynamicForm: its pages are made by the program that shows it, from an XFA form, and the
	// ones in the file are a stand-in.
	ErrDynamicForm = errors.New("the PDF is a dynamic form (XFA), whose pages are not in the file: " +
		"print it to a new PDF")
)

// MaxSize is how many bytes a PDF may have.
const MaxSize = pdf.MaxSize

// Info is what a PDF is, as far as stamping is concerned.
type Info struct {
	Pages  []PageInfo `json:"pages"`
	Signed bool       `json:"signed"` // digitally; it is not stamped
}

// PageInfo is a page as it is shown.
type PageInfo struct {
	Width    float64 `json:"width"`  // millimetres
	Height   float64 `json:"height"` // millimetres
	Rotation int     `json:"rotation"`
}

// Place is where something stands on a page, in millimetres.
type Place struct {
	Page   int     `json:"page"` // from 1
	X      float64 `json:"x"`    // of the upper left corner
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

// Document is a PDF that was looked at. It is not safe for concurrent use.
type Document struct {
	data  []byte
	file  *pdf.File
	pages []pdf.Page
	info  Info
	text  *pdftext.Reader
	shade *pdftext.Reader
	above map[int][]annotation // what stands on top of a page, by its index
	last  *pageText            // of the page that was read last: a whole file's text is too large to keep
}

// pageText is a page's text.
type pageText struct {
	index      int
	glyphs     []pdftext.Glyph
	unreadable bool
}

// Open looks at a PDF, which must not change as long as the document is used. Nothing of the
// file is believed: reading it is bounded in time and memory, see package pdf.
func Open(data []byte) (d *Document, err error) {
	defer guard(&err)
	file, err := pdf.Open(data)
	if err != nil {
		return nil, err
	}
	d = &Document{data: data, file: file, text: pdftext.NewReader(file), shade: pdftext.NewReader(file.Aside()),
		above: map[int][]annotation{}}
	if d.pages, err = file.Pages(); err != nil {
		return nil, err
	}
	for _, p := range d.pages {
		w, h := frameOf(p).size()
		d.info.Pages = append(d.info.Pages, PageInfo{Width: w, Height: h, Rotation: p.Rotate})
	}
	catalog := file.Catalog()
	form := file.Dict(catalog["AcroForm"])
	// Static XFA forms have their pages and fields in the file as well (XFA 3.3, part 1, chapter 2).
	dynamic := file.Resolve(catalog["NeedsRendering"]) == true || len(file.Array(form["Fields"])) == 0
	if dynamic && file.Resolve(form["XFA"]) != nil {
		return nil, ErrDynamicForm
	}
	// The range that a signature covers stands in the file as it is: the signature could not
	// be filled in otherwise (ISO 32000-1, 12.8.1).
	d.info.Signed = file.Contains("/ByteRange") || file.Dict(catalog["Perms"])["DocMDP"] != nil
	return d, file.Err()
}

// guard turns a panic of a library on a hostile file into an error.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: reading it failed: %v", ErrDamaged, r)
	}
}

// Info returns what the document is.
func (d *Document) Info() Info { return d.info }

// pageText reads a page's text. A file that cannot be read further is an error, a page
// whose text cannot be made out is not.
func (d *Document) pageText(index int) (t *pageText, err error) {
	defer guard(&err)
	if d.last != nil && d.last.index == index {
		return d.last, nil
	}
	d.last = nil // it shares its memory with the next
	content, err := d.text.Read(d.pages[index])
	if errors.Is(err, pdf.ErrTooLarge) {
		return nil, err
	}
	d.last = &pageText{index: index, glyphs: content.Glyphs, unreadable: err != nil || content.Unreadable()}
	return d.last, nil
}

// openStates counts the graphics states that a page's content leaves open. Content that cannot
// be unpacked is not shown either, and leaves none.
func (d *Document) openStates(index int) (n int, err error) {
	defer guard(&err)
	if n, err = d.text.Open(d.pages[index]); errors.Is(err, pdf.ErrTooLarge) {
		return 0, err
	}
	return n, nil
}

// MaxKeyword is how many characters a keyword may have.
const MaxKeyword = 100

// Find returns where a text stands, page by page and from the top down. Blanks, the width of
// characters and upper or lower case make no difference. unreadable names the pages, from 1,
// whose text cannot be made out: it may stand there all the same.
func (d *Document) Find(keyword string) (places []Place, unreadable []int, err error) {
	for i := range d.pages {
		found, readable, err := d.findOn(i, keyword)
		if err != nil {
			return nil, nil, err
		}
		if places = append(places, found...); !readable {
			unreadable = append(unreadable, i+1)
		}
	}
	return places, unreadable, nil
}

func (d *Document) findOn(index int, keyword string) (places []Place, readable bool, err error) {
	if n := len([]rune(keyword)); n == 0 || n > MaxKeyword {
		return nil, false, fmt.Errorf("a keyword has 1 to %d characters", MaxKeyword)
	}
	t, err := d.pageText(index)
	if err != nil {
		return nil, false, err
	}
	f := frameOf(d.pages[index])
	for _, b := range pdftext.Find(t.glyphs, keyword, d.file.Budget()) {
		p := f.place(b)
		p.Page = index + 1
		places = append(places, p)
	}
	return places, !t.unreadable, d.file.Err()
}
