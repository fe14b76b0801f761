// Package blob holds the rules that every object store of Stele shares: which keys
// there are, how a body is read, and the errors beyond those of package notary. The
// stores themselves are blob/dir (a folder) and blob/s3 (an S3 server).
package blob

import (
	"stele/notary"

	"errors"
	"fmt"
	"strings"
)

// Bounds of a key, in bytes. An S3 key may be 1024 bytes with its prefix; a file name
// 255 on every common file system.
const (
	MaxKeyLen     = 512
	MaxSegmentLen = 200
)

var (
	// ErrKey: the key is not one that any store accepts. Nothing was done.
	ErrKey = errors.New("not an object key (lower-case segments of a-z 0-9 . _ - joined by /)")
	// ErrNotInitialized: the place was never made an object store of Stele, or is not
	// the one it was. Nothing may be written there until a person has looked.
	ErrNotInitialized = errors.New("not an initialised object store")
	// ErrRetained: the store must keep the object until its retention ends. Nothing was deleted.
	ErrRetained = notary.ErrObjectRetained
	// ErrTooLarge: the object is larger than the caller allows.
	ErrTooLarge = errors.New("object is larger than allowed")
)

// CheckKey returns nil or an error that wraps [ErrKey]. A key is one or more segments
// joined by "/", each of a-z, 0-9, dot, underscore and hyphen, none of them empty, "."
// or "..". Upper case is left to the stores' own names, so that no key can meet them.
//
// No key may be a folder of another ("a" beside "a/b"): a directory cannot hold both,
// and S3 servers differ.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKeyLen {
		return fmt.Errorf("key of %d bytes, want 1 to %d: %w", len(key), MaxKeyLen, ErrKey)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." || len(segment) > MaxSegmentLen || !plain(segment) {
			return fmt.Errorf("key %.80q has the segment %.40q: %w", key, segment, ErrKey)
		}
	}
	return nil
}

// CheckPrefix accepts what is the beginning of some key, the empty string among them.
func CheckPrefix(prefix string) error {
	// A key, or one with one more letter: the latter covers "a/" and "a/.".
	if prefix == "" || CheckKey(prefix) == nil || CheckKey(prefix+"x") == nil {
		return nil
	}
	return fmt.Errorf("prefix %.80q: %w", prefix, ErrKey)
}

// plain reports whether s consists of the characters that a segment may have.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
