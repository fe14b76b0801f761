package people

import "bytes"

// Resealed reads a sealed document and writes it again.
func Resealed(document []byte) ([]byte, bool) {
	h, lines, err := parseSealed(document)
	if err != nil {
		return nil, false
	}
	out := [][]byte{encodeLine(h)}
	for _, l := range lines {
		out = append(out, l.text)
	}
	return append(bytes.Join(out, []byte("\n")), '\n'), true
}
