package s3

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Now is what time it is at the server, to half a second: the middle of the second in the Date of
// its answer (RFC 9110, section 6.6.1). The request is anonymous, and may be refused.
func Now(ctx context.Context, config Config) (time.Time, error) {
	scheme := "http"
	if config.TLS {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, scheme+"://"+config.Endpoint+"/", nil)
	if err != nil {
		return time.Time{}, err
	}
	transport := config.transport()
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return time.Time{}, err
	}
	res.Body.Close()
	at, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("the object store's answer has no date: %w", err)
	}
	return at.Add(time.Second / 2), nil
}
