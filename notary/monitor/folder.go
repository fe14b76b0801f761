package monitor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"stele/crypto/sm"
)

// Names in the folder.
const (
	stateName    = "state.json"
	findingsName = "findings"
	seenName     = "checkpoints"
	lockName     = "lock"
)

// maxFindings bounds what a log that lies all the time can make this program keep.
const maxFindings = 10_000

// Folder is where a monitor keeps what it has seen. Files are replaced as a whole and durably: a crash leaves the
// old one or the new one. One process has it at a time. It is not safe for concurrent use.
type Folder struct {
	dir  string
	lock *os.File
	kept map[sm.Digest]bool // notes that are there
}

// OpenFolder makes the folder where there is none.
func OpenFolder(dir string) (*Folder, error) {
	for _, d := range []string{"", findingsName, seenName, anchorsName, certificatesName} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another monitor has the folder %s: %w", dir, err), lock.Close())
	}
	return &Folder{dir: dir, lock: lock, kept: map[sm.Digest]bool{}}, nil
}

// Close lets others have the folder.
func (f *Folder) Close() error { return f.lock.Close() }

// Path is that of a file in the folder.
func (f *Folder) Path(parts ...string) string {
	return filepath.Join(append([]string{f.dir}, parts...)...)
}

// read decodes a file; one that is not there leaves v as it is.
func (f *Folder) read(name string, v any) error {
	data, err := os.ReadFile(f.Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return nil
}

// write encodes v and replaces a file with it. Nothing is indented: evidence keeps its one spelling.
func (f *Folder) write(name string, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	return f.replace(name, b.Bytes())
}

// replace writes a file durably and as a whole. A crash before the rename leaves a file that nothing reads, and that
// the next write of the name replaces.
func (f *Folder) replace(name string, data []byte) error {
	path := f.Path(name)
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// seen keeps a signed note for good: two of them may contradict each other some day.
func (f *Folder) seen(note []byte) error {
	d := sm.Sum(note)
	name := filepath.Join(seenName, d.String()[:32])
	if f.kept[d] {
		return nil
	}
	if _, err := os.Stat(f.Path(name)); errors.Is(err, fs.ErrNotExist) {
		if err := f.replace(name, note); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	f.kept[d] = true
	return nil
}

// add keeps a finding that is not there.
func (f *Folder) add(x Finding) error {
	name := filepath.Join(findingsName, x.Name+".json")
	if _, err := os.Stat(f.Path(name)); err == nil {
		return nil
	}
	if list, err := os.ReadDir(f.Path(findingsName)); err != nil || len(list) >= maxFindings {
		return errors.Join(err, fmt.Errorf("%s has %d findings: look at them, and remove them", f.Path(findingsName),
			len(list)))
	}
	return f.write(name, x)
}

// Findings are what is in the folder, in the order of their names.
func (f *Folder) Findings() ([]Finding, error) {
	list, err := os.ReadDir(f.Path(findingsName))
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		var x Finding
		if err := f.read(filepath.Join(findingsName, e.Name()), &x); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// Told notes that a finding was said by a way. A crash between the two leaves it to be said again.
func (f *Folder) Told(x Finding, way string) error {
	if slices.Contains(x.Told, way) {
		return nil
	}
	x.Told = append(slices.Clone(x.Told), way)
	return f.write(filepath.Join(findingsName, x.Name+".json"), x)
}
