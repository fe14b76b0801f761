package s3

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"stele/storage/blob"
)

// Config says where the objects are. The zero values of Region, Prefix, TLS, RootCAs,
// PartSize, Retention and Now are good ones.
type Config struct {
	Endpoint  string // host[:port], without scheme or path
	Region    string // us-east-1 when empty, which MinIO takes too
	Bucket    string
	Prefix    string // folder of this store within the bucket, without slashes around it; may be empty
	AccessKey string
	SecretKey string

	// PublicEndpoint is where clients reach the server for what [Store.SignPut] signs, as
	// https://host[:port]; the one above when empty.
	PublicEndpoint string

	TLS     bool
	RootCAs *x509.CertPool // who may have signed the server's certificate; the system's when nil

	// PartSize, in bytes, bounds the memory of an upload: a large one takes two parts. It
	// also bounds a document to 10,000 parts. 5 MiB to 5 GiB, 16 MiB when 0.
	PartSize int64

	Retention Retention

	Now func() time.Time // the clock that retention counts from; time.Now when nil
}

// Retention is how long documents ([Store.Create]) are locked against deletion and change.
// What PutOnce and Replace write is not locked by it: tiles can be built again, and
// mutable objects must be replaced. The zero value locks nothing; a default retention of
// the bucket holds besides.
type Retention struct {
	Mode   string // GOVERNANCE or COMPLIANCE
	Days   int
	Prefix string // of the keys that are locked; all when empty
}

// DefaultPartSize is the part size of a [Config] that names none, in bytes.
const DefaultPartSize = 16 << 20

const (
	minPartSize = 5 << 20 // S3's, for all parts but the last
	maxPartSize = 5 << 30
	maxParts    = 10_000
	maxS3Key    = 1024 // bytes
)

// Attempts per request, with growing pauses of up to a second in between. An outage of
// seconds is bridged; a longer one is the caller's to wait for.
const attempts = 4

// withDefaults fills in what is left open and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.PartSize == 0 {
		c.PartSize = DefaultPartSize
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	var problems []error
	if c.Endpoint == "" {
		problems = append(problems, errors.New("the endpoint is empty: want host:port"))
	}
	if c.Bucket == "" {
		problems = append(problems, errors.New("the bucket is empty"))
	}
	if c.AccessKey == "" || c.SecretKey == "" {
		problems = append(problems, errors.New("the access key or the secret key is empty"))
	}
	if c.Prefix != "" {
		if err := blob.CheckKey(c.Prefix); err != nil || len(c.Prefix)+1+blob.MaxKeyLen > maxS3Key {
			problems = append(problems, fmt.Errorf("the prefix %q must be like a key, of at most %d bytes", c.Prefix,
				maxS3Key-blob.MaxKeyLen-1))
		}
	}
	if c.PartSize < minPartSize || c.PartSize > maxPartSize {
		problems = append(problems, fmt.Errorf("the part size %d is not between %d and %d bytes", c.PartSize,
			minPartSize, int64(maxPartSize)))
	}
	if _, _, err := c.publicEndpoint(); err != nil {
		problems = append(problems, err)
	}
	switch mode := minio.RetentionMode(c.Retention.Mode); {
	case !c.retains():
	case !mode.IsValid() || c.Retention.Days <= 0:
		problems = append(problems,
			fmt.Errorf("the retention %q for %d days must be GOVERNANCE or COMPLIANCE for at least a day", mode,
				c.Retention.Days))
	}
	if err := errors.Join(problems...); err != nil {
		return c, fmt.Errorf("object store settings: %w", err)
	}
	return c, nil
}

// retains reports whether anything is locked.
func (c Config) retains() bool { return c.Retention.Mode != "" || c.Retention.Days != 0 }

// client makes a client that sends each request at most so many times.
func (c Config) client(attempts int, transport http.RoundTripper) (*minio.Core, error) {
	core, err := minio.NewCore(c.Endpoint, &minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:     c.TLS,
		Transport:  transport,
		Region:     c.Region, // known, so that no request is spent on asking for it
		MaxRetries: attempts,
	})
	if err != nil {
		return nil, fmt.Errorf("object store settings: endpoint %q: %w", c.Endpoint, err)
	}
	return core, nil
}

// transport keeps enough idle connections for a batch of PutOnceAll to find them again.
func (c Config) transport() *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   4 * writers,
		IdleConnTimeout:       time.Minute,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: time.Minute, // completing a large multipart upload takes its time
		DisableCompression:    true,        // an object is what was stored
	}
	if c.TLS {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.RootCAs}
	}
	return t
}

// String names the store without its secret.
func (c Config) String() string {
	scheme := "http"
	if c.TLS {
		scheme = "https"
	}
	return fmt.Sprintf("bucket %q at %s://%s", c.Bucket, scheme, c.Endpoint)
}

// GoString keeps the secret out of %#v.
func (c Config) GoString() string { return "s3.Config{" + c.String() + "}" }

// LogValue keeps the secret out of logs.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("endpoint", c.Endpoint), slog.String("region", c.Region),
		slog.String("bucket", c.Bucket),
		slog.String("prefix", c.Prefix), slog.Bool("tls", c.TLS), slog.Int64("partSize", c.PartSize),
		slog.String("retentionMode", c.Retention.Mode), slog.Int("retentionDays", c.Retention.Days))
}
