package chain

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// Submission is a checkpoint on its way to the chain.
type Submission struct {
	Checkpoint checkpoint.Checkpoint
	Signature  []byte        // the log's DER signature over the checkpoint's text
	OldSize    uint64        // size of the head that the chain has now
	Proof      []merkle.Hash // consistency proof from that head
}

// Transactions begin with a type byte:
//
//	1 checkpoint   u8-prefixed origin, u64 size, root, u64 old size, u8 count and hashes of
//	               the consistency proof, u8-prefixed DER signature
//	2 certificate  u64 epoch, u8 count, then for each header in ascending order u64 index,
//	               u8 count, then u8 validator and u8-prefixed DER signature each.
//	               Entered by proposers only, as the first transaction of a block
//	3 epoch        canonical JSON of an anchorproof.SignedEpoch
//	4 poke         u64 that makes it unique: headers are pending, make a block
const (
	txCheckpoint  = 1
	txCertificate = 2
	txEpoch       = 3
	txPoke        = 4
)

// maxTxBytes is the longest transaction that the mempool takes: a full signed epoch.
const maxTxBytes = anchorproof.MaxSignedEpochSize + 1

// Codes of refused transactions. They are hashed into the chain: never renumber them.
const (
	codeMalformed   uint32 = 1
	codeUnknownLog  uint32 = 2
	codeStale       uint32 = 3
	codeFork        uint32 = 4
	codeKnown       uint32 = 5
	codeCertificate uint32 = 6
	codeEpoch       uint32 = 7
	codePoke        uint32 = 8
	codeFull        uint32 = 9
	codeUnreadable  uint32 = 100 // of checks only: this node's own state cannot be read
)

// Why the chain refuses a transaction. Callers test with errors.Is.
var (
	// ErrMalformed: no validator can read the transaction, or the engine finds it too large.
	ErrMalformed = errors.New("malformed transaction")
	// ErrUnknownLog: the epoch does not admit this log, or another key signed.
	ErrUnknownLog = errors.New("not signed by a log that the chain admits")
	// ErrStale: the submission does not start at the log's head on the chain.
	ErrStale = errors.New("submission does not start at the chain's head of this log")
	// ErrFork: the chain holds another history of this log.
	ErrFork = errors.New("the chain holds another history of this log")
	// ErrKnown: exactly this checkpoint is committed already.
	ErrKnown = errors.New("checkpoint is committed already")
	// ErrEpoch: the epoch does not follow from the newest one, or comes too early after it.
	ErrEpoch = errors.New("epoch is refused")
	// ErrNothingPending: a poke is refused because every header has its certificate.
	ErrNothingPending = errors.New("nothing is pending")
	// errProposerOnly: a certificate came by the mempool, or does not hold.
	errProposerOnly = errors.New("certificates are entered by proposers only, and must hold")
	// errFull: the block has its MaxAnchors checkpoints; the next one takes more.
	errFull = errors.New("the block is full")
	// errUnreadable says nothing about the transaction.
	errUnreadable = errors.New("the chain's state cannot be read")
)

var codeErrors = map[uint32]error{
	codeMalformed: ErrMalformed, codeUnknownLog: ErrUnknownLog, codeStale: ErrStale, codeFork: ErrFork,
	codeKnown:       ErrKnown,
	codeCertificate: errProposerOnly, codeEpoch: ErrEpoch, codePoke: ErrNothingPending, codeFull: errFull,
	codeUnreadable: errUnreadable,
}

// refusal is the outcome of a transaction that is not executed.
type refusal struct {
	code   uint32
	detail string
	reason string // where the code alone does not say why, see reasonOf
}

func (r *refusal) Error() string { return fmt.Sprintf("%v: %s", codeErrors[r.code], r.detail) }

func (r *refusal) Unwrap() error { return codeErrors[r.code] }

func refuse(code uint32, format string, args ...any) error {
	return &refusal{code: code, detail: fmt.Sprintf(format, args...)}
}

// refuseFor is refuse where the code alone does not say why.
func refuseFor(reason string, code uint32, format string, args ...any) error {
	return &refusal{code: code, detail: fmt.Sprintf(format, args...), reason: reason}
}

// codeOf returns the code of a refusal. Other errors are failures of this node's own state,
// never the outcome of a transaction: the caller passes them on and the engine halts.
func codeOf(err error) (uint32, bool) {
	var r *refusal
	if errors.As(err, &r) {
		return r.code, true
	}
	return 0, false
}

func (s Submission) encode() ([]byte, error) {
	if len(s.Proof) > merkle.MaxPath {
		return nil, fmt.Errorf("%w: consistency proof of %d hashes", ErrMalformed, len(s.Proof))
	}
	var b cryptobyte.Builder
	b.AddUint8(txCheckpoint)
	addString(&b, s.Checkpoint.Origin)
	b.AddUint64(s.Checkpoint.Size)
	b.AddBytes(s.Checkpoint.Root[:])
	b.AddUint64(s.OldSize)
	addHashes(&b, s.Proof)
	addString(&b, string(s.Signature))
	out, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return out, nil
}

func decodeSubmission(body []byte) (Submission, error) {
	var s Submission
	in := cryptobyte.String(body)
	if !readString(&in, &s.Checkpoint.Origin) || !in.ReadUint64(&s.Checkpoint.Size) ||
		!readHash(&in, &s.Checkpoint.Root) ||
		!in.ReadUint64(&s.OldSize) || !readHashes(&in, &s.Proof) || !readBytes(&in, &s.Signature) || !in.Empty() {
		return s, refuse(codeMalformed, "checkpoint transaction")
	}
	// The text form is what the log signed and what validators commit to.
	if again, err := checkpoint.Parse(s.Checkpoint.Text()); err != nil || again != s.Checkpoint {
		return s, refuse(codeMalformed, "checkpoint")
	}
	return s, nil
}

// certificate is a quorum of cosignatures of one header.
type certificate struct {
	index uint64
	sigs  []anchorproof.Cosignature
}

// maxCertificates bounds the certificates of one block; a vote extension holds fewer.
const maxCertificates = 2 * maxExtensionItems

func encodeCertificates(epoch uint64, certs []certificate) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(txCertificate)
	b.AddUint64(epoch)
	b.AddUint8(uint8(len(certs)))
	for _, c := range certs {
		b.AddUint64(c.index)
		addCosignatures(&b, c.sigs)
	}
	return b.Bytes()
}

func decodeCertificates(body []byte) (epoch uint64, certs []certificate, err error) {
	in := cryptobyte.String(body)
	var n uint8
	if !in.ReadUint64(&epoch) || !in.ReadUint8(&n) || n == 0 || n > maxCertificates {
		return 0, nil, refuse(codeMalformed, "certificate transaction")
	}
	certs = make([]certificate, n)
	for i := range certs {
		if !in.ReadUint64(&certs[i].index) || !readCosignatures(&in, &certs[i].sigs) || i > 0 &&
			certs[i].index <= certs[i-1].index {
			return 0, nil, refuse(codeMalformed, "certificate %d", i)
		}
	}
	if !in.Empty() {
		return 0, nil, refuse(codeMalformed, "certificate transaction has trailing bytes")
	}
	return epoch, certs, nil
}

func encodePoke(nonce uint64) []byte {
	var b cryptobyte.Builder
	b.AddUint8(txPoke)
	b.AddUint64(nonce)
	return b.BytesOrPanic()
}
