// Package fsck re-derives everything that an instance claims from what it has stored, and
// compares: every statement, signature, certificate, attribute, leaf, tile, entry bundle,
// checkpoint, anchor and original. It writes nothing. The tests of the log call it after
// every step; `stele fsck` is the same code.
package fsck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/log/batchlog"
	"stele/notary/proof"
	"stele/notary/proof/checkpoint"
	"stele/notary/proof/statement"
	"stele/notary/proof/status"
)

// Rows reads the log's rows. RecordsFrom returns up to limit records in the order of their
// index, beginning with first. Chain returns the certificate chain under a fingerprint,
// signer first, and whose it is; [notary.ErrNotFound] where there is none. KeyUses returns
// the entries in the range whose audit row is missing. Checkpoints and anchors, which vouch for the rows, come in
// ascending order of size, those larger than after; AnchorsFrom returns all anchors of a size or none, so there may
// be more than limit. Progress is what the service says about states, StatusBase what it keeps of the status map.
type Rows interface {
	Head(ctx context.Context) (batchlog.Head, error)
	Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error)
	RecordsFrom(ctx context.Context, first uint64, limit int) ([]StoredRecord, error)
	Chain(ctx context.Context, fingerprint sm.Digest) (agencyID string, chain [][]byte, err error)
	KeyUses(ctx context.Context, first, end uint64) (missing []uint64, err error)
	CheckpointsFrom(ctx context.Context, after int64, limit int) ([]StoredCheckpoint, error)
	AnchorsFrom(ctx context.Context, after int64, limit int) ([]StoredAnchor, error)
	Progress(ctx context.Context) (notary.Progress, error)
	StatusBase(ctx context.Context) (status.Kept, error)
}

// StoredRecord is a row; Damage says what cannot be read of it, if anything.
type StoredRecord struct {
	notary.Record
	Damage string
}

// StoredCheckpoint is a row.
type StoredCheckpoint struct {
	Size uint64
	Root merkle.Hash
	Note []byte
}

// StoredAnchor is a row with the checkpoint that it speaks of.
type StoredAnchor struct {
	Target   string
	Size     uint64
	Note     []byte
	Evidence json.RawMessage
}

// Objects reads the object store.
type Objects interface {
	Get(ctx context.Context, key string, max int64) ([]byte, error)
	Open(ctx context.Context, key, version string) (io.ReadCloser, notary.Object, error)
	List(ctx context.Context, prefix string, fn func(notary.Object) error) error
}

// Finding is one thing that does not hold.
type Finding struct {
	What   string `json:"what"`             // stable code
	Record string `json:"record,omitempty"` // certificate number
	Index  uint64 `json:"index"`            // log index, where it is about an entry
	Detail string `json:"detail"`
}

// String is one line for a person.
func (f Finding) String() string {
	if f.Record != "" {
		return fmt.Sprintf("%s: record %s (entry %d): %s", f.What, f.Record, f.Index, f.Detail)
	}
	return fmt.Sprintf("%s: %s", f.What, f.Detail)
}

// Result is what a check found.
type Result struct {
	Entries     uint64    `json:"entries"`
	Records     uint64    `json:"records"`
	Trails      uint64    `json:"trails"`   // records, among these, that seal the audit trail
	Statuses    uint64    `json:"statuses"` // status statements
	Documents   uint64    `json:"documents"`
	Tiles       uint64    `json:"tiles"`
	Checkpoints uint64    `json:"checkpoints"`
	Anchors     uint64    `json:"anchors"`
	Orphans     uint64    `json:"orphans"` // documents without a record: swept later, no fault
	Findings    []Finding `json:"findings"`
	// Stopped: as many were found as were asked for; what lies behind was not looked at.
	Stopped bool `json:"stopped,omitempty"`
}

// Kinds counts the findings by what they are.
func (r *Result) Kinds() map[string]int {
	out := map[string]int{}
	for _, f := range r.Findings {
		out[f.What]++
	}
	return out
}

// OK reports whether nothing was found.
func (r *Result) OK() bool { return len(r.Findings) == 0 }

// Options narrow or watch a check.
type Options struct {
	SkipDocuments bool                     // do not read the originals
	MaxFindings   int                      // after so many the check ends; 0: [DefaultFindings]
	Progress      func(done, total uint64) // entries; may be nil
}

// DefaultFindings end a check early: after so many the rest mostly tells nothing new.
const DefaultFindings = 1000

// chunk is how many entries are read at once; a multiple of a tile's width.
const chunk = 4 * merkle.TileWidth

type checker struct {
	rows    Rows
	objects Objects
	trust   *proof.Trust
	opt     Options
	res     *Result

	head      batchlog.Head
	judge     status.Judge           // of entries of no record
	published *checkpoint.Checkpoint // nil when there is none that can be read
	frontier  merkle.Frontier
	leaves    []merkle.Hash             // of the level-0 tile that is being filled
	bundle    []byte                    // entries of that tile
	upper     [][]merkle.Hash           // per tile level above, its partial tile
	next      []StoredCheckpoint        // checkpoints not reached yet
	lastMark  int64                     // size of the last one read
	headMark  bool                      // the head's own checkpoint was among them
	diverged  bool                      // a signed root was not ours: so is every later one
	signers   map[sm.Digest]*signer     // certificates seen
	ids       map[string]bool           // record ids with a document
	standing  map[string]*laterStanding // numbers that entries withdraw or replace

	status status.State // of the entries, as far as the walk has come
	base   status.Kept  // what the database keeps of it at some size

	standingsTo uint64 // entries from here on could not all be read for it

	numbers numberSet // of the entries that issue a record, as far as the walk has come
	again   []later   // those whose number was there before
}

// Check runs all checks. An error means that it could not be finished, for instance because
// a store cannot be read; what does not hold is in the result. A server may be at work
// meanwhile: checked is what the log held at the beginning.
func Check(ctx context.Context, rows Rows, objects Objects, trust *proof.Trust, opt Options) (*Result,
	error) {
	c := &checker{rows: rows, objects: objects, trust: trust, opt: opt,
		res:     &Result{Findings: []Finding{}},
		signers: map[sm.Digest]*signer{}, ids: map[string]bool{}, standing: map[string]*laterStanding{},
		standingsTo: math.MaxUint64, lastMark: -1, numbers: numberSet{}}
	if c.opt.MaxFindings <= 0 {
		c.opt.MaxFindings = DefaultFindings
	}
	// What is published is read before the head, since it is written after it.
	for _, step := range []func(context.Context) error{
		c.readPublished, c.readHead, c.readStatus, c.readStandings, c.entries, c.sameNumbers,
		c.beyond, c.unmatched, c.anchors, c.orphans,
	} {
		if err := step(ctx); err != nil {
			return c.res, err
		}
		if c.full() {
			c.res.Stopped = true
			break
		}
	}
	return c.res, nil
}

// full reports whether enough was found.
func (c *checker) full() bool { return len(c.res.Findings) >= c.opt.MaxFindings }

func (c *checker) find(what string, index uint64, record, format string, args ...any) {
	if !c.full() {
		c.res.Findings = append(c.res.Findings, Finding{What: what, Record: record, Index: index,
			Detail: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) readHead(ctx context.Context) error {
	var err error
	if c.head, err = c.rows.Head(ctx); err != nil {
		return fmt.Errorf("read the log's head: %w", err)
	}
	c.judge = status.Judge{Origin: c.head.Origin, Keys: c.trust.LogKeys(c.head.Origin),
		Roots: c.trust.Certificates()}
	if c.head.Received < c.head.Size {
		c.find("head", c.head.Size, "", "the log has %d signed entries but only %d received", c.head.Size,
			c.head.Received)
	}
	signed, err := c.open(c.head.Note)
	switch {
	case err != nil:
		c.find("head", c.head.Size, "", "the head's checkpoint: %v", err)
	case signed.Size != c.head.Size || signed.Root != c.head.Root || signed.Origin != c.head.Origin:
		c.find("head", c.head.Size, "",
			"the head says size %d and root %s, its signed checkpoint says size %d and root %s", c.head.Size,
			c.head.Root, signed.Size, signed.Root)
	}
	if p := c.published; p != nil && p.Size > c.head.Size {
		c.find("checkpoint", p.Size, "", "the published checkpoint has %d entries, the database %d", p.Size,
			c.head.Size)
	}
	return nil
}

// moved reports whether the log has grown since the check began.
func (c *checker) moved(ctx context.Context) (batchlog.Head, bool, error) {
	now, err := c.rows.Head(ctx)
	if err != nil {
		return now, false, fmt.Errorf("read the log's head again: %w", err)
	}
	return now, now.Size > c.head.Size, nil
}

// entries walks the log once, in order, with records, tiles and checkpoints beside it.
func (c *checker) entries(ctx context.Context) error {
	if err := c.markReached(ctx); err != nil { // the checkpoint of the empty log
		return err
	}
	for first := uint64(0); first < c.head.Received; first += chunk {
		end := min(first+chunk, c.head.Received)
		whole, err := c.chunk(ctx, first, end)
		if err != nil || !whole {
			return err
		}
		if c.opt.Progress != nil {
			c.opt.Progress(end, c.head.Received)
		}
		if c.full() {
			return nil
		}
	}
	return c.partialTiles(ctx)
}

// chunk checks the entries from first up to end; it reports whether all of them are there.
func (c *checker) chunk(ctx context.Context, first, end uint64) (whole bool, err error) {
	records, err := c.recordsOf(ctx, first, end)
	if err != nil {
		return false, err
	}
	list, err := c.rows.Entries(ctx, first, end)
	if damaged := new(batchlog.DamagedEntryError); errors.As(err, &damaged) {
		c.find("entry", damaged.Index, records[damaged.Index].Number, "%v; the entries after it were not checked",
			damaged)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read entries: %w", err)
	}
	checked := c.checkEntries(ctx, list)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err := c.keyUses(ctx, first, end, checked, records); err != nil {
		return false, err
	}
	for i, e := range list {
		if err := c.entry(ctx, first+uint64(i), e, checked[i], records); err != nil {
			return false, err
		}
	}
	if missing := first + uint64(len(list)); missing < end {
		c.find("entry", missing, records[missing].Number, "entry %d is missing; the entries after it were not checked",
			missing)
		return false, nil
	}
	return true, nil
}

func (c *checker) recordsOf(ctx context.Context, first, end uint64) (map[uint64]StoredRecord, error) {
	list, err := c.rows.RecordsFrom(ctx, first, int(end-first))
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	out := make(map[uint64]StoredRecord, len(list))
	for _, r := range list {
		if r.Index < end {
			out[r.Index] = r
		}
	}
	return out, nil
}

func (c *checker) keyUses(ctx context.Context, first, end uint64, checked []checkedEntry,
	records map[uint64]StoredRecord) error {
	missing, err := c.rows.KeyUses(ctx, first, end)
	if err != nil {
		return fmt.Errorf("read audit rows: %w", err)
	}
	for _, i := range missing {
		if at := i - first; at < uint64(len(checked)) && !checked[at].ofNoRecord {
			c.find("audit", i, checked[at].number(records[i]), "entry %d was signed without an audit row", i)
		}
	}
	return nil
}

// entry compares one entry with its record and adds it to the tree.
func (c *checker) entry(ctx context.Context, index uint64, e statement.Entry, checked checkedEntry,
	records map[uint64]StoredRecord) error {
	c.res.Entries++
	rec, ok := records[index]
	if checked.problem != "" {
		c.find(checked.what, index, checked.number(rec), "%s", checked.problem)
	}
	encoded := e.Encode()
	leaf := merkle.LeafHash(encoded)
	if err := c.follow(index, e, leaf, checked.ofNoRecord); err != nil {
		return err
	}
	issues := checked.parsed && checked.s.Action == statement.Issue
	if issues {
		c.issued(index, checked.s)
	}
	switch {
	case checked.ofNoRecord && ok:
		c.find("record", index, rec.Number, "there is a row but the entry belongs to no record")
	case !checked.parsed: // nothing to compare a row with
	case issues && !ok:
		c.find("record", index, checked.s.Number, "the log holds the record but its row is missing")
	case issues && rec.Damage != "":
		c.find("record", index, checked.s.Number, "the row is damaged: %s", rec.Damage)
	case issues:
		if err := c.record(ctx, rec.Record, checked); err != nil {
			return err
		}
	case ok:
		c.find("record", index, rec.Number, "there is a row but the entry does not issue a record")
	}
	if index >= c.head.Size {
		return nil // received but not in the tree yet
	}
	return c.grow(ctx, index, encoded, leaf)
}
