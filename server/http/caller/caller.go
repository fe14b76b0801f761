// Package caller finds out from which address a request comes, for everything that counts or
// allows by address: the networks of API keys, rate limits, the delays after wrong passwords
// and codes, the audit trail. Where proxies stand before the service, what a header says is
// believed only of those, and what they do not say is not guessed.
package caller

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Headers whose form is known here. Any other one holds a single address.
const (
	headerList      = "X-Forwarded-For" // addresses with commas between them
	headerForwarded = "Forwarded"       // RFC 7239
)

// maxHops is more proxies than stand in a row anywhere.
const maxHops = 16

// Rules say which proxies stand before the service and how they name the client. The zero
// value is that there are none. Rules do not change and are safe for concurrent use.
type Rules struct {
	proxies []netip.Prefix
	header  string // canonical; empty for none
	name    string // as it was set, for messages
	hops    int
}

// NewRules checks settings: the proxies' addresses or networks in CIDR notation with commas
// between them, the header in which the proxy next to the service names the client, and how
// many proxies a request passes. Errors speak of the settings by their names.
func NewRules(proxies, header string, hops int) (Rules, error) {
	r := Rules{header: http.CanonicalHeaderKey(header), name: header, hops: hops}
	var err error
	if r.proxies, err = parseProxies(proxies); err != nil {
		return Rules{}, err
	}
	switch {
	case header == "" && len(r.proxies) == 0 && hops == 1:
		return r, nil
	case header == "" && len(r.proxies) == 0:
		return Rules{}, errors.New("proxy-hops counts proxies: it needs trusted-proxies and client-ip-header")
	case header == "":
		return Rules{}, errors.New("trusted-proxies needs client-ip-header: the header in which those proxies name " +
			"the client, such as X-Forwarded-For")
	case len(r.proxies) == 0:
		return Rules{}, fmt.Errorf("client-ip-header needs trusted-proxies: the addresses of the proxies that set "+
			"%s, such as 127.0.0.1 or 10.0.0.0/24; "+
			"what anybody else puts into that header is not believed", header)
	case !httpguts.ValidHeaderFieldName(header):
		return Rules{}, fmt.Errorf("client-ip-header: %q is not the name of a header", header)
	case hops < 1 || hops > maxHops:
		return Rules{}, fmt.Errorf("proxy-hops must be between 1 and %d", maxHops)
	case hops > 1 && r.header != headerList && r.header != headerForwarded:
		return Rules{}, fmt.Errorf("proxy-hops: %s holds one address and no list of hops; leave proxy-hops at 1 if "+
			"the outermost proxy sets it "+
			"and the others pass it on, or use X-Forwarded-For", header)
	}
	return r, nil
}

func parseProxies(text string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			addr, aerr := netip.ParseAddr(part)
			if aerr != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("trusted-proxies: %q is neither an address nor a network such as 10.0.0.0/24",
					part)
			}
			p = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
		}
		switch {
		case p.Masked() != p:
			return nil, fmt.Errorf("trusted-proxies: %s has bits beyond its network: write %s, or the address alone", p,
				p.Masked())
		case p.Addr().Is4In6():
			return nil, fmt.Errorf("trusted-proxies: write %s as a network of IPv4", p)
		case p.Bits() == 0:
			return nil, fmt.Errorf(
				"trusted-proxies: %s is everybody, and everybody could name any address: write the proxies' own", p)
		}
		all = append(all, p)
	}
	return all, nil
}

// Reason is why a request was refused; there are few, so that they can be counted.
type Reason string

// The reasons.
const (
	Missing    Reason = "missing"    // the header is not there
	Short      Reason = "short"      // it names fewer hops than there are proxies
	Doubled    Reason = "doubled"    // one address is expected, and several are there
	Unreadable Reason = "unreadable" // what stands there is no address
	Unknown    Reason = "unknown"    // a hop on the way is none of the trusted proxies
)

// Refusal is the error of a request whose address cannot be told. Detail is for the operator;
// it holds nothing that the request brought along.
type Refusal struct {
	Reason Reason
	Detail string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Detail }

// Addr returns the address that a request comes from, without a zone, IPv4 as IPv4. Without
// trusted proxies, and for a connection that does not come from one, it is the other end of the
// connection, whatever headers say. The error is a [*Refusal].
func (r Rules) Addr(req *http.Request) (netip.Addr, error) {
	end, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}, &Refusal{Unreadable, "The connection's other end has no IP address."}
	}
	peer := end.Addr().Unmap().WithZone("")
	if r.header == "" || !r.Trusts(peer) {
		return peer, nil
	}
	lines := req.Header.Values(r.header)
	if len(lines) == 0 {
		return netip.Addr{}, r.refuse(Missing, "is missing")
	}
	switch r.header {
	case headerForwarded:
		return r.pick(forwardedHops(lines))
	case headerList:
		return r.pick(listHops(lines))
	}
	if len(lines) > 1 || strings.Contains(lines[0], ",") {
		return netip.Addr{}, r.refuse(Doubled, "holds several values where one is expected")
	}
	addr, ok := parseNode(lines[0])
	if !ok {
		return netip.Addr{}, r.refuse(Unreadable, "holds no address")
	}
	return addr, nil
}

// Trusts reports whether an address is that of a proxy that names its clients.
func (r Rules) Trusts(a netip.Addr) bool {
	return slices.ContainsFunc(r.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (r Rules) refuse(reason Reason, what string) error {
	return &Refusal{reason, fmt.Sprintf("The proxy before this service did not say who calls: its header %s %s. "+
		"Nothing was done. The operator finds the settings under client-ip-header.", r.name, what)}
}

// hop is one entry of a list, newest first: what a proxy wrote about the other end of its own
// connection. ok is whether it is an address.
type hop struct {
	addr netip.Addr
	ok   bool
}

// pick goes as many hops back as there are proxies. What stands before that was brought along
// by the client and is not looked at. Each hop on the way must be a trusted proxy itself: a
// client that reaches an inner proxy directly would otherwise name its own address.
func (r Rules) pick(next func() (hop, error)) (netip.Addr, error) {
	stranger := 0 // the first hop on the way that is no trusted proxy
	for n := 1; ; n++ {
		h, err := next()
		switch {
		case errors.Is(err, errNoMore):
			return netip.Addr{}, r.refuse(Short, fmt.Sprintf("names %d hops where proxy-hops demands %d", n-1, r.hops))
		case err != nil || !h.ok:
			return netip.Addr{}, r.refuse(Unreadable, "holds no address where the client's is expected")
		case n < r.hops && stranger == 0 && !r.Trusts(h.addr):
			stranger = n
		case n == r.hops && stranger > 0:
			return netip.Addr{}, r.refuse(Unknown,
				fmt.Sprintf("names as hop %d an address that is not among trusted-proxies", stranger))
		case n == r.hops:
			return h.addr, nil
		}
	}
}

// errNoMore is the end of a list of hops.
var errNoMore = errors.New("no more hops")

// listHops reads X-Forwarded-For from its end. All lines together are one list (RFC 9110,
// section 5.3); the newest is the last value of the last line.
func listHops(lines []string) func() (hop, error) {
	rest, i := "", len(lines)
	more := false
	return func() (hop, error) {
		if !more {
			if i--; i < 0 {
				return hop{}, errNoMore
			}
			rest = lines[i]
		}
		last := rest
		if c := strings.LastIndexByte(rest, ','); c >= 0 {
			rest, last, more = rest[:c], rest[c+1:], true
		} else {
			more = false
		}
		addr, ok := parseNode(strings.Trim(last, " \t"))
		return hop{addr, ok}, nil
	}
}

// parseNode reads an address as proxies write it: bare, with a port, or of IPv6 in brackets.
// A zone means nothing on another machine and is refused.
func parseNode(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap(), addr.Zone() == ""
	}
	if end, err := netip.ParseAddrPort(s); err == nil && end.Addr().Zone() == "" {
		return end.Addr().Unmap(), true
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return addr.Unmap(), ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	return netip.Addr{}, false
}
