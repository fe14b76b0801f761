package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"

	"stele/notary"
	"stele/storage/blob"
)

// writers bounds the concurrent requests of one PutOnceAll.
const writers = 16

// PutOnce stores data under key unless the key is taken. By equal data: that is success,
// so a write may be repeated; by other data: [notary.ErrObjectDiffers]. Of concurrent
// writers one wins. On return the object is durable, whoever wrote it.
func (s *Store) PutOnce(ctx context.Context, key string, data []byte) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	if err := s.putOnce(ctx, s.prefix+key, data); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

func (s *Store) putOnce(ctx context.Context, name string, data []byte) error {
	if len(data) > quietBody {
		if err := s.compare(ctx, name, data); !errors.Is(err, notary.ErrObjectNotFound) {
			return err
		}
	}
	for range attempts {
		// A crash right after leaves the whole object or none; the caller puts it again.
		_, err := s.put(ctx, s.client, name, data, createOnce(minio.PutObjectOptions{}))
		if !errors.Is(err, errPrecondition) {
			return err
		}
		// Taken: by us, if the answer to an earlier attempt was lost, or by somebody else.
		err = s.compare(ctx, name, data)
		if !errors.Is(err, notary.ErrObjectNotFound) {
			return err
		}
		// Deleted meanwhile, or written at this moment: once more.
	}
	return fmt.Errorf("%s: others kept writing and deleting the object", s.config)
}

// compare returns nil if the object holds exactly data.
func (s *Store) compare(ctx context.Context, name string, data []byte) error {
	there, _, err := s.read(ctx, name, int64(len(data)))
	if errors.Is(err, blob.ErrTooLarge) {
		return fmt.Errorf("%d bytes to write: %w: %w", len(data), err, notary.ErrObjectDiffers)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(there, data) {
		return notary.ErrObjectDiffers
	}
	return nil
}

// PutOnceAll is PutOnce for many objects at once, side by side. After an error any of the
// objects may have been stored: call again with the same ones. The first error is returned.
func (s *Store) PutOnceAll(ctx context.Context, objects map[string][]byte) error {
	for key := range objects {
		if err := s.check(ctx, key); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for key, data := range objects {
		g.Go(func() error { return s.PutOnce(ctx, key, data) })
	}
	return g.Wait()
}

// maxReplaced bounds what Replace reads into memory, in bytes: it is for small objects.
const maxReplaced = 16 << 20

// conflicts is how often Replace starts anew when others are faster. Each time one of them
// has succeeded, so this many writers at once get by.
const conflicts = 100

// Replace changes the small object under key to what next makes of it. next gets nil when
// there is no object (an empty one is empty, not nil), and returns nil for "leave it". It
// is called again when another writer came first, so no update is lost; it must have no
// effect of its own. An error of next is returned and nothing is changed. On return the new
// value is durable; after an error of the server the value is the old or the new one, whole.
//
// The value that next has seen is named by its ETag, the MD5 of its bytes: a writer who
// returns to an earlier value makes it count as unchanged.
func (s *Store) Replace(ctx context.Context, key string, next func(current []byte) ([]byte, error)) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	for n := range conflicts {
		err := s.replace(ctx, s.prefix+key, next)
		if !errors.Is(err, errPrecondition) {
			if err != nil {
				return fmt.Errorf("replace %s: %w", key, err)
			}
			return nil
		}
		if err := pause(ctx, n); err != nil {
			return fmt.Errorf("replace %s: %w", key, err)
		}
	}
	return fmt.Errorf("replace %s: %s: others were faster %d times in a row", key, s.config, conflicts)
}

// replace tries once; errPrecondition says that another writer came first.
func (s *Store) replace(ctx context.Context, name string, next func(current []byte) ([]byte, error)) error {
	opts := minio.PutObjectOptions{}
	current, info, err := s.read(ctx, name, maxReplaced)
	switch {
	case errors.Is(err, notary.ErrObjectNotFound):
		opts.SetMatchETagExcept("*")
	case err != nil:
		return err
	default:
		opts.SetMatchETag(info.ETag)
	}
	value, err := next(current)
	if err != nil || value == nil || current != nil && bytes.Equal(value, current) {
		return err
	}
	// A crash right after leaves the old value or the new one; the caller reads it again.
	_, err = s.put(ctx, s.once, name, value, opts)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return errPrecondition // there was something to match, and it has been deleted
	}
	return err
}

// pause waits a moment that grows with n, up to 100 ms, and differs between writers.
func pause(ctx context.Context, n int) error {
	limit := min(time.Millisecond<<min(n, 10), 100*time.Millisecond)
	select {
	case <-time.After(rand.N(limit)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
