package status

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary/proof/canonical"
)

// Kinds of keys: the first byte of what is hashed.
const (
	kindRecord      = 1
	kindCertificate = 2
	kindAgency      = 3
)

// RecordKey is the map's key of a record: SM3(0x01 ‖ number ‖ credit code). It is there if the agency
// revoked or replaced its record of that number.
func RecordKey(number, code string) sm.Digest {
	return sm.Sum([]byte{kindRecord}, []byte(number), []byte(code))
}

// CertificateKey is the map's key of a certificate with an SM3 digest of its DER: SM3(0x02 ‖ digest). It is
// there if the certificate was revoked.
func CertificateKey(certificate sm.Digest) sm.Digest {
	return sm.Sum([]byte{kindCertificate}, certificate[:])
}

// AgencyKey is the map's key of an agency's tally: SM3(0x03 ‖ credit code).
func AgencyKey(code string) sm.Digest { return sm.Sum([]byte{kindAgency}, []byte(code)) }

// Ended is the value of a record that was revoked or replaced.
type Ended struct {
	Superseded bool   // by another record; else it was revoked
	Index      uint64 // of the entry that says so
}

// Text is the value that the map holds the SM3 of: "revoked <index>" or "superseded <index>".
func (e Ended) Text() string {
	if e.Superseded {
		return "superseded " + strconv.FormatUint(e.Index, 10)
	}
	return "revoked " + strconv.FormatUint(e.Index, 10)
}

// Value is what the map holds.
func (e Ended) Value() sm.Digest { return sm.Sum([]byte(e.Text())) }

// ErrValue is wrapped by every error about a value's form.
var ErrValue = errors.New("no value of a status map")

// ParseEnded is the inverse of [Ended.Text] and accepts no other spelling.
func ParseEnded(text string) (Ended, error) {
	kind, index, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(index, 10, 64)
	e := Ended{Superseded: kind == "superseded", Index: n}
	if err != nil || n > canonical.MaxInt || e.Text() != text {
		return Ended{}, fmt.Errorf(`%w: %q: "revoked <index>" or "superseded <index>" is expected`, ErrValue, text)
	}
	return e, nil
}

// Revocation is the value of a certificate that was revoked.
type Revocation struct {
	Reason string    // one of [Reasons]
	Since  time.Time // what the key signed from then on does not count; UTC, whole seconds, years 2000 to 9999
	Index  uint64    // of the entry that says so
}

const sinceLayout = "2006-01-02T15:04:05Z"

// Text is the value that the map holds the SM3 of: "<reason> <since> <index>".
func (r Revocation) Text() string {
	return r.Reason + " " + r.Since.UTC().Format(sinceLayout) + " " + strconv.FormatUint(r.Index, 10)
}

// Value is what the map holds.
func (r Revocation) Value() sm.Digest { return sm.Sum([]byte(r.Text())) }

// ParseRevocation is the inverse of [Revocation.Text] and accepts no other spelling.
func ParseRevocation(text string) (Revocation, error) {
	parts := strings.Split(text, " ")
	if len(parts) != 3 || !slices.Contains(Reasons(), parts[0]) {
		return Revocation{}, fmt.Errorf(`%w: %q: "<reason> <since> <index>" is expected`, ErrValue, text)
	}
	since, err := time.Parse(sinceLayout, parts[1])
	n, err2 := strconv.ParseUint(parts[2], 10, 64)
	r := Revocation{Reason: parts[0], Since: since, Index: n}
	if err := errors.Join(err, err2); err != nil || n > canonical.MaxInt || since.Year() < 2000 || r.Text() != text {
		return Revocation{}, fmt.Errorf("%w: %q: time or index is out of form", ErrValue, text)
	}
	return r, nil
}

// Tally is the value of an agency: the entries in its name, in the order of the log. It shows that a list
// of entries is complete.
type Tally struct {
	Entries uint64
	Hash    sm.Digest // SM3(hash before ‖ leaf hash), from 32 zero bytes on
}

// Add returns the tally with one more entry.
func (t Tally) Add(leaf merkle.Hash) Tally {
	return Tally{Entries: t.Entries + 1, Hash: sm.Sum(t.Hash[:], leaf[:])}
}

// Text is the value that the map holds the SM3 of: "<entries> <hash in hex>".
func (t Tally) Text() string { return strconv.FormatUint(t.Entries, 10) + " " + t.Hash.String() }

// Value is what the map holds.
func (t Tally) Value() sm.Digest { return sm.Sum([]byte(t.Text())) }
