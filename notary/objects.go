package notary

import (
	"context"
	"errors"
	"io"
	"time"

	"stele/crypto/sm"
)

// Object is a stored object as the object store sees it.
type Object struct {
	Key     string
	Version string // version id where the store keeps versions, else empty
	Size    int64  // bytes
	ModTime time.Time
}

// Uploaded is what is known of a file that came before its record.
type Uploaded struct {
	Size     int64      // bytes
	FileName string     // empty: not known
	Expected *sm.Digest // that the file must have; nil: any
	Objects  []Object   // that it consists of, in order; of the first one all is known, of the others the key
}

// Whole is the object that is the whole file; ok is false where it has several, or none.
func (u Uploaded) Whole() (o Object, ok bool) {
	if len(u.Objects) != 1 {
		return o, false
	}
	return u.Objects[0], true
}

// Keys are those of the objects that the file consists of, but for the one that somebody keeps.
func (u Uploaded) Keys(kept string) (keys []string) {
	for _, o := range u.Objects {
		if o.Key != kept {
			keys = append(keys, o.Key)
		}
	}
	return keys
}

// Errors of object stores. Adapters wrap them; callers test with errors.Is. Any other
// error leaves open whether the operation took effect.
var (
	// ErrObjectNotFound: no object under this key (and version).
	ErrObjectNotFound = errors.New("no such object")
	// ErrObjectExists: an object that had to be new is there already.
	ErrObjectExists = errors.New("object exists already")
	// ErrObjectRetained: the store must keep the object until its retention ends. Nothing was deleted.
	ErrObjectRetained = errors.New("object is under retention")
	// ErrObjectDiffers: an object that may be written once is there with other contents.
	ErrObjectDiffers = errors.New("object exists with other contents")
)

// Opener opens stored objects; an error of a missing one comes from Open itself.
type Opener interface {
	Open(ctx context.Context, key, version string) (io.ReadCloser, Object, error)
}

// OpenDocument opens a record's original: the version that was notarized, or, where the
// bucket was restored from a copy and has new version ids, the one that is there. Whoever
// must know that the bytes are those notarized compares their digest.
func OpenDocument(ctx context.Context, o Opener, r Record) (io.ReadCloser, Object, error) {
	body, obj, err := o.Open(ctx, DocumentKey(r.ID), r.Version)
	if errors.Is(err, ErrObjectNotFound) && r.Version != "" {
		return o.Open(ctx, DocumentKey(r.ID), "")
	}
	return body, obj, err
}
