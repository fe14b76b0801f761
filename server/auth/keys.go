// Package auth answers who a caller is and what it may do. Today callers are agencies'
// systems with API keys.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"stele/crypto/sm"
	"stele/notary"
)

// Store keeps keys. FindKey returns [notary.ErrNotFound] when no key has this id. Methods
// are safe for concurrent use.
type Store interface {
	AddKey(ctx context.Context, k notary.APIKey) error
	FindKey(ctx context.Context, id string) (notary.APIKey, error)
}

// prefix marks a Stele key, so that secret scanners recognize one.
const prefix = "stele_"

// NewKeyID makes an id for a key.
func NewKeyID() string {
	id := make([]byte, 9)
	rand.Read(id) // never fails: the runtime aborts when the system has no randomness
	return encodeID(id)
}

// NewKey completes a key's settings with a digest and, where they are missing, an id and an
// account of its own. It returns the text for the caller too, stele_<id>_<32 random bytes>; 256 bits
// of entropy need no slow hash.
func NewKey(k notary.APIKey) (text string, complete notary.APIKey) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails, as above
	if k.ID == "" {
		k.ID = NewKeyID()
	}
	if k.Account == "" {
		k.Account = k.ID
	}
	text = prefix + k.ID + "_" + base64.RawURLEncoding.EncodeToString(secret)
	k.Digest = sm.Sum([]byte(text))
	return text, k
}

func encodeID(b []byte) string {
	return strings.NewReplacer("-", "x", "_", "y").Replace(base64.RawURLEncoding.EncodeToString(b))
}

// cacheFor is how long a key that was found in force is believed without asking again: a
// revocation takes effect everywhere within that time.
const cacheFor = 2 * time.Second

// maxCached bounds the cache; when it is full it starts anew.
const maxCached = 10_000

// Keys authenticates callers. It is safe for concurrent use.
type Keys struct {
	store Store
	now   func() time.Time

	mu    sync.Mutex
	cache map[sm.Digest]cached // guarded by mu; by the digest of the whole key
}

type cached struct {
	key   notary.APIKey
	until time.Time
}

// NewKeys returns an authenticator over a store.
func NewKeys(store Store, now func() time.Time) *Keys {
	return &Keys{store: store, now: now, cache: map[sm.Digest]cached{}}
}

var (
	errUnauthorized = notary.Errorf(notary.CodeUnauthorized,
		"A valid API key is needed: send 'Authorization: Bearer <key>'.")
	errNetwork = notary.Errorf(notary.CodeForbidden,
		"This key may not be used from your address; its networks are set by the agency.")
)

// Authenticate returns the key behind an Authorization header that came from an address.
// Every reason to refuse gives the same answer; only a store that is down, and the wrong
// network for a right key, give others.
func (k *Keys) Authenticate(ctx context.Context, header, remoteAddr string) (notary.APIKey, error) {
	key, err := k.authenticate(ctx, header)
	if err != nil || len(key.Networks) == 0 {
		return key, err
	}
	if addr, err := netip.ParseAddrPort(remoteAddr); err != nil || !key.From(addr.Addr()) {
		return notary.APIKey{}, errNetwork
	}
	return key, nil
}

func (k *Keys) authenticate(ctx context.Context, header string) (notary.APIKey, error) {
	text, ok := bearer(header)
	if !ok {
		return notary.APIKey{}, errUnauthorized
	}
	digest, now := sm.Sum([]byte(text)), k.now()
	if key, ok := k.cached(digest, now); ok {
		return key, nil
	}
	id, _, ok := strings.Cut(strings.TrimPrefix(text, prefix), "_")
	if !ok || !strings.HasPrefix(text, prefix) || len(text) > 128 {
		return notary.APIKey{}, errUnauthorized
	}
	key, err := k.store.FindKey(ctx, id)
	if err != nil && !errors.Is(err, notary.ErrNotFound) {
		return notary.APIKey{}, notary.Wrap(notary.CodeUnavailable, err,
			"Keys cannot be checked at the moment; try again.")
	}
	// The comparison is made in constant time, and also for a key that does not exist.
	same := subtle.ConstantTimeCompare(digest[:], key.Digest[:]) == 1
	if err != nil || !same || !key.InForce(now) {
		return notary.APIKey{}, errUnauthorized
	}
	k.remember(digest, key, now)
	return key, nil
}

func bearer(header string) (string, bool) {
	scheme, text, ok := strings.Cut(header, " ")
	return text, ok && strings.EqualFold(scheme, "Bearer") && text != ""
}

func (k *Keys) cached(d sm.Digest, now time.Time) (notary.APIKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.cache[d]
	if !ok || now.After(c.until) {
		return notary.APIKey{}, false
	}
	return c.key, true
}

func (k *Keys) remember(d sm.Digest, key notary.APIKey, now time.Time) {
	until := now.Add(cacheFor)
	if !key.ExpiresAt.IsZero() && key.ExpiresAt.Before(until) {
		until = key.ExpiresAt
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cache) >= maxCached {
		clear(k.cache)
	}
	k.cache[d] = cached{key, until}
}
