package pki

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/emmansun/gmsm/smx509"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// extensions is what a certificate's extensions say, as far as anything here depends on it.
type extensions struct {
	usage          smx509.KeyUsage // 0 where there is none
	constrained    bool            // there are basic constraints
	authority      bool            // and they say cA
	pathLen        int             // -1 where there is no limit
	subjectKeyID   []byte          // nil where there is none
	authorityKeyID []byte
	purposes       []string // the content of OIDs; nil where there is no extended key usage
}

// The contents of the OIDs of extensions, 2.5.29.x.
const (
	oidSubjectKeyID     = "\x55\x1d\x0e"
	oidKeyUsage         = "\x55\x1d\x0f"
	oidBasicConstraints = "\x55\x1d\x13"
	oidNameConstraints  = "\x55\x1d\x1e"
	oidAuthorityKeyID   = "\x55\x1d\x23"
	oidExtKeyUsage      = "\x55\x1d\x25"
)

// readExtensions walks the content of [3]. Extensions that are not known here are skipped
// unless they are critical (RFC 5280 section 4.2); nobody looks into their values, so rubbish
// in one of them makes no program refuse what another accepts.
func readExtensions(explicit cryptobyte.String) (extensions, error) {
	x := extensions{pathLen: -1}
	var list cryptobyte.String
	if !explicit.ReadASN1(&list, cbasn1.SEQUENCE) || !explicit.Empty() || list.Empty() {
		return x, errors.New("the extensions must be one sequence that is not empty")
	}
	seen := map[string]bool{}
	for !list.Empty() {
		var extension, oid, value cryptobyte.String
		critical := false
		// DER leaves out a FALSE that is the default (X.690 section 11.5). Authorities write it all
		// the same, and it can be read in one way only.
		if !list.ReadASN1(&extension, cbasn1.SEQUENCE) || !extension.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) ||
			!validOID(oid) ||
			extension.PeekASN1Tag(cbasn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical) ||
			!extension.ReadASN1(&value, cbasn1.OCTET_STRING) || !extension.Empty() {
			return x, errors.New("an extension must be a type, perhaps a mark that it is critical, and an octet string")
		}
		if seen[string(oid)] {
			return x, errors.New("an extension stands there twice")
		}
		seen[string(oid)] = true
		if critical && string(oid) != oidKeyUsage && string(oid) != oidBasicConstraints {
			return x, errors.New("a critical extension is not supported")
		}
		if err := x.read(string(oid), value); err != nil {
			return x, err
		}
	}
	return x, nil
}

// read takes up one extension. Name constraints are refused even where an authority forgot to
// mark them critical: [VerifyChain] would have to honour them and does not.
func (x *extensions) read(oid string, value cryptobyte.String) error {
	ok, what := true, ""
	switch oid {
	case oidKeyUsage:
		what = "key usage"
		x.usage, ok = readKeyUsage(value)
	case oidBasicConstraints:
		what, x.constrained = "basic constraints", true
		x.authority, x.pathLen, ok = readBasicConstraints(value)
	case oidSubjectKeyID:
		what = "subject key identifier"
		x.subjectKeyID, ok = readKeyID(value)
	case oidAuthorityKeyID:
		what = "authority key identifier"
		x.authorityKeyID, ok = readAuthorityKeyID(value)
	case oidExtKeyUsage:
		what = "extended key usage"
		x.purposes, ok = readPurposes(value)
	case oidNameConstraints:
		return errors.New("name constraints are not supported")
	}
	if !ok {
		return fmt.Errorf("%s: not in the one form that it may have", what)
	}
	return nil
}

// keyUsages is how many usages RFC 5280 section 4.2.1.3 defines: 0, digitalSignature, to 8,
// decipherOnly.
const keyUsages = 9

// readKeyUsage reads a named bit list: no zero bits at its end (X.690 section 11.2.2), at
// least one usage, and none that is not defined, because usages are compared for equality.
func readKeyUsage(value cryptobyte.String) (smx509.KeyUsage, bool) {
	var content cryptobyte.String
	if !value.ReadASN1(&content, cbasn1.BIT_STRING) || !value.Empty() || len(content) < 2 {
		return 0, false
	}
	unused, octets := int(content[0]), content[1:]
	last := octets[len(octets)-1]
	count := 8*len(octets) - unused
	if last == 0 || bits.TrailingZeros8(last) != unused || count > keyUsages {
		return 0, false
	}
	var usage smx509.KeyUsage
	for i := range count {
		if octets[i/8]>>(7-i%8)&1 != 0 {
			usage |= 1 << i
		}
	}
	return usage, true
}

// readBasicConstraints reads RFC 5280 section 4.2.1.9. A cA of FALSE may be written out, as
// many authorities do; a path length without cA may not be.
func readBasicConstraints(value cryptobyte.String) (authority bool, pathLen int, ok bool) {
	var content cryptobyte.String
	if !value.ReadASN1(&content, cbasn1.SEQUENCE) || !value.Empty() ||
		content.PeekASN1Tag(cbasn1.BOOLEAN) && !content.ReadASN1Boolean(&authority) {
		return false, -1, false
	}
	if content.Empty() {
		return authority, -1, true
	}
	var n int64
	if !content.ReadASN1Integer(&n) || !content.Empty() || n < 0 || n > math.MaxInt32 || !authority {
		return false, -1, false
	}
	return true, int(n), true
}

func readKeyID(value cryptobyte.String) ([]byte, bool) {
	var id cryptobyte.String
	ok := value.ReadASN1(&id, cbasn1.OCTET_STRING) && value.Empty() && !id.Empty()
	return id, ok
}

// readAuthorityKeyID reads RFC 5280 section 4.2.1.1: key identifier [0], issuer [1] and serial
// number [2], each at most once and in this order. Only the first is compared with anything, so
// only it is looked into.
func readAuthorityKeyID(value cryptobyte.String) ([]byte, bool) {
	var content, id, skip cryptobyte.String
	if !value.ReadASN1(&content, cbasn1.SEQUENCE) || !value.Empty() {
		return nil, false
	}
	var given, other bool
	ok := content.ReadOptionalASN1(&id, &given, cbasn1.Tag(0).ContextSpecific()) && given == !id.Empty() &&
		content.ReadOptionalASN1(&skip, &other, cbasn1.Tag(1).ContextSpecific().Constructed()) &&
		content.ReadOptionalASN1(&skip, &other, cbasn1.Tag(2).ContextSpecific()) && content.Empty()
	return id, ok
}

// readPurposes reads RFC 5280 section 4.2.1.12: one purpose or more.
func readPurposes(value cryptobyte.String) ([]string, bool) {
	var list cryptobyte.String
	if !value.ReadASN1(&list, cbasn1.SEQUENCE) || !value.Empty() || list.Empty() {
		return nil, false
	}
	var purposes []string
	for !list.Empty() {
		var oid cryptobyte.String
		if !list.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) || !validOID(oid) {
			return nil, false
		}
		purposes = append(purposes, string(oid))
	}
	return purposes, true
}

// validOID reports whether the content of an OBJECT IDENTIFIER has arcs, each complete and in
// the fewest octets (X.690 section 8.19.2). How large they are does not matter: OIDs are only
// compared.
func validOID(content []byte) bool {
	first := true // of an arc's octets
	for _, c := range content {
		if first && c == 0x80 {
			return false
		}
		first = c < 0x80
	}
	return first && len(content) > 0
}
