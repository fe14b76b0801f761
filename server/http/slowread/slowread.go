// Package slowread reads request bodies with rolling deadlines: a slow line may take its
// time, a stalled or trickling one does not hold a connection for ever.
package slowread

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// Limits say when a body is given up. A zero Whole does not limit the whole body: an
// agency's upload may take hours.
type Limits struct {
	Silence time.Duration // nothing came for this long
	Whole   time.Duration // it is not done after this long
}

type reader struct {
	r       io.Reader
	control *http.ResponseController
	silence time.Duration
	end     time.Time // zero: none
	now     func() time.Time
	next    time.Time
}

// New wraps the body r of the request that w answers.
func New(w http.ResponseWriter, r io.Reader, l Limits, now func() time.Time) io.Reader {
	s := &reader{r: r, control: http.NewResponseController(w), silence: l.Silence, now: now}
	if l.Whole > 0 {
		s.end = now().Add(l.Whole)
	}
	return s
}

// Read implements io.Reader. The deadline moves on with every read that brings something.
func (s *reader) Read(b []byte) (int, error) {
	if now := s.now(); !now.Before(s.next) {
		deadline := now.Add(s.silence)
		if !s.end.IsZero() && deadline.After(s.end) {
			deadline = s.end
		}
		if err := s.control.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
		s.next = now.Add(s.silence / 4) // moving the deadline costs a timer: a quarter is often enough
	}
	return s.r.Read(b)
}

// IsTimeout reports whether an error means that a deadline passed.
func IsTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
