package carrier

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"strings"
	"unicode"
)

// PackageError says that an evidence package is not as it was issued.
type PackageError struct {
	Entry   string // the file at fault, as the package spells it, fit to be shown; "" for the end of the package
	Problem string // the rest of a sentence that begins with the entry
	Looks   bool   // it looks like a package all the same: a bundle had been read by then
}

func (e *PackageError) Error() string {
	what := "its end"
	if e.Entry != "" {
		what = fmt.Sprintf("%q", e.Entry)
	}
	return fmt.Sprintf("The package is not as it was issued: %s %s. If another program packed it anew, unpack it "+
		"and give its bundle.json and the document.", what, e.Problem)
}

const maxShown = 96 // characters; the longest name of ours is shorter

// blame makes a name from outside fit to be shown.
func blame(name, problem string) error {
	shown := strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return unicode.ReplacementChar
		}
		return r
	}, name)
	if runes := []rune(shown); len(runes) > maxShown {
		shown = string(runes[:maxShown]) + "…"
	}
	return &PackageError{Entry: shown, Problem: problem}
}

// names are those of a package's files, by what a file system may make of them: the cleaned
// path in small letters.
type names map[string]string

// clean is the name that unpacking may give a file.
func clean(name string) string {
	return strings.ToLower(strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(name, `\`, "/")), "/"))
}

// take adds a name, if it is one of a package's and stands for no file that is there already.
func (n names) take(name string) error {
	if name == "" {
		return blame("(no name)", "is no file of an evidence package")
	}
	key := clean(name)
	if isOriginal(key) {
		key = packedOriginal
	}
	if earlier, ok := n[key]; ok {
		return blame(name, fmt.Sprintf("stands beside %q, and a package has one such file", earlier))
	}
	if !packable(name) {
		return blame(name, "is no file of an evidence package")
	}
	n[key] = name
	return nil
}

// Package is what a verifier takes out of an evidence package. Neither part is trusted.
type Package struct {
	Bundle   []byte
	Original string // name of the document in it, or "": then it has to be brought
	Size     uint64 // of the original, in bytes
}

// ReadPackage reads an evidence package from its beginning to its end, once, and holds no more
// of it than the bundle and the headers. The original is written to what original returns when
// it is told the name; a nil function leaves it unread. What was written there counts only
// when ReadPackage returns without an error: every byte of the file is accounted for then.
//
// An error is a [*PackageError] where the package is at fault, and otherwise one of the reader
// or of the original's writer.
func ReadPackage(r io.Reader, original func(name string) (io.Writer, error)) (*Package, error) {
	p := newPackageReader(r, original)
	err := p.files()
	if err == nil {
		err = p.contents()
	}
	if fault := (*PackageError)(nil); errors.As(err, &fault) {
		fault.Looks = p.looks()
	}
	if err != nil {
		return nil, err
	}
	return &p.out, nil
}

// looks reports whether a bundle has been read, as far as its beginning tells.
func (p *packageReader) looks() bool { return bytes.HasPrefix(p.out.Bundle, []byte(bundleHead)) }

type packageReader struct {
	r        *bufio.Reader
	at       uint64
	original func(name string) (io.Writer, error)
	names    names
	stamp    stamp // of the first file
	listed   []packed
	block    []byte
	out      Package
	bundle   bool // it was there
	onlyPeek bool // stop behind the bundle
}

func newPackageReader(r io.Reader, original func(name string) (io.Writer, error)) *packageReader {
	buffered := bufio.NewReaderSize(r, 256<<10)
	return &packageReader{r: buffered, original: original, names: names{}, block: make([]byte, maxBlock)}
}

var errPeeked = errors.New("the bundle is here")

// files reads the files up to the table of contents.
func (p *packageReader) files() error {
	last := ""
	for {
		mark, err := p.r.Peek(4)
		switch {
		case err != nil && err != io.EOF:
			return err
		case string(mark) == localMark:
		case len(p.listed) == 0 && len(mark) == 4 && string(mark) != directoryMark:
			return blame(packedBundle, "is not at the beginning, where a package has it: other bytes are in front")
		case string(mark) == directoryMark || len(p.listed) == 0:
			if !p.bundle {
				return blame(packedBundle, "is missing")
			}
			return nil
		case len(mark) < 4:
			return blame(last, "is followed by nothing: the package is cut off")
		default:
			return blame(last, "is followed by bytes that belong to no file")
		}
		if last, err = p.file(); err != nil {
			return err
		}
		if p.onlyPeek && last == packedBundle {
			return errPeeked
		}
	}
}

// file reads a file with its headers.
func (p *packageReader) file() (string, error) {
	f := packed{offset: p.at}
	if err := p.header(&f); err != nil {
		return f.name, err
	}
	if len(p.listed) == maxEntries {
		return f.name, blame(f.name, fmt.Sprintf("is one too many: a package has at most %d files", maxEntries))
	}
	to, limit, err := p.target(f.name)
	if err != nil {
		return f.name, err
	}
	if err := p.content(&f, to, limit); err != nil {
		return f.name, err
	}
	switch {
	case f.name == packedBundle:
		p.out.Bundle, p.bundle = to.(*bytes.Buffer).Bytes(), true
	case isOriginal(f.name):
		p.out.Original, p.out.Size = f.name, f.size
	}
	p.listed = append(p.listed, f)
	return f.name, p.expect(f.descriptor(), f.name, "has not the size or the checksum that stands behind it")
}

// header reads a local header and compares it with its one spelling.
func (p *packageReader) header(f *packed) error {
	fixed, err := p.r.Peek(localSize)
	if err != nil {
		return p.cut("", err)
	}
	length := int(le.Uint16(fixed[26:]))
	name, err := p.r.Peek(localSize + min(length, 1024))
	if err != nil {
		return p.cut(string(name[localSize:]), err)
	}
	f.name = string(name[localSize:])
	if err := p.names.take(f.name); err != nil {
		return err
	}
	whole, err := p.r.Peek(localSize + length + len(p.stamp.extra()))
	if err != nil {
		return p.cut(f.name, err)
	}
	if len(p.listed) == 0 {
		copy(p.stamp.dos[:], whole[10:])
		copy(p.stamp.unix[:], whole[len(whole)-4:])
	}
	return p.expect(p.stamp.local(f.name), f.name, "is not stored as it was")
}

// target is where a file's content goes, and how large it may be.
func (p *packageReader) target(name string) (io.Writer, uint64, error) {
	switch {
	case name == packedBundle:
		return &bytes.Buffer{}, MaxBundle, nil
	case !isOriginal(name):
		return io.Discard, maxPart, nil
	case p.original == nil:
		return io.Discard, 1 << 62, nil
	}
	w, err := p.original(name)
	return w, 1 << 62, err
}

// content reads the blocks of a file: each of 1 to 65535 bytes, and an empty one as the last.
// Whoever inflates them, knowing the length or not, ends where this ends.
func (p *packageReader) content(f *packed, to io.Writer, limit uint64) error {
	for {
		var h [5]byte
		if err := p.read(h[:], f.name); err != nil {
			return err
		}
		f.stored += uint64(len(h))
		n := le.Uint16(h[1:])
		if h[0] > 1 || n != ^le.Uint16(h[3:]) || (h[0] == 1) != (n == 0) {
			return blame(f.name, "is not stored as it was")
		}
		if h[0] == 1 {
			return nil
		}
		b := p.block[:n]
		if err := p.read(b, f.name); err != nil {
			return err
		}
		f.crc, f.size, f.stored = crc32.Update(f.crc, crc32.IEEETable, b), f.size+uint64(n), f.stored+uint64(n)
		if f.size > limit {
			return blame(f.name, fmt.Sprintf("has more than %d bytes", limit))
		}
		if _, err := to.Write(b); err != nil {
			return err
		}
	}
}

// contents compares the table of contents, and what stands behind it, with what the files ask for.
func (p *packageReader) contents() error {
	start := p.at
	for _, f := range p.listed {
		if err := p.expect(p.stamp.listed(f), f.name, "is listed otherwise in the table of contents"); err != nil {
			return err
		}
	}
	if err := p.expect(end(len(p.listed), p.at-start, start), "", "is not as it was"); err != nil {
		return err
	}
	switch _, err := p.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return blame("", "is followed by further bytes")
	default:
		return err
	}
}

// expect reads what has to stand here.
func (p *packageReader) expect(want []byte, name, problem string) error {
	got := make([]byte, len(want))
	if err := p.read(got, name); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return blame(name, problem)
	}
	return nil
}

func (p *packageReader) read(b []byte, name string) error {
	n, err := io.ReadFull(p.r, b)
	p.at += uint64(n)
	return p.cut(name, err)
}

// cut tells the end of the file from a failure to read it.
func (p *packageReader) cut(name string, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return blame(name, "is cut off")
	}
	return err
}
