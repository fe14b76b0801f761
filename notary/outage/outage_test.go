package outage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"stele/notary/outage"
)

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// count says how often a text stands in the lines so far.
func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func logTo(l *lines) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// A dependency that is away has one line, however many loops fail and however often, and one when
// it is back; failures that it does not explain have lines of their own, the first and the last.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		var down atomic.Bool
		tr := outage.New(t.Context(), logTo(&out), time.Now)
		tr.Watch(outage.Database, func(context.Context) error {
			if down.Load() {
				return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- tr.Run(ctx) }()
		time.Sleep(time.Minute + time.Second/2) // of the test's own clock; between two probes
		down.Store(true)
		loops := []*outage.Loop{outage.NewLoop(tr, logTo(&out), outage.Database),
			outage.NewLoop(tr, logTo(&out), outage.Objects, outage.Database)}
		for range 100 {
			for _, l := range loops { // the first failure comes before the next probe
				l.Failed(ctx, slog.LevelError, "a round failed", errors.New("refused"))
			}
			time.Sleep(time.Second)
		}
		if s := tr.States()[0]; s.Up || !strings.Contains(s.Cause, "refuses the connection") ||
			time.Since(s.Since) != 100*time.Second {
			t.Errorf("%+v", s)
		}
		down.Store(false)
		time.Sleep(time.Second)
		for _, l := range loops {
			l.Failed(ctx, slog.LevelError, "a round failed", errors.New("a connection of before"))
			l.Worked(ctx, "the loop")
		}
		for text, want := range map[string]int{"level=": 2, "is down": 1, "is up again": 1, "down_for=1m40": 1} {
			if n := out.count(text); n != want {
				t.Errorf("%d times %q, want %d\n%s", n, text, want, &out.buf)
			}
		}
		time.Sleep(time.Minute)
		for range 10 {
			loops[0].Failed(ctx, slog.LevelError, "a round failed", errors.New("a bug"))
		}
		loops[0].Worked(ctx, "the loop")
		if n, again := out.count("a bug"), out.count("the loop works again"); n != 1 || again != 1 {
			t.Errorf("%d failures, %d ends logged\n%s", n, again, &out.buf)
		}
		stop()
		<-ended
	})
}

// An answer from just before a failure, or one that was under way, says nothing about the failure: a
// dependency that has gone between the two explains it.
func TestFailureAfterAnAnswer(t *testing.T) {
	for name, underWay := range map[string]bool{"answered before": false, "under way": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out lines
				var down atomic.Bool
				tr := outage.New(t.Context(), logTo(&out), time.Now)
				tr.Watch(outage.Database, func(context.Context) error {
					if down.Load() {
						return io.ErrUnexpectedEOF
					}
					time.Sleep(100 * time.Millisecond) // the answer is on its way
					return nil
				})
				tr.Check(t.Context(), 50*time.Millisecond) // asks
				if !underWay {
					time.Sleep(100 * time.Millisecond)
				}
				synctest.Wait()
				down.Store(true)
				l := outage.NewLoop(tr, logTo(&out), outage.Database)
				l.Failed(t.Context(), slog.LevelError, "a round failed", errors.New("connection reset"))
				if out.count("level=ERROR") != 0 || out.count("is down") != 1 {
					t.Errorf("the failure was not explained:\n%s", &out.buf)
				}
			})
		})
	}
}

// A dependency that does not answer at all is down after its time, is asked once and not again and
// again, and holds nobody up who asks about it.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		var asked atomic.Int32
		release := make(chan struct{})
		tr := outage.New(t.Context(), logTo(&out), time.Now)
		tr.Watch(outage.Objects, func(context.Context) error {
			asked.Add(1)
			<-release
			return nil
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- tr.Run(ctx) }()
		start := time.Now()
		s := tr.Check(ctx, 500*time.Millisecond)[0]
		if took := time.Since(start); took != 500*time.Millisecond || !s.Up {
			t.Errorf("after %v: %+v", took, s)
		}
		time.Sleep(time.Minute)
		if s := tr.States()[0]; s.Up || s.Cause != "no answer in time" || time.Since(s.Since) < 57*time.Second {
			t.Errorf("%+v", s)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		close(release)
		time.Sleep(time.Second)
		if s := tr.States()[0]; !s.Up || out.count("level=") != 2 {
			t.Errorf("%+v\n%s", s, &out.buf)
		}
		stop()
		<-ended
	})
}

// What stops is not down: the end of the server is not the database's.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		tr := outage.New(t.Context(), logTo(&out), time.Now)
		tr.Watch(outage.Database, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- tr.Run(ctx) }()
		synctest.Wait()
		stop()
		<-ended
		synctest.Wait()
		outage.NewLoop(tr, logTo(&out), outage.Database).Failed(ctx, slog.LevelError, "a round failed", ctx.Err())
		if out.count("") > 1 {
			t.Errorf("%s", &out.buf)
		}
	})
}

type sqlState string

func (s sqlState) Error() string    { return "pq: user=stele password=hunter2 host=db.example" }
func (s sqlState) SQLState() string { return string(s) }

// Causes are words, and hold nothing of the error's own text.
func TestCauses(t *testing.T) {
	for want, err := range map[string]error{
		"":                                    nil,
		"it refuses the user or the password": fmt.Errorf("open: %w", sqlState("28P01")),
		"it is starting up or shutting down":  sqlState("57P03"),
		"it answers with error 22001":         sqlState("22001"),
		"no answer in time":                   fmt.Errorf("s3://key@bucket.example: %w", context.DeadlineExceeded),
		"its name cannot be resolved": &net.OpError{Op: "dial",
			Err: &net.DNSError{Name: "db.example", IsTimeout: true}},
		"its disk is full": &os.PathError{Op: "write", Path: "/srv/secret", Err: syscall.ENOSPC},
		"there is no such bucket": fmt.Errorf("objects: %w", outage.Because("there is no such bucket",
			errors.New("bucket.example"))),
		"an error that the log names": errors.New("password=hunter2 host=db.example"),
	} {
		if got := outage.Cause(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
