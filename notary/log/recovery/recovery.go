// Package recovery completes a database that is older than what the object store has seen: from the tail
// of what was received (package tail) and, further back, from the log's entry bundles.
//
// Nothing is written before everything has been verified: that no index is missing, each signature and
// attribute, and that the entries give the root that the log has signed and published. Then the rows
// are written stretch by stretch, each in a transaction:
//
//  1. agencies, event numbers skipped   rows that nothing refers to yet; run again
//  2. stretches of entries              fewer are missing: the next run goes on after them
//  3. tiles beyond them removed         nobody was told of what they are of; the next run removes the rest
//  4. the head                          the next run finds entries complete and sets it
//  5. erasures, sealed audit trail      the next run repeats those that are not there
package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"

	"stele/crypto/merkle"
	"stele/crypto/pki"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/tail"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
	"stele/notary/register/erasure"
)

// Store is the database. Methods are durable when they return and do not retry.
//
// Restore writes the rows of a stretch that begins where the log's entries end, in one transaction, and
// otherwise returns [ErrMoved]: records, entries, idempotency keys, audit rows, counts, what is
// revoked or replaced, and that the numbers are given out. SkipEvents leaves event numbers out that
// the lost rows may have had. RestoreAgency adds an agency and a certificate chain that are not there;
// the chain becomes the newest of that agency.
type Store interface {
	Log
	Erasures
	ExistingRecords(ctx context.Context, ids []string) (map[string]bool, error)
	Restore(ctx context.Context, s tail.Stretch) error
	RestoreAgency(ctx context.Context, a notary.Agency, chain [][]byte) error
	SkipEvents(ctx context.Context, n uint64) error
}

// Log is the log's side of the database, see [batchlog.Store]. Chain finds a certificate chain by its
// fingerprint, [notary.ErrNotFound] where there is none.
type Log interface {
	Head(ctx context.Context) (batchlog.Head, error)
	Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error)
	Advance(ctx context.Context, from batchlog.Head, to checkpoint.Checkpoint, note []byte) error
	Chain(ctx context.Context, fingerprint sm.Digest) (agencyID string, chain [][]byte, err error)
}

// Erasures are those that the database knows, see [erasure.Store].
type Erasures interface {
	HasErasure(ctx context.Context, id string) (bool, error)
	Erase(ctx context.Context, e erasure.Erasure, all bool) (notary.Record, error)
}

// Objects is the object store.
type Objects interface {
	tail.Objects
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
}

// What cannot be recovered from.
var (
	// ErrMoved: somebody else wrote to the log meanwhile.
	ErrMoved = errors.New("the log has moved: a server of this instance runs")
	// ErrGap: entries are neither in the database nor in the object store.
	ErrGap = errors.New("entries are missing in the database and in the object store")
	// ErrUnfit: what the object store has does not fit the database, or itself.
	ErrUnfit = errors.New("the object store and the database do not fit each other")
)

// Options are what [Run] needs beside its stores.
type Options struct {
	Sealer *tail.Sealer
	Keys   []*signednote.Verifier // that the log has had, and has
	Roots  [][]byte               // certificates that agencies' chains end in
	DryRun bool                   // verify, and write nothing
	Renew  func(context.Context) error
	Log    *slog.Logger
}

// Result says what was recovered, or would be.
type Result struct {
	From        uint64 `json:"from"`       // entries that the database had
	To          uint64 `json:"to"`         // and has now
	Checkpoint  uint64 `json:"checkpoint"` // size of the published one
	FromTail    uint64 `json:"fromTail"`
	FromBundles uint64 `json:"fromBundles"`
	Erasures    int    `json:"erasures"` // done again
	Seals       int    `json:"seals"`    // of the audit trail
	DryRun      bool   `json:"dryRun"`
	// Bare are records of which the object store had the log's entry alone.
	Bare []Bare `json:"bare"`
}

// Bare is a record without what its statement does not say: attributes' values, code, reference,
// idempotency key. Original: whether its document was found, by its digest.
type Bare struct {
	Number   string `json:"number"`
	Index    uint64 `json:"index"`
	Original bool   `json:"original"`
}

type run struct {
	store   Store
	objects Objects
	opt     Options
	reader  *tail.Reader
	res     *Result

	head      batchlog.Head
	published checkpoint.Checkpoint
	note      []byte
	names     []tail.Name
	signers   map[sm.Digest]*signer
	restore   []*signer       // that the database lacks, in the order in which the log names them first
	strays    *strays         // documents without a row, looked for once they are needed
	ids       map[string]bool // of records that the tail has
}

// signer is a certificate that entries name.
type signer struct {
	agencyID string
	chain    [][]byte
	cert     *pki.Certificate
	agency   *tail.Agency // to be restored; nil where the database has it
}

// Run recovers. It may be run again after any error and any crash. No server of the instance may run.
func Run(ctx context.Context, store Store, objects Objects, o Options) (*Result, error) {
	r := &run{store: store, objects: objects, opt: o, reader: tail.NewReader(objects, o.Sealer),
		res: &Result{DryRun: o.DryRun, Bare: []Bare{}}, signers: map[sm.Digest]*signer{}, ids: map[string]bool{}}
	if r.opt.Renew == nil {
		r.opt.Renew = func(context.Context) error { return nil }
	}
	if err := r.read(ctx); err != nil {
		return r.res, err
	}
	r.res.From, r.res.To = r.head.Received, r.head.Received
	if err := r.walk(ctx, func(context.Context, tail.Stretch) error { return nil }); err != nil {
		return r.res, err
	}
	if o.DryRun {
		return r.res, nil
	}
	if r.res.To > r.res.From {
		if err := r.prepare(ctx); err != nil {
			return r.res, err
		}
		// The same walk again, which now writes what it has verified.
		r.res.To, r.res.FromTail, r.res.FromBundles, r.res.Bare = r.res.From, 0, 0, r.res.Bare[:0]
		if err := r.walk(ctx, r.store.Restore); err != nil {
			return r.res, err
		}
	}
	if err := r.dropBeyond(ctx); err != nil {
		return r.res, err
	}
	if err := r.advance(ctx); err != nil {
		return r.res, err
	}
	return r.res, r.erase(ctx)
}

// read learns how far both sides are.
func (r *run) read(ctx context.Context) error {
	var err error
	if r.note, err = r.objects.Get(ctx, batchlog.CheckpointKey, signednote.MaxNoteSize); errors.Is(err,
		notary.ErrObjectNotFound) {
		return fmt.Errorf("%w: the object store holds no checkpoint: run 'stele rebuild-store' if it was lost",
			ErrUnfit)
	} else if err != nil {
		return fmt.Errorf("read the published checkpoint: %w", err)
	}
	if r.published, _, err = checkpoint.Open(r.note, r.opt.Keys...); err != nil {
		return fmt.Errorf("%w: the published checkpoint is of another log or damaged: %w", ErrUnfit, err)
	}
	if r.head, err = r.store.Head(ctx); err != nil {
		return fmt.Errorf("read the log's head: %w", err)
	}
	if r.published.Origin != r.head.Origin {
		return fmt.Errorf("%w: the database holds log %q, the object store %q", ErrUnfit, r.head.Origin,
			r.published.Origin)
	}
	r.res.Checkpoint = r.published.Size
	// With those that end where the database does: they are compared with it.
	r.names, err = r.reader.From(ctx, r.head.Received-min(r.head.Received, 1))
	return err
}

// walk follows the log from the database's head, first through the database's own entries and then
// through what the object store has, and hands each recovered stretch to write once it is verified. At
// the size of the published checkpoint the root must be the one that it signs.
func (r *run) walk(ctx context.Context, write func(context.Context, tail.Stretch) error) error {
	frontier, err := r.frontier(ctx)
	if err != nil {
		return err
	}
	add := func(e statement.Entry) error {
		frontier.Append(e.LeafHash())
		if frontier.Size() == r.published.Size && frontier.Root() != r.published.Root {
			return fmt.Errorf("%w: the entries give root %s at size %d, published is %s", ErrUnfit, frontier.Root(),
				r.published.Size, r.published.Root)
		}
		return nil
	}
	for at := r.head.Size; at < r.head.Received; {
		end := min(at+1024, r.head.Received)
		list, err := r.store.Entries(ctx, at, end)
		if err != nil || uint64(len(list)) != end-at {
			return errors.Join(err, fmt.Errorf("%w: entries %d to %d of the database have gaps", ErrUnfit, at, end))
		}
		for _, e := range list {
			if err := add(e); err != nil {
				return err
			}
		}
		at = end
	}
	for {
		s, bare, err := r.next(ctx, r.res.To)
		if err != nil || len(s.Entries) == 0 {
			return err
		}
		if err := r.verify(ctx, s); err != nil {
			return err
		}
		for _, e := range s.Entries {
			if err := add(e.Logged()); err != nil {
				return err
			}
		}
		if err := r.opt.Renew(ctx); err != nil {
			return err
		}
		// A crash right after leaves the entries before and of this stretch, complete.
		if err := write(ctx, s); err != nil {
			return err
		}
		n := uint64(len(s.Entries))
		r.res.To += n
		if r.res.Bare = append(r.res.Bare, bare...); bare != nil {
			r.res.FromBundles += n
		} else {
			r.res.FromTail += n
		}
	}
}

// frontier is the edge of the tree at the database's head, out of the newest tiles.
func (r *run) frontier(ctx context.Context) (*merkle.Frontier, error) {
	size := max(r.head.Size, r.published.Size)
	f, err := merkle.LoadFrontier(r.head.Size, batchlog.NewTiles(r.objects, 0).Nodes(ctx, size))
	if err != nil {
		return nil, fmt.Errorf("%w: the tiles at size %d: %w", ErrUnfit, r.head.Size, err)
	}
	if f.Root() != r.head.Root {
		return nil, fmt.Errorf("%w: at the database's size %d the tiles give root %s, the database says %s", ErrUnfit,
			r.head.Size, f.Root(), r.head.Root)
	}
	return f, nil
}

// next is the stretch that begins at an index; bare is not nil where it comes from an entry bundle. An
// empty one says that there is nothing more.
func (r *run) next(ctx context.Context, at uint64) (s tail.Stretch, bare []Bare, err error) {
	best, beyond := tail.Name{}, uint64(0)
	for _, n := range r.names {
		switch {
		case n.First <= at && n.End() > at && n.End() > best.End():
			best = n
		case n.First > at && beyond == 0:
			beyond = n.First
		}
	}
	if best.Count > 0 {
		if s, err = r.reader.Stretch(ctx, best); err != nil {
			return s, nil, err
		}
		if err = r.contradicted(ctx, best, s, at); err != nil {
			return s, nil, err
		}
		s.Entries, s.First = s.Entries[at-best.First:], at
		for _, e := range s.Entries {
			if e.Record != nil {
				r.ids[e.Record.ID] = true
			}
		}
		return s, nil, nil
	}
	t := merkle.Tile{Index: at / merkle.TileWidth, Width: merkle.TileWidth}
	if end := (t.Index + 1) * merkle.TileWidth; end <= r.published.Size {
		if beyond > 0 {
			end = min(end, beyond)
		}
		return r.bundle(ctx, t, at, end)
	}
	if missing := max(beyond, r.published.Size); missing > at {
		return s, nil,
			fmt.Errorf("%w: those from %d up to %d. What comes after them cannot be recovered without them; "+
				"look for a newer copy of the database or of the bucket's folder tail/", ErrGap, at, missing-1)
	}
	return s, nil, nil
}

// signer finds a certificate in the database or in the tail.
func (r *run) signer(ctx context.Context, fp sm.Digest) (*signer, error) {
	if s := r.signers[fp]; s != nil {
		return s, nil
	}
	s := &signer{}
	var err error
	s.agencyID, s.chain, err = r.store.Chain(ctx, fp)
	if errors.Is(err, notary.ErrNotFound) {
		var a tail.Agency
		if a, err = r.reader.Agency(ctx, fp); errors.Is(err, notary.ErrObjectNotFound) {
			return nil, fmt.Errorf("%w: its certificate %s is neither in the database nor in the object store",
				ErrUnfit, fp)
		}
		s.agencyID, s.chain, s.agency = a.ID, a.Chain, &a
	}
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", fp, err)
	}
	if len(s.chain) == 0 || sm.Sum(s.chain[0]) != fp {
		return nil, fmt.Errorf("%w: the certificate stored under %s is another one", ErrUnfit, fp)
	}
	if s.cert, err = pki.Parse(s.chain[0]); err != nil {
		return nil, err
	}
	r.signers[fp] = s
	if s.agency != nil {
		r.restore = append(r.restore, s)
	}
	return s, nil
}

// verify checks the signatures of a stretch on all processors.
func (r *run) verify(ctx context.Context, s tail.Stretch) error {
	for i, e := range s.Entries {
		if status.OfNoRecord([]byte(e.Statement)) {
			continue // no agency signed it
		}
		sg, err := r.signer(ctx, sm.Digest(e.Certificate))
		if err == nil && sg.agencyID != e.AgencyID {
			err = fmt.Errorf("%w: it is of agency %s, its certificate of %s", ErrUnfit, e.AgencyID, sg.agencyID)
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", s.First+uint64(i), err)
		}
	}
	errs := make([]error, len(s.Entries))
	workers := runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() {
			for i := k; i < len(errs); i += workers {
				if err := r.verifyEntry(s.Entries[i]); err != nil {
					errs[i] = fmt.Errorf("%w: entry %d: %w", ErrUnfit, s.First+uint64(i), err)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *run) verifyEntry(e tail.Entry) error {
	if status.OfNoRecord([]byte(e.Statement)) {
		return status.Judge{Origin: r.head.Origin, Keys: r.opt.Keys, Roots: r.opt.Roots}.Verify(e.Logged())
	}
	s, err := statement.Parse([]byte(e.Statement))
	if err != nil {
		return err
	}
	sg := r.signers[sm.Digest(e.Certificate)]
	switch {
	case !sg.cert.PublicKey().Verify([]byte(e.Statement), e.Signature):
		return errors.New("the signature over the statement does not verify")
	case sg.cert.Code() != s.Agency.Code || sg.cert.Subject().Organization != s.Agency.Name:
		return errors.New("the certificate belongs to another agency")
	}
	_, err = pki.VerifyChain(sg.chain, r.opt.Roots, s.IssuedAt, pki.Agency)
	return err
}

// eventsSkipped is how many event numbers an entry may have cost: received, logged, anchored, and one.
const eventsSkipped = 4

func (r *run) prepare(ctx context.Context) error {
	// Of an agency's certificates the last one signs: each was first used after those before it.
	for _, s := range r.restore {
		if err := r.store.RestoreAgency(ctx, s.agency.Row(), s.chain); err != nil {
			return fmt.Errorf("agency %s: %w", s.agency.Code, err)
		}
	}
	return r.store.SkipEvents(ctx, eventsSkipped*(r.res.To-r.res.From)+1000)
}

// advance makes the published checkpoint the database's head.
func (r *run) advance(ctx context.Context) error {
	head, err := r.store.Head(ctx)
	if err != nil || head.Size >= r.published.Size {
		return err
	}
	if err := r.store.Advance(ctx, head, r.published, r.note); err != nil {
		return fmt.Errorf("take the published checkpoint over: %w", err)
	}
	return nil
}

// erase does again what was erased after the copy of the database was made.
func (r *run) erase(ctx context.Context) error {
	list, err := r.reader.Erasures(ctx)
	if err != nil {
		return err
	}
	for _, e := range list {
		done, err := r.store.HasErasure(ctx, e.ID)
		if err != nil {
			return err
		}
		if done || e.Index >= r.res.To {
			continue
		}
		if _, err := r.store.Erase(ctx, e.Erasure(), e.All); err != nil {
			return fmt.Errorf("erase again what was erased of the record at %d: %w", e.Index, err)
		}
		r.res.Erasures++
	}
	return nil
}
