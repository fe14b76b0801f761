package chain

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// maxRetries is how many blocks in a row the chain makes for pending headers without
// progress before it falls silent. Eight leave room for signers that answer a little late.
const maxRetries = 8

// meta is the part of the state that every block touches. Copies share nothing that is
// written: clone makes one.
type meta struct {
	height  uint64
	timeMs  int64            // of the newest block, Unix milliseconds
	history *merkle.Frontier // over the leaves of closed headers
	open    *anchorproof.Header
	pending uint64 // headers without certificate
	retries uint64 // blocks made for pending headers since the last progress
	beat    uint64 // all such blocks ever: moves the application hash, so that a block follows
	epoch   uint64 // newest accepted
	epochAt uint64 // height from which its validators vote
	appHash merkle.Hash
}

const metaKey = "m"

func (m *meta) clone() *meta {
	c := *m
	c.history = m.history.Clone()
	if m.open != nil {
		h := *m.open
		c.open = &h
	}
	return &c
}

// epochOf is the epoch whose validators vote at a height: the one rule about hand-overs.
func (m *meta) epochOf(height uint64) uint64 {
	if height >= m.epochAt || m.epoch == 0 {
		return m.epoch
	}
	return m.epoch - 1
}

func (m *meta) encode() []byte {
	var b cryptobyte.Builder
	b.AddUint64(m.height)
	b.AddUint64(uint64(m.timeMs))
	b.AddUint64(m.history.Size())
	addHashes(&b, m.history.Hashes())
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		if m.open != nil {
			b.AddBytes([]byte(m.open.Text()))
		}
	})
	for _, n := range []uint64{m.pending, m.retries, m.beat, m.epoch, m.epochAt} {
		b.AddUint64(n)
	}
	b.AddBytes(m.appHash[:])
	return b.BytesOrPanic()
}

func decodeMeta(raw []byte) (*meta, error) {
	var m meta
	var timeMs, size uint64
	var hashes []merkle.Hash
	var open cryptobyte.String
	in := cryptobyte.String(raw)
	ok := in.ReadUint64(&m.height) && in.ReadUint64(&timeMs) && in.ReadUint64(&size) && readHashes(&in, &hashes) &&
		in.ReadUint16LengthPrefixed(&open)
	for _, n := range []*uint64{&m.pending, &m.retries, &m.beat, &m.epoch, &m.epochAt} {
		ok = ok && in.ReadUint64(n)
	}
	if !ok || !readHash(&in, &m.appHash) || !in.Empty() {
		return nil, errors.New("chain state: meta is damaged")
	}
	m.timeMs = int64(timeMs)
	var err error
	if m.history, err = merkle.NewFrontier(size, hashes); err != nil {
		return nil, fmt.Errorf("chain state: %w", err)
	}
	if len(open) > 0 {
		h, err := anchorproof.ParseHeader(string(open))
		if err != nil {
			return nil, fmt.Errorf("chain state: open header: %w", err)
		}
		m.open = &h
	}
	return &m, nil
}

// hash is the application hash: what validators agree on with every block, and what makes a
// further block follow when it changes. Heads and anchors are covered by the headers'
// roots. Certificates are left out: they prove themselves, and would cost a block each.
func (m *meta) hash(newest anchorproof.Epoch) merkle.Hash {
	var b strings.Builder
	epoch := newest.Hash()
	fmt.Fprintf(&b, "stele/apphash/v1\nhistory %d %s\nepoch %d %s from %d\nbeat %d\n", m.history.Size(),
		m.history.Root(), m.epoch, epoch, m.epochAt, m.beat)
	if m.open != nil {
		b.WriteString(m.open.Text())
	}
	return sm.Sum([]byte(b.String()))
}

// located is where a committed checkpoint stands.
type located struct {
	index    uint64 // of the header
	position uint64 // under it
}

func (l located) encode() []byte {
	var b cryptobyte.Builder
	b.AddUint64(l.index)
	b.AddUint64(l.position)
	return b.BytesOrPanic()
}

func decodeLocated(raw []byte) (l located, err error) {
	in := cryptobyte.String(raw)
	if !in.ReadUint64(&l.index) || !in.ReadUint64(&l.position) || !in.Empty() {
		return l, errors.New("chain state: place of a checkpoint is damaged")
	}
	return l, nil
}

func placeKey(origin string, size uint64) string { return key("i/"+origin+"/", size) }

// headOf is the newest committed checkpoint of a log; the empty log when there is none.
func headOf(get getter, origin string) (checkpoint.Checkpoint, error) {
	raw := get("l/" + origin)
	if raw == nil {
		return checkpoint.Checkpoint{Origin: origin, Root: merkle.EmptyRoot()}, nil
	}
	return checkpoint.Parse(string(raw))
}

func headerAt(get getter, index uint64) (anchorproof.Header, error) {
	raw := get(key("h/", index))
	if raw == nil {
		return anchorproof.Header{}, fmt.Errorf("chain state: header %d is missing", index)
	}
	return anchorproof.ParseHeader(string(raw))
}

// anchorsAt reads the checkpoints of a header, three lines each.
func anchorsAt(get getter, index uint64) ([]checkpoint.Checkpoint, error) {
	lines := strings.SplitAfter(string(get(key("a/", index))), "\n")
	var out []checkpoint.Checkpoint
	for ; len(lines) >= 3; lines = lines[3:] {
		c, err := checkpoint.Parse(strings.Join(lines[:3], ""))
		if err != nil {
			return nil, fmt.Errorf("chain state: anchors of header %d: %w", index, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 || len(lines) != 1 || lines[0] != "" {
		return nil, fmt.Errorf("chain state: anchors of header %d are damaged", index)
	}
	return out, nil
}

func loadEpoch(get getter, number uint64) (anchorproof.SignedEpoch, error) {
	raw := get(key("e/", number))
	if raw == nil {
		return anchorproof.SignedEpoch{}, fmt.Errorf("chain state: epoch %d is missing", number)
	}
	return anchorproof.ParseSignedEpoch(raw)
}

func encodeStoredCertificate(epoch uint64, sigs []anchorproof.Cosignature) []byte {
	var b cryptobyte.Builder
	b.AddUint64(epoch)
	addCosignatures(&b, sigs)
	return b.BytesOrPanic()
}

func decodeStoredCertificate(raw []byte) (epoch uint64, sigs []anchorproof.Cosignature, err error) {
	in := cryptobyte.String(raw)
	if !in.ReadUint64(&epoch) || !readCosignatures(&in, &sigs) || !in.Empty() {
		return 0, nil, errors.New("chain state: certificate is damaged")
	}
	return epoch, sigs, nil
}

func leavesOf(cs []checkpoint.Checkpoint) []merkle.Hash {
	out := make([]merkle.Hash, len(cs))
	for i, c := range cs {
		out[i] = merkle.LeafHash([]byte(c.Text()))
	}
	return out
}
