// Package packages makes evidence packages for tests: good ones, and those of somebody who has
// a good one and wants a reader to take out something else than a verifier checks.
package packages

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"stele/notary/proof/carrier"
)

// File is a file in a package; a name may occur twice.
type File struct {
	Name string
	Data []byte
}

// At is the time of the files in it.
var At = time.Date(2026, 11, 22, 6, 28, 42, 0, time.UTC)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Of writes a package as it is issued.
func Of(files ...File) []byte {
	var b bytes.Buffer
	w := carrier.NewPackageWriter(&b, At)
	for _, f := range files {
		must(w.Add(f.Name, func(w io.Writer) error { _, err := w.Write(f.Data); return err }))
	}
	must(w.Close())
	return b.Bytes()
}

// Forge writes whatever names with the library, in the same way.
func Forge(files ...File) []byte { return forge(0, nil, files...) }

func forge(offset int64, change func(h *zip.FileHeader), files ...File) []byte {
	var b bytes.Buffer
	forgeTo(&b, offset, change, func(create func(name string) io.Writer) error {
		for _, f := range files {
			if _, err := create(f.Name).Write(f.Data); err != nil {
				return err
			}
		}
		return nil
	})
	return b.Bytes()
}

// ForgeTo is Forge for files that are too large to be held.
func ForgeTo(to io.Writer, write func(create func(name string) io.Writer) error) {
	forgeTo(to, 0, nil, write)
}

func forgeTo(to io.Writer, offset int64, change func(h *zip.FileHeader),
	write func(create func(name string) io.Writer) error) {
	w := zip.NewWriter(to)
	w.SetOffset(offset)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.NoCompression)
	})
	must(write(func(name string) io.Writer {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: At}
		h.SetMode(0o644)
		if change != nil {
			change(h)
		}
		e, err := w.CreateHeader(h)
		must(err)
		return e
	}))
	must(w.Close())
}

// Repacked is what another program makes of the same files: compressed or not.
func Repacked(method uint16, files ...File) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		var content bytes.Buffer
		content.Write(f.Data)
		if method == zip.Deflate {
			content.Reset()
			c, err := flate.NewWriter(&content, flate.BestCompression)
			must(err)
			_, err = c.Write(f.Data)
			must(err)
			must(c.Close())
		}
		e, err := w.CreateRaw(&zip.FileHeader{Name: f.Name, Method: method, CRC32: crc32.ChecksumIEEE(f.Data),
			CompressedSize64: uint64(content.Len()), UncompressedSize64: uint64(len(f.Data))})
		must(err)
		_, err = e.Write(content.Bytes())
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// Case is a package that is not as it was issued.
type Case struct {
	What  string
	Data  []byte
	Entry string // that is at fault, or "" for the end
}

// Good are the files of a small package.
func Good(bundle, document []byte) []File {
	return []File{{"README.txt", []byte("read me")}, {"bundle.json", bundle}, {"trust.json", []byte("{}")},
		{"original.pdf", document}, {"manifest.sm3", []byte("sums")}}
}

// Bad are packages with a true bundle and the true document in them. Nothing is wrong with
// either, and each of these packages must be refused all the same.
func Bad(bundle, document []byte) []Case {
	forged := []byte("%PDF-1.7 another document")
	files := Good(bundle, document)
	with := func(more ...File) []byte { return Forge(append(slices.Clone(files), more...)...) }
	good := Forge(files...)
	first := bytes.Index(good[4:], []byte(local)) + 4 // the second local header
	start := directoryOf(good)
	original := bytes.LastIndex(good[:start], []byte("original.pdf"))
	edit := func(f func(b []byte)) []byte { b := bytes.Clone(good); f(b); return b }
	front := Forge(File{"README.txt", nil}, File{"bundle.json", []byte("{}")}, File{"original.pdf", forged})
	return append([]Case{
		{"dot", with(File{"./original.pdf", forged}), "./original.pdf"},
		{"capital letters", with(File{"ORIGINAL.PDF", forged}), "ORIGINAL.PDF"},
		{"through a folder", with(File{"x/../original.pdf", forged}), "x/../original.pdf"},
		{"backslash", with(File{`.\original.pdf`, forged}), `.\original.pdf`},
		{"above", with(File{"../original.pdf", forged}), "../original.pdf"},
		{"root", with(File{"/original.pdf", forged}), "/original.pdf"},
		{"twice", with(File{"original.pdf", forged}), "original.pdf"},
		{"second original", with(File{"original", forged}), "original"},
		{"second bundle", with(File{"bundle.json", []byte("{}")}), "bundle.json"},
		{"unknown file", with(File{"setup.exe", forged}), "setup.exe"},
		{"folder", with(File{"standing/", nil}), "standing/"},
		{"number with a zero", with(File{"anchor-01/header.txt", nil}), "anchor-01/header.txt"},
		{"folder in a folder", with(File{"standing/standing/log.pem", nil}), "standing/standing/log.pem"},
		{"letters of another width", with(File{"original．pdf", forged}), "original．pdf"},
		{"control characters", with(File{"a\x1b[2J\u202e", forged}), "a\ufffd[2J\ufffd"},
		{"another package in front", append(bytes.Clone(front), forge(int64(len(front)), nil, files...)...), ""},
		{"files in front", append(bytes.Clone(front[:directoryOf(front)]),
			forge(int64(directoryOf(front)), nil, files...)...), "README.txt"},
		{"bytes in front", insert(good, 0, append([]byte(local), make([]byte, 40)...)), "(no name)"},
		{"gap between files", insert(good, first, []byte("gap")), "README.txt"},
		{"gap before the table", insert(good, start, []byte("gap")), "manifest.sm3"},
		{"bytes behind", append(bytes.Clone(good), '\n'), ""},
		{"package behind", append(bytes.Clone(good), front...), ""},
		{"comment", append(edit(func(b []byte) { b[len(b)-2] = 1 }), 'x'), ""},
		{"other name before the data", edit(func(b []byte) { copy(b[original:], "original.exe") }), "original.exe"},
		{"other name in the table", edit(func(b []byte) {
			copy(b[bytes.LastIndex(b, []byte("original.pdf")):], "original.exe")
		}), "original.pdf"},
		{"encrypted", forge(0, func(h *zip.FileHeader) {
			if h.Name == "original.pdf" {
				h.Flags |= 1
			}
		}, files...), "original.pdf"},
		{"name in another field", forge(0, func(h *zip.FileHeader) {
			if h.Name == "original.pdf" {
				h.Extra = unicodePath(h.Name, "forged.pdf")
			}
		}, files...), "original.pdf"},
		{"comment of a file", forge(0, func(h *zip.FileHeader) {
			if h.Name == "trust.json" {
				h.Comment = "x"
			}
		}, files...), "trust.json"},
		{"other time", forge(0, func(h *zip.FileHeader) {
			if h.Name == "trust.json" {
				h.Modified = At.Add(time.Hour)
			}
		}, files...), "trust.json"},
		{"program", forge(0, func(h *zip.FileHeader) {
			if h.Name == "manifest.sm3" {
				h.SetMode(0o755)
			}
		}, files...), "manifest.sm3"},
		{"ends early", endsEarly(files, forged), "original.pdf"},
		{"packed anew", Repacked(zip.Deflate, files...), "README.txt"},
		{"packed anew, not compressed", Repacked(zip.Store, files...), "README.txt"},
		{"compressed", compressed(files), "bundle.json"},
		{"cut off in a file", good[:original+40], "original.pdf"},
		{"cut off between files", good[:bytes.LastIndex(good[:start], []byte(local))], "original.pdf"},
		{"cut off in the table", good[:start+20], "README.txt"},
		{"cut off at the end", good[:len(good)-3], ""},
	}, wrongSums(good, original)...)
}

const (
	local      = "PK\x03\x04"
	directory  = "PK\x01\x02"
	descriptor = "PK\x07\x08"
)

var le = binary.LittleEndian

// directoryOf is where the table of contents begins.
func directoryOf(data []byte) int { return int(le.Uint32(data[len(data)-6:])) }

// insert puts bytes into a package and corrects what the table of contents says.
func insert(good []byte, at int, junk []byte) []byte {
	out := slices.Insert(bytes.Clone(good), at, junk...)
	move := func(b []byte) {
		if v := le.Uint32(b); v >= uint32(at) {
			le.PutUint32(b, v+uint32(len(junk)))
		}
	}
	move(out[len(out)-6:])
	for rest := out[directoryOf(out) : len(out)-22]; len(rest) > 0; {
		move(rest[42:])
		rest = rest[46+int(le.Uint16(rest[28:]))+int(le.Uint16(rest[30:])):]
	}
	return out
}

// wrongSums have a CRC or a size that is wrong in both places, or the content changed.
func wrongSums(good []byte, original int) []Case {
	behind := bytes.Index(good[original:], []byte(descriptor)) + original + 4
	listed := bytes.LastIndex(good, []byte("original.pdf")) - 46 + 16
	var out []Case
	for i, what := range []string{"checksum", "stored size", "size"} {
		b := bytes.Clone(good)
		b[behind+4*i] ^= 1
		b[listed+4*i] ^= 1
		out = append(out, Case{"wrong " + what, b, "original.pdf"})
	}
	b := bytes.Clone(good)
	b[original+12+9+5] ^= 1 // the first byte of the document
	return append(out, Case{"another document, old sums", b, "original.pdf"})
}

// endsEarly has a first file whose data ends before the table of contents says: a reader of the
// stream goes on with what is hidden behind it, a reader of the table does not see that.
func endsEarly(files []File, forged []byte) []byte {
	hidden := Forge(File{"original.pdf", forged})
	hidden = hidden[:directoryOf(hidden)]
	good := Forge(files...)
	whole := Forge(files[0])
	end := bytes.Index(whole, []byte(descriptor))
	inner := append(bytes.Clone(whole[end:end+16]), hidden...) // the true descriptor, then another file
	out := insert(good, end, inner)
	at := end + len(inner)
	stored := le.Uint32(out[at+8:]) + uint32(len(inner))
	le.PutUint32(out[at+8:], stored)
	le.PutUint32(out[directoryOf(out)+20:], stored)
	return out
}

// compressed is written by the same writer with compression, for one file.
func compressed(files []File) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	level := flate.NoCompression
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, level) })
	for _, f := range files {
		if level = flate.NoCompression; strings.HasPrefix(f.Name, "bundle") {
			level = flate.BestCompression
		}
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: At}
		h.SetMode(0o644)
		e, err := w.CreateHeader(h)
		must(err)
		_, err = e.Write(f.Data)
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// unicodePath is Info-ZIP's extra field with another name, which some readers prefer.
func unicodePath(name, other string) []byte {
	b := le.AppendUint16([]byte("up"), uint16(5+len(other)))
	b = le.AppendUint32(append(b, 1), crc32.ChecksumIEEE([]byte(name)))
	return append(b, other...)
}

// Mutate damages a package in one to three places: bits, bytes too many or too few, parts moved.
func Mutate(random *rand.Rand, good []byte) []byte {
	b := bytes.Clone(good)
	for range 1 + random.IntN(3) {
		if len(b) < 2 {
			return b
		}
		at := random.IntN(len(b))
		n := min(len(b)-at, 1+random.IntN(60))
		switch random.IntN(5) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			b = slices.Delete(b, at, at+n)
		case 2:
			b = slices.Insert(b, at, b[at:at+n]...)
		case 3:
			b = slices.Insert(b, random.IntN(len(b)), bytes.Clone(b[at:at+n])...)
		default: // upper and lower case, the most likely way to get past a comparison
			b[at] ^= 0x20
		}
	}
	return b
}
