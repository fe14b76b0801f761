// Package fsck re-derives everything that an instance claims from what it has stored, and
// compares: every statement, signature, certificate, attribute, leaf, tile, entry bundle,
// checkpoint, anchor and original. It writes nothing. The tests of the log call it after
// every step; `stele fsck` is the same code.
package fsck

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"stele/crypto/merkle"
	"stele/crypto/sm"
	"stele/notary"
	"stele/notary/batchlog"
	"stele/notary/proof"
	"stele/notary/statement"
)

// Rows reads the log's rows. RecordsFrom returns up to limit records in the order of their
// index, beginning with first. Chain returns the certificate chain under a fingerprint,
// signer first. KeyUses returns the entries in the range whose audit row is missing.
type Rows interface {
	Head(ctx context.Context) (batchlog.Head, error)
	Entries(ctx context.Context, first, end uint64) ([]statement.Entry, error)
	RecordsFrom(ctx context.Context, first uint64, limit int) ([]notary.Record, error)
	Chain(ctx context.Context, fingerprint sm.Digest) ([][]byte, error)
	KeyUses(ctx context.Context, first, end uint64) (missing []uint64, err error)
}

// Marks reads what vouches for the rows: signed checkpoints and anchors, each in ascending
// order of size, those larger than after.
type Marks interface {
	CheckpointsFrom(ctx context.Context, after int64, limit int) ([]StoredCheckpoint, error)
	AnchorsFrom(ctx context.Context, after int64, limit int) ([]StoredAnchor, error)
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
	Documents   uint64    `json:"documents"`
	Tiles       uint64    `json:"tiles"`
	Checkpoints uint64    `json:"checkpoints"`
	Anchors     uint64    `json:"anchors"`
	Orphans     uint64    `json:"orphans"` // documents without a record: swept later, no fault
	Findings    []Finding `json:"findings"`
}

// OK reports whether nothing was found.
func (r *Result) OK() bool { return len(r.Findings) == 0 }

// Options narrow or watch a check.
type Options struct {
	SkipDocuments bool                     // do not read the originals
	Progress      func(done, total uint64) // entries; may be nil
}

// maxFindings ends a check early: after so many the rest tells nothing new.
const maxFindings = 1000

// chunk is how many entries are read at once; a multiple of a tile's width.
const chunk = 4 * merkle.TileWidth

type checker struct {
	rows    Rows
	marks   Marks
	objects Objects
	trust   *proof.Trust
	opt     Options
	res     *Result

	head     batchlog.Head
	frontier merkle.Frontier
	leaves   []merkle.Hash             // of the level-0 tile that is being filled
	bundle   []byte                    // entries of that tile
	upper    [][]merkle.Hash           // per tile level above, its partial tile
	next     []StoredCheckpoint        // checkpoints not reached yet
	lastMark int64                     // size of the last one read
	signers  map[sm.Digest]*signer     // certificates seen
	ids      map[string]bool           // record ids with a document
	standing map[string]*laterStanding // numbers that entries withdraw or replace
}

// Check runs all checks. An error means that it could not be finished, for instance because
// a store cannot be read; what does not hold is in the result.
func Check(ctx context.Context, rows Rows, marks Marks, objects Objects, trust *proof.Trust, opt Options) (*Result, error) {
	c := &checker{rows: rows, marks: marks, objects: objects, trust: trust, opt: opt, res: &Result{Findings: []Finding{}},
		signers: map[sm.Digest]*signer{}, ids: map[string]bool{}, standing: map[string]*laterStanding{}, lastMark: -1}
	for _, step := range []func(context.Context) error{c.readHead, c.readStandings, c.entries, c.published, c.anchors, c.orphans} {
		if err := step(ctx); err != nil {
			return c.res, err
		}
		if len(c.res.Findings) >= maxFindings {
			break
		}
	}
	return c.res, nil
}

func (c *checker) find(what string, index uint64, record, format string, args ...any) {
	if len(c.res.Findings) < maxFindings {
		c.res.Findings = append(c.res.Findings, Finding{What: what, Record: record, Index: index, Detail: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) readHead(ctx context.Context) error {
	var err error
	if c.head, err = c.rows.Head(ctx); err != nil {
		return fmt.Errorf("read the log's head: %w", err)
	}
	if c.head.Received < c.head.Size {
		c.find("head", c.head.Size, "", "the log has %d signed entries but only %d received", c.head.Size, c.head.Received)
	}
	return nil
}

// entries walks the log once, in order, with records, tiles and checkpoints beside it.
func (c *checker) entries(ctx context.Context) error {
	if err := c.markReached(ctx); err != nil { // the checkpoint of the empty log
		return err
	}
	for first := uint64(0); first < c.head.Received; first += chunk {
		end := min(first+chunk, c.head.Received)
		list, err := c.rows.Entries(ctx, first, end)
		if err != nil {
			return fmt.Errorf("read entries: %w", err)
		}
		if uint64(len(list)) != end-first {
			c.find("entry", first+uint64(len(list)), "", "entry %d is missing; the entries after it were not checked", first+uint64(len(list)))
			return nil
		}
		records, err := c.recordsOf(ctx, first, end)
		if err != nil {
			return err
		}
		if err := c.keyUses(ctx, first, end); err != nil {
			return err
		}
		checked := c.checkEntries(ctx, first, list)
		for i, e := range list {
			index := first + uint64(i)
			if err := c.entry(ctx, index, e, checked[i], records); err != nil {
				return err
			}
		}
		if c.opt.Progress != nil {
			c.opt.Progress(end, c.head.Received)
		}
		if len(c.res.Findings) >= maxFindings {
			return nil
		}
	}
	return c.partialTiles(ctx)
}

func (c *checker) recordsOf(ctx context.Context, first, end uint64) (map[uint64]notary.Record, error) {
	list, err := c.rows.RecordsFrom(ctx, first, int(end-first))
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	out := make(map[uint64]notary.Record, len(list))
	for _, r := range list {
		if r.Index < end {
			out[r.Index] = r
		}
	}
	return out, nil
}

func (c *checker) keyUses(ctx context.Context, first, end uint64) error {
	missing, err := c.rows.KeyUses(ctx, first, end)
	if err != nil {
		return fmt.Errorf("read audit rows: %w", err)
	}
	for _, i := range missing {
		c.find("audit", i, "", "entry %d was signed without an audit row", i)
	}
	return nil
}

// entry compares one entry with its record and adds it to the tree.
func (c *checker) entry(ctx context.Context, index uint64, e statement.Entry, checked checkedEntry, records map[uint64]notary.Record) error {
	c.res.Entries++
	if checked.problem != "" {
		c.find(checked.what, index, checked.s.Number, "%s", checked.problem)
	}
	if checked.parsed && checked.s.Action == statement.Issue {
		rec, ok := records[index]
		if !ok {
			c.find("record", index, checked.s.Number, "the log holds the record but its row is missing")
		} else if err := c.record(ctx, rec, checked); err != nil {
			return err
		}
	} else if rec, ok := records[index]; ok {
		c.find("record", index, rec.Number, "there is a row but the entry does not issue a record")
	}
	if index >= c.head.Size {
		return nil // received but not in the tree yet
	}
	return c.grow(ctx, index, e)
}
