package intake

import (
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
)

// What follows decides on items whose place in the log is being given out: a store reads the facts under its
// lock and asks here.

// Affected is the number of the record that an item withdraws or replaces, empty where it does neither.
func (it *Item) Affected() string {
	if it.Action == statement.Revoke {
		return it.Record.Number
	}
	return it.Record.Supersedes
}

// Repeat is the outcome of an item whose idempotency key was used before: that of the first, if it was the
// same request.
func (p Prior) Repeat(it *Item) Outcome {
	if p.RequestHash != it.RequestHash {
		return Outcome{Err: IdempotencyConflict()}
	}
	return Outcome{Replay: true, Record: p.Record}
}

// Target is a record that an item withdraws or replaces, as it stands; nil for one that is not there. It is not
// safe for concurrent use.
type Target struct {
	Index    uint64
	Number   string
	AgencyID string
	Standing notary.Standing
}

// taken is the standing of a record that an item before has revoked or replaced, in the same transaction.
const taken notary.Standing = "taken"

// Take lets an item withdraw or replace the record, which no other can do afterwards; or says why it may not.
func (t *Target) Take(it *Item) error {
	switch {
	case (t == nil || t.AgencyID != it.Record.AgencyID) && it.Action == statement.Revoke:
		return notary.Errorf(notary.CodeNotFound, "There is no such record of this agency.")
	case t == nil || t.AgencyID != it.Record.AgencyID:
		return notary.InvalidField("supersedes", "The record to be revoked or replaced is not one of this agency's.")
	case t.Standing != notary.Valid:
		return notary.Errorf(notary.CodeConflict, "The record %s was already revoked or replaced.", t.Number)
	}
	t.Standing = taken
	return nil
}

// Permit is what an agency may sign with; nil for an agency that is not there.
type Permit struct {
	State        notary.AgencyState
	Certificates map[sm.Digest]bool // that have not ended
}

// Refusal is why an item is not received; nil where its signer may sign.
func (p *Permit) Refusal(it *Item) error {
	if p == nil {
		return notary.ErrCertificateEnded
	}
	if err := p.State.Refusal(); err != nil {
		return err
	}
	if !p.Certificates[it.Entry.Certificate] {
		return notary.ErrCertificateEnded
	}
	return nil
}
