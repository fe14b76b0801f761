package pki

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The string types of names (X.680 section 8.4) that cryptobyte does not name.
const (
	tagNumericString = cbasn1.Tag(18)
	tagBMPString     = cbasn1.Tag(30)
)

// readName takes the attributes that [Name] has out of the content of a Name (RFC 5280
// section 4.1.2.4). All other attributes have to be in form too, so that no program stumbles
// over what another one skips.
func readName(rdns cryptobyte.String) (Name, error) {
	var n Name
	fields := map[string]*string{ // by the content of the OID, 2.5.4.x
		"\x55\x04\x06": &n.Country, "\x55\x04\x08": &n.Province, "\x55\x04\x07": &n.Locality,
		"\x55\x04\x0a": &n.Organization, "\x55\x04\x03": &n.CommonName, "\x55\x04\x05": &n.Code,
	}
	if rdns.Empty() {
		return Name{}, errors.New("the name is empty")
	}
	for !rdns.Empty() {
		var set cryptobyte.String
		if !rdns.ReadASN1(&set, cbasn1.SET) || set.Empty() {
			return Name{}, errors.New("a name must be a sequence of sets that are not empty")
		}
		if err := readRDN(set, fields); err != nil {
			return Name{}, err
		}
	}
	return n, nil
}

// readRDN reads one relative distinguished name. Its attributes ascend by their bytes, as
// X.690 section 11.6 orders a SET OF. What is found moves from fields to where it points: a
// second value for the same attribute is refused, two readers could disagree about whose
// certificate it is.
func readRDN(set cryptobyte.String, fields map[string]*string) error {
	var last []byte
	for !set.Empty() {
		var element, pair, oid, value cryptobyte.String
		var tag cbasn1.Tag
		if !set.ReadASN1Element(&element, cbasn1.SEQUENCE) || bytes.Compare(last, element) >= 0 {
			return errors.New("the attributes of a set must be sequences in ascending order")
		}
		last = element
		if !element.ReadASN1(&pair, cbasn1.SEQUENCE) || !pair.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) ||
			!validOID(oid) ||
			!pair.ReadAnyASN1(&value, &tag) || !pair.Empty() {
			return errors.New("an attribute must be a type and one value")
		}
		text, ok := readString(tag, value)
		if !ok {
			return errors.New("an attribute's value must be a string of an allowed type with allowed characters")
		}
		field, known := fields[string(oid)]
		if !known {
			continue
		}
		if *field != "" {
			return errors.New("an attribute of the holder stands there twice")
		}
		*field = text
	}
	return nil
}

// readString reads the types of string that names may have. TeletexString is not among them:
// what its bytes above 7f say depends on the program that reads them; UniversalString is not
// because nobody writes it (RFC 5280 section 4.1.2.4 wants neither in new names).
func readString(tag cbasn1.Tag, value []byte) (string, bool) {
	if len(value) == 0 {
		return "", false
	}
	switch tag {
	case cbasn1.UTF8String:
		return string(value), utf8.Valid(value) && !strings.ContainsFunc(string(value), unprintable)
	case cbasn1.PrintableString:
		return string(value), only(value, isPrintable)
	case cbasn1.IA5String:
		return string(value), only(value, func(c byte) bool { return ' ' <= c && c <= '~' })
	case tagNumericString:
		return string(value), only(value, func(c byte) bool { return c == ' ' || isDigit(c) })
	case tagBMPString:
		return readBMP(value)
	}
	return "", false
}

// readBMP reads two bytes a character: surrogates are none (X.680 section 41.16).
func readBMP(value []byte) (string, bool) {
	if len(value)%2 != 0 {
		return "", false
	}
	text := make([]rune, 0, len(value)/2)
	for i := 0; i < len(value); i += 2 {
		r := rune(value[i])<<8 | rune(value[i+1])
		if utf16.IsSurrogate(r) || unprintable(r) {
			return "", false
		}
		text = append(text, r)
	}
	return string(text), true
}

func only(value []byte, allowed func(byte) bool) bool {
	for _, c := range value {
		if !allowed(c) {
			return false
		}
	}
	return true
}

// isPrintable is the alphabet of PrintableString: X.680 section 41.4, table 10.
func isPrintable(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || isDigit(c) || strings.IndexByte(" '()+,-./:=?", c) >= 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// unprintable are the characters that a statement's texts may not hold either: controls, line
// and paragraph separators, what reorders text, and the byte order mark.
func unprintable(r rune) bool {
	return r < 0x20 || 0x7f <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || 0x202a <= r &&
		r <= 0x202e || 0x2066 <= r && r <= 0x2069
}
