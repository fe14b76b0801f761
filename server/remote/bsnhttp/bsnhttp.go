// Package bsnhttp carries requests to BSN gateways over HTTP.
package bsnhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"stele/notary/log/anchor/bsn"
)

// Poster posts JSON. It is safe for concurrent use.
type Poster struct{ client *http.Client }

var _ bsn.Poster = (*Poster)(nil)

// Options say how the connection is protected. Answers are trusted for their macs, whatever
// the connection; TLS keeps requests from being read and played again.
type Options struct {
	CA       []byte // PEM of the certificates that a gateway's is issued under; empty for the system's
	Insecure bool   // accept any certificate: those of the public network are not publicly trusted
}

// New returns a poster of its own connections.
func New(o Options) (*Poster, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.Insecure}
	if len(o.CA) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("there is no certificate in the PEM text for gateways")
		}
	}
	return &Poster{&http.Client{
		Transport: &http.Transport{TLSClientConfig: conf, TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 2,
			IdleConnTimeout: time.Minute, DisableCompression: true},
		// A gateway does not redirect; whoever does must not get a signed request.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Post implements [bsn.Poster].
func (p *Poster) Post(ctx context.Context, url string, body []byte, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, res.Status)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if int64(len(answer)) > limit {
		return nil, fmt.Errorf("the answer of %s is longer than %d bytes", url, limit)
	}
	return answer, nil
}
