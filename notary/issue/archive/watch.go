package archive

import (
	"context"
	"errors"
	"fmt"

	"stele/crypto/merkle"
	"stele/crypto/signednote"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/log/follow"
	"stele/notary/log/fsck"
	"stele/notary/proof"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// What is here serves those that watch the log from outside: monitors and mirrors.

// AgencyEntry is an entry of the log with its place.
type AgencyEntry struct {
	Index uint64
	Entry statement.Entry
}

// Entries reads the log's entries from their rows. Methods are safe for concurrent use.
//
// Entries are those from first up to, not including, end; fewer where rows are missing. AgencyEntries are those in
// an agency's name from an index on and before end, at most limit, in the order of the log; covered is the index
// before which none is left out, at most end. AnchorsFrom is evidence for checkpoints of more than a size, the smallest
// first, about limit of it, and never a part of what there is for one. Chain is whose certificate has this SM3, and it
// with those above it; [notary.ErrNotFound] where there is none.
type Entries interface {
	Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error)
	AgencyEntries(ctx context.Context, agencyID string, from, end uint64, limit int) (list []AgencyEntry,
		covered uint64, err error)
	AnchorsFrom(ctx context.Context, after int64, limit int) ([]fsck.StoredAnchor, error)
	Chain(ctx context.Context, certificate sm.Digest) (agencyID string, chain [][]byte, err error)
}

// SetEntries lets others read entries. It is called before the archive is used.
func (a *Archive) SetEntries(e Entries) { a.entries = e }

// OwnEntries are the entries in an agency's name, revocations among them, that the log has from an index on: at most
// limit, complete before covered. size is that of the log.
func (a *Archive) OwnEntries(ctx context.Context, agencyID string, from uint64, limit int) (
	list []AgencyEntry, covered, size uint64, err error) {
	head, err := a.store.Head(ctx)
	if err != nil || from >= head.Size {
		return nil, head.Size, head.Size, unavailable(err)
	}
	list, covered, err = a.entries.AgencyEntries(ctx, agencyID, from, head.Size, limit)
	return list, covered, head.Size, unavailable(err)
}

// EntryBundle is the entries under a tile of level 0, one after another, as the newest checkpoint has them.
func (a *Archive) EntryBundle(ctx context.Context, t merkle.Tile) ([]byte, error) {
	head, err := a.store.Head(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	first := t.Index * merkle.TileWidth
	end := first + uint64(t.Width)
	if end > head.Size {
		return nil, errNoTile
	}
	list, err := a.entries.Entries(ctx, first, end)
	if err != nil {
		return nil, unavailable(err)
	}
	if uint64(len(list)) != end-first {
		return nil, fmt.Errorf("%w: the rows of entries %d to %d have gaps", ErrOwnBundle, first, end)
	}
	var out []byte
	for _, e := range list {
		out = append(out, e.Encode()...)
	}
	return out, nil
}

// Anchored lists anchored checkpoints of more than a size, the smallest first. Evidence is handed out as it was
// stored, which was after it had been verified.
func (a *Archive) Anchored(ctx context.Context, after int64, limit int) (out []AnchoredCheckpoint, err error) {
	list, err := a.entries.AnchorsFrom(ctx, after, limit)
	for _, r := range list {
		if len(out) == 0 || out[len(out)-1].Size != r.Size {
			out = append(out, AnchoredCheckpoint{Size: r.Size, Note: r.Note})
		}
		c := &out[len(out)-1]
		c.Anchors = append(c.Anchors, r.Evidence)
	}
	return out, unavailable(err)
}

// Chain is a certificate with this SM3 of its DER, followed by those above it.
func (a *Archive) Chain(ctx context.Context, certificate sm.Digest) ([][]byte, error) {
	_, chain, err := a.entries.Chain(ctx, certificate)
	if errors.Is(err, notary.ErrNotFound) {
		return nil, notary.Errorf(notary.CodeNotFound, "No agency here has a certificate with this digest.")
	}
	return chain, unavailable(err)
}

// LogStatus is the newest status statement of the log that is anchored, verified as everything that leaves. Where
// there is none yet, or this process has not followed the log up to it, the error is not_ready.
func (a *Archive) LogStatus(ctx context.Context) (proof.LogStatus, error) {
	s, _, err := a.logStatus(ctx)
	return s, err
}

// AgencyStatus is [Archive.LogStatus] with the map's proof of an agency's tally, and the digest that the map has for
// it; zero where the map has none.
func (a *Archive) AgencyStatus(ctx context.Context, code string) (s proof.LogStatus, m proof.MapProof,
	value sm.Digest, err error) {
	s, made, err := a.logStatus(ctx)
	if err != nil {
		return s, m, value, err
	}
	key := status.AgencyKey(code)
	m.Proof = made.Map.Map.Prove(key)
	value, _ = made.Map.Map.Get(key)
	return s, m, value, nil
}

var errNoLogStatus = notary.Errorf(notary.CodeNotReady, "The log has no anchored status statement yet: it makes one "+
	"about a minute after its first entries. Ask again then.")

func (a *Archive) logStatus(ctx context.Context) (s proof.LogStatus, made follow.Statement, err error) {
	if a.statuses == nil {
		return s, made, errNoLogStatus
	}
	index, under, err := a.statuses.Newest(ctx)
	if errors.Is(err, notary.ErrNotFound) {
		return s, made, errNoLogStatus
	}
	if err != nil {
		return s, made, unavailable(err)
	}
	made, ok := a.statuses.Map(index)
	if !ok {
		return s, made, errNoLogStatus
	}
	head, err := a.store.Head(ctx)
	if err != nil {
		return s, made, unavailable(err)
	}
	s, err = a.placed(ctx, head, index, made, under)
	if errors.Is(err, proof.ErrKeyNotValid) {
		return s, made, errNoLogStatus
	}
	if err != nil {
		return s, made, err
	}
	if _, err := proof.VerifyLogStatus(a.trust, head.Origin, s); err != nil {
		a.tiles.Forget()
		return s, made, fmt.Errorf("%w: the status statement at entry %d: %w", ErrOwnBundle, index, err)
	}
	return s, made, nil
}

// placed is a status statement with its place under an anchored checkpoint. One that a former key of the log signed
// may have been anchored when that key's time was over; it shows nothing then, and [proof.ErrKeyNotValid] says so: the
// follower has the present key say it anew.
func (a *Archive) placed(ctx context.Context, head batchlog.Head, index uint64, made follow.Statement,
	under *AnchoredCheckpoint) (s proof.LogStatus, err error) {
	s = proof.LogStatus{Statement: made.Entry.Statement, Signature: made.Entry.Signature, Anchors: under.Anchors,
		Log: proof.LogProof{Index: index, Checkpoint: under.Note}}
	if s.Key, err = a.logKey(head.Origin, made.Entry.Certificate); err != nil {
		return s, err
	}
	if s.Log.Path, err = a.path(ctx, index, under.Size, head.Size); err != nil {
		return s, err
	}
	if now := a.trust.LogKey(head.Origin); now == nil || s.Key != signednote.FormatKey(now.Name(), now.Key()) {
		// What else may be wrong is found by those that verify all that leaves.
		if _, err := proof.VerifyLogStatus(a.trust, head.Origin, s); errors.Is(err, proof.ErrKeyNotValid) {
			return s, err
		}
	}
	return s, nil
}
