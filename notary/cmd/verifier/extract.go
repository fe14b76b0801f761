package verifier

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"stele/notary/proof"
)

// extraction writes what a package holds into a folder: the very bytes that were checked, since
// they are written in the pass in which they are hashed, and get their names only when the
// verdict is known.
//
// A crash before finish leaves the folder and files named .stele-*.part in it, which nobody
// takes for a document and which can be deleted. A crash within finish may leave the original
// without bundle.json; what has its name is whole. No file that was there before is changed,
// at any time.
type extraction struct {
	dir     string
	made    bool // the folder, by us
	parts   []part
	written []string
}

type part struct {
	name string
	file *os.File
}

// extractable are verdicts after which a person may use the document: it is the one registered.
var extractable = []proof.Verdict{proof.Genuine, proof.Pending, proof.Revoked, proof.Superseded}

func newExtraction(dir string) (*extraction, error) {
	x := &extraction{dir: dir}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		x.made = true
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	return x, x.free("bundle.json") // before a large original is read for nothing
}

// create begins a file under a name that says that it is not finished. The name it will have
// is one of the format's, so it leads nowhere else.
func (x *extraction) create(name string) (io.Writer, error) {
	if err := x.free(name); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(x.dir, ".stele-*.part")
	if err != nil {
		return nil, err
	}
	x.parts = append(x.parts, part{name, f})
	return f, nil
}

// free fails where a name is taken.
func (x *extraction) free(name string) error {
	path := filepath.Join(x.dir, name)
	switch _, err := os.Lstat(path); {
	case err == nil:
		return fmt.Errorf("%s is there already, and is not written over", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// add writes a whole file; without an extraction it does nothing.
func (x *extraction) add(name string, data []byte) error {
	if x == nil {
		return nil
	}
	w, err := x.create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// finish gives the files their names, if the verdict is one for that, and tells why not otherwise.
func (x *extraction) finish(v proof.Verdict) (whyNot string, err error) {
	if x == nil {
		return "", nil
	}
	if !slices.Contains(extractable, v) {
		return fmt.Sprintf("nothing was written to %s: the verdict is %s", x.dir, v), nil
	}
	for _, p := range x.parts {
		if err := p.file.Sync(); err != nil {
			return "", err
		}
	}
	for _, p := range x.parts {
		path := filepath.Join(x.dir, p.name)
		if err := place(p.file.Name(), path); err != nil {
			return "", err
		}
		x.written = append(x.written, path)
	}
	return "", nil
}

// place gives a file its name, and fails where the name is taken. A link does both in one step;
// file systems without links get an empty file first, to hold the name.
func place(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	held, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	held.Close()
	return os.Rename(from, to)
}

// close removes what has no name yet, and the folder if it was made for nothing.
func (x *extraction) close() {
	if x == nil {
		return
	}
	for _, p := range x.parts {
		p.file.Close()
		os.Remove(p.file.Name())
	}
	if x.made && len(x.written) == 0 {
		os.Remove(x.dir)
	}
}
