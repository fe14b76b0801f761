// Package dir keeps objects as files in one folder: the embedded store of a single
// server. A [Store] has the same methods, with the same promises, as the one in blob/s3.
//
// The folder holds
//
//	STELE-OBJECTS   marker, written last by Init
//	objects/<key>   one file per object, never changed in place
//	tmp/            bodies on their way in; what a killed process leaves is swept
//	locks/          lock files of Replace
//
// Every write goes to tmp/ first, is flushed, and then gets its name by link (create) or
// rename (replace), so a reader sees a whole object or none, and a name that survives a
// power failure has its contents too. Then the folder is flushed: what a method reports as
// done is on disk. All access goes through an [os.Root]: nothing outside the folder can be
// reached, by no key and no symbolic link.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"stele/crypto/closed"
	"stele/notary"
	"stele/storage/blob"
)

const (
	markerName = "STELE-OBJECTS"
	markerText = "stele object store, layout 1\n"

	objectsDir = "objects"
	tmpDir     = "tmp"
	locksDir   = "locks"

	// Documents are confidential: only the service's own account may look. Objects are
	// never changed in place, so not even it needs to write to them.
	dirPerm  = 0o700
	filePerm = 0o400
)

// ownNames are what may lie in a folder that becomes a store.
var ownNames = []string{objectsDir, tmpDir, locksDir, "lost+found"}

// Store is an object store in a folder. It is safe for concurrent use, also by several
// processes of one machine on a local file system that has hard links and flock.
type Store struct {
	root  *os.Root
	path  string
	locks *locks

	mu      sync.Mutex
	durable map[string]struct{} // folders whose entries up to the root are known to be on disk
}

// Init makes the folder at path an object store, creating it if need be. On a folder that
// is one already it does nothing. It refuses a folder with other things in it, objects too.
func Init(path string) error { return initialize(path, checkVirgin) }

// Rebuild is Init where a person knows that the store was lost, as a whole or but for its objects:
// those that are there stay.
func Rebuild(path string) error {
	return initialize(path, func(root *os.Root) error {
		entries, err := readDir(root, ".")
		for _, e := range entries {
			if !slices.Contains(ownNames, e.Name()) {
				return fmt.Errorf("the folder holds %s, which no object store has: choose another one: %w", e.Name(),
					blob.ErrNotInitialized)
			}
		}
		return err
	})
}

func initialize(path string, check func(root *os.Root) error) error {
	if err := os.MkdirAll(path, dirPerm); err != nil {
		return fmt.Errorf("create object store: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return fmt.Errorf("create object store: %w", err)
	}
	defer root.Close()
	if checkMarker(root) == nil {
		return nil
	}
	if err := check(root); err != nil {
		return fmt.Errorf("create object store in %s: %w", path, err)
	}
	if err := closed.Folder(path, func(name string) bool { return slices.Contains(ownNames, name) }); err != nil {
		return fmt.Errorf("create object store: %w", err)
	}
	// A crash between these steps leaves a folder without a marker, which Open refuses and
	// the next Init completes.
	for _, d := range []string{objectsDir, tmpDir, locksDir} {
		if err := root.MkdirAll(d, dirPerm); err != nil {
			return fmt.Errorf("create object store in %s: %w", path, err)
		}
	}
	if err := writeMarker(root); err != nil {
		return fmt.Errorf("create object store in %s: %w", path, err)
	}
	return syncAncestors(path)
}

// checkVirgin accepts an empty folder and what an interrupted Init leaves.
func checkVirgin(root *os.Root) error {
	for _, d := range []string{".", objectsDir, tmpDir, locksDir} {
		entries, err := readDir(root, d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			switch name := e.Name(); {
			case d == "." && slices.Contains(ownNames, name):
			case d == tmpDir:
			default:
				return fmt.Errorf("the folder is not empty (%s): choose an empty one: %w", filepath.Join(d, name),
					blob.ErrNotInitialized)
			}
		}
	}
	return nil
}

// writeMarker puts the marker in place, whole or not at all.
func writeMarker(root *os.Root) error {
	tmp := tmpDir + "/" + markerName
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, markerText)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(tmp, markerName); err != nil {
		return err
	}
	return syncDir(root, ".")
}

func checkMarker(root *os.Root) error {
	text, err := root.ReadFile(markerName)
	if err != nil {
		return err
	}
	if string(text) != markerText {
		return fmt.Errorf("%s says %.60q, this program writes %q: the store is of another version", markerName, text,
			markerText)
	}
	return nil
}

const lostHelp = "mount the volume that holds it, or restore its backup; for a new instance run 'stele init'; " +
	"if it was lost, make it anew with 'stele rebuild-store'"

// Open opens the object store at path, which Init has made. It never creates anything: a
// missing folder or marker, such as that of a volume that is not mounted, is
// [blob.ErrNotInitialized].
func Open(path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w (%w): "+lostHelp, blob.ErrNotInitialized, err)
	}
	err = checkMarker(root)
	for _, d := range []string{objectsDir, tmpDir, locksDir} {
		if err == nil {
			_, err = root.Stat(d)
		}
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open object store in %s: %w (%w): "+lostHelp, path, blob.ErrNotInitialized, err)
	}
	if err := closed.Check(path, filepath.Join(path, objectsDir), filepath.Join(path, tmpDir)); err != nil {
		root.Close()
		return nil, fmt.Errorf("open object store: %w", err)
	}
	return &Store{root: root, path: path, locks: newLocks(), durable: map[string]struct{}{}}, nil
}

// Close releases the folder. The store must not be in use any more.
func (s *Store) Close() error { return s.root.Close() }

// Ready returns nil when the folder can be read now.
func (s *Store) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkMarker(s.root); err != nil {
		return fmt.Errorf("object store in %s: %w", s.path, err)
	}
	return nil
}

// Open returns the object under key for streaming; the caller closes it. A folder keeps no
// versions, so version is empty; any other is not found, as is a key without an object
// ([notary.ErrObjectNotFound]). The reader sees one object to its end, whatever Replace or
// Delete do meanwhile.
func (s *Store) Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, notary.Object{}, err
	}
	if version != "" {
		return nil, notary.Object{}, fmt.Errorf("open %s, version %.40q: a folder keeps no versions: %w", key, version,
			notary.ErrObjectNotFound)
	}
	f, object, err := s.open(key)
	if err != nil {
		return nil, notary.Object{}, err
	}
	return f, object, nil
}

// Get returns a small object whole. One of more than limit bytes is [blob.ErrTooLarge], one
// that is not there [notary.ErrObjectNotFound].
func (s *Store) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	f, object, err := s.open(key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if object.Size > limit {
		return nil, fmt.Errorf("get %s: %d bytes, at most %d: %w", key, object.Size, limit, blob.ErrTooLarge)
	}
	data := make([]byte, object.Size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return data, nil
}

// Delete removes the object under key; there being none is no error. The removal is
// durable on return.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	name := objectName(key)
	info, err := s.root.Lstat(name)
	if missing(err) || err == nil && info.IsDir() {
		return nil
	}
	// A crash right after leaves the object there or gone; the caller deletes again.
	if err == nil {
		err = s.root.Remove(name)
	}
	if missing(err) {
		err = nil
	}
	if err == nil {
		err = syncDir(s.root, folderOf(name))
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// open opens the file of key.
func (s *Store) open(key string) (*os.File, notary.Object, error) {
	f, err := s.root.Open(objectName(key))
	if missing(err) {
		return nil, notary.Object{}, fmt.Errorf("open %s: %w", key, notary.ErrObjectNotFound)
	}
	if err != nil {
		return nil, notary.Object{}, fmt.Errorf("open %s: %w", key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notary.ErrObjectNotFound // a folder: the beginning of other keys
	}
	if err != nil {
		f.Close()
		return nil, notary.Object{}, fmt.Errorf("open %s: %w", key, err)
	}
	return f, object(key, info), nil
}

// check is what every method does first.
func (s *Store) check(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

func object(key string, info fs.FileInfo) notary.Object {
	return notary.Object{Key: key, Size: info.Size(), ModTime: info.ModTime().UTC()}
}

func objectName(key string) string { return objectsDir + "/" + key }

// missing reports whether err says that there is no such file. ENOTDIR is the key "a/b"
// where the object "a" is.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
