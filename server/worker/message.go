package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// message is what goes to a child and comes back: a text in JSON and bytes, each behind its length
// in 8 bytes, big-endian.
type message struct {
	head json.RawMessage
	body []byte
}

// What a message may hold. A document has 64 MiB at most, a stamped one somewhat more.
const (
	maxHead = 64 << 20
	maxBody = 192 << 20
)

var errMessage = errors.New("a message is not whole")

func (m message) writeTo(w io.Writer) error {
	for _, part := range [][]byte{m.head, m.body} {
		if _, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func readMessage(r io.Reader) (m message, err error) {
	if m.head, err = readPart(r, maxHead); err != nil {
		return m, err
	}
	m.body, err = readPart(r, maxBody)
	return m, err
}

func readPart(r io.Reader, most uint64) ([]byte, error) {
	var length [8]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	n := binary.BigEndian.Uint64(length[:])
	if n > most {
		return nil, fmt.Errorf("%w: a part of %d bytes", errMessage, n)
	}
	const first = 1 << 20 // what has come so far is believed, not what is said to come
	out := make([]byte, min(n, first))
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	if n > first {
		out = append(make([]byte, 0, n), out...)[:n]
		if _, err := io.ReadFull(r, out[first:]); err != nil {
			return nil, fmt.Errorf("%w: %w", errMessage, err)
		}
	}
	return out, nil
}
