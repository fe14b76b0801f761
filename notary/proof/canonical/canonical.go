// Package canonical is the JSON in which Stele's formats are signed, hashed and compared:
// UTF-8, keys in a fixed order, no white space, one spelling for every value.
//
// Writers append; readers decode with encoding/json, build the value, write it again and
// compare bytes ([Check]). So unknown, repeated or reordered keys, white space, other
// escapes and trailing bytes are refused without a parser of our own.
package canonical

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// MaxInt is the largest integer that is ever written: what JavaScript holds exactly (2^53 - 1).
const MaxInt = 1<<53 - 1

// MaxDepth is how deep lists and objects lie in one another at most. The formats need 8; what
// stands in a bundle without being looked into may have more, and a reader that calls itself
// for each level must not run out of them before another does.
const MaxDepth = 64

// ErrNotCanonical reports input that says something but not in its one spelling.
var ErrNotCanonical = errors.New(
	"not in canonical form: keys must be in the fixed order, once each, without white space")

// Decode reads one JSON value of at most max bytes into v. The caller still has to write
// the value again and call [Check].
func Decode(data []byte, max int, v any) error {
	if len(data) > max {
		return fmt.Errorf("at most %d bytes are allowed, and there are more", max)
	}
	if !utf8.Valid(data) {
		return errors.New("not valid UTF-8")
	}
	if deeperThan(data, MaxDepth) {
		return fmt.Errorf("lists and objects may lie %d deep in one another", MaxDepth)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("not the JSON that is expected here: %w", err)
	}
	return nil
}

// deeperThan counts brackets outside strings. What is no JSON may be counted wrongly: it is
// refused later.
func deeperThan(data []byte, most int) bool {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > most {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// Check compares input with the one spelling of what was read from it.
func Check(input, written []byte) error {
	if !bytes.Equal(input, written) {
		return ErrNotCanonical
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string: quotation mark, reverse solidus and the control
// characters below U+0020 are escaped, the latter as \b \t \n \f \r or \u00xx with lower-case
// digits; everything else stands as it is (RFC 8785 section 3.2.2.2). s must be valid UTF-8.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\t':
			b = append(b, '\\', 't')
		case '\n':
			b = append(b, '\\', 'n')
		case '\f':
			b = append(b, '\\', 'f')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			if c < 0x20 {
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			} else {
				b = append(b, c)
			}
		}
	}
	return append(b, '"')
}

// AppendBytes appends data as a JSON string of standard base64 with padding.
func AppendBytes(b, data []byte) []byte {
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"')
}

// AppendInt appends n in decimal.
func AppendInt(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

// AppendStrings writes a key that is not an object's first, and its list of strings.
func AppendStrings(b []byte, key string, list []string) []byte {
	b = append(b, `,"`+key+`":`...)
	return AppendList(b, list, AppendString)
}

// AppendList appends a JSON array.
func AppendList[T any](b []byte, items []T, each func(b []byte, item T) []byte) []byte {
	b = append(b, '[')
	for i, it := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = each(b, it)
	}
	return append(b, ']')
}
