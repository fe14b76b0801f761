// Package status is what a log says about the standing of everything in it: one verifiable map (package
// vmap) that has what has ended, and how many entries there are in each agency's name. Its root is an entry
// of the log, signed with the log's key.
//
// So a bundle can show that a record was not revoked, offline: a map that lacks the record's key, the
// status statement with that map's root, and its place in the log. Whoever has all entries makes the map
// anew: a status statement that does not follow from the entries before it is a signed contradiction.
//
// The package is pure. The form of statements and of the map is section 18 of docs/formats.md.
package status

import (
	"bytes"
	"errors"
	"fmt"

	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary/proof/canonical"
	"stele/notary/proof/statement"
)

// Type is the value of a status statement's first key.
const Type = "stele/status/v1"

// MaxSize is the longest status statement in bytes.
const MaxSize = 1 << 10

// ErrStatement is wrapped by every error about a status statement's form.
var ErrStatement = errors.New("malformed status statement")

// Statement is the decoded form: the map over all entries before this one.
type Statement struct {
	Log          string    // the log's origin
	Size         uint64    // entries that the map covers, which is the index of the statement's own entry
	Map          sm.Digest // the map's root
	Records      uint64    // keys of the map: records that were revoked or replaced,
	Certificates uint64    // certificates that were revoked,
	Agencies     uint64    // and agencies that have entries
}

// Encode returns the bytes that the log's key signs, or an error that names the first thing out of form.
func (s Statement) Encode() ([]byte, error) {
	if !signednote.ValidName(s.Log) {
		return nil, fmt.Errorf("%w: log must be a log's origin", ErrStatement)
	}
	b := []byte(`{"type":"` + Type + `","log":`)
	b = canonical.AppendString(b, s.Log)
	for _, n := range []struct {
		key   string
		value uint64
	}{{"size", s.Size}, {"records", s.Records}, {"certificates", s.Certificates}, {"agencies", s.Agencies}} {
		if n.value > canonical.MaxInt {
			return nil, fmt.Errorf("%w: %s is out of range", ErrStatement, n.key)
		}
		b = append(b, `,"`+n.key+`":`...)
		b = canonical.AppendInt(b, n.value)
		if n.key == "size" {
			b = append(b, `,"map":"`+s.Map.String()+`"`...)
		}
	}
	return append(b, '}'), nil
}

// Parse is the inverse of [Statement.Encode] and accepts no other spelling.
func Parse(data []byte) (Statement, error) {
	var w struct {
		Type         string `json:"type"`
		Log          string `json:"log"`
		Size         uint64 `json:"size"`
		Map          string `json:"map"`
		Records      uint64 `json:"records"`
		Certificates uint64 `json:"certificates"`
		Agencies     uint64 `json:"agencies"`
	}
	if err := canonical.Decode(data, MaxSize, &w); err != nil {
		return Statement{}, fmt.Errorf("%w: %v", ErrStatement, err)
	}
	if w.Type != Type {
		return Statement{}, fmt.Errorf("%w: type must be %q", ErrStatement, Type)
	}
	root, err := sm.ParseDigest(w.Map)
	if err != nil {
		return Statement{}, fmt.Errorf("%w: map: %v", ErrStatement, err)
	}
	s := Statement{Log: w.Log, Size: w.Size, Map: root, Records: w.Records, Certificates: w.Certificates,
		Agencies: w.Agencies}
	again, err := s.Encode()
	if err != nil {
		return Statement{}, err
	}
	if err := canonical.Check(data, again); err != nil {
		return Statement{}, fmt.Errorf("%w: %v", ErrStatement, err)
	}
	return s, nil
}

// Entry is the log entry of a status statement. In place of a certificate's digest it has that of the text
// of the log's key that signed (see [signednote.FormatKey]).
func Entry(text, signature []byte, key string) statement.Entry {
	return statement.Entry{Statement: text, Signature: signature, Certificate: sm.Sum([]byte(key))}
}

// VerifyEntry checks that an entry is a status statement of a log that one of the log's keys signed. It does
// not ask whether the map follows from the entries before it.
func VerifyEntry(e statement.Entry, origin string, keys []*signednote.Verifier) (Statement, error) {
	s, err := Parse(e.Statement)
	if err != nil {
		return s, err
	}
	if s.Log != origin {
		return s, fmt.Errorf("a status statement of the log %q, not of %q", s.Log, origin)
	}
	for _, k := range keys {
		if sm.Sum([]byte(signednote.FormatKey(k.Name(), k.Key()))) != e.Certificate {
			continue
		}
		if !k.Verify(e.Statement, e.Signature) {
			return s, errors.New("the log's signature over the status statement does not verify")
		}
		return s, nil
	}
	return s, errors.New("the status statement is signed with a key that is not known as the log's")
}

// Is reports whether an entry's statement begins as a status statement does.
func Is(text []byte) bool { return bytes.HasPrefix(text, []byte(`{"type":"`+Type+`"`)) }
