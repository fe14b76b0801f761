package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrSize: the body was shorter or longer than the size that was promised. Nothing
// was stored.
var ErrSize = errors.New("body is not of the declared size")

// Body reads a document on its way into a store. It ends in io.EOF only when the whole
// body, of the declared size, has been read without error. Every other end is an error
// that is not io.EOF and not io.ErrUnexpectedEOF: code that treats the latter as a short
// last block (io.ReadFull's callers, S3 clients) would store a cut-off upload as a whole
// one, and net/http reports a client that went away with just that error.
//
// A Body is used by one goroutine.
type Body struct {
	ctx  context.Context
	r    io.Reader
	size int64 // declared, -1 when unknown
	n    int64 // read so far
	err  error // how the body ended; sticky
}

// NewBody wraps r. size is in bytes, -1 when unknown. A cancelled ctx ends the body at
// the next read; it cannot interrupt a read of r that hangs.
func NewBody(ctx context.Context, r io.Reader, size int64) *Body {
	return &Body{ctx: ctx, r: r, size: max(size, -1)}
}

// Size is the number of bytes read so far.
func (b *Body) Size() int64 { return b.n }

func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if err := b.ctx.Err(); err != nil {
		return b.end(0, err)
	}
	if b.size < 0 {
		n, err := b.r.Read(p)
		return b.end(n, err)
	}
	left := b.size - b.n
	if left == 0 {
		return b.end(0, b.atEnd())
	}
	n, err := b.r.Read(p[:min(int64(len(p)), left)])
	if err == nil && int64(n) == left {
		// The last bytes are withheld until the reader is known to end here: whoever
		// counts bytes stops reading now and would never see the excess.
		err = b.atEnd()
	}
	return b.end(n, err)
}

// atEnd reads on where the body should have ended.
func (b *Body) atEnd() error {
	var one [1]byte
	for {
		n, err := b.r.Read(one[:])
		if n > 0 {
			return fmt.Errorf("longer than %d bytes: %w", b.size, ErrSize)
		}
		if err != nil {
			return err
		}
	}
}

// end books n bytes and makes err, if any, the sticky end.
func (b *Body) end(n int, err error) (int, error) {
	b.n += int64(n)
	switch {
	case err == nil:
		return n, nil
	case !errors.Is(err, io.EOF):
		b.err = fmt.Errorf("read body: %w", err)
		if errors.Is(err, ErrSize) {
			n = 0
		}
	case b.size >= 0 && b.n < b.size:
		b.err = fmt.Errorf("ends after %d of %d bytes: %w", b.n, b.size, ErrSize)
	default:
		b.err = io.EOF
	}
	return n, b.err
}
