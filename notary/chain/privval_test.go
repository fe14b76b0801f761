package chain

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cometbft/cometbft/consensus"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

const testChainID = "egov-test"

func newTestValidator(t testing.TB) (*validator, string) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	fatalIfErr(t, err)
	path := filepath.Join(t.TempDir(), signFile)
	fatalIfErr(t, withBolt(path, func(db *bolt.DB) error { return initSignState(db, pub) }))
	return reopenValidator(t, path, cmted25519.PrivKey(key)), path
}

func reopenValidator(t testing.TB, path string, key cmted25519.PrivKey) *validator {
	t.Helper()
	db, err := openBolt(path)
	fatalIfErr(t, err)
	t.Cleanup(func() { _ = db.Close() })
	v, err := openValidator(db, key)
	fatalIfErr(t, err)
	return v
}

func testBlockID(b byte) cmtproto.BlockID {
	h := bytes.Repeat([]byte{b}, 32)
	return cmtproto.BlockID{Hash: h, PartSetHeader: cmtproto.PartSetHeader{Total: 1, Hash: h}}
}

var testTime = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

func testVote(kind cmtproto.SignedMsgType, height int64, round int32, block byte) *cmtproto.Vote {
	return &cmtproto.Vote{Type: kind, Height: height, Round: round, BlockID: testBlockID(block), Timestamp: testTime}
}

func checkVote(t testing.TB, v *validator, vote *cmtproto.Vote) {
	t.Helper()
	if !v.key.PubKey().VerifySignature(types.VoteSignBytes(testChainID, vote), vote.Signature) {
		t.Fatal("signature does not verify")
	}
}

func TestValidatorSignsInOrderAndOnce(t *testing.T) {
	v, _ := newTestValidator(t)
	prevote := testVote(cmtproto.PrevoteType, 5, 1, 'a')
	fatalIfErr(t, v.SignVote(testChainID, prevote))
	checkVote(t, v, prevote)

	again := testVote(cmtproto.PrevoteType, 5, 1, 'a')
	fatalIfErr(t, v.SignVote(testChainID, again))
	if !bytes.Equal(again.Signature, prevote.Signature) {
		t.Error("the same vote got another signature")
	}
	later := testVote(cmtproto.PrevoteType, 5, 1, 'a')
	later.Timestamp = testTime.Add(time.Second)
	fatalIfErr(t, v.SignVote(testChainID, later))
	if !later.Timestamp.Equal(testTime) || !bytes.Equal(later.Signature, prevote.Signature) {
		t.Error("a vote repeated later must come back with its old time and signature")
	}
	checkVote(t, v, later)

	for name, c := range map[string]struct {
		vote *cmtproto.Vote
		want error
	}{
		"other block":    {testVote(cmtproto.PrevoteType, 5, 1, 'b'), errConflict},
		"earlier height": {testVote(cmtproto.PrecommitType, 4, 9, 'a'), errBackwards},
		"earlier round":  {testVote(cmtproto.PrecommitType, 5, 0, 'a'), errBackwards},
	} {
		t.Run(name, func(t *testing.T) {
			if err := v.SignVote(testChainID, c.vote); !errors.Is(err, c.want) || c.vote.Signature != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	precommit := testVote(cmtproto.PrecommitType, 5, 1, 'a')
	precommit.Extension = []byte("extension")
	fatalIfErr(t, v.SignVote(testChainID, precommit))
	checkVote(t, v, precommit)
	if !v.key.PubKey().VerifySignature(types.VoteExtensionSignBytes(testChainID, precommit),
		precommit.ExtensionSignature) {
		t.Error("extension signature does not verify")
	}
	if err := v.SignVote(testChainID, testVote(cmtproto.PrevoteType, 5, 1, 'a')); !errors.Is(err, errBackwards) {
		t.Error("prevote after precommit:", err)
	}
}

// What was signed before a crash is remembered after it.
func TestValidatorRemembers(t *testing.T) {
	v, path := newTestValidator(t)
	vote := testVote(cmtproto.PrecommitType, 7, 0, 'a')
	fatalIfErr(t, v.SignVote(testChainID, vote))
	if at, ok := v.votedAt(7); !ok || !at.Equal(testTime) {
		t.Error(at, ok)
	}
	fatalIfErr(t, v.db.Close())
	w := reopenValidator(t, path, v.key)
	if at, ok := w.votedAt(7); !ok || !at.Equal(testTime) || w.height() != 7 {
		t.Error(at, ok)
	}
	if _, ok := w.votedAt(8); ok {
		t.Error("no vote for 8 was given")
	}
	if err := w.SignVote(testChainID, testVote(cmtproto.PrecommitType, 7, 0, 'b')); !errors.Is(err, errConflict) {
		t.Error(err)
	}
	same := testVote(cmtproto.PrecommitType, 7, 0, 'a')
	fatalIfErr(t, w.SignVote(testChainID, same))
	if !bytes.Equal(same.Signature, vote.Signature) || same.ExtensionSignature == nil {
		t.Error("the signature is not the same")
	}
	nilVote := &cmtproto.Vote{Type: cmtproto.PrecommitType, Height: 8, Timestamp: testTime, Extension: []byte("x")}
	if err := w.SignVote(testChainID, nilVote); err == nil {
		t.Error("extension on a vote for nothing")
	}
	nilVote.Extension = nil
	fatalIfErr(t, w.SignVote(testChainID, nilVote))
	if nilVote.ExtensionSignature != nil {
		t.Error("a vote for nothing has no extension signature")
	}
}

func TestValidatorSignsProposals(t *testing.T) {
	v, _ := newTestValidator(t)
	p := func(block byte) *cmtproto.Proposal {
		return &cmtproto.Proposal{Type: cmtproto.ProposalType, Height: 3, Round: 0, PolRound: -1,
			BlockID: testBlockID(block), Timestamp: testTime}
	}
	first := p('a')
	fatalIfErr(t, v.SignProposal(testChainID, first))
	if !v.key.PubKey().VerifySignature(types.ProposalSignBytes(testChainID, first), first.Signature) {
		t.Fatal("signature does not verify")
	}
	later := p('a')
	later.Timestamp = testTime.Add(time.Minute)
	fatalIfErr(t, v.SignProposal(testChainID, later))
	if !later.Timestamp.Equal(testTime) || !bytes.Equal(later.Signature, first.Signature) {
		t.Error("repeated proposal")
	}
	if err := v.SignProposal(testChainID, p('b')); !errors.Is(err, errConflict) {
		t.Error(err)
	}
	if _, ok := v.votedAt(3); ok {
		t.Error("a proposal is no vote")
	}
}

// Whatever comes in whatever order: no two different messages for one step, no step back.
func TestValidatorNeverContradictsItself(t *testing.T) {
	v, _ := newTestValidator(t)
	type step struct {
		height int64
		round  int32
		kind   cmtproto.SignedMsgType
	}
	given := map[step]byte{}
	var last step
	rapid.Check(t, func(t *rapid.T) {
		s := step{last.height + rapid.Int64Range(-1, 1).Draw(t, "height"), rapid.Int32Range(0, 2).Draw(t, "round"),
			rapid.SampledFrom([]cmtproto.SignedMsgType{cmtproto.PrevoteType, cmtproto.PrecommitType}).Draw(t, "kind")}
		if s.height < 1 {
			s.height = 1
		}
		block := byte(rapid.IntRange('a', 'b').Draw(t, "block"))
		if v.SignVote(testChainID, testVote(s.kind, s.height, s.round, block)) != nil {
			return
		}
		if was, ok := given[s]; ok && was != block {
			t.Fatalf("two votes for %+v", s)
		}
		if s.height < last.height || s.height == last.height && (s.round < last.round || s.round == last.round &&
			s.kind < last.kind) {
			t.Fatalf("%+v after %+v", s, last)
		}
		given[s], last = block, s
	})
	if len(given) < 10 && !testing.Short() { // which draws fewer
		t.Error("too few votes to mean anything")
	}
}

func TestSignStateOfAnotherKeyIsRefused(t *testing.T) {
	v, path := newTestValidator(t)
	fatalIfErr(t, v.db.Close())
	db, err := openBolt(path)
	fatalIfErr(t, err)
	defer db.Close()
	if _, err := openValidator(db, cmted25519.GenPrivKey()); err == nil {
		t.Error("accepted")
	}
}

// What was signed before a start and is asked for again is refused, and is no error in the log: the engine
// takes up a height at its beginning. A step back within one run is one, and so is a contradiction.
func TestRefusalAfterAStartIsNoError(t *testing.T) {
	v, path := newTestValidator(t)
	fatalIfErr(t, v.SignVote(testChainID, testVote(cmtproto.PrecommitType, 5, 1, 'a')))
	logged := func(v *validator, vote *cmtproto.Vote) string {
		err := v.SignVote(testChainID, vote)
		if err == nil {
			t.Error("signed")
		}
		var b bytes.Buffer
		engineLog{slog.NewTextHandler(&b, nil)}.Error("failed signing vote", "height", vote.Height, "err", err)
		return b.String()
	}
	if line := logged(v, testVote(cmtproto.PrevoteType, 5, 1, 'a')); !strings.Contains(line, "level=ERROR") {
		t.Errorf("a step back in one run: %q", line)
	}
	fatalIfErr(t, v.db.Close())
	v = reopenValidator(t, path, v.key)
	if line := logged(v, testVote(cmtproto.PrevoteType, 5, 1, 'a')); line != "" {
		t.Errorf("after a start: %q", line)
	}
	if line := logged(v, testVote(cmtproto.PrecommitType, 5, 1, 'b')); !strings.Contains(line, "level=ERROR") {
		t.Errorf("a contradiction: %q", line)
	}
	for peer, want := range map[p2p.ID]bool{"": false, "a-node": true} {
		var b bytes.Buffer
		engineLog{slog.NewTextHandler(&b, nil)}.Error("failed to process message", "height", 5, "peer", peer, "err",
			consensus.ErrInvalidProposalSignature)
		if strings.Contains(b.String(), "level=ERROR") != want {
			t.Errorf("a proposal of %q: %q", peer, &b)
		}
	}
	fatalIfErr(t, v.SignVote(testChainID, testVote(cmtproto.PrevoteType, 6, 0, 'a')))
	if line := logged(v, testVote(cmtproto.PrevoteType, 5, 1, 'a')); !strings.Contains(line, "level=ERROR") {
		t.Errorf("a step back after the first signature: %q", line)
	}
}
