package carrier

import (
	"bytes"
	"strconv"
	"strings"
)

// Extract returns the bundle inside a certificate and the name that it has there. It reads
// what a PDF reader reads (the table of objects at the end, the catalog, the attachment) and
// compares each with its one spelling. The result is a part of pdf, not a copy.
func Extract(pdf []byte) (name string, bundle []byte, err error) {
	switch {
	case len(pdf) > MaxSize:
		return "", nil, ErrTooLarge
	case !bytes.HasPrefix(pdf, []byte(head)) && looksResaved(pdf):
		return "", nil, ErrResaved
	case !bytes.HasPrefix(pdf, []byte(head)):
		return "", nil, ErrForeign
	}
	t, ok := readTable(pdf)
	if !ok {
		return "", nil, ErrResaved
	}
	l := layout{objects: t.count}
	if l.name, ok = between(t.object(1), "/EmbeddedFiles<</Names[(", ")"); !ok || !validName(l.name) {
		return "", nil, ErrResaved
	}
	data := t.object(t.count - 1)
	length, ok := between(data, "/Length ", ">")
	size, valid := decimal(length)
	if !ok || !valid || size == 0 || size > MaxBundle {
		return "", nil, ErrResaved
	}
	start := len(l.data(size))
	if string(t.object(1)) != l.catalog() || string(t.object(t.count-2)) != l.file() ||
		len(data) != start+size+len(dataEnd) || string(data[:start]) != l.data(size) ||
		string(data[start+size:]) != dataEnd {
		return "", nil, ErrResaved
	}
	at := t.offsets[t.count-1] + start
	return l.name, pdf[at : at+size : at+size], nil
}

// table is the file's table of objects.
type table struct {
	pdf     []byte
	count   int
	offsets []int // by object number; the first is not used
	end     int   // where the last object ends: the table itself begins
}

// object returns the bytes of an object, with all that stands before the next one.
func (t table) object(n int) []byte {
	end := t.end
	if n+1 < t.count {
		end = t.offsets[n+1]
	}
	return t.pdf[t.offsets[n]:end]
}

// readTable reads the table and the trailer, from the end. Offsets ascend and lie within
// the file, so objects do not overlap.
func readTable(pdf []byte) (table, bool) {
	t := table{pdf: pdf}
	start := bytes.LastIndex(pdf, []byte("\nstartxref\n"))
	if start < 0 || !bytes.HasSuffix(pdf, []byte(tail)) || len(pdf)-len(tail) < start+len("\nstartxref\n") {
		return t, false
	}
	var ok bool
	if t.end, ok = decimal(string(pdf[start+len("\nstartxref\n") : len(pdf)-len(tail)])); !ok || t.end >= start {
		return t, false
	}
	rest := pdf[t.end:]
	count, ok := between(rest, "xref\n0 ", "\n")
	if t.count, ok = decimalIf(count, ok); !ok || t.count < 6 || t.count > maxObjects {
		return t, false
	}
	first := len("xref\n0 ") + len(count) + 1
	trailer := first + t.count*entrySize
	if trailer > len(rest) || string(rest[first:first+entrySize]) != "0000000000 65535 f \n" {
		return t, false
	}
	t.offsets = make([]int, t.count)
	previous := len(head) - 1
	for i := 1; i < t.count; i++ {
		line := string(rest[first+i*entrySize : first+(i+1)*entrySize])
		at, err := strconv.Atoi(line[:10])
		if err != nil || strings.Trim(line[:10], "0123456789") != "" || line[10:] != " 00000 n \n" || at <= previous ||
			at >= t.end {
			return t, false
		}
		t.offsets[i], previous = at, at
	}
	l := layout{objects: t.count}
	l.id, ok = between(rest[trailer:], "/ID[<", ">")
	return t, ok && t.offsets[1] == len(head) && validID(l.id) && string(rest[trailer:]) == l.trailer(t.end) &&
		t.framed()
}

// framed reports whether every object begins with its number and ends where the next begins.
func (t table) framed() bool {
	for n := 1; n < t.count; n++ {
		o := t.object(n)
		if !bytes.HasPrefix(o, []byte(strconv.Itoa(n)+" 0 obj\n")) || !bytes.HasSuffix(o, []byte("\nendobj\n")) {
			return false
		}
	}
	return true
}

// between returns what stands between the first occurrence of a text and the next of
// another, within the first kilobyte: what is looked for stands at the beginning.
func between(b []byte, from, to string) (string, bool) {
	_, rest, found := strings.Cut(string(b[:min(len(b), 1024)]), from)
	s, _, ended := strings.Cut(rest, to)
	return s, found && ended
}

// decimal reads a number in its one spelling, small enough for an offset here.
func decimal(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0 && n <= MaxSize && strconv.Itoa(n) == s
}

func decimalIf(s string, ok bool) (int, bool) {
	n, valid := decimal(s)
	return n, ok && valid
}
