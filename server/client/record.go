package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"stele/crypto/sm"
)

// State is how far a record is. States go received, logged, anchored, never back.
type State string

// The states.
const (
	Received State = "received" // durable: it cannot be lost any more
	Logged   State = "logged"   // in a checkpoint that the log has signed
	Anchored State = "anchored" // that checkpoint is on the required chain
)

// Reached reports whether a record that is in state s is at least as far as want.
func (s State) Reached(want State) bool {
	rank := map[State]int{Received: 1, Logged: 2, Anchored: 3}
	return rank[s] >= rank[want]
}

// Standing is what became of a record.
type Standing string

// The standings.
const (
	Valid      Standing = "valid"
	Revoked    Standing = "revoked"
	Superseded Standing = "superseded"
)

// Record is a record as its agency sees it.
type Record struct {
	ID           string            `json:"id,omitempty"`
	Number       string            `json:"number"`         // of the certificate
	Code         string            `json:"code,omitempty"` // opens the attributes together with the number
	State        State             `json:"state"`
	Standing     Standing          `json:"standing"`
	StandingAt   time.Time         `json:"standingAt,omitzero"`
	SupersededBy string            `json:"supersededBy,omitempty"` // number
	Supersedes   string            `json:"supersedes,omitempty"`   // number
	Reason       string            `json:"reason,omitempty"`       // why it was revoked
	Agency       Agency            `json:"agency"`
	Document     DocumentInfo      `json:"document"`
	Class        string            `json:"class"`
	Reference    string            `json:"reference,omitempty"`
	Fields       map[string]string `json:"fields,omitempty"`
	Erased       []string          `json:"erased,omitempty"` // names of attributes that were erased for ever
	Stored       bool              `json:"stored,omitempty"` // the original is kept by the service
	Index        uint64            `json:"index"`            // in the log
	IssuedAt     time.Time         `json:"issuedAt"`

	// Replayed says that the idempotency key was used before: this is the record of then.
	Replayed bool `json:"-"`
}

// Agency names an agency.
type Agency struct {
	Code string `json:"code"` // unified social credit code
	Name string `json:"name"`
}

// DocumentInfo is what is registered of a document.
type DocumentInfo struct {
	SM3       string `json:"sm3"`
	Size      int64  `json:"size"` // bytes
	MediaType string `json:"mediaType"`
}

// Get returns a record of the key's agency by id or certificate number.
func (c *Client) Get(ctx context.Context, idOrNumber string) (*Record, error) {
	r := &Record{}
	_, err := c.json(ctx, call{method: http.MethodGet, path: recordPath(idOrNumber, "")}, r)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func recordPath(idOrNumber, rest string) string {
	return "/records/" + url.PathEscape(idOrNumber) + rest
}

// Filter selects records. The zero value selects all of the agency's.
type Filter struct {
	SM3       *sm.Digest
	Class     string
	Standing  Standing
	Reference string
}

// pageSize is how many records are asked for at once; it is the most that the service gives.
const pageSize = 500

// List goes through records, newest first, page by page as they are asked for. After an error
// there are no more.
func (c *Client) List(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		q := url.Values{"limit": {strconv.Itoa(pageSize)}}
		for name, value := range map[string]string{"class": f.Class, "standing": string(f.Standing),
			"reference": f.Reference} {
			if value != "" {
				q.Set(name, value)
			}
		}
		if f.SM3 != nil {
			q.Set("sm3", f.SM3.String())
		}
		for {
			var page struct {
				Records []Record
				Next    string
			}
			if _, err := c.json(ctx, call{method: http.MethodGet, path: "/records", query: q}, &page); err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range page.Records {
				if !yield(r, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("cursor", page.Next)
		}
	}
}

// Pauses between two looks at a record that is waited for.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 5 * time.Second
)

// WaitFor returns a record once it is as far as wanted, and as it is then. It waits until ctx
// ends; the record that was seen last is returned with the error.
func (c *Client) WaitFor(ctx context.Context, idOrNumber string, want State) (*Record, error) {
	var last *Record
	for pause := firstLook; ; pause = min(pause*3/2, lastLook) {
		r, err := c.Get(ctx, idOrNumber)
		if err != nil {
			return last, err
		}
		if last = r; r.State.Reached(want) {
			return r, nil
		}
		if err := sleep(ctx, pause); err != nil {
			return last, fmt.Errorf("waiting until the record is %s (it is %s): %w", want, r.State, err)
		}
	}
}

// Revoke withdraws a record. The reason is public for ever. The idempotency key may be empty:
// then one is made. A record that was revoked or replaced before is refused as conflict.
func (c *Client) Revoke(ctx context.Context, idOrNumber, reason, idempotencyKey string) (*Record, error) {
	return c.create(ctx, recordPath(idOrNumber, "/revoke"), idempotencyKey, jsonBody(struct {
		Reason string `json:"reason"`
	}{reason}))
}

// Erasure says what of a record is to be erased for ever. The reason is kept in the agency's
// audit trail and must say nothing personal.
type Erasure struct {
	Fields   []string `json:"fields,omitempty"`   // names of attributes
	All      bool     `json:"all,omitempty"`      // all attributes, and the reference
	Document bool     `json:"document,omitempty"` // the original too, where the service keeps it
	Reason   string   `json:"reason"`
}

// Erased is a record after an erasure.
type Erased struct {
	Record
	// the original goes when its lock ends, and is not served before
	DocumentRetained bool `json:"documentRetained,omitempty"`
}

// Erase removes attributes for ever, and the original if asked to. Proofs still hold. It needs a
// key with the scope erase; done again it changes nothing more.
func (c *Client) Erase(ctx context.Context, idOrNumber string, what Erasure) (*Erased, error) {
	out := &Erased{}
	q := jsonBody(what)
	q.method, q.path, q.idempotency = http.MethodPost, recordPath(idOrNumber, "/erase"), orNewKey("")
	_, err := c.json(ctx, q, out)
	return out, err
}

// create makes a call that makes or changes a record.
func (c *Client) create(ctx context.Context, path, idempotencyKey string, q call) (*Record, error) {
	r := &Record{}
	q.method, q.path, q.idempotency = http.MethodPost, path, orNewKey(idempotencyKey)
	h, err := c.json(ctx, q, r)
	if err != nil {
		return nil, err
	}
	if r.Number == "" {
		return nil, errors.New("the answer names no record")
	}
	r.Replayed = h.Get("Idempotency-Replayed") == "true"
	return r, nil
}

// jsonBody is a call with a JSON body.
func jsonBody(v any) call {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // only types of this package come here, and they marshal
	}
	return call{contentType: "application/json", size: int64(len(data)),
		body: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(data)) }}
}
