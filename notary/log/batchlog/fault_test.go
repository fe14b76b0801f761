package batchlog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"stele/crypto/merkle"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/storage/storagetest"
)

// The table of faults: each write fails, fails but is done, or is done in part, twice in a
// row; then all is well again, at the same size and at a larger one.
func TestFaults(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		m := newModel(t, b)
		m.receive(1)
		fatalIfErr(t, m.cycle(0))
		for _, fault := range injections() {
			m.receive(17)
			hit := false
			for range 2 {
				injected := m.inject(fault)
				err := m.cycle(0)
				m.heal()
				hit = hit || injected.WasHit()
				if fatal(err) {
					t.Fatalf("%v: %v", fault, err)
				}
			}
			// Nothing is listed or deleted when no tile became full, and a server that has
			// the edge in memory reads no tile.
			if !hit && fault.Op != storagetest.OpDelete && fault.Op != storagetest.OpList &&
				fault.Op != storagetest.OpGet {
				t.Errorf("%v: no call met the fault", fault)
			}
			m.check(t)
			m.start(1) // another server finds it in order
			fatalIfErr(t, m.cycle(0))
			m.receive(1)
			fatalIfErr(t, m.cycle(0))
			if m.check(t); m.published[len(m.published)-1].Size != m.frontier.Size() {
				t.Fatalf("%v: published is size %d of %d", fault, m.published[len(m.published)-1].Size,
					m.frontier.Size())
			}
		}
	})
}

func fatal(err error) bool {
	return errors.Is(err, batchlog.ErrMismatch) || errors.Is(err, batchlog.ErrFenced) ||
		errors.Is(err, notary.ErrObjectDiffers)
}

// A server that runs while the log's key is changed elsewhere signs nothing any more and stops; it
// does not start again.
func TestFenced(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		s.Receive(t, 3)
		s.Sequence(t)
		before, err := s.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		_, err = s.DB.Log.MoveLogFence(t.Context(), before.Fence, "the next key")
		fatalIfErr(t, err)
		s.Receive(t, 2)
		l := s.Log(s.DB.Log, s.Objects, batchlog.Options{})
		if err := l.Run(t.Context()); !errors.Is(err, batchlog.ErrFenced) {
			t.Errorf("it went on: %v", err)
		}
		if err := l.Check(t.Context()); !errors.Is(err, batchlog.ErrFenced) {
			t.Errorf("it would start: %v", err)
		}
		if now, err := s.DB.Log.Head(t.Context()); err != nil || now.Size != before.Size {
			t.Errorf("the log has %d entries, had %d: %v", now.Size, before.Size, err)
		}
	})
}

// A swap whose answer was lost is told of all the same: somebody waits for it.
func TestLostAnswerIsToldOf(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	told := 0
	l := m.site.Log(m.db, m.objects, batchlog.Options{OnAdvance: func() { told++ }})
	fatalIfErr(t, l.Check(t.Context()))
	m.receive(3)
	m.db.Inject(storagetest.Fault{Op: storagetest.OpAdvance, Mode: storagetest.FailPersisted})
	if _, err := l.Cycle(t.Context()); !errors.Is(err, notary.ErrUnknownOutcome) || told != 0 {
		t.Fatalf("got %v, told %d times", err, told)
	}
	m.heal()
	for range 3 {
		_, err := l.Cycle(t.Context())
		fatalIfErr(t, err)
	}
	if m.check(t); told != 1 || m.published[len(m.published)-1].Size != 3 {
		t.Errorf("told %d times, published %+v", told, m.published)
	}
}

// A damaged object store stops the sequencer: it neither signs on top of it nor spins.
func TestDamageStops(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, m *model){
		"tile with other bytes": func(t *testing.T, m *model) {
			overwrite(t, m, "tile/0/000.p/7", make([]byte, 7*merkle.HashSize))
		},
		"tile too short": func(t *testing.T, m *model) { overwrite(t, m, "tile/0/000.p/7", make([]byte, 31)) },
		"tile gone": func(t *testing.T, m *model) {
			fatalIfErr(t, m.site.Objects.Delete(t.Context(), "tile/0/000.p/7"))
		},
		"another next tile": func(t *testing.T, m *model) {
			fatalIfErr(t, m.site.Objects.PutOnce(t.Context(), "tile/0/000.p/9", make([]byte, 9*merkle.HashSize)))
		},
		"checkpoint gone": func(t *testing.T, m *model) {
			fatalIfErr(t, m.site.Objects.Delete(t.Context(), batchlog.CheckpointKey))
		},
		"checkpoint damaged": func(t *testing.T, m *model) { overwrite(t, m, batchlog.CheckpointKey, []byte("x")) },
		"unsigned checkpoint of a larger size": func(t *testing.T, m *model) {
			overwrite(t, m, batchlog.CheckpointKey,
				fmt.Appendf(nil, "%s\n99\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n", m.site.World.Origin()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, storagetest.Embedded)
			m.receive(7)
			fatalIfErr(t, m.cycle(0))
			damage(t, m)
			m.receive(2)
			// Server 1 has seen size 0 only, and so reads the tiles.
			if err := m.cycle(1); !fatal(err) {
				t.Errorf("got %v", err)
			}
			if err := m.servers[1].Run(t.Context()); !fatal(err) {
				t.Errorf("Run: got %v", err)
			}
		})
	}
}

func overwrite(t *testing.T, m *model, key string, data []byte) {
	t.Helper()
	fatalIfErr(t, m.site.Objects.Replace(t.Context(), key, func([]byte) ([]byte, error) { return data, nil }))
}

// While the object store is away, entries wait; when it is back, all of them are logged
// without a restart. The stop does not hang on it either.
func TestRunThroughAnOutage(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	var changed notary.Signal
	l := m.site.Log(m.db, m.objects, batchlog.Options{OnAdvance: changed.Notify})
	fatalIfErr(t, l.Check(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	down := m.objects.Inject(storagetest.Fault{Op: storagetest.OpPutOnceAll, Mode: storagetest.Fail})
	m.receive(3)
	go func() { done <- l.Run(ctx) }()
	<-down.Hit()
	m.receive(3)
	m.heal()
	waitForSize(t, m, &changed, 6)
	down = m.objects.Inject(storagetest.Fault{Op: storagetest.OpPutOnceAll, Mode: storagetest.Fail})
	m.receive(1)
	l.Wake()
	<-down.Hit()
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("stop during an outage: %v", err)
	}
	m.heal()
	m.start(0)
	fatalIfErr(t, m.cycle(0))
	m.check(t)
}

// waitForSize waits until the log has n entries.
func waitForSize(t *testing.T, m *model, changed *notary.Signal, n uint64) {
	t.Helper()
	for {
		next := changed.Changed()
		head, err := m.site.DB.Log.Head(t.Context())
		fatalIfErr(t, err)
		if head.Size >= n {
			return
		}
		select {
		case <-next:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// A graceful stop logs what was received.
func TestStopLogsTheRest(t *testing.T) {
	m := newModel(t, storagetest.Embedded)
	m.receive(5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fatalIfErr(t, m.servers[0].Run(ctx))
	if m.check(t); m.published[len(m.published)-1].Size != 5 {
		t.Errorf("published size %d after the stop", m.published[len(m.published)-1].Size)
	}
}

// A server that sleeps in the middle of a cycle, at each of its steps, while another one
// goes on: it takes nothing back when it wakes up.
func TestOvertaken(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		m := newModel(t, b)
		for _, at := range []injection{
			{storagetest.Fault{Op: storagetest.OpHead, Call: 1}, true},
			{storagetest.Fault{Op: storagetest.OpEntries, Call: 1}, true},
			{storagetest.Fault{Op: storagetest.OpPutOnceAll, Call: 1}, false},
			{storagetest.Fault{Op: storagetest.OpAdvance, Call: 1}, true},
			{storagetest.Fault{Op: storagetest.OpReplace, Call: 1}, false},
		} {
			m.receive(90) // now and then a tile becomes full in between
			m.overtake(t, at, func() { m.receive(90) })
			m.check(t)
			fatalIfErr(t, m.cycle(0))
			m.check(t)
		}
	})
}

// Two servers that ignore the lease, on handles of their own, while two more receive: the
// swap alone keeps the log from forking.
func TestTwoSequencersRace(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		m := newModel(t, b)
		const rounds, each = 30, 19
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 2)
		var changed notary.Signal
		for i := range 2 {
			db := storagetest.OpenDatabase(t, m.site.URL, m.site.Now)
			l := m.site.Log(leader{db.Log}, m.site.Objects, batchlog.Options{Interval: 1, Poll: 1e6,
				Holder: fmt.Sprint("racer ", i), OnAdvance: changed.Notify})
			fatalIfErr(t, l.Check(t.Context()))
			go func() { done <- l.Run(ctx) }()
		}
		for range rounds {
			m.receive(each)
		}
		waitForSize(t, m, &changed, rounds*each)
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		m.start(0)
		m.check(t)
	})
}

// leader is a store whose lease everybody has.
type leader struct{ batchlog.Store }

func (leader) Lease(context.Context, string, string, time.Duration) (bool, error) { return true, nil }

// Nothing is signed and published before a recovery would find it.
func TestKeptBeforeItIsPublished(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		s := storagetest.NewSite(t, b)
		var refused error
		var kept [][2]uint64
		l := s.Log(s.DB.Log, s.Objects, batchlog.Options{Keep: func(_ context.Context, from, end uint64) error {
			kept = append(kept, [2]uint64{from, end})
			return refused
		}})
		s.ReceiveItems(t, s.Items(t, 3)...)
		refused = errors.New("not kept")
		if _, err := l.Cycle(t.Context()); !errors.Is(err, refused) {
			t.Errorf("a cycle whose entries are not kept: %v", err)
		}
		if head, err := s.DB.Log.Head(t.Context()); err != nil || head.Size != 0 {
			t.Errorf("signed at size %d, %v", head.Size, err)
		}
		refused = nil
		s.ReceiveItems(t, s.Items(t, 2)...)
		_, err := l.Cycle(t.Context())
		fatalIfErr(t, err)
		if want := [][2]uint64{{0, 3}, {0, 5}}; !slices.Equal(kept, want) {
			t.Errorf("asked to keep %v, want %v", kept, want)
		}
	})
}
