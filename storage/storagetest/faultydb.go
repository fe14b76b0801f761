package storagetest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"stele/notary"
	"stele/notary/anchor"
	"stele/notary/archive"
	"stele/notary/batchlog"
	"stele/notary/checkpoint"
	"stele/notary/intake"
	"stele/notary/statement"
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
	OpExisting       Op = "ExistingRecords"
	OpHead           Op = "Head"
	OpEntries        Op = "Entries"
	OpAdvance        Op = "Advance"
	OpLease          Op = "Lease"
	OpAnchorState    Op = "AnchorState"
	OpSaveEvidence   Op = "SaveEvidence"
	OpEvidence       Op = "Evidence"
)

// FaultyDB wraps a database and makes calls fail as told; what is not named above passes.
// A call that is told to fail after it was done answers [notary.ErrUnknownOutcome] where
// the fault names no other error, as the database itself does. Prefixes of faults are not
// looked at. It is safe for concurrent use.
type FaultyDB struct {
	*sqldb.DB
	faults *Faulty
}

// NewFaultyDB wraps db. Nothing fails before Inject.
func NewFaultyDB(db *sqldb.DB) *FaultyDB { return &FaultyDB{DB: db, faults: NewFaulty(nil)} }

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
	return faulty(ctx, f, OpReceive, func() ([]intake.Outcome, error) { return f.DB.Receive(ctx, batch) })
}

// NoteKeyUse implements intake.Store.
func (f *FaultyDB) NoteKeyUse(ctx context.Context, u intake.KeyUse) error {
	return faultyErr(ctx, f, OpNoteKeyUse, func() error { return f.DB.NoteKeyUse(ctx, u) })
}

// ReserveNumbers implements intake.Store.
func (f *FaultyDB) ReserveNumbers(ctx context.Context, region string, year, n int) (uint64, error) {
	return faulty(ctx, f, OpReserveNumbers, func() (uint64, error) { return f.DB.ReserveNumbers(ctx, region, year, n) })
}

// FindIdempotent implements intake.Store.
func (f *FaultyDB) FindIdempotent(ctx context.Context, agencyID string, keys ...string) (map[string]intake.Prior, error) {
	return faulty(ctx, f, OpFindIdempotent, func() (map[string]intake.Prior, error) { return f.DB.FindIdempotent(ctx, agencyID, keys...) })
}

// FindRecord implements intake.Store.
func (f *FaultyDB) FindRecord(ctx context.Context, agencyID, idOrNumber string) (notary.Record, error) {
	return faulty(ctx, f, OpFindRecord, func() (notary.Record, error) { return f.DB.FindRecord(ctx, agencyID, idOrNumber) })
}

// ExistingRecords implements intake.Rows.
func (f *FaultyDB) ExistingRecords(ctx context.Context, ids []string) (map[string]bool, error) {
	return faulty(ctx, f, OpExisting, func() (map[string]bool, error) { return f.DB.ExistingRecords(ctx, ids) })
}

// Head implements batchlog.Store.
func (f *FaultyDB) Head(ctx context.Context) (batchlog.Head, error) {
	return faulty(ctx, f, OpHead, func() (batchlog.Head, error) { return f.DB.Head(ctx) })
}

// Entries implements batchlog.Store.
func (f *FaultyDB) Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error) {
	return faulty(ctx, f, OpEntries, func() ([]statement.Entry, error) { return f.DB.Entries(ctx, first, end) })
}

// Advance implements batchlog.Store.
func (f *FaultyDB) Advance(ctx context.Context, from batchlog.Head, to checkpoint.Checkpoint, note []byte) error {
	return faultyErr(ctx, f, OpAdvance, func() error { return f.DB.Advance(ctx, from, to, note) })
}

// Lease implements batchlog.Store.
func (f *FaultyDB) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	return faulty(ctx, f, OpLease, func() (bool, error) { return f.DB.Lease(ctx, name, holder, ttl) })
}

// Evidence implements archive.Store.
func (f *FaultyDB) Evidence(ctx context.Context, index, least uint64) (archive.Stored, error) {
	return faulty(ctx, f, OpEvidence, func() (archive.Stored, error) { return f.DB.Evidence(ctx, index, least) })
}

// AnchorState implements anchor.Store.
func (f *FaultyDB) AnchorState(ctx context.Context, target string) (anchor.State, error) {
	return faulty(ctx, f, OpAnchorState, func() (anchor.State, error) { return f.DB.AnchorState(ctx, target) })
}

// SaveEvidence implements anchor.Store.
func (f *FaultyDB) SaveEvidence(ctx context.Context, target string, size uint64, evidence json.RawMessage, required []string) error {
	return faultyErr(ctx, f, OpSaveEvidence, func() error { return f.DB.SaveEvidence(ctx, target, size, evidence, required) })
}
