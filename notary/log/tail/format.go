// Package tail keeps what was received lately in the object store, sealed, in a form from which the
// database's rows can be made again: what a database that was restored from an archive lacks.
//
// An object holds a stretch of entries with all that their transaction wrote. It is put after that
// transaction and before its callers are answered. Beside the stretches lie the agencies that they
// speak of, and what was erased, so that a restored database forgets it again. See docs/formats.md.
package tail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"stele/crypto/seal"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/notary/register/erasure"
	"stele/notary/register/intake"
)

// Format is what the text of a stretch begins with.
const Format = "stele/tail/v1"

// Names of objects. Stretches of entries fan out by their first index.
const (
	EntriesPrefix   = "tail/entries/"
	agenciesPrefix  = "tail/agencies/"
	ErasuresPrefix  = "tail/erasures/"
	shardBits       = 12
	eraBits         = 24 // a sealing key serves so many entries: far below the 2^32 texts that one may seal
	maxCount        = 1 << shardBits
	maxObject       = 32 << 20 // bytes
	splitAt         = 4 << 20  // bytes of text after which a stretch goes on in another object
	maxText         = maxObject - 4<<10
	head            = Format + "\n"
	maxKeyUse       = 200
	maxKeysOfEntry  = 100
	maxAgencyObject = 1 << 20
)

// ErrFormat reports a text that this program did not write.
var ErrFormat = errors.New("not a tail object of this version")

// Name is where a stretch lies. Of two with the same First and Count the one with the higher Revision
// counts: the other was written before something in it was erased.
type Name struct {
	First    uint64
	Count    uint64
	Revision uint64
}

// End is the index after the last entry.
func (n Name) End() uint64 { return n.First + n.Count }

// String is the key of the object; keys sort as the stretches do.
func (n Name) String() string {
	return fmt.Sprintf("%s%016d-%04d-%06d", shard(n.First), n.First, n.Count, n.Revision)
}

// shard is the folder of the stretches that begin near an index.
func shard(first uint64) string { return fmt.Sprintf("%s%013d/", EntriesPrefix, first>>shardBits) }

// beginning is what the keys of the stretches begin with that begin at an index.
func beginning(first uint64) string { return fmt.Sprintf("%s%016d-", shard(first), first) }

// ParseName reads a key in its one spelling.
func ParseName(key string) (Name, error) {
	parts := strings.Split(key[strings.LastIndexByte(key, '/')+1:], "-")
	var n [3]uint64
	if len(parts) != len(n) {
		return Name{}, ErrFormat
	}
	for i, p := range parts {
		var err error
		if n[i], err = strconv.ParseUint(p, 10, 53); err != nil {
			return Name{}, ErrFormat
		}
	}
	name := Name{First: n[0], Count: n[1], Revision: n[2]}
	if name.Count == 0 || name.Count > maxCount || name.String() != key {
		return Name{}, ErrFormat
	}
	return name, nil
}

// Stretch is a run of entries, the first of which has the index First, with the audit rows of their
// signatures.
type Stretch struct {
	Format  string  `json:"format"`
	First   uint64  `json:"first"`
	Entries []Entry `json:"entries"`
	Uses    []Use   `json:"uses"`
}

// Entry is an entry of the log with what is not in its statement.
type Entry struct {
	Statement   string  `json:"statement"`
	Signature   []byte  `json:"signature"`
	Certificate []byte  `json:"certificate"` // SM3 of the signer's DER certificate
	AgencyID    string  `json:"agency"`
	KeyUse      string  `json:"keyUse"` // id of the audit row
	Record      *Record `json:"record,omitempty"`
	Keys        []Key   `json:"keys,omitempty"`
}

// Record is what the row of an issued record has beside its statement.
type Record struct {
	ID         string  `json:"id"`
	Code       string  `json:"code"`
	Reference  string  `json:"reference,omitempty"`
	Stored     bool    `json:"stored,omitempty"`
	Version    string  `json:"version,omitempty"`
	ReceivedAt int64   `json:"receivedAt"` // microseconds since 1970
	Fields     []Field `json:"fields"`     // in the order of the statement; without salt once erased
}

// Field is an attribute.
type Field struct {
	Name  string `json:"n"`
	Salt  []byte `json:"s,omitempty"`
	Value string `json:"v,omitempty"`
}

// Key is an idempotency key of the record that the entry is about, and what it stands for.
type Key struct {
	Key         string `json:"key"`
	RequestHash []byte `json:"request"`
}

// Use is an audit row, see [intake.KeyUse].
type Use struct {
	ID          string `json:"id"`
	AgencyID    string `json:"agency"`
	Certificate []byte `json:"certificate"`
	Purpose     string `json:"purpose"`
	Count       int    `json:"count"`
	Statements  []byte `json:"statements"`
	At          int64  `json:"at"` // microseconds since 1970
}

// Agency is an agency's row with one of its certificate chains, signer first.
type Agency struct {
	ID          string   `json:"id"`
	Code        string   `json:"code"`
	Name        string   `json:"name"`
	Region      string   `json:"region"`
	ExternalKey bool     `json:"keyAtHome,omitempty"`
	CreatedAt   int64    `json:"createdAt"` // microseconds since 1970
	Chain       [][]byte `json:"chain"`
}

// Row is the agency's row.
func (a Agency) Row() notary.Agency {
	return notary.Agency{ID: a.ID, Code: a.Code, Name: a.Name, Region: a.Region, ExternalKey: a.ExternalKey,
		CreatedAt: time.UnixMicro(a.CreatedAt).UTC()}
}

// Erased is an erasure that a restored database must repeat.
type Erased struct {
	ID       string   `json:"id"`
	Index    uint64   `json:"index"` // of the record
	At       int64    `json:"at"`    // microseconds since 1970
	By       string   `json:"by"`
	Names    []string `json:"names"` // of attributes
	Document bool     `json:"document,omitempty"`
	All      bool     `json:"all,omitempty"` // the record's reference too
	Reason   string   `json:"reason"`
}

// FromErasure is an erasure as it is kept.
func FromErasure(e erasure.Erasure, all bool) Erased {
	return Erased{e.ID, e.Index, e.At.UnixMicro(), e.By, e.Names, e.Document, all, e.Reason}
}

// Erasure is what is to be repeated.
func (e Erased) Erasure() erasure.Erasure {
	return erasure.Erasure{ID: e.ID, Index: e.Index, At: time.UnixMicro(e.At).UTC(), By: e.By, Names: e.Names,
		Document: e.Document, Reason: e.Reason}
}

// FromGroup is the stretch of a group as it was received.
func FromGroup(g intake.Group) Stretch {
	s := Stretch{Format: Format, First: g.First, Entries: make([]Entry, len(g.Items)), Uses: make([]Use, len(g.Uses))}
	for i, it := range g.Items {
		s.Entries[i] = fromItem(it)
	}
	for i, u := range g.Uses {
		s.Uses[i] = FromUse(u)
	}
	return s
}

func fromItem(it *intake.Item) Entry {
	e := Entry{Statement: string(it.Entry.Statement), Signature: it.Entry.Signature,
		Certificate: it.Entry.Certificate[:], AgencyID: it.Record.AgencyID, KeyUse: it.KeyUse}
	if it.Idempotency != "" {
		e.Keys = []Key{{it.Idempotency, it.RequestHash[:]}}
	}
	if it.Action == statement.Issue {
		e.Record = FromRecord(it.Record)
	}
	return e
}

// FromRecord is what a row has beside the statement.
func FromRecord(r notary.Record) *Record {
	out := &Record{ID: r.ID, Code: r.Code, Reference: r.Reference, Stored: r.Stored, Version: r.Version,
		ReceivedAt: r.ReceivedAt.UnixMicro(), Fields: make([]Field, len(r.Fields))}
	for i, f := range r.Fields {
		out.Fields[i] = Field{f.Name, f.Salt, f.Value}
	}
	return out
}

// FromUse is an audit row as it is kept.
func FromUse(u intake.KeyUse) Use {
	return Use{u.ID, u.AgencyID, u.Certificate[:], u.Purpose, u.Count, u.Statements[:], u.At.UnixMicro()}
}

// KeyUse is the audit row.
func (u Use) KeyUse() intake.KeyUse {
	return intake.KeyUse{ID: u.ID, AgencyID: u.AgencyID, Certificate: sm.Digest(u.Certificate), Purpose: u.Purpose,
		Count: u.Count, Statements: sm.Digest(u.Statements), At: time.UnixMicro(u.At).UTC()}
}

// Logged is the entry as the log has it.
func (e Entry) Logged() statement.Entry {
	return statement.Entry{Statement: []byte(e.Statement), Signature: e.Signature,
		Certificate: sm.Digest(e.Certificate)}
}

// Item is the entry as a transaction receives it. Idempotency keys are not in it: an entry may have
// several of them here.
func (e Entry) Item() (*intake.Item, error) {
	s, err := statement.Parse([]byte(e.Statement))
	if err != nil {
		return nil, err
	}
	it := &intake.Item{Action: s.Action, KeyUse: e.KeyUse, Entry: e.Logged()}
	it.Record = notary.Record{AgencyID: e.AgencyID, Number: s.Number}
	if s.Action == statement.Revoke {
		it.Record.Standing, it.Record.StandingAt, it.Record.Reason = notary.Revoked, s.IssuedAt, s.Reason
		return it, nil
	}
	r := &it.Record
	r.ID, r.Code, r.Reference, r.Stored, r.Version = e.Record.ID, e.Record.Code, e.Record.Reference, e.Record.Stored,
		e.Record.Version
	r.SM3, r.Size, r.MediaType = s.Document.SM3, s.Document.Size, s.Document.MediaType
	r.Class, r.Supersedes, r.IssuedAt, r.Standing = s.Class, s.Supersedes, s.IssuedAt, notary.Valid
	r.ReceivedAt = time.UnixMicro(e.Record.ReceivedAt).UTC()
	r.Fields = make([]notary.Field, len(e.Record.Fields))
	for i, f := range e.Record.Fields {
		r.Fields[i] = notary.Field{Name: f.Name, Salt: f.Salt, Value: f.Value}
	}
	return it, nil
}

// check refuses what no transaction can have written. Signatures are not looked at.
func (e Entry) check() error {
	if status.OfNoRecord([]byte(e.Statement)) {
		return e.checkOfNoRecord()
	}
	s, err := statement.Parse([]byte(e.Statement))
	switch {
	case err != nil:
		return err
	case len(e.Signature) == 0 || len(e.Signature) > sm.MaxSignatureSize || len(e.Certificate) != sm.DigestSize:
		return errors.New("a signature or certificate of the wrong length")
	case e.AgencyID == "" || e.KeyUse == "" || len(e.KeyUse) > maxKeyUse || len(e.Keys) > maxKeysOfEntry:
		return errors.New("no agency, no audit row, or too many keys")
	case (s.Action == statement.Issue) != (e.Record != nil):
		return fmt.Errorf("the record %s has a row where it must have none, or none where it must have one", s.Number)
	}
	for _, k := range e.Keys {
		if k.Key == "" || len(k.RequestHash) != sm.DigestSize {
			return errors.New("a damaged idempotency key")
		}
	}
	if e.Record == nil {
		return nil
	}
	if e.Record.ID == "" || !notary.ValidCode(e.Record.Code) || len(e.Record.Fields) != len(s.Fields) {
		return fmt.Errorf("the row of record %s does not fit its statement", s.Number)
	}
	for i, f := range e.Record.Fields {
		switch {
		case f.Name != s.Fields[i].Name:
			return fmt.Errorf("record %s: the attribute %q is not in the statement there", s.Number, f.Name)
		case len(f.Salt) == 0 && f.Value == "": // erased
		case statement.Commitment(f.Salt, f.Name, f.Value) != s.Fields[i].Commitment:
			return fmt.Errorf("record %s: the attribute %q is not the one that was signed", s.Number, f.Name)
		}
	}
	return nil
}

// checkOfNoRecord is the same for a status statement and for a certificate's revocation, which no agency signs.
func (e Entry) checkOfNoRecord() error {
	_, err := status.Parse([]byte(e.Statement))
	if status.IsRevocation([]byte(e.Statement)) {
		_, err = status.ParseCertificateRevocation([]byte(e.Statement))
	}
	switch {
	case err != nil:
		return err
	case len(e.Signature) == 0 || len(e.Signature) > sm.MaxSignatureSize || len(e.Certificate) != sm.DigestSize:
		return errors.New("a signature or digest of a key of the wrong length")
	case e.AgencyID != "" || e.KeyUse != "" || e.Record != nil || len(e.Keys) > 0:
		return errors.New("an entry of no record with an agency, an audit row or a record")
	}
	return nil
}

// Encode is the text of a stretch.
func (s Stretch) Encode() ([]byte, error) { return encode(s) }

// ParseStretch reads the text of a stretch. What is read has this one spelling, and every entry holds
// together; its signatures are not verified.
func ParseStretch(text []byte) (Stretch, error) {
	var s Stretch
	if err := decode(text, &s); err != nil {
		return s, err
	}
	if s.Format != Format || len(s.Entries) == 0 || len(s.Entries) > maxCount || s.First > 1<<53 {
		return s, ErrFormat
	}
	for i, e := range s.Entries {
		if err := e.check(); err != nil {
			return s, fmt.Errorf("%w: entry %d: %w", ErrFormat, s.First+uint64(i), err)
		}
	}
	for _, u := range s.Uses {
		if u.ID == "" || len(u.Certificate) != sm.DigestSize || len(u.Statements) != sm.DigestSize {
			return s, fmt.Errorf("%w: a damaged audit row", ErrFormat)
		}
	}
	return s, nil
}

// parts cuts a stretch into pieces that each fit an object.
func (s Stretch) parts() []Stretch {
	var out []Stretch
	from, size := 0, 0
	for i, e := range s.Entries {
		size += e.size()
		if size < splitAt && i-from+1 < maxCount && i+1 < len(s.Entries) {
			continue
		}
		part := Stretch{Format: Format, First: s.First + uint64(from), Entries: s.Entries[from : i+1]}
		used := map[string]bool{}
		for _, e := range part.Entries {
			used[e.KeyUse] = true
		}
		for _, u := range s.Uses {
			if used[u.ID] {
				part.Uses = append(part.Uses, u)
			}
		}
		out = append(out, part)
		from, size = i+1, 0
	}
	return out
}

// size is about how many bytes an entry takes in a text.
func (e Entry) size() int {
	n := 600 + len(e.Statement)*9/8
	if e.Record != nil {
		for _, f := range e.Record.Fields {
			n += 2 * (len(f.Name) + len(f.Value) + 32)
		}
	}
	return n
}

func (s Stretch) name() Name { return Name{First: s.First, Count: uint64(len(s.Entries))} }

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// decode reads JSON that has exactly the bytes which encode gives: no unknown, doubled or misspelt key
// can be in it.
func decode(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	again, err := encode(v)
	if err != nil || !bytes.Equal(again, text) {
		return fmt.Errorf("%w: it is not spelled as this program does", ErrFormat)
	}
	return nil
}

// Sealer seals and opens an instance's objects. It is safe for concurrent use.
type Sealer struct {
	key      *sm.PrivateKey
	instance string
}

// NewSealer seals with keys that are derived from a key that every server of the instance has.
func NewSealer(key *sm.PrivateKey, instance string) *Sealer { return &Sealer{key, instance} }

// box is the one for the object of this name.
func (s *Sealer) box(key string) (*seal.Box, error) {
	era := "others"
	if n, err := ParseName(key); err == nil {
		era = fmt.Sprint(n.First >> eraBits)
	}
	return seal.New(s.key, Format+"/"+era)
}

// place binds a text to its instance and its name: in any other place it does not open.
func (s *Sealer) place(key string) string { return s.instance + "\n" + key }

func (s *Sealer) seal(key string, text []byte) ([]byte, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%s: %d bytes are too many for an object", key, len(text))
	}
	box, err := s.box(key)
	if err != nil {
		return nil, err
	}
	return append([]byte(head), box.Seal(s.place(key), text)...), nil
}

// sealStretch seals a stretch, as one object or several, by their keys.
func (s *Sealer) sealStretch(from Stretch) (map[string][]byte, error) {
	objects := map[string][]byte{}
	for _, part := range from.parts() {
		text, err := part.Encode()
		if err != nil {
			return nil, err
		}
		key := part.name().String()
		if objects[key], err = s.seal(key, text); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

func (s *Sealer) open(key string, data []byte) ([]byte, error) {
	sealed, ok := bytes.CutPrefix(data, []byte(head))
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, ErrFormat)
	}
	box, err := s.box(key)
	if err != nil {
		return nil, err
	}
	text, err := box.Open(s.place(key), sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return text, nil
}

// OpenStretch opens and reads the object of a name.
func (s *Sealer) OpenStretch(n Name, data []byte) (Stretch, error) {
	text, err := s.open(n.String(), data)
	if err != nil {
		return Stretch{}, err
	}
	out, err := ParseStretch(text)
	if err == nil && (out.First != n.First || uint64(len(out.Entries)) != n.Count) {
		err = ErrFormat
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", n, err)
	}
	return out, nil
}
