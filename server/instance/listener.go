package instance

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// room is how many connections a listener takes at once.
type room struct {
	all        int
	perAddress int // of one address; of IPv6 of its first 64 bits, which one subscriber has to himself
	// exempt names the addresses that many clients share and that count for themselves: proxies.
	// nil: none.
	exempt func(netip.Addr) bool
	// refused is called for each connection without room: whether it got an answer. nil: nobody counts.
	refused func(answered bool)
}

// limitListener accepts as many connections at once as there is room for. One more gets an answer
// that says so and when to come back, instead of hanging in the kernel's queue until it times out.
func limitListener(ln net.Listener, r room) net.Listener {
	if r.refused == nil {
		r.refused = func(bool) {}
	}
	return &limitedListener{Listener: ln, room: r, stall: writeStall, byAddress: map[netip.Prefix]int{}}
}

type limitedListener struct {
	net.Listener
	room   room
	stall  time.Duration
	refuse atomic.Int64 // refusals being written

	mu        sync.Mutex
	open      int                  // guarded by mu
	byAddress map[netip.Prefix]int // guarded by mu; without zeros
}

// enter counts a connection in, if there is room for it, and returns what counts it out.
func (l *limitedListener) enter(c net.Conn) (leave func(), ok bool) {
	from := l.counted(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.room.all || from.IsValid() && l.byAddress[from] >= l.room.perAddress {
		return nil, false
	}
	l.open++
	l.byAddress[from]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
		if l.byAddress[from]--; l.byAddress[from] == 0 {
			delete(l.byAddress, from)
		}
	}, true
}

// counted is what a connection counts under, or the zero prefix.
func (l *limitedListener) counted(c net.Conn) netip.Prefix {
	end, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	a := end.Addr().Unmap().WithZone("")
	if l.room.exempt != nil && l.room.exempt(a) {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the bits fit the address
	return p
}

// refusals at once; beyond that a connection is just closed, which is still an answer.
const maxRefusals = 8192

const refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: " +
	"5\r\nConnection: close\r\nContent-Length: 164\r\n\r\n" +
	`{"type":"/docs/errors#busy","title":"Service Unavailable","status":503,"code":"busy","detail":"Too many ` +
	`connections at the moment. Nothing was saved; try again."}` + "\r\n"

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if leave, ok := l.enter(c); ok {
			return &countedConn{Conn: c, stall: l.stall, done: leave}, nil
		}
		if l.refuse.Add(1) > maxRefusals {
			l.refuse.Add(-1)
			l.room.refused(false)
			c.Close()
			continue
		}
		l.room.refused(true)
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
