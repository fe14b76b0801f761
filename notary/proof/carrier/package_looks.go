package carrier

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// A zip file is taken for an evidence package, and not for a document, when a bundle.json in it
// begins as a bundle does. That is asked leniently, of the table of contents and from the front,
// because a package that was tampered with must not pass for a document that nobody knows. It
// decides which sentence a person gets, and never that a package is sound.

const (
	bundleHead = `{"format":"stele/bundle/`
	// frontRoom is where bundle.json must end in a package whose table of contents cannot be
	// found, in bytes; what stands before it is the certificate and some pages.
	frontRoom = 32 << 20
	// tailRoom holds a table of contents of 1 MiB with what stands behind it, comment included.
	tailRoom = 1<<20 + 1<<16 + 98
	// headRoom holds a local header and the beginning of a bundle.
	headRoom = 1 << 10
)

// LooksPacked reports whether a file looks like an evidence package. Of a large file it reads
// the end and a little more.
func LooksPacked(r io.ReaderAt, size int64) (bool, error) {
	tail := make([]byte, min(size, tailRoom))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return false, fmt.Errorf("read the end: %w", err)
	}
	for _, at := range bundlesListed(tail, size) {
		if at < 0 || at >= size {
			continue
		}
		head := make([]byte, headRoom)
		n, err := r.ReadAt(head, at)
		if err != nil && err != io.EOF {
			return false, fmt.Errorf("read a header: %w", err)
		}
		if beginsBundle(head[:n]) {
			return true, nil
		}
	}
	return looksPackedInFront(io.NewSectionReader(r, 0, min(size, frontRoom)))
}

// looksPackedInFront reads a package up to its bundle, as one that was cut off has it.
func looksPackedInFront(r io.Reader) (bool, error) {
	p := newPackageReader(r, nil)
	p.onlyPeek = true
	err := p.files()
	if fault := (*PackageError)(nil); errors.As(err, &fault) || errors.Is(err, errPeeked) {
		err = nil
	}
	return p.looks(), err
}

// bundlesListed returns where the local headers stand of the files that the table of contents
// calls bundle.json in some way. tail is the end of a file of some size. Bytes in front of the
// zip file, which readers differ in, move the offsets.
func bundlesListed(tail []byte, size int64) []int64 {
	at := bytes.LastIndex(tail, []byte(endMark))
	if at < 0 || len(tail)-at < 22 {
		return nil
	}
	last := tail[at:]
	length, start := uint64(le.Uint32(last[12:])), uint64(le.Uint32(last[16:]))
	if wide := at - 20 - 56; wide >= 0 && string(tail[wide:wide+4]) == end64Mark {
		length, start = le.Uint64(tail[wide+40:]), le.Uint64(tail[wide+48:])
		at = wide
	}
	if length > uint64(at) || start > uint64(size) {
		return nil
	}
	directory := tail[at-int(length) : at]
	moved := size - int64(len(tail)) + int64(at) - int64(length) - int64(start)
	var out []int64
	for n := 0; n < maxEntries && len(directory) >= 46 && string(directory[:4]) == directoryMark; n++ {
		name, extra := int(le.Uint16(directory[28:])), int(le.Uint16(directory[30:]))
		whole := 46 + name + extra + int(le.Uint16(directory[32:]))
		if whole > len(directory) {
			break
		}
		if clean(string(directory[46:46+name])) == packedBundle {
			out = append(out, placeOf(directory[:whole], name, extra)+moved, placeOf(directory[:whole], name, extra))
		}
		directory = directory[whole:]
	}
	return out
}

// placeOf is the offset that a line of the table of contents gives, of 64 bits where it has such.
func placeOf(line []byte, name, extra int) int64 {
	at := le.Uint32(line[42:])
	if field := line[46+name : 46+name+extra]; at == max32 && len(field) >= 8 {
		return int64(le.Uint64(field[len(field)-8:]) &^ (1 << 63))
	}
	return int64(at)
}

// beginsBundle reports whether a local header with a bundle behind it stands here.
func beginsBundle(b []byte) bool {
	if len(b) < localSize || string(b[:4]) != localMark {
		return false
	}
	method, data := le.Uint16(b[8:]), localSize+int(le.Uint16(b[26:]))+int(le.Uint16(b[28:]))
	if data > len(b) {
		return false
	}
	b = b[data:]
	if method == 8 {
		head := make([]byte, len(bundleHead))
		n, _ := io.ReadFull(flate.NewReader(bytes.NewReader(b)), head) // what comes out before the cut counts
		b = head[:n]
	}
	return bytes.HasPrefix(b, []byte(bundleHead))
}

// PackageScan looks at a stream as [LooksPacked] does at a file: an upload passes through it.
// It holds the end of the stream and the beginnings of some files, about 1 MiB.
type PackageScan struct {
	size  int64
	tail  []byte
	heads map[int64][]byte // by offset: what follows a local header of a bundle.json
	held  []byte           // may be the beginning of such a header
}

// maxHeads bounds how many beginnings are held. Zip files in a zip file may have a few.
const maxHeads = 64

// Write takes the next bytes. It does not fail.
func (s *PackageScan) Write(b []byte) (int, error) {
	s.held = append(s.held, b...)
	start := s.size - int64(len(s.held)-len(b)) // offset of held
	s.size += int64(len(b))
	from := 0
	for len(s.held)-from >= headRoom {
		n := bytes.Index(s.held[from:len(s.held)-headRoom+len(localMark)], []byte(localMark))
		if n < 0 {
			from = len(s.held) - headRoom + 1
			break
		}
		s.keep(start+int64(from+n), s.held[from+n:from+n+headRoom])
		from += n + 1
	}
	s.forget(from)
	return len(b), nil
}

// keep keeps a local header of a bundle with what follows.
func (s *PackageScan) keep(at int64, b []byte) {
	if len(b) < localSize || len(s.heads) >= maxHeads {
		return
	}
	length := int(le.Uint16(b[26:]))
	end := localSize + length
	if length > maxShown || end > len(b) || clean(string(b[localSize:end])) != packedBundle {
		return
	}
	if s.heads == nil {
		s.heads = map[int64][]byte{}
	}
	s.heads[at] = bytes.Clone(b)
}

// forget moves bytes from held to the tail.
func (s *PackageScan) forget(n int) {
	s.tail = append(s.tail, s.held[:n]...)
	s.held = append(s.held[:0], s.held[n:]...)
	if len(s.tail) > 2*tailRoom {
		s.tail = append(s.tail[:0], s.tail[len(s.tail)-tailRoom:]...)
	}
}

// Looks reports what LooksPacked would of the whole stream, but for one that was cut off. The
// stream is over then.
func (s *PackageScan) Looks() bool {
	start := s.size - int64(len(s.held))
	for from := 0; ; from++ {
		n := bytes.Index(s.held[from:], []byte(localMark))
		if n < 0 {
			break
		}
		from += n
		s.keep(start+int64(from), s.held[from:min(len(s.held), from+headRoom)])
	}
	s.forget(len(s.held))
	for _, at := range bundlesListed(s.tail, s.size) {
		if beginsBundle(s.heads[at]) {
			return true
		}
	}
	return false
}
