// Package pdf reads as much of a PDF as stamping needs, and writes what was added behind it.
//
// Objects are read when they are asked for. What a file may cost is counted: bytes that
// streams unpack to, objects that are read, pages. So a file that was made to harm costs no
// more than a large honest one; general libraries load and unpack a file whole before
// anything can be counted. A file whose table of objects is damaged is refused and not
// repaired: what is written behind it refers to that table.
//
// Section numbers are those of ISO 32000-1:2008. Nothing in here is safe for concurrent use.
package pdf

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pdfcpu/pdfcpu/pkg/filter"
)

// What one file may be and cost.
const (
	MaxSize     = 64 << 20  // bytes of a file
	MaxPages    = 5000      // of a file
	maxNumber   = 1<<23 - 1 // of an object: annex C.2
	maxEntries  = 1 << 20   // of the table of objects, with all its updates
	maxSections = 1024      // of the table of objects: a file that was saved so many times is made anew
	maxObjects  = 4 << 20   // that are read, counted with those inside of others
	maxUnpacked = 128 << 20 // bytes that streams unpack to, all together
)

var (
	ErrNotPDF    = errors.New("not a PDF")
	ErrDamaged   = errors.New("the PDF is damaged")
	ErrTooLarge  = errors.New("the PDF is too large")
	ErrEncrypted = errors.New("the PDF is encrypted")
)

// File is a PDF in memory.
type File struct {
	data     []byte
	start    int64 // where the newest section of the table of objects begins
	isStream bool  // and that it is a cross-reference stream (7.5.8)
	trailer  Dict  // of the newest section
	table    map[int]entry
	cache    map[int]Object
	packed   map[int]*objectStream
	loading  map[int]bool
	tokens   int   // objects that may still be read
	unpacked int   // bytes that may still be unpacked
	spent    error // why reading was given up
}

// Open reads a file's table of objects. The data must not change afterwards. An encrypted
// file gives [ErrEncrypted].
func Open(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: it has more than %d MiB", ErrTooLarge, MaxSize>>20)
	}
	if !bytes.HasPrefix(data, []byte("%PDF-")) {
		return nil, fmt.Errorf("%w: it does not begin with %%PDF-", ErrNotPDF)
	}
	f := &File{data: data, table: map[int]entry{}, cache: map[int]Object{}, packed: map[int]*objectStream{}, loading: map[int]bool{}, tokens: maxObjects, unpacked: maxUnpacked}
	if err := f.readTable(); err != nil {
		return nil, errors.Join(err, f.spent)
	}
	if f.trailer["Encrypt"] != nil {
		return nil, ErrEncrypted
	}
	return f, f.spent
}

// Err returns why reading was given up, or nil: what was read before is then not all.
func (f *File) Err() error { return f.spent }

// Catalog is the root of all objects.
func (f *File) Catalog() Dict { return f.Dict(f.trailer["Root"]) }

// Contains reports whether a text stands anywhere in the file as it is.
func (f *File) Contains(s string) bool { return bytes.Contains(f.data, []byte(s)) }

// Resolve follows references to what they mean. What is missing, or cannot be read, is nil.
func (f *File) Resolve(o Object) Object {
	for range 16 {
		r, ok := o.(Ref)
		if !ok {
			return o
		}
		o = f.object(r.Number)
	}
	return nil
}

// Dict resolves to a dictionary, that of a stream included, or to nil.
func (f *File) Dict(o Object) Dict {
	switch v := f.Resolve(o).(type) {
	case Dict:
		return v
	case *Stream:
		return v.Dict
	}
	return nil
}

// Array resolves to an array or nil.
func (f *File) Array(o Object) Array {
	a, _ := f.Resolve(o).(Array)
	return a
}

// Name resolves to a name, or to an empty one.
func (f *File) Name(o Object) Name {
	n, _ := f.Resolve(o).(Name)
	return n
}

// Number resolves to a number; false when it is none.
func (f *File) Number(o Object) (float64, bool) {
	switch v := f.Resolve(o).(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// Numbers resolves to the numbers of an array, or to nil when it has another length than n
// (any, where n is 0) or holds something else.
func (f *File) Numbers(o Object, n int) []float64 {
	a := f.Array(o)
	if n > 0 && len(a) != n {
		return nil
	}
	out := make([]float64, len(a))
	for i := range a {
		var ok bool
		if out[i], ok = f.Number(a[i]); !ok {
			return nil
		}
	}
	return out
}

func (f *File) object(number int) Object {
	if o, ok := f.cache[number]; ok {
		return o
	}
	e, ok := f.table[number]
	if !ok || f.loading[number] || f.spent != nil {
		return nil
	}
	f.loading[number] = true
	defer delete(f.loading, number)
	var o Object
	switch e.kind {
	case plain:
		o, _ = f.objectAt(e.offset, number)
	case compressed:
		o = f.objectIn(int(e.offset), number)
	}
	if f.tokens <= 0 && f.spent == nil {
		f.spent = fmt.Errorf("%w: it has more than %d objects", ErrTooLarge, maxObjects)
	}
	f.cache[number] = o
	return o
}

// objectAt reads the object that is defined at an offset (7.3.10); false where there is none
// of that number. A negative number takes any.
func (f *File) objectAt(offset int64, number int) (Object, bool) {
	if offset <= 0 || offset >= int64(len(f.data)) {
		return nil, false
	}
	l := &Lexer{data: f.data, pos: int(offset), budget: &f.tokens, refs: true}
	n, _ := l.Next()
	_, _ = l.Next()
	word, _ := l.Next()
	if got, ok := n.(int64); !ok || word != Keyword("obj") || number >= 0 && got != int64(number) {
		return nil, false
	}
	o, ok := l.Next()
	if _, empty := o.(Keyword); !ok || empty {
		return nil, ok
	}
	d, isDict := o.(Dict)
	if !isDict {
		return o, true
	}
	l.skipSpace()
	if !l.at("stream") {
		return d, true
	}
	l.pos += len("stream")
	if l.at("\r\n") {
		l.pos++
	}
	l.pos++ // the line feed
	return &Stream{Dict: d, Raw: f.streamData(d, min(l.pos, len(f.data)))}, true
}

// streamData cuts a stream by its length; where that is wrong, at its last word.
func (f *File) streamData(d Dict, start int) []byte {
	if n, ok := f.Number(d["Length"]); ok && n >= 0 && n <= float64(len(f.data)-start) {
		end := start + int(n)
		l := Lexer{data: f.data, pos: end, budget: &f.tokens}
		if l.skipSpace(); l.at("endstream") {
			return f.data[start:end]
		}
	}
	end := bytes.Index(f.data[start:], []byte("endstream"))
	if end < 0 {
		return nil
	}
	return bytes.TrimRight(f.data[start:start+end], "\r\n")
}

// objectStream is a stream that holds objects (7.5.7), unpacked.
type objectStream struct {
	data    []byte
	offsets map[int]int // where objects begin, by their number
}

func (f *File) objectIn(stream, number int) Object {
	s, ok := f.packed[stream]
	if !ok {
		s = f.openObjectStream(stream)
		f.packed[stream] = s
	}
	at, ok := s.offsets[number]
	if !ok {
		return nil
	}
	o, _ := (&Lexer{data: s.data, pos: at, budget: &f.tokens, refs: true}).Next()
	if _, is := o.(Keyword); is {
		return nil
	}
	return o
}

func (f *File) openObjectStream(number int) *objectStream {
	out := &objectStream{offsets: map[int]int{}}
	if f.table[number].kind != plain { // none lies in another
		return out
	}
	s, ok := f.object(number).(*Stream)
	if !ok {
		return out
	}
	data, err := f.Unpack(s)
	n, _ := f.Number(s.Dict["N"])
	first, _ := f.Number(s.Dict["First"])
	if err != nil || n < 0 || first < 0 || first > float64(len(data)) {
		return out
	}
	out.data = data
	l := NewLexer(data[:int(first)], &f.tokens)
	for range int(min(n, maxEntries)) {
		num, _ := l.Next()
		offset, more := l.Next()
		i, ok := num.(int64)
		at, ok2 := offset.(int64)
		if !more || !ok || !ok2 || at < 0 || at >= int64(len(data))-int64(first) {
			break
		}
		out.offsets[int(i)] = int(first) + int(at)
	}
	return out
}

// Unpack undoes the filters of a stream (7.4), but those of pictures.
func (f *File) Unpack(s *Stream) ([]byte, error) {
	names, parms := f.Array(s.Dict["Filter"]), f.Array(s.Dict["DecodeParms"])
	if n := f.Name(s.Dict["Filter"]); n != "" {
		names, parms = Array{n}, Array{s.Dict["DecodeParms"]}
	}
	data := s.Raw
	if len(names) == 0 {
		return data, f.charge(len(data))
	}
	const most = 4 // filters one after the other: honest files have one or two
	if len(names) > most {
		return nil, fmt.Errorf("%w: a stream is packed %d times", ErrDamaged, len(names))
	}
	for i, n := range names {
		var p Dict
		if i < len(parms) {
			p = f.Dict(parms[i])
		}
		var err error
		if data, err = f.unpackOnce(f.Name(n), p, data); err != nil {
			return nil, err
		}
	}
	return data, nil
}

var filters = map[Name]string{"FlateDecode": filter.Flate, "Fl": filter.Flate, "LZWDecode": filter.LZW, "LZW": filter.LZW, "ASCII85Decode": filter.ASCII85, "A85": filter.ASCII85,
	"ASCIIHexDecode": filter.ASCIIHex, "AHx": filter.ASCIIHex, "RunLengthDecode": filter.RunLength, "RL": filter.RunLength}

func (f *File) unpackOnce(name Name, parms Dict, data []byte) ([]byte, error) {
	if f.spent != nil {
		return nil, f.spent
	}
	kind, ok := filters[name]
	if !ok {
		return nil, fmt.Errorf("%w: unknown filter %.40q", ErrDamaged, string(name))
	}
	p := map[string]int{}
	for _, key := range []Name{"Predictor", "Colors", "BitsPerComponent", "Columns", "EarlyChange"} {
		if v, ok := f.Number(parms[key]); ok && v >= 0 && v <= 1<<20 {
			p[string(key)] = int(v)
		}
	}
	decoder, err := filter.NewFilter(kind, p, int64(f.unpacked))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r, err := decoder.Decode(bytes.NewReader(data))
	if errors.Is(err, filter.ErrDecodeLimitExceeded) {
		return nil, f.charge(f.unpacked + 1)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return out.Bytes(), f.charge(out.Len())
}

// charge counts bytes that were unpacked.
func (f *File) charge(n int) error {
	if f.unpacked -= n; f.unpacked < 0 && f.spent == nil {
		f.spent = fmt.Errorf("%w: its streams unpack to more than %d MiB", ErrTooLarge, maxUnpacked>>20)
	}
	return f.spent
}
