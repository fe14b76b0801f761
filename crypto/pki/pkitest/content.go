// Package pkitest puts certificates together byte by byte, good and bad ones, and damages
// them at random, for tests of whoever reads certificates. It has no rules and no keys:
// whatever is asked for is written.
package pkitest

import (
	"bytes"
	"encoding/asn1"
	"strconv"
	"strings"
)

// The tags of X.680 section 8.4 that certificates have.
const (
	Boolean         = 0x01
	Integer         = 0x02
	BitString       = 0x03
	OctetString     = 0x04
	Null            = 0x05
	ObjectID        = 0x06
	UTF8String      = 0x0c
	NumericString   = 0x12
	PrintableString = 0x13
	TeletexString   = 0x14
	IA5String       = 0x16
	UTCTime         = 0x17
	GeneralizedTime = 0x18
	VisibleString   = 0x1a
	UniversalString = 0x1c
	BMPString       = 0x1e
	Sequence        = 0x30
	Set             = 0x31
)

// TLV is one element of DER: tag, minimal length, the parts one after the other.
func TLV(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	out := []byte{tag}
	switch n := len(content); {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	case n < 0x10000:
		out = append(out, 0x82, byte(n>>8), byte(n))
	default:
		out = append(out, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(out, content...)
}

// Text is a string of the type with this tag.
func Text(tag byte, s string) []byte { return TLV(tag, []byte(s)) }

// OID is an object identifier from its dotted form.
func OID(dotted string) []byte {
	var id asn1.ObjectIdentifier
	for _, arc := range strings.Split(dotted, ".") {
		n, err := strconv.Atoi(arc)
		must(err)
		id = append(id, n)
	}
	der, err := asn1.Marshal(id)
	must(err)
	return der
}

// Attribute is a relative distinguished name of one attribute.
func Attribute(oid string, value []byte) []byte { return TLV(Set, TLV(Sequence, OID(oid), value)) }

// Extension is an extension, marked critical or not.
func Extension(oid string, critical bool, value ...[]byte) []byte {
	var mark []byte
	if critical {
		mark = TLV(Boolean, []byte{0xff})
	}
	return TLV(Sequence, OID(oid), mark, TLV(OctetString, value...))
}

// Content is a certificate's content, TBSCertificate of RFC 5280 section 4.1, each field as
// an element. Tests change some of them, or put further bytes into After.
type Content struct {
	Version, Serial, Algorithm, Issuer, NotBefore, NotAfter, Subject, Key []byte
	Extensions                                                            [][]byte
	AfterTimes, AfterExtensions,
	After []byte // nothing in a good one
	Outer          []byte                      // the algorithm beside the signature, where it is another
	AfterSignature []byte                      // behind the signature
	Damage         func(content []byte) []byte // before it is signed, where it is given
}

// Set replaces the extension with an identifier, or adds it.
func (c *Content) Set(oid string, extension []byte) {
	id := OID(oid)
	for i, e := range c.Extensions {
		if bytes.Contains(e[:min(len(e), len(id)+8)], id) {
			c.Extensions[i] = extension
			return
		}
	}
	c.Extensions = append(c.Extensions, extension)
}

// DER is the content, what is signed.
func (c *Content) DER() []byte {
	content := TLV(Sequence, c.Version, c.Serial, c.Algorithm, c.Issuer,
		TLV(Sequence, c.NotBefore, c.NotAfter, c.AfterTimes), c.Subject, c.Key,
		TLV(0xa3, TLV(Sequence, c.Extensions...), c.AfterExtensions), c.After)
	if c.Damage != nil {
		content = c.Damage(content)
	}
	return content
}

// Certificate is the content with a signature over it.
func (c *Content) Certificate(sign func(content []byte) []byte) []byte {
	content, outer := c.DER(), c.Outer
	if outer == nil {
		outer = c.Algorithm
	}
	return TLV(Sequence, content, outer, TLV(BitString, []byte{0}, sign(content), c.AfterSignature))
}

func must(err error) {
	if err != nil {
		panic("pkitest: " + err.Error())
	}
}
