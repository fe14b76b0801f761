package intake

import (
	"context"
	"errors"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/statement"
)

// Prepared is a statement that waits for the signature of an agency that keeps its key at
// home. Nothing is notarized yet: there is no entry, and the number it names may never be used.
type Prepared struct {
	ID        string
	Item      Item // complete but for the signature
	ExpiresAt time.Time

	// Digest is what a key device signs that takes no message, see [sm.PublicKey.MessageDigest].
	// It is there when the statement was prepared, and not kept.
	Digest sm.Digest
}

// PreparedFor is how long a signature may take. The statement's time is that of its
// preparation, so this also bounds how far behind the log a statement can be dated.
const PreparedFor = 15 * time.Minute

// preparedKept is how long a signed statement can still be asked for again after its time,
// by a caller that lost the answer.
const preparedKept = 24 * time.Hour

var (
	errKeyHere = notary.Errorf(notary.CodeConflict,
		"This agency's key is kept here: notarize directly. Nothing was saved.")
	errExternalKey = notary.Errorf(notary.CodeConflict, "This agency keeps its key itself: prepare the statement, "+
		"sign it, and send the signature. Nothing was saved.")
	errNoPrepared = notary.Errorf(notary.CodeNotFound,
		"There is no such prepared statement of this agency; it may have expired. Prepare it again.")
	errChanged = notary.Errorf(notary.CodeConflict, "The agency's certificate changed since the statement was "+
		"prepared. Nothing was notarized; prepare it again.")
	errLate = notary.Errorf(notary.CodeConflict, "The signature came too late: a prepared statement waits for "+
		"%d minutes. Nothing was notarized; prepare it again.", int(PreparedFor.Minutes()))
	errSignature = notary.InvalidField("signature",
		"The signature does not verify over the statement's exact bytes under the agency's certificate "+
			"(SM2 with user id 1234567812345678, DER with minimal integers). Nothing was notarized; the statement "+
			"still waits for the right one.")
)

func (in *Intake) addPrepared(ctx context.Context, signer *Signer, item *Item) (*Prepared, error) {
	if err := in.clock(); err != nil {
		return nil, wrongClock(err)
	}
	p := &Prepared{ID: newID(), Item: *item, Digest: signer.Key.MessageDigest(item.Entry.Statement),
		ExpiresAt: in.now().UTC().Truncate(time.Millisecond).Add(PreparedFor)}
	if p.Item.Idempotency == "" {
		p.Item.Idempotency = ofPrepared + p.ID // completing it twice gives the same record
	}
	// A crash after this leaves a statement that nobody knows of. It expires, and its document
	// is swept.
	if err := in.store.AddPrepared(ctx, *p); err != nil {
		return nil, storeDown(err)
	}
	return p, nil
}

// Complete takes the signature of a prepared statement and makes its record durable. It may
// be repeated with the same signature, or another valid one: the first one counts. revoke
// says whether the caller may complete a revocation.
func (in *Intake) Complete(ctx context.Context, agencyID, id string, signature []byte, revoke bool) (Taken, error) {
	p, err := in.store.FindPrepared(ctx, agencyID, id)
	if errors.Is(err, notary.ErrNotFound) {
		return Taken{}, errNoPrepared
	} else if err != nil {
		return Taken{}, storeDown(err)
	}
	prior, err := in.findPrior(ctx, agencyID, p.Item.Idempotency)
	if err != nil {
		return Taken{}, err
	}
	if prior != nil && prior.RequestHash != p.Item.RequestHash {
		return Taken{}, IdempotencyConflict()
	} else if prior != nil {
		return replayed(&prior.Record), nil
	}
	in.forget(agencyID) // the key may be another one since the statement was prepared
	signer, err := in.signer(agencyID, Outside)
	if err != nil {
		return Taken{}, err
	}
	switch {
	case p.Item.Action == statement.Revoke && !revoke:
		return Taken{}, notary.Errorf(notary.CodeForbidden, "This key may not revoke records. Nothing was saved.")
	// or prepared by a clock that was ahead
	case in.now().After(p.ExpiresAt), p.ExpiresAt.Sub(in.now()) > PreparedFor+maxAhead:
		return Taken{}, errLate
	case signer.Certificate != p.Item.Entry.Certificate:
		return Taken{}, errChanged
	case !signer.Key.Verify(p.Item.Entry.Statement, signature):
		return Taken{}, errSignature
	}
	at := *signer // the committer asks a signer for the signature
	at.Sign = func([]byte) ([]byte, error) { return signature, nil }
	item := p.Item
	if item.Action == statement.Issue {
		item.Record.ReceivedAt = in.now().UTC().Truncate(time.Millisecond)
	}
	return in.conclude(ctx, &at, &item, Here)
}

// SweepPrepared removes statements that nobody signed in time, and those that were signed
// and are not asked for any more. Documents without a record are swept by package staging.
func (in *Intake) SweepPrepared(ctx context.Context) (int, error) {
	return in.store.DropPrepared(ctx, in.now().Add(-preparedKept))
}
