// Package pdf reads as much of a PDF as stamping needs, and writes what was added behind it.
//
// Objects are read when they are asked for. What a file may cost is counted, see [Budget]: steps,
// memory, and bytes that streams unpack to. So a file that was made to harm costs no
// more than an honest one of its size; general libraries load and unpack a file whole before
// anything can be counted. A file whose table of objects is damaged is refused and not
// repaired: what is written behind it refers to that table.
//
// Section numbers are those of ISO 32000-1:2008. Nothing in here is safe for concurrent use.
package pdf

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/pdfcpu/pdfcpu/pkg/filter"
)

// What one file may be and cost.
const (
	MaxSize     = 64 << 20  // bytes of a file
	MaxPages    = 5000      // of a file
	maxNumber   = 1<<23 - 1 // of an object: annex C.2
	maxEntries  = 1 << 20   // of a section of the table of objects
	maxSections = 1024      // of the table of objects: a file that was saved so many times is made anew
	maxHeader   = 1024      // bytes that hold the file's header (Annex H, implementation note 13)
	maxResolve  = 8         // objects that are read because another one needs them: honest ones need three
)

var (
	ErrNotPDF    = errors.New("not a PDF")
	ErrDamaged   = errors.New("the PDF is damaged")
	ErrTooLarge  = errors.New("the PDF is too large")
	ErrEncrypted = errors.New("the PDF is encrypted")
)

// File is a PDF in memory.
type File struct {
	data     []byte // from the header on, where offsets count from there
	ahead    []byte // what stands before it
	start    int64  // where the newest section of the table of objects begins
	isStream bool   // and that it is a cross-reference stream (7.5.8)
	trailer  Dict   // of the newest section
	table    map[int]entry
	cache    map[int]Object
	packed   map[int]*objectStream
	loading  []int // objects that are being read, each for the one before
	budget   *Budget
}

// Open reads a file's table of objects. The data must not change afterwards. An encrypted
// file gives [ErrEncrypted]. The header stands within the first 1,024 bytes, as readers take it;
// offsets count from it (ISO 32000-2, 7.5.2), or, in files whose first bytes a program added
// and counted, from the beginning.
func Open(data []byte) (*File, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: it has more than %d MiB", ErrTooLarge, MaxSize>>20)
	}
	header := bytes.Index(data[:min(len(data), maxHeader)], []byte("%PDF-"))
	if header < 0 {
		return nil, fmt.Errorf("%w: it does not begin with %%PDF-", ErrNotPDF)
	}
	budget := newBudget(len(data))
	f, err := open(data, header, budget)
	if header > 0 && errors.Is(err, ErrDamaged) {
		if g, again := open(data, 0, budget); again == nil {
			return g, nil
		}
	}
	return f, err
}

func open(data []byte, header int, budget *Budget) (*File, error) {
	f := &File{data: data[header:], ahead: data[:header], budget: budget,
		table: map[int]entry{}, cache: map[int]Object{}, packed: map[int]*objectStream{}}
	err := f.readTable()
	if f.Err() != nil { // what else is wrong may come of it
		return nil, f.Err()
	}
	if err != nil {
		return nil, err
	}
	if f.trailer["Encrypt"] != nil {
		return nil, ErrEncrypted
	}
	return f, nil
}

// Err returns why reading was given up, or nil: what was read before is then not all.
func (f *File) Err() error { return f.budget.Err() }

// Budget is what may still be spent on the file.
func (f *File) Budget() *Budget { return f.budget }

// Aside is the same file with a small budget of its own, for what would be good to know and is
// not needed.
func (f *File) Aside() *File {
	g := *f
	g.budget = newBudget(len(f.data))
	g.budget.steps /= 4
	g.budget.memory /= 4
	return &g
}

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

// List is [File.Array] for whoever goes through it: it pays for that, as many may hold the same list.
func (f *File) List(o Object) Array {
	a := f.Array(o)
	if !f.budget.Take(len(a)) {
		return nil
	}
	return a
}

// Numbers resolves to the numbers of an array, or to nil when it has another length than n
// (any, where n is 0) or holds something else.
func (f *File) Numbers(o Object, n int) []float64 {
	a := f.Array(o)
	const each = 8 // that are looked at in a step
	if n > 0 && len(a) != n || !f.budget.Take(len(a)/each) {
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
	if !ok || slices.Contains(f.loading, number) || f.Err() != nil {
		return nil
	}
	if len(f.loading) >= maxResolve {
		f.budget.fail("reading one object leads to too many others")
		return nil
	}
	f.loading = append(f.loading, number)
	defer func() { f.loading = f.loading[:len(f.loading)-1] }()
	o := f.read(number, e)
	if f.Err() != nil {
		return nil
	}
	f.cache[number] = o
	return o
}

func (f *File) read(number int, e entry) (o Object) {
	switch e.kind {
	case plain:
		o, _ = f.objectAt(e.offset, number)
	case compressed:
		o = f.objectIn(int(e.offset), number)
	}
	return o
}

// Once is a dictionary that is looked at one time: it is not kept, unless it was before.
func (f *File) Once(o Object) Dict {
	r, ok := o.(Ref)
	if e, known := f.table[r.Number]; ok && known && f.cache[r.Number] == nil && f.Err() == nil {
		o = f.read(r.Number, e)
		f.budget.giveBack(o)
	}
	return f.Dict(o)
}

// objectAt reads the object that is defined at an offset (7.3.10); false where there is none
// of that number. A negative number takes any.
func (f *File) objectAt(offset int64, number int) (Object, bool) {
	if offset <= 0 || offset >= int64(len(f.data)) {
		return nil, false
	}
	l := &Lexer{data: f.data, pos: int(offset), budget: f.budget, refs: true}
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
		l := Lexer{data: f.data, pos: end, budget: f.budget}
		if l.skipSpace(); l.at("endstream") {
			return f.data[start:end]
		}
	}
	end := bytes.Index(f.data[start:], []byte("endstream"))
	const each = 64 // bytes that are looked through in a step
	if end < 0 {
		f.budget.Take((len(f.data) - start) / each)
		return nil
	}
	f.budget.Take(end / each)
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
		if s = f.openObjectStream(stream); f.Err() != nil {
			return nil // others with a budget of their own may read it still, see Aside
		}
		f.packed[stream] = s
	}
	at, ok := s.offsets[number]
	if !ok {
		return nil
	}
	o, _ := (&Lexer{data: s.data, pos: at, budget: f.budget, refs: true}).Next()
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
	if !f.budget.Hold(len(data)) {
		return out
	}
	out.data = data
	l := NewLexer(data[:int(first)], f.budget)
	for range int(min(n, maxEntries)) {
		num, _ := l.Next()
		offset, more := l.Next()
		i, ok := num.(int64)
		at, ok2 := offset.(int64)
		if !more || !ok || !ok2 || at < 0 || at >= int64(len(data))-int64(first) {
			break
		}
		const weight = 48 // bytes of an entry in memory
		if !f.budget.Hold(weight) {
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
		f.budget.unpack(len(data))
		return data, f.Err()
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

var filters = map[Name]string{"FlateDecode": filter.Flate, "Fl": filter.Flate, "LZWDecode": filter.LZW,
	"LZW":           filter.LZW,
	"ASCII85Decode": filter.ASCII85, "A85": filter.ASCII85, "ASCIIHexDecode": filter.ASCIIHex, "AHx": filter.ASCIIHex,
	"RunLengthDecode": filter.RunLength, "RL": filter.RunLength}

func (f *File) unpackOnce(name Name, parms Dict, data []byte) ([]byte, error) {
	if f.Err() != nil {
		return nil, f.Err()
	}
	// What goes in is paid for as well: much of it may come to nothing, in blocks of a few bytes. And
	// the same small stream may stand anywhere a thousand times.
	const once, each = 512, 4 // steps, and bytes in a step
	if !f.budget.Take(once + len(data)/each) {
		return nil, f.Err()
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
	most := min(f.budget.unpacked, mostOfStream)
	decoder, err := filter.NewFilter(kind, p, int64(most))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r, err := decoder.Decode(bytes.NewReader(data))
	if errors.Is(err, filter.ErrDecodeLimitExceeded) {
		f.budget.unpack(most + 1)
		if most == mostOfStream {
			f.budget.fail(fmt.Sprintf("one of its streams unpacks to more than %d MiB", mostOfStream>>20))
		}
		return nil, f.Err()
	}
	if err != nil {
		const ratio = 256 // nothing came of it, and it was work: how much is not known
		f.budget.unpack(min(ratio*len(data), mostOfStream))
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	out, ok := r.(*bytes.Buffer) // which it is today; then nothing is copied
	if !ok {
		out = &bytes.Buffer{}
		if _, err := out.ReadFrom(r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	f.budget.unpack(out.Len())
	return out.Bytes(), f.Err()
}
