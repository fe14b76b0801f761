package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"stele/notary"
	"stele/notary/register/erasure"
)

// forgetTries is how often a stretch is made anew while other erasures do the same to it.
const forgetTries = 20

var errMeanwhile = errors.New("another erasure makes the same stretch of the tail anew at this moment")

// Forget makes the stretches with an entry anew from the rows, without what was erased there, and
// removes the former ones with all their versions. Nothing changes where nothing was erased. A crash
// between the two steps leaves both; [Tail.Sweep] does it again.
func (t *Tail) Forget(ctx context.Context, index uint64) error {
	for try := 0; ; try++ {
		list, err := names(ctx, t.objects, shardsOf(index, index+1)...)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(n Name) bool { return n.First > index || n.End() <= index })
		var errs []error
		changed := false
		for i, former := 0, 0; i < len(list); i++ {
			// Revisions of one stretch follow each other.
			if i+1 < len(list) && list[i+1].First == list[i].First && list[i+1].Count == list[i].Count {
				continue
			}
			again, err := t.renew(ctx, list[i], list[former:i])
			errs, changed, former = append(errs, t.contradicted(err)), changed || again, i+1
		}
		// Another erasure may be at it, which read the rows before this one's were written: what it put is looked at
		// too.
		switch {
		case !changed:
			return errors.Join(errs...)
		case try == forgetTries:
			return errors.Join(append(errs, errMeanwhile)...)
		}
	}
}

// renew replaces the last revision of a stretch by what the rows say now, where that is something else,
// and removes the former ones. It reports whether the revisions have changed.
func (t *Tail) renew(ctx context.Context, n Name, former []Name) (changed bool, err error) {
	there, err := t.read(ctx, n)
	if errors.Is(err, notary.ErrObjectNotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	now, err := t.store.Stretch(ctx, n.First, n.End())
	if err != nil {
		return false, err
	}
	if i, differs := there.Differs(now.First, now.Logged()); differs {
		return false, fmt.Errorf("%w: entry %d, see %s", ErrContradiction, i, n)
	}
	if changed = !sameRows(there, now); changed {
		if err := t.putRevision(ctx, n, now); errors.Is(err, notary.ErrObjectDiffers) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		former = append(slices.Clone(former), n)
	}
	var errs []error
	for _, f := range former {
		errs = append(errs, t.objects.Delete(ctx, f.String()))
	}
	return changed, errors.Join(errs...)
}

// putRevision puts a stretch as the revision after a name's.
func (t *Tail) putRevision(ctx context.Context, n Name, s Stretch) error {
	n.Revision++
	text, err := s.Encode()
	if err != nil {
		return err
	}
	data, err := t.opt.Sealer.seal(n.String(), text)
	if err != nil {
		return err
	}
	return t.objects.PutOnce(ctx, n.String(), data)
}

// sameRows reports whether two stretches say the same of each record.
func sameRows(a, b Stretch) bool {
	return slices.EqualFunc(a.Entries, b.Entries, func(a, b Entry) bool {
		x, err1 := encode(a.Record)
		y, err2 := encode(b.Record)
		return err1 == nil && err2 == nil && bytes.Equal(x, y)
	})
}

// Erased implements [erasure.Tail].
func (t *Tail) Erased(ctx context.Context, e erasure.Erasure, all bool) error {
	return t.erased(ctx, FromErasure(e, all))
}

func (t *Tail) erased(ctx context.Context, e Erased) error {
	err := t.putSmall(ctx, ErasuresPrefix+e.ID, e)
	return errors.Join(err, t.Forget(ctx, e.Index))
}

// Sweep removes stretches and erasures that are older than they are kept, and those that were
// replaced, and does again what could not be done when something was erased. What fails keeps nothing
// else from being done. It returns how many objects it removed.
func (t *Tail) Sweep(ctx context.Context) (removed int, err error) {
	before := t.opt.Now().Add(-t.opt.Keep)
	erased, err := t.store.ErasuresSince(ctx, before)
	errs := []error{err}
	for _, e := range erased {
		if err := t.erased(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("erasure %s of the record at %d: %w", e.ID, e.Index, err))
		}
	}
	drop := func(key string) {
		if err := t.objects.Delete(ctx, key); err != nil {
			errs = append(errs, err)
			return
		}
		removed++
	}
	var last Name
	errs = append(errs, t.objects.List(ctx, EntriesPrefix, func(o notary.Object) error {
		n, err := ParseName(o.Key)
		if err != nil {
			return nil // not ours
		}
		former := last
		last = n
		if former.First == n.First && former.Count == n.Count && former.Revision < n.Revision {
			drop(former.String())
		}
		if o.ModTime.Before(before) {
			drop(o.Key)
		}
		return ctx.Err()
	}))
	errs = append(errs, t.objects.List(ctx, ErasuresPrefix, func(o notary.Object) error {
		if o.ModTime.Before(before) {
			drop(o.Key)
		}
		return ctx.Err()
	}))
	return removed, errors.Join(errs...)
}
