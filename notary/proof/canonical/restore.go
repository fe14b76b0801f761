package canonical

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrSavedAnew reports JSON that another program saved in a way that leaves doubt about the
// bytes it was made of, or text that was damaged.
var ErrSavedAnew = errors.New("saved anew by another program, or damaged: get the original file")

// Restore gives back the canonical spelling of JSON that another program has saved anew: with a
// byte order mark, in UTF-16, with other line ends, indented, with other escapes. Values, their
// order and the order of keys stay as they are; what cannot be kept without doubt (a number
// with a fraction or an exponent, half of a surrogate pair) is an error that wraps
// [ErrSavedAnew]. At most max bytes are read. The caller parses the result strictly: Restore
// checks neither keys nor values.
func Restore(data []byte, max int) ([]byte, error) {
	if len(data) > max {
		return nil, fmt.Errorf("at most %d bytes are allowed, and there are more", max)
	}
	text, err := decodeText(data)
	if err != nil {
		return nil, err
	}
	if !json.Valid(text) {
		return nil, fmt.Errorf("%w (it is not JSON)", ErrSavedAnew)
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		n := 1
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == '"':
			n = stringLength(text[i:])
			s, err := decodeString(text[i : i+n])
			if err != nil {
				return nil, err
			}
			out = AppendString(out, s)
		case c == '-' || '0' <= c && c <= '9':
			n = numberLength(text[i:])
			if bytes.ContainsAny(text[i:i+n], ".eE") {
				return nil, fmt.Errorf("%w (a number is not written as an integer)", ErrSavedAnew)
			}
			out = append(out, text[i:i+n]...)
		default: // a bracket, a comma, a colon, or a letter of true, false, null
			out = append(out, c)
		}
		i += n
	}
	return out, nil
}

// decodeText returns UTF-8 without a byte order mark. UTF-16 is told by its mark, or by the
// zero byte beside the first character: JSON of ours begins with a brace.
func decodeText(data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return decodeUTF16(data[2:], 0)
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		return decodeUTF16(data[2:], 1)
	case bytes.HasPrefix(data, []byte{0, '{'}):
		return decodeUTF16(data, 0)
	case bytes.HasPrefix(data, []byte{'{', 0}):
		return decodeUTF16(data, 1)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w (it is not UTF-8)", ErrSavedAnew)
	}
	return data, nil
}

// decodeUTF16 reads pairs of bytes; high is the place of the high byte in a pair: 0 for big
// endian, 1 for little endian.
func decodeUTF16(data []byte, high int) ([]byte, error) {
	if len(data)%2 != 0 {
		return nil, fmt.Errorf("%w (half a character of UTF-16)", ErrSavedAnew)
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = uint16(data[2*i+high])<<8 | uint16(data[2*i+1-high])
	}
	runes := utf16.Decode(units)
	if !slices.Equal(utf16.Encode(runes), units) {
		return nil, fmt.Errorf("%w (half of a surrogate pair)", ErrSavedAnew)
	}
	return []byte(string(runes)), nil
}

// stringLength is how many bytes the JSON string at the beginning takes; the text is valid JSON.
func stringLength(text []byte) int {
	for i := 1; ; i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// numberLength is how many bytes the number at the beginning takes.
func numberLength(text []byte) int {
	n := bytes.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune("+-.eE0123456789", r) })
	if n < 0 {
		return len(text)
	}
	return n
}

// decodeString opens a JSON string. The decoder would put U+FFFD in place of half of a
// surrogate pair, so that one is looked for before.
func decodeString(token []byte) (string, error) {
	for i := 0; i < len(token); i++ {
		if token[i] != '\\' {
			continue
		}
		i++
		if token[i] != 'u' {
			continue
		}
		unit := escapedUnit(token[i:])
		i += 4
		if !utf16.IsSurrogate(unit) {
			continue
		}
		low := rune(utf8.RuneError)
		if bytes.HasPrefix(token[i+1:], []byte(`\u`)) {
			low = escapedUnit(token[i+2:])
		}
		if utf16.DecodeRune(unit, low) == utf8.RuneError {
			return "", fmt.Errorf("%w (half of a surrogate pair)", ErrSavedAnew)
		}
		i += 6
	}
	var s string
	if err := json.Unmarshal(token, &s); err != nil {
		return "", fmt.Errorf("%w (%v)", ErrSavedAnew, err)
	}
	return s, nil
}

// escapedUnit reads the four digits after the u of an escape; the text is valid JSON.
func escapedUnit(text []byte) rune {
	n, err := strconv.ParseUint(string(text[1:5]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}
