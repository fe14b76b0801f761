// Package statement is the exact bytes that an agency signs and that the log holds:
// statements, the commitments to a record's attributes, and entries.
//
// The encoding is canonical (see package canonical): parsing and formatting again gives
// the same bytes, so a statement has one hash.
package statement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/canonical"
)

// Type is the value of a statement's first key.
const Type = "stele/statement/v1"

// Limits of version 1, in bytes or counts.
const (
	MaxSize       = 16 << 10 // an encoded statement
	MaxFields     = 64
	MaxFieldName  = 64
	MaxName       = 200 // an agency's name
	MaxReason     = 1000
	MaxMediaType  = 127
	MaxClassName  = 64
	timeFormat    = "2006-01-02T15:04:05.000Z"
	timePrecision = time.Millisecond
)

// Action is what a statement does.
type Action string

// The two actions of version 1. A replacement is an issue that names what it supersedes.
const (
	Issue  Action = "issue"
	Revoke Action = "revoke"
)

// Agency is who makes the statement.
type Agency struct {
	Code string // unified social credit code, GB 32100
	Name string
}

// Document is what a record speaks of.
type Document struct {
	SM3       sm.Digest
	Size      uint64 // bytes
	MediaType string // type/subtype, lower case
}

// Field commits to one attribute of the record without showing it.
type Field struct {
	Name       string
	Commitment sm.Digest
}

// Statement is the decoded form. Document, Class, Supersedes and Fields belong to an issue,
// Reason to a revocation, and to an issue that supersedes, where it may be empty.
type Statement struct {
	Action     Action
	Number     string // certificate number of the record issued or revoked
	Agency     Agency
	Document   Document
	Class      string
	Supersedes string // certificate number of the record that this one replaces, or empty
	Fields     []Field
	Reason     string
	IssuedAt   time.Time // UTC, whole milliseconds
}

// ErrStatement is wrapped by every error about a statement's form.
var ErrStatement = errors.New("malformed statement")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrStatement, fmt.Sprintf(format, args...))
}

// Encode returns the bytes to be signed, or an error that names the first thing out of form.
func (s Statement) Encode() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 512+100*len(s.Fields))
	b = append(b, `{"type":"`+Type+`","action":`...)
	b = canonical.AppendString(b, string(s.Action))
	b = append(b, `,"number":`...)
	b = canonical.AppendString(b, s.Number)
	b = append(b, `,"agency":{"code":`...)
	b = canonical.AppendString(b, s.Agency.Code)
	b = append(b, `,"name":`...)
	b = canonical.AppendString(b, s.Agency.Name)
	b = append(b, '}')
	if s.Action == Issue {
		b = s.appendIssue(b)
	} else {
		b = append(b, `,"reason":`...)
		b = canonical.AppendString(b, s.Reason)
	}
	b = append(b, `,"issuedAt":"`...)
	b = s.IssuedAt.AppendFormat(b, timeFormat)
	b = append(b, `"}`...)
	if len(b) > MaxSize {
		return nil, malformed("%d bytes, at most %d are allowed", len(b), MaxSize)
	}
	return b, nil
}

func (s Statement) appendIssue(b []byte) []byte {
	b = append(b, `,"document":{"sm3":"`...)
	b = append(b, s.Document.SM3.String()...)
	b = append(b, `","size":`...)
	b = canonical.AppendInt(b, s.Document.Size)
	b = append(b, `,"mediaType":`...)
	b = canonical.AppendString(b, s.Document.MediaType)
	b = append(b, `},"class":`...)
	b = canonical.AppendString(b, s.Class)
	if s.Supersedes != "" {
		b = append(b, `,"supersedes":`...)
		b = canonical.AppendString(b, s.Supersedes)
		if s.Reason != "" {
			b = append(b, `,"reason":`...)
			b = canonical.AppendString(b, s.Reason)
		}
	}
	b = append(b, `,"fields":{`...)
	for i, f := range s.Fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = canonical.AppendString(b, f.Name)
		b = append(b, `:"`...)
		b = append(b, f.Commitment.String()...)
		b = append(b, '"')
	}
	return append(b, '}')
}

func (s Statement) validate() error {
	switch {
	case s.Action != Issue && s.Action != Revoke:
		return malformed("action must be issue or revoke, got %q", s.Action)
	case !notary.ValidNumber(s.Number):
		return malformed("number: %v", notary.ErrNumber)
	case !notary.ValidUSCC(s.Agency.Code):
		return malformed("agency.code must be a unified social credit code with a valid check character")
	case !ValidText(s.Agency.Name, MaxName):
		return malformed("agency.name must be 1 to %d bytes of text without control characters", MaxName)
	case !s.IssuedAt.Equal(s.IssuedAt.Truncate(timePrecision)) || s.IssuedAt.Location() != time.UTC ||
		s.IssuedAt.Year() < 2000 || s.IssuedAt.Year() > 9999:
		return malformed("issuedAt must be UTC in whole milliseconds")
	case s.Action == Revoke:
		return s.validateRevoke()
	}
	return s.validateIssue()
}

func (s Statement) validateRevoke() error {
	if s.Document != (Document{}) || s.Class != "" || s.Supersedes != "" || len(s.Fields) != 0 {
		return malformed("a revocation has no document, class, supersedes or fields")
	}
	if !ValidText(s.Reason, MaxReason) {
		return malformed("reason must be 1 to %d bytes of text without control characters", MaxReason)
	}
	return nil
}

func (s Statement) validateIssue() error {
	switch {
	case s.Reason != "" && s.Supersedes == "":
		return malformed("an issue that replaces no record has no reason")
	case s.Reason != "" && !ValidText(s.Reason, MaxReason):
		return malformed("reason must be 1 to %d bytes of text without control characters", MaxReason)
	case s.Document.Size > canonical.MaxInt:
		return malformed("document.size is out of range")
	case !ValidMediaType(s.Document.MediaType):
		return malformed("document.mediaType must be type/subtype in lower case")
	case !ValidClass(s.Class):
		return malformed("class must be 1 to %d of a-z, 0-9 and -, beginning with a letter", MaxClassName)
	case s.Supersedes != "" && !notary.ValidNumber(s.Supersedes):
		return malformed("supersedes: %v", notary.ErrNumber)
	case s.Supersedes == s.Number:
		return malformed("a record cannot supersede itself")
	case len(s.Fields) > MaxFields:
		return malformed("at most %d fields are allowed", MaxFields)
	}
	for i, f := range s.Fields {
		if !ValidFieldName(f.Name) {
			return malformed("field names are 1 to %d of a-z, A-Z, 0-9, _ and -, beginning with a letter: %q",
				MaxFieldName, f.Name)
		}
		if i > 0 && s.Fields[i-1].Name >= f.Name {
			return malformed("fields must be sorted by name, once each")
		}
	}
	return nil
}

// Field returns the commitment under a name.
func (s Statement) Field(name string) (sm.Digest, bool) {
	i, ok := slices.BinarySearchFunc(s.Fields, name, func(f Field, n string) int { return cmp.Compare(f.Name, n) })
	if !ok {
		return sm.Digest{}, false
	}
	return s.Fields[i].Commitment, true
}

// wire is how encoding/json reads a statement before it is checked against its one spelling.
type wire struct {
	Type       string            `json:"type"`
	Action     Action            `json:"action"`
	Number     string            `json:"number"`
	Agency     wireAgency        `json:"agency"`
	Document   *wireDocument     `json:"document"`
	Class      string            `json:"class"`
	Supersedes string            `json:"supersedes"`
	Fields     map[string]string `json:"fields"`
	Reason     string            `json:"reason"`
	IssuedAt   string            `json:"issuedAt"`
}

type wireAgency struct {
	Code string `json:"code"`
	Name string `json:"name"`
}

type wireDocument struct {
	SM3       string `json:"sm3"`
	Size      uint64 `json:"size"`
	MediaType string `json:"mediaType"`
}

// Parse is the inverse of [Statement.Encode] and accepts no other spelling.
func Parse(data []byte) (Statement, error) {
	var w wire
	if err := canonical.Decode(data, MaxSize, &w); err != nil {
		return Statement{}, malformed("%v", err)
	}
	if w.Type != Type {
		return Statement{}, malformed("type must be %q", Type)
	}
	at, err := time.Parse(timeFormat, w.IssuedAt)
	if err != nil {
		return Statement{}, malformed("issuedAt must look like %s", timeFormat)
	}
	s := Statement{Action: w.Action, Number: w.Number, Agency: Agency(w.Agency), Class: w.Class,
		Supersedes: w.Supersedes, Reason: w.Reason, IssuedAt: at.UTC()}
	if w.Document != nil {
		d, err := sm.ParseDigest(w.Document.SM3)
		if err != nil {
			return Statement{}, malformed("document.sm3: %v", err)
		}
		s.Document = Document{SM3: d, Size: w.Document.Size, MediaType: w.Document.MediaType}
	}
	for name, v := range w.Fields {
		c, err := sm.ParseDigest(v)
		if err != nil {
			return Statement{}, malformed("fields: %v", err)
		}
		s.Fields = append(s.Fields, Field{Name: name, Commitment: c})
	}
	slices.SortFunc(s.Fields, func(a, b Field) int { return cmp.Compare(a.Name, b.Name) })
	again, err := s.Encode()
	if err != nil {
		return Statement{}, err
	}
	if err := canonical.Check(data, again); err != nil {
		return Statement{}, malformed("%v", err)
	}
	return s, nil
}

// ValidText reports whether s is 1 to max bytes of valid UTF-8 without control characters,
// line or paragraph separators and without white space at its ends: what can be printed on
// a certificate as one line.
func ValidText(s string, max int) bool {
	if s == "" || len(s) > max || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r >= 0x202a &&
			r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return false // the last two ranges reorder text: a name could be made to read as another
		}
	}
	return true
}

// ValidClass reports whether s can name a document class.
func ValidClass(s string) bool {
	return s != "" && len(s) <= MaxClassName && s[0] >= 'a' && s[0] <= 'z' && only(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	})
}

// ValidFieldName reports whether s can name an attribute.
func ValidFieldName(s string) bool {
	return s != "" && len(s) <= MaxFieldName && letter(s[0]) && only(s, func(c byte) bool {
		return letter(c) || c >= '0' && c <= '9' || c == '_' || c == '-'
	})
}

// ValidMediaType reports whether s is type/subtype in lower case (RFC 6838 section 4.2).
func ValidMediaType(s string) bool {
	t, sub, ok := strings.Cut(s, "/")
	token := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&-^_.+", c) >= 0
	}
	return ok && t != "" && sub != "" && len(s) <= MaxMediaType && only(t, token) && only(sub, token)
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
