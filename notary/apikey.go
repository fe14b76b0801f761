package notary

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"stele/crypto/sm"
)

// Scope is a right that an API key has.
type Scope string

// The scopes.
const (
	ScopeRead     Scope = "read"     // records, their proofs and originals, the agency's events
	ScopeWrite    Scope = "write"    // notarize, and replace by a new record
	ScopeRevoke   Scope = "revoke"   // withdraw
	ScopeErase    Scope = "erase"    // erase attributes and originals for ever
	ScopeWebhooks Scope = "webhooks" // endpoints, their secrets and deliveries
	ScopeKeys     Scope = "keys"     // make, rotate and end the agency's keys
	ScopeAudit    Scope = "audit"    // the log's entries, of all agencies; the operator alone gives it
)

// Scopes are all of them, OwnScopes those that an agency may give to its keys.
var (
	Scopes    = append(slices.Clone(OwnScopes), ScopeAudit)
	OwnScopes = []Scope{ScopeRead, ScopeWrite, ScopeRevoke, ScopeErase, ScopeWebhooks, ScopeKeys}
)

// APIKey is an agency system's key as it is stored: the secret itself is shown once and
// never kept.
type APIKey struct {
	ID       string
	AgencyID string
	// Account is the id of the key that this one descends from by rotation, or was made
	// with: their requests and records are counted together, so that a new key is no new quota.
	Account  string
	Digest   sm.Digest // SM3 of the whole key text
	Name     string
	Scopes   []Scope
	Networks []netip.Prefix // from where it may be used; none: from anywhere
	Rate     int            // requests a minute; 0: what the instance allows
	Quota    uint64         // records a day (UTC); 0: any number

	CreatedAt time.Time
	ExpiresAt time.Time // zero: does not expire
	RevokedAt time.Time // zero: in force
	UsedAt    time.Time // zero: never; a few seconds late
}

// May reports whether the key has a right.
func (k APIKey) May(s Scope) bool { return slices.Contains(k.Scopes, s) }

// From reports whether the key may be used from an address. An IPv4 address that is written
// as one of IPv6 is meant as IPv4.
func (k APIKey) From(addr netip.Addr) bool {
	return len(k.Networks) == 0 ||
		slices.ContainsFunc(k.Networks, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

// InForce reports whether the key works at a time.
func (k APIKey) InForce(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// Limits of a key's settings.
const (
	MaxKeyName     = 100 // bytes
	MaxKeyNetworks = 32
)

// CheckKeyName refuses what cannot name a key.
func CheckKeyName(name string) error {
	if !ValidLine(name, MaxKeyName) {
		return InvalidField("name",
			"A key's name has 1 to %d bytes, %s, and no white space at its ends. Nothing was saved.", MaxKeyName,
			TextRule)
	}
	return nil
}

// ParseScopes reads scopes and returns them in their order, each once.
func ParseScopes(names []string) ([]Scope, error) {
	var out []Scope
	for _, s := range Scopes {
		if slices.Contains(names, string(s)) {
			out = append(out, s)
		}
	}
	for _, n := range names {
		if !slices.Contains(Scopes, Scope(n)) {
			return nil, InvalidField("scopes", "There is no scope %q; there are %s.", n, JoinScopes(Scopes, ", "))
		}
	}
	if len(out) == 0 {
		return nil, InvalidField("scopes", "A key needs at least one scope of %s.", JoinScopes(Scopes, ", "))
	}
	return out, nil
}

// JoinScopes writes scopes.
func JoinScopes(all []Scope, separator string) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = string(s)
	}
	return strings.Join(names, separator)
}

// ParseNetworks reads networks such as 10.1.0.0/16 or 2001:db8::/32; an address alone is a
// network of one. Bits beyond the prefix are refused: they are mostly a mistake.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	if len(texts) > MaxKeyNetworks {
		return nil, InvalidField("networks", "A key has at most %d networks.", MaxKeyNetworks)
	}
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := parseNetwork(text)
		if err != nil {
			return nil, InvalidField("networks",
				"%q is no network: %v. Write 10.1.0.0/16, 2001:db8::/32, or an address.", text, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("it cannot be read")
	case p != p.Masked():
		return p, fmt.Errorf("the network of that length is %s", p.Masked())
	case p.Addr().Is4In6():
		return p, fmt.Errorf("write IPv4 networks as such")
	}
	return p, nil
}
