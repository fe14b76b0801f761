package worker

import (
	"bytes"
	"testing"
)

// FuzzMessage: what is read as a message is written as the same bytes, and lengths are not believed
// beyond what a message may have.
func FuzzMessage(f *testing.F) {
	var b bytes.Buffer
	if err := (message{head: []byte(`{"task":"look"}`), body: []byte("%PDF-")}).writeTo(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readMessage(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := m.writeTo(&out); err != nil || !bytes.HasPrefix(data, out.Bytes()) {
			t.Fatal(err)
		}
	})
}
