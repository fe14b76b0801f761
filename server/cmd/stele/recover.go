package main

import (
	"context"
	"fmt"

	"stele/notary/log/recovery"
	"stele/notary/office/people"
	"stele/server/instance"
)

// exitIncomplete: done, but something is missing that no command can bring back; it was named.
const exitIncomplete = 3

// What these commands are in the audit trail. The first is noted before it is done; the second when the
// store is there again.
const (
	actRecoverTail  people.Action = "tail_recover"
	actRebuildStore people.Action = "store_rebuild"
)

type recoverTailCmd struct {
	instance.Config `embed:""`
	DryRun          bool `help:"Read and verify everything, and change nothing."`
	JSON            bool `name:"json" help:"Print JSON."`
}

// Run completes the database. The exit code is 3 when some records could be brought back without
// their attributes only.
func (c *recoverTailCmd) Run(ctx context.Context, s *streams) error {
	return withPeople(ctx, c.Config, s, func(st *instance.Stores, p *people.People) error {
		if !c.DryRun {
			if err := noteCommand(ctx, p, actRecoverTail, "", "", ""); err != nil {
				return err
			}
		}
		res, err := st.RecoverTail(ctx, c.DryRun, logger(st.Config, s.err))
		if err != nil {
			return err
		}
		if len(res.Bare) > 0 {
			*s.code = exitIncomplete
		}
		if c.JSON {
			return s.json(res)
		}
		return printRecovered(s, res)
	})
}

func printRecovered(s *streams, r *recovery.Result) error {
	for _, b := range r.Bare {
		original := "its original was not found"
		if b.Original {
			original = "its original was found by its digest"
		}
		fmt.Fprintf(s.out, "record %s (entry %d): without attributes, reference, code and idempotency key, which the "+
			"object store has no more; %s\n",
			b.Number, b.Index, original)
	}
	verb, next := "were recovered", "Next: stele fsck"
	if r.DryRun {
		verb, next = "can be recovered", "Nothing was changed. Next: stele recover-tail"
	}
	_, err := fmt.Fprintf(s.out, "%d entries %s, those from %d up to %d: %d from the tail, %d from entry bundles. "+
		"The published checkpoint has %d. "+
		"%d erasures were repeated and %d seals of the audit trail brought back.\nWhat was decided about agencies "+
		"since the "+
		"copy was made (keys, suspension, names, ends) is not brought back: repeat it before you serve. %s\n",
		r.To-r.From, verb, r.From, r.To, r.FromTail, r.FromBundles, r.Checkpoint, r.Erasures, r.Seals, next)
	return err
}

type rebuildStoreCmd struct {
	instance.Config `embed:""`
	JSON            bool `name:"json" help:"Print JSON."`
}

// Run makes the object store anew. The exit code is 3 when originals are missing.
func (c *rebuildStoreCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.Resolve()
	if err != nil {
		return err
	}
	res, err := instance.RebuildStore(ctx, cfg, logger(cfg, s.err))
	if err != nil {
		return err
	}
	err = withPeople(ctx, c.Config, s, func(_ *instance.Stores, p *people.People) error {
		return noteCommand(ctx, p, actRebuildStore, "", "", fmt.Sprintf("%d originals missing", len(res.Missing)))
	})
	if err != nil {
		return err
	}
	if len(res.Missing) > 0 {
		*s.code = exitIncomplete
	}
	if c.JSON {
		return s.json(res)
	}
	for _, m := range res.Missing {
		what := "its original is missing"
		if m.Found != nil {
			what = fmt.Sprintf("its original has %d bytes", *m.Found)
		}
		fmt.Fprintf(s.out, "record %s: %s: %d bytes, SM3 %s, object doc/%s\n", m.Number, what, m.Size, m.SM3, m.Record)
	}
	_, err = fmt.Fprintf(s.out,
		"The %d objects of the log's tree are there, and %d of %d originals. Next: stele fsck\n",
		res.Objects, res.Originals-uint64(len(res.Missing)), res.Originals)
	return err
}
