package intake

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/proof/canonical"
	"stele/notary/proof/statement"
	"stele/notary/register/mediatype"
	"stele/notary/register/staging"
)

// Source is where the document of a record comes from, see [File], [Kept], [Digest] and [Upload].
type Source struct {
	body   io.Reader
	upload string // id
	kept   string // key under which it lies ready
	digest *sm.Digest
	size   int64 // bytes; -1: not known
}

// File is a document whose bytes come from r; size is -1 when it is not known.
func File(r io.Reader, size int64) Source { return Source{body: r, size: size} }

// Kept is a document that lies in the object store already, see package staging. It is read once and, if it
// lies under the key of the record that it is to become, not written: that it is what its owner took in, the
// draft's Expected says. Nothing here removes it.
func Kept(key string, size int64) Source { return Source{kept: key, size: size} }

// Digest is a document that stays where it is: only its digest, size and media type are given.
func Digest(digest sm.Digest, size uint64) Source {
	return Source{digest: &digest, size: int64(min(size, canonical.MaxInt+1))}
}

// Upload is a document that was sent before: its parts are read once, in order, through SM3 into
// the document of the record, which its only part is as it lies, see package staging. The upload ends with
// the transaction that makes the record.
// size is what the caller expects, -1 for any.
//
// Repeated with its idempotency key it gives the same record although the upload is gone by
// then: the key stands for the upload's id, not for its bytes. Without a key the upload is
// one itself. The work goes on when the caller leaves: a large document takes longer than
// many a proxy waits.
func Upload(id string, size int64) Source { return Source{upload: id, size: size} }

// Signing says who signs a statement.
type Signing int

const (
	Here    Signing = iota // the service, with the agency's key that is kept here
	Outside                // the agency: its statement is prepared and waits for [Intake.Complete]
)

// Taken is what has become of a document or a revocation.
type Taken struct {
	Record   notary.Record // zero where Prepared is there
	Replay   bool          // the idempotency key was used for this very request before: Record is that one's
	Prepared *Prepared     // the statement that the agency is to sign
}

// Take notarizes a document.
func (in *Intake) Take(ctx context.Context, d Draft, s Source, how Signing) (Taken, error) {
	if s.upload != "" {
		ctx = context.WithoutCancel(ctx)
	}
	signer, err := in.signer(d.AgencyID, how)
	if err != nil {
		return in.takenBefore(ctx, d, err)
	}
	if err := in.check(ctx, &d); err != nil {
		return Taken{}, err
	}
	t := &taking{in: in, signer: signer, d: d}
	defer t.close()
	switch {
	case s.digest != nil:
		err = t.fromDigest(ctx, *s.digest, s.size, in.prior)
	case s.kept != "":
		err = t.fromKept(ctx, s.kept, s.size)
	case s.upload != "":
		err = t.fromUpload(ctx, s.upload, s.size)
	default:
		err = t.fromFile(ctx, s.body, s.size)
	}
	if err != nil || t.known != nil {
		t.drop(ctx, err)
		return replayed(t.known), err
	}
	out, err := in.conclude(ctx, signer, t.item, how)
	if err != nil || out.Replay {
		t.drop(ctx, err)
	}
	return out, err
}

// takenBefore is the answer where an agency cannot sign: of the audit trail, what was notarized before
// the agency lost its right to sign is there all the same.
func (in *Intake) takenBefore(ctx context.Context, d Draft, why error) (Taken, error) {
	if d.Owner != Trail {
		return Taken{}, why
	}
	prior, err := in.prior(ctx, d)
	if err != nil || prior == nil {
		return Taken{}, cmp.Or(err, why)
	}
	return replayed(&prior.Record), nil
}

func replayed(rec *notary.Record) Taken {
	if rec == nil {
		return Taken{}
	}
	return Taken{Record: *rec, Replay: true}
}

// conclude makes an item durable, and has what it leaves removed; or has it wait for its signature.
func (in *Intake) conclude(ctx context.Context, signer *Signer, item *Item, how Signing) (Taken, error) {
	if how == Outside {
		p, err := in.addPrepared(ctx, signer, item)
		return Taken{Prepared: p}, err
	}
	out, err := in.group.submit(ctx, signer, item).result()
	if err == nil && len(item.Leaves) > 0 {
		in.uploads.Remove(item.Record.AgencyID, item.Leaves...)
	}
	return out, err
}

// taking is a document that is being taken in: it ends with an item to sign, or with the record that
// its idempotency key has already.
type taking struct {
	in     *Intake
	signer *Signer
	d      Draft
	item   *Item
	known  *notary.Record
	stored string        // key of the object that was stored; empty: none
	kept   notary.Object // where the document lies already; zero: nowhere
	body   io.Closer     // what is held until there is a record; nil: nothing
}

func (t *taking) close() {
	if t.body != nil {
		t.body.Close()
	}
}

// replay compares the request with the one before that had its key.
func (t *taking) replay(p *Prior, hash sm.Digest) error {
	if p.RequestHash != hash {
		return IdempotencyConflict()
	}
	t.known = &p.Record
	return nil
}

func (t *taking) fromDigest(ctx context.Context, digest sm.Digest, size int64, used priorUse) error {
	if size > canonical.MaxInt {
		return notary.InvalidField("size", "A size is at most %d bytes.", int64(canonical.MaxInt))
	}
	if t.d.Expected != nil && *t.d.Expected != digest {
		return notary.InvalidField("sm3", "Two different digests were given.")
	}
	prior, err := used(ctx, t.d)
	if err != nil {
		return err
	}
	if prior != nil {
		return t.replay(prior, requestHash(t.d, digest, size))
	}
	t.item, err = t.in.prepare(ctx, t.signer, t.d, notary.Record{ID: newID(), AgencyID: t.d.AgencyID, SM3: digest,
		Size: uint64(size), MediaType: mediaType(t.d.MediaType, nil)})
	return err
}

func (t *taking) fromFile(ctx context.Context, r io.Reader, size int64) error {
	if size > t.in.limits.MaxDocument {
		return t.in.tooLarge()
	}
	prior, err := t.in.prior(ctx, t.d)
	if err != nil {
		return err
	}
	doc := staging.NewMeter(ctx, r, size, t.in.limits.MaxDocument)
	if prior == nil {
		return t.keep(ctx, doc)
	}
	// The key was used before: read the document only to compare, and store nothing.
	if _, err := io.Copy(io.Discard, doc); err != nil {
		return t.in.readError(ctx, doc, err)
	}
	return t.replay(prior, requestHash(t.d, doc.Digest(), doc.Size))
}

func (t *taking) fromKept(ctx context.Context, key string, size int64) error {
	prior, err := t.in.prior(ctx, t.d)
	if err != nil {
		return err
	}
	if prior != nil && t.d.Expected != nil {
		return t.replay(prior, requestHash(t.d, *t.d.Expected, size))
	}
	body, object, err := t.in.objects.Open(ctx, key, "")
	if err != nil {
		return notary.Wrap(notary.CodeUnavailable, err,
			"The document store cannot be reached, or has lost the document. Nothing was saved; try again.")
	}
	t.body, t.kept = body, object
	return t.keep(ctx, staging.NewMeter(ctx, body, size, t.in.limits.MaxDocument))
}

// keep stores a document under the id of a new record. Of a class whose originals stay elsewhere
// only the digest is taken.
func (t *taking) keep(ctx context.Context, doc *staging.Meter) error {
	rec := notary.Record{ID: newID(), AgencyID: t.signer.AgencyID}
	doc.Look = func(head []byte) error { return mediatype.Check(t.d.MediaType, head) }
	rule, err := t.in.rule(ctx, t.d)
	if err != nil {
		return err
	}
	id, inPlace := notary.DocumentID(t.kept.Key)
	if rec.Stored = rule == nil || rule.Keep; rec.Stored && !inPlace {
		key := notary.DocumentKey(rec.ID)
		// A crash from here to the end of the transaction leaves an object without a row: swept.
		obj, err := t.in.objects.Create(ctx, key, doc, doc.Want)
		if err != nil {
			return t.in.readError(ctx, doc, err)
		}
		rec.Version, t.stored = obj.Version, key
	} else if _, err := io.Copy(io.Discard, doc); err != nil {
		return t.in.readError(ctx, doc, err)
	} else if rec.Stored {
		// A crash from here to the end of the transaction leaves the document with its owner.
		rec.ID, rec.Version = id, t.kept.Version
	}
	rec.SM3, rec.Size, rec.MediaType = doc.Digest(), uint64(doc.Size), mediaType(t.d.MediaType, doc.Head)
	if t.d.Expected != nil && *t.d.Expected != rec.SM3 {
		return &notary.Error{Code: notary.CodeDigestMismatch, Field: "sm3",
			Message: fmt.Sprintf("The document's SM3 digest is %s, not the %s that was announced. Nothing was saved.",
				rec.SM3, t.d.Expected)}
	}
	t.item, err = t.in.prepare(ctx, t.signer, t.d, rec)
	return err
}

// drop removes an object whose record did not come to be. When the outcome is unknown the
// record may exist, so the object stays and the sweep decides later.
func (t *taking) drop(ctx context.Context, why error) {
	if t.stored == "" || outcomeUnknown(why) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := t.in.objects.Delete(ctx, t.stored); err != nil {
		t.in.log.WarnContext(ctx, "object without record stays until the sweep", "key", t.stored, "error", err)
	}
}

// BatchItem is one document of a batch call.
type BatchItem struct {
	Draft  Draft
	Digest sm.Digest
	Size   uint64
}

// BatchResult is what became of one.
type BatchResult struct {
	Taken
	Err error
}

// Batch notarizes many digests. Each item succeeds or fails alone. The results come in the
// order of the items, each as soon as it and those before it are durable. Items are taken on
// all together, before the first result: whoever stops listening undoes nothing. An error is
// that nothing was taken on: a busy service lets a batch wait for a while, and then refuses it.
func (in *Intake) Batch(ctx context.Context, items []BatchItem) (iter.Seq2[int, BatchResult], error) {
	if err := in.group.reserve(ctx, len(items)); err != nil {
		return nil, err
	}
	used := in.priorUses(ctx, items)
	results := make([]BatchResult, len(items))
	waits, enqueued := make([]*waiter, len(items)), 0
	for i, it := range items {
		t := &taking{in: in, d: it.Draft}
		if results[i].Err = t.ofBatch(ctx, it, used); t.item == nil {
			results[i].Taken = replayed(t.known)
			continue
		}
		waits[i] = in.group.enqueue(t.signer, t.item, true)
		enqueued++
	}
	in.group.release(len(items) - enqueued)
	return func(yield func(int, BatchResult) bool) {
		for i, w := range waits {
			if w != nil {
				results[i].Taken, results[i].Err = w.wait(ctx).result()
			}
			if !yield(i, results[i]) {
				return
			}
		}
	}, nil
}

func (t *taking) ofBatch(ctx context.Context, it BatchItem, used priorUse) (err error) {
	if err = t.in.check(ctx, &t.d); err != nil {
		return err
	}
	if t.signer, err = t.in.signer(t.d.AgencyID, Here); err != nil {
		return err
	}
	s := Digest(it.Digest, it.Size)
	return t.fromDigest(ctx, *s.digest, s.size, used)
}

// Ref names a record of an agency, by its id or its certificate number.
type Ref struct{ AgencyID, Record string }

// Reason is why a record is revoked.
type Reason struct {
	Text        string // public
	Idempotency string
	Owner       Owner // whose idempotency key it is
	Approved    bool  // a second person has agreed, where its class demands one
}

// Revoke revokes a record.
func (in *Intake) Revoke(ctx context.Context, ref Ref, why Reason, how Signing) (Taken, error) {
	signer, err := in.signer(ref.AgencyID, how)
	if err != nil {
		return Taken{}, err
	}
	t := &taking{in: in, signer: signer}
	if err := t.revocation(ctx, ref, why); err != nil || t.known != nil {
		return replayed(t.known), err
	}
	return in.conclude(ctx, signer, t.item, how)
}

// revocation builds the item that revokes a record.
func (t *taking) revocation(ctx context.Context, ref Ref, why Reason) error {
	in := t.in
	if !notary.ValidLine(why.Text, statement.MaxReason) {
		return notary.InvalidField("reason", "A reason of 1 to %d bytes is needed, with %s; it will be public.",
			statement.MaxReason, notary.TextRule)
	}
	if err := CheckIdempotency(why.Idempotency); err != nil {
		return err
	}
	rec, err := in.store.FindRecord(ctx, ref.AgencyID, ref.Record)
	if err != nil {
		return notFound(err)
	}
	key, hash := why.Owner.key(why.Idempotency), RevocationHash(rec.ID, why.Text)
	if key != "" {
		if prior, err := in.findPrior(ctx, ref.AgencyID, key); err != nil {
			return err
		} else if prior != nil {
			return t.replay(prior, hash)
		}
	}
	if rule, err := in.rule(ctx, Draft{AgencyID: rec.AgencyID, Class: rec.Class}); err != nil {
		return err
	} else if rule.ByTwo() && !why.Approved {
		return notary.Errorf(notary.CodeConflict,
			"Records of the class %q are revoked by two people, at the console. Nothing was saved.", rec.Class)
	}
	at := in.now().UTC().Truncate(time.Millisecond)
	s := statement.Statement{Action: statement.Revoke, Number: rec.Number, Agency: t.signer.Agency, Reason: why.Text,
		IssuedAt: at}
	encoded, err := s.Encode()
	if err != nil {
		return err
	}
	rec.Standing, rec.StandingAt, rec.Reason = notary.Revoked, at, why.Text
	t.item = &Item{Record: rec, Action: statement.Revoke, Idempotency: key, RequestHash: hash,
		Entry: statement.Entry{Statement: encoded, Certificate: t.signer.Certificate}}
	return nil
}

// RevocationHash is what an idempotency key stands for under which a record is revoked.
func RevocationHash(recordID, reason string) sm.Digest {
	return sm.Sum([]byte("revoke\x00"), []byte(recordID), []byte{0}, []byte(reason))
}
