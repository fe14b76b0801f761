package pdf

import (
	"bytes"
	"fmt"
)

type kind byte

const (
	free kind = iota
	plain
	compressed
)

// entry says where an object is: at an offset, or in the object stream of that number.
type entry struct {
	kind       kind
	offset     int64
	generation int
}

// readTable reads the table of objects from its newest section to its oldest (7.5.4, 7.5.8).
func (f *File) readTable() error {
	const tail = 2048 // bytes at the end in which readers look for it
	from := max(0, len(f.data)-tail)
	at := bytes.LastIndex(f.data[from:], []byte("startxref"))
	if at < 0 {
		return fmt.Errorf("%w: it has no end", ErrDamaged)
	}
	l := &Lexer{data: f.data, pos: from + at + len("startxref"), budget: f.budget}
	n, _ := l.Next()
	start, ok := n.(int64)
	if !ok {
		return fmt.Errorf("%w: its end does not say where its table is", ErrDamaged)
	}
	f.start = start
	seen := map[int64]bool{}
	for next := []int64{start}; len(next) > 0; {
		offset := next[0]
		next = next[1:]
		if seen[offset] {
			continue
		}
		if seen[offset] = true; len(seen) > maxSections {
			return fmt.Errorf("%w: it was saved more than %d times", ErrTooLarge, maxSections)
		}
		trailer, isStream, err := f.readSection(offset)
		if err != nil {
			return err
		}
		if f.trailer == nil {
			f.trailer, f.isStream = trailer, isStream
		}
		// In a hybrid file the stream comes before older sections (7.5.8.4).
		for _, key := range []Name{"XRefStm", "Prev"} {
			if at, ok := trailer[key].(int64); ok {
				next = append(next, at)
			}
		}
	}
	if f.Catalog() == nil {
		return fmt.Errorf("%w: it has no catalog", ErrDamaged)
	}
	return nil
}

func (f *File) readSection(offset int64) (trailer Dict, isStream bool, err error) {
	if offset < 0 || offset >= int64(len(f.data)) {
		return nil, false, fmt.Errorf("%w: its table is not where it should be", ErrDamaged)
	}
	l := &Lexer{data: f.data, pos: int(offset), budget: f.budget, refs: true}
	if l.skipSpace(); l.at("xref") {
		l.pos += len("xref")
		trailer, err = f.readPlainSection(l)
		return trailer, false, err
	}
	o, _ := f.objectAt(offset, -1)
	s, ok := o.(*Stream)
	if !ok || s.Dict["Type"] != Name("XRef") {
		return nil, false, fmt.Errorf("%w: its table is not where it should be", ErrDamaged)
	}
	return s.Dict, true, f.readStreamSection(s)
}

func (f *File) add(number int, e entry) error {
	if number < 0 || number > maxNumber {
		return fmt.Errorf("%w: an object has the number %d", ErrDamaged, number)
	}
	const weight = 64 // bytes of an entry in memory
	if _, newer := f.table[number]; !newer && f.budget.Hold(weight) {
		f.table[number] = e
	}
	return f.budget.Err()
}

// readPlainSection reads subsections and the trailer.
func (f *File) readPlainSection(l *Lexer) (Dict, error) {
	errForm := fmt.Errorf("%w: its table of objects cannot be read", ErrDamaged)
	l.refs = false
	for {
		o, ok := l.Next()
		if o == Keyword("trailer") {
			break
		}
		count, ok2 := l.Next()
		first, is := o.(int64)
		n, is2 := count.(int64)
		if !ok || !ok2 || !is || !is2 || n < 0 || n > maxEntries || first < 0 || first > maxNumber {
			return nil, errForm
		}
		for i := range n {
			at, _ := l.Next()
			generation, _ := l.Next()
			word, _ := l.Next()
			offset, is := at.(int64)
			g, is2 := generation.(int64)
			if !is || !is2 || word != Keyword("n") && word != Keyword("f") {
				return nil, errForm
			}
			if i == 0 && first == 1 && word == Keyword("f") && g == 0xffff {
				first = 0 // a mistake that several programs make: this is always number 0
			}
			e := entry{offset: offset, generation: int(g)}
			if word == Keyword("n") {
				e.kind = plain
			}
			if err := f.add(int(first+i), e); err != nil {
				return nil, err
			}
		}
	}
	l.refs = true
	o, _ := l.Next()
	trailer, ok := o.(Dict)
	if !ok {
		return nil, errForm
	}
	return trailer, nil
}

// readStreamSection reads a cross-reference stream: records of three numbers.
func (f *File) readStreamSection(s *Stream) error {
	errForm := fmt.Errorf("%w: its table of objects cannot be read", ErrDamaged)
	w := f.Numbers(s.Dict["W"], 3)
	size, ok := f.Number(s.Dict["Size"])
	if w == nil || !ok || min(w[0], w[1], w[2]) < 0 || max(w[0], w[1], w[2]) > 8 {
		return errForm
	}
	data, err := f.Unpack(s)
	if err != nil {
		return err
	}
	index := f.Numbers(s.Dict["Index"], 0)
	if len(index) == 0 {
		index = []float64{0, size}
	}
	widths := [3]int{int(w[0]), int(w[1]), int(w[2])}
	record := widths[0] + widths[1] + widths[2]
	if record == 0 || len(index)%2 != 0 {
		return errForm
	}
	for i := 0; i < len(index); i += 2 {
		if index[i] < 0 || index[i] > maxNumber || index[i+1] < 0 || index[i+1] > maxEntries {
			return errForm
		}
		for number := int(index[i]); number < int(index[i])+int(index[i+1]) && len(data) >= record; number++ {
			f.budget.Take(1)
			if err := f.addRecord(number, data[:record], widths); err != nil {
				return err
			}
			data = data[record:]
		}
	}
	return nil
}

func (f *File) addRecord(number int, record []byte, widths [3]int) error {
	var v [3]int64
	if widths[0] == 0 {
		v[0] = 1 // the default of the kind alone
	}
	for i, n := range widths {
		for _, b := range record[:n] {
			v[i] = v[i]<<8 | int64(b)
		}
		record = record[n:]
	}
	e := entry{offset: v[1]}
	switch v[0] {
	case 1:
		e.kind, e.generation = plain, int(v[2]&0xffff)
	case 2:
		e.kind = compressed
	}
	return f.add(number, e)
}
