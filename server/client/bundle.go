package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// Bundle is everything that is needed to check one record offline. Keep the newest one of a
// record: only that shows a revocation or a replacement.
type Bundle struct {
	Number string        // of the certificate, as the bundle says; empty where it was not verified
	JSON   []byte        // the exact text
	Report *proof.Report // what the verification found; nil where the client has no trust roots
}

// EvidenceError says that a bundle does not hold, or is not of the record that was asked for.
type EvidenceError struct {
	Report *proof.Report
	Reason string
}

func (e *EvidenceError) Error() string {
	if e.Report.Verdict == proof.Unverifiable { // nothing failed: it is no fault of the service
		return "whether the service's bundle holds is open: " + e.Reason
	}
	return "the service gave a bundle that does not hold: " + e.Reason
}

// Bundle returns the proof of a record. With trust roots it is verified first, and one that
// does not hold is an [*EvidenceError]. The verdict then is genuine, or pending, revoked or
// superseded. Document is the digest of the document itself, where it is known: it is compared
// too, which needs trust roots; nil compares none.
func (c *Client) Bundle(ctx context.Context, idOrNumber string, document *sm.Digest) (*Bundle, error) {
	return c.bundle(ctx, idOrNumber, "", document)
}

// BundleWith is [Client.Bundle] with the proof that the log only grew between the record's anchored
// checkpoint and another one. With is the certificate number of another record of the same log, of
// whichever agency, or size:N, the size of an anchored checkpoint. Either may be the larger one.
func (c *Client) BundleWith(ctx context.Context, idOrNumber, with string, document *sm.Digest) (*Bundle, error) {
	if with == "" {
		return nil, errors.New("the other checkpoint is missing: a certificate number or size:N is expected")
	}
	b, err := c.bundle(ctx, idOrNumber, "?with="+url.QueryEscape(with), document)
	return b.showing(proof.StepConsistency, err, "it does not show the other checkpoint to be of the same history")
}

// BundleNow is [Client.Bundle] with what the log says of the record's standing, which the report has under
// standing: whether it was revoked or replaced, as of a time that a chain vouches for. A record younger than
// about a minute has none yet: then the service answers not_ready, a [*Problem].
func (c *Client) BundleNow(ctx context.Context, idOrNumber string, document *sm.Digest) (*Bundle, error) {
	b, err := c.bundle(ctx, idOrNumber, "?status=latest", document)
	return b.showing(proof.StepStatus, err, "it does not show the record's standing")
}

// showing demands that a bundle that was fetched, and verified, shows what was asked for.
func (b *Bundle) showing(what proof.StepName, err error, otherwise string) (*Bundle, error) {
	if err != nil || b.Report == nil || b.Report.Passed(what) {
		return b, err
	}
	return nil, &EvidenceError{b.Report, otherwise}
}

func (c *Client) bundle(ctx context.Context, idOrNumber, query string, document *sm.Digest) (*Bundle, error) {
	if document != nil && c.Trust == nil {
		return nil, errors.New("comparing a document with its bundle needs trust roots")
	}
	var data []byte
	err := c.retry(ctx, func() (err error) {
		data, _, err = c.once(ctx, call{method: http.MethodGet, path: recordPath(idOrNumber, "/bundle"+query)})
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.check(data, idOrNumber, document)
}

// check verifies a bundle against the trust roots, where there are any.
func (c *Client) check(data []byte, asked string, document *sm.Digest) (*Bundle, error) {
	b := &Bundle{JSON: data}
	if c.Trust == nil {
		return b, nil
	}
	b.Report = proof.Verify(c.Trust, document, data)
	if document == nil && b.Report.Document != nil {
		// Without a document no verdict is better than "unverifiable". What is asked here is
		// whether the evidence holds for the digest that it speaks of.
		if d, err := sm.ParseDigest(b.Report.Document.SM3); err == nil {
			b.Report = proof.Verify(c.Trust, &d, data)
		}
	}
	b.Number = b.Report.Number
	if !b.Report.Verdict.Row().Sound {
		return nil, &EvidenceError{b.Report, b.Report.Summary}
	}
	if isNumber(asked) && asked != b.Number {
		return nil, &EvidenceError{b.Report, fmt.Sprintf("it is of record %s, asked for was %s", b.Number, asked)}
	}
	return b, nil
}

// isNumber tells certificate numbers (RRRRRR-YYYY-NNNNNNNN-C) from ids, which are UUIDs.
func isNumber(s string) bool { return len(s) == len("420100-2026-00000017-0") }

// BundleResult is the proof of one of many records, or why there is none.
type BundleResult struct {
	Record string // as it was asked for
	Bundle *Bundle
	Err    error // a [*Problem] or an [*EvidenceError]
}

// maxBundles is how many bundles the service gives at once, maxBundleLine how long the line of
// one is at most, in bytes: a bundle has 1 MiB, and JSON may write a byte as six.
const (
	maxBundles    = 1000
	maxBundleLine = 8 << 20
)

// Bundles goes through the proofs of many records in the order asked for, in constant memory.
// When a connection breaks it goes on with the first record whose proof is missing. After an
// error of its own (not of a result) there are no more.
func (c *Client) Bundles(ctx context.Context, idsOrNumbers []string) iter.Seq2[BundleResult, error] {
	return func(yield func(BundleResult, error) bool) {
		for left := idsOrNumbers; len(left) > 0; {
			stop := false
			err := c.retry(ctx, func() error {
				return c.bundleLines(ctx, left[:min(len(left), maxBundles)], func(r BundleResult) bool {
					left = left[1:]
					stop = !yield(r, nil)
					return !stop
				})
			})
			if stop {
				return
			}
			if err != nil {
				yield(BundleResult{}, err)
				return
			}
		}
	}
}

// bundleLines fetches bundles once; take is told of each and whether to go on.
func (c *Client) bundleLines(ctx context.Context, asked []string, take func(BundleResult) bool) error {
	q := jsonBody(map[string]any{"records": asked})
	q.method, q.path = http.MethodPost, "/records/bundles"
	res, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	for _, id := range asked {
		line, err := readLine(lines)
		if err != nil {
			return err
		}
		r, err := c.bundleLine(line, id)
		if err != nil {
			return err
		}
		if !take(r) {
			return nil
		}
	}
	return nil
}

func (c *Client) bundleLine(line []byte, asked string) (BundleResult, error) {
	var l struct {
		Record, Bundle string
		Problem        *Problem
	}
	if err := json.Unmarshal(line, &l); err != nil || l.Record != asked || (l.Bundle == "") == (l.Problem == nil) {
		return BundleResult{}, errors.New("the answer is not what this client expects: a line for each record asked " +
			"for, with a bundle or a problem")
	}
	r := BundleResult{Record: asked}
	if l.Problem != nil {
		r.Err = l.Problem
		return r, nil
	}
	r.Bundle, r.Err = c.check([]byte(l.Bundle), asked, nil)
	return r, nil
}

// readLine reads one line. An answer that ends before all that was asked for has broken off.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case err == io.EOF:
			return nil, &UnreachableError{io.ErrUnexpectedEOF}
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(line) > maxBundleLine:
			return nil, fmt.Errorf("a line of the answer has more than %d bytes", maxBundleLine)
		}
	}
}

// Certificate returns the PDF of an anchored record, with the bundle inside. A record that is
// not anchored yet is refused as not_ready. The caller closes it; what ends with an error is
// no whole file.
func (c *Client) Certificate(ctx context.Context, idOrNumber string) (io.ReadCloser, error) {
	return c.stream(ctx, call{method: http.MethodGet, path: recordPath(idOrNumber, "/certificate")})
}

// CertificateNow is [Client.Certificate] with what the log says of the record's standing. A record of which the log
// has not spoken yet is refused as not_ready.
func (c *Client) CertificateNow(ctx context.Context, idOrNumber string) (io.ReadCloser, error) {
	return c.stream(ctx, call{method: http.MethodGet, path: recordPath(idOrNumber, "/certificate"), query: latest()})
}

// latest asks for the log's newest status.
func latest() url.Values { return url.Values{"status": {"latest"}} }

// EvidenceNow is [Client.Evidence] with what the log says of the record's standing, like [Client.CertificateNow].
func (c *Client) EvidenceNow(ctx context.Context, idOrNumber string) (io.ReadCloser, error) {
	return c.stream(ctx, call{method: http.MethodGet, path: recordPath(idOrNumber, "/evidence"), query: latest()})
}

// Evidence returns the package for a court, a zip file with the original among other things,
// like [Client.Certificate].
func (c *Client) Evidence(ctx context.Context, idOrNumber string) (io.ReadCloser, error) {
	return c.stream(ctx, call{method: http.MethodGet, path: recordPath(idOrNumber, "/evidence")})
}

// Document returns the original, where the service keeps it, like [Client.Certificate].
func (c *Client) Document(ctx context.Context, idOrNumber string) (io.ReadCloser, error) {
	return c.stream(ctx, call{method: http.MethodGet, path: recordPath(idOrNumber, "/document")})
}
