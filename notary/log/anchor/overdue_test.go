package anchor_test

import (
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// A checkpoint that the chain holds and nobody vouches for is covered by one of a new entry,
// without anybody handing in a document.
func TestOverdue(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		f.grow(t, 3)
		f.chain.set(func() { f.chain.never = 3 })
		begin, asked := time.Now(), []uint64(nil)
		f.overdue = func(size uint64) error {
			if after := time.Since(begin); len(asked) == 0 && (after < 30*time.Second || after > 40*time.Second) {
				t.Errorf("an entry is asked for after %v", after)
			}
			asked = append(asked, size)
			f.grow(t, 1)
			f.loop.Wake()
			return nil
		}
		stop := f.run(t)
		time.Sleep(time.Minute)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 4 ||
			!slices.Equal(asked, []uint64{3}) {
			t.Errorf("anchored %d, asked for an entry to cover %d, %v", p.Anchored, asked, err)
		}
		f.wantTold(t, 4)
		if f.logged.count(slog.LevelWarn) != 1 {
			t.Errorf("%d warnings", f.logged.count(slog.LevelWarn))
		}

		// The next time starts from the beginning.
		f.grow(t, 1)
		f.chain.set(func() { f.chain.never = 5 })
		f.loop.Wake()
		time.Sleep(time.Minute)
		if p, err := f.DB.Log.Progress(t.Context()); err != nil || p.Anchored != 6 ||
			!slices.Equal(asked, []uint64{3, 5}) {
			t.Errorf("anchored %d, asked for an entry to cover %d, %v", p.Anchored, asked, err)
		}
		fatalIfErr(t, stop())
		f.WantClean(t)
	})
}

// While nothing is vouched for, entries become rare, also where making them fails.
func TestOverdueForADay(t *testing.T) {
	for _, grows := range []bool{true, false} {
		slowly(t, func(t *testing.T, f *fixture) {
			f.grow(t, 3)
			f.chain.set(func() { f.chain.never = 1 << 40 })
			begin, asked := time.Now(), []time.Duration(nil)
			f.overdue = func(uint64) error {
				asked = append(asked, time.Since(begin).Round(time.Minute))
				if !grows {
					return errors.New("the disk is full")
				}
				f.grow(t, 1)
				f.loop.Wake()
				return nil
			}
			stop := f.run(t)
			time.Sleep(24 * time.Hour)
			if len(asked) < 24 || len(asked) > 31 || asked[0] != time.Minute || asked[1] != 2*time.Minute ||
				asked[2] != 4*time.Minute {
				t.Errorf("asked for an entry after %v", asked)
			}
			if n := f.logged.count(slog.LevelError); grows != (n == 0) {
				t.Errorf("%d errors in the log", n)
			}
			fatalIfErr(t, stop())
		})
	}
}

// A chain that does not take the checkpoint in gets no entries: they would not help.
func TestNotOverdue(t *testing.T) {
	slowly(t, func(t *testing.T, f *fixture) {
		f.grow(t, 3)
		f.chain.set(func() { f.chain.lose = 1 << 30 })
		f.overdue = func(size uint64) error {
			t.Errorf("asked for an entry to cover %d", size)
			return nil
		}
		stop := f.run(t)
		time.Sleep(time.Hour)
		fatalIfErr(t, stop())
	})
}
