package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	defaultAttempts = 8
	firstPause      = 500 * time.Millisecond // doubles from attempt to attempt
	longestPause    = 30 * time.Second
	// patience is the longest Retry-After that is waited for: a minute's limit passes in it, a
	// day's quota does not, and is better told than slept through.
	patience = 2 * time.Minute
	// maxAnswer bounds a JSON answer in bytes: a page of 500 records with all their attributes fits.
	maxAnswer = 64 << 20
)

// retry makes an attempt until it succeeds, fails for good, or the attempts are used up. It
// returns the last attempt's error.
func (c *Client) retry(ctx context.Context, attempt func() error) error {
	most := c.Attempts
	if most <= 0 {
		most = defaultAttempts
	}
	pause := firstPause
	for n := 1; ; n++ {
		err := attempt()
		wait, again := repeat(err, pause)
		if err == nil || !again || n >= most {
			return err
		}
		if ctx.Err() != nil {
			return stopped(ctx, err)
		}
		if c.OnRetry != nil {
			c.OnRetry(err, wait)
		}
		if sleep(ctx, wait) != nil {
			return stopped(ctx, err)
		}
		pause = min(2*pause, longestPause)
	}
}

// stopped is the error of a call whose context ended: that it ended, and what happened last.
func stopped(ctx context.Context, last error) error {
	if errors.Is(last, ctx.Err()) {
		return last
	}
	return fmt.Errorf("%w; before that: %w", ctx.Err(), last)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// repeat tells whether a call that failed so is tried again, and after what pause. Pauses are
// spread, so that clients that failed together do not come back together.
func repeat(err error, pause time.Duration) (time.Duration, bool) {
	spread := pause/2 + rand.N(pause)
	var p *Problem
	var lost *UnreachableError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &p):
		if !p.Temporary() || p.RetryAfter > patience {
			return 0, false
		}
		if p.RetryAfter > 0 {
			return max(p.RetryAfter+rand.N(p.RetryAfter/5+1), spread), true
		}
		return spread, true
	case errors.As(err, &certificate):
		return 0, false // somebody else answers, or the system lacks a root certificate: no pause mends it
	}
	return spread, errors.As(err, &lost)
}

// json makes a call until it is answered, and decodes the answer into v. The answer's headers
// are returned. Reading the answer is a part of the attempt: when it breaks off, the call is
// repeated.
func (c *Client) json(ctx context.Context, q call, v any) (http.Header, error) {
	var header http.Header
	err := c.retry(ctx, func() error {
		data, h, err := c.once(ctx, q)
		if err != nil {
			return err
		}
		header = h
		if err := json.Unmarshal(data, v); err != nil {
			return fmt.Errorf("the answer is not what this client expects: %w", err)
		}
		return nil
	})
	return header, err
}

// once makes a call once and reads its answer.
func (c *Client) once(ctx context.Context, q call) ([]byte, http.Header, error) {
	res, err := c.send(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(data) > maxAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return data, res.Header, err
}

// stream makes a call until an answer begins, and returns its body.
func (c *Client) stream(ctx context.Context, q call) (io.ReadCloser, error) {
	var body io.ReadCloser
	err := c.retry(ctx, func() error {
		res, err := c.send(ctx, q)
		if err == nil {
			body = res.Body
		}
		return err
	})
	return body, err
}
