// Package chainnet is the chain as a server sees it that runs no validator itself: several
// nodes, reached over HTTP, none of which is trusted. What a node says is believed when it
// verifies against the pinned first epoch, or when more nodes say it than may lie.
//
// The interface of a node, under /v1, with a bearer token except on its own socket:
//
//	POST /v1/checkpoints                a checkpoint (Checkpoint)          202
//	GET  /v1/head?origin=               newest checkpoint (Anchored)       200
//	GET  /v1/evidence?origin=&size=     evidence of a checkpoint (Anchored) 200
//	GET  /v1/status?after=              state (Status); after waits until the height exceeds it
//	GET  /v1/entries?from=              headers from an index on (Entries) 200
//	GET  /v1/epochs?from=               epochs from a number on (Epochs)   200
//	GET  /v1/history?from=&to=          the path between two headers (History) 200
//	POST /v1/epochs                     the next epoch, as it stands in evidence 202
//
// Errors are {"error":"<code>","detail":"…"}.
package chainnet

import (
	"encoding/json"
	"fmt"
	"time"

	"stele/crypto/merkle"
	"stele/notary/log/anchor"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/chainview"
	"stele/notary/proof/checkpoint"
)

// Limits of bodies in bytes, and of a wait for a change.
const (
	MaxRequest = anchorproof.MaxSignedEpochSize
	maxAnswer  = 4 << 20
	MaxWait    = 25 * time.Second
	MaxEntries = 64 // headers or epochs in one answer
)

// Codes of errors.
const (
	CodeStale        = "stale"
	CodeFork         = "fork"
	CodeRefused      = "refused"
	CodeBusy         = "busy" // or stopped: another node may help
	CodeEpoch        = "epoch"
	CodeUnauthorized = "unauthorized"
	CodeNotFound     = "not_found"
	CodePending      = "pending" // not there yet, or without a quorum
)

// Checkpoint is a submission on the wire.
type Checkpoint struct {
	Checkpoint string   `json:"checkpoint"` // its text
	Signature  []byte   `json:"signature"`  // the log's, DER
	OldSize    uint64   `json:"oldSize"`
	Proof      [][]byte `json:"proof"`
}

func wireCheckpoint(s anchor.Submission) Checkpoint {
	return Checkpoint{Checkpoint: s.Checkpoint.Text(), Signature: s.Signature, OldSize: s.OldSize,
		Proof: wireHashes(s.Proof)}
}

func wireHashes(in []merkle.Hash) [][]byte {
	out := make([][]byte, len(in))
	for i := range in {
		out[i] = in[i][:]
	}
	return out
}

// Submission reads it; only its form is checked.
func (w Checkpoint) Submission() (anchor.Submission, error) {
	c, err := checkpoint.Parse(w.Checkpoint)
	if err != nil {
		return anchor.Submission{}, err
	}
	s := anchor.Submission{Checkpoint: c, Signature: w.Signature, OldSize: w.OldSize}
	s.Proof, err = hashes(w.Proof)
	return s, err
}

// Anchored is a committed checkpoint; without evidence as long as its quorum is missing,
// empty when the chain has none.
type Anchored struct {
	Checkpoint string          `json:"checkpoint,omitempty"`
	Evidence   json.RawMessage `json:"evidence,omitempty"`
}

// Failure is an error on the wire.
type Failure struct {
	Code   string `json:"error"`
	Detail string `json:"detail"`

	meaning error // of anchor's errors, at the caller
}

func (f *Failure) Error() string { return f.Detail }

func (f *Failure) Unwrap() error { return f.meaning }

// Status is the state of a node.
type Status struct {
	Name       string            `json:"name"` // of the member
	Chain      string            `json:"chain"`
	Genesis    string            `json:"genesis,omitempty"` // SM3 of epoch 0, hex; nodes of before leave it out
	Version    string            `json:"version"`
	Now        time.Time         `json:"now"` // the node's clock
	Height     uint64            `json:"height"`
	Base       uint64            `json:"base"`   // oldest block that it keeps
	Behind     uint64            `json:"behind"` // blocks that its peers have and it lacks
	CatchingUp bool              `json:"catchingUp"`
	Validating bool              `json:"validating"` // its keys are among the members'
	Failed     bool              `json:"failed"`
	Headers    uint64            `json:"headers"`
	Pending    uint64            `json:"pending"` // headers without a quorum of cosignatures
	Epoch      uint64            `json:"epoch"`
	EpochAt    uint64            `json:"epochAt"` // height from which it is in office
	Members    []Member          `json:"members"`
	Peers      []Peer            `json:"peers"`
	Heads      []Head            `json:"heads"`
	Last       *Certified        `json:"last,omitempty"`
	Refused    map[string]uint64 `json:"refused"` // since the start, by reason
	DiskBytes  int64             `json:"diskBytes"`
}

// Member is a validator of the newest epoch.
type Member struct {
	Name  string `json:"name"`
	Power uint64 `json:"power"`
}

// Peer is another node that this one knows of.
type Peer struct {
	Name      string `json:"name"`
	Connected bool   `json:"connected"`
	Height    uint64 `json:"height"`
}

// Head is the newest checkpoint of a log.
type Head struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"` // hex
}

// Certified is the newest header that has its quorum.
type Certified struct {
	Index    uint64    `json:"index"`
	Height   uint64    `json:"height"`
	Time     time.Time `json:"time"`
	Cosigned []string  `json:"cosigned"`
	Silent   []string  `json:"silent"` // members of its epoch that are not in the certificate
}

// Entry is one header on the wire.
type Entry struct {
	Header       string        `json:"header"`
	Checkpoints  []string      `json:"checkpoints"`
	Cosignatures []Cosignature `json:"cosignatures"`
}

// Cosignature is one validator's signature.
type Cosignature struct {
	Validator int    `json:"validator"`
	Signature []byte `json:"signature"`
}

// Entries are headers in ascending order.
type Entries struct {
	Entries []Entry `json:"entries"`
}

// Epochs are signed epochs in ascending order, as they stand in evidence, and beside each the
// lowest header that it certified, without its checkpoints; null when there is none. Nodes of
// before leave these out.
type Epochs struct {
	Epochs []json.RawMessage `json:"epochs"`
	First  []*Entry          `json:"first,omitempty"`
}

// History is two headers of one history: their texts, the newer one's cosignatures, and the path
// that anchorproof.CheckHistory takes.
type History struct {
	Older        string        `json:"older"`
	Newer        string        `json:"newer"`
	Cosignatures []Cosignature `json:"cosignatures"`
	Path         [][]byte      `json:"path"`
}

// NewHistory writes a history.
func NewHistory(h chainview.History) History {
	return History{Older: h.Older.Text(), Newer: h.Newer.Text(),
		Cosignatures: cosignatures(h.Cosignatures), Path: wireHashes(h.Path)}
}

// history reads it; whoever uses it checks it.
func (w History) history() (h chainview.History, err error) {
	if h.Older, err = anchorproof.ParseHeader(w.Older); err != nil {
		return h, err
	}
	if h.Newer, err = anchorproof.ParseHeader(w.Newer); err != nil {
		return h, err
	}
	for _, s := range w.Cosignatures {
		h.Cosignatures = append(h.Cosignatures, anchorproof.Cosignature(s))
	}
	h.Path, err = hashes(w.Path)
	return h, err
}

// hashes reads a path.
func hashes(in [][]byte) (out []merkle.Hash, err error) {
	if len(in) > merkle.MaxPath {
		return nil, fmt.Errorf("a path has at most %d hashes", merkle.MaxPath)
	}
	for _, p := range in {
		if len(p) != merkle.HashSize {
			return nil, fmt.Errorf("a hash has %d bytes", merkle.HashSize)
		}
		out = append(out, merkle.Hash(p))
	}
	return out, nil
}

// NewEntry writes an entry.
func NewEntry(e chainview.Entry) Entry {
	w := Entry{Header: e.Header.Text(), Checkpoints: make([]string, len(e.Checkpoints)),
		Cosignatures: cosignatures(e.Cosignatures)}
	for i, c := range e.Checkpoints {
		w.Checkpoints[i] = c.Text()
	}
	return w
}

func cosignatures(in []anchorproof.Cosignature) []Cosignature {
	out := make([]Cosignature, len(in))
	for i, s := range in {
		out[i] = Cosignature(s)
	}
	return out
}

// entry reads an entry; signatures and roots are checked by chainview.Build.
func (w Entry) entry() (e chainview.Entry, err error) {
	if e.Header, err = anchorproof.ParseHeader(w.Header); err != nil {
		return e, err
	}
	for _, text := range w.Checkpoints {
		c, err := checkpoint.Parse(text)
		if err != nil {
			return e, err
		}
		e.Checkpoints = append(e.Checkpoints, c)
	}
	for _, s := range w.Cosignatures {
		e.Cosignatures = append(e.Cosignatures, anchorproof.Cosignature(s))
	}
	return e, nil
}

// parse reads signed epochs; that they follow from the pinned one is checked by whoever
// uses them.
func (w Epochs) parse() (out []chainview.Term, err error) {
	if len(w.First) > 0 && len(w.First) != len(w.Epochs) {
		return nil, fmt.Errorf("%d first headers for %d epochs", len(w.First), len(w.Epochs))
	}
	for i, raw := range w.Epochs {
		var t chainview.Term
		if t.Signed, err = anchorproof.ParseSignedEpoch(raw); err != nil {
			return nil, err
		}
		if len(w.First) > 0 && w.First[i] != nil {
			e, err := w.First[i].entry()
			if err != nil {
				return nil, err
			}
			t.First = &chainview.Certified{Header: e.Header, Cosignatures: e.Cosignatures}
		}
		out = append(out, t)
	}
	return out, nil
}
