package staging

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"stele/crypto/sm"

	"stele/notary/register/mediatype"
)

// However a document comes in, the digest is its SM3, the size its size, the head its head.
func TestMeter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		near := rapid.SampledFrom([]int{0, 1, mediatype.HeadSize, chunkSize, 2 * chunkSize, chunks * chunkSize,
			(chunks + 2) * chunkSize}).Draw(t, "near")
		data := make([]byte, max(0, near+rapid.IntRange(-2, 2).Draw(t, "by")))
		for i, rng := 0, rand.New(rand.NewPCG(uint64(len(data)), 1)); i < len(data); i++ {
			data[i] = byte(rng.Uint32())
		}
		steps := rapid.SliceOfN(rapid.IntRange(1, 3*chunkSize), 1, 8).Draw(t, "reads")
		m := NewMeter(t.Context(), &stepReader{data: data, steps: rapid.SliceOfN(rapid.IntRange(1, 2*chunkSize), 1,
			8).Draw(t, "arrivals")}, -1, 1<<30)
		var got []byte
		for i := 0; ; i++ {
			buf := make([]byte, steps[i%len(steps)])
			n, err := m.Read(buf)
			got = append(got, buf[:n]...)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, data) || m.Size != int64(len(data)) ||
			!bytes.Equal(m.Head, data[:min(len(data), mediatype.HeadSize)]) {
			t.Fatalf("%d bytes went in, %d came out, measured %d", len(data), len(got), m.Size)
		}
		if d := m.Digest(); d != sm.Sum(data) {
			t.Fatalf("digest of %d bytes is %s, want %s", len(data), d, sm.Sum(data))
		}
	})
}

// stepReader gives data in steps, the last of them with io.EOF.
type stepReader struct {
	data  []byte
	steps []int
	n     int
}

func (r *stepReader) Read(p []byte) (int, error) {
	n := min(len(p), len(r.data), r.steps[r.n%len(r.steps)])
	copy(p, r.data[:n])
	r.data = r.data[n:]
	if r.n++; len(r.data) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// An end is an end: what a reader gives after an error is no part of any document.
func TestMeterEndsOnce(t *testing.T) {
	long := func() io.Reader { return io.LimitReader(zeros{}, 3*chunkSize) }
	cancelled, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		m    *Meter
		want error
	}{
		"error that passes": {NewMeter(t.Context(), iotest.TimeoutReader(long()), -1, 1<<30), iotest.ErrTimeout},
		"too long":          {NewMeter(t.Context(), long(), -1, 2*chunkSize), ErrTooLarge},
		"end":               {NewMeter(t.Context(), long(), -1, 1<<30), io.EOF},
		"cancelled": {NewMeter(cancelled, iotest.DataErrReader(&cancelling{long(), cancel}), -1, 1<<30),
			context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			buf := make([]byte, chunkSize)
			var err error
			for err == nil {
				_, err = c.m.Read(buf)
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			size := c.m.Size
			if n, err := c.m.Read(buf); n != 0 || !errors.Is(err, c.want) || c.m.Size != size {
				t.Errorf("after the end: %d bytes, %v", n, err)
			}
			c.m.Stop()
			c.m.Stop()
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// cancelling ends a context after two chunks.
type cancelling struct {
	io.Reader
	cancel func()
}

func (c *cancelling) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if l, ok := c.Reader.(*io.LimitedReader); ok && l.N <= chunkSize {
		c.cancel()
	}
	return n, err
}
