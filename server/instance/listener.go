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
	return &limitedListener{Listener: ln, max: int64(max)}
}

type limitedListener struct {
	net.Listener
	max    int64
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
			return &countedConn{Conn: c, done: func() { l.open.Add(-1) }}, nil
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

type countedConn struct {
	net.Conn
	closed atomic.Bool
	done   func()
}

// Close counts the connection out once, however often it is called.
func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.done()
	}
	return c.Conn.Close()
}
