package s3

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	uploads "stele/notary/register/upload"
	"stele/storage/blob"
)

var _ uploads.Signer = (*Store)(nil)

// SignPut implements [uploads.Signer] by a presigned URL at the public endpoint. The length
// and the condition that the object is new are among the signed headers, so the server
// refuses any other length and a second PUT
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).
// Nothing is asked of the server.
func (s *Store) SignPut(ctx context.Context, key string, size int64, valid time.Duration) (uploads.Signed, error) {
	if err := blob.CheckKey(key); err != nil {
		return uploads.Signed{}, err
	}
	headers := map[string]string{"Content-Length": strconv.FormatInt(size, 10), "If-None-Match": "*"}
	h := http.Header{}
	for name, value := range headers {
		h.Set(name, value)
	}
	expires := s.config.Now().UTC().Truncate(time.Second).Add(valid)
	u, err := s.public.PresignHeader(ctx, http.MethodPut, s.config.Bucket, s.prefix+key, valid, nil, h)
	if err != nil {
		return uploads.Signed{}, fmt.Errorf("sign an address for %s: %w", key, s.explain(err))
	}
	return uploads.Signed{URL: u.String(), Headers: headers, ExpiresAt: expires}, nil
}

// publicEndpoint is where clients reach the server, as scheme and host.
func (c Config) publicEndpoint() (tls bool, host string, err error) {
	if c.PublicEndpoint == "" {
		return c.TLS, c.Endpoint, nil
	}
	u, err := url.Parse(c.PublicEndpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return false, "",
			fmt.Errorf("the public endpoint must be http:// or https:// with a host and nothing else, got %q",
				c.PublicEndpoint)
	}
	return u.Scheme == "https", u.Host, nil
}
