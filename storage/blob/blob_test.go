package blob_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"stele/storage/blob"
)

func TestCheckKey(t *testing.T) {
	long := strings.Repeat("a", blob.MaxSegmentLen)
	good := []string{"a", "tile/0/x001/234.p/5", "checkpoint", "doc/2026/0a-b_c.d", "...", "a/..b", long + "/" + long}
	for _, k := range good {
		if err := blob.CheckKey(k); err != nil {
			t.Errorf("%q refused: %v", k, err)
		}
		if err := blob.CheckPrefix(k); err != nil {
			t.Errorf("prefix %q refused: %v", k, err)
		}
	}
	bad := []string{"", "/", "a/", "/a", "a//b", ".", "..", "a/..", "../a", "a/./b", "A", "a b", "a\x00", "a\\b", "文书",
		"a\n", "%2e%2e", long + "a", strings.Repeat("a/", blob.MaxKeyLen/2) + "aa"}
	for _, k := range bad {
		if err := blob.CheckKey(k); !errors.Is(err, blob.ErrKey) {
			t.Errorf("%q: got %v, want ErrKey", k, err)
		}
	}
	for _, p := range []string{"", "a/", "a/b", "a/.", "a/.."} {
		if err := blob.CheckPrefix(p); err != nil {
			t.Errorf("prefix %q refused: %v", p, err)
		}
	}
	for _, p := range []string{"/", "a//", "../", "A"} {
		if err := blob.CheckPrefix(p); !errors.Is(err, blob.ErrKey) {
			t.Errorf("prefix %q: got %v, want ErrKey", p, err)
		}
	}
}

func TestBody(t *testing.T) {
	gone := errors.New("gone")
	for name, c := range map[string]struct {
		r    io.Reader
		size int64
		want error // nil for a whole body
	}{
		"unknown size":    {strings.NewReader("12345"), -1, nil},
		"exact":           {strings.NewReader("12345"), 5, nil},
		"exact, data+EOF": {iotest.DataErrReader(strings.NewReader("12345")), 5, nil},
		"byte by byte":    {iotest.OneByteReader(strings.NewReader("12345")), 5, nil},
		"empty":           {strings.NewReader(""), 0, nil},
		"short":           {strings.NewReader("1234"), 5, blob.ErrSize},
		"long":            {strings.NewReader("123456"), 5, blob.ErrSize},
		"not empty":       {strings.NewReader("1"), 0, blob.ErrSize},
		"cut, unknown size": {io.MultiReader(strings.NewReader("123"), iotest.ErrReader(io.ErrUnexpectedEOF)), -1,
			io.ErrUnexpectedEOF},
		"fails":            {io.MultiReader(strings.NewReader("123"), iotest.ErrReader(gone)), 5, gone},
		"fails at the end": {io.MultiReader(strings.NewReader("12345"), iotest.ErrReader(gone)), 5, gone},
	} {
		t.Run(name, func(t *testing.T) {
			b := blob.NewBody(t.Context(), c.r, c.size)
			got, err := io.ReadAll(b)
			if !errors.Is(err, c.want) {
				t.Fatalf("read %q, got %v, want %v", got, err, c.want)
			}
			if c.want == nil && b.Size() != int64(len(got)) {
				t.Errorf("Size %d after %d bytes", b.Size(), len(got))
			}
			// A caller that reads blocks must not take an error for the last block.
			if _, err := b.Read(make([]byte, 1)); c.want != nil && (err == io.EOF || err == io.ErrUnexpectedEOF) {
				t.Errorf("the failure ended in a plain %v", err)
			}
		})
	}
}

func TestBodyLongIsNeverWhole(t *testing.T) {
	b := blob.NewBody(t.Context(), strings.NewReader("123456"), 5)
	p := make([]byte, 5)
	if n, err := io.ReadFull(b, p); err == nil {
		t.Fatalf("got %d bytes and no error from a body that is too long", n)
	}
}

func TestBodyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := blob.NewBody(ctx, strings.NewReader("12345"), -1)
	cancel()
	if _, err := b.Read(make([]byte, 5)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
}
