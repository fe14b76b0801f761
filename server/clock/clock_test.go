package clock

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const tolerance = 30 * time.Second

func source(name string, off time.Duration) Source {
	return Source{Name: name, Now: func(context.Context) (time.Time, error) { return time.Now().Add(-off), nil }}
}

// Whom the clock contradicts decides: one source against it is enough where none agrees, and not
// where as many do.
func TestVotes(t *testing.T) {
	broken := Source{Name: "broken", Now: func(context.Context) (time.Time, error) {
		return time.Time{}, errors.New("away")
	}}
	for _, c := range []struct {
		name    string
		sources []Source
		wrong   bool
		sure    bool
	}{
		{"none", nil, false, false},
		{"away", []Source{broken}, false, false},
		{"agrees", []Source{source("a", time.Second)}, false, true},
		{"at the edge", []Source{source("a", tolerance-time.Second)}, false, true},
		{"ahead", []Source{source("a", 10*time.Minute)}, true, false},
		{"behind", []Source{source("a", -10*time.Minute)}, true, false},
		{"one of two", []Source{source("a", time.Hour), source("b", 0)}, false, false},
		{"two of three", []Source{source("a", time.Hour), source("b", 0), source("c", time.Hour)}, true, false},
		{"away does not count", []Source{broken, source("a", time.Hour)}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := New(tolerance, time.Now, slog.New(slog.DiscardHandler), c.sources...)
			g.Measure(t.Context())
			if err := g.Check(); errors.Is(err, ErrWrong) != c.wrong {
				t.Errorf("wrong %v: %v", c.wrong, err)
			}
			if g.Confirmed() != c.sure {
				t.Errorf("confirmed: %v", !c.sure)
			}
		})
	}
}

func TestWhatIsSaid(t *testing.T) {
	g := New(tolerance, time.Now, slog.New(slog.DiscardHandler), source("the bucket", 10*time.Minute))
	g.Measure(t.Context())
	if err := g.Check(); err == nil ||
		!strings.Contains(err.Error(), "10m0s ahead of the bucket; up to 30s are borne") {
		t.Error(err)
	}
}

// The inaccuracy of a reading is not held against the clock: a slow answer, or a header of whole
// seconds.
func TestInaccuracy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := Source{Name: "slow", Step: 2 * time.Second, Now: func(context.Context) (time.Time, error) {
			time.Sleep(4 * time.Second)
			return time.Now().Add(-tolerance - 4*time.Second), nil
		}}
		g := New(tolerance, time.Now, slog.New(slog.DiscardHandler), slow)
		g.Measure(t.Context())
		r := g.Readings()[0]
		if r.Offset != tolerance+2*time.Second || r.Error != 3*time.Second {
			t.Errorf("%+v", r)
		}
		if err := g.Check(); err != nil {
			t.Error(err)
		}
	})
}

// A source that does not answer any more is believed for an hour when it agreed, and until it answers
// again when it contradicted.
func TestReadingsAge(t *testing.T) {
	for _, off := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			away := false
			s := Source{Name: "a", Now: func(context.Context) (time.Time, error) {
				if away {
					return time.Time{}, errors.New("away")
				}
				return time.Now().Add(off), nil
			}}
			g := New(tolerance, time.Now, slog.New(slog.DiscardHandler), s)
			g.Measure(t.Context())
			away = true
			time.Sleep(MaxAge)
			g.Measure(t.Context())
			if len(g.Readings()) != 1 {
				t.Errorf("off by %v: the last reading was forgotten", off)
			}
			time.Sleep(time.Second)
			if wrong := g.Check() != nil; wrong != (off != 0) || len(g.Readings()) == 1 != wrong {
				t.Errorf("off by %v: %v", off, g.Readings())
			}
		})
	}
}

// While the clock is wrong it is looked at again every few seconds, and what is right is believed.
func TestRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off, asked atomic.Int64
		off.Store(int64(time.Hour))
		s := Source{Name: "a", Now: func(context.Context) (time.Time, error) {
			asked.Add(1)
			return time.Now().Add(-time.Duration(off.Load())), nil
		}}
		g := New(tolerance, time.Now, slog.New(slog.DiscardHandler), s)
		g.Measure(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		time.Sleep(2*Impatience + time.Second)
		if g.Check() == nil || asked.Load() != 4 {
			t.Errorf("%v after %d questions", g.Check(), asked.Load())
		}
		off.Store(0)
		time.Sleep(Impatience)
		if err := g.Check(); err != nil {
			t.Error(err)
		}
		asked.Store(0)
		time.Sleep(10 * Interval)
		if n := asked.Load(); n < 9 || n > 10 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Between two measurements nobody is asked, but that the clock was set shows at once.
func TestClockIsSet(t *testing.T) {
	set := time.Duration(0)
	g := New(tolerance, func() time.Time { return time.Now().Add(set) }, slog.New(slog.DiscardHandler), source("a", 0))
	g.Measure(t.Context())
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	for _, set = range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		if err := g.Check(); !errors.Is(err, ErrWrong) {
			t.Errorf("set by %v: %v", set, err)
		}
	}
	set = 10 * time.Second
	if err := g.Check(); err != nil {
		t.Errorf("within what is borne: %v", err)
	}
}
