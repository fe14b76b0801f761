package carrier

import (
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// PackageWriter writes an evidence package, file after file, as a stream. The same files and
// the same time give the same bytes: nothing is compressed, which would depend on a library.
// What was written when it fails, or before Close, is no zip file.
type PackageWriter struct {
	w     io.Writer
	at    uint64 // bytes written
	stamp stamp
	files []packed
	names names
	block []byte
	err   error // of an earlier call
}

// NewPackageWriter begins a package; its files carry the time.
func NewPackageWriter(w io.Writer, t time.Time) *PackageWriter {
	p := &PackageWriter{w: w, block: make([]byte, 0, maxBlock), names: names{}}
	t = t.UTC()
	le.PutUint16(p.stamp.dos[0:], uint16(t.Second()/2+t.Minute()<<5+t.Hour()<<11))
	le.PutUint16(p.stamp.dos[2:], uint16(t.Day()+int(t.Month())<<5+(t.Year()-1980)<<9))
	le.PutUint32(p.stamp.unix[:], uint32(t.Unix()))
	return p
}

// Add adds a file; content writes it.
func (p *PackageWriter) Add(name string, content func(io.Writer) error) error {
	if p.err != nil {
		return p.err
	}
	if p.err = p.names.take(name); p.err == nil && len(p.files) == maxEntries {
		p.err = fmt.Errorf("a package has at most %d files", maxEntries)
	}
	if p.err != nil {
		return p.err
	}
	f := fileWriter{p: p, packed: packed{name: name, offset: p.at}}
	p.put(p.stamp.local(name))
	if err := content(&f); err != nil && p.err == nil {
		p.err = err
	}
	f.flush()
	f.header(1, 0)
	p.put(f.descriptor())
	p.files = append(p.files, f.packed)
	return p.err
}

// Close writes the table of contents.
func (p *PackageWriter) Close() error {
	start := p.at
	for _, f := range p.files {
		p.put(p.stamp.listed(f))
	}
	p.put(end(len(p.files), p.at-start, start))
	return p.err
}

func (p *PackageWriter) put(b []byte) {
	if p.err != nil {
		return
	}
	n, err := p.w.Write(b)
	p.at, p.err = p.at+uint64(n), err
}

// fileWriter cuts a content into the blocks of a Deflate stream that is not compressed (RFC
// 1951, 3.2.4). Stored entries of unknown length are more than some readers understand.
type fileWriter struct {
	p *PackageWriter
	packed
}

func (f *fileWriter) Write(b []byte) (int, error) {
	f.crc, f.size = crc32.Update(f.crc, crc32.IEEETable, b), f.size+uint64(len(b))
	for rest := b; len(rest) > 0; {
		n := min(len(rest), maxBlock-len(f.p.block))
		f.p.block = append(f.p.block, rest[:n]...)
		if rest = rest[n:]; len(f.p.block) == maxBlock {
			f.flush()
		}
	}
	return len(b), f.p.err
}

func (f *fileWriter) flush() {
	if len(f.p.block) > 0 {
		f.header(0, len(f.p.block))
		f.p.put(f.p.block)
		f.stored += uint64(len(f.p.block))
		f.p.block = f.p.block[:0]
	}
}

// header begins a block; the last one is empty.
func (f *fileWriter) header(last byte, length int) {
	b := le.AppendUint16([]byte{last}, uint16(length))
	f.p.put(le.AppendUint16(b, ^uint16(length)))
	f.stored += uint64(len(b) + 2)
}
