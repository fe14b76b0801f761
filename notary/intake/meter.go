package intake

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"os"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/mediatype"
)

const (
	chunkSize = 1 << 17 // bytes handed to the hashing goroutine at a time
	chunks    = 4       // of them in flight: reading, hashing and writing overlap
)

// meter measures a document while it streams by: digest, size and first bytes. From the
// second chunk on it hashes on a goroutine of its own, so that hashing, the slowest part,
// runs beside network and disk. Memory is constant. Used by one reader; digest may be
// called once, after the stream ended.
type meter struct {
	ctx  context.Context
	r    io.Reader
	want int64                   // size that was announced, -1 when none was
	look func(head []byte) error // at the first bytes, once they are there; nil for no look
	max  int64
	size int64
	head []byte
	err  error // what the reading side failed with, if it did; io.EOF at the end; sticky

	hash    hash.Hash
	work    chan []byte // to the hashing goroutine, nil before it is needed
	free    chan []byte
	chunk   []byte // being filled
	stopped chan struct{}
}

func newMeter(ctx context.Context, r io.Reader, want, max int64) *meter {
	return &meter{ctx: ctx, r: r, want: want, max: max, hash: sm.NewHash()}
}

var errTooLarge = errors.New("document is larger than allowed")

// Read implements io.Reader for the object store. However it ended, it stays so: a reader
// that goes on after an error must not make the rest into a document.
func (m *meter) Read(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	if err := m.ctx.Err(); err != nil {
		return 0, m.end(err)
	}
	n, err := m.r.Read(p[:min(len(p), chunkSize)])
	if n > 0 {
		m.size += int64(n)
		if m.size > m.max {
			return 0, m.end(errTooLarge)
		}
		if m.want >= 0 && m.size > m.want {
			return 0, m.end(m.wrongSize("The document has more than the %d bytes that were announced.", m.want))
		}
		if len(m.head) < mediatype.HeadSize {
			m.head = append(m.head, p[:min(n, mediatype.HeadSize-len(m.head))]...)
		}
		m.add(p[:n])
	}
	if err == io.EOF && m.want >= 0 && m.size < m.want {
		return 0, m.end(m.wrongSize("The document has %d bytes, not the %d that were announced.", m.size, m.want))
	}
	// Before the document is stored as a whole: a failing reader leaves nothing.
	if m.look != nil && (len(m.head) == mediatype.HeadSize || err == io.EOF) {
		if lerr := m.look(m.head); lerr != nil {
			return 0, m.end(lerr)
		}
		m.look = nil
	}
	if err != nil {
		return n, m.end(err)
	}
	return n, nil
}

func (m *meter) wrongSize(format string, args ...any) error {
	return notary.InvalidField("size", format+" Nothing was saved.", args...)
}

func (m *meter) end(err error) error {
	m.stop()
	m.err = err
	return err
}

func (m *meter) add(p []byte) {
	if m.work == nil {
		if m.size <= chunkSize {
			m.hash.Write(p)
			return
		}
		m.work, m.free, m.stopped = make(chan []byte, chunks), make(chan []byte, chunks), make(chan struct{})
		for range chunks - 1 {
			m.free <- make([]byte, 0, chunkSize)
		}
		m.chunk = make([]byte, 0, chunkSize)
		go m.hashLoop()
	}
	for len(p) > 0 {
		n := min(len(p), chunkSize-len(m.chunk))
		m.chunk, p = append(m.chunk, p[:n]...), p[n:]
		if len(m.chunk) == chunkSize {
			m.work <- m.chunk
			m.chunk = <-m.free
		}
	}
}

func (m *meter) hashLoop() {
	defer close(m.stopped)
	for b := range m.work {
		m.hash.Write(b)
		m.free <- b[:0]
	}
}

// stop ends the hashing goroutine and waits for it. It may be called more than once.
func (m *meter) stop() {
	if m.work != nil && m.stopped != nil {
		m.work <- m.chunk
		close(m.work)
		<-m.stopped
		m.stopped, m.free, m.chunk = nil, nil, nil
	}
}

func (m *meter) digest() sm.Digest {
	m.stop()
	return sm.Digest(m.hash.Sum(nil))
}

func (in *Intake) tooLarge() error {
	return notary.Errorf(notary.CodeTooLarge, "A document has at most %d bytes here. Nothing was saved.", in.limits.MaxDocument)
}

// readError tells the client's failures from the store's: the meter knows whether reading failed.
func (in *Intake) readError(m *meter, err error) error {
	m.stop()
	var timeout net.Error
	var own *notary.Error
	read := m.err
	if errors.Is(read, io.EOF) {
		read = nil
	}
	switch {
	case errors.As(read, &own):
		return own
	case errors.Is(read, errTooLarge):
		return in.tooLarge()
	case errors.Is(read, os.ErrDeadlineExceeded), errors.As(read, &timeout) && timeout.Timeout():
		return notary.Wrap(notary.CodeTimeout, read, "The document did not arrive in time. Nothing was saved.")
	case m.want >= 0 && (m.size > m.want || m.err != nil && read == nil && m.size < m.want):
		e := notary.Errorf(notary.CodeMalformed, "The document is not of the announced %d bytes. Nothing was saved.", m.want)
		e.Field = "size"
		return e
	case read == nil && m.ctx.Err() != nil: // the store saw it first
		return notary.Wrap(notary.CodeMalformed, m.ctx.Err(), "The request ended before the document was stored. Nothing was saved.")
	case read != nil:
		return notary.Wrap(notary.CodeMalformed, read, "The document did not arrive whole: the connection broke or the body is malformed. Nothing was saved.")
	}
	return notary.Wrap(notary.CodeUnavailable, fmt.Errorf("store object: %w", err), "The document store cannot be reached or is full. Nothing was saved; try again.")
}

// mediaType returns what the caller named, or what the first bytes look like.
func mediaType(named string, head []byte) string {
	if named != "" {
		return named
	}
	if head == nil {
		return mediatype.Unknown
	}
	return mediatype.Find(head)
}
