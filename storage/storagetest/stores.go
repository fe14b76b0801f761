package storagetest

import (
	"path/filepath"
	"testing"

	"stele/storage/blob/dir"
	"stele/storage/blob/s3"
)

// NewDir returns a fresh store in a folder of the test. Packages that may not name an
// adapter take theirs from here.
func NewDir(t testing.TB) Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "objects")
	fatalIfErr(t, dir.Init(path))
	s, err := dir.Open(path)
	fatalIfErr(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// NewS3 returns a fresh store in a bucket of [StartMinIO], in parts of the smallest size.
func NewS3(t testing.TB) Store {
	t.Helper()
	b := StartMinIO(t)
	config := b.Config()
	fatalIfErr(t, s3.Init(t.Context(), config))
	s, err := s3.Open(t.Context(), config)
	fatalIfErr(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// Config is how the adapter reaches the bucket, with the smallest part size: documents of
// several parts need not be large.
func (b Bucket) Config() s3.Config {
	return s3.Config{Endpoint: b.Endpoint, Region: b.Region, Bucket: b.Name, AccessKey: b.AccessKey,
		SecretKey: b.SecretKey, PartSize: 5 << 20}
}
