package anchorproof

import (
	"fmt"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
)

// Header speaks for one block that committed checkpoints. It is what validators cosign.
//
// Its text has exactly eight lines, each ended by a line feed:
//
//	stele/anchor/v1
//	chain <chain id>
//	epoch <n>
//	index <i>
//	height <h>
//	time <RFC 3339, three digits of milliseconds, Z>
//	anchors <count> <64 hex digits>
//	history <64 hex digits>
//
// The anchors root is the Merkle root over the texts of the block's checkpoints in the
// order of their transactions. The history root is the Merkle root over the leaves
// ([Header.Leaf]) of headers 0 to index-1, so that one header vouches for all before it.
// Both trees are RFC 6962 with SM3.
//
// A Header is a comparable value; the zero value is no valid header.
type Header struct {
	Chain   string
	Epoch   uint64      // the epoch whose validators cosign, see [Header.Leaf]
	Index   uint64      // position in the history tree, 0 for the first
	Height  uint64      // of the block that committed the checkpoints, at least 1
	TimeMs  int64       // Unix milliseconds: the time of the block after Height
	Count   uint64      // number of checkpoints, 1 to MaxAnchors
	Anchors merkle.Hash // root over the checkpoints' texts
	History merkle.Hash // root over the leaves of all headers before this one
}

const (
	headerMagic = "stele/anchor/v1"
	timeLayout  = "2006-01-02T15:04:05.000Z"
	// maxTimeMs is the last millisecond of year 9999, where RFC 3339 ends.
	maxTimeMs = 253402300799999
)

// Time is the header's time in UTC: when the block's decision was known, as the median of
// the validators' clocks has it.
func (h Header) Time() time.Time { return time.UnixMilli(h.TimeMs).UTC() }

// Text is what validators sign. It is meant for valid headers: see [ParseHeader].
func (h Header) Text() string { return h.text(fmt.Sprintf("epoch %d\n", h.Epoch)) }

// Leaf is the header's leaf in the history tree: SM3(0x00 ‖ text without its epoch line).
//
// The epoch line says who cosigns, not what happened. A header whose quorum comes together
// only after a hand-over is cosigned by the later epoch; were the line hashed, the leaf
// (and every history root since) would depend on when the signers came back.
func (h Header) Leaf() merkle.Hash { return merkle.LeafHash([]byte(h.text(""))) }

func (h Header) text(epochLine string) string {
	return fmt.Sprintf("%s\nchain %s\n%sindex %d\nheight %d\ntime %s\nanchors %d %s\nhistory %s\n",
		headerMagic, h.Chain, epochLine, h.Index, h.Height, h.Time().Format(timeLayout), h.Count, h.Anchors, h.History)
}

// check reports whether every field is within its limits.
func (h Header) check() error {
	switch {
	case !ValidChainID(h.Chain):
		return fmt.Errorf("%w header: chain id", ErrFormat)
	case h.Epoch > MaxNumber || h.Index > MaxNumber:
		return fmt.Errorf("%w header: epoch or index exceeds 2^53-1", ErrFormat)
	case h.Height == 0 || h.Height > MaxNumber:
		return fmt.Errorf("%w header: height must be 1 to 2^53-1", ErrFormat)
	case h.TimeMs < 0 || h.TimeMs > maxTimeMs:
		return fmt.Errorf("%w header: time must be in years 1970 to 9999", ErrFormat)
	case h.Count == 0 || h.Count > MaxAnchors:
		return fmt.Errorf("%w header: 1 to %d anchors", ErrFormat, MaxAnchors)
	}
	return nil
}

// ParseHeader is the inverse of [Header.Text] and accepts no other spelling.
func ParseHeader(text string) (Header, error) {
	var h Header
	if len(text) > MaxHeaderSize {
		return h, fmt.Errorf("%w header: longer than %d bytes", ErrFormat, MaxHeaderSize)
	}
	l := strings.Split(text, "\n")
	if len(l) != 9 || l[0] != headerMagic {
		return h, fmt.Errorf("%w header: want %q and seven lines more", ErrFormat, headerMagic)
	}
	t, err := time.Parse(timeLayout, value(l[5], "time"))
	if err != nil {
		return h, fmt.Errorf("%w header: time must look like %s", ErrFormat, timeLayout)
	}
	count, anchors, _ := strings.Cut(value(l[6], "anchors"), " ")
	ok := [6]bool{}
	h.Chain, h.TimeMs = value(l[1], "chain"), t.UnixMilli()
	h.Epoch, ok[0] = decimal(value(l[2], "epoch"), MaxNumber)
	h.Index, ok[1] = decimal(value(l[3], "index"), MaxNumber)
	h.Height, ok[2] = decimal(value(l[4], "height"), MaxNumber)
	h.Count, ok[3] = decimal(count, MaxAnchors)
	h.Anchors, ok[4] = digest(anchors)
	h.History, ok[5] = digest(value(l[7], "history"))
	if ok != [6]bool{true, true, true, true, true, true} {
		return Header{}, fmt.Errorf("%w header: epoch, index, height, anchors or history", ErrFormat)
	}
	if err := h.check(); err != nil {
		return Header{}, err
	}
	if h.Text() != text {
		return Header{}, fmt.Errorf("%w header: not in canonical form", ErrFormat)
	}
	return h, nil
}

func digest(s string) (merkle.Hash, bool) {
	d, err := sm.ParseDigest(s)
	return d, err == nil
}
