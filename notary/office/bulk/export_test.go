package bulk

import (
	"bytes"
	"io"
)

// FindInZip looks for names in a zip and reads, of those that are there, the first bytes.
func FindInZip(data []byte, names []string) (map[string]Code, *Problem) {
	b, trouble := openBag(bytes.NewReader(data), int64(len(data)))
	if trouble != nil {
		return nil, trouble
	}
	out := map[string]Code{}
	for _, name := range names {
		f, code := b.find(name)
		if out[name] = code; f == nil {
			continue
		}
		if r, err := f.Open(); err == nil {
			_, _ = io.CopyN(io.Discard, r, 1<<20)
			r.Close()
		}
	}
	b.leftOver()
	return out, nil
}

// Shown is how a name is shown to people.
var Shown = shown
