package vectors

import (
	"bytes"
	"math/big"
	"slices"

	"stele/crypto/pki"
	"stele/crypto/pki/pkitest"
)

// extensionCases are about extensions as such, and those that nobody looks into.
func extensionCases() []x509Case {
	value := pkitest.TLV(pkitest.OctetString, null)
	return []x509Case{
		{"extensions-none", "the list of extensions is empty", malformed, func(c *pkitest.Content) {
			c.Extensions = nil
		}},
		{"extensions-after", "an element follows the list of extensions", malformed, func(c *pkitest.Content) {
			c.AfterExtensions = null
		}},
		extension("extension-unknown", "an unknown extension", accepted, oidUnknown, false, null),
		extension("extension-empty", "an unknown extension of no bytes", accepted, oidUnknown, false),
		extension("extension-critical", "an unknown extension that is critical", malformed, oidUnknown, true, null),
		extension("alternative-name", "a subject alternative name", accepted, oidAlternativeName, false,
			sequenceOf(pkitest.Text(0x81, "office@example.cn"))),
		extension("alternative-name-rubbish", "a subject alternative name that is rubbish", accepted,
			oidAlternativeName, false, rubbish),
		extension("alternative-name-critical", "a critical subject alternative name", malformed, oidAlternativeName,
			true, sequenceOf(pkitest.Text(0x81, "office@example.cn"))),
		extension("distribution-points-rubbish", "CRL distribution points that are rubbish", accepted, "2.5.29.31",
			false, rubbish),
		extension("access-rubbish", "authority information access that is rubbish", accepted, "1.3.6.1.5.5.7.1.1",
			false, rubbish),
		extension("policies-rubbish", "certificate policies that are rubbish", accepted, oidPolicies, false, rubbish),
		extension("policies-critical", "critical certificate policies", malformed, oidPolicies, true,
			sequenceOf(sequenceOf(pkitest.OID(oidUnknown)))),
		extension("name-constraints", "name constraints that are not marked critical", malformed, oidNameConstraints,
			false, sequenceOf(pkitest.TLV(0xa0, sequenceOf(pkitest.Text(0x82, "cn"))))),
		{"extension-twice", "an unknown extension twice", malformed, func(c *pkitest.Content) {
			c.Extensions = append(c.Extensions, pkitest.Extension(oidUnknown, false, null),
				pkitest.Extension(oidUnknown, false, null))
		}},
		{"key-usage-twice", "the same key usage twice", malformed, func(c *pkitest.Content) {
			c.Extensions = append(c.Extensions, pkitest.Extension(oidKeyUsage, true, usage(6, 0xc0)))
		}},
		whole("extension-critical-false", "an unknown extension, not critical in so many bytes", accepted, oidUnknown,
			sequenceOf(pkitest.OID(oidUnknown), isFalse, value)),
		whole("extension-critical-one", "critical is the BOOLEAN 01", malformed, oidKeyUsage,
			sequenceOf(pkitest.OID(oidKeyUsage), pkitest.TLV(pkitest.Boolean, []byte{1}),
				pkitest.TLV(pkitest.OctetString, usage(6, 0xc0)))),
		whole("extension-critical-long", "critical is a BOOLEAN of two bytes", malformed, oidUnknown,
			sequenceOf(pkitest.OID(oidUnknown), pkitest.TLV(pkitest.Boolean, []byte{0, 0}), value)),
		whole("extension-critical-twice", "critical stands there twice", malformed, oidUnknown,
			sequenceOf(pkitest.OID(oidUnknown), isFalse, isFalse, value)),
		whole("extension-bit-string", "a BIT STRING in place of the octet string", malformed, oidUnknown,
			sequenceOf(pkitest.OID(oidUnknown), pkitest.TLV(pkitest.BitString, []byte{0}))),
		whole("extension-fourth", "an element follows the octet string", malformed, oidUnknown,
			sequenceOf(pkitest.OID(oidUnknown), value, null)),
		whole("extension-no-value", "an extension without value", malformed, oidUnknown,
			sequenceOf(pkitest.OID(oidUnknown))),
		whole("extension-set", "an extension that is a set", malformed, oidUnknown,
			pkitest.TLV(pkitest.Set, pkitest.OID(oidUnknown), value)),
		whole("extension-oid-padded", "an extension's OID has a superfluous byte", malformed, oidUnknown,
			sequenceOf(pkitest.TLV(pkitest.ObjectID, []byte{0x55, 0x80, 0x1d, 0x11}), value)),
	}
}

// usageCases are about key usage.
func usageCases() []x509Case {
	of := func(name, about, outcome string, value ...[]byte) x509Case {
		return extension("key-usage-"+name, about, outcome, oidKeyUsage, true, value...)
	}
	return []x509Case{
		without("key-usage-none", "no key usage", refused, oidKeyUsage),
		extension("key-usage-not-critical", "the key usage is not critical", accepted, oidKeyUsage, false,
			usage(6, 0xc0)),
		of("one", "digitalSignature alone", refused, usage(7, 0x80)),
		of("encrypts", "keyEncipherment too", refused, usage(5, 0xe0)),
		of("ninth", "decipherOnly, the ninth, too", refused, usage(7, 0xc0, 0x80)),
		of("tenth", "a tenth usage, which there is not", malformed, usage(6, 0xc0, 0x40)),
		of("third-byte", "a seventeenth usage", malformed, usage(7, 0xc0, 0, 0x80)),
		of("zero-bits", "zero bits at the end are not unused", malformed, usage(5, 0xc0)),
		of("zero-bits-all", "none of the zero bits at the end is unused", malformed, usage(0, 0xc0)),
		of("zero-byte", "a zero byte at the end", malformed, usage(6, 0xc0, 0)),
		of("unused-bits", "an unused bit that is not zero", malformed, usage(6, 0xc1)),
		of("unused-used", "a bit that is set counts as unused", malformed, usage(7, 0xc0)),
		of("unused-eight", "eight unused bits", malformed, usage(8, 0xc0, 0)),
		of("nothing", "a key usage without bits", malformed, usage(0)),
		of("empty", "a BIT STRING of no bytes", malformed, pkitest.TLV(pkitest.BitString)),
		of("no-bit", "no bit is set", malformed, usage(7, 0)),
		of("after", "bytes follow the value", malformed, usage(6, 0xc0), null),
		of("octets", "an octet string in place of the BIT STRING", malformed,
			pkitest.TLV(pkitest.OctetString, []byte{6, 0xc0})),
		of("constructed", "a constructed BIT STRING", malformed, pkitest.TLV(0x23, usage(6, 0xc0))),
		of("length", "the length of the BIT STRING is not minimal", malformed, longLength(usage(6, 0xc0))),
	}
}

// constraintCases are about the basic constraints of one that is no authority.
func constraintCases() []x509Case {
	of := func(name, about, outcome string, value ...[]byte) x509Case {
		return extension("constraints-"+name, about, outcome, oidBasicConstraints, true, value...)
	}
	return []x509Case{
		of("empty", "basic constraints that say nothing", accepted, sequenceOf()),
		of("false", "cA FALSE in so many bytes", accepted, sequenceOf(isFalse)),
		extension("constraints-not-critical", "cA FALSE, not critical", accepted, oidBasicConstraints, false,
			sequenceOf(isFalse)),
		of("true", "cA TRUE: an authority", refused, sequenceOf(isTrue)),
		of("one", "cA is the BOOLEAN 01", malformed, sequenceOf(pkitest.TLV(pkitest.Boolean, []byte{1}))),
		of("path-length-alone", "a path length without cA", malformed, sequenceOf(integer(0))),
		of("path-length-false", "a path length with cA FALSE", malformed, sequenceOf(isFalse, integer(0))),
		of("after", "bytes follow the value", malformed, sequenceOf(), null),
		of("further", "a further element in the value", malformed, sequenceOf(isFalse, null)),
		of("twice", "cA twice", malformed, sequenceOf(isFalse, isFalse)),
		of("nothing", "basic constraints of no bytes", malformed),
	}
}

// purposeCases are about extended key usage.
func purposeCases() []x509Case {
	of := func(name, about, outcome string, value ...[]byte) x509Case {
		return extension("purpose-"+name, about, outcome, oidExtKeyUsage, false, value...)
	}
	return []x509Case{
		of("documents", "the extended key usage for documents", accepted, sequenceOf(pkitest.OID(oidDocumentSigning))),
		of("any", "any extended key usage", accepted, sequenceOf(pkitest.OID(oidAnyPurpose))),
		of("two", "servers and documents", accepted,
			sequenceOf(pkitest.OID(oidServerAuth), pkitest.OID(oidDocumentSigning))),
		of("server", "servers only", refused, sequenceOf(pkitest.OID(oidServerAuth))),
		of("empty", "an empty extended key usage", malformed, sequenceOf()),
		of("nothing", "an extended key usage of no bytes", malformed),
		of("string", "a purpose that is no OID", malformed,
			sequenceOf(pkitest.OID(oidDocumentSigning), pkitest.Text(pkitest.UTF8String, "x"))),
		of("oid-padded", "a purpose whose OID has a superfluous byte", malformed,
			sequenceOf(pkitest.OID(oidDocumentSigning), pkitest.TLV(pkitest.ObjectID, []byte{0x2a, 0x80, 0x03}))),
		of("after", "bytes follow the value", malformed, sequenceOf(pkitest.OID(oidDocumentSigning)), null),
		extension("purpose-critical", "an extended key usage that is critical", malformed, oidExtKeyUsage, true,
			sequenceOf(pkitest.OID(oidDocumentSigning))),
	}
}

// keyIDCases are about key identifiers.
func keyIDCases() []x509Case {
	subject := func(name, about, outcome string, value ...[]byte) x509Case {
		return extension("subject-key-"+name, about, outcome, oidSubjectKeyID, false, value...)
	}
	// authority changes the parts of the authority key identifier: id is the right one.
	authority := func(name, about, outcome string, value func(id []byte) []byte) x509Case {
		return x509Case{"authority-key-" + name, about, outcome, func(c *pkitest.Content) {
			i := slices.IndexFunc(c.Extensions, func(e []byte) bool {
				return bytes.Contains(e, pkitest.OID(oidAuthorityKeyID))
			})
			id := c.Extensions[i][len(c.Extensions[i])-22:]
			c.Set(oidAuthorityKeyID, pkitest.Extension(oidAuthorityKeyID, false, value(id)))
		}}
	}
	of := func(name []byte, serial ...byte) [][]byte {
		return [][]byte{pkitest.TLV(0xa1, pkitest.TLV(0xa4, name)), pkitest.TLV(0x82, serial)}
	}
	root, err := pki.Parse(solo().Root.DER)
	if err != nil {
		panic("vectors: " + err.Error())
	}
	serial, _ := new(big.Int).SetString(root.SerialNumber(), 16)
	octets := serial.Bytes()
	if octets[0] >= 0x80 { // or it would be negative
		octets = slices.Concat([]byte{0}, octets)
	}
	issuer := of(rootName("江城市数据局"), octets...)
	wrong := of(rootName("another authority"), 7)
	return []x509Case{
		without("subject-key-none", "no subject key identifier", accepted, oidSubjectKeyID),
		subject("empty", "a subject key identifier of no bytes", malformed, pkitest.TLV(pkitest.OctetString)),
		subject("after", "bytes follow the subject key identifier", malformed,
			pkitest.TLV(pkitest.OctetString, []byte{1}), null),
		subject("bits", "a subject key identifier that is a BIT STRING", malformed,
			pkitest.TLV(pkitest.BitString, []byte{0, 1})),
		extension("subject-key-critical", "a critical subject key identifier", malformed, oidSubjectKeyID, true,
			pkitest.TLV(pkitest.OctetString, []byte{1})),
		without("authority-key-none", "no authority key identifier", accepted, oidAuthorityKeyID),
		authority("nothing", "an authority key identifier that says nothing", accepted, func([]byte) []byte {
			return sequenceOf()
		}),
		authority("all", "issuer and serial number of the authority's certificate too", accepted,
			func(id []byte) []byte { return sequenceOf(id, issuer[0], issuer[1]) }),
		authority("no-id", "issuer and serial number alone", accepted,
			func([]byte) []byte { return sequenceOf(issuer[0], issuer[1]) }),
		authority("wrong", "issuer and serial number of another certificate, which are not compared", accepted,
			func(id []byte) []byte { return sequenceOf(id, wrong[0], wrong[1]) }),
		authority("rubbish", "an issuer that is rubbish", accepted, func(id []byte) []byte {
			return sequenceOf(id, pkitest.TLV(0xa1, rubbish), pkitest.TLV(0x82))
		}),
		authority("other", "the identifier of another key", refused, func(id []byte) []byte {
			return sequenceOf(flip(id, 5))
		}),
		authority("order", "the serial number stands before the issuer", malformed, func(id []byte) []byte {
			return sequenceOf(id, wrong[1], wrong[0])
		}),
		authority("twice", "the identifier twice", malformed, func(id []byte) []byte { return sequenceOf(id, id) }),
		authority("empty", "an identifier of no bytes", malformed, func([]byte) []byte {
			return sequenceOf(pkitest.TLV(0x80))
		}),
		authority("fourth", "a fourth part", malformed, func(id []byte) []byte {
			return sequenceOf(id, pkitest.TLV(0x83, []byte{1}))
		}),
		authority("constructed", "the identifier is constructed", malformed, func(id []byte) []byte {
			return sequenceOf(pkitest.TLV(0xa0, id))
		}),
		authority("after", "bytes follow the value", malformed, func(id []byte) []byte {
			return slices.Concat(sequenceOf(id), null)
		}),
	}
}

// authorityCases are about an authority between the agency and the root.
func authorityCases() []x509Case {
	constraints := func(name, about, outcome string, parts ...[]byte) x509Case {
		return extension(name, about, outcome, oidBasicConstraints, true, sequenceOf(parts...))
	}
	return []x509Case{
		{"good", "one that may have no authority below it", accepted, nil},
		constraints("no-path-length", "no path length", accepted, isTrue),
		constraints("path-length-largest", "a path length of 2^31 - 1", accepted, isTrue,
			integer(0x7f, 0xff, 0xff, 0xff)),
		constraints("path-length", "a path length of 2^31", malformed, isTrue, integer(0, 0x80, 0, 0, 0)),
		constraints("path-length-negative", "a negative path length", malformed, isTrue, integer(0xff)),
		constraints("path-length-padded", "a path length with a superfluous zero byte", malformed, isTrue,
			integer(0, 0)),
		constraints("path-length-empty", "a path length of no bytes", malformed, isTrue, integer()),
		constraints("path-length-twice", "two path lengths", malformed, isTrue, integer(0), integer(0)),
		constraints("order", "the path length stands before cA", malformed, integer(0), isTrue),
		constraints("false", "cA FALSE", refused, isFalse),
		constraints("empty", "basic constraints that say nothing", refused),
		without("no-constraints", "no basic constraints", refused, oidBasicConstraints),
		without("no-key-usage", "no key usage", refused, oidKeyUsage),
		extension("signs-too", "it may sign documents too", accepted, oidKeyUsage, true, usage(1, 0x86)),
		extension("no-cert-sign", "a path length, and no keyCertSign", refused, oidKeyUsage, true, usage(1, 0x02)),
		extension("key-usage-tenth", "a tenth usage", malformed, oidKeyUsage, true, usage(6, 0x06, 0x40)),
		extension("constraints-not-critical", "basic constraints that are not critical", accepted,
			oidBasicConstraints, false, sequenceOf(isTrue)),
		extension("purpose", "an extended key usage, which is not asked of authorities", accepted, oidExtKeyUsage,
			false, sequenceOf(pkitest.OID(oidServerAuth))),
		extension("purpose-empty", "an empty extended key usage", malformed, oidExtKeyUsage, false, sequenceOf()),
		extension("alternative-name-rubbish", "a subject alternative name that is rubbish", accepted,
			oidAlternativeName, false, rubbish),
		extension("name-constraints", "name constraints", malformed, oidNameConstraints, true,
			sequenceOf(pkitest.TLV(0xa0, sequenceOf(pkitest.Text(0x82, "cn"))))),
	}
}

// rootCases are about the last certificate of a chain.
func rootCases() []x509Case {
	return []x509Case{
		{"good", "a root that is not pinned in the vectors", accepted, nil},
		without("no-authority-key", "no authority key identifier", accepted, oidAuthorityKeyID),
		extension("alternative-name-rubbish", "a subject alternative name that is rubbish", accepted,
			oidAlternativeName, false, rubbish),
		extension("key-usage-tenth", "a tenth usage", malformed, oidKeyUsage, true, usage(6, 0x06, 0x40)),
		extension("key-usage-zero-bits", "zero bits at the end of the key usage are not unused", malformed,
			oidKeyUsage, true, usage(0, 0x06)),
		extension("signs-documents", "a key that signs documents only", refused, oidKeyUsage, true, usage(6, 0xc0)),
		{"other-issuer", "it names another issuer", refused, func(c *pkitest.Content) {
			c.Issuer = rootName("江城市数据局")
		}},
	}
}
