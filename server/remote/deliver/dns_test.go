package deliver

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// fakeDNS answers the first question for an address with one, each later one with another.
type fakeDNS struct {
	conn   net.PacketConn
	asked  atomic.Int64
	first  [4]byte
	second [4]byte
}

func newDNS(t *testing.T, first, second string) *fakeDNS {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	fatalIfErr(t, err)
	t.Cleanup(func() { conn.Close() })
	d := &fakeDNS{conn: conn, first: netip.MustParseAddr(first).As4(), second: netip.MustParseAddr(second).As4()}
	go d.serve()
	return d
}

func (d *fakeDNS) serve() {
	b := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(b)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(b[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		q.Response, q.RCode, q.Additionals = true, dnsmessage.RCodeSuccess, nil
		if q.Questions[0].Type == dnsmessage.TypeA {
			a := d.second
			if d.asked.Add(1) == 1 {
				a = d.first
			}
			q.Answers = []dnsmessage.Resource{
				{Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 0},
					Body: &dnsmessage.AResource{A: a}}}
		}
		if out, err := q.Pack(); err == nil {
			_, _ = d.conn.WriteTo(out, from)
		}
	}
}

func (d *fakeDNS) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}
