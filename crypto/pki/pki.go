// Package pki makes and checks X.509 certificates with SM2 keys and SM2-with-SM3
// signatures (GB/T 20518, GM/T 0015, RFC 5280). It makes them with emmansun/gmsm's smx509 and
// reads them itself: docs/formats.md section 7 is the whole profile, and
// testdata/profile/cases.json has a chain for each of its rules.
//
// It does no I/O and knows nothing of documents: three profiles are all it has.
//
//   - A root signs certificates and revocation lists and nothing else.
//   - An agency certificate signs statements: digitalSignature and contentCommitment
//     (nonRepudiation), with the agency's unified social credit code in its name.
//   - A notary certificate signs checkpoints: digitalSignature alone, so that it can never
//     pass for an agency's.
//
// Key usage is compared for equality. Under the dual-certificate system an encryption key
// is escrowed, so a key that may also encrypt must not create evidence.
//
// # Time
//
// [VerifyChain] answers "was this signer valid at that time?". The time must be vouched for
// by something other than the signer (an anchor); a signer can write any time it likes.
//
// # Revocation
//
// [VerifyChain] does not ask about it. That a certificate is revoked is an entry of the log, and a bundle shows by
// the log's status map whether its signer's is (docs/formats.md sections 8 and 18). For other programs a root signs
// the same as a certificate revocation list: [NewRevocationList].
package pki

import (
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/smx509"
)

// MaxSize is the longest certificate in bytes that is looked at. SM2 certificates have about
// 600 bytes; those of public CAs with policies and pointers stay below 2 KiB.
const MaxSize = 8 << 10

// MaxChain is the highest number of certificates in a chain, signer and root included.
const MaxChain = 4

// The errors of [Parse] and [VerifyChain]. All but [ErrUnknownRoot] and [ErrArgument] say
// that the chain is bad whatever a verifier trusts.
var (
	// ErrMalformed: not one strict DER X.509 v3 certificate with an SM2 key and an SM2-with-SM3
	// signature, or one that is not of the profile, as with a critical extension that is not
	// understood here.
	ErrMalformed = errors.New("not an acceptable SM2 certificate")
	// ErrChain: the certificates do not form one path in order: each must be issued by the next.
	ErrChain = errors.New("the certificates are not one ordered path from the signer to a root")
	// ErrSignature: a certificate was not signed by the key of the next one.
	ErrSignature = errors.New("the certificate's signature does not verify with its issuer's key")
	// ErrNotCA: an issuer is not allowed to issue.
	ErrNotCA = errors.New("the issuer is not a certificate authority")
	// ErrPathTooLong: more certificates than an issuer, or [MaxChain], allows.
	ErrPathTooLong = errors.New("the certificate path is too long")
	// ErrUsage: the signer's certificate is not for this purpose.
	ErrUsage = errors.New("the certificate is not for this use")
	// ErrNotYetValid and ErrExpired: a certificate of the path was not valid at the time asked for.
	ErrNotYetValid = errors.New("the certificate was not yet valid at that time")
	ErrExpired     = errors.New("the certificate had expired at that time")
	// ErrUnknownRoot: everything else holds, but the path ends in a certificate that is not
	// among the pinned roots. Another set of roots might contain it: the signature is
	// unverifiable, not invalid.
	ErrUnknownRoot = errors.New("the path ends in a root that is not pinned here")
	// ErrArgument: the caller's own policy is incomplete (no profile, no time).
	ErrArgument = errors.New("incomplete verification policy")
)

// Profile says what a certificate is for.
type Profile int

// The profiles of certificates that sign something other than certificates. The zero Profile
// is none, so that a forgotten one is refused.
const (
	Agency Profile = iota + 1
	Notary
)

// String returns the profile's English name.
func (p Profile) String() string {
	switch p {
	case Agency:
		return "agency"
	case Notary:
		return "notary"
	}
	return fmt.Sprintf("profile(%d)", int(p))
}

// keyUsage is the exact key usage of a profile (RFC 5280 section 4.2.1.3); 0 for none.
func (p Profile) keyUsage() smx509.KeyUsage {
	switch p {
	case Agency:
		return smx509.KeyUsageDigitalSignature | smx509.KeyUsageContentCommitment
	case Notary:
		return smx509.KeyUsageDigitalSignature
	}
	return 0
}

// Name is what Stele reads from and writes into a distinguished name.
type Name struct {
	Country      string // two letters of ISO 3166, "CN"
	Province     string // optional
	Locality     string // optional
	Organization string // the organization's legal name, in Chinese as registered
	CommonName   string // for Issue, the organization if empty
	// Code is the unified social credit code (GB 32100), kept in the attribute serialNumber
	// (X.520 section 6.2.9). This package checks its form only; the check digit is the
	// business of whoever knows agencies.
	Code string
}

// codeLength and codeAlphabet are the form of a unified social credit code (GB 32100-2015).
const (
	codeLength   = 18
	codeAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
)
