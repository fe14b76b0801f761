package pdf

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"

	"stele/crypto/sm"
)

// Update is what is written behind a file (7.5.6): the file stays as it is, byte for byte,
// and is found again by cutting off what follows.
type Update struct {
	file    *File
	next    int
	objects map[Ref][]byte
	size    int          // bytes of those that take the place of others
	packer  *zlib.Writer // used again and again: making one takes a megabyte
}

// NewUpdate begins an update that changes nothing.
func (f *File) NewUpdate() *Update {
	u := &Update{file: f, objects: map[Ref][]byte{}}
	for n := range f.table {
		u.next = max(u.next, n)
	}
	if size, ok := f.trailer["Size"].(int64); ok && size <= maxNumber {
		u.next = max(u.next, int(size)-1)
	}
	u.next++
	return u
}

// Add adds an object.
func (u *Update) Add(o Object) Ref {
	r := Ref{Number: u.next}
	u.next++
	u.objects[r] = Append(nil, o)
	return r
}

// AddStream adds a stream, packed. d is changed.
func (u *Update) AddStream(d Dict, data []byte) Ref {
	var packed bytes.Buffer
	if u.packer == nil {
		u.packer = zlib.NewWriter(&packed)
	} else {
		u.packer.Reset(&packed)
	}
	_, _ = u.packer.Write(data) // a buffer takes everything
	_ = u.packer.Close()
	d["Filter"], d["Length"] = Name("FlateDecode"), int64(packed.Len())
	r := Ref{Number: u.next}
	u.next++
	b := append(Append(nil, d), "\nstream\n"...)
	u.objects[r] = append(append(b, packed.Bytes()...), "\nendstream"...)
	return r
}

// Replace puts an object in the place of one that is there.
func (u *Update) Replace(r Ref, o Object) {
	if r.Generation = u.file.table[r.Number].generation; u.Err() != nil {
		return
	}
	u.objects[r] = Append(nil, o)
	u.size += len(u.objects[r])
}

// Err is an error when what takes the place of objects is larger than a file may be: pages that share
// a large list each get one of their own.
func (u *Update) Err() error {
	if u.size > MaxSize {
		return fmt.Errorf("%w: what would be written behind it has more than %d MiB", ErrTooLarge, MaxSize>>20)
	}
	return nil
}

// Bytes returns the file with the update behind it. The same file and the same update give
// the same bytes. The table is written as the file's own newest one is: a reader that knows
// one kind only goes on reading.
func (u *Update) Bytes() ([]byte, error) {
	refs := make([]Ref, 0, len(u.objects)+1)
	for r := range u.objects {
		refs = append(refs, r)
	}
	slices.SortFunc(refs, func(a, b Ref) int { return a.Number - b.Number })
	if u.next >= maxNumber {
		return nil, fmt.Errorf("%w: it has no numbers left for more objects", ErrTooLarge)
	}
	ahead := len(u.file.ahead) // offsets count from the header
	out := append(make([]byte, 0, ahead+len(u.file.data)+1<<20), u.file.ahead...)
	out = append(out, u.file.data...)
	if out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	first := len(out)
	offsets := make([]int, 0, len(refs)+1)
	for _, r := range refs {
		offsets = append(offsets, len(out)-ahead)
		out = fmt.Appendf(out, "%d %d obj\n", r.Number, r.Generation)
		out = append(append(out, u.objects[r]...), "\nendobj\n"...)
	}
	table := len(out) - ahead
	trailer := Dict{"Size": int64(u.next), "Prev": u.file.start, "Root": u.file.trailer["Root"],
		"ID": u.file.identifier(out[first:])}
	if info := u.file.trailer["Info"]; info != nil {
		trailer["Info"] = info
	}
	if u.file.isStream {
		refs, offsets = append(refs, Ref{Number: u.next}), append(offsets, table)
		trailer["Size"] = int64(u.next + 1)
		out = appendStreamTable(out, u.next, trailer, refs, offsets)
	} else {
		out = appendPlainTable(out, trailer, refs, offsets)
	}
	return fmt.Appendf(out, "startxref\n%d\n%%%%EOF\n", table), nil
}

// identifier keeps what a file was called when it was made, and says that it is another
// version now (14.4).
func (f *File) identifier(update []byte) Array {
	h := sm.NewHash()
	h.Write(f.ahead)
	h.Write(f.data)
	made := String(h.Sum(nil)[:16])
	h.Write(update)
	now := String(h.Sum(nil)[:16])
	if ids := f.Array(f.trailer["ID"]); len(ids) == 2 {
		if s, ok := f.Resolve(ids[0]).(String); ok {
			made = s
		}
	}
	return Array{made, now}
}

// appendPlainTable writes runs of numbers that follow each other as subsections.
func appendPlainTable(out []byte, trailer Dict, refs []Ref, offsets []int) []byte {
	out = append(out, "xref\n"...)
	for i := 0; i < len(refs); {
		n := runLength(refs[i:])
		out = fmt.Appendf(out, "%d %d\n", refs[i].Number, n)
		for ; n > 0; n-- {
			out = fmt.Appendf(out, "%010d %05d n \n", offsets[i], refs[i].Generation)
			i++
		}
	}
	out = append(out, "trailer\n"...)
	return append(Append(out, trailer), '\n')
}

func appendStreamTable(out []byte, number int, d Dict, refs []Ref, offsets []int) []byte {
	var records []byte
	var index Array
	for i := 0; i < len(refs); {
		n := runLength(refs[i:])
		index = append(index, int64(refs[i].Number), int64(n))
		for ; n > 0; n-- {
			records = append(records, 1)
			records = binary.BigEndian.AppendUint32(records, uint32(offsets[i]))
			records = binary.BigEndian.AppendUint16(records, uint16(refs[i].Generation))
			i++
		}
	}
	d["Type"], d["W"], d["Index"], d["Length"] = Name("XRef"), Array{int64(1), int64(4), int64(2)}, index,
		int64(len(records))
	out = Append(fmt.Appendf(out, "%d 0 obj\n", number), d)
	out = append(append(out, "\nstream\n"...), records...)
	return append(out, "\nendstream\nendobj\n"...)
}

func runLength(refs []Ref) int {
	n := 1
	for n < len(refs) && refs[n].Number == refs[n-1].Number+1 {
		n++
	}
	return n
}

// Append writes an object behind b. Keys are sorted; strings are written in hexadecimal, so
// that nothing has to be escaped.
func Append(b []byte, o Object) []byte {
	switch v := o.(type) {
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		return strconv.AppendFloat(b, v, 'f', -1, 64)
	case Name:
		return appendName(b, v)
	case String:
		return append(hex.AppendEncode(append(b, '<'), []byte(v)), '>')
	case Ref:
		return fmt.Appendf(b, "%d %d R", v.Number, v.Generation)
	case Keyword:
		return append(b, v...)
	case Array:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ' ')
			}
			b = Append(b, e)
		}
		return append(b, ']')
	case Dict:
		keys := make([]Name, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = append(b, "<<"...)
		for _, k := range keys {
			b = append(appendName(b, k), ' ')
			b = Append(b, v[k])
		}
		return append(b, ">>"...)
	}
	return append(b, "null"...)
}

func appendName(b []byte, n Name) []byte {
	b = append(b, '/')
	for i := range len(n) {
		if c := n[i]; c <= ' ' || c > '~' || c == '#' || isDelimiter(c) {
			b = fmt.Appendf(b, "#%02x", c)
		} else {
			b = append(b, c)
		}
	}
	return b
}
