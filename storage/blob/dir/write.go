package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"stele/notary"
	"stele/storage/blob"
)

// copyBuffers are what Create streams through: large enough that system calls do not
// count, small enough for hundreds of uploads.
var copyBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// Create streams r into a new object. size is in bytes, -1 when unknown; another size than
// the declared one is [blob.ErrSize]. On return the object is on disk. A key that is taken
// is [notary.ErrObjectExists]. After any error from r or ctx there is nothing under key;
// after one from the disk there may be, whole. ctx cannot interrupt a read of r that hangs.
func (s *Store) Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error) {
	if err := s.check(ctx, key); err != nil {
		return notary.Object{}, err
	}
	name := objectName(key)
	// Asked now so that nobody sends a large document in vain; link decides.
	if _, err := s.root.Lstat(name); err == nil {
		return notary.Object{}, fmt.Errorf("create %s: %w", key, notary.ErrObjectExists)
	}
	t, err := s.newTemp()
	if err != nil {
		return notary.Object{}, fmt.Errorf("create %s: %w", key, err)
	}
	defer t.discard()
	info, err := s.fill(t, blob.NewBody(ctx, r, size))
	if err != nil {
		return notary.Object{}, fmt.Errorf("create %s: %w", key, err)
	}
	// A crash right after link leaves either the whole object or none, and no caller who
	// was told that it is there: the sweep of objects without a record removes it.
	err = s.link(t, name)
	if errors.Is(err, fs.ErrExist) {
		return notary.Object{}, fmt.Errorf("create %s: %w", key, notary.ErrObjectExists)
	}
	if err == nil {
		err = syncDir(s.root, folderOf(name))
	}
	if err != nil {
		return notary.Object{}, fmt.Errorf("create %s: %w", key, err)
	}
	return object(key, info), nil
}

// fill copies body into t and flushes it.
func (s *Store) fill(t *temp, body *blob.Body) (fs.FileInfo, error) {
	buf := copyBuffers.Get().(*[256 << 10]byte)
	defer copyBuffers.Put(buf)
	if _, err := io.CopyBuffer(&steadyWriter{file: t.file}, body, buf[:]); err != nil {
		return nil, s.explain(err)
	}
	if err := t.file.Sync(); err != nil {
		return nil, s.explain(err)
	}
	return t.file.Stat()
}

// PutOnce stores data under key unless the key is taken. By equal data: that is success,
// so a write may be repeated; by other data: [notary.ErrObjectDiffers]. Of concurrent
// writers one wins. On return the object is on disk, whoever wrote it.
func (s *Store) PutOnce(ctx context.Context, key string, data []byte) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	if err := s.place(key, data); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := s.settle(folderOf(objectName(key))); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

// writers bounds what PutOnceAll does at a time. Of concurrent flushes the file system
// makes one commit of its journal; beyond this many it gets no faster.
const writers = 16

// maxOpen bounds the files that one PutOnceAll has open, well below a usual limit of 1024.
const maxOpen = 256

// PutOnceAll is PutOnce for many objects at once; the files are flushed side by side and
// each folder once. After an error any of the objects may have been stored: call again with
// the same ones. The first error is returned.
func (s *Store) PutOnceAll(ctx context.Context, objects map[string][]byte) error {
	folders := map[string]struct{}{}
	for key := range objects {
		if err := s.check(ctx, key); err != nil {
			return err
		}
		folders[folderOf(objectName(key))] = struct{}{}
	}
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(objects)), maxOpen) {
		if err := s.placeAll(ctx, keys, objects); err != nil {
			return err
		}
	}
	for folder := range folders {
		if err := s.settle(folder); err != nil {
			return fmt.Errorf("put %d objects: flush folder %s: %w", len(objects), folder, err)
		}
	}
	return nil
}

// placeAll is place for many objects. Step by step, for when all are written before the
// first is flushed, its flush takes the others along.
func (s *Store) placeAll(ctx context.Context, keys []string, objects map[string][]byte) error {
	temps := make([]*temp, len(keys))
	defer func() {
		for _, t := range temps {
			if t != nil {
				t.discard()
			}
		}
	}()
	all := func(step func(n int) error) error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(writers)
		for n, key := range keys {
			g.Go(func() error {
				err := ctx.Err()
				if err == nil {
					err = step(n)
				}
				if err != nil {
					return fmt.Errorf("put %s: %w", key, err)
				}
				return nil
			})
		}
		return g.Wait()
	}
	err := all(func(n int) (err error) {
		data := objects[keys[n]]
		if err = s.compare(objectName(keys[n]), data); missing(err) {
			temps[n], err = s.beginTemp(data)
		}
		return err
	})
	if err == nil {
		err = all(func(n int) error {
			if temps[n] == nil {
				return nil
			}
			return s.explain(temps[n].file.Sync())
		})
	}
	if err == nil {
		err = all(func(n int) error {
			if temps[n] == nil {
				return nil
			}
			return s.linkOnce(temps[n], objectName(keys[n]), objects[keys[n]])
		})
	}
	return err
}

// place does PutOnce but for the flush of the folder.
func (s *Store) place(key string, data []byte) error {
	name := objectName(key)
	// Looked at first: after a restart most objects of a batch are there, and a full disk
	// must not stop the replay that finds them.
	if err := s.compare(name, data); !missing(err) {
		return err
	}
	t, err := s.writeTemp(data)
	if err != nil {
		return err
	}
	defer t.discard()
	return s.linkOnce(t, name, data)
}

// linkOnce gives the flushed file its name, which may be taken by equal data.
func (s *Store) linkOnce(t *temp, name string, data []byte) error {
	// A crash right after leaves the whole object or none; the caller puts it again.
	err := s.link(t, name)
	if errors.Is(err, fs.ErrExist) {
		return s.compare(name, data)
	}
	return err
}

// compare returns nil if the file holds exactly data.
func (s *Store) compare(name string, data []byte) error {
	info, err := s.root.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("is the folder of other keys: %w", notary.ErrObjectDiffers)
	}
	if info.Size() != int64(len(data)) {
		return fmt.Errorf("%d bytes there, %d to write: %w", info.Size(), len(data), notary.ErrObjectDiffers)
	}
	there, err := s.root.ReadFile(name)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, data) {
		return notary.ErrObjectDiffers
	}
	return nil
}

// maxReplaced bounds what Replace reads into memory, in bytes: it is for small objects.
const maxReplaced = 16 << 20

// Replace changes the small object under key to what next makes of it. next gets nil when
// there is no object (an empty one is empty, not nil), and returns nil for "leave it". It
// runs under the key's lock, so no update is lost; it must not call the store. An error of
// next is returned and nothing is changed. On return the new value is on disk; after an
// error of the disk the value is the old or the new one, whole.
func (s *Store) Replace(ctx context.Context, key string, next func(current []byte) ([]byte, error)) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	release, err := s.locks.acquire(ctx, s.root, key)
	if err != nil {
		return fmt.Errorf("replace %s: lock: %w", key, err)
	}
	defer release()
	current, err := s.Get(ctx, key, maxReplaced)
	if err != nil && !errors.Is(err, notary.ErrObjectNotFound) {
		return err
	}
	value, err := next(current)
	if err != nil || value == nil {
		return err
	}
	if name := objectName(key); current != nil && bytes.Equal(value, current) {
		err = s.settle(folderOf(name))
	} else {
		err = s.overwrite(name, value)
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	return nil
}

// overwrite puts value in place of what name holds. The caller has the key's lock.
func (s *Store) overwrite(name string, value []byte) error {
	t, err := s.writeTemp(value)
	if err != nil {
		return err
	}
	defer t.discard()
	// A crash right after leaves the old value or the new one; the caller reads it again.
	if err := s.inFolder(name, func() error { return s.root.Rename(t.name, name) }); err != nil {
		return err
	}
	return syncDir(s.root, folderOf(name))
}
