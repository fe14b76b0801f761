package verifier

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"stele/notary/proof"
	"stele/notary/proof/carrier"
)

// evidence is what the first file holds: a bundle, by itself, inside a certificate or in an
// evidence package, and in the latter perhaps the document.
type evidence struct {
	bundle   []byte
	original *zip.File // of a package that has it
	file     *os.File  // open as long as the original may be read
}

func (e *evidence) close() { e.file.Close() }

// openEvidence tells by the first bytes, never by the name, what a file is. The caller
// closes what it returns.
func openEvidence(name string) (*evidence, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	e := &evidence{file: f}
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	rest := io.MultiReader(bytes.NewReader(head[:n]), f)
	switch carrier.Sniff(head[:n]) {
	case carrier.PDF:
		err = e.fromCertificate(rest)
	case carrier.Zip:
		err = e.fromPackage()
	default:
		e.bundle, err = readAtMost(rest, proof.MaxBundleSize) // of a longer one the parser says so
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// readAtMost reads everything, or one byte over the limit.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, limit+1))
}

const orderHint = "the evidence comes before the document"

func (e *evidence) fromCertificate(r io.Reader) error {
	pdf, err := readAtMost(r, carrier.MaxSize)
	if err != nil {
		return err
	}
	if _, e.bundle, err = carrier.Extract(pdf); err != nil {
		return fmt.Errorf("%w; %s", err, orderHint)
	}
	return nil
}

// Names inside an evidence package.
const packageBundle = "bundle.json"

var packageOriginal = regexp.MustCompile(`^original(\.[a-z0-9]{1,8})?$`)

// fromPackage looks a package's bundle and original up. Trust roots that are in it are not
// looked at: whoever forged the rest would have put them there.
func (e *evidence) fromPackage() error {
	z, err := openZip(e.file)
	if err != nil {
		return err
	}
	var bundle *zip.File
	for _, f := range z.File {
		slot := &bundle
		if packageOriginal.MatchString(f.Name) {
			slot = &e.original
		} else if f.Name != packageBundle {
			continue
		}
		if *slot != nil {
			return fmt.Errorf("the package is not as it was issued: %q and %q are both in it", (*slot).Name, f.Name)
		}
		*slot = f
	}
	if bundle == nil {
		return fmt.Errorf("this zip file is no evidence package: there is no %s in it; %s", packageBundle, orderHint)
	}
	r, err := openEntry(bundle)
	if err != nil {
		return err
	}
	defer r.Close()
	if e.bundle, err = readAtMost(r, proof.MaxBundleSize); err != nil {
		return fmt.Errorf("the package is damaged: %s: %w", packageBundle, err)
	}
	return nil
}

// Limits of a package's table of contents. A real one has some dozens of files.
const (
	maxEntries   = 4096
	maxDirectory = 1 << 20 // bytes
	// maxRatio is how far an original may be compressed. Packages are issued uncompressed;
	// somebody may have packed one again. Beyond this it is taken for a bomb.
	maxRatio = 64
)

var errContents = errors.New("this zip file is damaged, or no evidence package: its table of contents is not as expected")

// openZip opens a zip file whose table of contents is small, whatever the file's size.
func openZip(f *os.File) (*zip.Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("an evidence package must be a file, not a pipe")
	}
	if err := checkEnd(f, info.Size()); err != nil {
		return nil, err
	}
	metered := &meteredReader{r: f, left: 2 * maxDirectory}
	z, err := zip.NewReader(metered, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%w (%v)", errContents, err)
	}
	metered.left = -1
	return z, nil
}

// checkEnd reads the records at the end of a zip file before the library does, which makes
// room for as many entries as they announce.
func checkEnd(r io.ReaderAt, size int64) error {
	const end, locator, end64 = 22, 20, 56
	tail := make([]byte, min(size, end+locator+end64))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return err
	}
	if len(tail) < end || string(tail[len(tail)-end:len(tail)-end+4]) != "PK\x05\x06" { // with a comment: none of ours
		return errContents
	}
	last := tail[len(tail)-end:]
	entries, directory := uint64(binary.LittleEndian.Uint16(last[10:])), uint64(binary.LittleEndian.Uint32(last[12:]))
	if len(tail) == end+locator+end64 && string(tail[end64:end64+4]) == "PK\x06\x07" {
		if string(tail[:4]) != "PK\x06\x06" || binary.LittleEndian.Uint64(tail[end64+8:]) != uint64(size)-uint64(len(tail)) {
			return errContents
		}
		entries, directory = binary.LittleEndian.Uint64(tail[32:]), binary.LittleEndian.Uint64(tail[40:])
	}
	if entries > maxEntries || directory > maxDirectory {
		return errContents
	}
	return nil
}

// meteredReader stops a reader that reads more than it should. Below zero it does not count.
type meteredReader struct {
	r    io.ReaderAt
	left int
}

func (m *meteredReader) ReadAt(b []byte, at int64) (int, error) {
	if m.left < 0 {
		return m.r.ReadAt(b, at)
	}
	if len(b) > m.left {
		return 0, errContents
	}
	m.left -= len(b)
	return m.r.ReadAt(b, at)
}

// openEntry opens an entry of a package, if what it announces is in proportion to what is
// stored. The library delivers no more than is announced.
func openEntry(f *zip.File) (io.ReadCloser, error) {
	const encrypted = 1
	if f.Flags&encrypted != 0 {
		return nil, fmt.Errorf("%s is encrypted: unpack the package first", f.Name)
	}
	if f.UncompressedSize64/maxRatio > f.CompressedSize64+1<<14 {
		return nil, fmt.Errorf("%s expands beyond measure: unpack the package first, and name its bundle and the document", f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("the package is damaged: %s: %w", f.Name, err)
	}
	return r, nil
}
