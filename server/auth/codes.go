package auth

import (
	"crypto/subtle"
	"net"
	"net/http"
	"sync"
	"time"

	"stele/notary"
)

// Codes guards the codes that stand beside certificate numbers: 40 bits that open a record's
// attributes. It counts wrong ones per number and address, so that one client cannot guess,
// and per number, far higher, so that many clients cannot either, while a stranger who
// enters wrong codes does not lock the holder out. It is safe for concurrent use.
type Codes struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time      // guarded by mu
	wrong map[string]int // guarded by mu; by number, and by number and address
}

const (
	wrongPerClient = 10
	wrongPerNumber = 1000
	wrongPeriod    = time.Hour
	maxCounted     = 100_000 // when full all is forgotten, the hour with it
)

// NewCodes returns a guard that has seen nothing.
func NewCodes(now func() time.Time) *Codes { return &Codes{now: now, wrong: map[string]int{}} }

// Check compares a code that a client gave with a record's. The errors are for the client:
// rate_limited after too many wrong codes, invalid_request for a wrong one.
func (c *Codes) Check(r notary.Record, code, remoteAddr string) error {
	client := r.Number + " " + clientNetwork(remoteAddr)
	if !c.allowed(r.Number, client) {
		return notary.Errorf(notary.CodeRateLimited, "There were too many wrong codes for this number; wait an hour.")
	}
	given, ok := notary.NormalizeCode(code)
	if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(r.Code)) != 1 {
		c.failed(r.Number, client)
		return notary.InvalidField("code", "This code does not belong to this number. Check both on the certificate.")
	}
	return nil
}

func (c *Codes) allowed(number, client string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.since) > wrongPeriod || len(c.wrong) > maxCounted {
		c.since = now
		clear(c.wrong)
	}
	return c.wrong[client] < wrongPerClient && c.wrong[number] < wrongPerNumber
}

func (c *Codes) failed(number, client string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong[client]++
	c.wrong[number]++
}

// ClientKey is what rate limits count by: the network of the caller. Package caller has put his
// address into the request, also from behind a proxy.
func ClientKey(r *http.Request) (string, error) { return clientNetwork(r.RemoteAddr), nil }

// clientNetwork is an address without its port; of IPv6 the first 64 bits, which one
// subscriber has to himself.
func clientNetwork(remoteAddr string) string {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		host = remoteAddr
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.To4() != nil {
		return host
	}
	return ip.Mask(net.CIDRMask(64, 128)).String()
}
