package carrier

import (
	"bytes"
	"compress/zlib"
	"io"
)

// Bounds of looking into the streams of a PDF, which the page does for every document that is
// one: what describes the attachment is in a stream of objects, which is small. In bytes, but for
// the first.
const (
	maxStreams  = 1024
	maxStream   = 256 << 10
	maxInflated = 8 << 20
)

// marks are what a certificate's attachment is described by, as a program that saves the file
// anew may spell it: as it stands, in hexadecimal digits, or in UTF-16.
var marks = func() (all [][]byte) {
	const text = "stele/bundle/v1"
	var digits, upper, wide []byte
	for _, c := range []byte(text) {
		const low, high = "0123456789abcdef", "0123456789ABCDEF"
		digits = append(digits, low[c>>4], low[c&15])
		upper = append(upper, high[c>>4], high[c&15])
		wide = append(wide, 0, c)
	}
	return [][]byte{[]byte(text), digits, upper, wide}
}()

// looksResaved reports whether a PDF seems to be a certificate that another program wrote anew,
// so that its first bytes are others. It finds words, not an attachment: nothing is taken out, and
// a document that speaks of the format looks the same.
func looksResaved(pdf []byte) bool {
	if marked(pdf) {
		return true
	}
	left := maxInflated
	for n := 0; n < maxStreams && left > 0; n++ {
		_, rest, found := bytes.Cut(pdf, []byte("stream"))
		if !found {
			return false
		}
		pdf = rest
		content := inflated(bytes.TrimPrefix(bytes.TrimPrefix(rest, []byte("\r")), []byte("\n")), min(left, maxStream))
		left -= len(content)
		if marked(content) {
			return true
		}
	}
	return false
}

func marked(b []byte) bool {
	for _, m := range marks {
		if bytes.Contains(b, m) {
			return true
		}
	}
	return false
}

// inflated is what can be read of a compressed stream; where there is none, nothing.
func inflated(b []byte, limit int) []byte {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	content, _ := io.ReadAll(io.LimitReader(z, int64(limit))) // what comes out before an error counts
	return content
}
