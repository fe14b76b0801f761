package notary

import (
	"strings"
	"time"

	"stele/crypto/sm"
)

// State is how far a record has come. It only ever moves forward, and is derived from
// facts that are durable: the entry's index against the log's and the chain's sizes.
type State string

// The states.
const (
	Received State = "received" // signed and durable
	Logged   State = "logged"   // in a checkpoint that the log has signed
	Anchored State = "anchored" // that checkpoint is committed on the required chain
)

// Standing is what became of a record later.
type Standing string

// The standings.
const (
	Valid      Standing = "valid"
	Revoked    Standing = "revoked"
	Superseded Standing = "superseded"
)

// TrailClass is the class of records that the service makes itself, of stretches of the audit
// trail. They are found through the trail and not among an agency's records.
const TrailClass = "audit-trail"

// Agency is a tenant: one that issues records under its own certificate.
type Agency struct {
	ID          string
	Code        string // unified social credit code, GB 32100
	Name        string // the present one; a statement has that of its time
	Region      string // six digits, GB/T 2260: the first part of its certificate numbers
	ExternalKey bool   // it signs its statements itself: there is no key of it here
	CreatedAt   time.Time

	State      AgencyState
	StateSince time.Time // zero: since it was added
}

// Field is one attribute of a record with what opens its commitment. It is private to the
// agency and to holders of number and code.
type Field struct {
	Name  string
	Salt  []byte // statement.SaltSize bytes; nil once erased
	Value string
}

// Record is one notarization.
type Record struct {
	ID         string
	Index      uint64 // of the issuing entry in the log; fixed when the record became durable
	AgencyID   string
	Number     string
	Code       string // eight characters, printed beside the number
	SM3        sm.Digest
	Size       uint64 // bytes
	MediaType  string
	Class      string
	Fields     []Field
	Supersedes string // number of the record that this one replaces, or empty
	Reference  string // the agency's own name for it; private, not signed, not unique
	Stored     bool   // the original is in the object store
	Version    string // its version id there, where versions are kept
	IssuedAt   time.Time
	ReceivedAt time.Time

	Standing      Standing
	StandingIndex uint64 // index of the entry that revoked or replaced it
	StandingAt    time.Time
	StandingBy    string // number of the replacing record
	Reason        string // of a revocation or replacement
}

// DocumentKey is where a record's original lies in the object store: under the record's own
// id, never under its digest, so that nobody can ask the store for a document by what it is.
func DocumentKey(recordID string) string { return documents + recordID }

// DocumentID is the id of the record whose original lies under a key, or will; ok is false for other keys.
func DocumentID(key string) (recordID string, ok bool) { return strings.CutPrefix(key, documents) }

const documents = "doc/"

// Progress is how far the log has come: how many entries are durable, in a signed
// checkpoint, and anchored on the required chain.
type Progress struct {
	Received uint64
	Logged   uint64
	Anchored uint64
}

// StateOf derives the state of the entry at an index.
func (p Progress) StateOf(index uint64) State {
	switch {
	case index < p.Anchored:
		return Anchored
	case index < p.Logged:
		return Logged
	}
	return Received
}
