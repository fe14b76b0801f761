// Package deliver sends webhooks over HTTP, to addresses of strangers: it connects to public
// addresses only (and those that the operator allows), follows nothing, and reads little.
package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"stele/notary/office/webhook"
)

// Timeout is how long a receiver has for its whole answer (specification: 15 to 30 seconds).
const Timeout = 15 * time.Second

// Bounds of what a receiver can make us hold.
const (
	maxHeader    = 16 << 10 // bytes of an answer's header
	idlePerHost  = 16       // kept-alive connections, as many as an endpoint has requests at once
	idleAll      = 512
	idleFor      = 4 * time.Second // shorter than the 5 s of common servers: else we meet connections they are closing
	dialTimeout  = 5 * time.Second
	shakeTimeout = 5 * time.Second
)

// Sender sends. It is safe for concurrent use.
type Sender struct {
	client  *http.Client
	dialer  *net.Dialer
	now     func() time.Time
	timeout time.Duration
}

// Client returns an HTTP client that connects to what the policy allows, follows no redirect,
// knows no proxy and gives up after a time-out. It is for whoever calls a stranger's address.
func Client(policy webhook.Policy, timeout time.Duration) *http.Client {
	client, _ := newClient(policy)
	client.Timeout = timeout
	return client
}

func newClient(policy webhook.Policy) (*http.Client, *net.Dialer) {
	dialer := &net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %q", webhook.ErrAddress, address)
		}
		return policy.CheckAddress(at.Addr())
	}}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // one request a connection: a receiver that hangs holds nothing else
	return &http.Client{
		// A redirect is an answer like another, and no success.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // of the environment: it would connect in our place, unchecked
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    shakeTimeout,
			Protocols:              protocols,
			DisableCompression:     true, // an answer cannot grow by being unpacked
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConns:           idleAll,
			MaxIdleConnsPerHost:    idlePerHost,
			MaxConnsPerHost:        0, // the dispatcher bounds requests by endpoint; several may share a host
			IdleConnTimeout:        idleFor,
		}}, dialer
}

// New returns a sender that connects to what the policy allows.
func New(policy webhook.Policy, now func() time.Time) *Sender {
	client, dialer := newClient(policy)
	return &Sender{client: client, dialer: dialer, now: now, timeout: Timeout}
}

// Close closes connections that are kept alive.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send implements [webhook.Send].
func (s *Sender) Send(ctx context.Context, url string, m webhook.Signed) webhook.Answer {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Body))
	if err != nil {
		return webhook.Answer{Error: "the URL cannot be called"}
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"Stele-Webhooks/1"}}
	req.Header.Set(webhook.HeaderID, m.ID)
	req.Header.Set(webhook.HeaderTimestamp, strconv.FormatInt(m.Timestamp, 10))
	req.Header.Set(webhook.HeaderSignature, m.Signature)
	res, err := s.client.Do(req)
	if err != nil {
		return webhook.Answer{Error: describe(err)}
	}
	defer res.Body.Close()
	a := webhook.Answer{Status: res.StatusCode, RetryAfter: webhook.ParseRetryAfter(res.Header.Get("Retry-After"),
		s.now())}
	// The status has decided; of the body only the beginning is kept, for people. Reading one
	// byte more finds its end, without which the connection could not be used again.
	body, _ := io.ReadAll(io.LimitReader(res.Body, webhook.MaxAnswer+1))
	a.Body = body[:min(len(body), webhook.MaxAnswer)]
	return a
}

// describe says why there was no answer, to the endpoint's owner: the kind of failure, not
// our network.
func describe(err error) string {
	var (
		dns         *net.DNSError
		timeout     interface{ Timeout() bool }
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case errors.Is(err, webhook.ErrAddress):
		return "the address is not public, and webhooks are not sent there"
	case errors.As(err, &certificate):
		return "the server's certificate is not valid for this name, or not from a known authority"
	case errors.As(err, &record), errors.As(err, &alert), errors.Is(err, http.ErrSchemeMismatch):
		return "there is no TLS connection to be had"
	case errors.As(err, &dns) && !dns.IsTimeout:
		return "the name was not found"
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "there was no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return "the connection was closed before an answer came"
	}
	return "the request failed"
}
