// Package storagetest is what tests of storage need: the conformance suite that every
// object store passes ([TestObjects]), a wrapper that makes a store fail at will
// ([Faulty]), and real servers on the loopback interface ([StartPostgres], [StartMinIO]).
//
// Servers are real ones, never imitations. One that is not installed fails the test and
// says how to install it; nothing is skipped. They end with the test binary.
package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"stele/notary"
	"stele/storage/blob"
)

// Reader is the reading half of an object store.
//
// Methods are safe for concurrent use and see every write that was reported as done
// before they began. A key without an object is [notary.ErrObjectNotFound], from the
// method itself. Nothing is retried here but what the adapter does by itself.
type Reader interface {
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
	List(ctx context.Context, prefix string, fn func(notary.Object) error) error
}

// Writer is the writing half of an object store.
//
// Methods are safe for concurrent use, also from several processes. What they report as
// done is durable; whoever gets any other error than the ones of package notary does not
// know whether it was done. All but Create and Replace may be repeated freely.
type Writer interface {
	Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error)
	PutOnce(ctx context.Context, key string, data []byte) error
	PutOnceAll(ctx context.Context, objects map[string][]byte) error
	Replace(ctx context.Context, key string, next func(current []byte) ([]byte, error)) error
	Delete(ctx context.Context, key string) error
}

// Store is what the adapters in storage/blob implement.
type Store interface {
	Reader
	Writer
}

// TestObjects checks that a store keeps the promises of [Reader] and [Writer]. open
// returns a new store, or another handle on an empty part of one.
func TestObjects(t *testing.T, open func(t *testing.T) Store) {
	// By itself, for it watches the heap that all tests share.
	t.Run("create large", func(t *testing.T) { testCreateLarge(t, open(t)) })
	for _, c := range []struct {
		name string
		test func(t *testing.T, s Store)
	}{
		{"create", testCreate},
		{"create sizes", testCreateSizes},
		{"create fails", testCreateFails},
		{"create race", testCreateRace},
		{"not found", testNotFound},
		{"versions", testVersions},
		{"get limit", testGetLimit},
		{"put once", testPutOnce},
		{"put once race", testPutOnceRace},
		{"put once all", testPutOnceAll},
		{"put once all differs", testPutOnceAllDiffers},
		{"replace", testReplace},
		{"replace race", testReplaceRace},
		{"list", testList},
		{"delete", testDelete},
		{"bad keys", testBadKeys},
		{"cancelled", testCancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, open(t))
		})
	}
}

func testCreate(t *testing.T, s Store) {
	for key, data := range map[string]string{"doc/1": "hello", "doc/empty": "", "x": "at the top"} {
		for _, size := range []int64{-1, int64(len(data))} {
			key := fmt.Sprintf("%s.%d", key, size+1)
			created, err := s.Create(t.Context(), key, strings.NewReader(data), size)
			fatalIfErr(t, err)
			if created.Key != key || created.Size != int64(len(data)) || created.ModTime.IsZero() {
				t.Errorf("created %+v, want key %s and %d bytes", created, key, len(data))
			}
			wantObject(t, s, key, created.Version, []byte(data))
			_, err = s.Create(t.Context(), key, strings.NewReader("other"), -1)
			wantErr(t, err, notary.ErrObjectExists)
			wantObject(t, s, key, "", []byte(data))
		}
	}
}

// Sizes around the buffers of the adapters, with the size known and not.
func testCreateSizes(t *testing.T, s Store) {
	for _, size := range []int64{1, 255, 256, 257, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128<<10 + 1, 256 << 10,
		5<<20 - 1, 5 << 20, 5<<20 + 1, 10 << 20, 10<<20 + 1} {
		for _, declared := range []int64{-1, size} {
			key := fmt.Sprintf("size/%d.%d", size, declared+1)
			var sum [32]byte
			created, err := s.Create(t.Context(), key, digesting(pattern(size), &sum), declared)
			fatalIfErr(t, err)
			if created.Size != size {
				t.Errorf("%s: created %d bytes", key, created.Size)
			}
			if got, n := mustDigest(t, s, key, created.Version); got != sum || n != size {
				t.Errorf("%s: read %d other bytes", key, n)
			}
		}
	}
}

// After a failure there is nothing under the key, and the key can be used.
func testCreateFails(t *testing.T, s Store) {
	gone := errors.New("the client has gone")
	const large = 12 << 20 // more than one part of the smallest size
	ctx, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		ctx  context.Context
		r    io.Reader
		size int64
		want error
	}{
		"short":          {t.Context(), strings.NewReader("1234"), 5, blob.ErrSize},
		"long":           {t.Context(), strings.NewReader("123456"), 5, blob.ErrSize},
		"not-empty":      {t.Context(), strings.NewReader("1"), 0, blob.ErrSize},
		"short-large":    {t.Context(), pattern(large), large + 1, blob.ErrSize},
		"long-large":     {t.Context(), pattern(large + 1), large, blob.ErrSize},
		"reader":         {t.Context(), failing(pattern(3), gone), -1, gone},
		"reader-known":   {t.Context(), failing(pattern(3), gone), 4, gone},
		"reader-at-end":  {t.Context(), failing(pattern(3), gone), 3, gone},
		"reader-large":   {t.Context(), failing(pattern(large), gone), -1, gone},
		"cut-off":        {t.Context(), failing(pattern(3), io.ErrUnexpectedEOF), -1, io.ErrUnexpectedEOF},
		"cut-off-large":  {t.Context(), failing(pattern(large), io.ErrUnexpectedEOF), -1, io.ErrUnexpectedEOF},
		"cut-off-known":  {t.Context(), failing(pattern(large), io.ErrUnexpectedEOF), 2 * large, io.ErrUnexpectedEOF},
		"cancelled-late": {ctx, io.MultiReader(pattern(large), calling(cancel), pattern(large)), -1, context.Canceled},
	} {
		_, err := s.Create(c.ctx, "doc/"+name, c.r, c.size)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if keys := mustList(t, s, ""); len(keys) != 0 {
		t.Errorf("failed writes have left %q", keys)
	}
	_, err := s.Create(t.Context(), "doc/reader-large", strings.NewReader("whole"), -1)
	fatalIfErr(t, err)
	wantObject(t, s, "doc/reader-large", "", []byte("whole"))
}

// testCreateLarge streams 64 MiB and watches the heap.
func testCreateLarge(t *testing.T, s Store) {
	if testing.Short() {
		t.Skip("64 MiB")
	}
	const size = 64 << 20
	var sum [32]byte
	watch := watchHeap(digesting(pattern(size), &sum))
	created, err := s.Create(t.Context(), "large", watch, -1)
	fatalIfErr(t, err)
	got, n := mustDigest(t, s, "large", created.Version)
	if got != sum || n != size {
		t.Errorf("read %d other bytes", n)
	}
	// Two parts of the usual 16 MiB and some room.
	if grown := watch.peak - watch.base; grown > 40<<20 {
		t.Errorf("the heap grew by %d MiB for a document of %d", grown>>20, size>>20)
	}
}

// Of concurrent creators exactly one wins, in one request and in parts.
func testCreateRace(t *testing.T, s Store) {
	for _, size := range []int64{100, 6 << 20} {
		key := fmt.Sprintf("race/%d", size)
		errs := together(4, func(n int) error {
			_, err := s.Create(t.Context(), key, io.MultiReader(strings.NewReader(fmt.Sprint(n)), pattern(size)), -1)
			return err
		})
		winner := wantOneWinner(t, errs, notary.ErrObjectExists)
		body, _, err := s.Open(t.Context(), key, "")
		fatalIfErr(t, err)
		var first [1]byte
		_, err = io.ReadFull(body, first[:])
		fatalIfErr(t, errors.Join(err, body.Close()))
		if string(first[:]) != fmt.Sprint(winner) {
			t.Errorf("%s: writer %d won, the object is of %s", key, winner, first)
		}
	}
}

func testNotFound(t *testing.T, s Store) {
	fatalIfErr(t, s.PutOnce(t.Context(), "a/b", []byte("b")))
	for _, key := range []string{"nothing", "a", "a/b/c", "a/bb"} {
		_, _, err := s.Open(t.Context(), key, "")
		wantErr(t, err, notary.ErrObjectNotFound)
		_, err = s.Get(t.Context(), key, 10)
		wantErr(t, err, notary.ErrObjectNotFound)
		fatalIfErr(t, s.Delete(t.Context(), key))
	}
	wantObject(t, s, "a/b", "", []byte("b"))
}

func testVersions(t *testing.T, s Store) {
	created, err := s.Create(t.Context(), "doc", strings.NewReader("v1"), -1)
	fatalIfErr(t, err)
	wantObject(t, s, "doc", created.Version, []byte("v1"))
	for _, version := range []string{"nonsense", "3f0c0a5e-0000-4000-8000-000000000000"} {
		_, _, err := s.Open(t.Context(), "doc", version)
		wantErr(t, err, notary.ErrObjectNotFound)
	}
}

func testGetLimit(t *testing.T, s Store) {
	fatalIfErr(t, s.PutOnce(t.Context(), "five", []byte("12345")))
	for limit, want := range map[int64]error{4: blob.ErrTooLarge, 5: nil, 6: nil} {
		data, err := s.Get(t.Context(), "five", limit)
		wantErr(t, err, want)
		if err == nil && string(data) != "12345" {
			t.Errorf("got %q", data)
		}
	}
}

func testPutOnce(t *testing.T, s Store) {
	for _, data := range [][]byte{{}, []byte("tile"), bytes.Repeat([]byte("x"), 300<<10)} {
		key := fmt.Sprintf("tile/%d", len(data))
		for range 2 {
			fatalIfErr(t, s.PutOnce(t.Context(), key, data))
		}
		wantErr(t, s.PutOnce(t.Context(), key, append([]byte("y"), data...)), notary.ErrObjectDiffers)
		if len(data) > 0 {
			wantErr(t, s.PutOnce(t.Context(), key, data[1:]), notary.ErrObjectDiffers)
			wantErr(t, s.PutOnce(t.Context(), key, append([]byte("y"), data[1:]...)), notary.ErrObjectDiffers)
		}
		wantObject(t, s, key, "", data)
	}
	_, err := s.Create(t.Context(), "tile/4", strings.NewReader("tile"), 4)
	wantErr(t, err, notary.ErrObjectExists)
}

// Of writers with different bytes exactly one wins; writers with equal bytes all do.
func testPutOnceRace(t *testing.T, s Store) {
	for round := range 10 {
		key := fmt.Sprintf("race/%d", round)
		errs := together(6, func(n int) error { return s.PutOnce(t.Context(), key, fmt.Append(nil, n)) })
		winner := wantOneWinner(t, errs, notary.ErrObjectDiffers)
		wantObject(t, s, key, "", fmt.Append(nil, winner))
	}
	for _, err := range together(6, func(int) error { return s.PutOnce(t.Context(), "same", []byte("same")) }) {
		fatalIfErr(t, err)
	}
}

func testPutOnceAll(t *testing.T, s Store) {
	objects := map[string][]byte{}
	for n := range 100 {
		objects[fmt.Sprintf("tile/%d/x%03d/%03d", n%3, n%7, n)] = bytes.Repeat([]byte{byte(n)}, 100*n)
	}
	fatalIfErr(t, s.PutOnceAll(t.Context(), objects))
	objects["tile/more"] = []byte("more")
	fatalIfErr(t, s.PutOnceAll(t.Context(), objects))
	for key, data := range objects {
		wantObject(t, s, key, "", data)
	}
	if got, want := mustList(t, s, ""), slices.Sorted(maps.Keys(objects)); !slices.Equal(got, want) {
		t.Errorf("listed %d keys, want %d", len(got), len(want))
	}
	fatalIfErr(t, s.PutOnceAll(t.Context(), nil))
}

func testPutOnceAllDiffers(t *testing.T, s Store) {
	fatalIfErr(t, s.PutOnce(t.Context(), "b", []byte("there")))
	objects := map[string][]byte{"a": []byte("a"), "b": []byte("other"), "c": []byte("c")}
	wantErr(t, s.PutOnceAll(t.Context(), objects), notary.ErrObjectDiffers)
	wantObject(t, s, "b", "", []byte("there"))
	objects["b"] = []byte("there")
	fatalIfErr(t, s.PutOnceAll(t.Context(), objects))
	wantErr(t, s.PutOnceAll(t.Context(), map[string][]byte{"good": nil, "../bad": nil}), blob.ErrKey)
	if keys := mustList(t, s, "good"); len(keys) != 0 {
		t.Error("a batch with a bad key was begun")
	}
}

func testList(t *testing.T, s Store) {
	// In the order of bytes: hyphen and dot come before the slash.
	want := []string{"a-b", "a.b/c", "a/b", "a/b-c", "a/b.c/d", "a/bb/c", "b/1", "b/10", "b/2"}
	for _, key := range want {
		fatalIfErr(t, s.PutOnce(t.Context(), key, []byte(key)))
	}
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b.", "a/b.c/", "b/1", "b/10", "c", "a/bb/c"} {
		var some []string
		for _, key := range want {
			if strings.HasPrefix(key, prefix) {
				some = append(some, key)
			}
		}
		if got := mustList(t, s, prefix); !slices.Equal(got, some) {
			t.Errorf("prefix %q: got %q, want %q", prefix, got, some)
		}
	}
	calls, stop := 0, errors.New("stop")
	for in, out := range map[error]error{stop: stop, fs.SkipAll: nil} {
		calls = 0
		err := s.List(t.Context(), "", func(o notary.Object) error {
			if calls++; o.Size != int64(len(o.Key)) || o.ModTime.IsZero() {
				t.Errorf("listed %+v", o)
			}
			return in
		})
		if !errors.Is(err, out) || calls != 1 {
			t.Errorf("got %v after %d calls, want %v after one", err, calls, out)
		}
	}
	// What is listed may be deleted at once.
	fatalIfErr(t, s.List(t.Context(), "", func(o notary.Object) error { return s.Delete(t.Context(), o.Key) }))
	if left := mustList(t, s, ""); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func testDelete(t *testing.T, s Store) {
	for _, key := range []string{"doc", "doc-2", "docs/1"} {
		fatalIfErr(t, s.PutOnce(t.Context(), key, []byte("1")))
	}
	for range 2 {
		fatalIfErr(t, s.Delete(t.Context(), "doc"))
		_, _, err := s.Open(t.Context(), "doc", "")
		wantErr(t, err, notary.ErrObjectNotFound)
	}
	if got := mustList(t, s, ""); !slices.Equal(got, []string{"doc-2", "docs/1"}) {
		t.Errorf("left: %q", got)
	}
	fatalIfErr(t, s.PutOnce(t.Context(), "doc", []byte("2")))
	wantObject(t, s, "doc", "", []byte("2"))
}

func testBadKeys(t *testing.T, s Store) {
	for _, key := range []string{"", "/", "a/", "/etc/passwd", "../x", "a/../../x", "a//b", "A", "a\x00b", "文书",
		"STELE-OBJECTS", strings.Repeat("a", 300)} {
		_, err := s.Create(t.Context(), key, strings.NewReader("x"), 1)
		wantErr(t, err, blob.ErrKey)
		_, _, err = s.Open(t.Context(), key, "")
		wantErr(t, err, blob.ErrKey)
		_, err = s.Get(t.Context(), key, 1)
		wantErr(t, err, blob.ErrKey)
		wantErr(t, s.PutOnce(t.Context(), key, nil), blob.ErrKey)
		wantErr(t, s.Replace(t.Context(), key, func([]byte) ([]byte, error) { return []byte("x"), nil }), blob.ErrKey)
		wantErr(t, s.Delete(t.Context(), key), blob.ErrKey)
	}
	wantErr(t, s.List(t.Context(), "../", func(notary.Object) error { return nil }), blob.ErrKey)
}

// With a context that has ended nothing is done.
func testCancelled(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Create(ctx, "a", strings.NewReader("x"), 1)
	wantErr(t, err, context.Canceled)
	wantErr(t, s.PutOnce(ctx, "b", nil), context.Canceled)
	wantErr(t, s.PutOnceAll(ctx, map[string][]byte{"c": nil}), context.Canceled)
	wantErr(t, s.Replace(ctx, "d", func([]byte) ([]byte, error) { return []byte("x"), nil }), context.Canceled)
	_, err = s.Get(ctx, "a", 1)
	wantErr(t, err, context.Canceled)
	_, _, err = s.Open(ctx, "a", "")
	wantErr(t, err, context.Canceled)
	if keys := mustList(t, s, ""); len(keys) != 0 {
		t.Errorf("written after the end of the context: %q", keys)
	}
}

// failing reads r and then fails.
func failing(r io.Reader, err error) io.Reader { return io.MultiReader(r, iotest.ErrReader(err)) }

// digesting takes the digest of what is read, complete once r ends.
func digesting(r io.Reader, sum *[32]byte) io.Reader {
	h := sha256.New()
	return io.MultiReader(io.TeeReader(r, h), calling(func() { h.Sum(sum[:0]) }))
}
