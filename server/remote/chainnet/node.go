package chainnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
)

// Node is the client of one node. It is safe for concurrent use and does not retry. Nothing
// that it returns has been verified.
type Node struct {
	base  string
	token string
	http  *http.Client
}

const (
	callTimeout = 10 * time.Second // of every call but a wait
	dialTimeout = 3 * time.Second
)

// NewNode returns the client of the node at an address: http://host:port, https://… or
// unix:/path of its own socket, which needs no token.
func NewNode(address, token string) (*Node, error) {
	// Connections are kept: every block of the chain is asked about.
	dialer := &net.Dialer{Timeout: dialTimeout}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 4,
		IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: MaxWait + callTimeout}
	n := &Node{token: token, http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a node does not redirect") }}}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		n.base = "http://node"
		return n, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%q is no address of a node: want http://host:port", address)
	}
	n.base = u.Scheme + "://" + u.Host
	return n, nil
}

// call makes a request and reads its answer into v, which may be nil.
func (n *Node) call(ctx context.Context, method, path string, query url.Values, body []byte, v any) error {
	address := n.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if n.token != "" {
		req.Header.Set("Authorization", "Bearer "+n.token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := n.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", anchor.ErrUnavailable, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w: %w", anchor.ErrUnavailable, err)
	}
	if len(text) > maxAnswer {
		return fmt.Errorf("the node's answer is longer than %d bytes", maxAnswer)
	}
	if res.StatusCode/100 != 2 {
		return failureOf(res.StatusCode, text)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("the node's answer cannot be read: %w", err)
	}
	return nil
}

// failureOf gives an answer's error the meaning that callers of anchor know.
func failureOf(status int, text []byte) error {
	var f Failure
	if json.Unmarshal(text, &f) != nil || f.Code == "" {
		return fmt.Errorf("%w: the node answers with status %d", anchor.ErrUnavailable, status)
	}
	meaning := anchor.ErrUnavailable
	switch f.Code {
	case CodeStale:
		meaning = anchor.ErrStale
	case CodeFork:
		meaning = anchor.ErrFork
	case CodeRefused, CodeEpoch, CodeNotFound:
		meaning = anchor.ErrRefused
	case CodePending:
		meaning = anchor.ErrPending
	}
	f.meaning = meaning
	return &f
}

func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}

// Submit hands a checkpoint to the node.
func (n *Node) Submit(ctx context.Context, s anchor.Submission) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	body, err := json.Marshal(wireCheckpoint(s))
	if err != nil {
		return err
	}
	return n.call(ctx, http.MethodPost, "/v1/checkpoints", nil, body, nil)
}

// SubmitEpoch hands the next epoch to the node.
func (n *Node) SubmitEpoch(ctx context.Context, e anchorproof.SignedEpoch) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	body, err := e.Marshal()
	if err != nil {
		return err
	}
	return n.call(ctx, http.MethodPost, "/v1/epochs", nil, body, nil)
}

// Head is the newest checkpoint of a log, with evidence if its quorum is there.
func (n *Node) Head(ctx context.Context, origin string) (a Anchored, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return a, n.call(ctx, http.MethodGet, "/v1/head", url.Values{"origin": {origin}}, nil, &a)
}

// Evidence is the checkpoint of a log at a size.
func (n *Node) Evidence(ctx context.Context, origin string, size uint64) (a Anchored, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return a, n.call(ctx, http.MethodGet, "/v1/evidence",
		url.Values{"origin": {origin}, "size": {strconv.FormatUint(size, 10)}}, nil, &a)
}

// Status is the node's state now.
func (n *Node) Status(ctx context.Context) (s Status, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return s, n.call(ctx, http.MethodGet, "/v1/status", nil, nil, &s)
}

// Wait returns the node's state once its height exceeds after, or after [MaxWait].
func (n *Node) Wait(ctx context.Context, after uint64) (s Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, MaxWait+callTimeout)
	defer cancel()
	return s, n.call(ctx, http.MethodGet, "/v1/status", url.Values{"after": {strconv.FormatUint(after, 10)}}, nil, &s)
}

// Entries are headers from an index on, as many as fit into one answer.
func (n *Node) Entries(ctx context.Context, from uint64) (out []chainview.Entry, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var w Entries
	if err := n.call(ctx, http.MethodGet, "/v1/entries", url.Values{"from": {strconv.FormatUint(from, 10)}}, nil,
		&w); err != nil {
		return nil, err
	}
	for _, e := range w.Entries {
		entry, err := e.entry()
		if err != nil {
			return nil, err
		}
		out = append(out, entry)
	}
	return out, nil
}

// Epochs are all signed epochs from a number on.
func (n *Node) Epochs(ctx context.Context, from uint64) (out []anchorproof.SignedEpoch, err error) {
	terms, err := n.Terms(ctx, from)
	for _, t := range terms {
		out = append(out, t.Signed)
	}
	return out, err
}

// History is the path between two headers.
func (n *Node) History(ctx context.Context, from, to uint64) (h chainview.History, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var w History
	q := url.Values{"from": {strconv.FormatUint(from, 10)}, "to": {strconv.FormatUint(to, 10)}}
	if err := n.call(ctx, http.MethodGet, "/v1/history", q, nil, &w); err != nil {
		return h, err
	}
	return w.history()
}

// Terms are all signed epochs from a number on, each with the first header that it certified.
func (n *Node) Terms(ctx context.Context, from uint64) (out []chainview.Term, err error) {
	for {
		page, err := n.epochPage(ctx, from+uint64(len(out)))
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return out, nil
		}
		out = append(out, page...)
	}
}

func (n *Node) epochPage(ctx context.Context, from uint64) ([]chainview.Term, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var w Epochs
	if err := n.call(ctx, http.MethodGet, "/v1/epochs", url.Values{"from": {strconv.FormatUint(from, 10)}}, nil,
		&w); err != nil {
		return nil, err
	}
	return w.parse()
}
