package notary

import (
	"errors"
	"time"
)

// Object is a stored object as the object store sees it.
type Object struct {
	Key     string
	Version string // version id where the store keeps versions, else empty
	Size    int64  // bytes
	ModTime time.Time
}

// Errors of object stores. Adapters wrap them; callers test with errors.Is. Any other
// error leaves open whether the operation took effect.
var (
	// ErrObjectNotFound: no object under this key (and version).
	ErrObjectNotFound = errors.New("no such object")
	// ErrObjectExists: an object that had to be new is there already.
	ErrObjectExists = errors.New("object exists already")
	// ErrObjectDiffers: an object that may be written once is there with other contents.
	ErrObjectDiffers = errors.New("object exists with other contents")
)
