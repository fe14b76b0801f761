package upload

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"stele/notary"
)

// Bounds of a part. One byte less than what the S3 store sends in a single request, so that
// it sees the end of the part without beginning a multipart upload. On a slow line a part
// ends earlier: a crash loses no more than what came in that time.
const (
	partSize = 8<<20 - 1
	partTime = 15 * time.Second
)

// A lease is short, since whoever comes back after a crash waits for it, and is renewed
// while there is work: bytes that come, or a part that is being stored. A client that went
// away without a word loses it long before its connection is given up.
const (
	leaseFor   = 6 * time.Second
	renewEvery = 2 * time.Second
)

// A client that comes back at once after its line broke finds the server still storing what
// the line had brought: it is let wait for that, rather than sent away.
const (
	waitFor   = 3 * time.Second
	waitTicks = 30
)

// maxParts bounds the parts of an upload: twice what its size needs, and those that a line
// that breaks may cost. More are those of a client that sends crumbs.
func (u *Uploads) maxParts(size int64) int { return u.limits.MaxPieces + int(2*(size/partSize)) }

var errCrumbs = notary.Errorf(notary.CodeConflict,
	"This upload came in too many small pieces. Begin it again, with larger ones.")

// ErrOffset is what [Uploads.Append] returns for bytes that do not begin where the upload is.
var ErrOffset = notary.Errorf(notary.CodeConflict,
	"The upload is not at this offset. Ask how far it is, and send the rest.")

// Append takes in bytes that begin at an offset, which must be how far the upload is. It
// returns how many of them are here for good, also with an error: the end of src by an error,
// as by a connection that breaks, loses nothing of what had come. Memory is constant.
// An upload on which somebody goes on working is [ErrBusy].
func (u *Uploads) Append(ctx context.Context, agencyID, id string, offset int64, src io.Reader) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, err := u.lease(ctx, cancel, agencyID, id)
	if err != nil {
		return 0, err
	}
	defer l.release()
	if l.upload.Direct {
		return 0, notary.Errorf(notary.CodeConflict,
			"This upload goes straight into the bucket, see the address that was given for it.")
	}
	if l.upload.Offset != offset {
		return 0, ErrOffset
	}
	parts, err := u.store.UploadParts(ctx, id)
	if err != nil {
		return 0, rowsDown(err)
	}
	free := u.maxParts(l.upload.Size) - len(parts)
	in := bufio.NewReaderSize(&watched{src, l}, 64<<10)
	var written int64
	for ; ; free-- {
		_, err := in.Peek(1)
		left := l.upload.Size - offset - written
		switch {
		case errors.Is(err, io.EOF):
			return written, nil
		case err != nil:
			return written, err
		case left == 0:
			return written,
				notary.Errorf(notary.CodeTooLarge,
					"The upload has %d bytes; there were more. What belongs to it was kept.", l.upload.Size)
		case free <= 0:
			return written, errCrumbs
		}
		n, err := u.appendPart(ctx, l, offset+written, in, left)
		written += n
		if err != nil {
			return written, err
		}
	}
}

// appendPart stores what comes as one part. It returns the part's size once it counts.
func (u *Uploads) appendPart(ctx context.Context, l *lease, offset int64, in io.Reader, left int64) (int64, error) {
	// Each try has a name of its own, so that nobody ever needs one that an object has which does not count:
	// what a killed server, or one that was too slow, had stored.
	p := Part{Offset: offset, Key: u.place.Key()}
	body := &piece{r: in, left: min(left, partSize), now: u.now, end: u.now().Add(partTime)}
	if _, err := u.objects.Create(ctx, p.Key, body, -1); err != nil {
		if lost := context.Cause(ctx); errors.Is(lost, ErrLost) {
			return 0, rowsDown(lost)
		}
		return 0, storeDown(err)
	}
	p.Size = body.n
	// A crash here leaves a part that does not count, see the package's comment.
	err := u.store.AddPart(ctx, l.upload.ID, l.holder, p, u.now().Add(leaseFor), u.keepUntil())
	if err == nil {
		return p.Size, nil
	}
	if !errors.Is(err, notary.ErrUnknownOutcome) { // else it may count
		l.discard(p.Key)
	}
	return 0, rowsDown(err)
}

// piece is the part of a stream that becomes one object: so many bytes, what comes in some
// time, or what comes until the stream ends, in whatever way. How it ended is for whoever
// reads the stream on.
type piece struct {
	r    io.Reader
	left int64
	n    int64
	now  func() time.Time
	end  time.Time
}

func (p *piece) Read(b []byte) (int, error) {
	if p.left == 0 || p.n > 0 && p.now().After(p.end) {
		return 0, io.EOF
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	p.left, p.n = p.left-int64(n), p.n+int64(n)
	if err != nil {
		p.left, err = 0, io.EOF
	}
	return n, err
}

// lease is a hold on an upload, renewed until it is released.
type lease struct {
	u       *Uploads
	ctx     context.Context
	upload  Upload
	holder  string
	reading atomic.Int64 // since when, in microseconds, somebody waits for the client; 0: nobody does
	stop    func()
}

// lease takes a hold; cancel is called if it is lost.
func (u *Uploads) lease(ctx context.Context, cancel context.CancelCauseFunc, agencyID, id string) (*lease, error) {
	l := &lease{u: u, ctx: context.WithoutCancel(ctx), holder: rand.Text()}
	for tick := 0; ; tick++ {
		var err error
		if l.upload, err = u.store.LeaseUpload(ctx, agencyID, id, l.holder, u.now().Add(leaseFor),
			u.now()); err == nil {
			break
		}
		if !errors.Is(err, ErrBusy) || tick == waitTicks || !pause(ctx, waitFor/waitTicks) {
			return nil, rowsDown(err)
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { l.keep(ctx, done, cancel) })
	l.stop = func() { close(done); wg.Wait() }
	return l, nil
}

// pause waits, and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// keep renews the lease while there is work.
func (l *lease) keep(ctx context.Context, done <-chan struct{}, cancel context.CancelCauseFunc) {
	t := time.NewTicker(renewEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-done:
			return
		}
		now := l.u.now()
		if since := l.reading.Load(); since != 0 && now.Sub(time.UnixMicro(since)) > renewEvery {
			continue // nothing comes: somebody else may go on
		}
		err := l.u.store.RenewUpload(ctx, l.upload.ID, l.holder, now.Add(leaseFor), now.Add(leaseFor))
		if errors.Is(err, ErrLost) {
			cancel(ErrLost)
			return
		}
	}
}

const releaseTimeout = 5 * time.Second

// release gives the upload free. If that fails the lease runs out by itself.
func (l *lease) release() {
	l.stop()
	ctx, cancel := context.WithTimeout(l.ctx, releaseTimeout)
	defer cancel()
	if err := l.u.store.ReleaseUpload(ctx, l.upload.ID, l.holder); err != nil {
		l.u.log.DebugContext(ctx, "the lease of an upload runs out by itself", "upload", l.upload.ID, "error", err)
	}
}

// discard removes a part that does not count.
func (l *lease) discard(key string) {
	ctx, cancel := context.WithTimeout(l.ctx, releaseTimeout)
	defer cancel()
	l.u.removeNow(ctx, Ended{l.upload.AgencyID, []string{key}})
}

// watched notes when somebody waits for the client.
type watched struct {
	r io.Reader
	l *lease
}

func (w *watched) Read(b []byte) (int, error) {
	w.l.reading.Store(w.l.u.now().UnixMicro())
	defer w.l.reading.Store(0)
	return w.r.Read(b)
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

// validText is for what comes beside a file. Its name is kept as it came, since nobody can change
// how their files are called: it is cleaned when it becomes a paper's, and under the rule for
// texts when it becomes a record's.
func validText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
