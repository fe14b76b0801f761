package pdftext

import (
	"math"
	"strings"

	corefont "github.com/pdfcpu/pdfcpu/pkg/font"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"

	"stele/notary/office/stamp/pdf"
)

// font turns the bytes of a string into characters.
type font struct {
	composite bool
	vertical  bool
	toUnicode *cmap
	codes     *cmap             // of a composite font that brings its own encoding
	charset   encoding.Encoding // of a composite font with an encoding that everybody knows
	wide      bool              // and that has two bytes a character throughout
	names     [256]string       // text of a simple font's codes
	widths    []float32         // by code, of a composite font by character, in ems; not a number: missing
	missing   float64           // width of all others
	down      float64           // advance of vertical writing, negative: downwards
	decoded   map[uint32]string // of the charset
	decoder   *encoding.Decoder
	budget    *pdf.Budget
}

// char is one character of a string that is shown.
type char struct {
	text    string // empty: not known
	advance float64
	space   bool // code 32 in one byte: word spacing applies (9.3.3)
}

// charsets are the encodings for Chinese that everybody knows by name (9.7.5.2), by the
// beginning of the name. UCS-2 and UTF-16 come in all scripts.
var charsets = []struct {
	prefix string
	set    encoding.Encoding
	wide   bool
}{{"GB", simplifiedchinese.GB18030, false}, {"B5", traditionalchinese.Big5, false},
	{"ETen", traditionalchinese.Big5, false}, {"Uni", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), true}}

// loadFont reads a font's dictionary. It never fails: what it cannot tell stays unknown.
func loadFont(f *pdf.File, o pdf.Object) *font {
	d := f.Dict(o)
	f.Budget().Take(256) // a font that is named again and again without a number of its own
	f.Budget().Hold(8 << 10)
	out := &font{decoded: map[uint32]string{}, down: -1, budget: f.Budget()}
	if s, ok := f.Resolve(d["ToUnicode"]).(*pdf.Stream); ok {
		if data, err := f.Unpack(s); err == nil {
			out.toUnicode = parseCMap(data, f.Budget())
		}
	}
	if f.Name(d["Subtype"]) == "Type0" {
		out.loadComposite(f, d)
	} else {
		out.loadSimple(f, d)
	}
	return out
}

func (ft *font) loadComposite(f *pdf.File, d pdf.Dict) {
	ft.composite, ft.missing = true, 1
	name := string(f.Name(d["Encoding"]))
	if s, ok := f.Resolve(d["Encoding"]).(*pdf.Stream); ok {
		name = string(f.Name(s.Dict["CMapName"]))
		if data, err := f.Unpack(s); err == nil {
			ft.codes = parseCMap(data, f.Budget())
		}
		if n, ok := f.Number(s.Dict["WMode"]); ok && n == 1 {
			ft.vertical = true
		}
	}
	ft.vertical = ft.vertical || name == "V" || strings.HasSuffix(name, "-V")
	for _, c := range charsets {
		if ft.codes == nil && ft.charset == nil && strings.HasPrefix(name, c.prefix) {
			ft.charset, ft.wide, ft.decoder = c.set, c.wide, c.set.NewDecoder()
		}
	}
	var descendant pdf.Dict
	if a := f.Array(d["DescendantFonts"]); len(a) > 0 {
		descendant = f.Dict(a[0])
	}
	if w, ok := f.Number(descendant["DW"]); ok {
		ft.missing = w / 1000
	}
	if n := f.Numbers(descendant["DW2"], 2); n != nil && n[1] != 0 {
		ft.down = n[1] / 1000
	}
	if ft.charset == nil { // else characters' numbers are not known, and so neither whose widths these are
		ft.loadWidths(f, f.Array(descendant["W"]))
	}
}

// loadWidths reads the widths of a composite font (9.7.4.3): "c [w1 w2 …]" and "from to w".
func (ft *font) loadWidths(f *pdf.File, a pdf.Array) {
	const most = 0xffff
	for i := 0; i+1 < len(a) && f.Err() == nil; {
		first, ok := f.Number(a[i])
		if !ok || first < 0 || first > most {
			return
		}
		if list := f.Array(a[i+1]); list != nil {
			for j, o := range list[:min(len(list), most)] {
				if w, ok := f.Number(o); ok && f.Budget().Take(1) {
					ft.setWidth(f, uint32(first)+uint32(j), w/1000)
				}
			}
			i += 2
			continue
		}
		last, ok := f.Number(a[i+1])
		if !ok || i+2 >= len(a) || last > most {
			return
		}
		w, ok := f.Number(a[i+2])
		for c := uint32(first); ok && last >= 0 && c <= uint32(last) && f.Budget().Take(1); c++ {
			ft.setWidth(f, c, w/1000)
		}
		i += 3
	}
}

func (ft *font) setWidth(f *pdf.File, c uint32, width float64) {
	const most, room = 2 * 0xffff, 256 // codes
	if c > most {
		return
	}
	if n := int(c) + 1 - len(ft.widths); n > 0 {
		n += room
		if !f.Budget().Hold(4 * n) {
			return
		}
		for range n {
			ft.widths = append(ft.widths, float32(math.NaN()))
		}
	}
	ft.widths[c] = float32(width)
}

func (ft *font) loadSimple(f *pdf.File, d pdf.Dict) {
	ft.missing = 0.5
	base := f.Name(d["Encoding"])
	dict := f.Dict(d["Encoding"])
	if n := f.Name(dict["BaseEncoding"]); n != "" {
		base = n
	}
	set := charmap.Windows1252
	if base == "MacRomanEncoding" {
		set = charmap.Macintosh
	}
	for c := 32; c < 256; c++ {
		if r := set.DecodeByte(byte(c)); r != '\ufffd' {
			ft.names[c] = string(r)
		}
	}
	at := 0
	for _, o := range f.List(dict["Differences"]) {
		switch v := f.Resolve(o).(type) {
		case int64:
			at = int(max(0, min(v, 256)))
		case pdf.Name:
			if at < 256 {
				ft.names[at] = glyphText(string(v))
			}
			at++
		}
	}
	ft.simpleWidths(f, d)
}

func (ft *font) simpleWidths(f *pdf.File, d pdf.Dict) {
	scale := 1.0 / 1000
	if m := f.Numbers(d["FontMatrix"], 6); m != nil && f.Name(d["Subtype"]) == "Type3" {
		scale = m[0]
	}
	first, ok := f.Number(d["FirstChar"])
	list := f.Array(d["Widths"])
	if ok && list != nil && first >= 0 && first < 256 {
		ft.missing = 0
		if w, ok := f.Number(f.Dict(d["FontDescriptor"])["MissingWidth"]); ok {
			ft.missing = w * scale
		}
		for i, o := range list[:min(len(list), 256)] {
			if w, ok := f.Number(o); ok {
				ft.setWidth(f, uint32(first)+uint32(i), w*scale)
			}
		}
		return
	}
	name := string(f.Name(d["BaseFont"])) // one of the fourteen that every reader has
	for c := range uint32(256) {
		if w, err := corefont.CharWidth(name, rune(c)); err == nil && corefont.IsCoreFont(name) {
			ft.setWidth(f, c, float64(w)/1000)
		}
	}
}

// next takes the next character off a string that is not empty.
func (ft *font) next(s string) (char, string) {
	if !ft.composite {
		c := uint32(s[0])
		out := char{text: ft.names[c], advance: ft.width(c), space: c == ' '}
		if ft.toUnicode != nil {
			if t, ok := ft.toUnicode.text(c); ok {
				out.text = t
			}
		}
		return out, s[1:]
	}
	n := ft.codeLength(s)
	c, _ := code(pdf.String(s[:n]))
	out := char{space: n == 1 && c == ' '}
	switch {
	case ft.charset != nil:
		out.text, out.advance = ft.decode(c, s[:n]), ft.missing
		if n == 1 {
			out.advance = 0.5
		}
	case ft.codes != nil:
		out.advance = ft.width(ft.codes.cid(c))
	default:
		out.advance = ft.width(c)
	}
	if ft.vertical {
		out.advance = ft.down
	}
	if ft.toUnicode != nil {
		if t, ok := ft.toUnicode.text(c); ok {
			out.text = t
		}
	}
	return out, s[n:]
}

func (ft *font) codeLength(s string) int {
	n := 2
	switch {
	case ft.codes != nil:
		n = ft.codes.length(s)
	case ft.charset != nil && !ft.wide:
		n = 1
		if s[0] >= 0x81 && s[0] <= 0xfe {
			n = 2
			if len(s) >= 4 && s[1] >= '0' && s[1] <= '9' { // GB 18030, 4 bytes
				n = 4
			}
		}
	case ft.wide && len(s) >= 4 && s[0] >= 0xd8 && s[0] <= 0xdb:
		n = 4
	}
	return min(max(n, 1), len(s))
}

func (ft *font) decode(c uint32, s string) string {
	if t, ok := ft.decoded[c]; ok {
		return t
	}
	t, err := ft.decoder.String(s)
	if err != nil || strings.ContainsRune(t, '\ufffd') {
		t = ""
	}
	const weight = 48 // bytes of an entry in memory
	if ft.budget.Hold(weight) {
		ft.decoded[c] = t
	}
	return t
}

func (ft *font) width(c uint32) float64 {
	if int(c) < len(ft.widths) && !math.IsNaN(float64(ft.widths[c])) {
		return float64(ft.widths[c])
	}
	return ft.missing
}
