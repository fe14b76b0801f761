package chain

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"golang.org/x/crypto/cryptobyte"

	"stele/crypto/sm"
	"stele/notary/proof/anchorproof"
)

// A vote extension is u8 count, then for each header u64 index, u64 time in Unix
// milliseconds, u8-prefixed DER signature. Nothing at all means that the validator abstains.
const (
	// maxExtensionItems is how many headers one extension cosigns: about 1.4 KB.
	maxExtensionItems = 16
	// maxExtensionBytes is the longest extension that votes may carry.
	maxExtensionBytes = 8 << 10
)

// How far a header's time may be from what a validator's own clock says, so that "two
// thirds signed" also means "two thirds vouch for the time".
const (
	maxAhead  = 2 * time.Second  // later than now: the median ran ahead
	maxBehind = 10 * time.Second // earlier than when this node first saw the block: backdated
)

type extensionItem struct {
	index  uint64
	timeMs int64
	sig    []byte
}

func encodeExtension(items []extensionItem) []byte {
	if len(items) == 0 {
		return nil
	}
	var b cryptobyte.Builder
	b.AddUint8(uint8(len(items)))
	for _, it := range items {
		b.AddUint64(it.index)
		b.AddUint64(uint64(it.timeMs))
		addString(&b, string(it.sig))
	}
	return b.BytesOrPanic()
}

func decodeExtension(raw []byte) ([]extensionItem, bool) {
	if len(raw) == 0 {
		return nil, true
	}
	in := cryptobyte.String(raw)
	var n uint8
	if len(raw) > maxExtensionBytes || !in.ReadUint8(&n) || n == 0 || n > maxExtensionItems {
		return nil, false
	}
	items := make([]extensionItem, n)
	for i := range items {
		var timeMs uint64
		if !in.ReadUint64(&items[i].index) || !in.ReadUint64(&timeMs) || !readBytes(&in, &items[i].sig) ||
			len(items[i].sig) > sm.MaxSignatureSize {
			return nil, false
		}
		items[i].timeMs = int64(timeMs)
	}
	return items, in.Empty()
}

// window returns pending headers for the next votes: all of them, or as many as fit beside
// the open one, moving on with every beat so that headers which never find a quorum do
// not keep others from theirs. All validators of a height see the same window.
func (a *app) window(m *meta) ([]anchorproof.Header, error) {
	const room = maxExtensionItems - 1
	var skip uint64
	if m.pending > room {
		skip = m.beat * room % m.pending
	}
	keys, err := a.store.keys("p/", skip, room)
	if err != nil {
		return nil, err
	}
	out := make([]anchorproof.Header, len(keys))
	err = a.store.view(func(get getter) error {
		for i, k := range keys {
			var err error
			if out[i], err = headerAt(get, keyNumber(k)); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// vouches reports whether this node's own clock stands for a header's time.
func (a *app) vouches(h anchorproof.Header) bool {
	now := a.clock()
	if h.Time().After(now.Add(maxAhead)) {
		return false
	}
	raw, err := a.store.get(key("s/", h.Index))
	seenMs, ok := decodeMs(raw)
	if err != nil || !ok {
		return false
	}
	seen := time.UnixMilli(seenMs)
	// A first sight in the future was taken by a clock that has been set back since: it says
	// nothing. Otherwise a single leap would leave a header pending for ever.
	return seen.After(now.Add(maxAhead)) || !h.Time().Before(seen.Add(-maxBehind))
}

// cosignItems signs those headers that this node can sign: it must be a validator of the
// epoch with the key it has, vouch for the time, and have its key device at hand.
func (a *app) cosignItems(number uint64, headers []anchorproof.Header) ([]extensionItem, error) {
	epoch, err := a.epoch(number)
	if err != nil {
		return nil, err
	}
	me := validatorIndex(epoch, a.address)
	if me < 0 || !epoch.Validators[me].Key.Equal(a.cosigner.public) {
		return nil, nil
	}
	var texts []string
	var items []extensionItem
	for _, h := range headers {
		if !a.vouches(h) {
			if h.Index >= a.warned { // once: a header that waits for ever comes with every vote
				a.warned = h.Index + 1
				a.log.Warn("abstaining from a header whose time the own clock does not vouch for", "index", h.Index,
					"time", h.Time(), "now", a.clock())
			}
			continue
		}
		h.Epoch = number
		texts = append(texts, h.Text())
		items = append(items, extensionItem{index: h.Index, timeMs: h.TimeMs})
	}
	for i, sig := range a.cosigner.cosign(texts) {
		items[i].sig = sig
	}
	return slices.DeleteFunc(items, func(it extensionItem) bool { return it.sig == nil }), nil
}

// extend makes the extension of this node's vote on the block at height, whose time closes
// the open header.
func (a *app) extend(height uint64, blockTime time.Time) ([]byte, error) {
	headers, err := a.window(a.meta)
	if err != nil {
		return nil, err
	}
	if o := a.meta.open; o != nil {
		h := *o
		h.TimeMs = blockTime.UnixMilli()
		headers = append(headers, h)
	}
	if len(headers) == 0 {
		return nil, nil
	}
	items, err := a.cosignItems(a.meta.epochOf(height), headers)
	if err != nil {
		return nil, err
	}
	return encodeExtension(items), nil
}

// collect makes certificates from the votes on the block before height. Every signature is
// verified here although it may have been before: votes that came late never were, and one
// bad signature in a certificate would spoil it.
func (a *app) collect(height uint64, votes []abci.ExtendedVoteInfo) ([]byte, error) {
	number := a.meta.epochOf(height - 1)
	epoch, err := a.epoch(number)
	if err != nil {
		return nil, err
	}
	found := map[uint64]*certificate{}
	for _, v := range votes {
		items, ok := decodeExtension(v.VoteExtension)
		who := validatorIndex(epoch, v.Validator.Address)
		if !ok || who < 0 {
			continue
		}
		if err := a.collectVote(epoch, who, items, found); err != nil {
			return nil, err
		}
	}
	var certs []certificate
	for _, c := range found {
		var power uint64
		for _, s := range c.sigs {
			power += epoch.Validators[s.Validator].Power
		}
		if epoch.IsQuorum(power) {
			slices.SortFunc(c.sigs, func(x, y anchorproof.Cosignature) int { return x.Validator - y.Validator })
			certs = append(certs, *c)
		}
	}
	if len(certs) == 0 {
		return nil, nil
	}
	slices.SortFunc(certs, func(x, y certificate) int { return cmp.Compare(x.index, y.index) })
	return encodeCertificates(number, certs[:min(len(certs), maxCertificates)])
}

// collectVote adds one validator's valid cosignatures of pending headers to found.
func (a *app) collectVote(epoch anchorproof.Epoch, who int, items []extensionItem,
	found map[uint64]*certificate) error {
	seen := map[uint64]bool{}
	for _, it := range items {
		var h anchorproof.Header
		pending := false
		err := a.store.view(func(get getter) (err error) {
			if pending = get(key("p/", it.index)) != nil; pending {
				h, err = headerAt(get, it.index)
			}
			return err
		})
		if err != nil {
			return err
		}
		if !pending || h.TimeMs != it.timeMs || seen[it.index] {
			continue
		}
		seen[it.index] = true
		h.Epoch = epoch.Number
		s := anchorproof.Cosignature{Validator: who, Signature: it.sig}
		if err := epoch.CheckCosignature(h.Text(), s); err != nil {
			a.refused.add(RefusedCosignature)
			a.log.Warn("dropping a cosignature", "index", it.index, "error", err)
			continue
		}
		c := found[it.index]
		if c == nil {
			c = &certificate{index: it.index}
			found[it.index] = c
		}
		c.sigs = append(c.sigs, s)
	}
	return nil
}

// validatorIndex finds a validator by the engine's address of its consensus key, or -1.
func validatorIndex(e anchorproof.Epoch, address []byte) int {
	return slices.IndexFunc(e.Validators, func(v anchorproof.Validator) bool {
		return bytes.Equal(consensusAddress(v.ConsensusKey), address)
	})
}
