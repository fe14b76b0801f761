package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"stele/notary"
	"stele/notary/register/upload"
	"stele/storage/blob/dir"
	"stele/storage/blob/s3"
	"stele/storage/sqldb"
)

// ObjectStore is what both object store adapters are.
type ObjectStore interface {
	Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error)
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
	Get(ctx context.Context, key string, max int64) ([]byte, error)
	PutOnce(ctx context.Context, key string, data []byte) error
	PutOnceAll(ctx context.Context, objects map[string][]byte) error
	Replace(ctx context.Context, key string, next func(current []byte) ([]byte, error)) error
	List(ctx context.Context, prefix string, fn func(notary.Object) error) error
	Delete(ctx context.Context, key string) error
	Close() error
}

// secretFile reads a secret of one line from a file; an empty name gives none.
func secretFile(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func (c Config) openDB(ctx context.Context, create bool) (*sqldb.DB, error) {
	password, err := secretFile(c.DatabasePasswordFile)
	if err != nil {
		return nil, err
	}
	open := sqldb.Open
	if create {
		open = sqldb.Init
	}
	return open(ctx, c.Database, password, time.Now)
}

func (c Config) probeDB(ctx context.Context) error {
	password, err := secretFile(c.DatabasePasswordFile)
	if err != nil {
		return err
	}
	return sqldb.Probe(ctx, c.Database, password)
}

func (c Config) s3() (s3.Config, error) {
	access, err1 := secretFile(c.S3AccessKeyFile)
	secret, err2 := secretFile(c.S3SecretKeyFile)
	return s3.Config{PartSize: partSize(c.MaxDocument), Endpoint: c.S3Endpoint, Region: c.S3Region, Bucket: c.S3Bucket,
			Prefix: c.S3Prefix, TLS: c.S3TLS, PublicEndpoint: c.S3PublicEndpoint, AccessKey: access, SecretKey: secret,
			Retention: s3.Retention{Mode: c.S3RetentionMode, Days: c.S3RetentionDays, Prefix: notary.DocumentKey("")}},
		errors.Join(err1, err2)
}

// partSize is as small as the largest document allows: an upload holds two parts in memory,
// and S3 takes at most 10,000 of them.
func partSize(maxDocument int64) int64 {
	const least, parts = 8 << 20, 10_000
	return max(least, (maxDocument+parts-1)/parts)
}

func (c Config) openObjects(ctx context.Context) (ObjectStore, error) {
	// Each error returns a nil interface: a nil *Store in it would not compare equal to nil.
	if c.Objects == "dir" {
		s, err := dir.Open(c.ObjectsDir)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	cfg, err := c.s3()
	if err != nil {
		return nil, err
	}
	s, err := s3.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c Config) initObjects(ctx context.Context) (ObjectStore, error) {
	return c.makeObjects(ctx, dir.Init)
}

// makeObjects makes an object store, a folder by initDir, and opens it.
func (c Config) makeObjects(ctx context.Context, initDir func(path string) error) (ObjectStore, error) {
	if c.Objects == "dir" {
		if err := initDir(c.ObjectsDir); err != nil {
			return nil, err
		}
		return c.openObjects(ctx)
	}
	cfg, err := c.s3()
	if err != nil {
		return nil, err
	}
	if err := s3.Init(ctx, cfg); err != nil {
		return nil, err
	}
	return c.openObjects(ctx)
}

// uploadSigner is what makes addresses for direct uploads, nil where the store takes none.
func uploadSigner(objects ObjectStore) upload.Signer {
	if s, ok := unwrapped(objects).(*s3.Store); ok {
		return s
	}
	return nil
}

// sweepTemporary removes what uploads of killed processes left in the object store itself.
func sweepTemporary(ctx context.Context, objects ObjectStore, before time.Time) (int, error) {
	switch s := unwrapped(objects).(type) {
	case *dir.Store:
		return s.Sweep(ctx, before)
	case *s3.Store:
		return s.Sweep(ctx, before, slices.Values([]string(nil)))
	}
	return 0, nil
}
