// Package freeport gives tests ports for servers that are started later, or stopped and started again.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// The ports lie below the range that the kernel gives to outgoing connections, so that one which a
// stopped server comes back to is not taken by some client meanwhile.
const low, high = 20000, 32000

// marks are the UDP ports of the same numbers. They stay open until this test binary ends: no
// other test, of this binary or of one that runs beside it, gets the port too.
var (
	mu    sync.Mutex
	marks []net.PacketConn // guarded by mu; kept from the garbage collector, which would close them
)

// Get returns a port of the loopback interface that nobody listens on.
func Get() (int, error) {
	for range 200 {
		port := low + rand.IntN(high-low)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		mark, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			mark.Close()
			continue
		}
		mu.Lock()
		marks = append(marks, mark)
		mu.Unlock()
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port between %d and %d on 127.0.0.1", low, high)
}

// Address is a host and a port of [Get].
func Address(t testing.TB) string {
	t.Helper()
	port, err := Get()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
