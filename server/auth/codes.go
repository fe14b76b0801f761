package auth

import (
	"crypto/subtle"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"stele/notary"
)

// Codes guards the codes that stand beside certificate numbers: 40 bits that open a record's
// attributes. It counts wrong ones per number and address, so that one client cannot guess,
// and per number, far higher, so that many clients cannot either, while a stranger who
// enters wrong codes does not lock the holder out. Counts live in this process alone; when there
// are too many, those that were asked for longest ago go first. It is safe for concurrent use.
type Codes struct {
	now func() time.Time

	mu    sync.Mutex
	wrong *simplelru.LRU[string, wrongCodes] // guarded by mu; by number, and by number and address
}

// wrongCodes are those since the first of them.
type wrongCodes struct {
	n     int
	since time.Time
}

const (
	wrongPerClient = 10
	wrongPerNumber = 1000
	wrongPeriod    = time.Hour
	maxCounted     = 100_000 // about 20 MB
)

// NewCodes returns a guard that has seen nothing.
func NewCodes(now func() time.Time) *Codes {
	wrong, err := simplelru.NewLRU[string, wrongCodes](maxCounted, nil)
	if err != nil {
		panic(err) // the size is not positive: a mistake in this file
	}
	return &Codes{now: now, wrong: wrong}
}

// Check compares a code that a client gave with a record's. The errors are for the client:
// rate_limited after too many wrong codes, invalid_request for a wrong one. It looks at the
// count, compares and counts in one step: of many guesses at once no more are compared than of
// as many one after another.
func (c *Codes) Check(r notary.Record, code, remoteAddr string) error {
	client := r.Number + " " + clientNetwork(remoteAddr)
	given, ok := notary.NormalizeCode(code)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count(client) >= wrongPerClient || c.count(r.Number) >= wrongPerNumber {
		return notary.Errorf(notary.CodeRateLimited, "There were too many wrong codes for this number; wait an hour.")
	}
	if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(r.Code)) != 1 {
		c.add(client)
		c.add(r.Number)
		return notary.InvalidField("code", "This code does not belong to this number. Check both on the certificate.")
	}
	return nil
}

// count is how many wrong codes there were in the present period. The caller holds mu.
func (c *Codes) count(key string) int {
	w, ok := c.wrong.Get(key)
	if !ok || c.now().Sub(w.since) > wrongPeriod {
		return 0
	}
	return w.n
}

// add counts one more. The caller holds mu.
func (c *Codes) add(key string) {
	w := wrongCodes{since: c.now()}
	if n := c.count(key); n > 0 {
		w, _ = c.wrong.Get(key)
	}
	w.n++
	c.wrong.Add(key, w)
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
