package storagetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"stele/notary"
)

func testReplace(t *testing.T, s Store) {
	const key = "checkpoint"
	replace := func(want, value []byte) {
		t.Helper()
		called := false
		fatalIfErr(t, s.Replace(t.Context(), key, func(current []byte) ([]byte, error) {
			called = true
			if (current == nil) != (want == nil) || string(current) != string(want) {
				t.Errorf("current is %q (nil: %t), want %q", current, current == nil, want)
			}
			return value, nil
		}))
		if !called {
			t.Error("next was not called")
		}
	}
	replace(nil, nil) // left absent
	if keys := mustList(t, s, ""); len(keys) != 0 {
		t.Errorf("nothing was to be written, there is %q", keys)
	}
	replace(nil, []byte{})
	wantObject(t, s, key, "", nil)
	replace([]byte{}, []byte("1"))
	replace([]byte("1"), nil) // left as it is
	replace([]byte("1"), []byte("1"))
	replace([]byte("1"), []byte("2"))
	wantObject(t, s, key, "", []byte("2"))

	refuse := errors.New("refused")
	wantErr(t, s.Replace(t.Context(), key, func([]byte) ([]byte, error) { return []byte("3"), refuse }), refuse)
	wantObject(t, s, key, "", []byte("2"))

	// A reader that began before sees the old value to its end.
	body, _, err := s.Open(t.Context(), key, "")
	fatalIfErr(t, err)
	replace([]byte("2"), []byte("longer"))
	old, err := io.ReadAll(body)
	fatalIfErr(t, errors.Join(err, body.Close()))
	if string(old) != "2" {
		t.Errorf("an open object changed to %q", old)
	}
	fatalIfErr(t, s.Delete(t.Context(), key))
	replace(nil, []byte("new"))
}

// testReplaceRace counts with many writers: none of their steps may get lost.
func testReplaceRace(t *testing.T, s Store) {
	const writers, steps = 8, 20
	errs := together(writers, func(int) error {
		for range steps {
			err := s.Replace(t.Context(), "counter", func(current []byte) ([]byte, error) {
				n := 0
				if current != nil {
					var err error
					if n, err = strconv.Atoi(string(current)); err != nil {
						return nil, err
					}
				}
				return strconv.AppendInt(nil, int64(n+1), 10), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	fatalIfErr(t, errors.Join(errs...))
	wantObject(t, s, "counter", "", strconv.AppendInt(nil, writers*steps, 10))
}

// together runs f(0) to f(n-1) at the same time and returns what each returned.
func together(n int, f func(n int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// wantOneWinner returns the one writer without an error; all others have want.
func wantOneWinner(t *testing.T, errs []error, want error) int {
	t.Helper()
	winner := -1
	for n, err := range errs {
		switch {
		case err == nil && winner < 0:
			winner = n
		case err == nil:
			t.Errorf("writers %d and %d both won", winner, n)
		default:
			wantErr(t, err, want)
		}
	}
	if winner < 0 {
		t.Fatalf("nobody won: %v", errs)
	}
	return winner
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || err != nil && want == nil {
		t.Errorf("got %v, want %v", err, want)
	}
}

// wantObject reads an object in both ways.
func wantObject(t *testing.T, s Store, key, version string, want []byte) {
	t.Helper()
	body, object, err := s.Open(t.Context(), key, version)
	fatalIfErr(t, err)
	got, err := io.ReadAll(body)
	fatalIfErr(t, errors.Join(err, body.Close()))
	if string(got) != string(want) {
		t.Errorf("%s holds %.40q, want %.40q", key, got, want)
	}
	if object.Key != key || object.Size != int64(len(want)) || object.ModTime.IsZero() || version != "" &&
		object.Version != version {
		t.Errorf("opened %+v, want key %s, version %q and %d bytes", object, key, version, len(want))
	}
	whole, err := s.Get(t.Context(), key, int64(len(want)))
	fatalIfErr(t, err)
	if version == "" && string(whole) != string(want) {
		t.Errorf("%s: Get gives %.40q, want %.40q", key, whole, want)
	}
}

func mustDigest(t *testing.T, s Store, key, version string) (sum [32]byte, size int64) {
	t.Helper()
	body, _, err := s.Open(t.Context(), key, version)
	fatalIfErr(t, err)
	size, err = io.Copy(io.Discard, digesting(body, &sum))
	fatalIfErr(t, errors.Join(err, body.Close()))
	return sum, size
}

func mustList(t *testing.T, s Store, prefix string) []string {
	t.Helper()
	var keys []string
	fatalIfErr(t, s.List(t.Context(), prefix, func(o notary.Object) error {
		keys = append(keys, o.Key)
		return nil
	}))
	return keys
}

// pattern is a body of so many bytes in which no two blocks are alike.
func pattern(size int64) io.Reader { return io.LimitReader(&counter{}, size) }

type counter struct{ n uint64 }

func (c *counter) Read(p []byte) (int, error) {
	full := len(p) &^ 7
	for i := 0; i < full; i += 8 {
		binary.BigEndian.PutUint64(p[i:], c.n*0x9e3779b97f4a7c15)
		c.n++
	}
	if full == 0 { // shorter than a number: as good as any
		copy(p, fmt.Sprintf("%07d", c.n%1e7))
		c.n++
		return len(p), nil
	}
	return full, nil
}

// calling is an empty reader that calls f when it is read.
func calling(f func()) io.Reader { return callingReader(f) }

type callingReader func()

func (f callingReader) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// heapWatch looks at the size of the heap as a body is read, every few MiB.
type heapWatch struct {
	r          io.Reader
	base, peak int64
	every, due int64 // bytes
}

func watchHeap(r io.Reader) *heapWatch {
	w := &heapWatch{r: r, every: 4 << 20}
	w.base = w.heap()
	w.peak = w.base
	return w
}

func (w *heapWatch) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.due -= int64(n); w.due < 0 {
		w.due = w.every
		w.peak = max(w.peak, w.heap())
	}
	return n, err
}

// heap is what lives on the heap now, in bytes.
func (w *heapWatch) heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
