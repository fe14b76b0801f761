package people

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"stele/crypto/sm"
	"stele/notary"
)

// The second factor is TOTP (RFC 6238) with the values that every authenticator app knows:
// HMAC-SHA-1, six digits, 30 seconds.
const (
	factorBytes  = 20
	factorPeriod = 30 // seconds
	factorDigits = otp.DigitsSix
	factorSkew   = 1 // steps that a clock may be off, to either side
)

// recoveryCodes of 80 bits each are made at a time.
const recoveryCodes = 10

var factorEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewFactor returns a fresh secret as text, in base32.
func NewFactor() string {
	b := make([]byte, factorBytes)
	rand.Read(b) // never fails: the runtime aborts when the system has no randomness
	return factorEncoding.EncodeToString(b)
}

// FactorURL is what an authenticator app scans ("Key Uri Format" of Google Authenticator).
func FactorURL(issuer, login, secret string) string {
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + login}
	u.RawQuery = url.Values{"secret": {secret}, "issuer": {issuer}}.Encode()
	return strings.ReplaceAll(u.String(), "+", "%20")
}

// stepOf returns the time step whose code this is, if it is one that is taken now, later than
// the last one used.
func stepOf(secret, code string, last int64, now time.Time) (int64, bool) {
	var found int64
	ok := false
	for d := int64(-factorSkew); d <= factorSkew; d++ {
		step := now.Unix()/factorPeriod + d
		want, err := totp.GenerateCodeCustom(secret, time.Unix(step*factorPeriod, 0),
			totp.ValidateOpts{Period: factorPeriod, Digits: factorDigits, Algorithm: otp.AlgorithmSHA1})
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && step > last {
			found, ok = step, true
		}
	}
	return found, ok
}

// newRecovery makes codes and what is stored of them.
func newRecovery(userID string) (codes []string, digests []sm.Digest) {
	for range recoveryCodes {
		code := notary.NewCode() + notary.NewCode()
		codes = append(codes, code[:4]+"-"+code[4:8]+"-"+code[8:12]+"-"+code[12:])
		digests = append(digests, recoveryDigest(userID, code))
	}
	return codes, digests
}

func recoveryDigest(userID, code string) sm.Digest {
	return sm.Sum([]byte("stele/recovery/v1\x00"), []byte(userID), []byte{0}, []byte(code))
}

// normalizeCode writes a code as it was made: people type it with an input method on, and as it
// is printed.
func normalizeCode(typed string) string {
	return strings.ToUpper(strings.Map(func(r rune) rune {
		switch {
		case r >= '！' && r <= '～': // full-width forms of ASCII
			r -= '！' - '!'
		case r == '　':
			r = ' '
		}
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, typed))
}

// recoveryLength is that of a recovery code without its dashes.
const recoveryLength = 16

// couldBeCode reports whether a text is worth trying as a code: a password that is not would
// count as a wrong one.
func couldBeCode(typed string) bool {
	n := len(normalizeCode(typed))
	return n == factorDigits.Length() || n == recoveryLength
}

// useCode takes a code of the authenticator, or a recovery code, from a user: neither works
// twice. It reports whether it was one. Without a secret there is no authenticator.
func useCode(u *User, secret, typed string, now time.Time) bool {
	typed = normalizeCode(typed)
	if step, ok := stepOf(secret, typed, u.FactorStep, now); ok && secret != "" {
		u.FactorStep = step
		return true
	}
	if at := slices.Index(u.Recovery, recoveryDigest(u.ID, typed)); at >= 0 {
		u.Recovery = slices.Delete(slices.Clone(u.Recovery), at, at+1)
		return true
	}
	return false
}
