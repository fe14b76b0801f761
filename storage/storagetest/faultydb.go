package storagetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"stele/notary"
	"stele/notary/issue/archive"
	"stele/notary/log/anchor"
	"stele/notary/log/batchlog"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/register/intake"
	"stele/storage/sqldb"
)

// Discard is a logger that writes nothing.
var Discard = slog.New(slog.DiscardHandler)

// The operations of a database that can be made to fail.
const (
	OpReceive        Op = "Receive"
	OpNoteKeyUse     Op = "NoteKeyUse"
	OpReserveNumbers Op = "ReserveNumbers"
	OpFindIdempotent Op = "FindIdempotent"
	OpFindRecord     Op = "FindRecord"
	OpKept           Op = "KeptObjects"
	OpHead           Op = "Head"
	OpEntries        Op = "Entries"
	OpAdvance        Op = "Advance"
	OpLease          Op = "Lease"
	OpAnchorState    Op = "AnchorState"
	OpSaveEvidence   Op = "SaveEvidence"
	OpEvidence       Op = "Evidence"
)

// FaultyDB wraps the log's part of a database and makes calls fail as told; what is not named above passes.
// A call that is told to fail after it was done answers [notary.ErrUnknownOutcome] where
// the fault names no other error, as the database itself does. Prefixes of faults are not
// looked at. It is safe for concurrent use.
type FaultyDB struct {
	*sqldb.Log
	faults *Faulty
}

// NewFaultyDB wraps db. Nothing fails before Inject.
func NewFaultyDB(db *sqldb.DB) *FaultyDB { return &FaultyDB{Log: db.Log, faults: NewFaulty(nil)} }

// Inject is [Faulty.Inject].
func (f *FaultyDB) Inject(fault Fault) *Injected {
	if fault.Err == nil && fault.Mode != Fail {
		fault.Err = fmt.Errorf("%w: %w", notary.ErrUnknownOutcome, ErrInjected)
	}
	return f.faults.Inject(fault)
}

// Heal is [Faulty.Heal].
func (f *FaultyDB) Heal() { f.faults.Heal() }

// Calls is [Faulty.Calls].
func (f *FaultyDB) Calls(op Op) int { return f.faults.Calls(op) }

// faulty does one call with its fault.
func faulty[T any](ctx context.Context, f *FaultyDB, op Op, do func() (T, error)) (out T, err error) {
	err = f.faults.around(ctx, op, "", func() error {
		out, err = do()
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

func faultyErr(ctx context.Context, f *FaultyDB, op Op, do func() error) error {
	return f.faults.around(ctx, op, "", do)
}

// Receive implements intake.Store.
func (f *FaultyDB) Receive(ctx context.Context, batch []*intake.Item) ([]intake.Outcome, error) {
	return faulty(ctx, f, OpReceive, func() ([]intake.Outcome, error) { return f.Log.Receive(ctx, batch) })
}

// NoteKeyUse implements intake.Store.
func (f *FaultyDB) NoteKeyUse(ctx context.Context, u intake.KeyUse) error {
	return faultyErr(ctx, f, OpNoteKeyUse, func() error { return f.Log.NoteKeyUse(ctx, u) })
}

// ReserveNumbers implements intake.Store.
func (f *FaultyDB) ReserveNumbers(ctx context.Context, region string, year, n int) (uint64, error) {
	return faulty(ctx, f, OpReserveNumbers,
		func() (uint64, error) { return f.Log.ReserveNumbers(ctx, region, year, n) })
}

// FindIdempotent implements intake.Store.
func (f *FaultyDB) FindIdempotent(ctx context.Context, agencyID string, keys ...string) (map[string]intake.Prior,
	error) {
	return faulty(ctx, f, OpFindIdempotent, func() (map[string]intake.Prior, error) {
		return f.Log.FindIdempotent(ctx, agencyID, keys...)
	})
}

// FindRecord implements intake.Store.
func (f *FaultyDB) FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error) {
	return faulty(ctx, f, OpFindRecord,
		func() (notary.Record, error) { return f.Log.FindRecord(ctx, agencyID, idOrNumber) })
}

// KeptObjects implements staging.Rows.
func (f *FaultyDB) KeptObjects(ctx context.Context, keys []string) (map[string]bool, error) {
	return faulty(ctx, f, OpKept, func() (map[string]bool, error) { return f.Log.KeptObjects(ctx, keys) })
}

// Head implements batchlog.Store.
func (f *FaultyDB) Head(ctx context.Context) (batchlog.Head, error) {
	return faulty(ctx, f, OpHead, func() (batchlog.Head, error) { return f.Log.Head(ctx) })
}

// Entries implements batchlog.Store.
func (f *FaultyDB) Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error) {
	return faulty(ctx, f, OpEntries, func() ([]statement.Entry, error) { return f.Log.Entries(ctx, first, end) })
}

// Advance implements batchlog.Store.
func (f *FaultyDB) Advance(ctx context.Context, from batchlog.Head, to checkpoint.Checkpoint, note []byte) error {
	return faultyErr(ctx, f, OpAdvance, func() error { return f.Log.Advance(ctx, from, to, note) })
}

// Lease implements batchlog.Store.
func (f *FaultyDB) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	return faulty(ctx, f, OpLease, func() (bool, error) { return f.Log.Lease(ctx, name, holder, ttl) })
}

// Evidence implements archive.Store.
func (f *FaultyDB) Evidence(ctx context.Context, index, least uint64) (archive.Stored, error) {
	return faulty(ctx, f, OpEvidence, func() (archive.Stored, error) { return f.Log.Evidence(ctx, index, least) })
}

// AnchorState implements anchor.Store.
func (f *FaultyDB) AnchorState(ctx context.Context, target string) (anchor.State, error) {
	return faulty(ctx, f, OpAnchorState, func() (anchor.State, error) { return f.Log.AnchorState(ctx, target) })
}

// SaveEvidence implements anchor.Store.
func (f *FaultyDB) SaveEvidence(ctx context.Context, target string, size uint64, evidence json.RawMessage,
	required []string) error {
	return faultyErr(ctx, f, OpSaveEvidence,
		func() error { return f.Log.SaveEvidence(ctx, target, size, evidence, required) })
}
