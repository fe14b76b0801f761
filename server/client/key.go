package client

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// KeyInfo is what the service says of the calling key.
type KeyInfo struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`            // read, write, revoke, erase, webhooks, keys
	Networks  []string  `json:"networks"`          // from where it may be used; none: from anywhere
	ExpiresAt time.Time `json:"expiresAt"`         // zero: does not expire
	Rate      int       `json:"requestsPerMinute"` // 0: what the service allows every key
	Quota     uint64    `json:"recordsPerDay"`     // 0: any number
	InForce   bool      `json:"inForce"`

	// Limits are what is left of the key's limits, by name: requests (a minute) and records (a
	// day). A limit that the key has not is absent.
	Limits map[string]Limit `json:"-"`
}

// Limit is what is left of one limit.
type Limit struct {
	Left  uint64
	Reset time.Duration // until it is whole again
}

// KeyInfo asks what the client's key may do, which also tells whether it works.
func (c *Client) KeyInfo(ctx context.Context) (*KeyInfo, error) {
	k := &KeyInfo{}
	h, err := c.json(ctx, call{method: http.MethodGet, path: "/key"}, k)
	if err != nil {
		return nil, err
	}
	k.Limits = parseLimits(h.Get("RateLimit"))
	return k, nil
}

// parseLimits reads a RateLimit header, such as "requests";r=119;t=60, "records";r=3;t=3600
// (draft-ietf-httpapi-ratelimit-headers). What cannot be read is left out: limits are enforced
// by the service, here they only inform.
func parseLimits(text string) map[string]Limit {
	out := map[string]Limit{}
	for _, item := range strings.Split(text, ",") {
		parts := strings.Split(strings.TrimSpace(item), ";")
		name := strings.Trim(parts[0], `"`)
		if name == "" || parts[0] != `"`+name+`"` {
			continue
		}
		var l Limit
		left := false
		for _, p := range parts[1:] {
			key, value, _ := strings.Cut(p, "=")
			n, err := strconv.ParseUint(value, 10, 63)
			switch {
			case err != nil:
			case key == "r":
				l.Left, left = n, true
			case key == "t":
				l.Reset = seconds(n)
			}
		}
		if left {
			out[name] = l
		}
	}
	return out
}
