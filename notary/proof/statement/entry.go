package statement

import (
	"encoding/binary"
	"errors"

	"stele/crypto/merkle"
	"stele/crypto/sm"
)

// SaltSize is the length of a field's random salt in bytes.
const SaltSize = 16

// MaxValue is the longest value of a field in bytes.
const MaxValue = 4 << 10

// Commitment is SM3(salt ‖ name ‖ 0x00 ‖ value). Without its salt it says nothing about a
// value, however few values are possible.
func Commitment(salt []byte, name, value string) sm.Digest {
	return sm.Sum(salt, []byte(name), []byte{0}, []byte(value))
}

// Entry is a leaf's data: the statement, its signature, and which certificate signed.
type Entry struct {
	Statement   []byte
	Signature   []byte    // DER
	Certificate sm.Digest // SM3 of the signer's DER certificate
}

// MaxEntrySize is the longest encoded entry in bytes.
const MaxEntrySize = 2 + MaxSize + 2 + sm.MaxSignatureSize + sm.DigestSize

// ErrEntry reports bytes that are no entry.
var ErrEntry = errors.New("malformed entry: expected u16 length, statement, u16 length, signature, 32-byte " +
	"certificate digest")

// Encode returns u16 len ‖ statement ‖ u16 len ‖ signature ‖ certificate digest, big endian.
// Lengths beyond the limits are a programming error and panic.
func (e Entry) Encode() []byte {
	if len(e.Statement) > MaxSize || len(e.Signature) > sm.MaxSignatureSize {
		panic("statement: entry out of limits")
	}
	b := make([]byte, 0, 4+len(e.Statement)+len(e.Signature)+sm.DigestSize)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Statement)))
	b = append(b, e.Statement...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Signature)))
	b = append(b, e.Signature...)
	return append(b, e.Certificate[:]...)
}

// LeafHash is the entry's leaf in the log: SM3(0x00 ‖ entry).
func (e Entry) LeafHash() merkle.Hash { return merkle.LeafHash(e.Encode()) }

// ParseEntry reads one entry that fills data.
func ParseEntry(data []byte) (Entry, error) {
	e, rest, err := CutEntry(data)
	if err != nil || len(rest) != 0 {
		return Entry{}, ErrEntry
	}
	return e, nil
}

// CutEntry reads the entry that data begins with and returns what follows it, for entry
// bundles, which are entries one after another. The entry's slices point into data.
func CutEntry(data []byte) (e Entry, rest []byte, err error) {
	e.Statement, rest, err = cutU16(data, MaxSize)
	if err != nil {
		return e, nil, err
	}
	e.Signature, rest, err = cutU16(rest, sm.MaxSignatureSize)
	if err != nil || len(rest) < sm.DigestSize {
		return e, nil, ErrEntry
	}
	e.Certificate = sm.Digest(rest)
	return e, rest[sm.DigestSize:], nil
}

func cutU16(b []byte, max int) (field, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, ErrEntry
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > max || n == 0 || len(b) < 2+n {
		return nil, nil, ErrEntry
	}
	return b[2 : 2+n : 2+n], b[2+n:], nil
}
