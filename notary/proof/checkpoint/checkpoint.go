// Package checkpoint is the log's signed size and root: a signed note whose text has the
// lines origin, size and base64 root (modelled on C2SP tlog-checkpoint, with SM2 and SM3).
package checkpoint

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
)

// MaxSize is the largest log size that is ever written, so that a size also fits the
// signed integers of databases and of JavaScript (2^53 - 1).
const MaxSize = 1<<53 - 1

// Checkpoint is what the log vouches for.
type Checkpoint struct {
	Origin string // the log's name, see [signednote.ValidName]
	Size   uint64 // number of leaves
	Root   merkle.Hash
}

// ErrFormat reports text that is no checkpoint's one spelling.
var ErrFormat = errors.New("a checkpoint must have exactly three lines: origin, size in decimal, base64 of a " +
	"32-byte root")

// Text is what is signed and what a chain commits: origin, size and base64 root, a line each.
func (c Checkpoint) Text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// Parse is the inverse of [Checkpoint.Text] and accepts no other spelling.
func Parse(text string) (Checkpoint, error) {
	var c Checkpoint
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || !signednote.ValidName(lines[0]) {
		return c, ErrFormat
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || err2 != nil || len(root) != merkle.HashSize || size > MaxSize {
		return c, ErrFormat
	}
	c = Checkpoint{Origin: lines[0], Size: size, Root: merkle.Hash(root)}
	if c.Text() != text {
		return c, ErrFormat
	}
	return c, nil
}

// Sign returns the signed note and checks that it opens again under the signer's own key:
// nothing leaves that a verifier would refuse.
func Sign(c Checkpoint, s *signednote.Signer) ([]byte, error) {
	if c.Origin != s.Name() {
		return nil, fmt.Errorf("sign checkpoint of %q with the key of %q", c.Origin, s.Name())
	}
	msg, err := signednote.Sign(c.Text(), s)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	again, _, err := Open(msg, &s.Verifier)
	if err != nil || again != c {
		return nil, fmt.Errorf("own checkpoint does not open: %w", err)
	}
	return msg, nil
}

// Open verifies the one signature of a checkpoint under one of the given keys, whose name
// must be the checkpoint's origin, and returns the key that made it.
func Open(msg []byte, keys ...*signednote.Verifier) (Checkpoint, *signednote.Verifier, error) {
	text, by, err := signednote.Open(msg, keys...)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	c, err := Parse(text)
	if err != nil {
		return c, nil, err
	}
	if c.Origin != by.Name() {
		return c, nil, fmt.Errorf("checkpoint of %q is signed by the key of %q", c.Origin, by.Name())
	}
	return c, by, nil
}

// ParseUnsafe reads the text of a signed checkpoint without checking any signature. It
// serves to find out which log a note speaks of, never to believe it.
func ParseUnsafe(msg []byte) (Checkpoint, error) {
	text, _, ok := strings.Cut(string(msg), "\n\n")
	if !ok || len(msg) > signednote.MaxNoteSize {
		return Checkpoint{}, ErrFormat
	}
	return Parse(text + "\n")
}
