package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"stele/crypto/sm"
	"stele/notary/proof"
)

// The calls of those that watch the log. Nothing that they return is verified yet: package monitor does that.

// Checkpoint is the log's newest signed note. No key is needed.
func (c *Client) Checkpoint(ctx context.Context) ([]byte, error) {
	return c.bytes(ctx, call{method: http.MethodGet, path: "/log/checkpoint", public: true})
}

// Successions are those of the instance's roots, as 'stele trust update' reads them; nil where the service is older
// than they are. No key is needed.
func (c *Client) Successions(ctx context.Context) ([]byte, error) {
	data, err := c.bytes(ctx, call{method: http.MethodGet, path: "/trust/successions.json", public: true})
	if p := (*Problem)(nil); errors.As(err, &p) && p.Status == http.StatusNotFound {
		return nil, nil
	}
	return data, err
}

// Tile is what is at a path such as tile/0/x001/234. For those of hashes no key is needed; for tile/entries/… one
// with the scope audit.
func (c *Client) Tile(ctx context.Context, path string) ([]byte, error) {
	return c.bytes(ctx, call{method: http.MethodGet, path: "/log/" + path,
		public: !strings.HasPrefix(path, "tile/entries/")})
}

func (c *Client) bytes(ctx context.Context, q call) (data []byte, err error) {
	err = c.retry(ctx, func() (err error) {
		data, _, err = c.once(ctx, q)
		return err
	})
	return data, err
}

// wireStatus is the form of a status in answers.
type wireStatus struct {
	Statement []byte
	Signature []byte
	Key       string
	Log       struct {
		Index      uint64
		Path       [][]byte
		Checkpoint string
	}
	Anchors []json.RawMessage
	Tally   struct {
		Proof []byte
		Value string
	}
}

var errHash = errors.New("the answer is not what this client expects: a path with hashes of 32 bytes")

func (w wireStatus) status() (s proof.LogStatus, err error) {
	s = proof.LogStatus{Statement: w.Statement, Signature: w.Signature, Key: w.Key, Anchors: w.Anchors,
		Log: proof.LogProof{Index: w.Log.Index, Checkpoint: []byte(w.Log.Checkpoint)}}
	for _, h := range w.Log.Path {
		if len(h) != sm.DigestSize {
			return s, errHash
		}
		s.Log.Path = append(s.Log.Path, sm.Digest(h))
	}
	return s, nil
}

// LogStatus is the newest anchored status statement. No key is needed.
func (c *Client) LogStatus(ctx context.Context) (proof.LogStatus, error) {
	var w wireStatus
	_, err := c.json(ctx, call{method: http.MethodGet, path: "/log/status", public: true}, &w)
	if err != nil {
		return proof.LogStatus{}, err
	}
	return w.status()
}

// Tally is what the map of a status statement has for the agency of the key.
type Tally struct {
	Proof []byte // see docs/formats.md section 18
	Value string // SM3 of the tally's text, hex; empty where no entry is the agency's
}

// OwnStatus is [Client.LogStatus] with the proof of the tally of the key's agency.
func (c *Client) OwnStatus(ctx context.Context) (proof.LogStatus, Tally, error) {
	var w wireStatus
	_, err := c.json(ctx, call{method: http.MethodGet, path: "/entries/status"}, &w)
	if err != nil {
		return proof.LogStatus{}, Tally{}, err
	}
	s, err := w.status()
	return s, Tally(w.Tally), err
}

// Entries are entries in the name of the key's agency, in the order of the log.
type Entries struct {
	Entries []IndexedEntry
	Covered uint64 // before this index none is left out: where to go on
	Size    uint64 // of the log
}

// IndexedEntry is an entry as it is hashed, with its place.
type IndexedEntry struct {
	Index uint64
	Entry []byte
}

// OwnEntries asks for entries in the name of the key's agency, from an index on.
func (c *Client) OwnEntries(ctx context.Context, from uint64) (out Entries, err error) {
	_, err = c.json(ctx, call{method: http.MethodGet, path: "/entries",
		query: url.Values{"from": {strconv.FormatUint(from, 10)}}}, &out)
	return out, err
}

// AnchoredCheckpoint is a checkpoint with the evidence for it.
type AnchoredCheckpoint struct {
	Checkpoint string // a signed note
	Size       uint64
	Anchors    []json.RawMessage
}

// Anchors asks for the anchored checkpoints of more than so many entries, the smallest first. One answer does not
// have all of them: ask again after the last, until there are none. No key is needed.
func (c *Client) Anchors(ctx context.Context, after uint64) ([]AnchoredCheckpoint, error) {
	var out struct{ Checkpoints []AnchoredCheckpoint }
	_, err := c.json(ctx, call{method: http.MethodGet, path: "/log/anchors", public: true,
		query: url.Values{"after": {strconv.FormatUint(after, 10)}}}, &out)
	return out.Checkpoints, err
}

// Certificates asks for the signer's certificate with this SM3, followed by those above it. No key is needed.
func (c *Client) Certificates(ctx context.Context, sm3 string) ([][]byte, error) {
	var out struct{ Certificates [][]byte }
	_, err := c.json(ctx, call{method: http.MethodGet, path: "/log/certificates/" + url.PathEscape(sm3),
		public: true}, &out)
	if err == nil && len(out.Certificates) == 0 {
		err = fmt.Errorf("the answer is not what this client expects: certificates")
	}
	return out.Certificates, err
}
