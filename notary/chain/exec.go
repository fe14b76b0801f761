package chain

import (
	"encoding/binary"
	"fmt"

	"stele/crypto/merkle"
	"stele/notary/proof/anchorproof"
	"stele/notary/proof/checkpoint"
)

// block is one block being executed over a state that it does not change. The same code
// serves mempool checks, proposals and execution, so that what one accepts no other drops:
// a transaction that the mempool keeps and every proposal leaves out would make a silent
// chain produce empty blocks for ever.
type block struct {
	*overlay
	meta      *meta
	height    uint64
	anchors   []checkpoint.Checkpoint
	handOver  *anchorproof.SignedEpoch // accepted in this block
	certified int                      // headers certified in this block
	closed    *anchorproof.Header      // by this block, see begin
	poked     bool
	epochs    func(get getter, number uint64) (anchorproof.Epoch, error)
}

// begin closes the header that the previous block opened: its time is this block's time,
// the median of the votes that decided the previous block.
func (b *block) begin(timeMs int64) {
	if o := b.meta.open; o != nil {
		o.TimeMs = timeMs
		b.put(key("h/", o.Index), []byte(o.Text()))
		b.put(key("p/", o.Index), []byte{1})
		addLeaf(b.meta.history, *o, b.put)
		b.closed, b.meta.open = o, nil
		b.meta.pending++
		b.meta.retries = 0
	}
	b.meta.height, b.meta.timeMs = b.height, timeMs
}

// exec executes the position-th transaction. A [refusal] leaves the block as it was; any
// other error is a failure of this node's own state.
func (b *block) exec(tx []byte, position int) error {
	if len(tx) == 0 {
		return refuse(codeMalformed, "empty transaction")
	}
	body := tx[1:]
	var err error
	switch tx[0] {
	case txCheckpoint:
		err = b.execCheckpoint(body)
	case txCertificate:
		if position != 0 {
			return refuse(codeCertificate, "not the first transaction of a block")
		}
		err = b.execCertificates(body)
	case txEpoch:
		err = b.execEpoch(body)
	case txPoke:
		if len(body) != 8 {
			return refuse(codeMalformed, "poke transaction")
		}
		if b.meta.pending == 0 {
			return refuse(codePoke, "every header has its certificate")
		}
		b.poked = true
	default:
		return refuse(codeMalformed, "unknown transaction type %d", tx[0])
	}
	if b.err != nil {
		return b.err
	}
	return err
}

func (b *block) execCheckpoint(body []byte) error {
	s, err := decodeSubmission(body)
	if err != nil {
		return err
	}
	// The epoch of the next block certifies this block's header at the earliest, a later one if
	// cosigners are away. Whichever it is, the evidence carries the epoch that admits the key.
	epoch, err := b.epochs(b.get, b.meta.epochOf(b.height+1))
	if err != nil {
		return err
	}
	c := s.Checkpoint
	if k := epoch.Notary(c.Origin); k == nil || !k.Verify([]byte(c.Text()), s.Signature) {
		return refuse(codeUnknownLog, "checkpoint of %q", c.Origin)
	}
	head, err := headOf(b.get, c.Origin)
	if err != nil {
		return err
	}
	if c.Size <= head.Size {
		return b.refuseOld(c, head)
	}
	if s.OldSize != head.Size {
		return refuse(codeStale, "it starts at %d, the head of %s is %d", s.OldSize, c.Origin, head.Size)
	}
	if err := merkle.VerifyConsistency(head.Size, c.Size, head.Root, c.Root, s.Proof); err != nil {
		return refuseFor(RefusedProof, codeFork, "%s: size %d with root %s does not extend size %d with root %s",
			c.Origin, c.Size, c.Root, head.Size, head.Root)
	}
	if len(b.anchors) >= anchorproof.MaxAnchors {
		return refuse(codeFull, "%d checkpoints", anchorproof.MaxAnchors)
	}
	b.put("l/"+c.Origin, []byte(c.Text()))
	b.put(placeKey(c.Origin, c.Size), located{index: b.meta.history.Size(), position: uint64(len(b.anchors))}.encode())
	b.anchors = append(b.anchors, c)
	return nil
}

// refuseOld tells a repetition, a rollback and a second history apart.
func (b *block) refuseOld(c, head checkpoint.Checkpoint) error {
	if c == head {
		return refuse(codeKnown, "%s at size %d", c.Origin, c.Size)
	}
	if c.Size == head.Size {
		return refuse(codeFork, "%s: size %d is committed with root %s", c.Origin, c.Size, head.Root)
	}
	raw := b.get(placeKey(c.Origin, c.Size))
	if raw == nil {
		return refuseFor(RefusedSmaller, codeStale, "%s: size %d is behind the head %d", c.Origin, c.Size, head.Size)
	}
	old, err := b.checkpointAt(raw)
	if err != nil {
		return err
	}
	if old == c {
		return refuse(codeKnown, "%s at size %d", c.Origin, c.Size)
	}
	return refuse(codeFork, "%s: size %d is committed with root %s", c.Origin, c.Size, old.Root)
}

// checkpointAt reads a committed checkpoint, of this block or an earlier one.
func (b *block) checkpointAt(place []byte) (checkpoint.Checkpoint, error) {
	l, err := decodeLocated(place)
	if err != nil {
		return checkpoint.Checkpoint{}, err
	}
	cs := b.anchors
	if l.index != b.meta.history.Size() {
		if cs, err = anchorsAt(b.get, l.index); err != nil {
			return checkpoint.Checkpoint{}, err
		}
	}
	if l.position >= uint64(len(cs)) {
		return checkpoint.Checkpoint{}, fmt.Errorf("chain state: header %d has no checkpoint %d", l.index, l.position)
	}
	return cs[l.position], nil
}

// execCertificates checks all certificates before it enters any.
func (b *block) execCertificates(body []byte) error {
	number, certs, err := decodeCertificates(body)
	if err != nil {
		return err
	}
	// Extensions were signed in the votes on the block before, by the epoch of that height.
	if want := b.meta.epochOf(b.height - 1); number != want {
		return refuse(codeCertificate, "of epoch %d, epoch %d voted", number, want)
	}
	epoch, err := b.epochs(b.get, number)
	if err != nil {
		return err
	}
	for _, c := range certs {
		if b.get(key("p/", c.index)) == nil {
			return refuse(codeCertificate, "header %d is not pending", c.index)
		}
		// It has its time from this block. Who signed it in votes on the block before signed a
		// guess, and perhaps as the epoch before the one that admits the log's key.
		if b.closed != nil && b.closed.Index == c.index {
			return refuse(codeCertificate, "header %d is closed by this block, votes on it come later", c.index)
		}
		h, err := headerAt(b.get, c.index)
		if err != nil {
			return err
		}
		h.Epoch = number
		if _, err := epoch.CheckQuorum(h.Text(), c.sigs); err != nil {
			return refuse(codeCertificate, "header %d: %v", c.index, err)
		}
	}
	for _, c := range certs {
		b.put(key("c/", c.index), encodeStoredCertificate(number, c.sigs))
		noteFirst(b.get, b.put, number, c.index)
		b.del(key("p/", c.index))
		b.del(key("s/", c.index))
		b.meta.pending--
		b.certified++
	}
	return nil
}

func (b *block) execEpoch(body []byte) error {
	s, err := anchorproof.ParseSignedEpoch(body)
	if err != nil {
		return refuse(codeMalformed, "%v", err)
	}
	current, err := b.epochs(b.get, b.meta.epoch)
	if err != nil {
		return err
	}
	if b.handOver != nil || b.height < b.meta.epochAt {
		return refuse(codeEpoch, "epoch %d is not in office yet", current.Number)
	}
	if err := current.CheckNext(s); err != nil {
		return refuse(codeEpoch, "%v", err)
	}
	b.handOver = &s
	b.put(key("e/", s.Number), body)
	return nil
}

// end opens a header for the checkpoints of this block and settles what comes next.
func (b *block) end() error {
	if len(b.anchors) > 0 {
		b.openHeader()
	}
	if b.handOver != nil {
		// The engine lets a new set of validators vote from the second block after this one.
		b.meta.epoch, b.meta.epochAt = b.handOver.Number, b.height+2
	}
	if b.certified > 0 || b.poked {
		b.meta.retries = 0
	}
	if b.meta.pending > 0 && b.meta.retries < maxRetries {
		b.meta.retries++
		b.meta.beat++
	}
	newest, err := b.epochs(b.get, b.meta.epoch)
	if err != nil {
		return err
	}
	b.meta.appHash = b.meta.hash(newest)
	b.put(metaKey, b.meta.encode())
	return b.err
}

func (b *block) openHeader() {
	index := b.meta.history.Size()
	var texts []byte
	for _, c := range b.anchors {
		texts = append(texts, c.Text()...)
	}
	b.put(key("a/", index), texts)
	b.meta.open = &anchorproof.Header{Chain: b.chain(), Index: index, Height: b.height, Count: uint64(len(b.anchors)),
		Anchors: merkle.ListRoot(leavesOf(b.anchors)), History: b.meta.history.Root()}
}

// chain is the chain id, which every epoch repeats.
func (b *block) chain() string {
	e, err := b.epochs(b.get, 0)
	if err != nil && b.err == nil {
		b.err = err
	}
	return e.Chain
}

func encodeMs(ms int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(ms)) }

func decodeMs(raw []byte) (int64, bool) {
	if len(raw) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(raw)), true
}
