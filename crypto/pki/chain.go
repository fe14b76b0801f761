package pki

import (
	"bytes"
	"fmt"
	"slices"
	"time"
)

// VerifyChain decides whether the first certificate of chain was a valid signer of the given
// profile at the time at, under one of the pinned roots, and returns it.
//
// The chain is DER: the signer first, each followed by its issuer, the root last, nothing
// else, between two and [MaxChain] certificates. The root is part of the chain, so that a
// verifier that pins another set can still see that everything else holds; it is trusted
// only if exactly its bytes are among roots. Its own signature is not looked at: pinning
// replaces it.
//
// The rules are those of RFC 5280 section 6.1 for a path that is given: signatures, names,
// key identifiers, basic constraints, path length, key usage, and validity of every
// certificate at the one time. There is no path building, hence nothing to confuse.
//
// The errors are the sentinels of this package. [ErrUnknownRoot] is returned only if all else
// holds; apart from it and [ErrArgument] every error means that no choice of roots would
// help. VerifyChain does no I/O, takes about 0.1 ms for two certificates, and is safe for
// concurrent use.
func VerifyChain(chain, roots [][]byte, at time.Time, profile Profile) (*Certificate, error) {
	if profile.keyUsage() == 0 {
		return nil, fmt.Errorf("%w: unknown %v", ErrArgument, profile)
	}
	if at.IsZero() {
		return nil, fmt.Errorf("%w: no time given", ErrArgument)
	}
	path, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	if err := path[0].checkProfile(profile); err != nil {
		return nil, numbered(0, err)
	}
	for i, c := range path[:len(path)-1] {
		if err := c.checkIssuedBy(path[i+1], i); err != nil {
			return nil, numbered(i, err)
		}
	}
	for i, c := range path {
		if err := c.checkTime(at); err != nil {
			return nil, numbered(i, err)
		}
	}
	root := chain[len(chain)-1]
	if !slices.ContainsFunc(roots, func(r []byte) bool { return bytes.Equal(r, root) }) {
		return nil, ErrUnknownRoot
	}
	return path[0], nil
}

// numbered says which certificate of the chain an error is about, counted from 1 at the signer.
func numbered(i int, err error) error { return fmt.Errorf("certificate %d: %w", i+1, err) }

func parseChain(chain [][]byte) ([]*Certificate, error) {
	if len(chain) > MaxChain {
		return nil, fmt.Errorf("%w: %d certificates, the limit is %d", ErrPathTooLong, len(chain), MaxChain)
	}
	if len(chain) < 2 {
		return nil, fmt.Errorf("%w: %d certificates, want the signer's first and the root last", ErrChain, len(chain))
	}
	path := make([]*Certificate, len(chain))
	for i, der := range chain {
		c, err := Parse(der)
		if err != nil {
			return nil, numbered(i, err)
		}
		path[i] = c
	}
	return path, nil
}

// The contents of the OIDs of purposes that let a key sign documents.
const (
	oidDocumentSigning = "\x2b\x06\x01\x05\x05\x07\x03\x24" // 1.3.6.1.5.5.7.3.36, RFC 9336
	oidAnyPurpose      = "\x55\x1d\x25\x00"                 // 2.5.29.37.0
)

// checkProfile is the one rule for what an agency or a notary certificate looks like.
func (c *Certificate) checkProfile(profile Profile) error {
	switch {
	case c.extensions.authority:
		return fmt.Errorf("%w: a certificate authority's key signs certificates only", ErrUsage)
	case profile.keyUsage() == 0 || c.extensions.usage != profile.keyUsage():
		return fmt.Errorf("%w: key usage is not exactly that of the %v profile", ErrUsage, profile)
	case !c.purposeAllowed():
		return fmt.Errorf("%w: extended key usage excludes signing documents", ErrUsage)
	case profile == Agency && c.Code() == "":
		return fmt.Errorf("%w: an agency's certificate must carry its unified social credit code as serialNumber",
			ErrUsage)
	}
	return nil
}

// purposeAllowed: where an extended key usage is given, the key is for those purposes only
// (RFC 5280 section 4.2.1.12). We write none.
func (c *Certificate) purposeAllowed() bool {
	purposes := c.extensions.purposes
	return purposes == nil || slices.Contains(purposes, oidAnyPurpose) || slices.Contains(purposes, oidDocumentSigning)
}

// checkIssuedBy checks one hop of the path. i is the place of c, counted from 0 at the
// signer: as many CA certificates stand below the issuer, not counting the signer.
func (c *Certificate) checkIssuedBy(issuer *Certificate, i int) error {
	switch {
	case c.selfIssued():
		return fmt.Errorf("%w: a self-issued certificate stands below the root", ErrChain)
	case !bytes.Equal(c.rawIssuer, issuer.rawSubject):
		return fmt.Errorf("%w: its issuer is not the subject of the next one", ErrChain)
	case c.extensions.authorityKeyID != nil && issuer.extensions.subjectKeyID != nil &&
		!bytes.Equal(c.extensions.authorityKeyID, issuer.extensions.subjectKeyID):
		return fmt.Errorf("%w: its issuer has another key identifier", ErrChain)
	case !issuer.IsCA():
		return ErrNotCA
	case issuer.extensions.pathLen >= 0 && i > issuer.extensions.pathLen:
		return fmt.Errorf("%w: its issuer allows %d authorities below itself",
			ErrPathTooLong, issuer.extensions.pathLen)
	case !c.signedBy(issuer):
		return ErrSignature
	}
	return nil
}

// signedBy uses the one verification of this program, which fixes the user id and accepts
// minimal DER only, rather than the certificate library's.
func (c *Certificate) signedBy(issuer *Certificate) bool {
	return issuer.key.Verify(c.content, c.signature)
}

// checkTime: both ends are inclusive (RFC 5280 section 4.1.2.5).
func (c *Certificate) checkTime(at time.Time) error {
	switch {
	case at.Before(c.notBefore):
		return fmt.Errorf("%w: valid from %s", ErrNotYetValid, c.NotBefore().Format(time.RFC3339))
	case at.Truncate(time.Second).After(c.notAfter): // the last second is valid to its end
		return fmt.Errorf("%w: valid until %s", ErrExpired, c.NotAfter().Format(time.RFC3339))
	}
	return nil
}

// VerifyRoot checks a certificate before it is pinned: a self-signed authority that may issue
// certificates. It does not look at the clock.
func VerifyRoot(der []byte) (*Certificate, error) {
	c, err := Parse(der)
	if err != nil {
		return nil, err
	}
	switch {
	case !c.selfIssued():
		return nil, fmt.Errorf("%w: not self-issued", ErrChain)
	case !c.IsCA():
		return nil, ErrNotCA
	case !c.signedBy(c):
		return nil, ErrSignature
	}
	return c, nil
}
