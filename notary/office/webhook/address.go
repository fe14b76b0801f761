package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"stele/notary"
)

// Policy is where webhooks may go.
type Policy struct {
	Loopback bool           // http to this machine is fine: a demo instance
	Allow    []netip.Prefix // the operator's exceptions: intranet addresses
}

// maxURL is the longest URL of an endpoint in bytes.
const maxURL = 2048

// CheckURL refuses a URL that could never be called. A name is not resolved here: what it
// means is looked at when it is dialled, each time, see [Policy.CheckAddress].
func (p Policy) CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxURL ||
		strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return notary.InvalidField("url", "The URL must be an absolute https URL of at most %d characters, in ASCII.",
			maxURL)
	case u.Scheme != "https" && !(p.Loopback && u.Scheme == "http") || u.Opaque != "" || u.Hostname() == "":
		return notary.InvalidField("url", "The URL must begin with https:// and name a host.")
	case u.User != nil:
		return notary.InvalidField("url", "The URL must not hold a user name or password; check the signature instead.")
	case strings.Contains(text, "#"):
		return notary.InvalidField("url", "The URL must not have a fragment.")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return notary.InvalidField("url", "The URL's port must be a number from 1 to 65535.")
		}
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		if u.Scheme == "http" && u.Hostname() != "localhost" {
			return notary.InvalidField("url", "The URL must begin with https://; http is for localhost only.")
		}
		return nil
	}
	if u.Scheme == "http" && !addr.Unmap().IsLoopback() {
		return notary.InvalidField("url", "The URL must begin with https://; http is for localhost only.")
	}
	if err := p.CheckAddress(addr); err != nil {
		return notary.InvalidField("url", "Webhooks are not sent to this address.")
	}
	return nil
}

// ErrAddress means that webhooks are not sent to an address.
var ErrAddress = errors.New("the address is not public")

// CheckAddress says whether webhooks may be sent to an address. It is asked with the address
// that is being connected to, after a name was resolved: a name that means something else the
// second time gets nowhere.
func (p Policy) CheckAddress(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	if p.Loopback && addr.IsLoopback() {
		return nil
	}
	for _, a := range p.Allow {
		if a.Contains(addr) {
			return nil
		}
	}
	if !addr.IsValid() || !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return fmt.Errorf("%w: %s", ErrAddress, addr)
	}
	for _, r := range reserved {
		if r.Contains(addr) {
			return fmt.Errorf("%w: %s", ErrAddress, addr)
		}
	}
	return nil
}

// reserved is what is routed nowhere, or somewhere else than it looks (IANA special-purpose
// address registries, RFC 6890), beyond what netip tells. Ranges that hold an IPv4 address in
// an IPv6 one are refused whole: no receiver needs them.
var reserved = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4",
	"168.63.129.16/32", // a cloud's metadata service on a public address
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	"5f00::/16", "fec0::/10")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// ParsePrefixes reads the operator's exceptions: networks in CIDR notation, separated by commas.
func ParsePrefixes(text string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is no network in CIDR notation such as 10.1.0.0/16", part)
		}
		out = append(out, p)
	}
	return out, nil
}
