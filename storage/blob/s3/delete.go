package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"stele/notary"
	"stele/storage/blob"
)

// Delete removes the object under key with all its versions; there being none is no error.
// What the server must keep stays, in its latest version too, and the error is
// [blob.ErrRetained]: delete again after its retention.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return err
	}
	name := s.prefix + key
	var err error
	if s.versioned {
		err = s.deleteVersions(ctx, name)
	} else {
		// A crash right after leaves the object there or gone; the caller deletes again.
		err = s.explain(s.client.RemoveObject(ctx, s.config.Bucket, name, minio.RemoveObjectOptions{}))
	}
	if err != nil && !errors.Is(err, notary.ErrObjectNotFound) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// deleteVersions removes the versions first and delete markers last: a marker hides what
// is beneath it, and what is retained there must not come to light again.
func (s *Store) deleteVersions(ctx context.Context, name string) error {
	versions, markers, err := s.versions(ctx, name)
	if err != nil {
		return err
	}
	kept, err := s.removeVersions(ctx, name, versions)
	if err == nil && kept == 0 {
		kept, err = s.removeVersions(ctx, name, markers)
	}
	if err != nil {
		return err
	}
	if kept > 0 {
		return fmt.Errorf("the server keeps %d of %d versions (or the access key may not delete): %w", kept,
			len(versions), blob.ErrRetained)
	}
	return nil
}

// removeVersions removes what the server does not keep, and returns how many it keeps.
func (s *Store) removeVersions(ctx context.Context, name string, versions []string) (kept int, err error) {
	for _, version := range versions {
		// A crash right after leaves the other versions; the caller deletes again.
		err := s.client.RemoveObject(ctx, s.config.Bucket, name, minio.RemoveObjectOptions{VersionID: version})
		if retained(err) {
			kept++
		} else if err != nil {
			return kept, s.explain(err)
		}
	}
	return kept, nil
}

// versions lists what is stored under exactly this name.
func (s *Store) versions(ctx context.Context, name string) (versions, markers []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for info := range s.client.ListObjectsIter(ctx, s.config.Bucket,
		minio.ListObjectsOptions{Prefix: name, Recursive: true, WithVersions: true}) {
		switch {
		case info.Err != nil:
			return nil, nil, s.explain(info.Err)
		case info.Key > name:
			return versions, markers, nil // the name is the first of those that begin with it
		case info.Key < name:
		case info.IsDeleteMarker:
			markers = append(markers, info.VersionID)
		default:
			versions = append(versions, info.VersionID)
		}
	}
	return versions, markers, ctx.Err()
}

// Sweep aborts incomplete multipart uploads that began before a time: what killed
// processes left of large documents. It returns how many. An upload that is still going on
// is aborted too, and fails, so before must lie further back than any upload takes.
//
// S3 servers list incomplete uploads by prefix; MinIO lists those of exactly one key only,
// and none without one. There keys must name the keys in question, such as those of
// documents that were begun and never recorded (MinIO itself removes uploads after a day).
// keys may be nil.
func (s *Store) Sweep(ctx context.Context, before time.Time, keys iter.Seq[string]) (int, error) {
	aborted, err := s.sweep(ctx, s.prefix, before)
	if err != nil || keys == nil {
		return aborted, err
	}
	for key := range keys {
		if err := s.check(ctx, key); err != nil {
			return aborted, err
		}
		n, err := s.sweep(ctx, s.prefix+key, before)
		aborted += n
		if err != nil {
			return aborted, err
		}
	}
	return aborted, nil
}

// sweep aborts the old uploads to names that begin with prefix.
func (s *Store) sweep(ctx context.Context, prefix string, before time.Time) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	aborted := 0
	for u := range s.client.ListIncompleteUploads(ctx, s.config.Bucket, prefix, true) {
		if u.Err != nil {
			return aborted, fmt.Errorf("sweep: %w", s.explain(u.Err))
		}
		if !u.Initiated.Before(before) || blob.CheckKey(strings.TrimPrefix(u.Key, s.prefix)) != nil {
			continue
		}
		// A crash right after changes nothing: an upload has no key before it is complete.
		err := s.client.AbortMultipartUpload(ctx, s.config.Bucket, u.Key, u.UploadID)
		if err != nil && code(err) != minio.NoSuchUpload {
			return aborted, fmt.Errorf("sweep %s: %w", u.Key, s.explain(err))
		}
		aborted++
	}
	return aborted, ctx.Err()
}
