// Package s3 keeps objects in a bucket of an S3 server. A [Store] has the same methods,
// with the same promises, as the one in blob/dir.
//
// The server must honour If-None-Match and If-Match on PUT, as AWS (since 2024) and MinIO
// do; [Open] tries it out and refuses a server that does not, for there two writers could
// overwrite each other unseen. It need not be trusted with contents: whoever reads a
// document compares its digest.
//
// Names: an object is <prefix>/<key>; the marker that [Init] leaves is <prefix>/STELE-OBJECTS,
// in upper case, which no key has.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"stele/notary"
	"stele/storage/blob"
)

const (
	markerName = "STELE-OBJECTS"
	markerText = "stele object store, layout 1\n"
)

// Store is an object store in a bucket. It is safe for concurrent use, by any number of
// processes.
type Store struct {
	config Config
	prefix string // of S3 keys: empty, or ending in a slash

	// client repeats requests that may have failed on the way; once does not. A write
	// with If-Match must not be repeated blindly: the first one may have been done.
	client, once *minio.Core
	public       *minio.Core // signs for the public endpoint, sends nothing
	transport    *http.Transport

	locked    bool // the bucket has object lock; the server then wants a Content-MD5
	versioned bool // the bucket keeps, or may once have kept, versions

	parts sync.Pool // *[]byte of PartSize, for large uploads
}

// CreateBucket creates the bucket that config names unless it is there; locked gives it
// object lock, and so versions, which a bucket can get at its creation only. It is for set-up
// by a person, before [Init]; nothing else creates buckets.
func CreateBucket(ctx context.Context, config Config, locked bool) error {
	config, err := config.withDefaults()
	if err != nil {
		return err
	}
	s := &Store{config: config, transport: config.transport()}
	defer s.Close()
	if s.client, err = config.client(attempts, s.transport); err != nil {
		return err
	}
	// A crash right after leaves an empty bucket. CreateBucket again finds it.
	err = s.client.MakeBucket(ctx, config.Bucket, minio.MakeBucketOptions{Region: config.Region, ObjectLocking: locked})
	switch c := code(err); {
	case c == "BucketAlreadyOwnedByYou":
		return nil
	case c == "BucketAlreadyExists":
		return fmt.Errorf("create %s: the name is taken by somebody else: %w", config, err)
	case err != nil:
		return fmt.Errorf("create bucket: %w", s.explain(err))
	}
	return nil
}

// Init makes the place that config names an object store. The bucket must exist, with
// object lock if a retention is configured. On one that is a store already it does nothing
// but check.
func Init(ctx context.Context, config Config) error {
	s, _, err := connect(ctx, config)
	if err != nil {
		return fmt.Errorf("create object store: %w", err)
	}
	defer s.Close()
	// A crash right after leaves a store without objects. Init again finds the marker.
	_, err = s.put(ctx, s.client, s.prefix+markerName, []byte(markerText), createOnce(minio.PutObjectOptions{}))
	if err == nil || errors.Is(err, errPrecondition) {
		err = s.checkConditions(ctx)
	}
	if err != nil {
		return fmt.Errorf("create object store: %w", err)
	}
	return nil
}

// Open connects to the object store that Init made. A place without its marker is
// [blob.ErrNotInitialized].
func Open(ctx context.Context, config Config) (*Store, error) {
	s, marked, err := connect(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open object store: %w", err)
	}
	if !marked {
		err = s.notInitialized()
	} else {
		err = s.checkConditions(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open object store: %w", err)
	}
	return s, nil
}

// connect checks the settings and the bucket, and looks whether the marker is there.
func connect(ctx context.Context, config Config) (s *Store, marked bool, err error) {
	if config, err = config.withDefaults(); err != nil {
		return nil, false, err
	}
	s = &Store{config: config, transport: config.transport()}
	s.parts.New = func() any { b := make([]byte, config.PartSize); return &b }
	if config.Prefix != "" {
		s.prefix = config.Prefix + "/"
	}
	if s.client, err = config.client(attempts, s.transport); err != nil {
		return nil, false, err
	}
	if s.once, err = config.client(1, s.transport); err != nil {
		return nil, false, err
	}
	outside := config
	if outside.TLS, outside.Endpoint, err = config.publicEndpoint(); err != nil {
		return nil, false, err
	}
	if s.public, err = outside.client(1, s.transport); err != nil {
		return nil, false, err
	}
	// First of all the marker: to this request, which has a body in its answer, servers say
	// what is wrong with the bucket or the keys.
	marked, err = s.findMarker(ctx)
	if err == nil {
		err = s.inspect(ctx)
	}
	if err != nil {
		s.Close()
		return nil, false, err
	}
	return s, marked, nil
}

// inspect learns what the bucket does. An access key that may not ask gets the careful answer.
func (s *Store) inspect(ctx context.Context) error {
	versioning, err := s.client.GetBucketVersioning(ctx, s.config.Bucket)
	s.versioned = err != nil || versioning.Status != ""
	lock, _, _, _, err := s.client.GetObjectLockConfig(ctx, s.config.Bucket)
	s.locked = err == nil && lock == "Enabled"
	if s.config.retains() && !s.locked {
		return fmt.Errorf("%s: a retention is configured, but the bucket has no object lock (or the access key may "+
			"not ask): create the bucket anew with object lock, or remove the retention from the settings", s.config)
	}
	return nil
}

// findMarker reports whether the marker is there; one of another version is an error.
func (s *Store) findMarker(ctx context.Context) (bool, error) {
	text, _, err := s.read(ctx, s.prefix+markerName, 1<<10)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if string(text) != markerText {
		return false, fmt.Errorf("%s: %s%s says %.60q, this program writes %q: the store is of another version",
			s.config, s.prefix, markerName, text, markerText)
	}
	return true, nil
}

// checkConditions tries to overwrite the marker, by itself, with conditions that do not hold.
func (s *Store) checkConditions(ctx context.Context) error {
	never := minio.PutObjectOptions{}
	never.SetMatchETag("00000000000000000000000000000000")
	for header, opts := range map[string]minio.PutObjectOptions{"If-None-Match": createOnce(minio.PutObjectOptions{}),
		"If-Match": never} {
		// A crash right after leaves the marker as it was, also on a server that we refuse.
		_, err := s.put(ctx, s.client, s.prefix+markerName, []byte(markerText), opts)
		if err == nil {
			return fmt.Errorf("%s: the server ignores %s when it stores an object, so it cannot keep writers from "+
				"overwriting each other: use one that honours it", s.config, header)
		}
		if !errors.Is(err, errPrecondition) {
			return err
		}
	}
	return nil
}

// Close drops the idle connections. The store must not be in use any more.
func (s *Store) Close() error {
	s.transport.CloseIdleConnections()
	return nil
}

// Ready returns nil when the bucket can be read now.
func (s *Store) Ready(ctx context.Context) error {
	_, err := s.once.StatObject(ctx, s.config.Bucket, s.prefix+markerName, minio.StatObjectOptions{})
	return s.explain(err)
}

// Open returns the object under key, of the given version or the latest when empty, for
// streaming; the caller closes it. ctx must live as long as it is read. What is not there is
// [notary.ErrObjectNotFound].
func (s *Store) Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, notary.Object{}, err
	}
	body, info, err := s.open(ctx, s.prefix+key, version)
	if err != nil {
		return nil, notary.Object{}, fmt.Errorf("open %s: %w", key, err)
	}
	return &reading{body, key}, s.object(key, info), nil
}

// reading names the object in errors. It also never ends in a plain io.ErrUnexpectedEOF,
// which some readers take for a short last block.
type reading struct {
	io.ReadCloser
	key string
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read %s: %w", r.key, err)
	}
	return n, err
}

// Get returns a small object whole. One of more than limit bytes is [blob.ErrTooLarge], one
// that is not there [notary.ErrObjectNotFound].
func (s *Store) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, err
	}
	data, _, err := s.read(ctx, s.prefix+key, limit)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	return data, nil
}

// open asks for an object; unlike the library's Client.GetObject, errors come at once.
func (s *Store) open(ctx context.Context, name, version string) (io.ReadCloser, minio.ObjectInfo, error) {
	body, info, _, err := s.client.GetObject(ctx, s.config.Bucket, name, minio.GetObjectOptions{VersionID: version})
	if err != nil {
		// A version id of the wrong form, or that of a delete marker, names no object either.
		if c := code(err); version != "" && (c == "InvalidArgument" || c == minio.MethodNotAllowed) {
			return nil, info, fmt.Errorf("version %.40q: %w (%s)", version, notary.ErrObjectNotFound, c)
		}
		return nil, info, s.explain(err)
	}
	return body, info, nil
}

// read is open and read whole.
func (s *Store) read(ctx context.Context, name string, limit int64) ([]byte, minio.ObjectInfo, error) {
	body, info, err := s.open(ctx, name, "")
	if err != nil {
		return nil, info, err
	}
	defer body.Close()
	if info.Size > limit {
		return nil, info, fmt.Errorf("%d bytes, at most %d: %w", info.Size, limit, blob.ErrTooLarge)
	}
	if info.Size < 0 {
		return nil, info, fmt.Errorf("%s: the server does not say how large the object is", s.config)
	}
	data := make([]byte, info.Size)
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, info, s.explain(err)
	}
	return data, info, nil
}

// put stores data in one request. The body is in memory, so the client can repeat it.
func (s *Store) put(ctx context.Context, client *minio.Core, name string, data []byte, opts minio.PutObjectOptions) (
	minio.UploadInfo, error) {
	opts.DisableMultipart = true
	opts.SendContentMd5 = s.locked
	info, err := client.Client.PutObject(ctx, s.config.Bucket, name, bytes.NewReader(data), int64(len(data)), opts)
	return info, s.explain(err)
}

// createOnce adds the condition that the object is new.
func createOnce(opts minio.PutObjectOptions) minio.PutObjectOptions {
	opts.SetMatchETagExcept("*")
	return opts
}

// List calls fn for each object whose key begins with prefix, in the order of the keys'
// bytes, until fn fails; [fs.SkipAll] from fn ends the list without an error. fn may use
// the store. Objects that come or go meanwhile may be in the list or not. Version is empty:
// the server does not say it here.
func (s *Store) List(ctx context.Context, prefix string, fn func(notary.Object) error) error {
	if err := blob.CheckPrefix(prefix); err != nil {
		return err
	}
	// The library's iterator ends its requests with this context.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for info := range s.client.ListObjectsIter(ctx, s.config.Bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix,
		Recursive: true}) {
		if info.Err != nil {
			return fmt.Errorf("list %s: %w", prefix, s.explain(info.Err))
		}
		key := strings.TrimPrefix(info.Key, s.prefix)
		if blob.CheckKey(key) != nil {
			continue // the marker, or not ours
		}
		if err := fn(s.object(key, info)); errors.Is(err, fs.SkipAll) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// check is what every method does first.
func (s *Store) check(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

func (s *Store) object(key string, info minio.ObjectInfo) notary.Object {
	version := info.VersionID
	if version == "null" { // what a bucket without versions calls the only one
		version = ""
	}
	return notary.Object{Key: key, Version: version, Size: info.Size, ModTime: info.LastModified.UTC()}
}

// retainUntil is when the retention of a document stored now ends.
func (s *Store) retainUntil() time.Time {
	return s.config.Now().UTC().AddDate(0, 0, s.config.Retention.Days)
}
