package bsnproof

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stele/crypto/sm"
	"stele/notary/proof/checkpoint"
)

// What is wrong with evidence. Every error of this package wraps one of these.
var (
	// ErrFormat: not the one spelling of a value within the limits.
	ErrFormat = errors.New("malformed")
	// ErrMac: an answer does not bear a mac of the pinned gateway key.
	ErrMac = errors.New("the gateway's mac does not verify")
	// ErrContent: the answers do not say that this checkpoint is final.
	ErrContent = errors.New("the gateway's answers do not say so")
)

// MaxEntries is the largest number of an entry.
const MaxEntries = checkpoint.MaxSize

// Key is the base chaincode's key of a log's nth entry; n begins at 1.
func Key(origin string, n uint64) string {
	d := sm.Sum([]byte(origin))
	return "stele/" + hex.EncodeToString(d[:16]) + "/" + strconv.FormatUint(n, 10)
}

// parseKey returns the number of a log's entry.
func parseKey(origin, key string) (n uint64, ok bool) {
	prefix, _ := strings.CutSuffix(Key(origin, 0), "0")
	digits, ok := strings.CutPrefix(key, prefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && n >= 1 && n <= MaxEntries && Key(origin, n) == key
}

// maxSignature bounds the log's signature in a value, in bytes.
const maxSignature = sm.MaxSignatureSize

// Value is what an entry says: the checkpoint's text, and on a line of its own the log's
// signature over it in base64. The signature is for whoever reads the chain; a verifier of
// evidence gets the checkpoint signed elsewhere.
func Value(c checkpoint.Checkpoint, signature []byte) string {
	return c.Text() + base64.StdEncoding.EncodeToString(signature) + "\n"
}

// ParseValue is the inverse of [Value] and accepts no other spelling.
func ParseValue(value string) (checkpoint.Checkpoint, []byte, error) {
	lines := strings.SplitAfter(value, "\n")
	if len(lines) != 5 || lines[4] != "" {
		return checkpoint.Checkpoint{}, nil, fmt.Errorf("%w entry: four lines are expected", ErrFormat)
	}
	c, err := checkpoint.Parse(strings.Join(lines[:3], ""))
	if err != nil {
		return c, nil, fmt.Errorf("%w entry: %v", ErrFormat, err)
	}
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(lines[3], "\n"))
	if err != nil || len(sig) == 0 || len(sig) > maxSignature || Value(c, sig) != value {
		return c, nil, fmt.Errorf("%w entry: no signature in base64", ErrFormat)
	}
	return c, sig, nil
}
