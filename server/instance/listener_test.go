package instance

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// An answer is given up when the client takes nothing of it, and not because it takes long.
func TestAnswersAreTaken(t *testing.T) {
	const size = 64 << 20 // more than the buffers between the two
	const stall = 500 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := limitListener(ln, room{all: 2, perAddress: 2}).(*limitedListener)
	limited.stall = stall
	ended := make(chan error, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write(make([]byte, size))
		ended <- err
	})}
	go func() { _ = srv.Serve(limited) }()
	t.Cleanup(func() { srv.Close() })
	ask := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return c
	}

	ask()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all was written to a client that reads nothing")
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("a client that reads nothing still has its connection")
	}

	c, begin := ask(), time.Now()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got int64
	for ; err == nil && got < size; time.Sleep(stall / 20) { // a slow reader, in all slower than a stall
		var n int64
		n, err = io.CopyN(io.Discard, res.Body, size/40)
		got += n
	}
	if took := time.Since(begin); <-ended != nil || got < size || took < stall {
		t.Errorf("a slow client got %d bytes in %v: %v", got, took, err)
	}
}

// end is a connection from somewhere.
type end struct {
	net.Conn
	addr net.TCPAddr
}

func (e end) RemoteAddr() net.Addr { return &e.addr }

// Connections count by address, of IPv6 by what one subscriber has; those of proxies do not.
func TestRoomByAddress(t *testing.T) {
	proxy := netip.MustParseAddr("10.0.0.1")
	exempt := func(a netip.Addr) bool { return a == proxy }
	l := limitListener(nil, room{all: 10, perAddress: 2, exempt: exempt}).(*limitedListener)
	enter := func(ip string) func() {
		leave, ok := l.enter(end{addr: net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
		if !ok {
			return nil
		}
		return leave
	}
	leave := enter("192.0.2.1")
	for _, c := range []struct {
		ip string
		in bool
	}{{"192.0.2.1", true}, {"192.0.2.1", false}, {"::ffff:192.0.2.1", false}, {"192.0.2.2", true},
		{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, {"2001:db8:0:1::3", true},
		{"10.0.0.1", true}, {"10.0.0.1", true}, {"10.0.0.1", true}, {"10.0.0.1", true}, {"10.0.0.1", false}} {
		if in := enter(c.ip) != nil; in != c.in {
			t.Errorf("%s: %v", c.ip, in)
		}
	}
	leave()
	if enter("192.0.2.1") == nil || enter("192.0.2.9") != nil || len(l.byAddress) != 5 {
		t.Errorf("after one has left: %v", l.byAddress)
	}
}
