// Package client calls the REST API of an instance of Stele for an agency's system: it
// notarizes files and digests, follows what becomes of the records and fetches their proofs.
//
// A write carries an idempotency key, of its own making where the caller gives none, and is
// repeated with that same key while no answer comes: one call makes one record. Where trust
// roots are set, a bundle is verified here before it is returned, so that the service need
// not be trusted with it.
//
// It imports nothing of the server. docs/clients.md shows it at work, docs/api.md has limits
// and problem codes.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"stele/notary/proof"
)

// Key is an API key. It prints as a placeholder in every format, so that it gets into no log
// and no error by mistake.
type Key string

const keyShown = "(API key)"

// Format implements fmt.Formatter for all verbs.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, keyShown) }

// MarshalText implements encoding.TextMarshaler, which JSON and slog use.
func (Key) MarshalText() ([]byte, error) { return []byte(keyShown), nil }

// Client calls one instance with one key. Its fields are set before its first use; then it is
// safe for concurrent use. BaseURL is needed, and Key for
// all but [Client.Verify]; the rest may be left empty.
type Client struct {
	// BaseURL is where the instance is, such as https://stele.example.gov.cn. Plain http is
	// for this machine only, see AllowHTTP.
	BaseURL string
	Key     Key
	// HTTPClient sends requests; nil is one with the system's proxies and certificates. Its
	// redirects are not followed: the key is for the host in BaseURL alone.
	HTTPClient *http.Client
	// Trust is what bundles are verified against before they are returned. Take the file from
	// a source that you trust, once; nil verifies nothing.
	Trust *proof.Trust
	// AllowHTTP lets the key travel unencrypted to other machines.
	AllowHTTP bool
	// Attempts is how often a call is tried; 0 is 8, which takes about a minute; 1 is once.
	Attempts int
	// OnRetry is told before each pause why a call is tried again. It may be called by
	// several goroutines at once where calls are made so.
	OnRetry func(why error, pause time.Duration)
}

// UnreachableError says that no answer came. A write may have taken effect all the same:
// repeat it with the same idempotency key.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string {
	return "the service cannot be reached, or its answer did not arrive: " + e.Err.Error()
}

// Unwrap returns what broke.
func (e *UnreachableError) Unwrap() error { return e.Err }

// call is one request, which can be made several times.
type call struct {
	method, path string // below /api/v1; parts that come from outside are escaped
	query        url.Values
	contentType  string
	idempotency  string
	size         int64                // of the body
	public       bool                 // needs no key, and sends none
	body         func() io.ReadCloser // a new reader of the same bytes for each attempt; nil: none
}

// silence is how long nothing may move in either direction before an attempt is given up. The
// service holds an answer back for at most 30 seconds, while it waits for a record.
const silence = 2 * time.Minute

var errSilent = fmt.Errorf("nothing came or went for %v", silence)

// expectAbove is the size of a body, in bytes, from which on the service is asked first
// whether it takes the request: a refusal then costs no upload (RFC 9110 section 10.1.1).
const expectAbove = 1 << 20

// Check tells what is wrong with the client's settings. Each call does so too; nothing is sent.
func (c *Client) Check() error {
	u, err := c.base()
	switch {
	case err != nil:
		return err
	case u.Scheme == "http" && !c.AllowHTTP && !loopback(u.Hostname()):
		return fmt.Errorf("the API key would travel to %s unencrypted: use https, or allow it", u.Host)
	case c.Key == "" || strings.ContainsFunc(string(c.Key), func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return errors.New("an API key is needed, in one line without spaces")
	}
	return nil
}

func (c *Client) base() (*url.URL, error) {
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the base URL must be like https://stele.example.gov.cn")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "": // a password in it would get into errors
		return nil, errors.New("the base URL must have no user, no query and no fragment")
	}
	return u, nil
}

// address is the URL of a call. It never holds a secret, see [Client.Check].
func (c *Client) address(q call) (string, error) {
	_, err := c.base()
	if !q.public {
		err = c.Check()
	}
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(c.BaseURL, "/") + "/api/v1" + q.path
	if len(q.query) > 0 {
		text += "?" + q.query.Encode()
	}
	return text, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// send makes a call once. The answer has a 2xx status; its body must be closed. An error is
// an [*UnreachableError], a [*Problem], or a wrong setting.
func (c *Client) send(ctx context.Context, q call) (*http.Response, error) {
	address, err := c.address(q)
	if err != nil {
		return nil, err
	}
	w := watch(ctx)
	req, err := http.NewRequestWithContext(w.ctx, q.method, address, nil)
	if err != nil {
		w.stop()
		return nil, err
	}
	if !q.public {
		req.Header.Set("Authorization", "Bearer "+string(c.Key))
	}
	req.Header.Set("User-Agent", "stele-client")
	set(req.Header, "Content-Type", q.contentType)
	set(req.Header, "Idempotency-Key", q.idempotency)
	if q.body != nil {
		req.Body, req.ContentLength = &watched{q.body(), w}, q.size
		if q.size == 0 {
			req.Body = http.NoBody
		}
		if q.size > expectAbove {
			req.Header.Set("Expect", "100-continue")
		}
	}
	res, err := c.http().Do(req)
	w.timer.Stop()
	if err != nil {
		err = w.cause(err)
		w.stop()
		if errors.Is(err, errSource) {
			return nil, err
		}
		return nil, &UnreachableError{err}
	}
	res.Body = &answer{res.Body, w}
	if res.StatusCode/100 != 2 {
		defer res.Body.Close()
		return nil, readProblem(res)
	}
	return res, nil
}

func set(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

func (c *Client) http() *http.Client {
	own := http.Client{}
	if c.HTTPClient != nil {
		own = *c.HTTPClient
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// watchdog ends an attempt in which nothing moves any more.
type watchdog struct {
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer
}

func watch(ctx context.Context) *watchdog {
	ctx, end := context.WithCancelCause(ctx)
	return &watchdog{ctx, end, time.AfterFunc(silence, func() { end(errSilent) })}
}

func (w *watchdog) stop() {
	w.timer.Stop()
	w.end(nil)
}

// cause says why an attempt broke: what the library says of a silence is only that it was cancelled.
func (w *watchdog) cause(err error) error {
	if errors.Is(context.Cause(w.ctx), errSilent) {
		return errSilent
	}
	return err
}

// watched is a request's body: the watchdog stays quiet while bytes move.
type watched struct {
	io.ReadCloser
	w *watchdog
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.w.timer.Reset(silence)
	}
	return n, err
}

// answer is the body of an answer; errors in it are those of the connection. The watchdog
// looks only while a read waits: how slowly the caller reads is the caller's business.
type answer struct {
	io.ReadCloser
	w *watchdog
}

func (b *answer) Read(p []byte) (int, error) {
	b.w.timer.Reset(silence)
	n, err := b.ReadCloser.Read(p)
	b.w.timer.Stop()
	if err != nil && err != io.EOF {
		err = &UnreachableError{b.w.cause(err)}
	}
	return n, err
}

func (b *answer) Close() error {
	err := b.ReadCloser.Close()
	b.w.stop()
	return err
}
