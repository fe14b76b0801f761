package dir

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// temp is a body on its way in: a file in tmp/, locked while its writer lives, so that
// Sweep can tell a slow upload from one whose process was killed.
type temp struct {
	root *os.Root
	file *os.File
	name string
}

func (s *Store) newTemp() (*temp, error) {
	name := tmpDir + "/" + strings.ToLower(rand.Text())
	// A crash from here on leaves the file in tmp/, under no key; Sweep removes it.
	f, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return nil, s.explain(err)
	}
	t := &temp{root: s.root, file: f, name: name}
	if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.discard()
		return nil, fmt.Errorf("lock %s: %w (the object store needs a file system with flock)", name, err)
	}
	return t, nil
}

// discard closes the file and removes its name in tmp/, whatever became of it.
func (t *temp) discard() {
	t.file.Close()
	t.root.Remove(t.name)
}

// writeTemp makes a flushed temporary file of data.
func (s *Store) writeTemp(data []byte) (*temp, error) {
	t, err := s.beginTemp(data)
	if err != nil {
		return nil, err
	}
	if err := t.file.Sync(); err != nil {
		t.discard()
		return nil, s.explain(err)
	}
	return t, nil
}

// beginTemp makes a temporary file of data and leaves the flush to the caller.
func (s *Store) beginTemp(data []byte) (*temp, error) {
	t, err := s.newTemp()
	if err != nil {
		return nil, err
	}
	if _, err := t.file.Write(data); err != nil {
		t.discard()
		return nil, s.explain(err)
	}
	startWriteback(t.file, 0, int64(len(data)))
	return t, nil
}

// writebackStep is after how many bytes of a large body the disk is put to work, so that
// the flush at the end does not find all of it still to be written.
const writebackStep = 8 << 20

// steadyWriter writes a body to the file of a temp. It hides the ReadFrom of the file,
// which would take a buffer of its own.
type steadyWriter struct {
	file           *os.File
	written, begun int64 // bytes
}

func (w *steadyWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.written += int64(n)
	if w.written-w.begun >= writebackStep {
		startWriteback(w.file, w.begun, w.written-w.begun)
		w.begun = w.written
	}
	return n, err
}

// link gives the flushed file its name under objects/ unless that is taken
// ([fs.ErrExist]). The caller flushes the folder.
func (s *Store) link(t *temp, name string) error {
	return s.inFolder(name, func() error { return s.root.Link(t.name, name) })
}

// inFolder creates the folder of name and then does what needs it. A folder that was
// known, and that somebody tidied away since, is created once more.
func (s *Store) inFolder(name string, do func() error) error {
	folder := folderOf(name)
	for attempt := 0; ; attempt++ {
		if err := s.makeFolder(folder); err != nil {
			return s.explain(err)
		}
		err := do()
		if attempt > 0 || !errors.Is(err, fs.ErrNotExist) {
			return s.explain(err)
		}
		s.mu.Lock()
		clear(s.durable)
		s.mu.Unlock()
	}
}

// settle makes sure that the names in folder are on disk, all the way from the root. What
// is found there may be of a process that was killed before it flushed anything.
func (s *Store) settle(folder string) error {
	if err := s.makeFolder(folder); err != nil {
		return s.explain(err)
	}
	return s.explain(syncDir(s.root, folder))
}

// maxDurable bounds the memory of [Store.makeFolder]. Past it the set starts anew, at the
// price of a few needless flushes.
const maxDurable = 1 << 14

// makeFolder creates folder (beneath the root) so that it survives a power failure. A
// folder that is there may have been made by a process that was killed before it flushed
// it, so each is flushed once per process.
func (s *Store) makeFolder(folder string) error {
	s.mu.Lock()
	_, known := s.durable[folder]
	s.mu.Unlock()
	if known || folder == objectsDir {
		return nil
	}
	// A crash right after leaves empty folders: no object, nothing to repair.
	if err := s.root.Mkdir(folder, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := s.makeFolder(folderOf(folder)); err != nil {
			return err
		}
		if err := s.root.Mkdir(folder, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := s.makeFolder(folderOf(folder)); err != nil {
		return err
	}
	if err := syncDir(s.root, folderOf(folder)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.durable) >= maxDurable {
		clear(s.durable)
	}
	s.durable[folder] = struct{}{}
	return nil
}

// explain adds to an error of the file system what a person can do about it.
func (s *Store) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: free or add space where %s is", err, s.path)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %s must be writable", err, s.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: everything in %s must belong to the account that runs the service", err, s.path)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%w: a key cannot be the folder of another", err)
	}
	return err
}

// Sweep removes what killed processes left in tmp/ and did not touch since before. It
// leaves alone what a living process is writing, however slowly. It returns the number of
// files removed.
func (s *Store) Sweep(ctx context.Context, before time.Time) (int, error) {
	entries, err := readDir(s.root, tmpDir)
	if err != nil {
		return 0, fmt.Errorf("sweep %s: %w", s.path, err)
	}
	removed := 0
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
			continue
		}
		ok, err := s.sweep(tmpDir + "/" + e.Name())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("sweep %s: %w", s.path, err)
		}
		if ok {
			removed++
		}
	}
	return removed, nil
}

// sweep removes one temporary file unless its writer lives.
func (s *Store) sweep(name string) (bool, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	// A crash right after changes nothing: the file had no key.
	return true, s.root.Remove(name)
}

// syncDir flushes the entries of a folder.
func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// syncAncestors flushes the folders above path, any of which may be new. One that this
// account may not read is not one that it has made.
func syncAncestors(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	for path != filepath.Dir(path) {
		path = filepath.Dir(path)
		d, err := os.Open(path)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
		err = d.Sync()
		d.Close()
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EROFS) {
			return err
		}
	}
	return nil
}

func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	d, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// readNames is readDir without a look at each entry, which costs a call of the system for every one.
func readNames(root *os.Root, name string) ([]string, error) {
	d, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func folderOf(name string) string { return path.Dir(name) }
