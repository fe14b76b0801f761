package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lockCount is the number of lock files that all keys share: enough that the handful of
// mutable objects rarely meet, few enough to never need cleaning.
const lockCount = 64

// locks excludes others from a key: goroutines of this process by a channel, other
// processes by flock.
type locks struct {
	seats [lockCount]chan struct{} // holds one token while the lock is taken here
}

func newLocks() *locks {
	l := &locks{}
	for i := range l.seats {
		l.seats[i] = make(chan struct{}, 1)
	}
	return l
}

// slot is the same for a key in every process.
func slot(key string) int {
	h := uint32(2166136261) // FNV-1a
	for _, c := range []byte(key) {
		h = (h ^ uint32(c)) * 16777619
	}
	return int(h % lockCount)
}

// acquire takes the lock of key or gives up when ctx ends. The kernel releases it should
// the process die.
func (l *locks) acquire(ctx context.Context, root *os.Root, key string) (release func(), err error) {
	n := slot(key)
	select {
	case l.seats[n] <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f, err := root.OpenFile(fmt.Sprintf("%s/%02x", locksDir, n), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = waitFlock(ctx, f)
		if err != nil {
			f.Close()
		}
	}
	if err != nil {
		<-l.seats[n]
		return nil, err
	}
	return func() {
		f.Close() // releases the flock
		<-l.seats[n]
	}, nil
}

// waitFlock asks again and again: a blocking flock could not be cancelled. Only other
// processes are waited for here, which is rare: one server owns the folder.
func waitFlock(ctx context.Context, f *os.File) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
