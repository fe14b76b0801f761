package storagetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"stele/notary"
	"stele/storage/storagetest"
)

// Without faults the wrapper changes nothing.
func TestFaultyConformance(t *testing.T) {
	storagetest.TestObjects(t, func(t *testing.T) storagetest.Store {
		return storagetest.NewFaulty(storagetest.NewDir(t))
	})
}

// writeAll does each write once, on a key that is ready for it.
var writeAll = map[storagetest.Op]func(ctx context.Context, s storagetest.Store) error{
	storagetest.OpCreate: func(ctx context.Context, s storagetest.Store) error {
		_, err := s.Create(ctx, "w", strings.NewReader("new"), -1)
		return err
	},
	storagetest.OpPutOnce: func(ctx context.Context, s storagetest.Store) error {
		return s.PutOnce(ctx, "w", []byte("new"))
	},
	storagetest.OpPutOnceAll: func(ctx context.Context, s storagetest.Store) error {
		return s.PutOnceAll(ctx, map[string][]byte{"v": []byte("new"), "w": []byte("new")})
	},
	storagetest.OpReplace: func(ctx context.Context, s storagetest.Store) error {
		return s.Replace(ctx, "w", func([]byte) ([]byte, error) { return []byte("new"), nil })
	},
	storagetest.OpDelete: func(ctx context.Context, s storagetest.Store) error { return s.Delete(ctx, "old") },
}

func keysOf(t *testing.T, s storagetest.Store) (keys []string) {
	t.Helper()
	if err := s.List(t.Context(), "",
		func(o notary.Object) error { keys = append(keys, o.Key); return nil }); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestFaultyModes(t *testing.T) {
	for _, op := range storagetest.Writes {
		for _, mode := range storagetest.Modes {
			t.Run(string(op)+" "+mode.String(), func(t *testing.T) {
				f := storagetest.NewFaulty(storagetest.NewDir(t))
				if err := f.PutOnce(t.Context(), "old", []byte("old")); err != nil {
					t.Fatal(err)
				}
				fault := f.Inject(storagetest.Fault{Op: op, Call: 1, Mode: mode})
				if err := writeAll[op](t.Context(), f); !errors.Is(err, storagetest.ErrInjected) || !fault.WasHit() {
					t.Fatalf("got %v, hit: %t", err, fault.WasHit())
				}
				want := map[bool][]string{true: {"old"}, false: {"old", "w"}}[mode == storagetest.Fail]
				switch {
				case op == storagetest.OpDelete && mode != storagetest.Fail:
					want = nil
				case op == storagetest.OpPutOnceAll && mode == storagetest.FailPersisted:
					want = []string{"old", "v", "w"}
				case op == storagetest.OpPutOnceAll && mode == storagetest.FailPartly:
					want = []string{"old", "v"}
				}
				if op == storagetest.OpDelete && mode == storagetest.Fail {
					want = []string{"old"}
				}
				if got := keysOf(t, f); !slices.Equal(got, want) {
					t.Errorf("stored %q, want %q", got, want)
				}
			})
		}
	}
}

func TestFaultyCallsAndPrefix(t *testing.T) {
	f := storagetest.NewFaulty(storagetest.NewDir(t))
	gone := errors.New("gone")
	f.Inject(storagetest.Fault{Op: storagetest.OpGet, Prefix: "tile/", Call: 2, Mode: storagetest.Fail, Err: gone})
	for n, c := range []struct {
		key  string
		want error
	}{
		{"tile/1", notary.ErrObjectNotFound}, {"doc/1", notary.ErrObjectNotFound}, {"tile/2", gone},
		{"tile/3", notary.ErrObjectNotFound},
	} {
		if _, err := f.Get(t.Context(), c.key, 1); !errors.Is(err, c.want) {
			t.Errorf("call %d: got %v, want %v", n, err, c.want)
		}
	}
	f.Inject(storagetest.Fault{Op: storagetest.OpOpen, Mode: storagetest.FailPersisted, Err: gone})
	if err := f.PutOnce(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if body, _, err := f.Open(t.Context(), "a", ""); !errors.Is(err, gone) || body != nil {
			t.Errorf("got %v and a body: %t", err, body != nil)
		}
	}
	f.Heal()
	if body, _, err := f.Open(t.Context(), "a", ""); err != nil || body.Close() != nil {
		t.Errorf("after Heal: %v", err)
	}
	if n := f.Calls(storagetest.OpOpen); n != 3 {
		t.Errorf("%d calls of Open, want 3", n)
	}
}

// A create that fails still reads its body: that is how a server fails at the end.
func TestFaultyCreateReadsTheBody(t *testing.T) {
	f := storagetest.NewFaulty(storagetest.NewDir(t))
	f.Inject(storagetest.Fault{Op: storagetest.OpCreate, Mode: storagetest.Fail})
	body := strings.NewReader("body")
	if _, err := f.Create(t.Context(), "a", body, -1); !errors.Is(err, storagetest.ErrInjected) || body.Len() != 0 {
		t.Errorf("got %v with %d bytes unread", err, body.Len())
	}
}

func TestFaultyHold(t *testing.T) {
	f := storagetest.NewFaulty(storagetest.NewDir(t))
	held := f.Inject(storagetest.Fault{Op: storagetest.OpPutOnce, Mode: storagetest.Hold})
	done := make(chan error)
	go func() { done <- f.PutOnce(t.Context(), "a", []byte("a")) }()
	<-held.Hit()
	if keys := keysOf(t, f); len(keys) != 0 {
		t.Errorf("a held write has stored %q", keys)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- f.PutOnce(ctx, "b", nil) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v for a held call whose context has ended", err)
	}
	held.Release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if data, err := f.Get(t.Context(), "a", 1); err != nil || string(data) != "a" {
		t.Errorf("got %q, %v", data, err)
	}
}
