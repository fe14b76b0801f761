package main

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"stele/notary/chain/ceremony"
	"stele/server/node"
	"stele/storage/storagetest/freeport"
)

// relays stand between hosts that share a network: each node reaches each other by a relay of
// TCP that holds bytes back as the wiring says. What TCP would do about a lost packet, to send
// it again after a while, is done here: nothing vanishes, everything behind it waits.
type relays struct {
	l      *lan
	listen [lanHosts]string           // where the nodes really listen
	to     [lanHosts][lanHosts]string // where a node (first) finds another (second)

	mu   sync.Mutex
	open map[net.Conn]bool // guarded by mu; nil when all is over
	wg   sync.WaitGroup
}

// resend is how long TCP waits at least before it sends a packet again (Linux).
const resend = 200 * time.Millisecond

func newRelays(t *testing.T, l *lan) *relays {
	t.Helper()
	r := &relays{l: l, open: map[net.Conn]bool{}}
	var listeners []net.Listener
	for i := range lanHosts {
		r.listen[i] = freeport.Address(t)
		for j := range lanHosts {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			fatalIfErr(t, err)
			listeners = append(listeners, ln)
			r.to[i][j] = ln.Addr().String()
			r.wg.Go(func() { r.accept(ln, i, j) })
		}
	}
	t.Cleanup(func() {
		for _, ln := range listeners {
			_ = ln.Close()
		}
		r.mu.Lock()
		for c := range r.open {
			_ = c.Close()
		}
		r.open = nil
		r.mu.Unlock()
		l.rewire(everywhere(link{})) // nobody waits for a cut to end
		r.wg.Wait()
	})
	return r
}

// introduce tells the node of a home where it finds the others.
func (r *relays) introduce(t *testing.T, from int, home node.Home) {
	t.Helper()
	_, peers, err := home.Joined()
	fatalIfErr(t, err)
	told := ceremony.Peers{Chain: peers.Chain}
	for _, p := range peers.List {
		for to := range lanHosts {
			if p.Address == lanAddress(to+1) {
				p.Address = r.to[from][to]
				break
			}
		}
		told.List = append(told.List, p)
	}
	fatalIfErr(t, home.SavePeers(told))
}

func (r *relays) accept(ln net.Listener, from, to int) {
	for {
		a, err := ln.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", r.listen[to])
		if err != nil {
			_ = a.Close() // the node is not there
			continue
		}
		if !r.keep(a, b) {
			return
		}
		r.wg.Go(func() { r.pump(b, a, from+1, to+1) })
		r.wg.Go(func() { r.pump(a, b, to+1, from+1) })
	}
}

// keep notes connections that are to be closed at the end, and reports whether that is not yet.
func (r *relays) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.open == nil {
			_ = c.Close()
			continue
		}
		r.open[c] = true
	}
	return r.open != nil
}

// pump hands on what comes from one side, late as the link says; when a side ends, both do.
func (r *relays) pump(out, in net.Conn, from, to int) {
	line := make(chan packet, lineRoom)
	r.wg.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.due)) // the line's length
			for r.l.link(from, to).loss == 1 {
				time.Sleep(10 * time.Millisecond) // a cut: it is sent again until it gets through
			}
			if _, err := out.Write(p.data); err != nil {
				_ = in.Close()
			}
		}
		_ = out.Close()
	})
	defer close(line)
	for last := time.Now(); ; {
		buf := make([]byte, 1400)
		n, err := in.Read(buf)
		if n > 0 {
			k := r.l.link(from, to)
			at := time.Now().Add(k.travel())
			for again := resend; k.loss < 1 && rand.Float64() < k.loss; again *= 2 {
				r.l.lost.Add(1)
				at = at.Add(again)
			}
			if at.After(last) {
				last = at
			}
			line <- packet{buf[:n], last}
			r.l.moved.Add(1)
		}
		if err != nil {
			_ = in.Close()
			return
		}
	}
}
