package vectors

import (
	"slices"
	"time"

	"stele/crypto/pki/pkitest"
)

// subject appends relative distinguished names to those that the subject has.
func subject(name, about, outcome string, rdns ...[]byte) x509Case {
	return x509Case{name, about, outcome, func(c *pkitest.Content) {
		_, content := cut(c.Subject)
		c.Subject = sequenceOf(append([][]byte{content}, rdns...)...)
	}}
}

// unit gives the subject an organizational unit of this type of string.
func unit(name, about, outcome string, tag byte, text string) x509Case {
	return subject("name-"+name, about, outcome, pkitest.Attribute(oidUnit, pkitest.Text(tag, text)))
}

// edited replaces one of the subject's names.
func edited(name, about, outcome, old, new string) x509Case {
	return x509Case{name, about, outcome, func(c *pkitest.Content) {
		_, content := cut(c.Subject)
		c.Subject = sequenceOf(replaceIn(content, old, new))
	}}
}

// nameCases are about names: which strings, which characters, which form.
func nameCases() []x509Case {
	pair := func(parts ...[]byte) []byte { return pkitest.TLV(pkitest.Set, pkitest.TLV(pkitest.Sequence, parts...)) }
	one := pkitest.TLV(pkitest.Sequence, pkitest.OID(oidUnit), pkitest.Text(pkitest.UTF8String, "甲"))
	two := pkitest.TLV(pkitest.Sequence, pkitest.OID(oidUnit), pkitest.Text(pkitest.UTF8String, "甲乙"))
	return []x509Case{
		unit("printable", "a PrintableString with every kind of character that it may have", accepted,
			pkitest.PrintableString, "Az09 '()+,-./:=?"),
		unit("printable-control", "a control character in a PrintableString", malformed, pkitest.PrintableString,
			"a\x07b"),
		unit("printable-ampersand", "an ampersand in a PrintableString", malformed, pkitest.PrintableString, "R&D"),
		unit("printable-asterisk", "an asterisk in a PrintableString", malformed, pkitest.PrintableString, "*"),
		unit("printable-at", "an at sign in a PrintableString", malformed, pkitest.PrintableString, "a@b"),
		unit("printable-utf-8", "UTF-8 in a PrintableString", malformed, pkitest.PrintableString, "机关"),
		unit("utf-8", "characters of the supplementary planes, spaces at the ends", accepted, pkitest.UTF8String,
			" \U00020000\uffff "),
		unit("utf-8-invalid", "bytes that are no UTF-8", malformed, pkitest.UTF8String, "\xff"),
		unit("utf-8-overlong", "UTF-8 that is longer than need be", malformed, pkitest.UTF8String, "\xc1\x81"),
		unit("utf-8-surrogate", "half a surrogate pair in UTF-8", malformed, pkitest.UTF8String, "\xed\xa0\x80"),
		unit("utf-8-control", "U+0085 in a UTF8String", malformed, pkitest.UTF8String, "a\u0085b"),
		unit("utf-8-nul", "U+0000 in a UTF8String", malformed, pkitest.UTF8String, "a\x00b"),
		unit("utf-8-bidirectional", "a character that reorders text", malformed, pkitest.UTF8String, "机\u202e关"),
		unit("utf-8-isolate", "another character that reorders text", malformed, pkitest.UTF8String, "机\u2066关"),
		unit("utf-8-separator", "a paragraph separator", malformed, pkitest.UTF8String, "机\u2029关"),
		unit("utf-8-mark", "a byte order mark", malformed, pkitest.UTF8String, "\ufeff机关"),
		unit("utf-8-neighbours", "the characters beside those that may not be there", accepted, pkitest.UTF8String,
			" ~\u00a0\u2027\u202f\u2065\u206a\ufefe\uff00"),
		unit("utf-8-line", "a line separator", malformed, pkitest.UTF8String, "机\u2028关"),
		unit("utf-8-1f", "the last control character below U+0020", malformed, pkitest.UTF8String, "机\u001f关"),
		unit("utf-8-7f", "U+007F", malformed, pkitest.UTF8String, "机\u007f关"),
		unit("utf-8-9f", "the last control character, U+009F", malformed, pkitest.UTF8String, "机\u009f关"),
		unit("utf-8-202a", "the first character that reorders text", malformed, pkitest.UTF8String, "机\u202a关"),
		unit("utf-8-2069", "the last character that reorders text", malformed, pkitest.UTF8String, "机\u2069关"),
		subject("name-ia5", "an address in an IA5String", accepted,
			pkitest.Attribute(oidEmail, pkitest.Text(pkitest.IA5String, "office@example.cn"))),
		unit("ia5-high", "a byte above 7f in an IA5String", malformed, pkitest.IA5String, "caf\xe9"),
		unit("ia5-control", "a control character in an IA5String", malformed, pkitest.IA5String, "a\x7f"),
		unit("numeric", "digits and a space in a NumericString", accepted, pkitest.NumericString, "0123 45"),
		unit("numeric-letter", "a letter in a NumericString", malformed, pkitest.NumericString, "12a"),
		edited("name-bmp", "the organization in a BMPString", accepted,
			string(pkitest.Attribute(oidOrganization, pkitest.Text(pkitest.UTF8String, agencyName))),
			string(pkitest.Attribute(oidOrganization, pkitest.Text(pkitest.BMPString, utf16BE(agencyName))))),
		unit("bmp-odd", "an odd number of bytes in a BMPString", malformed, pkitest.BMPString, "\x67\x3a\x51"),
		unit("bmp-surrogates", "a surrogate pair in a BMPString", malformed, pkitest.BMPString, "\xd8\x40\xdc\x00"),
		unit("bmp-terminator", "a BMPString with a zero at its end", malformed, pkitest.BMPString, "\x67\x3a\x00\x00"),
		unit("teletex", "a TeletexString", malformed, pkitest.TeletexString, "unit"),
		unit("universal", "a UniversalString", malformed, pkitest.UniversalString, "\x00\x00\x67\x3a"),
		unit("visible", "a VisibleString", malformed, pkitest.VisibleString, "unit"),
		unit("empty-string", "a string of no characters in an attribute that is not read", malformed,
			pkitest.UTF8String, ""),
		subject("name-no-string", "an attribute's value is a BIT STRING", malformed,
			pair(pkitest.OID("2.5.4.45"), pkitest.TLV(pkitest.BitString, []byte{0, 1}))),
		subject("name-unknown", "an attribute that nobody knows", accepted,
			pkitest.Attribute(oidUnknown, pkitest.Text(pkitest.UTF8String, "x"))),
		subject("name-two-units", "two organizational units", accepted,
			pair(pkitest.OID(oidUnit), pkitest.Text(pkitest.UTF8String, "甲")),
			pair(pkitest.OID(oidUnit), pkitest.Text(pkitest.UTF8String, "乙"))),
		subject("name-two-codes", "two serialNumbers, both the agency's code", malformed,
			pkitest.Attribute(oidSerialNumber, pkitest.Text(pkitest.UTF8String, agencyCode))),
		subject("name-two-organizations", "two organizations", malformed,
			pkitest.Attribute(oidOrganization, pkitest.Text(pkitest.UTF8String, "江城市规划局"))),
		subject("name-set", "two attributes in one set, ascending", accepted, pkitest.TLV(pkitest.Set, one, two)),
		subject("name-set-order", "two attributes in one set, descending", malformed,
			pkitest.TLV(pkitest.Set, two, one)),
		subject("name-set-twice", "the same attribute twice in one set", malformed, pkitest.TLV(pkitest.Set, one, one)),
		subject("name-set-empty", "a set of no attributes", malformed, pkitest.TLV(pkitest.Set)),
		subject("name-sequence", "a sequence in place of a set", malformed, pkitest.TLV(pkitest.Sequence, one)),
		subject("name-no-value", "an attribute without value", malformed, pair(pkitest.OID(oidUnit))),
		subject("name-two-values", "an attribute with two values", malformed,
			pair(pkitest.OID(oidUnit), pkitest.Text(pkitest.UTF8String, "甲"), pkitest.Text(pkitest.UTF8String, "乙"))),
		subject("name-oid-padded", "an attribute's OID has a superfluous byte", malformed,
			pair(pkitest.TLV(pkitest.ObjectID, []byte{0x55, 0x04, 0x80, 0x0b}), pkitest.Text(pkitest.UTF8String, "甲"))),
		subject("name-oid-cut", "an attribute's OID breaks off", malformed,
			pair(pkitest.TLV(pkitest.ObjectID, []byte{0x55, 0x04, 0x8b}), pkitest.Text(pkitest.UTF8String, "甲"))),
		subject("name-oid-empty", "an attribute's OID is empty", malformed,
			pair(pkitest.TLV(pkitest.ObjectID), pkitest.Text(pkitest.UTF8String, "甲"))),
		subject("name-oid-large", "an arc of an attribute's OID has 35 bits", accepted,
			pair(pkitest.TLV(pkitest.ObjectID, []byte{0x2a, 0xff, 0xff, 0xff, 0xff, 0x7f}),
				pkitest.Text(pkitest.UTF8String, "甲"))),
		{"name-empty", "the subject has no attributes", malformed, func(c *pkitest.Content) {
			c.Subject = sequenceOf()
		}},
		{"name-issuer", "a control character in the issuer's name", malformed, func(c *pkitest.Content) {
			_, content := cut(c.Issuer)
			c.Issuer = sequenceOf(content, pkitest.Attribute(oidUnit, pkitest.Text(pkitest.PrintableString, "\x07")))
		}},
	}
}

const (
	agencyCode = "91350100M000100Y43"
	agencyName = "江城市政务服务局"
)

func utf16BE(s string) string {
	var out []byte
	for _, r := range s {
		out = append(out, byte(r>>8), byte(r))
	}
	return string(out)
}

// timeCases are about the validity: how its times are written, and what they say.
func timeCases() []x509Case {
	until := func(name, about, outcome string, tag byte, text string) x509Case {
		return x509Case{"time-" + name, about, outcome, func(c *pkitest.Content) {
			c.NotAfter = pkitest.Text(tag, text)
		}}
	}
	from := func(name, about, outcome string, tag byte, text string) x509Case {
		return x509Case{"time-" + name, about, outcome, func(c *pkitest.Content) {
			c.NotBefore = pkitest.Text(tag, text)
		}}
	}
	return slices.Concat([]x509Case{
		until("utc-2049", "until 2049 as UTCTime", accepted, pkitest.UTCTime, "491231235959Z"),
		from("utc-1950", "from 1950 as UTCTime", accepted, pkitest.UTCTime, "500101000000Z"),
		until("utc-1950-end", "until 1950 as UTCTime, which ends before it begins", malformed, pkitest.UTCTime,
			"500101000000Z"),
		until("generalized-2050", "until 2050 as GeneralizedTime", accepted, pkitest.GeneralizedTime,
			"20500101000000Z"),
		until("generalized-2029", "until 2029 as GeneralizedTime", accepted, pkitest.GeneralizedTime,
			"20290101000000Z"),
		until("generalized-9999", "until the end of 9999", accepted, pkitest.GeneralizedTime, "99991231235959Z"),
		from("generalized-1950", "from 1950 as GeneralizedTime", accepted, pkitest.GeneralizedTime, "19500101000000Z"),
		from("generalized-1949", "from 1949", malformed, pkitest.GeneralizedTime, "19491231235959Z"),
		from("generalized-0000", "from the year 0", malformed, pkitest.GeneralizedTime, "00000101000000Z"),
		until("leap-second", "a leap second", malformed, pkitest.UTCTime, "281231235960Z"),
		until("no-seconds", "no seconds", malformed, pkitest.UTCTime, "2901010000Z"),
		until("offset", "an offset in place of Z", malformed, pkitest.UTCTime, "290101000000+0800"),
		until("local", "no Z", malformed, pkitest.GeneralizedTime, "20290101000000"),
		until("fraction", "a fraction of a second", malformed, pkitest.GeneralizedTime, "20290101000000.5Z"),
		until("fraction-zero", "an empty fraction", malformed, pkitest.GeneralizedTime, "20290101000000.Z"),
		until("february", "the 30th of February", malformed, pkitest.UTCTime, "280230000000Z"),
		until("sign", "a sign among the digits", malformed, pkitest.UTCTime, "29010100000+Z"),
		until("string", "a time that is a string", malformed, pkitest.PrintableString, "290101000000Z"),
		{"time-third", "a third time", malformed, func(c *pkitest.Content) {
			c.AfterTimes = utcTime(time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC))
		}},
		until("expired", "it has expired", refused, pkitest.UTCTime, "260601000000Z"),
		from("not-yet", "it is not valid yet", refused, pkitest.UTCTime, "280601000000Z"),
	})
}
