package certificate

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"runtime"
	"testing"
)

// pngChunk is a chunk of a PNG (PNG, third edition, 5.3).
func pngChunk(kind string, data []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	out = append(append(out, kind...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

func deflated(n int) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close() // writing into memory does not fail
	return b.Bytes()
}

// pngOf is a picture whose header says what the test wants and whose rows are so many zeros.
func pngOf(width, height uint32, depth, kind, interlace byte, raw int, between ...[]byte) []byte {
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	out := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", append(header, depth, kind, 0, 0, interlace))...)
	for _, b := range between {
		out = append(out, b...)
	}
	return append(append(out, pngChunk("IDAT", deflated(raw))...), pngChunk("IEND", nil)...)
}

// Whatever is handed in as a seal, it costs no more memory than the largest one that is taken.
func TestSealBombs(t *testing.T) {
	var animated bytes.Buffer
	if err := png.Encode(&animated, image.NewNRGBA(image.Rect(0, 0, 100, 100))); err != nil {
		t.Fatal(err)
	}
	const head = 33 // the signature and the header
	plain := animated.Bytes()
	insert := func(b []byte) []byte { return bytes.Join([][]byte{plain[:head], b, plain[head:]}, nil) }
	text := append([]byte("Comment\x00\x00"), deflated(60<<20)...)
	for name, c := range map[string]struct {
		data []byte
		ok   bool
	}{
		"1 by 1,000,000":            {pngOf(1, 1_000_000, 8, 6, 0, 5_000_000), false},
		"1,000,000 by 1":            {pngOf(1_000_000, 1, 8, 6, 0, 4_000_001), false},
		"2^31-1 wide and high":      {pngOf(1<<31-1, 1<<31-1, 16, 6, 1, 1000), false},
		"rows without end":          {pngOf(100, 100, 8, 6, 0, 60<<20), false},
		"the largest, interlaced":   {pngOf(1200, 1200, 16, 6, 1, 12<<20), false},
		"a palette of 60,000":       {pngOf(100, 100, 8, 3, 0, 10_100, pngChunk("PLTE", make([]byte, 180_000))), false},
		"a text of 60 MB, packed":   {insert(pngChunk("zTXt", text)), true},
		"a profile that is as much": {insert(pngChunk("iCCP", text)), true},
		"a million frames":          {insert(pngChunk("acTL", []byte{0, 15, 66, 64, 0, 0, 0, 0})), true},
		"SVG":                       {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>`), false},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out, err := NormalizeSeal(c.data)
			runtime.ReadMemStats(&after)
			const most = 64 << 20 // of all that was allocated: the picture, and the one encoded anew
			if took := after.TotalAlloc - before.TotalAlloc; took > most {
				t.Errorf("%s, %d bytes: took %d MiB", name, len(c.data), took>>20)
			}
			if (err == nil) != c.ok {
				t.Errorf("%s, %d bytes: %v", name, len(c.data), err)
			}
			for _, kind := range []string{"zTXt", "iCCP", "acTL"} {
				if bytes.Contains(out, []byte(kind)) {
					t.Errorf("%s: the chunk %s is kept", name, kind)
				}
			}
		})
	}
}
