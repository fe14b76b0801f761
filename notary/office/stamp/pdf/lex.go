package pdf

import (
	"bytes"
	"strconv"
)

// The kinds of objects (ISO 32000-1, 7.3). A null is nil, booleans are bool, whole numbers
// int64 and others float64.
type (
	Object  any
	Name    string
	String  string // the bytes that it stands for
	Array   []Object
	Dict    map[Name]Object
	Keyword string // a word that is none of these: obj, R, an operator of a content stream
	Ref     struct{ Number, Generation int }
)

// Stream is a dictionary with data behind it, as it stands in the file.
type Stream struct {
	Dict Dict
	Raw  []byte
}

// maxNesting is how deep arrays and dictionaries may lie in each other: real files stay
// below ten, and what reads them is recursive.
const maxNesting = 48

// Lexer reads objects one after the other, from a file or from a content stream.
type Lexer struct {
	data   []byte
	pos    int
	budget *Budget
	refs   bool // "1 0 R" is a reference, and objects are kept: in files, not in content streams
	size   int  // bytes in memory of the object that is being read
}

// NewLexer reads a content stream, or a table of characters. What is read is paid from the
// budget; when that is used up, it ends.
func NewLexer(data []byte, budget *Budget) *Lexer { return &Lexer{data: data, budget: budget} }

func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f' || c == 0
}

func isDelimiter(c byte) bool { return bytes.IndexByte([]byte("()<>[]{}/%"), c) >= 0 }

// skipSpace passes over blanks and comments, and pays for them: many objects may stand before one.
func (l *Lexer) skipSpace() {
	start := l.pos
	defer func() { l.budget.Take((l.pos - start) / bytesPerStep) }()
	for l.pos < len(l.data) {
		switch c := l.data[l.pos]; {
		case isSpace(c):
			l.pos++
		case c == '%':
			for l.pos < len(l.data) && l.data[l.pos] != '\n' && l.data[l.pos] != '\r' {
				l.pos++
			}
		default:
			return
		}
	}
}

// bytesPerStep is how many bytes are looked at for a step.
const bytesPerStep = 16

// Next returns the next object; false at the end, or when the budget is used up. What cannot
// be read is passed over, as readers do.
func (l *Lexer) Next() (Object, bool) {
	l.size = 0
	return l.next(0)
}

// next pays for an object and for the bytes of one without parts; the parts of others pay for
// themselves.
func (l *Lexer) next(depth int) (Object, bool) {
	l.skipSpace()
	if !l.budget.Take(1) || l.pos >= len(l.data) {
		return nil, false
	}
	start := l.pos
	o, ok := l.object(depth)
	switch o.(type) {
	case Array, Dict:
		return o, ok
	}
	return o, ok && l.budget.Take((l.pos-start)/bytesPerStep) && l.grow(weight(o))
}

// maxOperand is the bytes that one operand of a content stream may take in memory.
const maxOperand = 4 << 20

// grow pays for memory before it is taken: an object in a file is kept, one in a content stream
// is forgotten when the next is read.
func (l *Lexer) grow(bytes int) bool {
	if l.size += bytes; l.refs {
		return l.budget.Hold(bytes)
	}
	if l.size > maxOperand {
		l.budget.fail("an operand is too large")
	}
	return l.budget.Err() == nil
}

func (l *Lexer) object(depth int) (Object, bool) {
	switch c := l.data[l.pos]; c {
	case '/':
		l.pos++
		return l.name(), true
	case '(':
		return l.literal(), true
	case '[':
		l.pos++
		return l.array(depth + 1)
	case '<':
		if l.at("<<") {
			l.pos += 2
			return l.dict(depth + 1)
		}
		return l.hex(), true
	case '>':
		if l.at(">>") {
			l.pos += 2
			return Keyword(">>"), true
		}
		l.pos++
		return Keyword(">"), true
	case ']', ')', '{', '}':
		l.pos++
		return Keyword(string(c)), true
	}
	return l.word(), true
}

func (l *Lexer) at(s string) bool { return bytes.HasPrefix(l.data[l.pos:], []byte(s)) }

func (l *Lexer) regular() string {
	start := l.pos
	for l.pos < len(l.data) && !isSpace(l.data[l.pos]) && !isDelimiter(l.data[l.pos]) {
		l.pos++
	}
	return string(l.data[start:l.pos])
}

func (l *Lexer) name() Name {
	s := l.regular()
	if !bytes.Contains([]byte(s), []byte("#")) {
		return Name(s)
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '#' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(v))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return Name(out)
}

// word is a number, a reference, one of the three constants or a keyword.
func (l *Lexer) word() Object {
	w := l.regular()
	switch w {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	n, ok := number(w)
	if !ok {
		return Keyword(w)
	}
	first, whole := n.(int64)
	if !l.refs || !whole || first < 0 || first > maxNumber {
		return n
	}
	after := l.pos
	l.skipSpace()
	generation, ok := number(l.regular())
	second, whole := generation.(int64)
	if l.skipSpace(); ok && whole && second >= 0 && second <= 0xffff && l.regular() == "R" {
		return Ref{Number: int(first), Generation: int(second)}
	}
	l.pos = after
	return n
}

// number reads a number (ISO 32000-1, 7.3.3): no exponents, digits on at least one side.
func number(w string) (Object, bool) {
	digits, points := 0, 0
	for i := range len(w) {
		switch c := w[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		case (c == '+' || c == '-') && i == 0:
		default:
			return nil, false
		}
	}
	if digits == 0 || points > 1 || len(w) > 64 {
		return nil, false
	}
	if points == 0 {
		if n, err := strconv.ParseInt(w, 10, 64); err == nil {
			return n, true
		}
	}
	f, err := strconv.ParseFloat(w, 64)
	return f, err == nil
}

// literal reads a string in parentheses (ISO 32000-1, 7.3.4.2).
func (l *Lexer) literal() String {
	l.pos++
	var out []byte
	for depth := 1; l.pos < len(l.data); l.pos++ {
		c := l.data[l.pos]
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				l.pos++
				return String(out)
			}
		case '\\':
			out = l.escaped(out)
			continue
		case '\r': // every end of line is one line feed
			if l.at("\r\n") {
				l.pos++
			}
			c = '\n'
		}
		out = append(out, c)
	}
	return String(out)
}

// escaped reads what follows a backslash and stops at its last byte.
func (l *Lexer) escaped(out []byte) []byte {
	l.pos++
	if l.pos >= len(l.data) {
		return out
	}
	c := l.data[l.pos]
	switch {
	case c >= '0' && c <= '7':
		v := 0
		for i := 0; i < 3 && l.pos < len(l.data) && l.data[l.pos] >= '0' && l.data[l.pos] <= '7'; i++ {
			v = v*8 + int(l.data[l.pos]-'0')
			l.pos++
		}
		l.pos--
		return append(out, byte(v))
	case c == '\r':
		if l.at("\r\n") {
			l.pos++
		}
		return out
	case c == '\n':
		return out
	}
	if i := bytes.IndexByte([]byte("nrtbf"), c); i >= 0 {
		c = "\n\r\t\b\f"[i]
	}
	return append(out, c)
}

// hex reads a string in angle brackets; a last digit alone counts as its upper half.
func (l *Lexer) hex() String {
	l.pos++
	var out []byte
	half, have := byte(0), false
	for ; l.pos < len(l.data); l.pos++ {
		c := l.data[l.pos]
		if c == '>' {
			l.pos++
			break
		}
		v, err := strconv.ParseUint(string(c), 16, 8)
		if err != nil {
			continue
		}
		if have {
			out = append(out, half<<4|byte(v))
		}
		half, have = byte(v), !have
	}
	if have {
		out = append(out, half<<4)
	}
	return String(out)
}

func (l *Lexer) array(depth int) (Object, bool) {
	out := Array{}
	for depth <= maxNesting && l.grow(slotWeight) {
		o, ok := l.next(depth)
		if !ok {
			return nil, false
		}
		if k, is := o.(Keyword); is {
			if k == "]" {
				return out, true
			}
			if k == "endobj" || k == "stream" || k == ">>" {
				return out, true
			}
			continue
		}
		out = append(out, o)
	}
	return nil, false
}

func (l *Lexer) dict(depth int) (Object, bool) {
	if !l.grow(dictWeight) {
		return nil, false
	}
	out := Dict{}
	for depth <= maxNesting && l.grow(entryWeight) {
		k, ok := l.next(depth)
		if !ok {
			return nil, false
		}
		key, is := k.(Name)
		if word, end := k.(Keyword); end && (word == ">>" || word == "endobj" || word == "stream") {
			return out, true
		}
		if !is {
			continue
		}
		before := l.pos
		v, ok := l.next(depth)
		if !ok {
			return nil, false
		}
		if word, end := v.(Keyword); end {
			if word == ">>" {
				l.pos = before // a key without a value
			}
			continue
		}
		if _, twice := out[key]; !twice && v != nil {
			out[key] = v
		}
	}
	return nil, false
}

// SkipInlineImage moves behind the data of an image inside a content stream, whose ID has
// been read: to the first EI that stands alone (ISO 32000-1, 8.9.7).
func (l *Lexer) SkipInlineImage() {
	start := l.pos
	defer func() { l.budget.Take((l.pos - start) / bytesPerStep) }()
	for at := l.pos; ; {
		i := bytes.Index(l.data[at:], []byte("EI"))
		if i < 0 {
			l.pos = len(l.data)
			return
		}
		at += i + 2
		if at >= 3 && isSpace(l.data[at-3]) && (at == len(l.data) || isSpace(l.data[at])) {
			l.pos = at
			return
		}
	}
}
