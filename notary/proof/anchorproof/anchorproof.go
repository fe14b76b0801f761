// Package anchorproof holds the formats of the e-government chain that a verifier needs,
// and their verification: anchor headers, epochs, hand-overs from one epoch to the next,
// and the evidence that a checkpoint was anchored.
//
// Everything is text or canonical JSON, signed with SM2 and hashed with SM3. No engine is
// named and nothing of one is needed: whoever holds the text of epoch 0 can check an
// anchor in a closed room. The package does no I/O, keeps no state and is safe for
// concurrent use; it is built for browsers too.
//
// # What is signed by whom
//
//   - A validator cosigns [Header.Text] with its SM2 key: "this block was decided, and its
//     time is what my own clock vouches for". Evidence needs more than two thirds of the
//     power of the header's epoch.
//   - A validator signs [Epoch.Text] of the epoch after its own: "these members and logs
//     come next". A new member signs the same text with both of its own keys (a [Join]).
//   - A log signs its checkpoint's text; that signature is checked by the chain and by the
//     verifier of the checkpoint, and is no part of the evidence.
//
// The first lines of the three texts differ and a checkpoint has exactly three lines, so
// no signature over one can pass for a signature over another.
//
// # One encoding
//
// Every parser accepts exactly one spelling of a value: it reads, formats what it read, and
// refuses the input when the two differ. Hex is lower case, base64 is standard with
// padding, numbers are decimal without leading zeros.
package anchorproof

import (
	"errors"
	"strconv"
	"strings"

	"stele/crypto/signednote"
	"stele/notary/proof/checkpoint"
)

// Kind names this kind of evidence inside a bundle.
const Kind = "stele/egov/v1"

// Limits. Parsers refuse what exceeds them before they look at it; the chain refuses to
// commit what a verifier would refuse.
const (
	// MaxChainID is the longest chain id in bytes. Engines limit it: CometBFT to 50.
	MaxChainID = 50
	// MaxNumber bounds epoch numbers, header indexes and heights, as it bounds log sizes:
	// the largest integer that databases and JavaScript share (2^53 - 1).
	MaxNumber = checkpoint.MaxSize
	// MaxHeaderSize is the longest header text in bytes (324 with the longest fields).
	MaxHeaderSize = 400
	// MaxAnchors is the largest number of checkpoints under one header.
	MaxAnchors = 1024
	// MaxValidators is the largest number of validators of an epoch. A cosignature takes
	// about 100 bytes of evidence, so a full set stays under 10 KB.
	MaxValidators = 64
	// MaxNotaries is the largest number of logs that one epoch admits.
	MaxNotaries = 256
	// MaxPower is the largest voting power of one validator.
	MaxPower = 1_000_000
	// MaxEpochSize is the longest epoch text in bytes (91,500 with all lists and names full).
	MaxEpochSize = 96 << 10
	// MaxSignedEpochSize is the longest canonical JSON of a signed epoch in bytes.
	MaxSignedEpochSize = 128 << 10
	// MaxEvidenceSize is the longest evidence in bytes: 0.3 KB, 100 bytes a cosigner, and the
	// epochs since the pinned one, 0.6 to 0.9 KB each with four members and a few logs.
	MaxEvidenceSize = 1 << 20
)

// Which part of an evidence does not hold. Every error of this package wraps one of these.
var (
	// ErrFormat: a text or JSON is not the one spelling of a value within the limits.
	ErrFormat = errors.New("malformed")
	// ErrChain: the evidence or epoch speaks of another chain than the pinned one.
	ErrChain = errors.New("other chain")
	// ErrHandOver: an epoch does not follow from the one before it.
	ErrHandOver = errors.New("epoch hand-over does not hold")
	// ErrQuorum: signatures are wrong, unordered or carry too little power.
	ErrQuorum = errors.New("no quorum of valid signatures")
	// ErrInclusion: the checkpoint is not among those that the header commits.
	ErrInclusion = errors.New("checkpoint is not under the header")
)

// ValidChainID reports whether s can name a chain: 1 to [MaxChainID] printable ASCII
// characters without space and plus sign.
func ValidChainID(s string) bool { return len(s) <= MaxChainID && signednote.ValidName(s) }

// value returns what follows "key " in a line, or "" when the line has another key.
func value(line, key string) string {
	v, ok := strings.CutPrefix(line, key+" ")
	if !ok {
		return ""
	}
	return v
}

// decimal reads a number of at most max. It is lenient about spelling: callers compare the
// formatted value with their whole input.
func decimal(s string, max uint64) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= max
}
