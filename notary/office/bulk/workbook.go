package bulk

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

// A workbook (ECMA-376, part 1, section 12 and 18) is read part by part, and of each part one element at a time. A
// library that gives the cells as texts does not say which of them are numbers, errors or hidden, and builds
// whatever the file describes in memory before it gives the first.

// Limits of a workbook.
const (
	maxWorkbook = 64 << 20  // bytes of the parts that are read, unpacked
	maxTokens   = 5_000_000 // elements, ends of elements and texts in them
	maxToken    = 1 << 20   // bytes of one element's beginning, or text
	maxDepth    = 32        // of elements in elements
	maxStrings  = 24 << 20  // bytes of all texts that sheets refer to
	maxTexts    = 1 << 20   // such texts
	maxSheets   = 1000
	otherTokens = 500_000 // that are read of sheets that are not, to see whether there is something in them
)

var errWorkbook = badTable(CodeUnreadable, "", "The workbook cannot be read. Save it anew as XLSX, or as CSV.")

// workbook is a workbook that is read.
type workbook struct {
	ctx    context.Context
	parts  map[string]*zip.File // by name in lower case
	bytes  int64                // that may still be unpacked
	tokens int                  // that may still be read
	sheets []sheet
	rels   map[string]string // kind of a part to its name
	formats
	texts
}

// sheet is a sheet as the workbook lists it.
type sheet struct {
	name, part string
	hidden     bool
}

// readWorkbook reads the first sheet of an XLSX file that people see and that holds something.
func readWorkbook(ctx context.Context, data []byte, b *builder) (err error) {
	// The library that writes numbers as their format says panics on some damaged formats; a table must not stop the
	// service.
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w (panic: %v)", errWorkbook, v)
		}
	}()
	w, err := openWorkbook(ctx, data)
	if err != nil {
		return err
	}
	defer w.formats.close()
	chosen, err := w.choose(b)
	if err != nil {
		return err
	}
	if err := w.readStyles(w.rels["styles"]); err != nil {
		return err
	}
	if err := w.readTexts(w.rels["sharedStrings"]); err != nil {
		return err
	}
	return w.readSheet(chosen, b)
}

// otherParts are parts that files of other forms have, in lower case.
var otherParts = map[string]string{"xl/workbook.bin": "XLSB", "word/document.xml": "DOCX",
	"ppt/presentation.xml": "PPTX", "content.xml": "ODS", "ofd.xml": "OFD", "index/document.iwa": "Numbers"}

func openWorkbook(ctx context.Context, data []byte) (*workbook, error) {
	z, err := openZip(bytes.NewReader(data), int64(len(data)))
	if err != nil || len(z.File) > maxEntries {
		return nil, errWorkbook
	}
	w := &workbook{ctx: ctx, parts: make(map[string]*zip.File, len(z.File)), bytes: maxWorkbook, tokens: maxTokens}
	for _, f := range z.File {
		name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(f.Name, `\`, "/"), "/"))
		if w.parts[name] != nil {
			return nil, errWorkbook // which of them counts is anybody's guess
		}
		w.parts[name] = f
	}
	for part, form := range otherParts {
		if w.parts[part] != nil {
			return nil, otherForm(form)
		}
	}
	main := "xl/workbook.xml"
	if root, err := w.relations("_rels/.rels", ""); err == nil && root["officeDocument"] != "" {
		main = root["officeDocument"]
	}
	if w.parts[strings.ToLower(main)] == nil {
		return nil, badTable(CodeOtherForm, "ZIP", "This is a ZIP and no workbook. Send the table as XLSX or CSV.")
	}
	return w, w.readMain(main)
}

// relations reads which parts a part refers to: by the ends of their kinds, and, with their kind before it, by "#" and
// their id.
func (w *workbook) relations(name, folder string) (map[string]string, error) {
	p, err := w.open(name)
	if err != nil {
		return nil, err
	}
	defer p.close()
	out := map[string]string{}
	err = p.each(func(e xml.StartElement) error {
		if e.Name.Local != "Relationship" {
			return nil
		}
		target := strings.ReplaceAll(attr(e, "Target"), `\`, "/")
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", folder, target)
		}
		target = strings.TrimPrefix(path.Clean(target), "/")
		kind := path.Base(attr(e, "Type"))
		if out[kind] == "" {
			out[kind] = target
		}
		out["#"+attr(e, "Id")] = kind + ":" + target
		if len(out) > 4*maxSheets {
			return errWorkbook
		}
		return nil
	})
	return out, err
}

// readMain reads the list of sheets.
func (w *workbook) readMain(name string) (err error) {
	folder := path.Dir(name)
	if w.rels, err = w.relations(path.Join(folder, "_rels", path.Base(name)+".rels"), folder); err != nil {
		return err
	}
	p, err := w.open(name)
	if err != nil {
		return err
	}
	defer p.close()
	return p.each(func(e xml.StartElement) error {
		switch e.Name.Local {
		case "workbookPr":
			w.since1904 = truth(attr(e, "date1904"))
		case "sheet":
			// Charts and macros have sheets of their own kinds.
			if part, ok := strings.CutPrefix(w.rels["#"+attr(e, "id")], "worksheet:"); ok {
				state := attr(e, "state")
				w.sheets = append(w.sheets, sheet{attr(e, "name"), part, state == "hidden" || state == "veryHidden"})
			}
			if len(w.sheets) > maxSheets {
				return errWorkbook
			}
		}
		return nil
	})
}

// choose finds the sheet to read, and notes which others hold something.
func (w *workbook) choose(b *builder) (sheet, error) {
	var chosen *sheet
	hidden, others := Notice{Code: NoticeHiddenSheets}, Notice{Code: NoticeOtherSheets}
	bytes, tokens := w.bytes, w.tokens
	w.tokens = otherTokens
	for i := range w.sheets {
		s := &w.sheets[i]
		holds, err := w.holds(*s)
		switch {
		case err != nil:
			return sheet{}, err
		case !holds || explains(s.name):
		case s.hidden:
			hidden.name(s.name)
		case chosen == nil:
			chosen = s
		default:
			others.name(s.name)
		}
	}
	w.bytes, w.tokens = bytes, tokens
	if chosen == nil && hidden.N > 0 {
		return sheet{}, badTable(CodeHidden, strings.Join(hidden.Names, ", "),
			"All sheets that hold something are hidden. Show the one with the table.")
	}
	if chosen == nil {
		return sheet{}, badTable(CodeEmpty, "", "The workbook holds nothing.")
	}
	if others.N+hidden.N > 0 {
		read := Notice{Code: NoticeSheet}
		read.name(chosen.name)
		b.t.Notices = append(b.t.Notices, read)
	}
	for _, n := range []Notice{others, hidden} {
		if n.N > 0 {
			b.t.Notices = append(b.t.Notices, n)
		}
	}
	return *chosen, nil
}

// ExplainSheets are what the sheet of a template is called that explains its columns. It is never the table.
var ExplainSheets = []string{"填写说明", "How to fill it in"}

func explains(sheet string) bool { return sheet == ExplainSheets[0] || sheet == ExplainSheets[1] }

// holds reports whether there is a value in a sheet. One that is too large to say holds something.
func (w *workbook) holds(s sheet) (bool, error) {
	p, err := w.open(s.part)
	if err != nil {
		return false, err
	}
	defer p.close()
	err = p.each(func(e xml.StartElement) error {
		if n := e.Name.Local; n == "v" || n == "is" || n == "f" {
			return io.EOF
		}
		return nil
	})
	switch {
	case errors.Is(err, io.EOF) || w.tokens <= 0 || w.bytes < 0:
		return true, nil
	case err != nil && s.hidden && w.ctx.Err() == nil:
		return false, nil // what is wrong with a sheet that nobody sees is nobody's trouble
	}
	return false, err
}

// part is a part of a workbook that is being read.
type part struct {
	w     *workbook
	d     *xml.Decoder
	body  io.ReadCloser
	read  int // bytes since the last token
	depth int
}

func (w *workbook) open(name string) (*part, error) {
	f := w.parts[strings.ToLower(name)]
	if f == nil || f.Flags&1 != 0 {
		return nil, errWorkbook
	}
	body, err := f.Open()
	if err != nil {
		return nil, errWorkbook
	}
	p := &part{w: w, body: body}
	p.d = xml.NewDecoder(p)
	p.d.CharsetReader = func(label string, r io.Reader) (io.Reader, error) {
		e, err := htmlindex.Get(label)
		if err != nil {
			return nil, err
		}
		return e.NewDecoder().Reader(r), nil
	}
	return p, nil
}

func (p *part) close() { _ = p.body.Close() }

var errLarge = badTable(CodeTooLarge, maxWorkbook>>20, "Unpacked, the workbook has more than %d bytes, or too many "+
	"cells, empty ones among them. Copy the table alone into a new workbook.", maxWorkbook)

// Read counts the bytes of the workbook, and of what the decoder reads at once.
func (p *part) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	p.w.bytes -= int64(n)
	p.read += n
	switch {
	case p.w.bytes < 0:
		return 0, errLarge
	case p.read > maxToken:
		return 0, errWorkbook
	}
	return n, err
}

// next reads a token. Nothing in a workbook has a document type.
func (p *part) next() (xml.Token, error) {
	if p.w.tokens--; p.w.tokens < 0 {
		return nil, errLarge
	}
	if p.w.tokens%4096 == 0 && p.w.ctx.Err() != nil {
		return nil, p.w.ctx.Err()
	}
	p.read = 0
	t, err := p.d.Token()
	if err != nil {
		var bad *TableError
		if errors.Is(err, io.EOF) || errors.As(err, &bad) {
			return nil, err
		}
		return nil, errWorkbook
	}
	switch t.(type) {
	case xml.StartElement:
		p.depth++
	case xml.EndElement:
		p.depth--
	case xml.Directive:
		return nil, errWorkbook
	}
	if p.depth > maxDepth {
		return nil, errWorkbook
	}
	return t, nil
}

// each calls fn with every element, but for those of extensions (ECMA-376, part 1, 18.2.10): programs put elements
// there that have the names of others and another meaning.
func (p *part) each(fn func(xml.StartElement) error) error {
	for {
		t, err := p.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e, ok := t.(xml.StartElement)
		switch {
		case !ok:
			continue
		case e.Name.Local == "extLst":
			_, err = p.text(none)
		default:
			err = fn(e)
		}
		if err != nil {
			return err
		}
	}
}

// eachIn is [part.each] of a part that a workbook need not have.
func (w *workbook) eachIn(name string, fn func(*part, xml.StartElement) error) error {
	if name == "" || w.parts[strings.ToLower(name)] == nil {
		return nil
	}
	p, err := w.open(name)
	if err != nil {
		return err
	}
	defer p.close()
	return p.each(func(e xml.StartElement) error { return fn(p, e) })
}

// children calls fn with every element that stands in the one that has begun, to its end. fn reads what it
// is called with to its own.
func (p *part) children(fn func(xml.StartElement) error) error {
	for {
		t, err := p.next()
		if err != nil {
			return unexpected(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := fn(t); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

// text reads what stands in the element that has begun, in and behind elements that keep says, to its end. It keeps as
// much as a cell can have, and a little more where there was more.
func (p *part) text(keep func(string) bool) (string, error) {
	var out []byte
	off := 0 // depth below an element whose text does not count
	for depth := 1; depth > 0; {
		t, err := p.next()
		if err != nil {
			return "", unexpected(err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; off > 0 || !keep(t.Name.Local) {
				off++
			}
		case xml.EndElement:
			depth--
			off = max(0, off-1)
		case xml.CharData:
			if off == 0 {
				out = append(out, t[:min(len(t), max(0, 2*maxCell-len(out)))]...)
			}
		}
	}
	return escaped(string(out)), nil
}

// unexpected is the error for a part that ends too early.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return errWorkbook
	}
	return err
}

// escaped reads characters that XML cannot have (ECMA-376, part 1, 22.9.2.19): _x000D_ is a carriage return.
func escaped(s string) string {
	if !strings.Contains(s, "_x") {
		return s
	}
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, "_x")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if len(after) > 4 && after[4] == '_' {
			if n, err := strconv.ParseUint(after[:4], 16, 16); err == nil && n != 0 && (n < 0xd800 || n >= 0xe000) {
				b.WriteRune(rune(n))
				s = after[5:]
				continue
			}
		}
		b.WriteString("_x")
		s = after
	}
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func truth(s string) bool { return s == "1" || s == "true" || s == "on" }

// texts are the texts that cells refer to by number: one after the other.
type texts struct {
	all  []byte
	ends []uint32
}

// readTexts reads the shared strings: of rich texts all runs, without how they are pronounced.
func (w *workbook) readTexts(name string) error {
	return w.eachIn(name, func(p *part, e xml.StartElement) error {
		if e.Name.Local != "si" {
			return nil
		}
		text, err := p.text(runs)
		if err != nil {
			return err
		}
		w.all = append(w.all, text...)
		w.ends = append(w.ends, uint32(len(w.all)))
		if len(w.all) > maxStrings || len(w.ends) > maxTexts {
			return errLarge
		}
		return nil
	})
}

// runs are the elements of a text that make up what people see of it.
func runs(name string) bool { return name == "r" || name == "t" }

// text returns a shared string.
func (t *texts) text(number string) (string, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(t.ends) {
		return "", errWorkbook
	}
	from := uint32(0)
	if n > 0 {
		from = t.ends[n-1]
	}
	return string(t.all[from:t.ends[n]]), nil
}
