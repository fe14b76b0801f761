// Package archive is the read side: it finds records and makes their bundles out of stored
// bytes. A bundle is derived on demand and leaves only after proof.Verify has passed on it,
// so a changed object, a wrong tile or a bug is found here and not by a court.
package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
)

// Filter narrows a list of records. Zero fields do not narrow.
type Filter struct {
	AgencyID  string // empty: every agency's
	SM3       *sm.Digest
	Class     string
	Standing  notary.Standing
	Reference string
	Text      string    // part of the title, of the file name, of another attribute or of the reference
	Person    string    // part of the name of who handed it in
	From, To  time.Time // issued at or after From, before To
	Least     uint64    // only entries with this index or a larger one
	Before    *uint64   // only entries with a smaller index: the cursor of the next page
	Limit     int
}

// Stored is what a bundle is made of, read in one go.
type Stored struct {
	Entry        statement.Entry
	Certificates [][]byte // DER, signer first, root last
	Anchored     *AnchoredCheckpoint
}

// AnchoredCheckpoint is the first checkpoint that holds an entry and is anchored: where there
// is one, the first with evidence that proves itself.
type AnchoredCheckpoint struct {
	Size    uint64
	Note    []byte
	Anchors []json.RawMessage // evidence for this checkpoint
	Later   []LaterAnchor     // of the other chains, for their first later checkpoint
}

// LaterAnchor is evidence for a larger checkpoint.
type LaterAnchor struct {
	Size     uint64
	Evidence json.RawMessage
}

// Store is the database as the read side needs it. Methods are safe for concurrent use and
// return [notary.ErrNotFound] where a single thing is not there.
//
// FindRecord takes an id or a certificate number; an empty agency finds every agency's.
// ListRecords returns the newest first. Evidence reads the entry at an index, with an anchored
// checkpoint that holds it and has at least so many entries. Head and Progress read the log's row.
type Store interface {
	FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error)
	ListRecords(ctx context.Context, f Filter) ([]notary.Record, error)
	Evidence(ctx context.Context, index, least uint64) (Stored, error)
	Head(ctx context.Context) (batchlog.Head, error)
	Progress(ctx context.Context) (notary.Progress, error)
}

// Archive reads. It is safe for concurrent use.
type Archive struct {
	store Store
	tiles *batchlog.Tiles
	trust *proof.Trust

	statuses Statuses // nil: bundles show no standing
	entries  Entries  // nil: entries are not read by themselves
}

// New returns an archive that checks its bundles against the instance's own trust roots.
func New(store Store, tiles *batchlog.Tiles, trust *proof.Trust) *Archive {
	return &Archive{store: store, tiles: tiles, trust: trust}
}

// Trust returns the instance's own trust roots.
func (a *Archive) Trust() *proof.Trust { return a.trust }

// Record finds one record. An agency does not learn of others' records: it gets the same
// answer for them as for none.
func (a *Archive) Record(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error) {
	r, err := a.store.FindRecord(ctx, agencyID, idOrNumber)
	if errors.Is(err, notary.ErrNotFound) {
		return r, notary.Errorf(notary.CodeNotFound, "There is no such record.")
	}
	return r, unavailable(err)
}

// List returns records, newest first.
func (a *Archive) List(ctx context.Context, f Filter) ([]notary.Record, error) {
	l, err := a.store.ListRecords(ctx, f)
	return l, unavailable(err)
}

// Progress tells how far the log has come.
func (a *Archive) Progress(ctx context.Context) (notary.Progress, error) {
	p, err := a.store.Progress(ctx)
	return p, unavailable(err)
}

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return notary.Wrap(notary.CodeUnavailable, err, "The record store cannot be reached; try again.")
}

// ErrOwnBundle means that a bundle made here does not verify here: something stored was
// changed, or there is a bug. It must never be answered as if the caller had erred.
var ErrOwnBundle = errors.New("own bundle does not verify")

// Bundle makes the bundle of a record, with its attributes opened where show is set. A
// record, or a revocation of it, that is not logged yet gives a not_ready error. Where the first
// anchor does not verify, a later one that does takes its place: it vouches for a later time, and
// for no less otherwise.
func (a *Archive) Bundle(ctx context.Context, r notary.Record, show bool) ([]byte, error) {
	head, err := a.store.Head(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	b, _, err := a.draft(ctx, head, r, show, [2]uint64{})
	if err != nil {
		return nil, err
	}
	out, _, err := a.verified(r, b)
	if errors.Is(err, ErrOwnBundle) {
		return a.laterBundle(ctx, head, r, show, err)
	}
	return out, err
}

// maxLater is how many anchors in a row are passed over: an hour of a busy log's, say, that a
// former key signed. What is wrong beyond that a person must look at.
const maxLater = 64

// laterBundle looks for the first anchors that verify: of the record alone, then of what revoked it.
// It returns why the bundle did not verify where there are none.
func (a *Archive) laterBundle(
	ctx context.Context, head batchlog.Head, r notary.Record, show bool, why error,
) ([]byte, error) {
	defer a.tiles.Forget() // as after the first failure
	var least [2]uint64
	for i := range least {
		part := r
		if i == 0 {
			part.Standing = notary.Valid
		}
		out, err := a.firstSound(ctx, head, part, show, &least, i)
		if err != nil || out == nil {
			return nil, cmp.Or(err, why)
		}
		if part.Standing == r.Standing {
			return out, nil
		}
	}
	return nil, why
}

// firstSound moves one of the sizes on until the bundle verifies; nil when none does.
func (a *Archive) firstSound(
	ctx context.Context, head batchlog.Head, r notary.Record, show bool, least *[2]uint64, i int,
) ([]byte, error) {
	for range maxLater {
		b, used, err := a.draft(ctx, head, r, show, *least)
		if err != nil || used[i] == 0 { // nothing vouches for it any more: that is not what was promised
			return nil, err
		}
		if out, _, err := a.verified(r, b); !errors.Is(err, ErrOwnBundle) {
			return out, err
		}
		least[i] = used[i] + 1
	}
	return nil, nil
}

// draft puts the bundle together out of what is stored: with anchored checkpoints of at least so
// many entries, for the record and for what revoked it, and says which were used; 0: none.
// Nothing is verified yet.
func (a *Archive) draft(
	ctx context.Context, head batchlog.Head, r notary.Record, show bool, least [2]uint64,
) (*proof.Bundle, [2]uint64, error) {
	var used [2]uint64
	e, size, err := a.evidence(ctx, head, r.Index, least[0])
	if err != nil {
		return nil, used, err
	}
	used[0] = size
	b := &proof.Bundle{Evidence: *e, UserID: sm.UserID}
	if show {
		for _, f := range r.Fields {
			if len(f.Salt) > 0 {
				b.Fields = append(b.Fields, proof.Disclosed{Name: f.Name, Salt: f.Salt, Value: f.Value})
			}
		}
	}
	if r.Standing != notary.Valid {
		if b.Standing, used[1], err = a.evidence(ctx, head, r.StandingIndex, least[1]); err != nil {
			return nil, used, err
		}
	}
	return b, used, nil
}

// verified encodes a bundle and lets it pass when it holds for its record.
func (a *Archive) verified(r notary.Record, b *proof.Bundle) ([]byte, *proof.Report, error) {
	out := b.Encode()
	report := proof.Verify(a.trust, &r.SM3, out)
	// A certificate that expired before the anchor leaves no verdict, and no damage either: what
	// there is is handed out, or the agency would never get it. So with a signer's certificate that the bundle's own
	// status shows to be revoked: whoever asks is to see it.
	if report.Number == r.Number && (report.Verdict.Row().Sound || report.ExpiredAtAnchor() ||
		report.CertificateRevoked()) {
		return out, report, nil
	}
	a.tiles.Forget() // what was read may be repaired, and must not stay in memory
	if report.Number != r.Number {
		return nil, nil, fmt.Errorf("%w: entry %d is that of record %q, not of %s",
			ErrOwnBundle, r.Index, report.Number, r.Number)
	}
	return nil, nil, fmt.Errorf("%w: record %s: %s: %s", ErrOwnBundle, r.Number, report.Verdict, report.Summary)
}

// showing is [Archive.verified] for a bundle that must show something more: what it is called.
func (a *Archive) showing(r notary.Record, b *proof.Bundle, step proof.StepName, what string) ([]byte, error) {
	out, report, err := a.verified(r, b)
	if err == nil && !report.Passed(step) && !report.CertificateRevoked() {
		a.tiles.Forget()
		out, err = nil, fmt.Errorf("%w: record %s: %s is not shown", ErrOwnBundle, r.Number, what)
	}
	return out, err
}

// evidence is an entry with its place in the log, and the size of the anchored checkpoint that
// vouches for it; 0: none.
func (a *Archive) evidence(
	ctx context.Context, head batchlog.Head, index, least uint64,
) (*proof.Evidence, uint64, error) {
	if index >= head.Size {
		return nil, 0, notary.Errorf(notary.CodeNotReady,
			"The record is received but not in the log yet; ask again in a second.")
	}
	s, err := a.store.Evidence(ctx, index, least)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, 0, fmt.Errorf("%w: the rows of entry %d are missing", ErrOwnBundle, index)
	}
	if err != nil {
		return nil, 0, unavailable(err)
	}
	e := &proof.Evidence{Statement: s.Entry.Statement, Signature: s.Entry.Signature, Certificates: s.Certificates}
	e.Log.Index, e.Log.Checkpoint = index, head.Note
	size, anchored := head.Size, uint64(0)
	if s.Anchored != nil {
		e.Anchors, e.Log.Checkpoint, size = s.Anchored.Anchors, s.Anchored.Note, s.Anchored.Size
		anchored = size
		if e.Anchors, err = a.withLater(ctx, *s.Anchored, head.Size); err != nil {
			return nil, 0, err
		}
	}
	e.Log.Path, err = a.path(ctx, index, size, head.Size)
	return e, anchored, err
}

// withLater adds the evidence of other chains, each with the proof that its checkpoint grew
// out of the bundle's. So the time of the first anchor stays what it was.
func (a *Archive) withLater(ctx context.Context, anchored AnchoredCheckpoint, headSize uint64) ([]json.RawMessage,
	error) {
	out := slices.Clone(anchored.Anchors)
	for _, l := range anchored.Later {
		var path []merkle.Hash
		err := a.steady(ctx, headSize, func(headSize uint64) (err error) {
			path, err = merkle.ConsistencyProof(anchored.Size, l.Size, a.tiles.Nodes(ctx, headSize))
			return err
		})
		if err != nil {
			return nil, err
		}
		evidence, err := proof.Later(l.Evidence, path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOwnBundle, err)
		}
		out = append(out, evidence)
	}
	return out, nil
}

// path reads an inclusion path.
func (a *Archive) path(ctx context.Context, index, size, headSize uint64) (path []merkle.Hash, err error) {
	err = a.steady(ctx, headSize, func(headSize uint64) error {
		path, err = merkle.InclusionProof(index, size, a.tiles.Nodes(ctx, headSize))
		return err
	})
	return path, err
}

// steady runs f, which reads tiles of a tree of the head's size. The head may have moved
// since it was read, and with it the partial tiles at the edge; the newer ones hold the same
// nodes. A tile that is missing while the head stands still is damage.
func (a *Archive) steady(ctx context.Context, headSize uint64, f func(headSize uint64) error) error {
	for {
		err := f(headSize)
		if err == nil {
			return nil
		}
		head, herr := a.store.Head(ctx)
		switch {
		case herr != nil:
			return unavailable(herr)
		case head.Size > headSize:
			headSize = head.Size
		case errors.Is(err, notary.ErrObjectNotFound), errors.Is(err, batchlog.ErrTiles):
			return fmt.Errorf("%w: %w", ErrOwnBundle, err)
		default:
			return notary.Wrap(notary.CodeUnavailable, err, "The log's tiles cannot be read; try again.")
		}
	}
}

// Checkpoint returns the newest signed checkpoint.
func (a *Archive) Checkpoint(ctx context.Context) ([]byte, error) {
	head, err := a.store.Head(ctx)
	return head.Note, unavailable(err)
}

// Tile returns a public tile of the tree as the newest checkpoint has it.
func (a *Archive) Tile(ctx context.Context, t merkle.Tile) ([]byte, error) {
	head, err := a.store.Head(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	var data []byte
	err = a.steady(ctx, head.Size, func(size uint64) (err error) {
		nodes := size >> (merkle.TileHeight * t.Level)
		if t.Index > nodes/merkle.TileWidth || t.Index*merkle.TileWidth+uint64(t.Width) > nodes {
			return errNoTile
		}
		// A partial tile may have been replaced by a wider one; its hashes are the first of those.
		wide := t
		wide.Width = int(min(nodes-t.Index*merkle.TileWidth, merkle.TileWidth))
		data, err = a.tiles.Tile(ctx, wide)
		return err
	})
	if errors.Is(err, errNoTile) {
		return nil, errNoTile
	}
	if err != nil {
		return nil, err
	}
	return data[:t.Width*merkle.HashSize], nil
}

var errNoTile = notary.Errorf(notary.CodeNotFound, "The log has no such tile yet.")

// ConsistencyProof returns the path between two sizes of the log.
func (a *Archive) ConsistencyProof(ctx context.Context, from, to uint64) ([]merkle.Hash, error) {
	head, err := a.store.Head(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	if from > to || to > head.Size {
		return nil, notary.Errorf(notary.CodeInvalid, "Sizes must be in order and at most the log's size, "+
			"which is %d.", head.Size)
	}
	var path []merkle.Hash
	err = a.steady(ctx, head.Size, func(size uint64) (err error) {
		path, err = merkle.ConsistencyProof(from, to, a.tiles.Nodes(ctx, size))
		return err
	})
	return path, err
}

// Origin returns the log's name.
func (a *Archive) Origin(ctx context.Context) (string, error) {
	head, err := a.store.Head(ctx)
	if err != nil {
		return "", unavailable(err)
	}
	c, err := checkpoint.ParseUnsafe(head.Note)
	return c.Origin, err
}
