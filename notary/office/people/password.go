package people

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"

	"stele/notary"
)

// Lengths of a password, MinPassword in characters, MaxPassword in bytes. Length is the one
// demand (NIST SP 800-63B section 3.1.1): rules of composition make passwords worse.
const (
	MinPassword = 12
	MaxPassword = 256
)

// hashCost is what OWASP's Password Storage Cheat Sheet gives for argon2id: 19 MiB, two passes.
var hashCost = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// hasher works out password hashes, a few at a time: each takes 19 MiB and tens of
// milliseconds of a core, and anybody can ask for one.
type hasher struct {
	turns chan struct{}
	dummy string // hash of a password that nobody has, for names that nobody has
}

const hashesAtOnce = 2

func newHasher() (*hasher, error) {
	h := &hasher{turns: make(chan struct{}, hashesAtOnce)}
	var err error
	h.dummy, err = argon2id.CreateHash(rand.Text(), hashCost)
	return h, err
}

func (h *hasher) turn(ctx context.Context) error {
	select {
	case h.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return notary.Wrap(notary.CodeBusy, ctx.Err(), "Too many people sign in at the moment; try again.")
	}
}

// matches compares in a time that does not depend on the hash.
func (h *hasher) matches(ctx context.Context, password, hash string) (bool, error) {
	if err := h.turn(ctx); err != nil {
		return false, err
	}
	defer func() { <-h.turns }()
	if len(password) > MaxPassword {
		password = "" // nobody has such a password; it takes as long as any
	}
	ok, err := argon2id.ComparePasswordAndHash(norm.NFKC.String(password), hash)
	if err != nil {
		return false, fmt.Errorf("compare a password: %w", err)
	}
	return ok, nil
}

// hash refuses passwords that are too short or too easily guessed from the login name.
func (h *hasher) hash(ctx context.Context, password, login string) (string, error) {
	switch {
	case utf8.RuneCountInString(password) < MinPassword || len(password) > MaxPassword || !utf8.ValidString(password):
		return "", notary.InvalidField("password", "A password has at least %d characters and at most %d bytes.",
			MinPassword, MaxPassword)
	case strings.Contains(strings.ToLower(password), login):
		return "", notary.InvalidField("password", "A password must not contain the login name.")
	}
	if err := h.turn(ctx); err != nil {
		return "", err
	}
	defer func() { <-h.turns }()
	return argon2id.CreateHash(norm.NFKC.String(password), hashCost)
}

// NewPassword makes an initial password of 80 bits that can be read out and typed.
func NewPassword() string {
	text := notary.NewCode() + notary.NewCode()
	return strings.Join([]string{text[:4], text[4:8], text[8:12], text[12:]}, "-")
}
