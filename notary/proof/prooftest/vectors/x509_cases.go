package vectors

import (
	"bytes"
	"slices"

	"stele/crypto/pki/pkitest"
)

const (
	oidCountry          = "2.5.4.6"
	oidProvince         = "2.5.4.8"
	oidOrganization     = "2.5.4.10"
	oidUnit             = "2.5.4.11"
	oidCommonName       = "2.5.4.3"
	oidSerialNumber     = "2.5.4.5"
	oidEmail            = "1.2.840.113549.1.9.1"
	oidSubjectKeyID     = "2.5.29.14"
	oidKeyUsage         = "2.5.29.15"
	oidAlternativeName  = "2.5.29.17"
	oidBasicConstraints = "2.5.29.19"
	oidNameConstraints  = "2.5.29.30"
	oidPolicies         = "2.5.29.32"
	oidAuthorityKeyID   = "2.5.29.35"
	oidExtKeyUsage      = "2.5.29.37"
	oidAnyPurpose       = "2.5.29.37.0"
	oidDocumentSigning  = "1.3.6.1.5.5.7.3.36"
	oidServerAuth       = "1.3.6.1.5.5.7.3.1"
	oidUnknown          = "1.2.3.4"
)

var (
	isTrue  = pkitest.TLV(pkitest.Boolean, []byte{0xff})
	isFalse = pkitest.TLV(pkitest.Boolean, []byte{0})
	null    = pkitest.TLV(pkitest.Null)
	rubbish = []byte("\x30\x7frubbish")
)

// extension is a case whose certificate has this extension, in place of the one it had.
func extension(name, about, outcome, oid string, critical bool, value ...[]byte) x509Case {
	return whole(name, about, outcome, oid, pkitest.Extension(oid, critical, value...))
}

// whole is a case whose certificate has this element in place of an extension.
func whole(name, about, outcome, oid string, element []byte) x509Case {
	return x509Case{name, about, outcome, func(c *pkitest.Content) { c.Set(oid, element) }}
}

func without(name, about, outcome, oid string) x509Case {
	return x509Case{name, about, outcome, func(c *pkitest.Content) {
		c.Extensions = slices.DeleteFunc(c.Extensions, func(e []byte) bool {
			return bytes.Contains(e[:min(len(e), 12)], pkitest.OID(oid))
		})
	}}
}

func integer(octets ...byte) []byte { return pkitest.TLV(pkitest.Integer, octets) }

func sequenceOf(parts ...[]byte) []byte { return pkitest.TLV(pkitest.Sequence, parts...) }

func agencyCases() []x509Case {
	return slices.Concat([]x509Case{{"good", "as the service issues it, with a province", accepted, nil}},
		nameCases(), fieldCases(), timeCases(), extensionCases(), usageCases(), constraintCases(), purposeCases(),
		keyIDCases())
}

// fieldCases are about the fields before and after the names.
func fieldCases() []x509Case {
	return []x509Case{
		{"version-1", "version 1: the field is left out", malformed, func(c *pkitest.Content) { c.Version = nil }},
		{"version-2", "version 2", malformed, func(c *pkitest.Content) { c.Version = pkitest.TLV(0xa0, integer(1)) }},
		{"version-4", "version 4", malformed, func(c *pkitest.Content) { c.Version = pkitest.TLV(0xa0, integer(3)) }},
		{"version-padded", "the version has a superfluous zero byte", malformed, func(c *pkitest.Content) {
			c.Version = pkitest.TLV(0xa0, integer(0, 2))
		}},
		{"serial-longest", "a serial number of 20 bytes", accepted, func(c *pkitest.Content) {
			c.Serial = integer(append([]byte{0x7f}, make([]byte, 19)...)...)
		}},
		{"serial-long", "a serial number of 21 bytes", malformed, func(c *pkitest.Content) {
			c.Serial = integer(append([]byte{0, 0x80}, make([]byte, 19)...)...)
		}},
		{"serial-zero", "the serial number 0", malformed, func(c *pkitest.Content) { c.Serial = integer(0) }},
		{"serial-negative", "a negative serial number", malformed, func(c *pkitest.Content) {
			c.Serial = integer(0x80)
		}},
		{"serial-padded", "a serial number with a superfluous zero byte", malformed, func(c *pkitest.Content) {
			c.Serial = integer(0, 1)
		}},
		{"serial-empty", "a serial number of no bytes", malformed, func(c *pkitest.Content) { c.Serial = integer() }},
		{"algorithm-null", "the algorithm has NULL for parameters", accepted, func(c *pkitest.Content) {
			c.Algorithm = sequenceOf(pkitest.OID("1.2.156.10197.1.501"), null)
		}},
		{"algorithm-parameters", "the algorithm has other parameters", malformed, func(c *pkitest.Content) {
			c.Algorithm = sequenceOf(pkitest.OID("1.2.156.10197.1.501"), sequenceOf())
		}},
		{"algorithm-other", "the algorithm is ECDSA with SHA-256", malformed, func(c *pkitest.Content) {
			c.Algorithm = sequenceOf(pkitest.OID("1.2.840.10045.4.3.2"))
		}},
		{"algorithm-differs", "NULL stands beside the signature only", malformed, func(c *pkitest.Content) {
			c.Outer = sequenceOf(pkitest.OID("1.2.156.10197.1.501"), null)
		}},
		{"key-curve", "the key names another curve", malformed, func(c *pkitest.Content) {
			c.Key = sequenceOf(sequenceOf(pkitest.OID("1.2.840.10045.2.1"), pkitest.OID("1.2.840.10045.3.1.7")),
				c.Key[len(c.Key)-68:])
		}},
		{"key-off-curve", "the key is no point of the curve", malformed, func(c *pkitest.Content) {
			c.Key[len(c.Key)-1] ^= 1
		}},
		{"key-unused-bits", "the key's BIT STRING has unused bits", malformed, func(c *pkitest.Content) {
			c.Key[len(c.Key)-66] = 1
		}},
		{"key-after", "bytes follow the key's BIT STRING", malformed, func(c *pkitest.Content) {
			c.Key = sequenceOf(c.Key[2:], null)
		}},
		{"unique-id", "a unique identifier of the subject stands before the extensions", malformed,
			func(c *pkitest.Content) {
				c.Key = append(bytes.Clone(c.Key), pkitest.TLV(0x82, []byte{0, 1})...)
			}},
		{"after", "an element follows the extensions", malformed, func(c *pkitest.Content) { c.After = null }},
		{"after-signature", "a byte follows the signature in its BIT STRING", malformed, func(c *pkitest.Content) {
			c.AfterSignature = []byte{0}
		}},
		{"length-long", "the subject's length is written with a superfluous byte", malformed,
			func(c *pkitest.Content) { c.Subject = longLength(c.Subject) }},
		{"length-indefinite", "the subject's length is indefinite", malformed, func(c *pkitest.Content) {
			_, content := cut(c.Subject)
			c.Subject = slices.Concat([]byte{0x30, 0x80}, content, []byte{0, 0})
		}},
		{"size-largest", "a certificate of 8 KiB", accepted, func(c *pkitest.Content) { fill(c, 8<<10) }},
		{"size", "a certificate of 8 KiB and a byte", malformed, func(c *pkitest.Content) { fill(c, 8<<10+1) }},
	}
}

// cut splits an element after its header.
func cut(element []byte) (header, content []byte) {
	n := 2
	if element[1] >= 0x80 {
		n += int(element[1] & 0x7f)
	}
	return element[:n], element[n:]
}

func longLength(element []byte) []byte {
	header, content := cut(element)
	if len(header) == 2 {
		return slices.Concat([]byte{header[0], 0x81, header[1]}, content)
	}
	return slices.Concat([]byte{header[0], header[1] + 1, 0}, header[2:], content)
}

// fill makes the certificate this long by an extension that nobody looks into. Signatures have
// 70 to 72 bytes, so it takes some attempts.
func fill(c *pkitest.Content, size int) {
	key := solo().Root.Key
	set := func(n int) int {
		c.Set(oidUnknown, pkitest.Extension(oidUnknown, false, make([]byte, n)))
		return len(c.Certificate(key.Sign))
	}
	for n := size - set(size/2) + size/2 - 8; ; n++ {
		if set(n) == size {
			return
		}
	}
}
