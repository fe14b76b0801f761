package staging

import (
	"context"
	"errors"
	"hash"
	"io"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/register/mediatype"
)

const (
	chunkSize = 1 << 17 // bytes handed to the hashing goroutine at a time
	chunks    = 4       // of them in flight: reading, hashing and writing overlap
)

// Meter measures a document while it streams by: digest, size and first bytes. From the
// second chunk on it hashes on a goroutine of its own, so that hashing, the slowest part,
// runs beside network and disk. Memory is constant. Used by one reader, who stops it in the end.
type Meter struct {
	Want int64                   // size that was announced, in bytes; -1 when none was
	Look func(head []byte) error // at the first bytes, once they are there; nil for no look
	Size int64                   // bytes that were read
	Head []byte                  // the first of them, [mediatype.HeadSize] at most
	Err  error                   // how the reading side ended: io.EOF, or what it failed with; sticky

	ctx     context.Context
	r       io.Reader
	max     int64
	hash    hash.Hash   // nil: none is taken
	work    chan []byte // to the hashing goroutine, nil before it is needed
	free    chan []byte
	chunk   []byte // being filled
	stopped chan struct{}
}

// NewMeter measures what r brings, of the size that was announced, -1 for any, and of max bytes at most.
func NewMeter(ctx context.Context, r io.Reader, want, max int64) *Meter {
	return &Meter{ctx: ctx, r: r, Want: want, max: max, hash: sm.NewHash()}
}

// NewCounter is a meter that takes no digest.
func NewCounter(ctx context.Context, r io.Reader, max int64) *Meter {
	return &Meter{ctx: ctx, r: r, Want: -1, max: max}
}

// ErrTooLarge ends a document of more bytes than a meter lets through.
var ErrTooLarge = errors.New("document is larger than allowed")

// Failed reports whether it was the reading side that failed.
func (m *Meter) Failed() bool { return m.Err != nil && !errors.Is(m.Err, io.EOF) }

// Read implements io.Reader for the object store. However it ended, it stays so: a reader
// that goes on after an error must not make the rest into a document.
func (m *Meter) Read(p []byte) (int, error) {
	if m.Err != nil {
		return 0, m.Err
	}
	if err := m.ctx.Err(); err != nil {
		return 0, m.end(err)
	}
	n, err := m.r.Read(p[:min(len(p), chunkSize)])
	if n > 0 {
		m.Size += int64(n)
		if m.Size > m.max {
			return 0, m.end(ErrTooLarge)
		}
		if m.Want >= 0 && m.Size > m.Want {
			return 0, m.end(m.wrongSize("The document has more than the %d bytes that were announced.", m.Want))
		}
		if len(m.Head) < mediatype.HeadSize {
			m.Head = append(m.Head, p[:min(n, mediatype.HeadSize-len(m.Head))]...)
		}
		m.add(p[:n])
	}
	if err == io.EOF && m.Want >= 0 && m.Size < m.Want {
		return 0, m.end(m.wrongSize("The document has %d bytes, not the %d that were announced.", m.Size, m.Want))
	}
	// Before the document is stored as a whole: a failing reader leaves nothing.
	if m.Look != nil && (len(m.Head) == mediatype.HeadSize || err == io.EOF) {
		if lerr := m.Look(m.Head); lerr != nil {
			return 0, m.end(lerr)
		}
		m.Look = nil
	}
	if err != nil {
		return n, m.end(err)
	}
	return n, nil
}

func (m *Meter) wrongSize(format string, args ...any) error {
	return notary.InvalidField("size", format+" Nothing was saved.", args...)
}

func (m *Meter) end(err error) error {
	m.Stop()
	m.Err = err
	return err
}

func (m *Meter) add(p []byte) {
	if m.hash == nil {
		return
	}
	if m.work == nil {
		if m.Size <= chunkSize {
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

func (m *Meter) hashLoop() {
	defer close(m.stopped)
	for b := range m.work {
		m.hash.Write(b)
		m.free <- b[:0]
	}
}

// Stop ends the hashing goroutine and waits for it. It may be called more than once.
func (m *Meter) Stop() {
	if m.work != nil && m.stopped != nil {
		m.work <- m.chunk
		close(m.work)
		<-m.stopped
		m.stopped, m.free, m.chunk = nil, nil, nil
	}
}

// Digest is that of what was read. It may be called once.
func (m *Meter) Digest() sm.Digest {
	m.Stop()
	return sm.Digest(m.hash.Sum(nil))
}
