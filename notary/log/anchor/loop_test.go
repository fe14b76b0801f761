package anchor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stele/crypto/merkle"
	"stele/notary/log/anchor"
	"stele/notary/proof/checkpoint"
	"stele/storage/storagetest"
)

// Checkpoints are anchored as they come, the newest one for all before it.
func TestAnchors(t *testing.T) {
	storagetest.EachBackend(t, func(t *testing.T, b storagetest.Backend) {
		f := newFixture(t, b)
		fatalIfErr(t, f.loop.Check(t.Context()))
		for range 3 {
			f.grow(t, 2)
		}
		stop := f.run(t)
		f.wait(t, 6)
		if n := f.chain.count("Submit"); n != 1 {
			t.Errorf("%d submissions for one anchor", n)
		}
		for i := range 3 {
			f.grow(t, 1)
			f.loop.Wake()
			f.wait(t, uint64(7+i))
		}
		fatalIfErr(t, stop())
		f.wantTold(t, 6, 7, 8, 9)
		f.WantClean(t)
		if res := f.Fsck(t); res.Anchors != 4 || f.logged.count(slog.LevelWarn) > 0 {
			t.Errorf("%d anchors, %d warnings", res.Anchors, f.logged.count(slog.LevelWarn))
		}
		fatalIfErr(t, f.newLoop(f.chain).Check(t.Context()))
	})
}

// A restart in between costs nothing but a question: the evidence is fetched, not made again.
func TestRestartBetweenAnchorAndStore(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	c := f.grow(t, 3)
	f.chain.set(func() { f.chain.commit(c) }) // a server submitted it and died
	fatalIfErr(t, f.loop.Check(t.Context()))
	f.run(t)
	f.wait(t, 3)
	if n := f.chain.count("Submit"); n != 0 {
		t.Errorf("%d submissions of what the chain has", n)
	}
	f.WantClean(t)
}

// Each write and read of the database fails in each way; everything is anchored all the
// same, and told of once.
func TestDatabaseFaults(t *testing.T) {
	for _, op := range []storagetest.Op{storagetest.OpAnchorState, storagetest.OpSaveEvidence} {
		for _, mode := range []storagetest.Mode{storagetest.Fail, storagetest.FailPersisted} {
			t.Run(string(op)+" "+mode.String(), func(t *testing.T) {
				f := newFixture(t, storagetest.Embedded)
				f.grow(t, 3)
				f.db.Inject(storagetest.Fault{Op: op, Mode: mode, Call: 1})
				f.run(t)
				f.wait(t, 3)
				f.grow(t, 1)
				f.loop.Wake()
				f.wait(t, 4)
				f.wantTold(t, 3, 4)
				f.WantClean(t)
			})
		}
	}
}

// slowly runs f in a bubble of fake time: an hour passes in no time, and calls are counted.
func slowly(t *testing.T, f func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newFixture(t, storagetest.Embedded)) })
}

// A chain that is away for an hour is asked now and then, and caught up with when it is back.
func TestUnavailableForAnHour(t *testing.T) {
	for _, method := range []string{"Head", "Submit", "Evidence"} {
		t.Run(method, func(t *testing.T) {
			slowly(t, func(t *testing.T, f *fixture) {
				f.grow(t, 3)
				f.chain.set(func() { f.chain.fail[method] = anchor.ErrUnavailable })
				stop := f.run(t)
				time.Sleep(time.Hour)
				if n := f.chain.count(method); n < 100 || n > 500 {
					t.Errorf("%d calls in an hour", n)
				}
				if f.logged.count(slog.LevelWarn) == 0 || f.logged.count(slog.LevelError) > 0 {
					t.Errorf("%d warnings, %d errors", f.logged.count(slog.LevelWarn), f.logged.count(slog.LevelError))
				}
				f.grow(t, 2) // the log goes on
				f.chain.set(func() { delete(f.chain.fail, method) })
				time.Sleep(11 * time.Second)
				if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 5 {
					t.Errorf("anchored %d, %v", p.Anchored, err)
				}
				fatalIfErr(t, stop())
			})
		})
	}
}

// A submission that is lost is made again; one that stays pending is not made too often.
func TestLostSubmission(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		f.grow(t, 3)
		f.chain.set(func() { f.chain.lose = 2 })
		stop := f.run(t)
		time.Sleep(10 * time.Second)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 3 || f.chain.count("Submit") != 3 {
			t.Errorf("anchored %d after %d submissions, %v", p.Anchored, f.chain.count("Submit"), err)
		}
		fatalIfErr(t, stop())
	})
}

func TestPendingForAnHour(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		f.grow(t, 3)
		f.chain.set(func() { f.chain.pending = true })
		stop := f.run(t)
		for range 3600 {
			f.chain.changed.Notify() // blocks go by
			time.Sleep(time.Second)
		}
		if n := f.chain.count("Evidence"); n > 6000 {
			t.Errorf("asked for evidence %d times", n)
		}
		if n := f.chain.count("Submit"); n > 1 {
			t.Errorf("%d submissions of what the chain has", n)
		}
		f.chain.set(func() { f.chain.pending = false })
		synctest.Wait()
		time.Sleep(time.Second)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 3 {
			t.Errorf("anchored %d, %v", p.Anchored, err)
		}
		fatalIfErr(t, stop())
	})
}

// Stale submissions are made anew soon, but not for ever at that pace.
func TestStale(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		f.grow(t, 3)
		f.chain.set(func() { f.chain.fail["Submit"] = anchor.ErrStale })
		stop := f.run(t)
		time.Sleep(100 * time.Millisecond)
		if n := f.chain.count("Submit"); n < 2 || n > 5 {
			t.Errorf("%d submissions in the first tenth of a second", n)
		}
		time.Sleep(time.Hour)
		if n := f.chain.count("Submit"); n > 500 || f.logged.count(slog.LevelWarn) == 0 {
			t.Errorf("%d submissions in an hour, %d warnings", n, f.logged.count(slog.LevelWarn))
		}
		f.chain.set(func() { delete(f.chain.fail, "Submit") })
		time.Sleep(11 * time.Second)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 3 {
			t.Errorf("anchored %d, %v", p.Anchored, err)
		}
		fatalIfErr(t, stop())
	})
}

// Evidence that does not verify is never stored; it is loud, and does not spin.
func TestEvidenceThatDoesNotVerify(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		f.grow(t, 3)
		f.chain.set(func() { f.chain.bad = true })
		stop := f.run(t)
		time.Sleep(time.Hour)
		if n := f.chain.count("Evidence"); n > 500 || f.logged.count(slog.LevelError) == 0 {
			t.Errorf("asked %d times, %d errors in the log", n, f.logged.count(slog.LevelError))
		}
		if list, err := f.DB.Log.AnchorsFrom(t.Context(), 0, 10); err != nil || len(list) != 0 {
			t.Errorf("%d anchors are stored, %v", len(list), err)
		}
		f.chain.set(func() { f.chain.bad = false })
		time.Sleep(11 * time.Second)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 3 {
			t.Errorf("anchored %d, %v", p.Anchored, err)
		}
		fatalIfErr(t, stop())
	})
}

// Where there is nothing to anchor the loop is quiet.
func TestIdle(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		stop := f.run(t)
		time.Sleep(time.Hour)
		if n := f.db.Calls(storagetest.OpAnchorState); n > 3700 || f.chain.count("Head") > 0 {
			t.Errorf("%d looks at the database, %d at the chain", n, f.chain.count("Head"))
		}
		fatalIfErr(t, stop())
	})
}

// Under load an anchor covers what came meanwhile: the chain must not grow by one for each
// of the log's checkpoints.
func TestPace(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		stop := f.run(t)
		for range 60 {
			f.grow(t, 100)
			f.loop.Wake()
			time.Sleep(50 * time.Millisecond)
		}
		if n := f.chain.count("Submit"); n < 1 || n > 15 {
			t.Errorf("%d anchors in three seconds", n)
		}
		time.Sleep(30 * time.Second)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 6000 {
			t.Errorf("anchored %d, %v", p.Anchored, err)
		}
		fatalIfErr(t, stop())
	})
}

// A chain and a database that do not belong together: the start is refused, and a loop that
// runs ends, at once, loudly and without another word to the chain.
func TestMismatch(t *testing.T) {
	other := merkle.LeafHash([]byte("another history"))
	origin := ""
	for name, c := range map[string]struct {
		damage func(t *testing.T, f *fixture)
		check  string // what the start says; empty: it cannot know yet
		run    error
	}{
		"the chain is ahead": {func(t *testing.T, f *fixture) {
			f.chain.set(func() { f.chain.head = checkpoint.Checkpoint{Origin: origin, Size: 9, Root: other} })
		}, "the database is older, perhaps restored from a backup", anchor.ErrMismatch},
		"the chain has another root": {func(t *testing.T, f *fixture) {
			f.chain.set(func() { f.chain.head = checkpoint.Checkpoint{Origin: origin, Size: 5, Root: other} })
		}, "another root for size 5", anchor.ErrMismatch},
		"the chain has another past": {func(t *testing.T, f *fixture) {
			f.chain.set(func() { f.chain.head = checkpoint.Checkpoint{Origin: origin, Size: 4, Root: other} })
		}, "", anchor.ErrMismatch},
		"the chain says fork at submission": {func(t *testing.T, f *fixture) {
			f.chain.set(func() { f.chain.fail["Submit"] = fmt.Errorf("%w: says the chain", anchor.ErrFork) })
		}, "", anchor.ErrFork},
		"the chain says fork later": {func(t *testing.T, f *fixture) {
			f.chain.set(func() { f.chain.fail["Evidence"] = anchor.ErrFork })
		}, "", anchor.ErrFork},
	} {
		t.Run(name, func(t *testing.T) {
			slowly(t, func(t *testing.T, f *fixture) {
				origin = f.World.Origin()
				f.run(t)
				f.grow(t, 3)
				f.loop.Wake()
				f.wait(t, 3)
				f.grow(t, 2)
				c.damage(t, f)
				err := f.newLoop(f.chain).Check(t.Context())
				if c.check == "" && err != nil || c.check != "" && (!errors.Is(err, anchor.ErrMismatch) ||
					!strings.Contains(err.Error(), c.check)) {
					t.Errorf("the start says %v, want %q", err, c.check)
				}
				before := f.chain.count("Submit")
				if err := f.newLoop(f.chain).Run(t.Context()); !errors.Is(err, c.run) {
					t.Errorf("Run returns %v", err)
				}
				if n := f.chain.count("Submit") - before; n > 2 || f.logged.count(slog.LevelError) == 0 {
					t.Errorf("%d submissions, %d errors in the log", n, f.logged.count(slog.LevelError))
				}
				if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 3 {
					t.Errorf("anchored %d, %v", p.Anchored, err)
				}
			})
		})
	}
}

// A chain that was restored from an older copy has lost what the database can prove.
func TestOlderChain(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.grow(t, 3)
	stop := f.run(t)
	f.wait(t, 3)
	fatalIfErr(t, stop())
	err := f.newLoop(newDouble(f.Site)).Check(t.Context())
	if !errors.Is(err, anchor.ErrMismatch) || !strings.Contains(err.Error(), "Restore the chain's folder") ||
		!strings.Contains(err.Error(), "move the log") {
		t.Errorf("got %v", err)
	}
	f.chain.set(func() { f.chain.fail["Head"] = anchor.ErrUnavailable })
	if err := f.newLoop(f.chain).Check(t.Context()); !errors.Is(err, anchor.ErrUnavailable) ||
		errors.Is(err, anchor.ErrMismatch) {
		t.Errorf("a chain that is away: %v", err)
	}
}

// A damaged tile is our own trouble: it must not be taken for a fork, nor go to the chain.
func TestDamagedTileIsNoFork(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		f.run(t)
		f.grow(t, 3)
		f.loop.Wake()
		f.wait(t, 3)
		f.grow(t, 4)
		good, err := f.Objects.Get(t.Context(), "tile/0/000.p/7", 1<<10)
		fatalIfErr(t, err)
		bad := append([]byte(nil), good...)
		bad[2*merkle.HashSize] ^= 1
		put := func(data []byte) {
			fatalIfErr(t, f.Objects.Replace(t.Context(), "tile/0/000.p/7", func([]byte) ([]byte, error) {
				return data, nil
			}))
		}
		put(bad)
		before := f.chain.count("Submit")
		f.loop.Wake()
		time.Sleep(time.Minute)
		if f.chain.count("Submit") != before || f.logged.count(slog.LevelError) == 0 {
			t.Errorf("%d submissions, %d errors in the log", f.chain.count("Submit")-before,
				f.logged.count(slog.LevelError))
		}
		put(good)
		time.Sleep(11 * time.Second)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 7 {
			t.Errorf("anchored %d, %v", p.Anchored, err)
		}
	})
}

// Another server advances and anchors between two reads: nothing is wrong with that.
func TestAnotherServerAtWork(t *testing.T) {
	for _, during := range []string{"Check", "Run"} {
		t.Run(during, func(t *testing.T) {
			f := newFixture(t, storagetest.Embedded)
			f.grow(t, 3)
			other := f.newLoop(f.chain)
			done := false
			f.chain.set(func() {
				f.chain.hook = func(method string) {
					f.chain.mu.Lock()
					again := done
					done = true
					f.chain.mu.Unlock()
					if method != "Head" || again {
						return
					}
					f.grow(t, 2)
					ctx, cancel := context.WithCancel(t.Context())
					finished := make(chan error, 1)
					go func() { finished <- other.Run(ctx) }()
					f.wait(t, 5)
					cancel()
					if err := <-finished; err != nil {
						t.Error(err)
					}
				}
			})
			if during == "Check" {
				fatalIfErr(t, f.loop.Check(t.Context()))
				return
			}
			stop := f.run(t)
			f.wait(t, 5)
			f.grow(t, 1)
			f.loop.Wake()
			f.wait(t, 6)
			fatalIfErr(t, stop())
			f.WantClean(t)
		})
	}
}

// A call that hangs is given up, and a stop does not wait for the chain.
func TestStopWhileWaiting(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.grow(t, 3)
	f.chain.set(func() { f.chain.pending = true })
	asked := make(chan struct{}, 100)
	f.chain.set(func() {
		f.chain.hook = func(method string) {
			if method == "Evidence" {
				asked <- struct{}{}
			}
		}
	})
	stop := f.run(t)
	<-asked
	fatalIfErr(t, stop())
}

// A chain that the log moved to need not know what was anchored before; what came after it must.
func TestMovedChain(t *testing.T) {
	f := newFixture(t, storagetest.Embedded)
	f.grow(t, 3)
	stop := f.run(t)
	f.wait(t, 3)
	fatalIfErr(t, stop())
	for from, want := range map[uint64]error{3: nil, 2: anchor.ErrMismatch} {
		if err := f.newMovedLoop(newDouble(f.Site), from).Check(t.Context()); !errors.Is(err, want) {
			t.Errorf("moved at size %d: %v", from, err)
		}
	}
}
