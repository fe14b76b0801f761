package bsnproof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/notary/canonical"
	"stele/notary/checkpoint"
	"stele/notary/gateway"
)

// KindFabric names the evidence of a Fabric application inside a bundle.
const KindFabric = "bsn/fabric/v1"

// Limits. Parsers refuse what exceeds them before they look at it.
const (
	// MaxEvidenceSize is the longest evidence in bytes: 2 KB as a rule, and 200 bytes for each
	// other transaction of the block.
	MaxEvidenceSize = 256 << 10
	// MaxApp is the longest name of an application in bytes.
	MaxApp = 64
)

// Signed is an answer of a gateway with its mac. Only successful answers are evidence, so the
// header's code is 0 and not written down.
type Signed[T any] struct {
	Msg  string `json:"msg"`
	Body T      `json:"body"`
	Mac  []byte `json:"mac"`
}

// Verify reports whether the answer bears a mac of this key.
func (s Signed[T]) Verify(key *gateway.PublicKey) bool {
	return key.Verify(gateway.AnswerText(gateway.AnswerHeader{Code: gateway.CodeOK, Msg: s.Msg}, s.Body), s.Mac)
}

// Fabric is what attests that a checkpoint was anchored on a Fabric application. It is
// canonical JSON, keys in this order, no white space, no HTML escaping, at most
// [MaxEvidenceSize] bytes; bodies hold all keys in the order of the manual's tables:
//
//	{"kind":"bsn/fabric/v1","app":"app0001…","path":["<base64 of 32 bytes>",…],
//	 "history":{"msg":"success","body":{"blockInfo":{…},"ccRes":{"ccCode":200,"ccData":"[…]"}},"mac":"<base64 DER>"},
//	 "block":{"msg":"success","body":{"blockHash":"…",…,"transactions":[…]},"mac":"…"},
//	 "ledger":{"msg":"success","body":{"blockHash":"…","height":9,"preBlockHash":"…"},"mac":"…"}}
//
// history is the answer to getHistory of the entry's key: it ties key, value and transaction
// to one another. block is the answer to getBlockInfo by that transaction: it ties the
// transaction to the application, to a status and to a height. ledger is the answer to
// getLedgerInfo. path is the consistency proof from the checkpoint that the evidence stands
// beside to the larger one in the entry; it is empty when they are the same.
type Fabric struct {
	App     string
	Path    []merkle.Hash
	History Signed[gateway.ChainCodeAnswer]
	Block   Signed[gateway.BlockAnswer]
	Ledger  Signed[gateway.LedgerAnswer]
}

type wireFabric struct {
	Kind    string                          `json:"kind"`
	App     string                          `json:"app"`
	Path    [][]byte                        `json:"path"`
	History Signed[gateway.ChainCodeAnswer] `json:"history"`
	Block   Signed[gateway.BlockAnswer]     `json:"block"`
	Ledger  Signed[gateway.LedgerAnswer]    `json:"ledger"`
}

// Marshal returns the canonical JSON. It fails when the evidence exceeds a limit, which
// [ParseFabric] would refuse; it does not verify.
func (e Fabric) Marshal() (json.RawMessage, error) {
	w := wireFabric{Kind: KindFabric, App: e.App, Path: make([][]byte, len(e.Path)), History: e.History, Block: e.Block, Ledger: e.Ledger}
	for i := range e.Path {
		w.Path[i] = e.Path[i][:]
	}
	// What is absent must not become null, a second spelling.
	w.History.Mac, w.Block.Mac, w.Ledger.Mac = notNil(w.History.Mac), notNil(w.Block.Mac), notNil(w.Ledger.Mac)
	w.Block.Body.Transactions = notNil(w.Block.Body.Transactions)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	switch {
	case len(out) > MaxEvidenceSize:
		return nil, fmt.Errorf("%w evidence: longer than %d bytes", ErrFormat, MaxEvidenceSize)
	case bytes.Contains(out, []byte(`\u202`)):
		return nil, fmt.Errorf("%w evidence: a line separator, which JSON can write in two ways", ErrFormat)
	case len(e.Path) > merkle.MaxPath:
		return nil, fmt.Errorf("%w evidence: the path is too long", ErrFormat)
	case !ValidApp(e.App):
		return nil, fmt.Errorf("%w evidence: %q is no name of an application", ErrFormat, e.App)
	}
	return out, nil
}

func notNil[T any](list []T) []T { return append([]T{}, list...) }

const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// ValidApp reports whether s can name an application: letters and digits.
func ValidApp(s string) bool {
	return s != "" && len(s) <= MaxApp && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(letters, r) })
}

// ParseFabric is the inverse of [Fabric.Marshal] and accepts no other spelling. It verifies
// nothing: see [Fabric.Verify].
func ParseFabric(b []byte) (Fabric, error) {
	var w wireFabric
	if err := canonical.Decode(b, MaxEvidenceSize, &w); err != nil {
		return Fabric{}, fmt.Errorf("%w evidence: %v", ErrFormat, err)
	}
	if w.Kind != KindFabric {
		return Fabric{}, fmt.Errorf("%w evidence: kind must be %q", ErrFormat, KindFabric)
	}
	e := Fabric{App: w.App, History: w.History, Block: w.Block, Ledger: w.Ledger}
	for _, h := range w.Path {
		if len(h) != merkle.HashSize {
			return Fabric{}, fmt.Errorf("%w evidence: a path holds hashes of %d bytes", ErrFormat, merkle.HashSize)
		}
		e.Path = append(e.Path, merkle.Hash(h))
	}
	again, err := e.Marshal()
	if err != nil {
		return Fabric{}, err
	}
	if err := canonical.Check(b, again); err != nil {
		return Fabric{}, fmt.Errorf("%w evidence: %v", ErrFormat, err)
	}
	return e, nil
}

// Attested is what verified evidence says.
type Attested struct {
	App        string
	Height     uint64    // of the block
	Time       time.Time // of the proposal by the gateway's clock, UTC, milliseconds
	Entry      uint64    // number of the log's entry
	Checkpoint checkpoint.Checkpoint
}

// Verify checks that the gateway with this key attests, finally, an entry with the checkpoint
// or a later one that grew out of it. It uses no clock and no network, and does not check the
// log's own signature.
func (e Fabric) Verify(key *gateway.PublicKey, c checkpoint.Checkpoint) (Attested, error) {
	if n := e.Macs(key); n != Answers {
		return Attested{}, fmt.Errorf("%w: of %d answers %d bear one", ErrMac, Answers, n)
	}
	a, err := e.entry(c.Origin)
	if err != nil {
		return a, err
	}
	return a, follows(c, a.Checkpoint, e.Path)
}

// Answers is the number of answers in evidence.
const Answers = 3

// Macs counts the answers that bear a mac of this key. None: the evidence is of a holder of
// another key; some: it was changed.
func (e Fabric) Macs(key *gateway.PublicKey) (n int) {
	for _, ok := range []bool{e.History.Verify(key), e.Block.Verify(key), e.Ledger.Verify(key)} {
		if ok {
			n++
		}
	}
	return n
}

// follows checks that the entry's checkpoint is this one, or grew out of it.
func follows(c, in checkpoint.Checkpoint, path []merkle.Hash) error {
	switch {
	case in.Size == c.Size && len(path) == 0:
		if in.Root != c.Root {
			return fmt.Errorf("%w: the entry has another root for the size %d", ErrContent, c.Size)
		}
		return nil
	case in.Size <= c.Size:
		return fmt.Errorf("%w: the entry has the size %d, the checkpoint %d", ErrContent, in.Size, c.Size)
	}
	if err := merkle.VerifyConsistency(c.Size, in.Size, c.Root, in.Root, path); err != nil {
		return fmt.Errorf("%w: the entry's log of size %d did not grow out of this one: %v", ErrContent, in.Size, err)
	}
	return nil
}

// Consistent reports whether the evidence agrees with itself, whoever signed it: it tells
// edited evidence from that of a gateway that is not known.
func (e Fabric) Consistent(origin string) error {
	_, err := e.entry(origin)
	return err
}

// entry reads what the answers say together.
func (e Fabric) entry(origin string) (Attested, error) {
	a := Attested{App: e.App}
	res := e.History.Body.CCRes
	if res.CCCode != gateway.CCOK {
		return a, fmt.Errorf("%w: getHistory failed with code %d", ErrContent, res.CCCode)
	}
	var history []gateway.HistoryEntry
	if err := json.Unmarshal([]byte(res.CCData), &history); err != nil || len(history) != 1 || history[0].IsDelete {
		return a, fmt.Errorf("%w: the key must have been written once, and nothing else", ErrContent)
	}
	var stored gateway.StoredData
	if err := json.Unmarshal([]byte(history[0].DataInfo), &stored); err != nil {
		return a, fmt.Errorf("%w: no data of the base chaincode", ErrContent)
	}
	var ok bool
	if a.Entry, ok = parseKey(origin, stored.BaseKey); !ok {
		return a, fmt.Errorf("%w: the key %q is none of the log %s", ErrContent, stored.BaseKey, origin)
	}
	var err error
	if a.Checkpoint, _, err = ParseValue(stored.BaseInfo); err != nil {
		return a, err
	}
	if a.Checkpoint.Origin != origin {
		return a, fmt.Errorf("%w: the entry is one of the log %s", ErrContent, a.Checkpoint.Origin)
	}
	return a, e.final(&a, history[0].TxID)
}

// final checks that the transaction is in a block that the ledger has gone past. Fabric does
// not reorganise, so this is for ever.
func (e Fabric) final(a *Attested, txID string) error {
	block, ledger := e.Block.Body, e.Ledger.Body
	is := func(t gateway.BlockTransaction) bool { return t.TxID == txID }
	at := slices.IndexFunc(block.Transactions, is)
	switch {
	// Block 0 is the genesis; and an answer of a chaincode begins like an answer about it.
	case block.BlockNumber == 0 || block.BlockNumber > MaxEntries || !hash(block.BlockHash) || !hash(block.PreBlockHash) || !hash(ledger.BlockHash) || !hash(txID):
		return fmt.Errorf("%w: no block with hashes", ErrContent)
	case at < 0 || block.BlockTxCount != len(block.Transactions) || slices.ContainsFunc(block.Transactions[at+1:], is):
		return fmt.Errorf("%w: the entry's transaction is not in the block once", ErrContent)
	case block.Transactions[at].Status != gateway.StatusValid:
		return fmt.Errorf("%w: the transaction has the status %d", ErrContent, block.Transactions[at].Status)
	case ledger.Height <= block.BlockNumber || ledger.Height == block.BlockNumber+1 && ledger.BlockHash != block.BlockHash:
		return fmt.Errorf("%w: the ledger of height %d does not hold the block %d", ErrContent, ledger.Height, block.BlockNumber)
	}
	t := block.Transactions[at]
	if user, ok := strings.CutSuffix(t.CreateName, "@"+e.App); !ok || user == "" {
		return fmt.Errorf("%w: the transaction is one of %q, not of the application %s", ErrContent, t.CreateName, e.App)
	}
	if t.TimeSpanSec <= 0 || t.TimeSpanSec > maxUnix || t.TimeSpanNsec < 0 || t.TimeSpanNsec >= int64(time.Second) {
		return fmt.Errorf("%w: the transaction has no time", ErrContent)
	}
	a.Height, a.Time = block.BlockNumber, time.Unix(t.TimeSpanSec, t.TimeSpanNsec).UTC().Truncate(time.Millisecond)
	return nil
}

// maxUnix is the last second of the year 9999, the last that RFC 3339 can write.
const maxUnix = 253402300799

// hash reports whether s is a hash as Fabric writes them: 64 lower-case hex digits.
func hash(s string) bool {
	return len(s) == 64 && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

// WithPath returns evidence that stands beside an older checkpoint of its log: path is the
// consistency proof from that one to the evidence's own.
func WithPath(evidence []byte, path []merkle.Hash) (json.RawMessage, error) {
	e, err := ParseFabric(evidence)
	if err != nil {
		return nil, err
	}
	e.Path = path
	return e.Marshal()
}
