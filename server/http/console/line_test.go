package console_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// line is what lies between a browser and the service: it can be cut, and held up.
type line struct {
	to    string
	mu    sync.Mutex
	ready *sync.Cond
	conns map[net.Conn]bool // guarded by mu, like all below
	sent  int64             // bytes towards the service
	cuts  []int64           // when so many were sent, everything is cut
	hold  int64             // the connection that brings more is held up; 0: none is
	stuck net.Conn          // it
	over  bool
}

// newLine lays one to an office and returns the office as it is seen through it.
func newLine(t testing.TB, o *office) (*line, *office) {
	t.Helper()
	u, err := url.Parse(o.URL)
	fatalIfErr(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	fatalIfErr(t, err)
	l := &line{to: u.Host, conns: map[net.Conn]bool{}}
	l.ready = sync.NewCond(&l.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.serve(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.mu.Lock()
		l.over = true
		l.cut()
		l.ready.Broadcast()
		l.mu.Unlock()
		wg.Wait()
	})
	through := *o
	through.URL = "http://" + ln.Addr().String()
	return l, &through
}

func (l *line) serve(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer out.Close()
	l.mu.Lock()
	l.conns[in], l.conns[out] = true, true
	over := l.over
	l.mu.Unlock()
	if over {
		return
	}
	go func() {
		_, _ = io.Copy(in, out)
		in.Close()
	}()
	_, _ = io.Copy(out, struct{ io.Reader }{&counted{in, l}})
	l.mu.Lock()
	delete(l.conns, in)
	delete(l.conns, out)
	l.mu.Unlock()
}

// counted counts what goes towards the service, and waits where the line is held.
type counted struct {
	net.Conn
	l *line
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), 16<<10)])
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent += int64(n)
	if l.hold > 0 && l.sent > l.hold && l.stuck == nil {
		l.stuck = c.Conn
		l.ready.Broadcast()
	}
	for l.stuck == c.Conn && l.conns[c.Conn] {
		l.ready.Wait()
	}
	if len(l.cuts) > 0 && l.sent > l.cuts[0] {
		l.cuts = l.cuts[1:]
		l.cut()
	}
	return n, err
}

// cut ends all connections. l.mu is held.
func (l *line) cut() {
	for conn := range l.conns {
		conn.Close()
		delete(l.conns, conn)
	}
	l.ready.Broadcast()
}

// holdAfter lets so many more bytes through before one connection is held up, until release.
func (l *line) holdAfter(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = l.sent + n
}

// held waits until the line holds something up.
func (l *line) held() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.stuck == nil {
		l.ready.Wait()
	}
}

// drop cuts what is held up, with whatever is on its way.
func (l *line) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold, l.stuck = 0, nil
	l.cut()
}

func (l *line) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold, l.stuck = 0, nil
	l.ready.Broadcast()
}

func (l *line) cutAt(after ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range after {
		l.cuts = append(l.cuts, l.sent+n)
	}
}
