package pdftext

import (
	"cmp"
	"encoding/binary"
	"slices"
	"unicode/utf16"

	"stele/notary/office/stamp/pdf"
)

// Limits of one table of characters: the largest honest ones name every character there is.
const (
	maxMappings = 1 << 17
	maxRanges   = 1 << 14
)

// cmap is a table from codes to text (9.10.3), or from codes to characters of a font (9.7.5).
type cmap struct {
	spaces []codespace
	chars  map[uint32]string
	texts  ranges[[]rune] // of the first code; for the others its last character is counted on
	cids   ranges[uint32] // of the first code; for the others it is counted on
	budget *pdf.Budget
}

// codespace says how many bytes a code has that begins in a range.
type codespace struct {
	length   int
	from, to uint32
}

// ranges say what codes mean, many at a time. They are sorted when all are there.
type ranges[T any] []codeRange[T]

// codeRange is codes with what the first of them means.
type codeRange[T any] struct {
	from, to uint32
	first    T
}

func (l ranges[T]) sort() {
	slices.SortStableFunc(l, func(a, b codeRange[T]) int { return cmp.Compare(a.from, b.from) })
}

// of is what the first code of the range means that holds a code, and how far behind it that is; false
// where none holds it.
func (l ranges[T]) of(c uint32) (first T, behind uint32, ok bool) {
	i, found := slices.BinarySearchFunc(l, c, func(r codeRange[T], c uint32) int { return cmp.Compare(r.from, c) })
	if !found {
		i--
	}
	if i < 0 || c > l[i].to {
		return first, 0, false
	}
	return l[i].first, c - l[i].from, true
}

func code(s pdf.String) (uint32, bool) {
	if len(s) == 0 || len(s) > 4 {
		return 0, false
	}
	var b [4]byte
	copy(b[4-len(s):], s)
	return binary.BigEndian.Uint32(b[:]), true
}

func utf16Text(s pdf.String) string {
	units := make([]uint16, len(s)/2)
	for i := range units {
		units[i] = uint16(s[2*i])<<8 | uint16(s[2*i+1])
	}
	if len(s) == 1 { // some programs write one byte where two belong
		units = []uint16{uint16(s[0])}
	}
	return string(utf16.Decode(units))
}

// parseCMap reads what stands between the operators; the rest of the program around them has
// the same meaning everywhere.
func parseCMap(data []byte, budget *pdf.Budget) *cmap {
	m := &cmap{chars: map[uint32]string{}, budget: budget}
	defer func() {
		m.cids.sort()
		m.texts.sort()
	}()
	var operands []pdf.Object
	l := pdf.NewLexer(data, budget)
	for {
		o, ok := l.Next()
		if !ok {
			return m
		}
		word, isWord := o.(pdf.Keyword)
		if !isWord {
			if operands = append(operands, o); len(operands) > maxRanges {
				return m
			}
			continue
		}
		switch word {
		case "endcodespacerange":
			m.addSpaces(operands)
		case "endbfchar":
			m.addCharacters(operands)
		case "endbfrange":
			m.addRanges(operands)
		case "endcidrange":
			m.addCIDs(operands, 3)
		case "endcidchar":
			m.addCIDs(operands, 2)
		}
		operands = operands[:0]
	}
}

func (m *cmap) set(code uint32, text string) {
	const weight = 64 // bytes of an entry in memory
	if m.budget.Hold(weight + len(text)) {
		m.chars[code] = text
	}
}

func (m *cmap) addSpaces(o []pdf.Object) {
	for ; len(o) >= 2 && len(m.spaces) < 64; o = o[2:] {
		a, _ := o[0].(pdf.String)
		b, _ := o[1].(pdf.String)
		from, ok := code(a)
		to, ok2 := code(b)
		if ok && ok2 && len(a) == len(b) {
			m.spaces = append(m.spaces, codespace{len(a), from, to})
		}
	}
}

func (m *cmap) addCharacters(o []pdf.Object) {
	for ; len(o) >= 2 && len(m.chars) < maxMappings; o = o[2:] {
		a, _ := o[0].(pdf.String)
		to, ok := o[1].(pdf.String)
		if from, ok2 := code(a); ok && ok2 {
			m.set(from, utf16Text(to))
		}
	}
}

func (m *cmap) addRanges(o []pdf.Object) {
	for ; len(o) >= 3; o = o[3:] {
		a, _ := o[0].(pdf.String)
		b, _ := o[1].(pdf.String)
		from, ok := code(a)
		to, ok2 := code(b)
		if !ok || !ok2 || to < from {
			continue
		}
		switch v := o[2].(type) {
		case pdf.String:
			const weight = 64 // bytes of a range in memory
			first := []rune(utf16Text(v))
			if len(first) > 0 && len(m.texts) < maxRanges && m.budget.Hold(weight+4*len(first)) {
				m.texts = append(m.texts, codeRange[[]rune]{from, to, first})
			}
		case pdf.Array:
			for i, e := range v {
				if s, ok := e.(pdf.String); ok && uint32(i) <= to-from && len(m.chars) < maxMappings {
					m.set(from+uint32(i), utf16Text(s))
				}
			}
		}
	}
}

func (m *cmap) addCIDs(o []pdf.Object, n int) {
	for ; len(o) >= n && len(m.cids) < maxRanges; o = o[n:] {
		a, _ := o[0].(pdf.String)
		b, _ := o[n-2].(pdf.String)
		from, ok := code(a)
		to, ok2 := code(b)
		if cid, is := o[n-1].(int64); ok && ok2 && is && cid >= 0 && cid <= 0xffff {
			m.cids = append(m.cids, codeRange[uint32]{from, to, uint32(cid)})
		}
	}
}

// text is that of a code; false where the table has none.
func (m *cmap) text(c uint32) (string, bool) {
	if t, ok := m.chars[c]; ok {
		return t, true
	}
	first, behind, ok := m.texts.of(c)
	if !ok {
		return "", false
	}
	last := len(first) - 1
	next := rune(uint32(first[last]) + behind)
	if last == 0 {
		return string(next), true
	}
	return string(first[:last]) + string(next), true
}

// length is how many bytes the next code has; 0 where no range holds it.
func (m *cmap) length(s string) int {
	for n := 1; n <= min(4, len(s)); n++ {
		c, _ := code(pdf.String(s[:n]))
		for _, sp := range m.spaces {
			if sp.length == n && c >= sp.from && c <= sp.to {
				return n
			}
		}
	}
	return 0
}

func (m *cmap) cid(c uint32) uint32 {
	first, behind, _ := m.cids.of(c)
	return first + behind // none: 0
}
