package web

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// patientBody reads a request's body as long as it keeps coming: the deadline moves on with
// every read that brings something, but not beyond the end. So a slow line may take its
// time, and a stalled or trickling one does not hold a connection for ever.
type patientBody struct {
	r       io.Reader
	control *http.ResponseController
	silence time.Duration
	end     time.Time
	now     func() time.Time
	next    time.Time
}

func (w *Web) patient(rw http.ResponseWriter, r io.Reader) io.Reader {
	return &patientBody{r: r, control: http.NewResponseController(rw), silence: w.Limits.ReadTimeout, end: w.Now().Add(w.Limits.UploadTimeout), now: w.Now}
}

func (p *patientBody) Read(b []byte) (int, error) {
	if now := p.now(); !now.Before(p.next) {
		deadline := now.Add(p.silence)
		if deadline.After(p.end) {
			deadline = p.end
		}
		if err := p.control.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
		p.next = now.Add(p.silence / 4) // moving the deadline costs a timer: a quarter is often enough
	}
	return p.r.Read(b)
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
