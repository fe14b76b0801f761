package instance

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// limitListener accepts at most max connections at once. One more gets an answer that says
// so and when to come back, instead of hanging in the kernel's queue until it times out.
func limitListener(ln net.Listener, max int) net.Listener {
	return &limitedListener{Listener: ln, max: int64(max), stall: writeStall}
}

type limitedListener struct {
	net.Listener
	max    int64
	stall  time.Duration
	open   atomic.Int64
	refuse atomic.Int64 // refusals being written
}

// refusals at once; beyond that a connection is just closed, which is still an answer.
const maxRefusals = 8192

const refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 164\r\n\r\n" +
	`{"type":"/docs/errors#busy","title":"Service Unavailable","status":503,"code":"busy","detail":"Too many connections at the moment. Nothing was saved; try again."}` + "\r\n"

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			return &countedConn{Conn: c, stall: l.stall, done: func() { l.open.Add(-1) }}, nil
		}
		l.open.Add(-1)
		if l.refuse.Add(1) > maxRefusals {
			l.refuse.Add(-1)
			c.Close()
			continue
		}
		go func() {
			defer l.refuse.Add(-1)
			refuse(c)
		}()
	}
}

// refuse answers and then waits a moment for the client to read it: closing with unread
// request bytes would reset the connection and lose the answer.
func refuse(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second)) // a failure shows in the write
	if _, err := io.WriteString(c, refusal); err != nil {
		return
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, c, 64<<10)
}

// A client has writeStall to take each writeStep bytes of an answer. However long that takes in
// all, one that reads nothing does not hold a connection, and what its answer comes from.
const (
	writeStall = time.Minute
	writeStep  = 64 << 10
)

// countedConn is a connection that is counted. It is written to by one goroutine at a time.
type countedConn struct {
	net.Conn
	closed atomic.Bool
	done   func()
	stall  time.Duration
	own    atomic.Bool // whoever answers has set a deadline for writes, which then is the one
}

// Write implements net.Conn.
func (c *countedConn) Write(b []byte) (n int, err error) {
	for {
		if !c.own.Load() {
			if err := c.Conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
				return n, err
			}
		}
		m, err := c.Conn.Write(b[n:min(len(b), n+writeStep)])
		if n += m; err != nil || n == len(b) {
			return n, err
		}
	}
}

// SetWriteDeadline implements net.Conn.
func (c *countedConn) SetWriteDeadline(t time.Time) error {
	c.own.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *countedConn) SetDeadline(t time.Time) error {
	c.own.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// Close counts the connection out once, however often it is called.
func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.done()
	}
	return c.Conn.Close()
}
