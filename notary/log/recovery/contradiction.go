package recovery

import (
	"context"
	"errors"
	"fmt"

	"stele/notary"
	"stele/notary/log/tail"
)

// contradicted compares a stretch that counts from an index on with the others that have entries there
// too, and where the database ends its last entries with the stretches that have them: which of two
// histories is the answered one nobody can tell from here.
func (r *run) contradicted(ctx context.Context, name tail.Name, s tail.Stretch, at uint64) error {
	for _, n := range r.names {
		beside := n != name && n.First < name.End() && n.End() > at
		base := at == r.head.Received && n.First < at
		if !beside && !base {
			continue
		}
		other, err := r.reader.Stretch(ctx, n)
		if errors.Is(err, notary.ErrObjectNotFound) {
			continue // removed for its age
		} else if err != nil {
			return err
		}
		if i, differs := other.Differs(s.First, s.Logged()); beside && differs {
			return fmt.Errorf("%w: %s and %s hold different entries at index %d: two databases were written to. "+
				"Find out which one was answered from, and move the other's stretches away", ErrUnfit, name, n, i)
		}
		if !base {
			continue
		}
		rows, err := r.store.Entries(ctx, n.First, min(n.End(), at))
		if err != nil {
			return err
		}
		if i, differs := other.Differs(n.First, rows); differs {
			return fmt.Errorf("%w: %s holds another entry at index %d than the database: the database was written to "+
				"after it went back. Restore a copy from before that", ErrUnfit, n, i)
		}
	}
	return nil
}
