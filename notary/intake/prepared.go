package intake

import (
	"context"
	"errors"
	"io"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/statement"
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

// PreparedStore keeps what waits for a signature. FindPrepared returns [notary.ErrNotFound]
// for what is not there or is another agency's, not for what has expired. Methods are safe for
// concurrent use; what AddPrepared has returned from is durable.
type PreparedStore interface {
	AddPrepared(ctx context.Context, p Prepared) error
	FindPrepared(ctx context.Context, agencyID, id string) (Prepared, error)
	DropPrepared(ctx context.Context, expiredBefore time.Time) (int, error)
}

// PreparedFor is how long a signature may take. The statement's time is that of its
// preparation, so this also bounds how far behind the log a statement can be dated.
const PreparedFor = 15 * time.Minute

// preparedKept is how long a signed statement can still be asked for again after its time,
// by a caller that lost the answer.
const preparedKept = 24 * time.Hour

var (
	errKeyHere    = notary.Errorf(notary.CodeConflict, "This agency's key is kept here: notarize directly. Nothing was saved.")
	errKeyAtHome  = notary.Errorf(notary.CodeConflict, "This agency keeps its key itself: prepare the statement, sign it, and send the signature. Nothing was saved.")
	errNoPrepared = notary.Errorf(notary.CodeNotFound, "There is no such prepared statement of this agency; it may have expired. Prepare it again.")
	errChanged    = notary.Errorf(notary.CodeConflict, "The agency's certificate changed since the statement was prepared. Nothing was notarized; prepare it again.")
	errLate       = notary.Errorf(notary.CodeConflict, "The signature came too late: a prepared statement waits for %d minutes. Nothing was notarized; prepare it again.", int(PreparedFor.Minutes()))
	errSignature  = notary.InvalidField("signature", "The signature does not verify over the statement's exact bytes under the agency's certificate "+
		"(SM2 with user id 1234567812345678, DER with minimal integers). Nothing was notarized; the statement still waits for the right one.")
)

// PrepareFile stores a document and prepares its statement, see [Intake.File]. A record is
// returned where the idempotency key was used for this very request before.
func (in *Intake) PrepareFile(ctx context.Context, d Draft, r io.Reader, size int64) (*Prepared, *notary.Record, error) {
	signer, err := in.homeSigner(d.AgencyID)
	if err != nil {
		return nil, nil, err
	}
	var p *Prepared
	rec, replay, err := in.file(ctx, signer, d, r, size, func(d Draft, rec notary.Record) (notary.Record, bool, error) {
		item, err := in.documentItem(ctx, signer, d, rec)
		if err == nil {
			p, err = in.addPrepared(ctx, signer, item)
		}
		return rec, false, err
	})
	if replay {
		return nil, &rec, err
	}
	return p, nil, err
}

// PrepareDigest prepares the statement of a document that stays where it is, see [Intake.Digest].
func (in *Intake) PrepareDigest(ctx context.Context, d Draft, digest sm.Digest, size uint64) (*Prepared, *notary.Record, error) {
	if _, err := in.homeSigner(d.AgencyID); err != nil {
		return nil, nil, err
	}
	signer, item, prior, err := in.prepareDigest(ctx, d, digest, size, in.prior)
	if err != nil {
		return nil, nil, err
	}
	if prior != nil {
		rec, _, err := in.replay(*prior, requestHash(d, digest, int64(size)))
		return nil, &rec, err
	}
	p, err := in.addPrepared(ctx, signer, item)
	return p, nil, err
}

// PrepareRevocation prepares the statement that withdraws a record, see [Intake.Revoke].
func (in *Intake) PrepareRevocation(ctx context.Context, agencyID, idOrNumber, reason, idempotency string) (*Prepared, *notary.Record, error) {
	signer, err := in.homeSigner(agencyID)
	if err != nil {
		return nil, nil, err
	}
	item, prior, err := in.revocation(ctx, signer, idOrNumber, reason, idempotency, false)
	if err != nil {
		return nil, nil, err
	}
	if prior != nil {
		rec, _, err := in.replay(*prior, item.RequestHash)
		return nil, &rec, err
	}
	p, err := in.addPrepared(ctx, signer, item)
	return p, nil, err
}

func (in *Intake) homeSigner(agencyID string) (*Signer, error) {
	signer, err := in.anySigner(agencyID)
	if err == nil && signer.Sign != nil {
		err = errKeyHere
	}
	return signer, err
}

func (in *Intake) addPrepared(ctx context.Context, signer *Signer, item *Item) (*Prepared, error) {
	if err := in.clock(); err != nil {
		return nil, wrongClock(err)
	}
	p := &Prepared{ID: newID(), Item: *item, Digest: signer.Key.MessageDigest(item.Entry.Statement), ExpiresAt: in.now().UTC().Truncate(time.Millisecond).Add(PreparedFor)}
	if p.Item.Idempotency == "" {
		// Completing it twice gives the same record. No caller's key can be this one: they are
		// printable.
		p.Item.Idempotency = "\x01" + p.ID
	}
	// A crash after this leaves a statement that nobody knows of. It expires, and its document
	// is swept.
	if err := in.prepared.AddPrepared(ctx, *p); err != nil {
		return nil, storeDown(err)
	}
	return p, nil
}

// Complete takes the signature of a prepared statement and makes its record durable. It may
// be repeated with the same signature, or another valid one: the first one counts. revoke
// says whether the caller may complete a withdrawal.
func (in *Intake) Complete(ctx context.Context, agencyID, id string, signature []byte, revoke bool) (notary.Record, bool, error) {
	p, err := in.prepared.FindPrepared(ctx, agencyID, id)
	if errors.Is(err, notary.ErrNotFound) {
		return notary.Record{}, false, errNoPrepared
	} else if err != nil {
		return notary.Record{}, false, storeDown(err)
	}
	prior, err := in.findPrior(ctx, agencyID, p.Item.Idempotency)
	if err != nil {
		return notary.Record{}, false, err
	}
	if prior != nil {
		return in.replay(*prior, p.Item.RequestHash)
	}
	in.forget(agencyID) // the key may be another one since the statement was prepared
	signer, err := in.homeSigner(agencyID)
	if err != nil {
		return notary.Record{}, false, err
	}
	switch {
	case p.Item.Action == statement.Revoke && !revoke:
		return notary.Record{}, false, notary.Errorf(notary.CodeForbidden, "This key may not withdraw records. Nothing was saved.")
	case in.now().After(p.ExpiresAt), p.ExpiresAt.Sub(in.now()) > PreparedFor+maxAhead: // or prepared by a clock that was ahead
		return notary.Record{}, false, errLate
	case signer.Certificate != p.Item.Entry.Certificate:
		return notary.Record{}, false, errChanged
	case !signer.Key.Verify(p.Item.Entry.Statement, signature):
		return notary.Record{}, false, errSignature
	}
	at := *signer // the committer asks a signer for the signature
	at.Sign = func([]byte) ([]byte, error) { return signature, nil }
	item := p.Item
	if item.Action == statement.Issue {
		item.Record.ReceivedAt = in.now().UTC().Truncate(time.Millisecond)
	}
	return in.submit(ctx, &at, &item)
}

// SweepPrepared removes statements that nobody signed in time, and those that were signed
// and are not asked for any more. Documents without a record are removed by [Intake.Sweep].
func (in *Intake) SweepPrepared(ctx context.Context) (int, error) {
	return in.prepared.DropPrepared(ctx, in.now().Add(-preparedKept))
}
