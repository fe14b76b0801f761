package notary

import (
	"errors"
	"time"

	"stele/crypto/sm"
)

// AgencyState says whether anything new may be signed in an agency's name. What was signed before
// stays what it is: it can be read, verified and handed out in every state.
type AgencyState string

// The states of an agency. Closed is for ever.
const (
	AgencyActive    AgencyState = "active"
	AgencySuspended AgencyState = "suspended"
	AgencyClosed    AgencyState = "closed"
)

// Refusal is why nothing is signed in the name of an agency in this state; nil where it is active.
func (s AgencyState) Refusal() error {
	switch s {
	case AgencySuspended:
		return Errorf(CodeAgencySuspended,
			"The agency is suspended: nothing new is signed in its name until the operator resumes it. "+
				"This request saved nothing; what was notarized before can be read and verified.")
	case AgencyClosed:
		return Errorf(CodeAgencyClosed, "The agency is closed: nothing is signed in its name any more. "+
			"This request saved nothing; what was notarized before can be read and verified.")
	}
	return nil
}

// ErrCertificateEnded is the outcome of a statement that names a certificate which signs no more:
// whoever holds the agency's key takes the present certificate and signs anew.
var ErrCertificateEnded = errors.New("the agency's certificate has ended")

// EndReason is why a certificate counts no more from a time on.
type EndReason string

// The reasons.
const (
	EndLost     EndReason = "lost"     // nobody has the key any more
	EndLeaked   EndReason = "leaked"   // somebody else may have the key
	EndReplaced EndReason = "replaced" // by another key, as a matter of course
	EndRenamed  EndReason = "renamed"  // the agency has another name
	EndClosed   EndReason = "closed"   // the agency was closed
)

// Certificate is one of an agency as it is stored.
type Certificate struct {
	Fingerprint sm.Digest // SM3 of the DER encoding
	Chain       [][]byte  // DER, signer first, root last
	CreatedAt   time.Time
	EndedAt     time.Time // the time from which it counts no more; zero: in force
	EndedReason EndReason
}

// SealedKey is an agency's private key as the database holds it.
type SealedKey struct {
	AgencyID  string
	Public    []byte // the SM2 point, 65 bytes
	Sealed    []byte // encrypted PKCS#8 in PEM, as package keystore writes it
	CreatedAt time.Time
}
