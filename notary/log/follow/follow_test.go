package follow_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stele/crypto/signednote"
	"stele/notary/log/batchlog"
	"stele/notary/log/follow"
	"stele/notary/log/fsck"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/storage/storagetest"
)

func fatalIfErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// follower makes statements whenever something changed, at once.
func follower(s *storagetest.Site, store follow.Store) *follow.Follower {
	return follow.New(store, follow.Options{Signer: s.LogKey, Pause: time.Nanosecond, Daily: 24 * time.Hour,
		Leads: func() bool { return true }, Clock: func() error { return nil }, Kept: func(context.Context, uint64) {},
		Wake: func() {}, Now: s.Now, Log: slog.New(slog.DiscardHandler)})
}

// round lets a follower look once, a pause after its start.
func round(t testing.TB, s *storagetest.Site, f *follow.Follower) {
	t.Helper()
	s.Pass(time.Minute)
	fatalIfErr(t, f.Round(t.Context()))
}

// received is how many entries there are.
func received(t testing.TB, s *storagetest.Site) uint64 {
	t.Helper()
	h, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	return h.Received
}

// statementAt is the status statement with an index.
func statementAt(t testing.TB, s *storagetest.Site, index uint64) status.Statement {
	t.Helper()
	list, err := s.DB.Log.Entries(t.Context(), index, index+1)
	fatalIfErr(t, err)
	st, err := status.VerifyEntry(list[0], s.World.Origin(), []*signednote.Verifier{&s.LogKey.Verifier})
	fatalIfErr(t, err)
	return st
}

func TestStatements(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		f := follower(s, s.DB.Log)
		round(t, s, f)
		if n := received(t, s); n != 0 {
			t.Fatalf("%d entries in an empty log", n)
		}
		recs := s.Receive(t, 300)
		s.Sequence(t)
		s.ReceiveItems(t, s.Revocation(t, recs[3], "issued in error")) // received, not logged: covered all the same
		round(t, s, f)
		first := statementAt(t, s, 301)
		if first.Size != 301 || first.Records != 1 || first.Agencies != 1 {
			t.Errorf("%+v", first)
		}
		round(t, s, f)
		s.Sequence(t)
		round(t, s, f)
		if n := received(t, s); n != 302 {
			t.Errorf("%d entries: a statement although nothing changed", n)
		}
		s.WantClean(t)
		if _, ok := f.At(300); ok {
			t.Error("a statement that is not there")
		}
		got, ok := f.At(301)
		if !ok || got.Index != 301 || got.Map.Statement(s.World.Origin()) != first {
			t.Errorf("%v %+v", ok, got)
		}
		// A record that was revoked is in its map, one that was not is not.
		key := status.RecordKey(recs[3].Number, agencyCode(t, s, recs[3].AgencyID))
		if err := got.Map.Map.Prove(key).Verify(first.Map, key, status.Ended{Index: 300}.Value()); err != nil {
			t.Error(err)
		}
		// A second one, of a follower that begins with what is kept, as after a restart.
		s.ReceiveItems(t, s.Replacement(t, recs[4]))
		s.Sequence(t)
		another := follower(s, s.DB.Log)
		round(t, s, another)
		second := statementAt(t, s, 303)
		if second.Records != 2 || second.Size != 303 {
			t.Errorf("%+v", second)
		}
		// The day after, though nothing changed.
		s.Sequence(t)
		round(t, s, another)
		s.Pass(24 * time.Hour)
		round(t, s, another)
		if n := received(t, s); n != 305 {
			t.Errorf("%d entries a day later", n)
		}
		s.Sequence(t)
		s.WantClean(t)
		if res := s.Fsck(t); res.Statuses != 3 {
			t.Errorf("%d status statements", res.Statuses)
		}
	})
}

func agencyCode(t testing.TB, s *storagetest.Site, id string) string {
	t.Helper()
	a, err := s.DB.Log.Agency(t.Context(), id)
	fatalIfErr(t, err)
	return a.Code
}

// Two servers that both take themselves for the one that sequences make statements one after another, each of
// which follows from the entries before it.
func TestTwoFollowers(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		both := []*follow.Follower{follower(s, s.DB.Log), follower(s, storagetest.OpenDatabase(t, s.URL, s.Now).Log)}
		for range 5 {
			recs := s.Receive(t, 3)
			s.ReceiveItems(t, s.Revocation(t, recs[0], "issued in error"))
			s.Sequence(t)
			s.Pass(time.Minute)
			var wg sync.WaitGroup
			for _, f := range both {
				wg.Go(func() {
					if err := f.Round(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		s.Sequence(t)
		s.WantClean(t)
		if res := s.Fsck(t); res.Statuses < 5 {
			t.Errorf("%d status statements", res.Statuses)
		}
	})
}

// What the sequencer hands over is not read again, and what it hands over twice, late or with a gap does no harm.
func TestHandedOver(t *testing.T) {
	s := storagetest.NewSite(t, storagetest.Embedded)
	f := follower(s, s.DB.Log)
	round(t, s, f)
	s.Receive(t, 20)
	list, err := s.DB.Log.Entries(t.Context(), 0, 20)
	fatalIfErr(t, err)
	for _, part := range [][2]int{{0, 5}, {0, 5}, {3, 8}, {10, 20}, {8, 10}} {
		f.Logged(uint64(part[0]), list[part[0]:part[1]], nil)
		f.Take()
	}
	s.Sequence(t)
	round(t, s, f)
	s.Sequence(t)
	s.WantClean(t)
	if st := statementAt(t, s, 20); st.Size != 20 {
		t.Errorf("%+v", st)
	}
}

// failing is a store whose write fails, before or after it was done.
type failing struct {
	follow.Store
	after bool
	fail  bool
}

func (f *failing) AppendStatus(ctx context.Context, from, most uint64, fence batchlog.Fence, write follow.Write) (
	uint64, error) {
	if !f.fail {
		return f.Store.AppendStatus(ctx, from, most, fence, write)
	}
	if f.after {
		_, _ = f.Store.AppendStatus(ctx, from, most, fence, write)
	}
	return 0, errors.New("no answer")
}

func TestWriteFails(t *testing.T) {
	for name, after := range map[string]bool{"before it was done": false, "after it was done": true} {
		t.Run(name, func(t *testing.T) {
			s := storagetest.NewSite(t, storagetest.Embedded)
			store := &failing{Store: s.DB.Log, fail: true, after: after}
			f := follower(s, store)
			s.Receive(t, 3)
			s.Sequence(t)
			s.Pass(time.Minute)
			if f.Round(t.Context()) == nil {
				t.Fatal("the failure went unnoticed")
			}
			store.fail = false
			s.Sequence(t)
			round(t, s, f)
			s.Sequence(t)
			s.WantClean(t)
			if st := statementAt(t, s, 3); st.Size != 3 || received(t, s) != 4 {
				t.Errorf("%+v, %d entries", st, received(t, s))
			}
		})
	}
}

// An operator who says that a revoked record stands has signed a contradiction: fsck finds it, and so does
// everybody who follows. A server that sees it makes no statement any more.
func TestLyingOperator(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		recs := s.Receive(t, 3)
		s.ReceiveItems(t, s.Revocation(t, recs[1], "issued in error"))
		s.Sequence(t)
		head, err := s.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		key := signednote.FormatKey(s.LogKey.Name(), s.LogKey.Key())
		_, err = s.DB.Log.AppendStatus(t.Context(), 0, 100, head.Fence, func(rest []statement.Entry) (statement.Entry,
			map[string]status.Tally, error) {
			var honest status.State
			for _, e := range rest[:3] { // without the revocation
				honest.Add(e.Statement, e.LeafHash())
			}
			lie := honest.Snapshot().Statement(s.World.Origin())
			lie.Size = uint64(len(rest))
			text, err := lie.Encode()
			fatalIfErr(t, err)
			sig, err := s.LogKey.Sign(text)
			return status.Entry(text, sig, key), nil, err
		})
		fatalIfErr(t, err)
		s.Sequence(t)
		res := s.Fsck(t)
		if !slices.ContainsFunc(res.Findings, func(f fsck.Finding) bool {
			return f.What == "status" && f.Index == 4 &&
				strings.Contains(f.Detail, "from the entries before it follows")
		}) {
			t.Errorf("%+v", res.Findings)
		}
		f := follower(s, s.DB.Log)
		storagetest.MustExec(t, storagetest.Raw(t, s.URL), 1, `DELETE FROM followed`)
		s.Receive(t, 1)
		s.Sequence(t)
		round(t, s, f)
		if err := f.Contradiction(); err == nil || !strings.Contains(err.Error(), "entry 4") {
			t.Error(err)
		}
		if n := received(t, s); n != 6 {
			t.Errorf("%d entries: a statement after a contradiction", n)
		}
	})
}

// What the database keeps is compared by fsck, and a server whose key is not the log's enters nothing.
func TestKeptIsCompared(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		s.Receive(t, 3)
		s.Sequence(t)
		f := follower(s, s.DB.Log)
		round(t, s, f)
		s.Sequence(t)
		s.WantClean(t)
		storagetest.MustExec(t, storagetest.Raw(t, s.URL), 1, `UPDATE tallies SET entries = entries + 1`)
		res := s.Fsck(t)
		if len(res.Findings) != 2 || res.Findings[0].What != "status" ||
			!strings.Contains(res.Findings[0].Detail, "tally") {
			t.Errorf("%+v", res.Findings)
		}
		_, err := s.DB.Log.AppendStatus(t.Context(), 0, 100, batchlog.Fence{Key: "another"}, nil)
		if !errors.Is(err, batchlog.ErrFenced) {
			t.Error(err)
		}
		if _, err := s.DB.Log.AppendStatus(t.Context(), 0, 1, fenceOf(t, s), nil); !errors.Is(err, follow.ErrBehind) {
			t.Error(err)
		}
	})
}

func fenceOf(t testing.TB, s *storagetest.Site) batchlog.Fence {
	t.Helper()
	h, err := s.DB.Log.Head(t.Context())
	fatalIfErr(t, err)
	return h.Fence
}

// While much is received that is not logged, no statement is made: it would hold the lock for long.
func TestBehind(t *testing.T) {
	s := storagetest.NewSite(t, storagetest.Embedded)
	f := follow.New(s.DB.Log, follow.Options{Signer: s.LogKey, Pause: time.Nanosecond, AtOnce: 100,
		Leads: func() bool { return true }, Clock: func() error { return nil }, Kept: func(context.Context, uint64) {},
		Wake: func() {}, Now: s.Now, Log: slog.New(slog.DiscardHandler)})
	s.Receive(t, 1)
	s.Sequence(t)
	s.Receive(t, 101)
	round(t, s, f)
	if n := received(t, s); n != 102 || f.Waits().IsZero() {
		t.Errorf("%d entries, waits since %s", n, f.Waits())
	}
	s.Sequence(t)
	round(t, s, f)
	if n := received(t, s); n != 103 || !f.Waits().IsZero() {
		t.Errorf("%d entries, waits since %s", n, f.Waits())
	}
	s.Sequence(t)
	s.WantClean(t)
}

// After a change of the log's key the present one says anew what the former one has said, once, though nothing has
// changed; a server that still has the former key says nothing.
func TestKeyChanges(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		former := follower(s, s.DB.Log)
		s.Receive(t, 3)
		s.Sequence(t)
		round(t, s, former)
		s.Sequence(t)
		s.ChangeLogKey(t, "second")
		s.Receive(t, 1) // there is something to say
		s.Sequence(t)
		s.Pass(time.Minute)
		if err := former.Round(t.Context()); !errors.Is(err, batchlog.ErrFenced) || received(t, s) != 5 {
			t.Fatalf("with the former key: %v, %d entries", err, received(t, s))
		}
		round(t, s, follower(s, s.DB.Log))
		if st := statementAt(t, s, 5); st.Size != 5 { // signed with the present key
			t.Errorf("%+v", st)
		}
		s.Sequence(t)
		s.ChangeLogKey(t, "third") // which finds that all was said
		third := follower(s, s.DB.Log)
		for range 3 {
			round(t, s, third)
			s.Sequence(t)
		}
		if n := received(t, s); n != 7 {
			t.Fatalf("%d entries, want one more statement", n)
		}
		if st := statementAt(t, s, 6); st.Size != 6 || !third.Waits().IsZero() {
			t.Errorf("%+v, waits since %s", st, third.Waits())
		}
	})
}
