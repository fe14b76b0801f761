package chain

import (
	"fmt"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"
	"pgregory.net/rapid"

	"stele/notary/proof/anchorproof"
)

// vote is a validator's part in a commit: what its precommit was for, and the time it wrote there.
type vote struct {
	flag types.BlockIDFlag
	at   time.Time
}

// medianOf is the time of a block by the pinned engine's own function, from the votes on the block
// before it, of validators with equal power.
func medianOf(t interface{ Fatal(args ...any) }, votes ...vote) time.Time {
	validators := make([]*types.Validator, len(votes))
	commit := &types.Commit{Signatures: make([]types.CommitSig, len(votes))}
	for i, v := range votes {
		key := ed25519.GenPrivKeyFromSecret(fmt.Append(nil, i)).PubKey()
		validators[i] = types.NewValidator(key, 1)
		commit.Signatures[i] = types.CommitSig{BlockIDFlag: v.flag, ValidatorAddress: key.Address(), Timestamp: v.at}
	}
	median, err := state.MedianTime(commit, types.NewValidatorSet(validators))
	if err != nil {
		t.Fatal(err)
	}
	return median
}

var (
	votedAt = time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	after   = func(seconds int) time.Time { return votedAt.Add(time.Duration(seconds) * time.Second) }
	honest  = func(seconds int) vote { return vote{types.BlockIDFlagCommit, after(seconds)} }
	// nilVote is a precommit for no block, whose time nothing in the engine looks at.
	nilVote = func(seconds int) vote { return vote{types.BlockIDFlagNil, after(seconds)} }
	away    = vote{types.BlockIDFlagAbsent, time.Time{}}
)

const hour = 3600

// TestMedianCountsNilVotes writes down what the pinned engine does, on which docs/chain.md and
// docs/threat-model.md rest: a precommit for no block counts in a block's time as any other does. If
// a later version passes over such votes this fails, and those pages have to be written anew.
func TestMedianCountsNilVotes(t *testing.T) {
	for what, c := range map[string]struct {
		votes []vote
		want  int // seconds
	}{
		"four honest votes: the second":              {[]vote{honest(0), honest(1), honest(2), honest(3)}, 1},
		"one false, early: the first honest one":     {[]vote{honest(-hour), honest(0), honest(1), honest(2)}, 0},
		"one false, late":                            {[]vote{honest(0), honest(1), honest(2), honest(hour)}, 1},
		"one for no block, early: the same":          {[]vote{nilVote(-hour), honest(0), honest(1), honest(2)}, 0},
		"one for no block, late: the same":           {[]vote{honest(0), honest(1), honest(2), nilVote(hour)}, 1},
		"three votes, all honest: the first of them": {[]vote{honest(0), honest(1), honest(2), away}, 0},
		// A quorum of three votes for the block, one of them of the liar: the time is the liar's.
		"a false vote among three, early: the liar's": {[]vote{honest(-hour), honest(0), honest(1), away}, -hour},
		"a false vote among three, late":              {[]vote{honest(0), honest(1), honest(hour), away}, 0},
	} {
		t.Run(what, func(t *testing.T) {
			if got := medianOf(t, c.votes...); !got.Equal(after(c.want)) {
				t.Errorf("the block's time is %s after the first honest vote, want %d s", got.Sub(votedAt), c.want)
			}
		})
	}
}

// TestMedianBound: with n validators of equal power, of which fewer than a third lie in their votes,
// by the time they write or by voting for no block, and all others' votes in the commit, the time is
// never later than the latest and never earlier than the earliest vote of an honest one. It is not so
// where honest votes are missing as well; that is what cosigners' own clocks are for, see
// [TestFalseTimeFindsNoQuorum].
func TestMedianBound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(4, 22).Draw(r, "validators")
		liars := rapid.IntRange(0, (n-1)/3).Draw(r, "liars")
		var votes []vote
		first, last := 1<<30, -1<<30
		for i := range n {
			at := rapid.IntRange(-hour, hour).Draw(r, "time")
			if i < liars {
				votes = append(votes, rapid.SampledFrom([]vote{nilVote(at * 1000), honest(at * 1000)}).Draw(r, "lie"))
				continue
			}
			votes = append(votes, honest(at))
			first, last = min(first, at), max(last, at)
		}
		if got := medianOf(r, votes...); got.Before(after(first)) || got.After(after(last)) {
			r.Fatalf("%s is not between the honest votes at %d and %d s", got.Sub(votedAt), first, last)
		}
	})
}

// TestFalseTimeFindsNoQuorum: whatever time one of four brings about in a block, by voting for no block
// or by a false vote while another is away, the three others' clocks do not stand for it unless it is
// within 10 s before they saw the block and 2 s after now; so a header with another time never gets the
// cosignatures of more than two thirds, without which nothing is evidence.
func TestFalseTimeFindsNoQuorum(t *testing.T) {
	var members []*testMember
	for i := range 4 {
		members = append(members, newTestMember(t, fmt.Sprint("m", i)))
	}
	seen := after(1)
	epoch := testGenesis(t, members)
	for what, c := range map[string]struct {
		votes  []vote
		quorum bool
	}{
		"all honest": {[]vote{honest(0), honest(1), honest(1), honest(1)}, true},
		// it moves nothing
		"a vote for no block, early": {[]vote{nilVote(-hour), honest(0), honest(1), honest(1)}, true},
		"a vote for no block, late":  {[]vote{honest(0), honest(1), honest(1), nilVote(hour)}, true},
		"false by an hour, one away": {[]vote{honest(-hour), honest(0), honest(1), away}, false},
		"false by 12 s, one away":    {[]vote{honest(-12), honest(0), honest(1), away}, false},
		// the bound that is stated
		"false by 8 s, one away":        {[]vote{honest(-8), honest(0), honest(1), away}, true},
		"two liars, more than is borne": {[]vote{nilVote(-hour), honest(-hour), honest(0), honest(1)}, false},
	} {
		t.Run(what, func(t *testing.T) {
			h := anchorproof.Header{Chain: epoch.Chain, Index: 0, Height: 1,
				TimeMs: medianOf(t, c.votes...).UnixMilli()}
			var power uint64 // of two who would sign anything, and of those whose clocks stand for it
			for i := range members {
				a := newTestApp(t, members)
				a.clock = func() time.Time { return seen.Add(100 * time.Millisecond) }
				fatalIfErr(t, a.store.apply(map[string][]byte{key("s/", h.Index): encodeMs(seen.UnixMilli())}))
				if i < 2 || a.vouches(h) {
					power += epoch.Validators[i].Power
				}
			}
			if got := epoch.IsQuorum(power); got != c.quorum {
				t.Errorf("header's time %s after the first honest vote: %d of %d votes cosign",
					h.Time().Sub(votedAt), power, epoch.Total())
			}
		})
	}
}
