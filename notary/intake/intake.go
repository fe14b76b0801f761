// Package intake takes documents in: it streams them once to the object store and through
// SM3, builds and signs the statement, and makes the record durable in a transaction that
// it shares with concurrent submissions. Only then does the caller get its record.
//
// The order of side effects, and what a crash after each leaves behind:
//
//  1. object stored         an object without a row; [Intake.Sweep] removes it after a day
//  2. key use noted         an audit row for signatures that may not exist; harmless
//  3. signatures made       nothing: they were in memory only
//  4. transaction commits   everything: the record exists and will be logged and anchored
//  5. tail kept             as 4; where it was not kept, its background work does that later
//
// A failed transaction whose outcome is unknown is answered as unavailable: the caller asks
// again with its idempotency key and gets the record if it is there.
package intake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/canonical"
	"stele/notary/class"
	"stele/notary/mediatype"
	"stele/notary/outage"
	"stele/notary/statement"
)

// Store is the durable side of intake. All methods are safe for concurrent use; what they
// have returned from is durable; they do not retry.
//
// Receive runs one transaction under the log's lock: it gives each item that is accepted the
// next index of the log, writes its record, its entry and the outbox row, and removes the
// upload that the document was: of two records of one upload, one comes to be. Items that
// conflict with what is stored are answered one by one in their outcome and leave nothing; so are
// those of an agency in whose name nothing is signed now, and those that name a certificate which has
// ended, with [notary.ErrCertificateEnded].
// An error means that nothing of the batch was written, or, when it is
// [notary.ErrUnknownOutcome], that this is not known.
//
// NoteKeyUse writes the audit row that must precede signatures. ReserveNumbers hands out n
// serials that nobody else gets, the first of which it returns. FindIdempotent returns what an
// agency's idempotency keys were used for, in a bounded number of queries however many keys it is
// given; keys that were not used are not in it. FindRecord returns notary.ErrNotFound when there is
// nothing.
type Store interface {
	Receive(ctx context.Context, batch []*Item) ([]Outcome, error)
	NoteKeyUse(ctx context.Context, use KeyUse) error
	ReserveNumbers(ctx context.Context, region string, year, n int) (first uint64, err error)
	FindIdempotent(ctx context.Context, agencyID string, keys ...string) (map[string]Prior, error)
	FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error)
}

// Objects keeps originals. Create streams: the object is durable when it returns, and a
// failing reader leaves nothing under the key. List and Delete serve the sweep.
type Objects interface {
	Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error)
	List(ctx context.Context, prefix string, fn func(notary.Object) error) error
	Delete(ctx context.Context, key string) error
}

// Signer is an agency's key with its certificate chain.
type Signer struct {
	AgencyID    string
	Agency      statement.Agency
	Region      string
	Certificate sm.Digest // SM3 of the DER certificate
	Key         *sm.PublicKey
	Sign        func(message []byte) ([]byte, error) // nil where the agency keeps its key at home
}

// Classes says what an agency's class demands of its records; nil for nothing. It is asked
// for each record, and safe for concurrent use.
type Classes interface {
	Rule(ctx context.Context, agencyID, id string) (*class.Rule, error)
}

// Signers finds the key of an agency; a [notary.Error] says why nothing may be signed in its name.
// What it returns may be a moment old: the store has the last word, see [Store]. It is safe for
// concurrent use.
type Signers func(agencyID string) (*Signer, error)

// Item is a statement on its way into the log.
type Item struct {
	Record      notary.Record // of an issue: the new record; of a revocation: the one revoked
	Action      statement.Action
	Entry       statement.Entry
	Idempotency string    // key, empty for none
	RequestHash sm.Digest // what the key stands for
	KeyUse      string    // the audit row written before the signature
	Upload      string    // id of the upload that the document was, which ends with the record; empty for none
}

// Outcome is what became of an item.
type Outcome struct {
	Index  uint64        // log index of the entry, when Err is nil and the item is new
	Replay bool          // the idempotency key was used for this very request: Record is that one's
	Record notary.Record // on replay
	Err    error         // a *notary.Error
}

// Prior is an earlier use of an idempotency key.
type Prior struct {
	RequestHash sm.Digest
	Record      notary.Record
}

// KeyUse is the audit row for a group of signatures.
type KeyUse struct {
	ID          string // unique, ordered by time
	AgencyID    string
	Certificate sm.Digest
	Purpose     string
	Count       int
	Statements  sm.Digest // SM3 over the SM3 digests of the statements, in order
	At          time.Time
}

// Group are new entries of one transaction, in the order of their indexes, which have no gaps, with
// the audit rows of their signatures.
type Group struct {
	First uint64 // index of the first
	Items []*Item
	Uses  []KeyUse
}

// Tail keeps what was received outside of the database too. Put is called after the transaction and
// before anybody is answered, for one group at a time. That the tail cannot be kept is no error, and
// takes a bounded time: the database has the records. An error is that something else was
// kept at an index: then this database is not the one that it was.
type Tail interface {
	Put(ctx context.Context, g Group) error
}

// Limits that a deployment sets.
type Limits struct {
	MaxDocument int64         // bytes of one document
	MaxBatch    int           // items of one batch call
	MaxQueue    int           // statements waiting to be written; more are refused as busy
	BatchWait   time.Duration // how long a batch waits for room among them before it is refused
	GroupSize   int           // statements in one transaction
	MaxAttrs    int           // bytes of a record's attributes, names and values
	SweepAfter  time.Duration // age at which an object without a row is garbage
}

// DefaultLimits are the limits of a deployment that sets none. Groups
// form from what is waiting: a large one means a flood, in which it saves writing the same
// index pages again and again.
func DefaultLimits() Limits {
	return Limits{MaxDocument: 16 << 30, MaxBatch: 10_000, MaxQueue: 20_000, BatchWait: 5 * time.Second, GroupSize: 2048, MaxAttrs: 64 << 10, SweepAfter: 24 * time.Hour}
}

// Intake takes documents in. It is safe for concurrent use.
type Intake struct {
	store    Store
	prepared PreparedStore
	uploads  Uploads
	classes  Classes
	tail     Tail
	objects  Objects
	signers  Signers
	forget   func(agencyID string)
	limits   Limits
	now      func() time.Time
	clock    func() error
	log      *slog.Logger
	numbers  numberBlocks
	group    *committer
	onNew    func()

	receiving *outage.Loop
}

// Options are what [New] needs besides its stores.
type Options struct {
	Signers  Signers
	Forget   func(agencyID string) // has Signers look anew at an agency's signer; nil: it always does
	Prepared PreparedStore
	Uploads  Uploads
	Classes  Classes // nil: no class demands anything
	Tail     Tail    // nil: none is kept
	Limits   Limits
	Now      func() time.Time
	Clock    func() error // whether Now may be signed with, asked before each signature; nil: always
	Log      *slog.Logger
	Outages  *outage.Tracker // explains failures; nil: nothing does
	OnNew    func()          // called after a transaction brought new entries; must not block
}

// New returns an intake whose writer runs until ctx ends; [Intake.Wait] then waits for it.
func New(ctx context.Context, store Store, objects Objects, o Options) *Intake {
	in := &Intake{store: store, prepared: o.Prepared, uploads: o.Uploads, classes: o.Classes, tail: o.Tail, objects: objects,
		signers: o.Signers, limits: o.Limits, now: o.Now, clock: o.Clock, log: o.Log, onNew: o.OnNew}
	if in.clock == nil {
		in.clock = func() error { return nil }
	}
	if in.onNew == nil {
		in.onNew = func() {}
	}
	if in.forget = o.Forget; in.forget == nil {
		in.forget = func(string) {}
	}
	in.receiving = outage.NewLoop(o.Outages, o.Log, outage.Database)
	in.numbers.reserve = store.ReserveNumbers
	in.group = newCommitter(ctx, in)
	return in
}

// Wait returns when the writer has answered everything it had taken on.
func (in *Intake) Wait() { <-in.group.done }

// Draft is what a caller wants notarized, before the document is read.
type Draft struct {
	AgencyID    string
	Title       string
	FileName    string
	Class       string
	Fields      map[string]string
	Supersedes  string     // number of a record of the same agency
	Reason      string     // why it is replaced; public, may be empty
	Expected    *sm.Digest // refuse a document with another digest
	MediaType   string     // empty: found out from the first bytes; see [mediatype.Check]
	Reference   string     // the agency's own name for the record
	Idempotency string
	Own         bool // the key is one of the service's own, beside those of callers
	Origin      Origin
	Reserved    Reserved // the number that it gets, where that was needed before; zero: the next one
	Approved    bool     // a second person has agreed, where its class or that of the record it replaces demands one
}

// Reserved is a certificate number, and its code, that stand in the document itself.
type Reserved struct{ Number, Code string }

// Origin is how a document came here; it becomes part of the attributes that are signed.
type Origin struct {
	System   string // which system or person handed it in
	Method   string // upload, api, digest, batch…
	Clerk    string // the person who handed it in at the console
	Approver string // the person who agreed
	Unmarked string // hex SM3 digest of the document before it was stamped
}

// File notarizes a document whose bytes come from r; size is -1 when it is not known.
func (in *Intake) File(ctx context.Context, d Draft, r io.Reader, size int64) (notary.Record, bool, error) {
	signer, err := in.signer(d.AgencyID)
	if err != nil {
		return notary.Record{}, false, err
	}
	return in.file(ctx, signer, d, r, size, in.finish(ctx, signer))
}

// finish makes the record of a document that is stored.
func (in *Intake) finish(ctx context.Context, signer *Signer) func(Draft, notary.Record) (notary.Record, bool, error) {
	return func(d Draft, rec notary.Record) (notary.Record, bool, error) {
		item, err := in.documentItem(ctx, signer, d, rec)
		if err != nil {
			return notary.Record{}, false, err
		}
		return in.group.submit(ctx, signer, item).result(item)
	}
}

// Trail notarizes a stretch of the audit trail under a key that names it: repeated, it is the
// same record. No caller's key can be that one, since they are printable, and no caller's
// record has its class.
func (in *Intake) Trail(ctx context.Context, agencyID, title, key string, document []byte) (notary.Record, error) {
	signer, err := in.signer(agencyID)
	if err != nil {
		// What was notarized before the agency lost its right to sign is there all the same.
		if prior, perr := in.findPrior(ctx, agencyID, "\x03"+key); perr != nil {
			return notary.Record{}, perr
		} else if prior != nil {
			return prior.Record, nil
		}
		return notary.Record{}, err
	}
	d := Draft{AgencyID: agencyID, Title: title, MediaType: "application/jsonl", Origin: Origin{System: "stele", Method: "audit"}}
	if err := in.checkForm(&d); err != nil { // the rules of the agency's classes are not for it
		return notary.Record{}, err
	}
	d.Class, d.Idempotency = notary.TrailClass, "\x03"+key
	rec, _, err := in.checked(ctx, signer, d, bytes.NewReader(document), int64(len(document)), in.finish(ctx, signer))
	return rec, err
}

// file stores a document and has finish make its record; without one the object goes again.
func (in *Intake) file(ctx context.Context, signer *Signer, d Draft, r io.Reader, size int64, finish func(Draft, notary.Record) (notary.Record, bool, error)) (notary.Record, bool, error) {
	if err := in.check(ctx, &d); err != nil {
		return notary.Record{}, false, err
	}
	return in.checked(ctx, signer, d, r, size, finish)
}

// checked is [Intake.file] of a draft that is in form.
func (in *Intake) checked(ctx context.Context, signer *Signer, d Draft, r io.Reader, size int64, finish func(Draft, notary.Record) (notary.Record, bool, error)) (notary.Record, bool, error) {
	if size > in.limits.MaxDocument {
		return notary.Record{}, false, in.tooLarge()
	}
	prior, err := in.prior(ctx, d)
	if err != nil {
		return notary.Record{}, false, err
	}
	doc := newMeter(ctx, r, size, in.limits.MaxDocument)
	if prior != nil {
		// The key was used before: read the document only to compare, and store nothing.
		if _, err := io.Copy(io.Discard, doc); err != nil {
			return notary.Record{}, false, in.readError(doc, err)
		}
		return in.replay(*prior, requestHash(d, doc.digest(), doc.size))
	}
	return in.keep(ctx, signer, d, doc, finish)
}

// keep stores a document under the id of a new record and has finish make the record. Of a
// class whose originals stay elsewhere only the digest is taken.
func (in *Intake) keep(ctx context.Context, signer *Signer, d Draft, doc *meter, finish func(Draft, notary.Record) (notary.Record, bool, error)) (notary.Record, bool, error) {
	rec := notary.Record{ID: newID(), AgencyID: signer.AgencyID, Stored: true}
	doc.look = func(head []byte) error { return mediatype.Check(d.MediaType, head) }
	rule, err := in.rule(ctx, d)
	if err != nil {
		return notary.Record{}, false, err
	}
	if rule != nil && !rule.Keep {
		if _, err := io.Copy(io.Discard, doc); err != nil {
			return notary.Record{}, false, in.readError(doc, err)
		}
		rec.Stored = false
		rec.SM3, rec.Size, rec.MediaType = doc.digest(), uint64(doc.size), mediaType(d.MediaType, doc.head)
		return finish(d, rec)
	}
	key := notary.DocumentKey(rec.ID)
	// A crash from here to the end of the transaction leaves an object without a row: swept.
	obj, err := in.objects.Create(ctx, key, doc, doc.want)
	if err != nil {
		return notary.Record{}, false, in.readError(doc, err)
	}
	rec.Version = obj.Version
	rec.SM3, rec.Size, rec.MediaType = doc.digest(), uint64(doc.size), mediaType(d.MediaType, doc.head)
	out, replay, err := finish(d, rec)
	if err != nil || replay {
		in.drop(ctx, key, err)
	}
	return out, replay, err
}

func (in *Intake) documentItem(ctx context.Context, signer *Signer, d Draft, rec notary.Record) (*Item, error) {
	if d.Expected != nil && *d.Expected != rec.SM3 {
		return nil, &notary.Error{Code: notary.CodeDigestMismatch, Field: "sm3",
			Message: fmt.Sprintf("The document's SM3 digest is %s, not the %s that was announced. Nothing was saved.", rec.SM3, d.Expected)}
	}
	return in.prepare(ctx, signer, d, rec)
}

// drop removes an object whose record did not come to be. When the outcome is unknown the
// record may exist, so the object stays and the sweep decides later.
func (in *Intake) drop(ctx context.Context, key string, why error) {
	if outcomeUnknown(why) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := in.objects.Delete(ctx, key); err != nil {
		in.log.WarnContext(ctx, "object without record stays until the sweep", "key", key, "error", err)
	}
}

// Digest notarizes a document that stays where it is: only its digest, size and media type
// are given.
func (in *Intake) Digest(ctx context.Context, d Draft, digest sm.Digest, size uint64) (notary.Record, bool, error) {
	if _, err := in.signer(d.AgencyID); err != nil {
		return notary.Record{}, false, err
	}
	signer, item, prior, err := in.prepareDigest(ctx, d, digest, size, in.prior)
	if err != nil {
		return notary.Record{}, false, err
	}
	if prior != nil {
		return in.replay(*prior, requestHash(d, digest, int64(size)))
	}
	return in.group.submit(ctx, signer, item).result(item)
}

func (in *Intake) prepareDigest(
	ctx context.Context, d Draft, digest sm.Digest, size uint64, used priorUse,
) (*Signer, *Item, *Prior, error) {
	if err := in.check(ctx, &d); err != nil {
		return nil, nil, nil, err
	}
	if size > canonical.MaxInt {
		return nil, nil, nil, notary.InvalidField("size", "A size is at most %d bytes.", int64(canonical.MaxInt))
	}
	if d.Expected != nil && *d.Expected != digest {
		return nil, nil, nil, notary.InvalidField("sm3", "Two different digests were given.")
	}
	signer, err := in.anySigner(d.AgencyID)
	if err != nil {
		return nil, nil, nil, err
	}
	prior, err := used(ctx, d)
	if err != nil || prior != nil {
		return signer, nil, prior, err
	}
	rec := notary.Record{ID: newID(), AgencyID: d.AgencyID, SM3: digest, Size: size, MediaType: mediaType(d.MediaType, nil)}
	item, err := in.prepare(ctx, signer, d, rec)
	return signer, item, nil, err
}

// BatchItem is one document of a batch call.
type BatchItem struct {
	Draft  Draft
	Digest sm.Digest
	Size   uint64
}

// BatchResult is what became of one.
type BatchResult struct {
	Record notary.Record
	Replay bool
	Err    error
}

// Batch notarizes many digests. Each item succeeds or fails alone. The results come in the
// order of the items, each as soon as it and those before it are durable. Items are taken on
// all together, before the first result: whoever stops listening undoes nothing. An error is
// that nothing was taken on: a busy service lets a batch wait for a while, and then refuses it.
func (in *Intake) Batch(ctx context.Context, items []BatchItem) (iter.Seq2[int, BatchResult], error) {
	if err := in.group.admit(ctx, len(items)); err != nil {
		return nil, err
	}
	used := in.priorUses(ctx, items)
	results := make([]BatchResult, len(items))
	waits, enqueued := make([]*waiter, len(items)), 0
	for i, it := range items {
		signer, item, prior, err := in.prepareDigest(ctx, it.Draft, it.Digest, it.Size, used)
		switch {
		case err == nil && signer.Sign == nil:
			results[i].Err = errKeyAtHome
		case err != nil:
			results[i].Err = err
		case prior != nil:
			results[i].Record, results[i].Replay, results[i].Err = in.replay(*prior, requestHash(it.Draft, it.Digest, int64(it.Size)))
		default:
			waits[i] = in.group.enqueue(signer, item, true)
			enqueued++
		}
	}
	in.group.giveBack(len(items) - enqueued)
	return func(yield func(int, BatchResult) bool) {
		for i, w := range waits {
			if w != nil {
				results[i].Record, results[i].Replay, results[i].Err = w.wait(ctx).result(w.item)
			}
			if !yield(i, results[i]) {
				return
			}
		}
	}, nil
}

// Revoke withdraws a record of an agency. The reason is public.
func (in *Intake) Revoke(ctx context.Context, agencyID, idOrNumber, reason, idempotency string) (notary.Record, bool, error) {
	return in.revoke(ctx, agencyID, idOrNumber, reason, idempotency, false)
}

// RevokeApproved is [Intake.Revoke] where a second person has agreed, under a key of the
// service's own.
func (in *Intake) RevokeApproved(ctx context.Context, agencyID, idOrNumber, reason, idempotency string) (notary.Record, bool, error) {
	return in.revoke(ctx, agencyID, idOrNumber, reason, idempotency, true)
}

func (in *Intake) revoke(ctx context.Context, agencyID, idOrNumber, reason, idempotency string, approved bool) (notary.Record, bool, error) {
	signer, err := in.signer(agencyID)
	if err != nil {
		return notary.Record{}, false, err
	}
	item, prior, err := in.revocation(ctx, signer, idOrNumber, reason, idempotency, approved)
	if err != nil {
		return notary.Record{}, false, err
	}
	if prior != nil {
		return in.replay(*prior, item.RequestHash)
	}
	return in.group.submit(ctx, signer, item).result(item)
}

// revocation builds the item that withdraws a record. A prior is an earlier use of the
// idempotency key; the item then has nothing but what the key stands for.
func (in *Intake) revocation(ctx context.Context, signer *Signer, idOrNumber, reason, idempotency string, approved bool) (*Item, *Prior, error) {
	if !notary.ValidLine(reason, statement.MaxReason) {
		return nil, nil, notary.InvalidField("reason", "A reason of 1 to %d bytes is needed, with %s; it will be public.",
			statement.MaxReason, notary.TextRule)
	}
	if err := CheckIdempotency(idempotency); err != nil {
		return nil, nil, err
	}
	rec, err := in.store.FindRecord(ctx, signer.AgencyID, idOrNumber)
	if err != nil {
		return nil, nil, notFound(err)
	}
	if approved {
		idempotency = ownKey(idempotency)
	}
	item := &Item{Action: statement.Revoke, Idempotency: idempotency, RequestHash: RevocationHash(rec.ID, reason)}
	if idempotency != "" {
		if prior, err := in.findPrior(ctx, signer.AgencyID, idempotency); err != nil || prior != nil {
			return item, prior, err
		}
	}
	if rule, err := in.rule(ctx, Draft{AgencyID: rec.AgencyID, Class: rec.Class}); err != nil {
		return nil, nil, err
	} else if rule.ByTwo() && !approved {
		return nil, nil, notary.Errorf(notary.CodeConflict, "Records of the class %q are withdrawn by two people, at the console. Nothing was saved.", rec.Class)
	}
	at := in.now().UTC().Truncate(time.Millisecond)
	s := statement.Statement{Action: statement.Revoke, Number: rec.Number, Agency: signer.Agency, Reason: reason, IssuedAt: at}
	encoded, err := s.Encode()
	if err != nil {
		return nil, nil, err
	}
	rec.Standing, rec.StandingAt, rec.Reason = notary.Revoked, at, reason
	item.Record, item.Entry = rec, statement.Entry{Statement: encoded, Certificate: signer.Certificate}
	return item, nil, nil
}

// RevocationHash is what an idempotency key stands for under which a record is withdrawn.
func RevocationHash(recordID, reason string) sm.Digest {
	return sm.Sum([]byte("revoke\x00"), []byte(recordID), []byte{0}, []byte(reason))
}
