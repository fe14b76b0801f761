package chain

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	cmtcrypto "github.com/cometbft/cometbft/crypto"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/crypto/cryptobyte"
)

// Steps of a round, in the order in which a validator signs.
const (
	stepPropose   uint8 = 1
	stepPrevote   uint8 = 2
	stepPrecommit uint8 = 3
)

// signed is the last thing that a validator signed.
type signed struct {
	height    uint64
	round     uint32
	step      uint8
	message   []byte // exactly what was signed
	signature []byte
}

func (s signed) encode() []byte {
	var b cryptobyte.Builder
	b.AddUint64(s.height)
	b.AddUint32(s.round)
	b.AddUint8(s.step)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s.message) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s.signature) })
	return b.BytesOrPanic()
}

func decodeSigned(raw []byte) (s signed, err error) {
	in := cryptobyte.String(raw)
	var message, signature cryptobyte.String
	if !in.ReadUint64(&s.height) || !in.ReadUint32(&s.round) || !in.ReadUint8(&s.step) ||
		!in.ReadUint16LengthPrefixed(&message) || !in.ReadUint16LengthPrefixed(&signature) || !in.Empty() {
		return s, errors.New("sign state is damaged")
	}
	s.message, s.signature = bytes.Clone(message), bytes.Clone(signature)
	return s, nil
}

// compare orders by height, round and step.
func (s signed) compare(height uint64, round uint32, step uint8) int {
	for _, p := range [][2]uint64{{s.height, height}, {uint64(s.round), uint64(round)},
		{uint64(s.step), uint64(step)}} {
		if p[0] != p[1] {
			if p[0] < p[1] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// validator signs the engine's votes and proposals with the consensus key, and never two
// different ones for the same step: what it signed last is in sign.db, synced before the
// signature leaves. It is safe for concurrent use.
type validator struct {
	key cmted25519.PrivKey
	db  *bolt.DB

	mu     sync.Mutex
	last   signed // guarded by mu
	signed bool   // guarded by mu; last is of this run
}

var _ types.PrivValidator = (*validator)(nil)

var (
	bucketSign   = []byte("sign")
	keyPublic    = []byte("public")
	keyLast      = []byte("last")
	errConflict  = errors.New("another message is signed for this height, round and step")
	errBackwards = errors.New("a later step is signed already")
	// errReplayed: that step was signed before this start. The engine, which takes up the height again
	// at its beginning, passes over it and goes on: nothing is wrong.
	errReplayed = fmt.Errorf("%w, before this start", errBackwards)
	// errProposed: a block was proposed for that round before this start, and not kept: the engine makes another one,
	// which must not be signed. The round is lost, and the next one decides.
	errProposed = fmt.Errorf("%w, before this start", errConflict)
)

// openValidator reads the sign state that Init made.
func openValidator(db *bolt.DB, key cmted25519.PrivKey) (*validator, error) {
	v := &validator{key: key, db: db}
	err := db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSign)
		if b == nil {
			return errors.New("sign state is missing")
		}
		if !bytes.Equal(b.Get(keyPublic), key.PubKey().Bytes()) {
			return errors.New("sign state is of another consensus key")
		}
		var err error
		v.last, err = decodeSigned(b.Get(keyLast))
		return err
	})
	return v, err
}

// initSignState writes the state of a validator that has signed nothing.
func initSignState(db *bolt.DB, public []byte) error {
	return db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(bucketSign)
		if err != nil {
			return err
		}
		if err := b.Put(keyPublic, public); err != nil {
			return err
		}
		return b.Put(keyLast, signed{}.encode())
	})
}

// GetPubKey returns the consensus key.
func (v *validator) GetPubKey() (cmtcrypto.PubKey, error) { return v.key.PubKey(), nil }

// SignVote signs a vote and, for a vote to commit a block, its extension. A vote that was
// signed before with another timestamp gets its old timestamp and signature back.
func (v *validator) SignVote(chainID string, vote *cmtproto.Vote) error {
	step := stepPrevote
	if vote.Type == cmtproto.PrecommitType {
		step = stepPrecommit
	}
	extends := step == stepPrecommit && len(vote.BlockID.Hash) > 0
	if len(vote.Extension) > 0 && !extends {
		return errors.New("sign vote: only votes to commit a block have an extension")
	}
	message := types.VoteSignBytes(chainID, vote)
	sig, old, err := v.sign(vote.Height, vote.Round, step, message, sameVote)
	if err != nil {
		return fmt.Errorf("sign vote at height %d round %d: %w", vote.Height, vote.Round, err)
	}
	vote.Signature = sig
	if old != nil {
		vote.Timestamp = *old
	}
	if extends {
		// Extensions may differ from one attempt to the next and decide nothing; the engine
		// wants a signature over an empty one too.
		if vote.ExtensionSignature, err = v.key.Sign(types.VoteExtensionSignBytes(chainID, vote)); err != nil {
			return fmt.Errorf("sign vote extension: %w", err)
		}
	}
	return nil
}

// SignProposal signs a proposal. The engine does not take over the old timestamp of one
// that was signed before, so such a round is lost: one TimeoutPropose after some crashes.
func (v *validator) SignProposal(chainID string, p *cmtproto.Proposal) error {
	sig, old, err := v.sign(p.Height, p.Round, stepPropose, types.ProposalSignBytes(chainID, p), sameProposal)
	if err != nil {
		return fmt.Errorf("sign proposal at height %d round %d: %w", p.Height, p.Round, err)
	}
	p.Signature = sig
	if old != nil {
		p.Timestamp = *old
	}
	return nil
}

// sign signs a message for a step, or returns the signature that it gave before, with the
// old timestamp when only that differs.
func (v *validator) sign(height int64, round int32, step uint8, message []byte,
	same func(a, b []byte) (time.Time, bool)) ([]byte, *time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch c := v.last.compare(uint64(height), uint32(round), step); {
	case c > 0 && !v.signed:
		return nil, nil, errReplayed
	case c > 0:
		return nil, nil, errBackwards
	case c == 0 && bytes.Equal(v.last.message, message):
		return v.last.signature, nil, nil
	case c == 0:
		t, ok := same(v.last.message, message)
		switch {
		case !ok && step == stepPropose && !v.signed:
			return nil, nil, errProposed
		case !ok:
			return nil, nil, errConflict
		}
		return v.last.signature, &t, nil
	}
	sig, err := v.key.Sign(message)
	if err != nil {
		return nil, nil, err
	}
	next := signed{height: uint64(height), round: uint32(round), step: step, message: message, signature: sig}
	// A crash before this write leaves a step that nobody saw signed: it is signed anew. A
	// crash after it leaves a signature that perhaps nobody saw: the same one is given again.
	err = v.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketSign).Put(keyLast, next.encode()) })
	if err != nil {
		return nil, nil, fmt.Errorf("keep sign state: %w", err)
	}
	v.last, v.signed = next, true
	return sig, nil, nil
}

// votedAt is when this validator gave its last vote, if that was for this height.
func (v *validator) votedAt(height uint64) (time.Time, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.last.height != height || v.last.step == stepPropose {
		return time.Time{}, false
	}
	var vote cmtproto.CanonicalVote
	if err := protoio.UnmarshalDelimited(v.last.message, &vote); err != nil {
		return time.Time{}, false
	}
	return vote.Timestamp, true
}

// height is that of the last signature; 0 when there is none.
func (v *validator) height() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last.height
}

// sameVote reports whether two signed votes differ in nothing but the time, and the first's time.
func sameVote(a, b []byte) (time.Time, bool) {
	var x, y cmtproto.CanonicalVote
	if protoio.UnmarshalDelimited(a, &x) != nil || protoio.UnmarshalDelimited(b, &y) != nil {
		return time.Time{}, false
	}
	t := x.Timestamp
	x.Timestamp = y.Timestamp
	return t, x.String() == y.String()
}

// sameProposal is sameVote for proposals.
func sameProposal(a, b []byte) (time.Time, bool) {
	var x, y cmtproto.CanonicalProposal
	if protoio.UnmarshalDelimited(a, &x) != nil || protoio.UnmarshalDelimited(b, &y) != nil {
		return time.Time{}, false
	}
	t := x.Timestamp
	x.Timestamp = y.Timestamp
	return t, x.String() == y.String()
}
