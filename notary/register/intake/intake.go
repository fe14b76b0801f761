// Package intake takes documents in: it streams them once to the object store and through
// SM3, builds and signs the statement, and makes the record durable in a transaction that
// it shares with concurrent submissions. Only then does the caller get its record.
//
// The order of side effects, and what a crash after each leaves behind:
//
//  1. object stored         an object without a row; package staging sweeps it after a day
//  2. key use noted         an audit row for signatures that may not exist; harmless
//  3. signatures made       nothing: they were in memory only
//  4. transaction commits   everything: the record exists and will be logged and anchored
//  5. tail kept             as 4; where it was not kept, its background work does that later
//
// A failed transaction whose outcome is unknown is answered as unavailable: the caller asks
// again with its idempotency key and gets the record if it is there.
package intake

import (
	"context"
	"io"
	"log/slog"
	"time"

	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/outage"
	"stele/notary/proof/statement"
	"stele/notary/register/class"
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
//
// Prepared statements wait for a signature: what AddPrepared has returned from is durable; FindPrepared
// returns notary.ErrNotFound for what is not there or is another agency's, not for what has expired.
type Store interface {
	Receive(ctx context.Context, batch []*Item) ([]Outcome, error)
	NoteKeyUse(ctx context.Context, use KeyUse) error
	ReserveNumbers(ctx context.Context, region string, year, n int) (first uint64, err error)
	FindIdempotent(ctx context.Context, agencyID string, keys ...string) (map[string]Prior, error)
	FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error)

	AddPrepared(ctx context.Context, p Prepared) error
	FindPrepared(ctx context.Context, agencyID, id string) (Prepared, error)
	DropPrepared(ctx context.Context, expiredBefore time.Time) (int, error)
}

// Objects keeps originals. Create streams: the object is durable when it returns, and a
// failing reader leaves nothing under the key.
type Objects interface {
	Create(ctx context.Context, key string, r io.Reader, size int64) (notary.Object, error)
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
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
	Leaves      []string  // keys of the objects that nobody needs when the upload has ended
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
}

// DefaultLimits are the limits of a deployment that sets none. Groups
// form from what is waiting: a large one means a flood, in which it saves writing the same
// index pages again and again.
func DefaultLimits() Limits {
	return Limits{MaxDocument: 16 << 30, MaxBatch: 10_000, MaxQueue: 20_000, BatchWait: 5 * time.Second,
		GroupSize: 2048, MaxAttrs: 64 << 10}
}

// Intake takes documents in. It is safe for concurrent use.
type Intake struct {
	store   Store
	uploads Uploads
	classes Classes
	tail    Tail
	objects Objects
	signers Signers
	forget  func(agencyID string)
	limits  Limits
	now     func() time.Time
	clock   func() error
	log     *slog.Logger
	numbers numberBlocks
	group   *committer
	onNew   func()

	receiving *outage.Loop
}

// Options are what [New] needs besides its stores.
type Options struct {
	Signers Signers
	Forget  func(agencyID string) // has Signers look anew at an agency's signer; nil: it always does
	Uploads Uploads
	Classes Classes // nil: no class demands anything
	Tail    Tail    // nil: none is kept
	Limits  Limits
	Now     func() time.Time
	Clock   func() error // whether Now may be signed with, asked before each signature; nil: always
	Log     *slog.Logger
	Outages *outage.Tracker // explains failures; nil: nothing does
	OnNew   func()          // called after a transaction brought new entries; must not block
}

// New returns an intake whose writer runs until ctx ends; [Intake.Wait] then waits for it.
func New(ctx context.Context, store Store, objects Objects, o Options) *Intake {
	in := &Intake{store: store, uploads: o.Uploads, classes: o.Classes, tail: o.Tail,
		objects: objects,
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
	Owner       Owner // whose idempotency key it is
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
